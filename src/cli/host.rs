//! Commands about this host alone: its address, and the proof that a mount works.

<<<<<<< HEAD
use std::io::Write;
use std::path::PathBuf;
=======
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
>>>>>>> cli

use clap::Args;
use serde_json::json;

use super::output::print_line;
use super::{Exit, Failure, Outcome, OutputFormat, Table};
use crate::ipdetect::{self, interfaces};
<<<<<<< HEAD
use crate::providers::mounts::{ProbeResult, probe_here};
=======
>>>>>>> cli

pub(super) const IP_ABOUT: &str = "Print the address that the other hosts reach this one at";

pub(super) const IP_LONG: &str = "\
Prints the address that the other hosts reach this one at. Overlay networks go first (100.64.0.0/10), then private \
addresses, then the others; bridges of container engines and loopback come last. Where it chooses wrongly, say the \
address yourself with `--ip` or `--advertise-addr`.";

pub(super) const IP_EXAMPLES: &str = "\
Examples:
  clusterctl ip
  clusterctl ip --explain    all addresses in their order, each with the reason";

#[derive(Debug, Args)]
pub(super) struct IpArgs {
    /// Print every address with its place and the reason
    #[arg(long)]
    explain: bool,
}

/// `clusterctl ip`.
pub(super) fn ip(args: &IpArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let failed = |error: interfaces::DetectError| {
        Failure::new(Exit::InvalidInput, error)
            .reason("no-address")
            .hint("`clusterctl ip --explain` lists what there is; `--ip` and `--advertise-addr` set it")
    };
    let host = interfaces::list().map_err(failed)?;
    let default_route = host.default_route.as_deref();
    let ranked = ipdetect::rank(&host.interfaces, default_route);
    let left = ipdetect::passed_over(&host.interfaces);
    let choice = ipdetect::choose(&host.interfaces, default_route);
    if output.is_structured() {
        let choice = choice.map_err(|error| failed(error.into()))?;
        let mut body = json!({
            "address": choice.address, "interface": choice.interface, "because": choice.because.to_string(),
        });
        if args.explain {
            let rank = |r: &ipdetect::Ranked| {
                json!({
                    "address": r.address, "interface": r.interface, "class": r.class, "because": r.because.to_string(),
                })
            };
            let pass = |p: &ipdetect::PassedOver| json!({ "address": p.address, "interface": p.interface, "because": p.because });
            body["ranking"] = ranked.iter().map(rank).collect();
            body["passed_over"] = left.iter().map(pass).collect();
            body["default_route"] = json!(default_route);
        }
        return Ok(Outcome::printed().body(body));
    }
    if args.explain {
        let mut table = Table::new(["rank", "address", "interface", "because"]);
        for (index, r) in ranked.into_iter().enumerate() {
            table.row([(index + 1).to_string(), r.address.to_string(), r.interface, r.because.to_string()]);
        }
        for p in left {
            table.row([String::new(), p.address.to_string(), p.interface, format!("not usable: {}", p.because)]);
        }
        table.print()?;
        choice.map_err(|error| failed(error.into()))?;
    } else {
        print_line(&choice.map_err(|error| failed(error.into()))?.address.to_string())?;
    }
    Ok(Outcome::printed())
}

/// A hung mount hangs whoever touches it, beyond any deadline inside the process: so this runs as a child that the
<<<<<<< HEAD
/// parent can give up.
#[derive(Debug, Args)]
pub(super) struct ProbeMountArgs {
    /// The mount point to probe
    path: PathBuf,
}

/// `clusterctl probe-mount`: the exit code says how the mount is.
pub(super) fn probe_mount(args: &ProbeMountArgs) -> ! {
    let result = probe_here(&args.path);
    if let ProbeResult::Failed(why) = &result {
        // The parent reads the complaint; if it is gone, nobody asks.
        writeln!(std::io::stderr(), "{why}").ok();
    }
    std::process::exit(i32::from(result.exit_code()))
=======
/// parent can kill.
#[derive(Debug, Args)]
pub(super) struct ProbeMountArgs {
    /// The directory to probe
    path: PathBuf,
    /// Write, read back and remove a small file too
    #[arg(long)]
    write: bool,
}

/// `clusterctl probe-mount`.
pub(super) fn probe_mount(args: &ProbeMountArgs) -> Result<Outcome, Failure> {
    probe(&args.path, args.write).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("`{}` does not work", args.path.display()));
        Failure::new(Exit::StorageUnsafe, error).reason("mount-broken")
    })?;
    Ok(Outcome::printed())
}

fn probe(path: &Path, write: bool) -> std::io::Result<()> {
    // One entry is enough: what is asked is whether the directory answers.
    std::fs::read_dir(path)?.next().transpose()?;
    if !write {
        return Ok(());
    }
    // Hosts probe the same volume at the same moment, so the name must be this probe's own.
    let name = format!(".clusterctl-probe-{}", uuid::Uuid::new_v4());
    let file = path.join(&name);
    let result = write_and_read(&file, name.as_bytes());
    let removed = std::fs::remove_file(&file);
    result.and(removed)
}

fn write_and_read(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).open(file)?;
    written.write_all(content)?;
    written.sync_all()?;
    drop(written);
    let mut read = Vec::new();
    std::fs::File::open(file)?.take(content.len() as u64 + 1).read_to_end(&mut read)?;
    if read != content {
        return Err(std::io::Error::other("what was written does not read back"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_leave_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        probe(directory.path(), true).unwrap();
        probe(directory.path(), false).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(probe(Path::new("/no/such/directory"), false).is_err());
        assert!(probe(Path::new("/proc"), true).is_err());
    }
>>>>>>> cli
}
