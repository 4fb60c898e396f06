//! GlusterFS, as seen from one host's `gluster` command: what is asked of it, and what it answers.
//!
//! [`cli::GlusterCli`] is the real one. Exit code 0 proves nothing (GlusterFS says it for "already in peer list", for
//! help texts and, with `--xml`, for refusals), and an error can be a success elsewhere in the pool, or later: callers
//! look again before they decide. One call at a time that changes something: the pool refuses two at once.

pub mod cli;
pub mod peers_directory;
mod refusal;
pub mod xml;

use std::time::Duration;

use crate::cluster::{BrickPath, NodeAddress, VolumeName};

/// One server of the trusted pool as this host sees it; this host itself is in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub uuid: String,
    /// As it was probed; `localhost` for this host.
    pub hostname: String,
    pub connected: bool,
    /// GlusterFS's number; 3 is "Peer in Cluster". This host itself has 3.
    pub state: u32,
    /// GlusterFS's words for `state`.
    pub state_text: String,
}

impl Peer {
    /// Whether volumes may be made on it now.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.connected && self.state == 3
    }

    /// Whether the pool has turned it away: their configurations differ, or it is another installation.
    #[must_use]
    pub fn rejected(&self) -> bool {
        self.state == 6
    }

    /// Whether its way into the pool stopped between the first word and the last.
    #[must_use]
    pub fn halfway(&self) -> bool {
        self.connected && !self.usable() && !self.rejected()
    }
}

/// A brick of a volume: a directory on a server, written `10.0.0.1:/data/x`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Brick {
    /// Address or name of the server, as the volume names it.
    pub host: String,
    pub path: String,
}

impl Brick {
    /// A brick of ours.
    #[must_use]
    pub fn at(address: NodeAddress, path: &BrickPath) -> Self {
        Self { host: address.to_string(), path: path.as_str().to_owned() }
    }
}

impl std::fmt::Display for Brick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.path)
    }
}

/// Whether a volume serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeStatus {
    Created,
    Started,
    Stopped,
}

/// A volume as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    /// GlusterFS's volume id.
    pub id: String,
    pub status: VolumeStatus,
    /// Copies of each file: 1 for plain distribution.
    pub replica: u32,
    /// How many of the `replica` bricks of a set hold no data: 0 or 1.
    pub arbiter: u32,
    pub bricks: Vec<Brick>,
    /// Options that were set, by name, such as `auth.allow`.
    pub options: std::collections::BTreeMap<String, String>,
}

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    pub name: VolumeName,
    pub replica: u32,
    pub arbiter: u32,
    pub bricks: Vec<Brick>,
    /// Accept bricks on the root file system (only if the operator said so).
    pub force: bool,
}

/// A brick's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickStatus {
    pub brick: Brick,
    pub online: bool,
    /// How full its file system is; `None` where nobody says, such as for a brick that is offline.
    pub used_percent: Option<u8>,
}

/// GlusterFS's number for what servers must know to work together, such as 100000 for 10.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpVersions {
    /// What the pool works at.
    pub now: u32,
    /// The highest that all its servers know.
    pub most: u32,
}

/// Why GlusterFS did not do, or say, what was asked. What it did meanwhile is unknown: look again.
#[derive(Debug, thiserror::Error)]
pub enum GlusterError {
    #[error("GlusterFS is not installed: no `gluster` command")]
    NotInstalled,
    #[error("glusterd does not answer")]
    DaemonDown,
    /// The change may still be made, minutes later, when the peer goes on; until then the volume is
    /// [`Busy`](Self::Busy). Probes are not held up.
    #[error("GlusterFS did not finish `{command}` within {deadline:?}: a peer may hang")]
    TimedOut { command: String, deadline: Duration },
    /// Passing: another change is under way.
    #[error("another GlusterFS transaction is in progress")]
    Busy,
    #[error("{host} cannot be reached by GlusterFS: {message}")]
    PeerUnreachable { host: String, message: String },
    #[error("{host} belongs to another GlusterFS pool, or has volumes of its own")]
    ForeignPool { host: String },
    /// Its version does not know all that the pool uses.
    #[error("{host} runs a GlusterFS that is too old for this pool")]
    OldVersion { host: String },
    #[error("volume {0} exists already")]
    VolumeExists(String),
    /// A brick carries the mark of a volume.
    #[error("a brick is already part of a volume: {message}")]
    BrickInUse { message: String },
    #[error("a brick is on the root file system: {message}")]
    BrickOnRoot { message: String },
    #[error("GlusterFS refused `{command}`: {message}")]
    Refused { command: String, message: String },
    #[error("the answer to `{command}` cannot be read: {message}")]
    Unreadable { command: String, message: String },
    #[error("`gluster` could not be run")]
    Command(#[source] crate::providers::command::CommandError),
}

/// One host's view of its pool, and its means to change it.
#[async_trait::async_trait]
pub trait StoragePool: Send + Sync {
    /// The pool, this host included (`pool list`).
    async fn peers(&self) -> Result<Vec<Peer>, GlusterError>;
    /// The pool as another server sees it. For one of this pool that takes a moment longer than this host's own view to be
    /// complete.
    async fn peers_seen_by(&self, server: NodeAddress) -> Result<Vec<Peer>, GlusterError>;
    /// The names of the volumes that another server has, a member of this pool or not.
    async fn volumes_at(&self, server: NodeAddress) -> Result<Vec<String>, GlusterError>;
    /// The ids of all volumes of the pool.
    async fn volume_ids(&self) -> Result<Vec<String>, GlusterError>;
    /// The level that the pool works at, and the highest that all its servers know.
    async fn op_versions(&self) -> Result<OpVersions, GlusterError>;
    /// Takes a server into the pool. `Ok` says that the probe was sent; look at [`peers`](Self::peers).
    async fn probe(&self, address: NodeAddress) -> Result<(), GlusterError>;
    /// The volume of that name; `None` if there is none.
    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, GlusterError>;
    /// Makes a volume; it is not started. The parents of its bricks' directories must exist. A refusal can leave marks
    /// on bricks: on this host's, and on those of servers that agreed before another one refused.
    async fn create(&self, volume: &NewVolume) -> Result<(), GlusterError>;
    /// Starts a volume; `Ok` if it is started already. `force` restarts brick processes that died; it changes no data.
    async fn start(&self, name: &VolumeName, force: bool) -> Result<(), GlusterError>;
    /// Adds bricks; `replica` and `arbiter` are those of the volume afterwards.
    async fn add_bricks(
        &self,
        name: &VolumeName,
        replica: u32,
        arbiter: u32,
        bricks: &[Brick],
        force: bool,
    ) -> Result<(), GlusterError>;
    /// Sets a volume option.
    async fn set_option(&self, name: &VolumeName, option: &str, value: &str) -> Result<(), GlusterError>;
    /// The processes of the bricks of a volume, as [`volume`](Self::volume) just gave it, in its order. A brick whose
    /// server is not connected, and every brick of a volume that is not started, is offline.
    async fn brick_status(&self, volume: &Volume) -> Result<Vec<BrickStatus>, GlusterError>;
    /// Spreads the directory layout over bricks that were added as a further set.
    async fn fix_layout(&self, name: &VolumeName) -> Result<(), GlusterError>;
}
