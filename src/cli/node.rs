//! `clusterctl node`: a host that joins. Types and help, and one function for each command.

mod join;
mod join_token;
mod leave;
mod link;
mod list;
mod remove;
mod show;
mod status;

use std::path::Path;

use clap::{Args, Subcommand};

use super::flags::{AccessArgs, NodeArgs, OverlayArgs, StorageSwitch, TokenArgs};
use super::{Exit, Failure, Outcome, OutputFormat};
use crate::cluster::{Hostname, HostnameError, NodeId};
use link::Given;

use crate::config::layer::Flags;
use crate::config::{MasterAddress, Settings};
use crate::nodeagent::membership;
use crate::protocol::registration::{NodeName, RawRequest};

pub(super) const ABOUT: &str = "Join this host to a cluster, leave it; list and remove its hosts";

pub(super) const EXAMPLES: &str = "\
Examples:
  On a host:
    clusterctl node join --master 192.168.1.10 --token-file token
    clusterctl node status      is this host as it should be?
    clusterctl node leave       leave the cluster
  On the master:
    clusterctl node list        who belongs to the cluster
    clusterctl node remove h3   take a host out of it";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    #[command(about = "Join this host to the cluster", long_about = JOIN_LONG, after_help = JOIN_EXAMPLES)]
    Join(JoinArgs),
    #[command(about = "Leave the cluster", long_about = LEAVE_LONG, after_help = LEAVE_EXAMPLES)]
    Leave(LeaveArgs),
    #[command(about = "Show how this host stands in the cluster", long_about = STATUS_LONG, after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    #[command(about = "List the hosts of the cluster", long_about = LIST_LONG, after_help = LIST_EXAMPLES)]
    List(ListArgs),
    #[command(about = "Show what is known of a host", long_about = SHOW_LONG, after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    #[command(about = "Take a host out of the cluster", long_about = REMOVE_LONG, after_help = REMOVE_EXAMPLES)]
    Remove(RemoveArgs),
    #[command(about = "Let another host take a host's name", long_about = REPLACE_LONG, after_help = REPLACE_EXAMPLES)]
    Replace(ReplaceArgs),
}

const LIST_LONG: &str = "\
Asks the controller for the hosts that belong to the cluster. `clusterctl master status` shows how they stand in the \
Swarm and to the shared storage.";
const LIST_EXAMPLES: &str = "\
Examples:
  clusterctl node list
  clusterctl node list --output json
  clusterctl node list --admin-cert alice.json   from another host";
const SHOW_LONG: &str = "\
Asks the controller for all that it knows of one host.";
const SHOW_EXAMPLES: &str = "\
Examples:
  clusterctl node show h3
  clusterctl node show h3 --output yaml";
const REMOVE_LONG: &str = "\
Takes a host out of the cluster for good: its tasks are moved to other hosts, a manager is demoted, the Swarm forgets \
it, and its certificate opens nothing any more. It is not let in again without a new token. Refused where \
the managers that are left could not decide any more, and for a host that holds a share of the data. If it breaks off, \
run it again: it goes on where it was. A host that still runs is better taken out with `clusterctl node leave` on it.\n\n\
With `--force` it goes on where tasks do not end in time, or the host cannot be reached; it says first what that costs.";
const REMOVE_EXAMPLES: &str = "\
Examples:
  clusterctl node remove h3
  clusterctl node remove h3 --force          asks first
  clusterctl node remove h3 --force --yes    for scripts";
const REPLACE_LONG: &str = "\
A host that was installed anew has a new key, and a host name belongs to the key that joined with it: so nobody can \
take a host's place by calling itself the same. This lets the next host that is let in, by token or approval, have the \
name. It changes nothing else: what the old host held of the shared data is not moved.";
const REPLACE_EXAMPLES: &str = "\
Examples:
  clusterctl node replace h3
  clusterctl token create --node h3 --uses 1     then join with it";
const JOIN_LONG: &str = "\
Registers this host with the master and makes it what the master says: a member of the Swarm, with the shared \
directory mounted and, where the master wants it, holding a share of the data. Run it again at any time: it repairs \
what has drifted and says \"nothing to do\" when nothing has. If the master waits for more hosts, it waits with it.\n\n\
A token from `clusterctl token create` lets it in at once, and ties it to that cluster. Give it in a file, on stdin, or \
in CLUSTERCTL_TOKEN rather than on the command line, which others on this host can read.";
const JOIN_EXAMPLES: &str = "\
Examples:
  clusterctl node join --master 192.168.1.10 --token-file token
  pass cluster/token | clusterctl node join --master h1 --token-file -
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
    #[command(flatten)]
    token: TokenArgs,
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
pub(super) struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The host's id or name, as `clusterctl node list` shows it
    #[arg(value_name = "ID|HOSTNAME", value_parser = node_name)]
    node: NodeName,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The host's id or name, as `clusterctl node list` shows it
    #[arg(value_name = "ID|HOSTNAME", value_parser = node_name)]
    node: NodeName,
    /// Go on where its tasks do not end, or it cannot be reached
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// The name, as `clusterctl node list` shows it
    #[arg(value_parser = Hostname::parse)]
    hostname: Hostname,
    #[command(flatten)]
    access: AccessArgs,
}

/// A node by its id or its host name; what has the form of an id is one.
fn node_name(text: &str) -> Result<NodeName, HostnameError> {
    NodeId::parse(text).map(NodeName::Id).or_else(|_| Hostname::parse(text).map(NodeName::Host))
}

/// A request about one node.
fn about(action: &str, node: &NodeName) -> RawRequest {
    let mut request = RawRequest { action: action.to_owned(), ..RawRequest::default() };
    match node {
        NodeName::Id(id) => request.id = id.to_string(),
        NodeName::Host(hostname) => request.hostname = hostname.to_string(),
    }
    request
}

impl NodeCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Join(JoinArgs { node, token, dry_run: _, storage, overlay }) => {
                node.collect(flags);
                token.collect(flags);
                storage.collect(flags);
                overlay.collect(flags);
            }
            Self::Leave(LeaveArgs { node }) => node.collect(flags),
            Self::Status(StatusArgs {}) => {}
            Self::List(ListArgs { access })
            | Self::Show(ShowArgs { access, .. })
            | Self::Remove(RemoveArgs { access, .. })
            | Self::Replace(ReplaceArgs { access, .. }) => access.collect(flags),
        }
    }

    pub(super) async fn run(self, settings: Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Join(args) => {
                let now = args.token.is_given();
                let token = join_token::join_token(&settings, &args.token).await?;
                join::run(&settings, token.map(|token| Given { token, now }), args.dry_run, output).await
            }
            Self::Leave(_) => leave::run(&settings, output).await,
            Self::Status(StatusArgs {}) => status::run(&settings, output).await,
            Self::List(_) => list::run(&settings, output).await,
            Self::Show(args) => show::run(&settings, &args.node, output).await,
            Self::Remove(args) => remove::remove(&settings, &args, output).await,
            Self::Replace(args) => remove::replace(&settings, &args.hostname, output).await,
        }
    }
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
