//! What one host should be.

use crate::cluster::{BrickPath, MountPoint, NodeAddress, OverlayConfig, Role, Secret, VolumeName};
use crate::providers::swarm::CaDigest;

/// What one host should be, as far as the controller has said. A part that is `None` is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    pub swarm: Option<SwarmDesired>,
    pub storage: Option<StorageDesired>,
    /// What must be connected before anything else is done.
    pub overlay: OverlayConfig,
}

/// Its place in the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmDesired {
    pub role: Role,
    /// `None` when the controller only tells which Swarm it speaks of.
    pub token: Option<Secret>,
    pub managers: Vec<String>,
    pub advertise: NodeAddress,
    /// Which Swarm.
    pub ca_digest: CaDigest,
    /// This host's id in it when it last joined, as recorded then; `None` if nothing is on record.
    pub recorded: Option<String>,
}

/// Its part in the shared volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageDesired {
    pub volume: VolumeName,
    /// GlusterFS's id of the volume; `None` while there is none.
    pub volume_id: Option<String>,
    pub mount: MountPoint,
    /// Why storage is not for this host until somebody has seen to it.
    pub refusal: Option<StorageRefusal>,
    /// Whether the volume may be mounted yet.
    pub mountable: bool,
    /// Why not.
    pub why_not: String,
    /// Hosts to mount from, the first one first.
    pub servers: Vec<String>,
    pub brick: Option<BrickDesired>,
}

/// Why the controller does not serve this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRefusal {
    /// In kebab case.
    pub code: String,
    pub message: String,
}

/// A brick to keep ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickDesired {
    pub path: BrickPath,
    pub allow_root: bool,
    /// The volume has a brick at this host: what is at `path` must be it.
    pub in_volume: bool,
    /// Whether this host is in the controller's storage pool; `None` if that is not known.
    pub pooled: Option<bool>,
    /// A create came to nothing: the mark that it left on an empty brick of ours is to go.
    pub reset: bool,
}
