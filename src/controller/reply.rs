//! From decisions to the reply. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    /// The other managers that the engine knows of, in the same form.
    pub other_managers: Vec<String>,
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
    pub incarnation: &'a str,
    pub revision: u64,
}

/// How many of those who wait may come back in one second.
const RETURNS_PER_SECOND: u64 = 200;
/// The shortest and the longest time over which they come back.
const RETURN_WITHIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a node that does not let its reply be held back is asked to wait: each its own time, around the one in which
/// as many as wait may all have come back once. `lot` is what tells one from another.
#[must_use]
pub fn retry_after(waiting: u64, lot: &[u8]) -> Duration {
    let (least, most) = RETURN_WITHIN;
    let within = Duration::from_millis(waiting.saturating_mul(1_000) / RETURNS_PER_SECOND).clamp(least, most);
    let hash = lot.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let share = f64::from(hash) / f64::from(u32::MAX);
    within / 2 + within.mul_f64(share)
}

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
        incarnation: answer.incarnation.to_owned(),
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
        return waiting(reply, Reason::BelowMinimum, answer);
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
            waiting(reply, *reason, answer)
        }
        SwarmView::Ready(access) => {
            reply.swarm_join_token = access.tokens.for_role(answer.node.role).reveal().to_owned();
            reply.swarm_manager_addr.clone_from(&access.manager);
            reply.swarm_other_managers.clone_from(&access.other_managers);
            reply.swarm_ca_digest = access.ca_digest.to_string();
            reply
        }
    }
}

fn waiting(mut reply: Reply, reason: Reason, answer: &Answer<'_>) -> Reply {
    reply.status = Status::Waiting;
    reply.reason = Some(reason);
    // Whatever one waits for, all do.
    let after = retry_after(answer.counts.total().into(), answer.node.id.as_str().as_bytes());
    reply.retry_after_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lot(n: u32) -> Vec<u8> {
        crate::cluster::NodeId::of_public_key(&n.to_be_bytes()).as_str().as_bytes().to_vec()
    }

    /// C10: however many wait, they come back spread over the time that the controller needs for them.
    #[test]
    fn those_who_wait_come_back_spread() {
        for (waiting, mean) in [(1, 1), (200, 1), (1_000, 5), (5_000, 25), (12_000, 60), (1_000_000, 60)] {
            let times: Vec<u64> = (0..5_000).map(|n| retry_after(waiting, &lot(n)).as_millis() as u64).collect();
            let found = times.iter().sum::<u64>() / times.len() as u64;
            assert!(found.abs_diff(mean * 1_000) < mean * 50, "{waiting}: {found}");
            assert!(times.iter().all(|time| (mean * 500..=mean * 1_500).contains(time)), "{waiting}");
            // No twentieth of the time gets much more than its share.
            let twentieth = |time: &u64| (time - mean * 500) / (mean * 50);
            let mut crowd = [0; 21];
            for time in &times {
                crowd[twentieth(time) as usize] += 1;
            }
            assert!(crowd.iter().all(|come| *come < 2 * 5_000 / 20), "{waiting}: {crowd:?}");
        }
        assert_eq!(retry_after(50, &lot(7)), retry_after(50, &lot(7)), "the same question has the same answer");
    }
}
