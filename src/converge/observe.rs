//! Looks at the host: Docker, the brick's directory and the mount, side by side, and only what is desired of them.

use std::path::Path;
use std::sync::Arc;

use super::desired::{Desired, StorageDesired};
use super::observed::{BrickObserved, MountObserved, MountState, Observed};
use super::step::MountSpec;
use crate::failpoint;
use crate::providers::brick_records::BrickRecords;
use crate::providers::gluster::peers_directory::PeersDirectory;
use crate::providers::mounts::{BrickDisk, BrickError, GlusterMount, MountError, Mounter, ProbeResult, is_ours};
use crate::providers::persistence::Persistence;
use crate::providers::swarm::{Engine, SwarmEngine, SwarmError};

/// How many names of files that are in the way are shown.
const NAMES: usize = 4;

/// The hands that look at a host and change it.
#[derive(Clone)]
pub struct Hands {
    pub engine: Arc<dyn SwarmEngine>,
    pub bricks: Arc<dyn BrickDisk>,
    /// Which bricks this node made.
    pub records: BrickRecords,
    /// Whose peer this host's glusterd is.
    pub peers: PeersDirectory,
    pub mounter: Arc<dyn Mounter>,
    pub persistence: Arc<dyn Persistence>,
}

/// Why the host cannot be looked at. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    #[error("Docker on this host cannot be asked")]
    Docker(#[source] SwarmError),
    #[error("the brick cannot be looked at")]
    Brick(#[from] BrickError),
    #[error("the mount cannot be looked at")]
    Mount(#[from] MountError),
    #[error("{what} cannot be read")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
}

impl From<&MountSpec> for GlusterMount {
    fn from(spec: &MountSpec) -> Self {
        Self { servers: spec.servers.clone(), volume: spec.volume.clone(), point: spec.point.clone() }
    }
}

/// Observes what `desired` speaks of. An engine that was looked at a moment ago is not asked again.
///
/// # Errors
/// If Docker does not answer or a file cannot be read.
pub async fn observe(hands: &Hands, desired: &Desired, engine: Option<Engine>) -> Result<Observed, ObserveError> {
    let look_at_engine = async {
        match (&desired.swarm, engine) {
            (None, _) => Ok(None),
            (Some(_), Some(engine)) => Ok(Some(engine)),
            (Some(_), None) => {
                docker_point("J7").await.map_err(ObserveError::Docker)?;
                hands.engine.inspect().await.map(Some).map_err(ObserveError::Docker)
            }
        }
    };
    let look_at_mount = async {
        match &desired.storage {
            Some(storage) => mount(hands, storage).await.map(Some),
            None => Ok(None),
        }
    };
    let (engine, mount) = tokio::join!(look_at_engine, look_at_mount);
    let brick = match &desired.storage {
        Some(storage) => brick(hands, storage).await?,
        None => None,
    };
    Ok(Observed { engine: engine?, brick, mount: mount? })
}

/// A point at which Docker fails, if a test wants it to.
pub(super) async fn docker_point(point: &'static str) -> Result<(), SwarmError> {
    let failed = |error| SwarmError::Unavailable { socket: format!("(point {point})"), source: Box::new(error) };
    failpoint::pass(point).await.map_err(failed)
}

async fn brick(hands: &Hands, storage: &StorageDesired) -> Result<Option<BrickObserved>, ObserveError> {
    let Some(brick) = &storage.brick else { return Ok(None) };
    let facts = hands.bricks.inspect(&brick.path).await?;
    let failed = |source| ObserveError::Io { what: "the record of this node's bricks".to_owned(), source };
    let peers = hands.peers.peers();
    let peers = peers.map_err(|source| ObserveError::Io { what: "glusterd's list of peers".to_owned(), source })?;
    Ok(Some(BrickObserved {
        peers,
        exists: facts.exists || facts.link.is_some(),
        is_directory: facts.is_dir && facts.link.is_none(),
        empty: facts.empty,
        mark: facts.volume_id,
        on_root: facts.on_root_fs,
        keeps_attributes: facts.supports_xattr,
        used_percent: facts.used_percent,
        ours: hands.records.contains(&brick.path, &storage.volume).map_err(failed)?,
    }))
}

async fn mount(hands: &Hands, storage: &StorageDesired) -> Result<MountObserved, ObserveError> {
    let point = &storage.mount;
    let table = hands.mounter.mounts().await?;
    let state = match table.at(point.as_path()) {
        None => MountState::Absent,
        Some(entry) if !is_ours(entry, &storage.volume) => MountState::Foreign { source: entry.source.clone() },
        Some(_) => match hands.mounter.probe(point).await {
            ProbeResult::ReadWrite => MountState::Usable,
            ProbeResult::NotMounted => MountState::Absent,
            ProbeResult::Disconnected => MountState::Stale("its client is gone".to_owned()),
            ProbeResult::Hung => MountState::Stale("it does not answer".to_owned()),
            ProbeResult::ReadOnly => MountState::Unwritable("it is read-only".to_owned()),
            ProbeResult::NoQuorum => MountState::Unwritable("too few bricks answer".to_owned()),
            ProbeResult::Full => MountState::Unwritable("it is full".to_owned()),
            ProbeResult::Failed(why) => MountState::Unwritable(why),
        },
    };
    let failed = |source| ObserveError::Io { what: format!("the mount point {point}"), source };
    let would_hide = if state == MountState::Absent { names_in(point.as_path()).map_err(failed)? } else { Vec::new() };
    let spec = MountSpec { volume: storage.volume.clone(), point: point.clone(), servers: storage.servers.clone() };
    let persistent = hands.persistence.is_set(&GlusterMount::from(&spec)).map_err(failed)?;
    Ok(MountObserved { state, would_hide, persistent })
}

/// Names in a directory, as many as a message has room for; none if it does not exist.
fn names_in(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries.take(NAMES) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
