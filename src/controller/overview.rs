//! What `master status` shows: the state of the cluster as one JSON value. Pure but for the counters it reads.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::command::Thresholds;
use super::gate::{self, Gate};
use super::reply::{StorageView, SwarmView};
use super::state::{ClusterState, NodeRecord, StorageRole};
use super::store::StoreStatus;
use crate::providers::gluster::Brick;
use crate::providers::swarm::Member;

/// Counts since the controller started.
#[derive(Debug, Default)]
pub struct Counters {
    refused: AtomicU64,
    parked: AtomicU64,
}

/// Counts one held-back reply for as long as it lives.
#[derive(Debug)]
pub struct Parked<'a>(&'a AtomicU64);

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// A registration was refused.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A reply is being held back.
    pub fn park(&self) -> Parked<'_> {
        self.parked.fetch_add(1, Ordering::Relaxed);
        Parked(&self.parked)
    }
}

/// Nodes in one page of a listing, unless fewer are asked for.
const PAGE: u32 = 1_000;

/// The state of the cluster.
#[must_use]
pub fn status(
    state: &ClusterState,
    need: Option<Thresholds>,
    swarm: &SwarmView,
    members: &[Member],
    view: &StorageView,
    store: &StoreStatus,
    counters: &Counters,
) -> Value {
    let counts = state.counts();
    let gate = match gate::evaluate(need, counts, state.latch()) {
        Gate::Open { .. } => "open",
        Gate::Waiting { .. } => "waiting",
    };
    let swarm = match swarm {
        SwarmView::Ready(access) => {
            json!({ "State": "ready", "ClusterId": access.cluster_id, "Manager": access.manager })
        }
        SwarmView::Trouble { reason, message } => json!({ "State": reason.as_str(), "Message": message }),
    };
    let volume = state.storage().map(|storage| {
        json!({
            "Name": storage.volume,
            "Mount": storage.mount,
            "Replica": storage.replica,
            "Arbiter": storage.arbiter,
            "Usable": view.mountable,
            "Bricks": view.bricks.iter().map(Brick::to_string).collect::<Vec<_>>(),
            "Allowed": view.allowed,
            "Message": view.message,
        })
    });
    let need = need.unwrap_or_default();
    let mut present: Vec<&NodeRecord> = state.nodes().collect();
    present.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    let rows: Vec<Value> = present.iter().take(PAGE as usize).map(|node| row(node, state, members, view)).collect();
    json!({
        "Status": "ready",
        "ClusterId": state.cluster_id(),
        "Revision": state.revision(),
        "Gate": { "State": gate, "Managers": counts.managers, "Workers": counts.workers, "MinManagers": need.managers, "MinWorkers": need.workers },
        "Swarm": swarm,
        "Volume": volume,
        "Nodes": rows,
        "NodesTotal": present.len(),
        "Unregistered": unregistered(&present, members),
        "Store": store,
        "Counters": {
            "RegistrationsRefused": counters.refused.load(Ordering::Relaxed),
            "RepliesHeldBack": counters.parked.load(Ordering::Relaxed),
        },
    })
}

/// One page of nodes by id, after the id `after`.
#[must_use]
pub fn nodes(state: &ClusterState, after: &str, limit: u32) -> Value {
    let limit = if limit == 0 { PAGE } else { limit.min(PAGE) } as usize;
    let mut page: Vec<&NodeRecord> = state.nodes().filter(|node| node.id.as_str() > after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|node| node.id.to_string());
    let rows: Vec<Value> = page.iter().map(|node| row(node, state, &[], &StorageView::default())).collect();
    json!({ "Status": "ready", "Nodes": rows, "After": next })
}

fn row(node: &NodeRecord, state: &ClusterState, members: &[Member], view: &StorageView) -> Value {
    let member = member_of(node, members);
    let storage = match (node.storage, state.storage()) {
        (StorageRole::Brick, Some(storage)) if !view.bricks.contains(&Brick::at(node.address, &storage.brick)) => {
            "brick (waiting for a set)"
        }
        (role, _) => role.as_str(),
    };
    json!({
        "NodeId": node.id,
        "Hostname": node.hostname,
        "Address": node.address,
        "Role": node.role,
        "Swarm": member.map_or("not joined", |member| member.state.as_str()),
        "SwarmRole": member.map(|member| if member.leader { "leader" } else { member.role.as_str() }),
        "SwarmNodeId": member.map(|member| member.swarm_node_id.as_str()),
        "Storage": storage,
        "Mounted": node.report.mounted,
        "Finding": node.report.finding,
        "Registered": node.registered_at,
        "Revision": node.revision,
        "Client": if node.keyed { "clusterctl" } else { "legacy" },
    })
}

/// The Swarm's entry for a node: by the id that it reported, else by its name, a live entry first.
fn member_of<'a>(node: &NodeRecord, members: &'a [Member]) -> Option<&'a Member> {
    let reported = members.iter().find(|member| member.swarm_node_id == node.report.swarm_node_id);
    let named = || {
        let mut named: Vec<&Member> =
            members.iter().filter(|member| member.hostname == node.hostname.as_str()).collect();
        named.sort_by_key(|member| member.state != "ready");
        named.first().copied()
    };
    reported.or_else(named)
}

/// Members of the Swarm that no registered node accounts for: left-overs of failed joins, or hosts joined by hand.
fn unregistered(nodes: &[&NodeRecord], members: &[Member]) -> Vec<Value> {
    let known: Vec<&str> =
        nodes.iter().filter_map(|node| member_of(node, members)).map(|member| member.swarm_node_id.as_str()).collect();
    members
        .iter()
        .filter(|member| !known.contains(&member.swarm_node_id.as_str()))
        .map(
            |member| json!({ "SwarmNodeId": member.swarm_node_id, "Hostname": member.hostname, "Swarm": member.state }),
        )
        .collect()
}
