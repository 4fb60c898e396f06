//! What one host is, as far as a plan needs it. A part that is `None` was not looked at, since nothing is desired of it.

use crate::providers::swarm::Engine;

/// What one host is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub engine: Option<Engine>,
    pub brick: Option<BrickObserved>,
    pub mount: Option<MountObserved>,
}

/// A brick's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrickObserved {
    pub exists: bool,
    pub is_directory: bool,
    /// Nothing in it but GlusterFS's own skeleton.
    pub empty: bool,
    /// The volume id that it is marked with.
    pub mark: Option<String>,
    pub on_root: bool,
    /// The file system keeps the extended attributes that GlusterFS needs.
    pub keeps_attributes: bool,
    /// How full the file system is.
    pub used_percent: Option<u8>,
    /// The servers that this host's glusterd is a peer of.
    pub peers: Vec<String>,
    /// This node recorded that it made the brick for this volume, before anything was in it.
    pub ours: bool,
}

/// A mount point, and how it comes back after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountObserved {
    pub state: MountState,
    /// What lies in the directory that is to be mounted over, the first few names of it.
    pub would_hide: Vec<String>,
    /// The unit file or fstab line is as it should be.
    pub persistent: bool,
}

/// What is at a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountState {
    Absent,
    /// Our volume: it could be read from and written to.
    Usable,
    /// Our volume, and the client behind it is gone or does not answer: mounting again helps.
    Stale(String),
    /// Our volume, and writing fails for a reason that mounting again does not change (no quorum, full).
    Unwritable(String),
    /// Something else is mounted there.
    Foreign {
        source: String,
    },
}
