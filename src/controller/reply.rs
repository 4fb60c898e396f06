//! From decisions to the reply. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{StorageRecord, Thresholds};
use super::gate::Gate;
use super::state::{NodeRecord, RoleCounts, StorageRole};
use super::storage_plan::StorageRefusal;
use crate::cluster::{OverlayConfig, OverlayKind};
use crate::protocol::reply::{Counts, Reason, Reply, Status};
use crate::providers::gluster::Brick;
use crate::providers::swarm::{CaDigest, JoinTokens};

/// What the controller's engine says about the Swarm, as far as replies need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwarmView {
    Ready(SwarmAccess),
    /// Nobody can join at the moment.
    Trouble {
        reason: Reason,
        message: String,
    },
}

/// What lets a node into the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmAccess {
    pub tokens: JoinTokens,
    /// Where a node joins: `IP:2377`.
    pub manager: String,
    pub ca_digest: CaDigest,
    pub cluster_id: String,
}

/// What the reconcile loop last saw of the volume, as far as replies need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageView {
    pub volume_id: String,
    /// Started, and enough bricks are online.
    pub mountable: bool,
    /// Who may mount: addresses, or networks.
    pub allowed: BTreeSet<String>,
    /// The volume's bricks in its order.
    pub bricks: Vec<Brick>,
    /// Hosts that serve the volume, or will once it is made: what nodes write into their mount units.
    pub servers: Vec<String>,
    /// Addresses of the servers in the pool and of those that are being taken into it; `None` while that is
    /// not known.
    pub pool: Option<BTreeSet<String>>,
    /// Addresses of nodes whose brick carries the mark of a create that came to nothing.
    pub reset: BTreeSet<String>,
    /// What is waited for; empty if nothing is.
    pub message: String,
    /// Why hosts are not served, by address.
    pub refusals: BTreeMap<String, StorageRefusal>,
    /// Why nobody is.
    pub refused: Option<StorageRefusal>,
}

/// Everything that a reply to a registered node is made of.
#[derive(Debug)]
pub struct Answer<'a> {
    pub node: &'a NodeRecord,
    pub counts: RoleCounts,
    pub need: Option<Thresholds>,
    pub gate: Gate,
    pub swarm: &'a SwarmView,
    pub storage: Option<&'a StorageRecord>,
    pub view: &'a StorageView,
    pub overlay: &'a OverlayConfig,
    pub cluster_id: &'a str,
    pub revision: u64,
}

/// How long a node that has to wait is asked to wait if it does not let the reply be held back.
const RETRY_AFTER_MS: u64 = 1_000;

/// Composes the reply (S2-54 to S2-60).
#[must_use]
pub fn compose(answer: &Answer<'_>) -> Reply {
    let need = answer.need.unwrap_or_default();
    let mut reply = Reply {
        status: Status::Ready,
        cluster_id: answer.cluster_id.to_owned(),
        node_id: answer.node.id.to_string(),
        node_address: answer.node.address.to_string(),
        revision: Some(answer.revision),
        counts: Some(Counts {
            managers: answer.counts.managers,
            workers: answer.counts.workers,
            min_managers: need.managers,
            min_workers: need.workers,
        }),
        ..Reply::default()
    };
    if let Gate::Waiting { have, need } = answer.gate {
        reply.message = format!(
            "{} of {} managers and {} of {} workers have registered",
            have.managers, need.managers, have.workers, need.workers
        );
        return waiting(reply, Reason::BelowMinimum);
    }
    reply.swarm_role = answer.node.role.to_string();
    if answer.overlay.kind != OverlayKind::None {
        reply.overlay_type = answer.overlay.kind.to_string();
    }
    reply.overlay_payload =
        answer.overlay.payload.as_ref().map(|payload| payload.reveal().to_owned()).unwrap_or_default();
    // Also while the Swarm is away: a brick can be made ready meanwhile.
    storage_words(&mut reply, answer);
    match answer.swarm {
        SwarmView::Trouble { reason, message } => {
            reply.message.clone_from(message);
            waiting(reply, *reason)
        }
        SwarmView::Ready(access) => {
            reply.swarm_join_token = access.tokens.for_role(answer.node.role).reveal().to_owned();
            reply.swarm_manager_addr.clone_from(&access.manager);
            reply.swarm_ca_digest = access.ca_digest.to_string();
            reply
        }
    }
}

fn waiting(mut reply: Reply, reason: Reason) -> Reply {
    reply.status = Status::Waiting;
    reply.reason = Some(reason);
    reply.retry_after_ms = Some(RETRY_AFTER_MS);
    reply
}

fn storage_words(reply: &mut Reply, answer: &Answer<'_>) {
    let (node, view) = (answer.node, answer.view);
    let Some(storage) = answer.storage.filter(|_| node.storage != StorageRole::None) else { return };
    let own = Brick::at(node.address, &storage.brick);
    let inside = view.bricks.contains(&own);
    reply.gluster_enabled = true;
    reply.gluster_volume = storage.volume.to_string();
    reply.gluster_mount = storage.mount.to_string();
    reply.gluster_allow_root_brick = storage.allow_root_brick;
    reply.gluster_volume_id.clone_from(&view.volume_id);
    if node.storage == StorageRole::Brick {
        reply.gluster_brick = storage.brick.to_string();
        reply.gluster_brick_reset = view.reset.contains(&node.address.to_string());
        reply.gluster_pooled = view.pool.as_ref().map(|pool| pool.contains(&node.address.to_string()));
    }
    // A host mounts from itself first if it can, so that its mount needs nobody else's glusterd.
    let mut servers = view.servers.clone();
    servers.sort_by_key(|host| *host != own.host);
    servers.dedup();
    reply.gluster_servers = servers;
    // Clients of the first implementation mount only once their own brick is in the volume.
    let complete = node.keyed || node.storage != StorageRole::Brick || inside;
    let allowed = may_mount(&view.allowed, node.address.ip());
    reply.gluster_ready = view.mountable && allowed && complete;
    let refusal = view.refusals.get(&own.host).filter(|_| node.storage == StorageRole::Brick);
    if let Some(refusal) = view.refused.as_ref().or(refusal) {
        reply.gluster_code = refusal.code.to_owned();
        reply.gluster_message.clone_from(&refusal.message);
    } else if !reply.gluster_ready {
        reply.gluster_message = if !view.message.is_empty() {
            view.message.clone()
        } else if !allowed && !view.volume_id.is_empty() {
            "this node is being let into the volume's access list".to_owned()
        } else {
            "the volume is being prepared".to_owned()
        };
    }
}

/// Whether the volume's access list lets `address` mount.
#[must_use]
pub fn may_mount(allowed: &BTreeSet<String>, address: std::net::Ipv4Addr) -> bool {
    allowed.iter().any(|entry| {
        entry.parse::<std::net::Ipv4Addr>().is_ok_and(|one| one == address)
            || entry.parse::<ipnet::Ipv4Net>().is_ok_and(|net| net.contains(&address))
    })
}
