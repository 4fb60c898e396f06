//! From the bricks that nodes keep ready and the volume as it is to the next changes of pool and volume. Pure.
//!
//! The rules that save data: one brick, then straight to a whole replica set, then whole sets more; never a replica
//! count of 2; a set with an arbiter is made at once, never grown into; a volume that is not what the registered
//! nodes say is left alone; and a volume is served to nobody who is not registered.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::command::{StorageIntent, StorageRecord};
use crate::cluster::{BRICK_FULL_PERCENT, BrickPath, Hostname, NodeAddress};
use crate::providers::gluster::{Brick, BrickStatus, NewVolume, Peer, Volume, VolumeStatus};

mod servers;
mod wait;

pub use servers::{Apart, Declined, Reach, StorageRefusal};
pub use wait::StorageWait;

use servers::{judge_servers, may_take_a_turn, other_volume};

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
    /// What is known of its GlusterFS beside the pool's own list.
    pub reach: Reach,
    /// It said that it belongs to something else: it is given nothing that it does not hold already.
    pub refused: bool,
}

/// What the volume is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub volume: StorageRecord,
    /// In the order of their first registration.
    pub candidates: Vec<Candidate>,
    /// Everybody who may mount: registered addresses, or the configured networks. Sorted.
    pub allowed: BTreeSet<String>,
    /// `allowed` are networks.
    pub by_network: bool,
    /// How long to wait for a whole set before a volume of one brick is made.
    pub settle: SignedDuration,
    /// When the first brick was seen to be ready. Nodes may have registered long before they were told to prepare one.
    pub prepared_since: Option<Timestamp>,
    /// Changes that were about to be tried and were not seen to be complete.
    pub intents: Vec<StorageIntent>,
    /// For how long new servers have not known each other yet, if somebody found that.
    pub apart: Option<Apart>,
    /// Whole sets were added, and the directory layout was not seen to be spread over them.
    pub layout_due: bool,
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
    /// The ids of the pool's volumes, where a brick carries a mark: one of these is nobody's to clean.
    pub volume_ids: Vec<String>,
    /// The identities that rejected servers have now, by the names under which the pool knows them.
    pub identities: BTreeMap<String, String>,
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
    /// Directories reach the sets that were added.
    FixLayout,
    /// These bricks of intended changes are in the volume.
    ForgetBricks(Vec<String>),
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
    /// Why hosts are not served.
    pub refusals: BTreeMap<NodeAddress, StorageRefusal>,
    /// Why nobody is.
    pub refused: Option<StorageRefusal>,
}

/// Plans the next changes.
#[must_use]
pub fn plan(wanted: &Wanted, view: &PoolView, now: Timestamp) -> StoragePlan {
    let mut plan = StoragePlan::default();
    judge_servers(&mut plan, wanted, view);
    match &view.volume {
        None => plan_create(&mut plan, wanted, view, now),
        Some(volume) => plan_existing(&mut plan, wanted, view, volume),
    }
    // After what the volume needs: such a server most likely says the same again.
    let again = |candidate: &&Candidate| matches!(candidate.reach, Reach::Declined { ask_again: true, .. });
    plan.steps.extend(wanted.candidates.iter().filter(again).map(|candidate| StorageStep::Probe(candidate.address)));
    plan
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
        | StorageWait::ServersRefused(_)
        | StorageWait::ServersApart(_)
        | StorageWait::MarkedBricks(_)
        | StorageWait::OtherVolume { .. }
        | StorageWait::UnregisteredBricks(_)
        | StorageWait::StoppedByOperator
        | StorageWait::BricksFull(_)
        | StorageWait::BricksOffline(_) => None,
    })
}

/// Whether the candidate's glusterd may be counted on, as far as anybody has tried.
fn answers(candidate: &Candidate, view: &PoolView) -> bool {
    let address = candidate.address.to_string();
    let peer = view.peers.iter().find(|peer| peer.hostname == address);
    candidate.reach != Reach::Unreachable && peer.is_none_or(Peer::usable)
}

fn brick_of(candidate: &Candidate, path: &BrickPath) -> Brick {
    Brick::at(candidate.address, path)
}

