//! From the bricks that nodes keep ready and the volume as it is to the next changes of pool and volume. Pure.
//!
//! The rules that save data: one brick, then straight to a whole replica set, then whole sets more; never a replica
//! count of 2; a set with an arbiter is made at once, never grown into; a volume that is not what the registered
//! nodes say is left alone; and a volume is served to nobody who is not registered.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::command::{StorageIntent, StorageRecord};
use crate::cluster::{BrickPath, Hostname, NodeAddress};
use crate::providers::gluster::{Brick, BrickStatus, NewVolume, Peer, Volume, VolumeStatus};

mod wait;

pub use wait::StorageWait;

/// A node that keeps a brick ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub hostname: Hostname,
    pub address: NodeAddress,
    /// The node said that the directory exists and may be taken. Clients of the first implementation never say it
    /// and count as prepared.
    pub prepared: bool,
    /// The volume id that the directory is marked with; empty if it is not.
    pub mark: String,
    pub registered_at: Timestamp,
    /// GlusterFS on this host could not reach it a moment ago.
    pub unreachable: bool,
}

/// What the volume is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub volume: StorageRecord,
    /// In the order of their first registration.
    pub candidates: Vec<Candidate>,
    /// Everybody who may mount: registered addresses, or the configured networks. Sorted.
    pub allowed: BTreeSet<String>,
    /// How long to wait for a whole set before a volume of one brick is made.
    pub settle: SignedDuration,
    /// When the first brick was seen to be ready. Nodes may have registered long before they were told to prepare one.
    pub prepared_since: Option<Timestamp>,
    /// A change that was about to be tried and was not seen to be complete.
    pub intent: Option<StorageIntent>,
    /// Somebody has mounted the volume before: then it need not be whole to be mounted again.
    pub served_before: bool,
}

/// The pool as it was just seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolView {
    pub peers: Vec<Peer>,
    pub volume: Option<Volume>,
    /// Seen only while the volume is started.
    pub bricks: Vec<BrickStatus>,
}

/// One change of pool or volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageStep {
    Probe(NodeAddress),
    Create(NewVolume),
    Allow {
        value: String,
    },
    Start {
        force: bool,
    },
    AddBricks {
        replica: u32,
        bricks: Vec<Brick>,
        force: bool,
    },
    /// Nothing of the intended change is missing any more.
    ForgetIntent,
}

/// What to do next, and what is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoragePlan {
    pub steps: Vec<StorageStep>,
    pub waits: Vec<StorageWait>,
    /// The volume is started and enough of it is online to be mounted.
    pub mountable: bool,
    /// Nodes whose brick carries the mark of a create that came to nothing.
    pub reset: Vec<NodeAddress>,
}

/// Plans the next changes.
#[must_use]
pub fn plan(wanted: &Wanted, view: &PoolView, now: Timestamp) -> StoragePlan {
    match &view.volume {
        None => plan_create(wanted, view, now),
        Some(volume) => plan_existing(wanted, view, volume),
    }
}

/// The next time at which the plan changes by itself.
#[must_use]
pub fn wake_at(plan: &StoragePlan) -> Option<Timestamp> {
    plan.waits.iter().find_map(|wait| match wait {
        StorageWait::Settling { until, .. } => Some(*until),
        StorageWait::NoBricks
        | StorageWait::Unprepared(_)
        | StorageWait::IncompleteSet { .. }
        | StorageWait::PeersNotConnected(_)
        | StorageWait::MarkedBricks(_)
        | StorageWait::OtherVolume { .. }
        | StorageWait::UnregisteredBricks(_)
        | StorageWait::StoppedByOperator
        | StorageWait::BricksOffline(_) => None,
    })
}

/// Whether the candidate's glusterd may be counted on, as far as anybody has tried.
fn answers(candidate: &Candidate, view: &PoolView) -> bool {
    let address = candidate.address.to_string();
    let peer = view.peers.iter().find(|peer| peer.hostname == address);
    !candidate.unreachable && peer.is_none_or(Peer::usable)
}

fn brick_of(candidate: &Candidate, path: &BrickPath) -> Brick {
    Brick::at(candidate.address, path)
}

