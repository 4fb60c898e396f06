//! The invariants over fake hosts: what is seen of them, put before the checkers.

use std::collections::{BTreeMap, BTreeSet};

use clusterctl::cluster::NodeAddress;
use clusterctl::providers::gluster::{StoragePool, Volume};
use clusterctl::providers::swarm::{LocalState, SwarmEngine};
use serde_json::Value;

use super::effects::Effects;
use super::history::History;
use super::storage::VolumeSeen;
use super::swarm::{Entry, Seat};
use super::{acts, records, storage, swarm};
use crate::fakes::gluster::FakeGlusterWorld;
use crate::fakes::host::FakeHost;
use crate::fakes::swarm::FakeEngine;
use crate::world::{address, brick_path, volume_name};

/// A fake host, as far as it is looked at.
#[derive(Debug, Clone)]
pub(crate) struct OnHost {
    pub(crate) hostname: String,
    pub(crate) node_id: String,
    pub(crate) engine: FakeEngine,
    pub(crate) hand: FakeHost,
}

/// The volume as the checkers want it.
fn seen(volume: &Volume) -> VolumeSeen {
    let bricks = volume.bricks.iter().map(|brick| brick.host.clone()).collect();
    VolumeSeen { id: volume.id.clone(), replica: volume.replica, bricks }
}

/// I5, I11.
pub(crate) async fn check_swarm(hosts: &[OnHost]) {
    let mut seats = Vec::new();
    for host in hosts {
        let engine = host.engine.inspect().await.unwrap();
        seats.push(Seat {
            hostname: host.hostname.clone(),
            active: engine.state == LocalState::Active,
            swarm_node_id: engine.swarm_node_id,
            digest: engine.ca_digest.map(|digest| digest.to_string()).unwrap_or_default(),
        });
    }
    let members = hosts[0].engine.members().await.unwrap().into_iter();
    let entry = |member: clusterctl::providers::swarm::Member| Entry {
        ready: member.state == "ready",
        hostname: member.hostname,
        swarm_node_id: member.swarm_node_id,
    };
    swarm::one_for_all(&seats, &members.map(entry).collect::<Vec<_>>());
}

/// I5, I6: of the volume, if there is one, and the pool that it lies in.
pub(crate) async fn check_storage(gluster: &FakeGlusterWorld, hosts: usize) {
    let Some(volume) = gluster.look_at(address(1), &volume_name()) else { return };
    let volume = seen(&volume);
    storage::sets_are_whole(&volume);
    let mark = |n: usize| (address(n).to_string(), gluster.mark_of(address(n), brick_path().as_str()));
    storage::marks_are_right(&volume, &(1..=hosts).map(mark).collect::<BTreeMap<_, _>>());
    let mut pools = BTreeMap::new();
    for brick in &volume.bricks {
        let peers = gluster.pool(NodeAddress::parse(brick).unwrap()).peers().await;
        // A server that is down is asked by nobody.
        if let Ok(peers) = peers {
            pools.insert(brick.clone(), peers.into_iter().map(|peer| peer.uuid).collect::<BTreeSet<_>>());
        }
    }
    storage::one_pool(&pools);
}

/// I12: of all that was ever asked for.
pub(crate) fn check_acts(hosts: &[OnHost], gluster: &FakeGlusterWorld, root_bricks_allowed: bool) {
    acts::destroyed_nothing(&hosts[0].engine.acts(), &gluster.history(), root_bricks_allowed);
}

/// I1 to I4, I10: of what was answered, and the state now. Nobody has left or was removed.
pub(crate) fn check_records(status: &Value, history: &History, hosts: &[OnHost]) {
    records::add_up(status);
    history.check(status["Revision"].as_u64().unwrap_or_default());
    let existing = hosts.iter().map(|host| host.node_id.clone()).collect();
    records::are_those(status, &history.acknowledged(), &existing);
}

/// I7: what has been changed until now.
pub(crate) fn effects(hosts: &[OnHost], gluster: &FakeGlusterWorld, records: u64) -> Effects {
    let on = |host: &OnHost| host.engine.mutating_calls() + host.hand.mutations();
    Effects { hosts: hosts.iter().map(on).sum(), gluster: gluster.mutations(), records }
}
