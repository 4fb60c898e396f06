//! What the front door remembers of nodes and forgets at a restart, so that it costs no write.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::NodeId;
use crate::controller::clones::Boots;
use crate::controller::overview::Seen;

/// Bounded by the nodes on record, and the requests.
#[derive(Debug, Default)]
pub struct Memory {
    /// A digest of the last line logged for each node, so that only changes are logged.
    said: Mutex<HashMap<NodeId, u64>>,
    seen: Mutex<HashMap<NodeId, Seen>>,
    /// From which boots nodes on record were heard.
    boots: Mutex<HashMap<NodeId, Boots>>,
    /// The nodes that wait for an administrator with a reply held back: one each.
    waiting: Mutex<HashSet<NodeId>>,
    /// Held by the one that puts on record that the gate is open.
    pub(super) latching: tokio::sync::Mutex<()>,
}

/// A node that waits; it no longer does when this is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Memory, NodeId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

impl Memory {
    /// Whether `line` differs from what was said about the node last.
    pub(super) fn says_anew(&self, id: &NodeId, line: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let digest = hasher.finish();
        lock(&self.said).insert(id.clone(), digest) != Some(digest)
    }

    /// Notes that a node on record was heard.
    pub(super) fn hears(&self, id: &NodeId, seen: Seen) {
        lock(&self.seen).insert(id.clone(), seen);
    }

    /// Notes from which boot a node on record was heard; says whether two hosts share its key.
    pub(super) fn hears_boot(&self, id: &NodeId, boot_id: &str, now: Duration) -> bool {
        lock(&self.boots).entry(id.clone()).or_default().hears(boot_id, now)
    }

    /// When nodes were last heard. Nobody is noted while this is held: look, and let go.
    pub(super) fn seen(&self) -> MutexGuard<'_, HashMap<NodeId, Seen>> {
        lock(&self.seen)
    }

    /// How many nodes' last lines are remembered, how many nodes' last words, how many nodes' boots, and how many nodes
    /// wait for an administrator.
    pub(super) fn sizes(&self) -> [usize; 4] {
        [lock(&self.said).len(), lock(&self.seen).len(), lock(&self.boots).len(), lock(&self.waiting).len()]
    }

    pub(super) fn forget(&self, id: &NodeId) {
        lock(&self.said).remove(id);
        lock(&self.seen).remove(id);
        lock(&self.boots).remove(id);
    }

    /// A place for a reply that is held back until an administrator has decided, unless the node has one already.
    pub(super) fn wait(&self, id: &NodeId) -> Option<Waiting<'_>> {
        lock(&self.waiting).insert(id.clone()).then(|| Waiting(self, id.clone()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
