//! `clusterctl master`: the host that decides. Types and help, and one function for each command.

mod admin;
mod backup;
mod cert;
mod serve;
mod setup;
mod status;

use clap::{Args, Subcommand};

use super::flags::{AccessArgs, ControllerArgs, OverlayArgs, StorageArgs};
use super::{Failure, Outcome, OutputFormat};
use crate::config::Settings;
use crate::config::layer::Flags;

pub(super) const ABOUT: &str = "Set up and run the master, the host that the others join";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl master init                     start a cluster on this host
  clusterctl master init --enable-glusterfs  with a shared directory
  clusterctl master serve                    let other hosts join
  clusterctl master status                   who has joined, as what
  clusterctl master backup FILE              keep a copy of all that it knows
  clusterctl master cert show                the cluster's certificates
  clusterctl master admin create alice --out alice.json";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum MasterCommand {
    #[command(about = "Make this host the first manager of a Swarm", long_about = INIT_LONG, after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    #[command(about = "Run the controller that hosts join through", long_about = SERVE_LONG, after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    #[command(about = "Show the nodes of the cluster", long_about = STATUS_LONG, after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    #[command(subcommand, about = cert::ABOUT, after_help = cert::EXAMPLES)]
    Cert(cert::CertCommand),
    #[command(subcommand, about = admin::ABOUT, after_help = admin::EXAMPLES)]
    Admin(admin::AdminCommand),
    #[command(about = "Write all that the controller knows into a file", long_about = backup::BACKUP_LONG, after_help = backup::BACKUP_EXAMPLES)]
    Backup(backup::BackupArgs),
    #[command(about = "Make the controller's state out of a backup", long_about = backup::RESTORE_LONG, after_help = backup::RESTORE_EXAMPLES)]
    Restore(backup::RestoreArgs),
    #[command(about = "Forget all registrations", long_about = RESET_LONG, after_help = RESET_EXAMPLES)]
    Reset(ResetArgs),
}

const INIT_LONG: &str = "\
Prepares this host to be the master: checks that Docker (and GlusterFS, if asked for) is there, makes a Swarm with \
this host as its first manager unless there is one already, and records the cluster. Running it again changes \
nothing. Afterwards start `clusterctl master serve`.\n\n\
With `--adopt`, for a controller that lost its state and has no backup: puts the Swarm that this host manages on record \
as it is, every member with its name, address and role, and the shared volume with its bricks. Adopted hosts stay in \
the Swarm; each takes its place in the cluster over by `clusterctl node join` with a new token. The controller must \
not be running.";
const INIT_EXAMPLES: &str = "\
Examples:
  clusterctl master init
  clusterctl master init --advertise-addr 192.168.1.10
  clusterctl master init --enable-glusterfs --brick /data/b1 --mount /mnt/files
  clusterctl master init --enable-glusterfs --allow-root-brick   # one partition
  clusterctl master init --adopt                       # the state is lost";
const SERVE_LONG: &str = "\
Listens for hosts that run `clusterctl node join`, tells each its place in the cluster, and drives the shared \
storage. Runs until it is stopped; nodes that are in the cluster go on without it. Everything it knows is on disk \
before it answers, so it can be stopped and started at any time.";
const SERVE_EXAMPLES: &str = "\
Examples:
  clusterctl master serve
  clusterctl master serve --listen 192.168.1.10:7000
  clusterctl master serve --wait-for-minimum --min-managers 1 --min-workers 2";
const STATUS_LONG: &str = "\
Asks the controller for the nodes it knows: their Swarm role and state, whether they hold data or only \
mount it, and what is wrong where something is. The controller must be running.\n\n\
The Swarm keeps an entry for each join that failed half-way or was made anew. `--prune-ghosts` takes those away that \
are down for more than ten minutes, have no vote, and belong to no registered node; a host that was joined by hand and \
is off is such a one too.";
const STATUS_EXAMPLES: &str = "\
Examples:
  clusterctl master status
  clusterctl master status --output json
  clusterctl master status --prune-ghosts";
const RESET_LONG: &str = "\
Erases what the controller on this host knows: registrations, the record of the cluster, its CA, and with that every \
token and every administrator's file. The Swarm, the shared storage and its data, and all other hosts stay as they \
are, but no node trusts the controller that `clusterctl master init` makes afterwards: each has to join again with a \
new token. The controller must not be running.";
const RESET_EXAMPLES: &str = "\
Examples:
  clusterctl master reset          asks first
  clusterctl master reset --yes    for scripts";

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    overlay: OverlayArgs,
    /// Put the Swarm that this host manages, and its volume, on record as they are
    #[arg(long)]
    adopt: bool,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    controller: ControllerArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    overlay: OverlayArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// First take entries off the Swarm's list that stand for no node and have been down for ten minutes
    #[arg(long)]
    prune_ghosts: bool,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
}

impl MasterCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Init(InitArgs { controller, storage, overlay, adopt: _ })
            | Self::Serve(ServeArgs { controller, storage, overlay }) => {
                controller.collect(flags);
                storage.collect(flags);
                overlay.collect(flags);
            }
            Self::Status(StatusArgs { access, .. }) => access.collect(flags),
            Self::Cert(command) => command.collect(flags),
            Self::Admin(command) => command.collect(flags),
            Self::Backup(_) | Self::Restore(_) | Self::Reset(_) => {}
        }
    }

    pub(super) async fn run(self, settings: Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Init(args) => setup::init(&settings, args.adopt, output).await,
            Self::Serve(_) => serve::run(&settings).await,
            Self::Status(args) => status::run(&settings, args.prune_ghosts, output).await,
            Self::Cert(command) => command.run(&settings, output).await,
            Self::Admin(command) => command.run(&settings, output).await,
            Self::Backup(args) => backup::backup(&settings, &args, output).await,
            Self::Restore(args) => backup::restore(&settings, &args, output).await,
            Self::Reset(args) => setup::reset(&settings, args.yes, output).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Exit, confirm};

    #[tokio::test]
    async fn reset_without_a_terminal_and_without_yes_is_refused() {
        // Under the test runner stdin may be a terminal; then nobody can be asked here.
        if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            return;
        }
        assert_eq!(confirm("x", "reset").await.unwrap_err().exit(), Exit::Usage);
    }
}
