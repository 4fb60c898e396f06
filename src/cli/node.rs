//! `clusterctl node`: a host that joins. Types and help, and one function for each command.

mod join;
mod leave;
mod status;

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::flags::{NodeArgs, OverlayArgs, StorageSwitch};
use super::{Exit, Failure, Outcome, OutputFormat};
use crate::clock::SystemClock;
use crate::config::layer::Flags;
use crate::config::{MasterAddress, Settings};
use crate::nodeagent::client::Link;
use crate::nodeagent::identity::NodeIdentity;
use crate::nodeagent::membership;
use crate::pki::Trust;

pub(super) const ABOUT: &str = "Join this host to a cluster, look at it, or leave";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl node join --master 192.168.1.10   join the cluster of that master
  clusterctl node status                       is this host as it should be?
  clusterctl node leave                        leave the cluster";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    #[command(about = "Join this host to the cluster", long_about = JOIN_LONG, after_help = JOIN_EXAMPLES)]
    Join(JoinArgs),
    #[command(about = "Leave the cluster", long_about = LEAVE_LONG, after_help = LEAVE_EXAMPLES)]
    Leave(LeaveArgs),
    #[command(about = "Show how this host stands in the cluster", long_about = STATUS_LONG, after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    #[command(about = "Forget a host that is gone", long_about = REMOVE_LONG, after_help = REMOVE_EXAMPLES)]
    Remove(RemoveArgs),
}

const REMOVE_LONG: &str = "\
Run on the master: takes a host that is gone, or was installed anew, out of the controller's registrations, so that \
its name and address are free again. The Swarm's own entry stays: `docker node rm` removes it. A host that still runs \
is better taken out with `clusterctl node leave` on it.";
const REMOVE_EXAMPLES: &str = "\
Examples:
  clusterctl node remove h3";
const JOIN_LONG: &str = "\
Registers this host with the master and makes it what the master says: a member of the Swarm, with the shared \
directory mounted and, where the master wants it, holding a share of the data. Run it again at any time: it repairs \
what has drifted and says \"nothing to do\" when nothing has. If the master waits for more hosts, it waits with it.";
const JOIN_EXAMPLES: &str = "\
Examples:
  clusterctl node join --master 192.168.1.10
  clusterctl node join --master master.lan:7000 --role manager
  clusterctl node join --master 192.168.1.10 --dry-run     what would be done
  clusterctl node join --master 192.168.1.10 --disable-glusterfs";
const LEAVE_LONG: &str = "\
Takes this host out of the cluster: unmounts the shared directory, leaves the Swarm and tells the master. Refused on \
a host that holds a share of the data and on the last manager, since that would lose something.";
const LEAVE_EXAMPLES: &str = "\
Examples:
  clusterctl node leave";
const STATUS_LONG: &str = "\
Looks at this host: its address, its place in the Swarm, the shared directory. Changes nothing.";
const STATUS_EXAMPLES: &str = "\
Examples:
  clusterctl node status
  clusterctl node status --output json";

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Register, print what would be done on this host, and do none of it
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    storage: StorageSwitch,
    #[command(flatten)]
    overlay: OverlayArgs,
}

#[derive(Debug, Args)]
pub(super) struct LeaveArgs {
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The host's name, as `clusterctl master status` shows it
    hostname: String,
}

impl NodeCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Join(JoinArgs { node, dry_run: _, storage, overlay }) => {
                node.collect(flags);
                storage.collect(flags);
                overlay.collect(flags);
            }
            Self::Leave(LeaveArgs { node }) => node.collect(flags),
            Self::Status(StatusArgs {}) | Self::Remove(_) => {}
        }
    }

    pub(super) async fn run(self, settings: Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Join(args) => join::run(&settings, args.dry_run, output).await,
            Self::Leave(_) => leave::run(&settings).await,
            Self::Remove(args) => leave::remove(&settings, &args.hostname).await,
            Self::Status(StatusArgs {}) => status::run(&settings, output).await,
        }
    }
}

/// The way to the master. Whoever answers first is taken for it.
fn link(master: MasterAddress, identity: &NodeIdentity) -> Result<Link, Failure> {
    let shown = identity.credentials(None).map_err(|error| Failure::new(Exit::Bug, error).reason("node-key"))?;
    Ok(Link::new(master, Trust::FirstUse, shown, Arc::new(SystemClock)))
}

/// The master: as set, or the one of the last join.
fn master(settings: &Settings, directory: &Path) -> Result<MasterAddress, Failure> {
    if let Some(master) = &settings.node.master {
        return Ok(master.clone());
    }
    let remembered = membership::load(directory)
        .map_err(|error| Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("pass `--master`"))?;
    match remembered.map(|member| MasterAddress::parse(&member.master)) {
        Some(Ok(master)) => Ok(master),
        Some(Err(_)) | None => Err(Failure::message(Exit::InvalidInput, "which master? `node.master` is not set")
            .reason("no-master")
            .hint("pass `--master IP:7000`, set `CLUSTERCTL_NODE_MASTER`, or `node.master` in the settings file")),
    }
}
