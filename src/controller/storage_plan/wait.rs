//! What storage waits for, in words that say what to do about it.

use jiff::Timestamp;

use super::Apart;
use crate::cluster::{BRICK_FULL_PERCENT, Hostname};

/// Why storage is not further yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageWait {
    NoBricks,
    /// Nodes that were given a brick have not prepared it.
    Unprepared(Vec<Hostname>),
    /// Waiting a moment for a whole set.
    Settling {
        have: usize,
        need: u32,
        until: Timestamp,
    },
    /// An arbiter volume needs its whole set.
    IncompleteSet {
        have: usize,
        need: u32,
    },
    PeersNotConnected(Vec<String>),
    /// Servers of new bricks do not know each other yet.
    ServersApart(Apart),
    /// Servers that are passed over, and why.
    ServersRefused(Vec<String>),
    /// A half-made create left marks on bricks of these nodes; they are told to clean them.
    MarkedBricks(Vec<Hostname>),
    /// A volume of that name exists with other bricks.
    OtherVolume {
        found: Vec<String>,
    },
    /// The volume has bricks on hosts that are not registered, or not under that address.
    UnregisteredBricks(Vec<String>),
    StoppedByOperator,
    BricksOffline(Vec<String>),
    /// Bricks that are nearly full.
    BricksFull(Vec<String>),
}

impl std::fmt::Display for StorageWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |hosts: &[Hostname]| hosts.iter().map(Hostname::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::NoBricks => f.write_str("no registered node holds a brick yet"),
            Self::Unprepared(hosts) => {
                write!(f, "waiting for {} to prepare its brick (`clusterctl node join` there)", names(hosts))
            }
            Self::Settling { have, need, until: _ } => {
                write!(f, "{have} of {need} bricks: waiting a moment for the others before starting with one")
            }
            Self::IncompleteSet { have, need } => {
                write!(f, "{have} of {need} bricks: an arbiter volume starts with all of them")
            }
            Self::PeersNotConnected(peers) => write!(f, "not connected in the GlusterFS pool: {}", peers.join(", ")),
            Self::ServersApart(Apart::Now) => f.write_str("the pool's new servers are getting to know each other"),
            Self::ServersApart(Apart::ForLong) => f.write_str(
                "the pool's new servers do not all know each other: `gluster pool list` on each shows which; `systemctl restart glusterd` there",
            ),
            Self::ServersRefused(messages) => f.write_str(&messages.join("; ")),
            Self::MarkedBricks(hosts) => write!(
                f,
                "an interrupted create left its mark on the brick of {}; it is cleaned as soon as `clusterctl node join` runs there",
                names(hosts)
            ),
            Self::OtherVolume { found } => write!(
                f,
                "a volume of this name exists that is not what this cluster's would be (bricks: {}); it was left alone: choose another `--volume`",
                found.join(", ")
            ),
            Self::UnregisteredBricks(bricks) => write!(
                f,
                "bricks of the volume on hosts that are not registered under that address: {}; it serves, and does not grow until `clusterctl node join` has run there",
                bricks.join(", ")
            ),
            Self::StoppedByOperator => f.write_str("the volume was stopped by hand: `gluster volume start` it"),
            Self::BricksOffline(bricks) => write!(f, "bricks not online: {}", bricks.join(", ")),
            Self::BricksFull(bricks) => write!(
                f,
                "bricks more than {BRICK_FULL_PERCENT} % full: {}; make room, or join more hosts for another set of bricks",
                bricks.join(", ")
            ),
        }
    }
}
