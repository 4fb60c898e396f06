//! `master backup` and `master restore`.
//!
//! The controller makes the copy in its own directory, which is all that it may write to under systemd; this command
//! takes it from there to where it was asked for. It is always the controller on this host: a backup holds the CA's
//! private keys, which no connection carries.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::controller_access::Access;
use crate::cli::output::print_line;
use crate::cli::{Exit, Failure, Outcome, OutputFormat, explain, this_host};
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::controller::restore;
use crate::protocol::registration::RawRequest;
use crate::providers::files;

pub(super) const BACKUP_LONG: &str = "\
Writes everything that the controller on this host knows into one file: registrations, tokens, administrators and the \
cluster's CA with its private keys. The controller goes on serving; what it has answered until now is in the file. \
Keep the file as secret as the state directory. A file that is there is not overwritten.";
pub(super) const BACKUP_EXAMPLES: &str = "\
Examples:
  clusterctl master backup /root/cluster.backup
  clusterctl master backup /srv/backup/cluster-$(date +%F).backup";
pub(super) const RESTORE_LONG: &str = "\
Makes the controller's state out of a backup. There must be no state on this host, and no controller running: \
`clusterctl master reset` erases one, or move the directory `controller` in the state directory away. Nodes keep their \
certificates. Hosts that joined after the backup was made have to join again, and hosts that were removed since have to be \
removed again; every node says at its next `clusterctl node join` that the controller went back in time.";
pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  clusterctl master restore /root/cluster.backup
  systemctl start clusterctl-master              afterwards";

#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `clusterctl master backup FILE`.
pub(super) async fn backup(settings: &Settings, args: &BackupArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    if args.file.symlink_metadata().is_ok() {
        return Err(exists(&args.file));
    }
    let access = Access::Socket(settings.common.socket.clone());
    let reply = access.ask(&RawRequest { action: "backup".to_owned(), ..RawRequest::default() }).await?;
    let draft = reply["Path"].as_str().map(PathBuf::from).ok_or_else(|| {
        Failure::message(Exit::Incompatible, "the controller's answer names no backup")
            .reason("bad-reply")
            .hint("see that the controller runs the same version as this program (`clusterctl version`)")
    })?;
    let copied = copy(&draft, &args.file);
    // The controller removes it at its next start if this fails.
    std::fs::remove_file(&draft).ok();
    if !copied.map_err(|error| unwritable(&args.file, error))? {
        return Err(exists(&args.file));
    }
    if !output.is_structured() {
        print_line(&format!(
            "backed up to {}: {} nodes, revision {}; keep it secret, the cluster's CA is in it",
            args.file.display(),
            reply["Nodes"],
            reply["Revision"]
        ))?;
    }
    Ok(Outcome::done("backed-up").body(json!({
        "file": args.file,
        "cluster_id": reply["ClusterId"],
        "revision": reply["Revision"],
        "nodes": reply["Nodes"],
    })))
}

/// Whole and durable, or not at all; `false` if there is a file of that name by now.
fn copy(from: &Path, to: &Path) -> std::io::Result<bool> {
    let bytes = zeroize::Zeroizing::new(std::fs::read(from)?);
    files::create_new(to, &bytes, 0o600)
}

fn exists(file: &Path) -> Failure {
    Failure::message(Exit::InvalidInput, format_args!("`{}` is there already", file.display()))
        .reason("file-exists")
        .hint("it was left as it is; name another file")
}

fn unwritable(file: &Path, error: std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::StorageFull => "the disk is full; name a file on another one",
        _ => "name a file in a directory that can be written to; run as root",
    };
    Failure::new(Exit::InvalidInput, anyhow::Error::new(error).context(format!("cannot make `{}`", file.display())))
        .reason("file-unwritable")
        .hint(hint)
}

/// `clusterctl master restore FILE`.
pub(super) async fn restore(settings: &Settings, args: &RestoreArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let place = this_host::controller_dir(settings);
    let own = this_host::identity(settings)?.node_id;
    let restored = restore::run(&args.file, &place, &own, &SystemClock).await.map_err(explain::restore)?;
    if !output.is_structured() {
        print_line(&format!(
            "restored the cluster {} as it was at {}: {} nodes, revision {}\nstart the controller: clusterctl master serve\nhosts that joined since then have to join again, those that were removed since have to be removed again",
            restored.cluster_id, restored.made, restored.nodes, restored.revision
        ))?;
    }
    Ok(Outcome::done("restored").next("clusterctl master serve").body(json!({
        "cluster_id": restored.cluster_id,
        "made": restored.made,
        "revision": restored.revision,
        "nodes": restored.nodes,
    })))
}
