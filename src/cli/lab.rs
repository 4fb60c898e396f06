//! `clusterctl lab`: several real hosts on one machine.

/// The arguments of `clusterctl lab`.
#[derive(Debug, clap::Args)]
pub struct LabArgs {}

/// Runs it.
///
/// # Errors
/// Always, until it is there.
pub async fn run(_args: LabArgs, _json: bool) -> anyhow::Result<()> {
    anyhow::bail!("`clusterctl lab` is not built yet")
}
