//! `clusterctl lab`: several real hosts on one machine.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::Table;

use crate::lab::name::{HostId, LabName, MAX_HOSTS, StateDir};
use crate::lab::{DEFAULT_DIR, Lab, Summary, Wish, boot};
use crate::providers::command::{Processes, replace_process};

/// Several real hosts on one machine, to try a cluster and to test one
///
/// Every host has its own systemd, dockerd and glusterd, its own network address and its own disk, and shares the
/// kernel and the installed programs with this machine. A host is not a security boundary. Needs root.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  clusterctl lab up --hosts 3
  clusterctl lab exec h1 -- clusterctl master init
  clusterctl lab exec h2
  clusterctl lab cut h3 && clusterctl lab heal h3
  clusterctl lab down")]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LabCommand {
    /// Start a lab and wait until Docker and Gluster answer on every host
    ///
    /// What a killed lab of the same name left behind is cleared first. A lab that is up already stays as it is.
    #[command(after_help = "Examples:\n  clusterctl lab up\n  clusterctl lab up --hosts 5 --name second")]
    Up {
        /// How many hosts, called h1, h2 and so on
        #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_HOSTS)))]
        hosts: u8,
        #[command(flatten)]
        which: Which,
        /// Give the hosts cgroup v2 alone, as distributions of today have it
        #[arg(long)]
        cgroup_v2: bool,
        /// Leave a lab that does not come up as it is, to look into it
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Remove a lab and everything that it left on this machine
    #[command(after_help = "Examples:\n  clusterctl lab down\n  clusterctl lab down --all")]
    Down {
        /// Every lab
        #[arg(long, conflicts_with = "name")]
        all: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Run a command in a host; its streams, terminal and exit code are passed through
    #[command(after_help = "\
Examples:
  clusterctl lab exec h1
  clusterctl lab exec h1 -- docker node ls
  clusterctl lab exec h2 --name second -- journalctl -u glusterd")]
    Exec {
        /// The host, such as h1
        host: HostId,
        #[command(flatten)]
        which: Which,
        /// The command and its arguments; a shell if there is none
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Show the hosts of a lab and the state of their services
    #[command(after_help = "Examples:\n  clusterctl lab status\n  clusterctl lab status --output json")]
    Status {
        #[command(flatten)]
        which: Which,
    },
    /// Take a host off the network; it goes on running
    #[command(after_help = "Example:\n  clusterctl lab cut h2")]
    Cut(OneHost),
    /// Put a host back on the network
    #[command(after_help = "Example:\n  clusterctl lab heal h2")]
    Heal(OneHost),
    /// Cut a host's power: everything in it dies at once, its disk stays
    #[command(after_help = "Example:\n  clusterctl lab kill h2")]
    Kill(OneHost),
    /// Boot a host that is off from its disk and wait for its services
    #[command(after_help = "Example:\n  clusterctl lab start h2")]
    Start {
        #[command(flatten)]
        which: OneHost,
        #[command(flatten)]
        patience: Patience,
    },
    /// Become the first process of a host
    #[command(hide = true)]
    HostInit {
        #[arg(long)]
        spec: PathBuf,
        #[arg(long)]
        entered: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The name of the lab; labs of different names run side by side
    #[arg(long, default_value = "lab")]
    name: LabName,
    /// Where labs are kept; must be on a real file system
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: StateDir,
}

#[derive(Debug, clap::Args)]
struct OneHost {
    /// The host, such as h1
    host: HostId,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Patience {
    /// How many seconds the services of a host may take to answer
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

/// Runs `args`; with `json`, answers are printed as JSON.
///
/// # Errors
/// Whatever the lab says; its own words name the next step.
pub async fn run(args: LabArgs, json: bool) -> anyhow::Result<()> {
    let lab = |which: &Which| Lab::new(&which.dir, which.name.clone(), &Processes);
    match args.command {
        LabCommand::Up { hosts, which, cgroup_v2, keep, patience } => {
            let started = Instant::now();
            let wish = Wish { hosts, unified_cgroups: cgroup_v2, keep, within: Duration::from_secs(patience.timeout) };
            let summary = lab(&which).up(wish).await?;
            print_summary(&summary, started.elapsed(), json)
        }
        LabCommand::Down { all, which } => {
            let names = if all { Lab::all(&which.dir) } else { vec![which.name] };
            let mut rows = Vec::new();
            for name in names {
                let was_there = Lab::new(&which.dir, name.clone(), &Processes).down().await?;
                if !json {
                    print(&format!("lab {name} {}\n", if was_there { "is gone" } else { "was not there" }))?;
                }
                rows.push(serde_json::json!({ "name": name, "removed": was_there }));
            }
            if json { print_json(&rows) } else { Ok(()) }
        }
        LabCommand::Exec { host, which, command } => {
            let command = if command.is_empty() { vec![OsString::from("bash")] } else { command };
            let run = lab(&which).exec(host, command)?;
            #[expect(clippy::disallowed_methods, reason = "the terminal that the command will talk to is the caller's")]
            let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
            Err(replace_process(&run.env("TERM", &terminal)).into())
        }
        LabCommand::Status { which } => {
            let rows = lab(&which).status().await?;
            if json {
                return print_json(&rows);
            }
            let mut table = Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["HOST", "IP", "SYSTEMD", "DOCKERD", "GLUSTERD", "NETWORK"]);
            let up = |is_up: bool| if is_up { "up" } else { "down" };
            for row in rows {
                let network = if row.connected { "connected" } else { "cut" };
                let (docker, gluster) = (up(row.dockerd), up(row.glusterd));
                let network = if row.systemd == "off" { "-" } else { network };
                table.add_row([&row.host.to_string(), &row.ip.to_string(), &row.systemd, docker, gluster, network]);
            }
            print(&format!("{}\n", table.trim_fmt()))
        }
        LabCommand::Cut(OneHost { host, which }) => Ok(lab(&which).cut(host).await?),
        LabCommand::Heal(OneHost { host, which }) => Ok(lab(&which).heal(host).await?),
        LabCommand::Kill(OneHost { host, which }) => Ok(lab(&which).kill(host).await?),
        LabCommand::Start { which: OneHost { host, which }, patience } => {
            Ok(lab(&which).start(host, Duration::from_secs(patience.timeout)).await?)
        }
        LabCommand::HostInit { spec, entered } => {
            let host = boot::read_spec(&spec)?;
            let error = if entered {
                boot::boot(&host, &Processes).await
            } else {
                let again = ["lab", "host-init", "--entered", "--spec"].map(OsString::from);
                boot::enter(&host, again.into_iter().chain([spec.into_os_string()]).collect())
            };
            Err(error).context("the host does not boot")
        }
    }
}

fn print_summary(summary: &Summary, elapsed: Duration, json: bool) -> anyhow::Result<()> {
    if json {
        let hosts: Vec<_> =
            summary.hosts.iter().map(|(host, ip)| serde_json::json!({ "host": host, "ip": ip })).collect();
        return print_json(&serde_json::json!({
            "name": summary.name,
            "subnet": summary.subnet,
            "hosts": hosts,
            "already": summary.already,
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    let mut text = match summary.already {
        true => format!("lab {} is up already\n", summary.name),
        false => format!("lab {} is up after {:.1} s\n", summary.name, elapsed.as_secs_f64()),
    };
    for (host, ip) in &summary.hosts {
        text.push_str(&format!("  {host}  {ip}\n"));
    }
    print(&format!("{text}try `clusterctl lab exec h1 --name {}`\n", summary.name))
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Whoever reads only the first line of an answer has not made the command fail.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print the answer"),
        Ok(()) | Err(_) => Ok(()),
    }
}
