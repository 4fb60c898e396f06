//! Nodes that an administrator removed. Their keys are remembered, so that a certificate that is still valid opens
//! nothing, and so that the node is told that it is over and not that it is unknown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::tombstone_row;
use super::{ClusterState, Effect, TokenRecord};
use crate::cluster::{Hostname, NodeId};

/// Tombstones kept at most; then the oldest goes, whose node is then a stranger like any other.
pub const MAX_TOMBSTONES: usize = 10_000;

/// What is left of a removed node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub id: NodeId,
    pub hostname: Hostname,
    pub removed_at: Timestamp,
}

impl Tombstone {
    /// Whether a token lets the node in again: not one that was there when it was removed, which it may well have.
    #[must_use]
    pub fn yields_to(&self, token: &TokenRecord) -> bool {
        token.created_at > self.removed_at
    }
}

impl ClusterState {
    /// The tombstone of a removed node.
    #[must_use]
    pub fn tombstone(&self, id: &NodeId) -> Option<&Tombstone> {
        self.tombstones.get(id)
    }

    /// The tombstones by node id.
    pub fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.values()
    }

    /// Drops a node. One without a key gets no tombstone: its id is its host name, which is free again.
    pub(super) fn remove(&mut self, sequence: u64, id: &NodeId, at: Timestamp) -> Effect {
        let Some((keyed, hostname)) = self.nodes.get(id).map(|node| (node.keyed, node.hostname.clone())) else {
            return Effect::Unchanged;
        };
        let effect = self.drop_node(id, sequence);
        if keyed {
            if self.tombstones.len() >= MAX_TOMBSTONES {
                let oldest = self.tombstones.values().min_by_key(|stone| (stone.removed_at, stone.id.clone()));
                if let Some(oldest) = oldest.map(|stone| stone.id.clone()) {
                    self.drop_tombstone(sequence, &oldest);
                }
            }
            self.tombstones.insert(id.clone(), Tombstone { id: id.clone(), hostname, removed_at: at });
            self.touch(sequence, tombstone_row(id));
        }
        effect
    }

    pub(super) fn drop_tombstone(&mut self, sequence: u64, id: &NodeId) {
        if self.tombstones.remove(id).is_some() {
            self.touch(sequence, tombstone_row(id));
        }
    }
}
