//! Nodes that an administrator removed. Their keys are remembered, so that a certificate that is still valid opens
//! nothing, and so that the node is told that it is over and not that it is unknown.
//!
//! What would surprise: a node can be on record and have a tombstone. It is being taken out: it is answered no more from
//! the first moment on, and what is known of it is needed until it is out of the Swarm.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::tombstone_row;
use super::{ClusterState, Effect, NodeRecord, TokenRecord};
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

    /// The node, if it is answered: it is on record, and not on its way out.
    #[must_use]
    pub fn member(&self, id: &NodeId) -> Option<&NodeRecord> {
        self.node(id).filter(|_| !self.tombstones.contains_key(id))
    }

    /// Whether a node is on record and on its way out.
    #[must_use]
    pub fn is_leaving(&self, id: &NodeId) -> bool {
        self.nodes.contains_key(id) && self.tombstones.contains_key(id)
    }

    /// Answers a node no more; it stays on record.
    pub(super) fn expel(&mut self, sequence: u64, id: &NodeId, at: Timestamp) -> Effect {
        let Some(hostname) = self.member(id).map(|node| node.hostname.clone()) else { return Effect::Unchanged };
        self.drop_requests_of(sequence, id);
        self.bury(sequence, Tombstone { id: id.clone(), hostname, removed_at: at });
        Effect::Changed
    }

    /// Drops a node. One without a key keeps no tombstone: its id is its host name, which is free again.
    pub(super) fn remove(&mut self, sequence: u64, id: &NodeId, at: Timestamp) -> Effect {
        let Some((keyed, hostname)) = self.nodes.get(id).map(|node| (node.keyed, node.hostname.clone())) else {
            return Effect::Unchanged;
        };
        let effect = self.drop_node(id, sequence);
        if keyed {
            self.bury(sequence, Tombstone { id: id.clone(), hostname, removed_at: at });
        } else {
            self.drop_tombstone(sequence, id);
        }
        effect
    }

    /// Sets a tombstone; where there is no room, the oldest of a node that is gone gives way.
    fn bury(&mut self, sequence: u64, stone: Tombstone) {
        if self.tombstones.len() >= MAX_TOMBSTONES && !self.tombstones.contains_key(&stone.id) {
            let gone = self.tombstones.values().filter(|stone| !self.nodes.contains_key(&stone.id));
            let oldest = gone.min_by_key(|stone| (stone.removed_at, stone.id.clone())).map(|stone| stone.id.clone());
            if let Some(oldest) = oldest {
                self.drop_tombstone(sequence, &oldest);
            }
        }
        self.touch(sequence, tombstone_row(&stone.id));
        self.tombstones.insert(stone.id.clone(), stone);
    }

    pub(super) fn drop_tombstone(&mut self, sequence: u64, id: &NodeId) {
        if self.tombstones.remove(id).is_some() {
            self.touch(sequence, tombstone_row(id));
        }
    }
}
