//! Commands about this host alone: its address, and the proof that a mount works.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::print_line;
use super::{Exit, Failure, Outcome, OutputFormat, Table};
use crate::ipdetect::{self, interfaces};
use crate::providers::mounts::{ProbeResult, probe_here};

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
}
