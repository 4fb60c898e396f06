//! Changes to the controller's state, as data. Time and ids travel inside a command, so that applying it again gives
//! the same state. Commands are journaled: a variant's meaning never changes, new ones are added at the end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::{BrickPath, Hostname, MountPoint, NodeAddress, NodeId, Role, VolumeName};
use crate::protocol::registration::{Facts, NodeReport};

/// One change to the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The cluster gets its id; a second one changes nothing.
    Initialise { cluster_id: String, at: Timestamp },
    /// The Swarm that this cluster is.
    RecordSwarm { swarm: SwarmRecord },
    /// What the shared volume is to be; `None` switches it off for nodes that come.
    ConfigureStorage { storage: Option<StorageRecord> },
    /// An admitted node: new, or known and changed.
    Register { node: AdmittedNode, at: Timestamp },
    /// A node left, or was removed.
    Deregister { id: NodeId, at: Timestamp },
    /// What a node found on its host.
    Report { id: NodeId, report: NodeReport },
    /// The minimum was reached; the gate stays open for these thresholds.
    LatchGate { thresholds: Thresholds },
    /// A change to the volume is about to be tried, so that its traces can be told from others' later.
    RecordIntent { intent: StorageIntent },
    /// The change was seen to be complete.
    ClearIntent,
}

/// A node as admission let it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmittedNode {
    pub id: NodeId,
    /// Whether the node proved, or will prove, its id with a key. Clients of the first implementation have none.
    pub keyed: bool,
    pub hostname: Hostname,
    pub address: NodeAddress,
    pub role: Role,
    pub facts: Facts,
}

/// How many managers and workers the gate asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    pub managers: u32,
    pub workers: u32,
}

/// The identity of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmRecord {
    pub cluster_id: String,
    /// SHA-256 of the root CA in base 36, as join tokens carry it.
    pub ca_digest: String,
}

/// What the shared volume is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageRecord {
    pub volume: VolumeName,
    pub brick: BrickPath,
    pub mount: MountPoint,
    /// Bricks in one set: copies of each file, an arbiter counted.
    pub replica: u32,
    pub arbiter: bool,
    pub allow_root_brick: bool,
}

/// A change to the volume that was about to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageIntent {
    pub volume: VolumeName,
    /// Bricks as `address:path`.
    pub bricks: Vec<String>,
    pub at: Timestamp,
}