fn plan_create(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView, now: Timestamp) {
    let set = wanted.volume.replica as usize;
    let mut order: Vec<&Candidate> =
        wanted.candidates.iter().filter(|candidate| may_take_a_turn(candidate, view)).collect();
    if order.is_empty() {
        plan.waits.push(StorageWait::NoBricks);
        return;
    }
    let registered = order.iter().map(|candidate| candidate.registered_at);
    let newest = registered.chain(wanted.prepared_since).max().unwrap_or(now);
    let until = newest.checked_add(wanted.settle).unwrap_or(now);
    if now >= until {
        // A node that died, before its brick was ready or after, does not hold up the others.
        // One whose brick is ready comes before one whose brick is not, even if neither helps at the moment: the volume
        // may begin with the first of them.
        order.sort_by_key(|candidate| (!candidate.prepared || !answers(candidate, view), !candidate.prepared));
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
    if !probe_missing(plan, to_probe, view) || bricks.is_empty() {
        return;
    }
    if wait_for_marked(plan, wanted, view, bricks) {
        return;
    }
    plan.waits.extend(wanted.apart.map(StorageWait::ServersApart));
    plan.steps.push(StorageStep::Create(NewVolume {
        name: wanted.volume.volume.clone(),
        replica: if bricks.len() == 1 { 1 } else { wanted.volume.replica },
        arbiter: u32::from(wanted.volume.arbiter && bricks.len() > 1),
        bricks: bricks.iter().map(|candidate| brick_of(candidate, &wanted.volume.brick)).collect(),
        force: wanted.volume.allow_root_brick,
    }));
    // The access list before the start, so that the volume is never open to everybody.
    plan.steps.push(StorageStep::Allow { value: joined(&wanted.allowed) });
    plan.steps.push(StorageStep::Start { force: false });
}

fn joined(addresses: &BTreeSet<String>) -> String {
    addresses.iter().cloned().collect::<Vec<_>>().join(",")
}

/// Who may mount. A host that belongs to something else by now and holds a brick has the data anyway; without its own
/// mount nothing would be safer.
fn access_list(wanted: &Wanted, volume: &Volume) -> BTreeSet<String> {
    let holds = |candidate: &&Candidate| volume.bricks.contains(&brick_of(candidate, &wanted.volume.brick));
    let kept = wanted.candidates.iter().filter(|candidate| candidate.refused && !wanted.by_network).filter(holds);
    wanted.allowed.iter().cloned().chain(kept.map(|candidate| candidate.address.to_string())).collect()
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
            Some(peer) if !peer.usable() => {
                // Another probe of it is answered with "already in peer list", and changes nothing.
                let stuck = candidate.reach == Reach::Halfway;
                let advice = if stuck { ", for a minute by now: `systemctl restart glusterd` there" } else { "" };
                unusable.push(format!("{address} ({}{advice})", peer.state_text));
            }
            Some(_) => {}
        }
    }
    let all_known = plan.steps.is_empty();
    if !unusable.is_empty() {
        plan.waits.push(StorageWait::PeersNotConnected(unusable.clone()));
    }
    all_known && unusable.is_empty()
}

/// Waits for bricks that carry the mark of a create that came to nothing, and has those cleaned that the record names and
/// whose mark is that of no volume; says whether there are any.
fn wait_for_marked(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView, bricks: &[&Candidate]) -> bool {
    let marked: Vec<&Candidate> = bricks.iter().copied().filter(|candidate| !candidate.mark.is_empty()).collect();
    if marked.is_empty() {
        return false;
    }
    plan.waits.push(StorageWait::MarkedBricks(marked.iter().map(|candidate| candidate.hostname.clone()).collect()));
    plan.reset = left_over(wanted, view, marked.into_iter());
    true
}

/// Those of the candidates whose brick may be cleaned: the record names it, and its mark is that of no volume.
fn left_over<'a>(wanted: &Wanted, view: &PoolView, marked: impl Iterator<Item = &'a Candidate>) -> Vec<NodeAddress> {
    let named = |candidate: &&Candidate| intended(wanted, &brick_of(candidate, &wanted.volume.brick));
    let orphaned = |candidate: &&Candidate| !view.volume_ids.contains(&candidate.mark);
    marked.filter(named).filter(orphaned).map(|candidate| candidate.address).collect()
}