fn plan_create(wanted: &Wanted, view: &PoolView, now: Timestamp) -> StoragePlan {
    let mut plan = StoragePlan::default();
    let set = wanted.volume.replica as usize;
    if wanted.candidates.is_empty() {
        plan.waits.push(StorageWait::NoBricks);
        return plan;
    }
    let registered = wanted.candidates.iter().map(|candidate| candidate.registered_at);
    let newest = registered.chain(wanted.prepared_since).max().unwrap_or(now);
    let until = newest.checked_add(wanted.settle).unwrap_or(now);
    let mut order: Vec<&Candidate> = wanted.candidates.iter().collect();
    if now >= until {
        // A node that died, before its brick was ready or after, does not hold up the others.
        order.sort_by_key(|candidate| !candidate.prepared || !answers(candidate, view));
    }
    let chosen: Vec<&Candidate> = order.into_iter().take(set).collect();
    let prepared = chosen.iter().filter(|candidate| candidate.prepared).count();

    let bricks: &[&Candidate] = if prepared >= set {
        &chosen
    } else if wanted.volume.arbiter {
        plan.waits.push(StorageWait::IncompleteSet { have: prepared, need: wanted.volume.replica });
        &[]
    } else if now < until {
        plan.waits.push(StorageWait::Settling { have: prepared, need: wanted.volume.replica, until });
        &[]
    } else {
        &chosen[..prepared.min(1)]
    };
    let unprepared: Vec<Hostname> =
        chosen.iter().filter(|candidate| !candidate.prepared).map(|candidate| candidate.hostname.clone()).collect();
    if bricks.is_empty() && !unprepared.is_empty() {
        plan.waits.push(StorageWait::Unprepared(unprepared));
    }
    // Where a whole set is in sight, its hosts are probed already.
    let to_probe: &[&Candidate] = if chosen.len() >= set { &chosen } else { bricks };
    if !probe_missing(&mut plan, to_probe, view) || bricks.is_empty() {
        return plan;
    }
    if wait_for_marked(&mut plan, wanted, bricks) {
        return plan;
    }
    plan.steps.push(StorageStep::Create(NewVolume {
        name: wanted.volume.volume.clone(),
        replica: if bricks.len() == 1 { 1 } else { wanted.volume.replica },
        arbiter: u32::from(wanted.volume.arbiter && bricks.len() > 1),
        bricks: bricks.iter().map(|candidate| brick_of(candidate, &wanted.volume.brick)).collect(),
        force: wanted.volume.allow_root_brick,
    }));
    // The access list before the start, so that the volume is never open to everybody.
    plan.steps.push(StorageStep::Allow { value: access_list(wanted) });
    plan.steps.push(StorageStep::Start { force: false });
    plan
}

fn access_list(wanted: &Wanted) -> String {
    wanted.allowed.iter().cloned().collect::<Vec<_>>().join(",")
}

/// Adds a probe for each host that is not in the pool, and a wait for those that are not connected; says whether
/// all are usable.
fn probe_missing(plan: &mut StoragePlan, hosts: &[&Candidate], view: &PoolView) -> bool {
    let mut unusable = Vec::new();
    for candidate in hosts {
        let address = candidate.address.to_string();
        // `pool list` names this host itself `localhost`; the caller rewrites that to its registered address.
        match view.peers.iter().find(|peer| peer.hostname == address) {
            None => plan.steps.push(StorageStep::Probe(candidate.address)),
            Some(peer) if !peer.usable() => unusable.push(format!("{address} ({})", peer.state_text)),
            Some(_) => {}
        }
    }
    let all_known = plan.steps.is_empty();
    if !unusable.is_empty() {
        plan.waits.push(StorageWait::PeersNotConnected(unusable.clone()));
    }
    all_known && unusable.is_empty()
}

/// Waits for bricks that carry the mark of a create that came to nothing, and has those cleaned that the record names;
/// says whether there are any.
fn wait_for_marked(plan: &mut StoragePlan, wanted: &Wanted, bricks: &[&Candidate]) -> bool {
    let marked: Vec<&Candidate> = bricks.iter().copied().filter(|candidate| !candidate.mark.is_empty()).collect();
    if marked.is_empty() {
        return false;
    }
    plan.waits.push(StorageWait::MarkedBricks(marked.iter().map(|candidate| candidate.hostname.clone()).collect()));
    plan.reset = marked
        .iter()
        .filter(|candidate| intended(wanted.intent.as_ref(), &brick_of(candidate, &wanted.volume.brick)))
        .map(|candidate| candidate.address)
        .collect();
    true
}

fn intended(intent: Option<&StorageIntent>, brick: &Brick) -> bool {
    intent.is_some_and(|intent| intent.bricks.contains(&brick.to_string()))
}

