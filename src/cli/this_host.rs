//! What the commands need of this host, made from the settings: its identity, its address, and the hands that act on
//! Docker, GlusterFS and mounts.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::Progress;
use super::{Exit, Failure};
use crate::cluster::{Hostname, NodeAddress};
use crate::config::Settings;
use crate::converge::observe::Hands;
use crate::ipdetect::{self, interfaces};
use crate::nodeagent::identity::{self, IdentityError, NodeIdentity};
use crate::providers::brick_records::BrickRecords;
use crate::providers::command::{Commander, Processes};
use crate::providers::gluster::peers_directory::{self, PeersDirectory};
use crate::providers::mounts::{LocalDisk, SystemMounter};
use crate::providers::persistence::SystemPersistence;
use crate::providers::swarm::docker::DockerEngine;
use crate::providers::swarm::{Engine, SwarmEngine, SwarmError};

/// Where the controller keeps its state.
pub(super) fn controller_dir(settings: &Settings) -> PathBuf {
    settings.common.state_dir.as_path().join("controller")
}

/// Where the node keeps its key and records.
pub(super) fn node_dir(settings: &Settings) -> PathBuf {
    settings.common.state_dir.as_path().join("node")
}

/// The engine of this host.
pub(super) fn engine(settings: &Settings) -> Arc<dyn SwarmEngine> {
    Arc::new(DockerEngine::new(settings.common.docker_socket.as_path()))
}

/// Runs foreign programs.
pub(super) fn commander() -> Arc<dyn Commander> {
    Arc::new(Processes)
}

/// Everything that looks at this host and changes it.
pub(super) fn hands(settings: &Settings) -> Hands {
    Hands {
        engine: engine(settings),
        bricks: Arc::new(LocalDisk),
        records: BrickRecords::below(&node_dir(settings)),
        peers: PeersDirectory::at(peers_directory::PEERS_DIR),
        mounter: Arc::new(SystemMounter::new(commander())),
        persistence: Arc::new(SystemPersistence::new(commander())),
    }
}

/// This host's key, made now if there is none.
pub(super) fn identity(settings: &Settings) -> Result<NodeIdentity, Failure> {
    identity::load_or_create(&node_dir(settings)).map_err(|error| {
        let hint = match &error {
            IdentityError::Io { .. } => "run as root; `--state-dir` names another place",
            IdentityError::Damaged { .. } => {
                "restore it from a backup; without it this host is a new node: move the file away, run `clusterctl node remove` for the old one on the master, and join again"
            }
            IdentityError::Make(_) => "the host gives no randomness",
        };
        Failure::new(Exit::StorageUnsafe, error).reason("node-key").hint(hint)
    })
}

/// This host's name: as set, or as the system has it.
pub(super) fn hostname(settings: &Settings) -> Result<Hostname, Failure> {
    if let Some(hostname) = &settings.node.hostname {
        return Ok(hostname.clone());
    }
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    Hostname::parse(&name).map_err(|error| {
        Failure::new(
            Exit::InvalidInput,
            anyhow::Error::new(error).context(format!("this host's name `{name}` cannot be used")),
        )
        .reason("hostname")
        .hint("set it with `hostnamectl set-hostname NAME`, or pass `--hostname NAME`")
    })
}

/// This host's address: as set, or as address detection finds it (S2-31, S2-62).
pub(super) fn address(chosen: Option<NodeAddress>, flag: &str) -> Result<NodeAddress, Failure> {
    address_towards(chosen, flag, &[])
}

/// The same, with addresses that go before others of their kind.
pub(super) fn address_towards(
    chosen: Option<NodeAddress>,
    flag: &str,
    preferred: &[Ipv4Addr],
) -> Result<NodeAddress, Failure> {
    if let Some(address) = chosen {
        return Ok(address);
    }
    let failed = |error: interfaces::DetectError| {
        Failure::new(Exit::InvalidInput, error)
            .reason("no-address")
            .hint(format!("`clusterctl ip --explain` lists what there is; `{flag}` sets it"))
    };
    let host = interfaces::list().map_err(failed)?;
    let choice = ipdetect::choose_towards(&host.interfaces, host.default_route.as_deref(), preferred);
    let choice = choice.map_err(|error| failed(error.into()))?;
    tracing::info!(address = %choice.address, interface = choice.interface, because = %choice.because, "address of this host");
    Ok(choice.address)
}

/// How long Docker may take to come up.
const DOCKER_PATIENCE: Duration = Duration::from_secs(60);
const DOCKER_PAUSE: Duration = Duration::from_millis(500);

/// Asks Docker about itself, and waits while it is starting.
pub(super) async fn inspect(engine: &dyn SwarmEngine, progress: Progress) -> Result<Engine, Failure> {
    when_up(async || engine.inspect().await, progress).await
}

/// Docker's version, for which a Docker that is making or joining a Swarm keeps nobody waiting.
pub(super) async fn docker_version(engine: &dyn SwarmEngine, progress: Progress) -> Result<String, Failure> {
    when_up(async || engine.version().await, progress).await
}

async fn when_up<T>(ask: impl AsyncFn() -> Result<T, SwarmError>, progress: Progress) -> Result<T, Failure> {
    let deadline = Instant::now() + DOCKER_PATIENCE;
    let step = progress.step("waiting for Docker to answer");
    loop {
        match ask().await {
            Ok(found) => {
                step.done();
                return Ok(found);
            }
            Err(error) if Instant::now() >= deadline || !is_passing(&error) => return Err(docker_failure(error)),
            Err(_) => tokio::time::sleep(DOCKER_PAUSE).await,
        }
    }
}

/// Whether waiting can help: a socket that is not there at all, on a host without Docker, does not come by itself.
fn is_passing(error: &SwarmError) -> bool {
    let installed = crate::providers::command::find_program(std::path::Path::new("dockerd")).is_some();
    installed && matches!(error, SwarmError::Unavailable { .. } | SwarmError::TimedOut { .. })
}

/// Docker could not be asked.
pub(super) fn docker_failure(error: SwarmError) -> Failure {
    let installed = crate::providers::command::find_program(std::path::Path::new("dockerd")).is_some();
    if installed {
        Failure::new(Exit::Waiting, error)
            .reason("docker-unavailable")
            .hint("look at it with `systemctl status docker`; clusterctl needs root, or access to Docker's socket")
            .next("systemctl start docker")
    } else {
        Failure::new(Exit::MissingProgram, error)
            .reason("docker-missing")
            .hint("install Docker, on Debian with `apt-get install docker.io`; `--docker-socket` names another socket")
    }
}