fn intended(wanted: &Wanted, brick: &Brick) -> bool {
    let mut ours = wanted.intents.iter().filter(|intent| intent.volume == wanted.volume.volume);
    ours.any(|intent| intent.bricks.contains(&brick.to_string()))
}

fn plan_existing(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView, volume: &Volume) {
    if let Some(found) = foreign(wanted, volume) {
        let wait = StorageWait::OtherVolume { found };
        plan.refused = Some(other_volume(&wait));
        plan.waits.push(wait);
        return;
    }
    let inside = |brick: &&String| volume.bricks.iter().any(|have| have.to_string() == **brick);
    let seen: Vec<String> = wanted.intents.iter().flat_map(|intent| &intent.bricks).filter(inside).cloned().collect();
    if !seen.is_empty() {
        plan.steps.push(StorageStep::ForgetBricks(seen));
    }
    let current: BTreeSet<String> = volume
        .options
        .get("auth.allow")
        .map(|value| value.split(',').map(|part| part.trim().to_owned()).collect())
        .unwrap_or_default();
    let allowed = access_list(wanted, volume);
    if current != allowed && !allowed.is_empty() {
        plan.steps.push(StorageStep::Allow { value: joined(&allowed) });
    }
    match volume.status {
        VolumeStatus::Created => {
            plan.steps.push(StorageStep::Start { force: false });
            return;
        }
        VolumeStatus::Stopped => {
            plan.waits.push(StorageWait::StoppedByOperator);
            return;
        }
        VolumeStatus::Started => {}
    }
    judge_online(plan, wanted, view, volume);
    // Bricks that an earlier try has left behind are cleaned before they are needed.
    let spare = |candidate: &&Candidate| {
        let outside = !volume.bricks.contains(&brick_of(candidate, &wanted.volume.brick));
        outside && !candidate.mark.is_empty() && candidate.mark != volume.id
    };
    plan.reset = left_over(wanted, view, wanted.candidates.iter().filter(spare));
    let strangers = unregistered(wanted, volume);
    if strangers.is_empty() {
        plan_growth(plan, wanted, view, volume);
    } else {
        plan.waits.push(StorageWait::UnregisteredBricks(strangers));
    }
    plan_layout(plan, wanted, volume);
    let full = |brick: &&BrickStatus| brick.used_percent.is_some_and(|used| used > BRICK_FULL_PERCENT);
    let full: Vec<String> = view.bricks.iter().filter(full).map(|brick| brick.brick.to_string()).collect();
    if !full.is_empty() {
        plan.waits.push(StorageWait::BricksFull(full));
    }
}

/// Spreads the directory layout over sets that were added, once they are there. Where they did not come about, adding
/// them again asks for it again.
fn plan_layout(plan: &mut StoragePlan, wanted: &Wanted, volume: &Volume) {
    let sets = volume.bricks.len() / volume.replica.max(1) as usize;
    let growing = plan.steps.iter().any(|step| matches!(step, StorageStep::AddBricks { .. }));
    let offline = plan.waits.iter().any(|wait| matches!(wait, StorageWait::BricksOffline(_)));
    if wanted.layout_due && sets > 1 && !growing && !offline {
        plan.steps.push(StorageStep::FixLayout);
    }
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
    let outside = wanted.candidates.iter().filter(|candidate| !inside(candidate) && candidate.prepared);
    let mut ready: Vec<&Candidate> = outside.filter(|candidate| may_take_a_turn(candidate, view)).collect();
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
    if wait_for_marked(plan, wanted, view, chosen) {
        return;
    }
    plan.waits.extend(wanted.apart.map(StorageWait::ServersApart));
    plan.steps.push(StorageStep::AddBricks {
        replica: wanted.volume.replica,
        bricks: chosen.iter().map(|candidate| brick_of(candidate, &wanted.volume.brick)).collect(),
        force: wanted.volume.allow_root_brick,
    });
}

#[cfg(test)]
mod tests;
