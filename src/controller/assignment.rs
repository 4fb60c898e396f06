//! Who holds a brick (S2-75). Pure: the answer follows from the state and the node alone, and once given it stays.
//!
//! Every host that runs glusterd keeps a brick ready; the volume takes bricks in whole sets only, in the order in
//! which their hosts first registered (see [`storage_plan`](super::storage_plan)). Clients of the first
//! implementation wait until their brick is in the volume before they mount it, so they are given one only while
//! the first set is not full.

use super::command::AdmittedNode;
use super::state::{ClusterState, StorageRole};

/// What `node` is to the volume.
#[must_use]
pub fn assign(state: &ClusterState, node: &AdmittedNode) -> StorageRole {
    let known = state.node(&node.id).or_else(|| state.node_named(&node.hostname)).map(|known| known.storage);
    let Some(storage) = state.storage() else {
        // Switched off: bricks that exist keep their data and stay on record.
        return if known == Some(StorageRole::Brick) { StorageRole::Brick } else { StorageRole::None };
    };
    match known {
        Some(StorageRole::Brick) => StorageRole::Brick,
        _ if !node.facts.gluster_capable => StorageRole::None,
        _ if node.facts.gluster_client_only => StorageRole::Client,
        Some(StorageRole::Client) if !node.keyed => StorageRole::Client,
        Some(StorageRole::Client | StorageRole::None) | None => {
            // Looked at for clients of the first implementation alone: it is a walk over all nodes.
            let room = || {
                let bricks = state.nodes().filter(|other| other.storage == StorageRole::Brick);
                bricks.take(storage.replica as usize).count() < storage.replica as usize
            };
            if node.keyed || room() { StorageRole::Brick } else { StorageRole::Client }
        }
    }
}