fn plan_existing(wanted: &Wanted, view: &PoolView, volume: &Volume) -> StoragePlan {
    let mut plan = StoragePlan::default();
    if let Some(found) = foreign(wanted, volume) {
        plan.waits.push(StorageWait::OtherVolume { found });
        return plan;
    }
    if let Some(intent) = &wanted.intent
        && intent.bricks.iter().all(|brick| volume.bricks.iter().any(|have| have.to_string() == *brick))
    {
        plan.steps.push(StorageStep::ForgetIntent);
    }
    let current: BTreeSet<String> = volume
        .options
        .get("auth.allow")
        .map(|value| value.split(',').map(|part| part.trim().to_owned()).collect())
        .unwrap_or_default();
    if current != wanted.allowed && !wanted.allowed.is_empty() {
        plan.steps.push(StorageStep::Allow { value: access_list(wanted) });
    }
    match volume.status {
        VolumeStatus::Created => {
            plan.steps.push(StorageStep::Start { force: false });
            return plan;
        }
        VolumeStatus::Stopped => {
            plan.waits.push(StorageWait::StoppedByOperator);
            return plan;
        }
        VolumeStatus::Started => {}
    }
    judge_online(&mut plan, wanted, view, volume);
    let strangers = unregistered(wanted, volume);
    if strangers.is_empty() {
        plan_growth(&mut plan, wanted, view, volume);
    } else {
        plan.waits.push(StorageWait::UnregisteredBricks(strangers));
    }
    plan
}

/// The bricks of a volume that is none of ours: of another shape, or with bricks in another place; `None` if it is.
fn foreign(wanted: &Wanted, volume: &Volume) -> Option<Vec<String>> {
    let elsewhere: Vec<String> =
        volume.bricks.iter().filter(|brick| brick.path != wanted.volume.brick.as_str()).map(Brick::to_string).collect();
    let shape = volume.replica == wanted.volume.replica || (volume.replica == 1 && volume.bricks.len() == 1);
    let kind = volume.replica == 1 || volume.arbiter == u32::from(wanted.volume.arbiter);
    if elsewhere.is_empty() && shape && kind {
        return None;
    }
    if elsewhere.is_empty() { Some(volume.bricks.iter().map(Brick::to_string).collect()) } else { Some(elsewhere) }
}

/// Bricks of the volume on hosts that are not registered, or registered under another address. They serve as before;
/// the volume only does not grow until somebody has looked.
fn unregistered(wanted: &Wanted, volume: &Volume) -> Vec<String> {
    let known: BTreeSet<String> =
        wanted.candidates.iter().map(|candidate| brick_of(candidate, &wanted.volume.brick).to_string()).collect();
    volume.bricks.iter().map(Brick::to_string).filter(|brick| !known.contains(brick)).collect()
}

fn judge_online(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView, volume: &Volume) {
    let online = |brick: &Brick| view.bricks.iter().any(|status| status.online && status.brick == *brick);
    let offline: Vec<&Brick> = volume.bricks.iter().filter(|brick| !online(brick)).collect();
    let set = volume.replica.max(1) as usize;
    let has_quorum = volume.bricks.chunks(set).all(|bricks| {
        let up = bricks.iter().filter(|brick| online(brick)).count();
        up * 2 > bricks.len()
    });
    plan.mountable = offline.is_empty() || (wanted.served_before && has_quorum);
    if offline.is_empty() {
        return;
    }
    plan.waits.push(StorageWait::BricksOffline(offline.iter().map(ToString::to_string).collect()));
    // The host is there but its brick's process is not: starting it again changes no data.
    let host_is_up = |brick: &&&Brick| view.peers.iter().any(|peer| peer.hostname == brick.host && peer.usable());
    if offline.iter().any(|brick| host_is_up(&brick)) {
        plan.steps.push(StorageStep::Start { force: true });
    }
}

fn plan_growth(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView, volume: &Volume) {
    let set = wanted.volume.replica as usize;
    let inside = |candidate: &Candidate| volume.bricks.contains(&brick_of(candidate, &wanted.volume.brick));
    let missing = if volume.replica == 1 && set > 1 { set - volume.bricks.len().min(set) } else { set };
    let outside: Vec<&Candidate> = wanted.candidates.iter().filter(|candidate| !inside(candidate)).collect();
    let mut ready: Vec<&Candidate> = outside.iter().copied().filter(|candidate| candidate.prepared).collect();
    // Hosts that could not be reached give way to others, and are tried again where there are none.
    ready.sort_by_key(|candidate| !answers(candidate, view));
    if ready.len() < missing {
        return;
    }
    let chosen = &ready[..missing];
    if !plan.mountable || plan.waits.iter().any(|wait| matches!(wait, StorageWait::BricksOffline(_))) {
        return;
    }
    let before = plan.steps.len();
    let mut probes = StoragePlan::default();
    let usable = probe_missing(&mut probes, chosen, view);
    plan.steps.append(&mut probes.steps);
    plan.waits.append(&mut probes.waits);
    if !usable || plan.steps.len() > before {
        return;
    }
    if wait_for_marked(plan, wanted, chosen) {
        return;
    }
    plan.steps.push(StorageStep::AddBricks {
        replica: wanted.volume.replica,
        bricks: chosen.iter().map(|candidate| brick_of(candidate, &wanted.volume.brick)).collect(),
        force: wanted.volume.allow_root_brick,
    });
}

#[cfg(test)]
mod tests;
