//! What the loop tells the rest of the controller: from the pool and the plan to what replies and listings are made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Reconcile;
use crate::cluster::NodeAddress;
use crate::controller::reply::StorageView;
use crate::controller::storage_plan::{PoolView, StoragePlan, StorageStep, Wanted};
use crate::providers::gluster::Volume;

impl Reconcile {
    pub(super) fn publish(&self, wanted: &Wanted, view: &PoolView, plan: &StoragePlan) {
        let volume = view.volume.as_ref();
        let message = plan.waits.first().map(ToString::to_string).unwrap_or_default();
        let allowed = volume
            .and_then(|volume| volume.options.get("auth.allow"))
            .map(|value| value.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        let next = StorageView {
            volume_id: volume.map(|volume| volume.id.clone()).unwrap_or_default(),
            mountable: plan.mountable,
            allowed,
            bricks: volume.map(|volume| volume.bricks.clone()).unwrap_or_default(),
            servers: servers(volume, plan),
            pool: pool(view, plan),
            reset: plan.reset.iter().map(ToString::to_string).collect(),
            message,
            refusals: plan.refusals.iter().map(|(address, why)| (address.to_string(), why.clone())).collect(),
            refused: plan.refused.clone(),
        };
        self.publish.send_if_modified(|current| {
            if **current == next {
                return false;
            }
            if current.message != next.message && !next.message.is_empty() {
                tracing::info!(volume = %wanted.volume.volume, "storage waits: {}", next.message);
            }
            if next.mountable && !current.mountable {
                tracing::info!(volume = %wanted.volume.volume, "storage: the volume is ready to be mounted");
            }
            *current = Arc::new(next);
            true
        });
    }

    pub(super) fn publish_message(&self, line: &str) {
        self.publish.send_if_modified(|current| {
            if current.message == line {
                return false;
            }
            *current = Arc::new(StorageView { message: line.to_owned(), ..(**current).clone() });
            true
        });
    }
}

/// The servers in the pool, and those that are probed next; `None` where an administrator has put servers into it by
/// name, which is not how nodes are registered.
fn pool(view: &PoolView, plan: &StoragePlan) -> Option<BTreeSet<String>> {
    if view.peers.iter().any(|peer| NodeAddress::parse(&peer.hostname).is_err()) {
        return None;
    }
    let probed = plan.steps.iter().filter_map(|step| match step {
        StorageStep::Probe(address) => Some(address.to_string()),
        _ => None,
    });
    Some(view.peers.iter().map(|peer| peer.hostname.clone()).chain(probed).collect())
}

/// The hosts of the volume's bricks, or of those that it is about to be made of.
fn servers(volume: Option<&Volume>, plan: &StoragePlan) -> Vec<String> {
    let planned = plan.steps.iter().find_map(|step| match step {
        StorageStep::Create(new) => Some(&new.bricks),
        _ => None,
    });
    let bricks = volume.map(|volume| &volume.bricks).or(planned);
    bricks.into_iter().flatten().map(|brick| brick.host.clone()).collect()
}
