//! One change to a host. A step carries everything that it needs, so that carrying it out leaves no choice.

use std::fmt;

use crate::cluster::{BrickPath, MountPoint, VolumeName};
use crate::providers::swarm::Join;

/// One change to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Drop a join that never got through.
    AbandonPendingJoin,
    /// Give up a worker's place in the Swarm that its certificate opens no more, for it to join again.
    LeaveBrokenSwarm {
        swarm_node_id: String,
    },
    JoinSwarm(Join),
    /// Record that the brick is about to be made by us, then make its directory.
    PrepareBrick {
        path: BrickPath,
        volume: VolumeName,
    },
    /// Take the mark of a create that came to nothing off an empty brick of ours.
    ResetBrick {
        path: BrickPath,
        mark: String,
    },
    /// Take away a mount whose client is gone.
    Unmount {
        point: MountPoint,
    },
    Mount(MountSpec),
    /// See to it that the mount comes back after a reboot.
    PersistMount(MountSpec),
}

/// The volume's mount on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    pub volume: VolumeName,
    pub point: MountPoint,
    pub servers: Vec<String>,
}

/// Steps of different tracks do not depend on each other and run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    Swarm,
    Storage,
}

impl Step {
    /// The track that the step belongs to.
    #[must_use]
    pub fn track(&self) -> Track {
        match self {
            Self::AbandonPendingJoin | Self::LeaveBrokenSwarm { .. } | Self::JoinSwarm(_) => Track::Swarm,
            Self::PrepareBrick { .. }
            | Self::ResetBrick { .. }
            | Self::Unmount { .. }
            | Self::PersistMount(_)
            | Self::Mount(_) => Track::Storage,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AbandonPendingJoin => f.write_str("drop the Swarm join that never got through"),
            Self::LeaveBrokenSwarm { swarm_node_id } => {
                write!(f, "give up the broken place in the Swarm ({swarm_node_id})")
            }
            Self::JoinSwarm(join) => write!(f, "join the Swarm at {} as {}", join.managers.join(", "), join.advertise),
            Self::PrepareBrick { path, volume } => write!(f, "make the directory {path} for a brick of `{volume}`"),
            Self::ResetBrick { path, mark: _ } => {
                write!(f, "clean the mark of an interrupted create off the empty brick {path}")
            }
            Self::Unmount { point } => write!(f, "take away the dead mount at {point}"),
            Self::Mount(spec) => {
                write!(f, "mount `{}` from {} at {}", spec.volume, spec.servers.join(", "), spec.point)
            }
            Self::PersistMount(spec) => write!(f, "make the mount at {} come back after a reboot", spec.point),
        }
    }
}
