//! What `master status` and `node list` show: the state of the cluster and its nodes as JSON values. Pure but for the
//! counters it reads.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::command::{Thresholds, Warrant};
use super::gate::{self, Gate};
use super::rate::Rate;
use super::reply::{StorageView, SwarmView};
use super::state::{ClusterState, NodeRecord, StorageRole};
use super::store::StoreStatus;
use crate::cluster::{NodeId, Role};
use crate::protocol::exchange::MAX_RESPONSE;
use crate::providers::gluster::Brick;
use crate::providers::swarm::Member;

/// Counts since the controller started.
#[derive(Debug, Default)]
pub struct Counters {
    registered: AtomicU64,
    registrations: Mutex<Rate>,
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
    /// A node registered, or came again. `now` is counted from the start.
    pub fn registered(&self, now: Duration) {
        self.registered.fetch_add(1, Ordering::Relaxed);
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner).count(now, 1);
    }

    /// What was counted, as of `now`.
    #[must_use]
    pub fn show(&self, now: Duration) -> Value {
        let rate = self.registrations.lock().unwrap_or_else(PoisonError::into_inner).per_second(now);
        json!({
            "Registrations": self.registered.load(Ordering::Relaxed),
            "RegistrationsPerSecond": rate,
            "RegistrationsRefused": self.refused.load(Ordering::Relaxed),
            "RepliesHeldBack": self.parked.load(Ordering::Relaxed),
        })
    }

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

/// When a node was last heard, and from where. Kept in memory alone, so that hearing it writes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub at: Timestamp,
    /// `None`: through the unix socket.
    pub source: Option<IpAddr>,
}

/// What is known of the nodes beside what is on record.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub members: &'a Members<'a>,
    pub view: &'a StorageView,
    pub seen: &'a HashMap<NodeId, Seen>,
}

/// Rows in one page of a listing, unless fewer are asked for.
const PAGE: u32 = 1_000;

/// Bytes of rows in one page at most: with what is around them an answer stays below what clients read.
const PAGE_BYTES: usize = MAX_RESPONSE - 32 * 1024;

/// Rows of each listing that the state of the cluster comes with; the rest is asked for by pages.
const STATUS_ROWS: usize = 100;

/// Bytes of each of the four listings of the state of the cluster at most.
const STATUS_BYTES: usize = 48 * 1024;

/// As many of the rows, in their order, as there is room for; one at least.
fn cut(rows: impl Iterator<Item = Value>, limit: usize, bytes: usize) -> Vec<Value> {
    let mut left = bytes;
    let mut kept = Vec::new();
    for row in rows.take(limit) {
        let length = row.to_string().len() + 1;
        if length > left && !kept.is_empty() {
            break;
        }
        left = left.saturating_sub(length);
        kept.push(row);
    }
    kept
}

/// One page of `rows`, which are in the order of their keys, after the key `after`; and the key after which there is
/// more, if there is.
pub(super) fn page<'a, T: 'a>(
    rows: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> &str,
    after: &str,
    limit: u32,
    show: impl Fn(&T) -> Value,
) -> (Vec<Value>, Option<String>) {
    let limit = page_size(limit);
    let found: Vec<&T> = rows.filter(|row| key(row) > after).take(limit + 1).collect();
    let page = cut(found.iter().map(|row| show(row)), limit, PAGE_BYTES);
    let last = page.len().checked_sub(1).and_then(|last| found.get(last)).filter(|_| page.len() < found.len());
    let next = last.map(|row| key(row).to_owned());
    (page, next)
}

/// How many rows a page has where `limit` are asked for; 0 asks for as many as there may be.
fn page_size(limit: u32) -> usize {
    let rows = if limit == 0 { PAGE } else { limit.min(PAGE) };
    rows as usize
}

/// The state of the cluster.
#[must_use]
pub fn status(
    state: &ClusterState,
    need: Option<Thresholds>,
    swarm: &SwarmView,
    around: Surroundings<'_>,
    store: &StoreStatus,
) -> Value {
    let (counts, view) = (state.counts(), around.view);
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
        let bricks = view.bricks.iter().map(|brick| brick.to_string().into());
        let allowed = view.allowed.iter().map(|address| address.as_str().into());
        json!({
            "Name": storage.volume,
            "Mount": storage.mount,
            "Replica": storage.replica,
            "Arbiter": storage.arbiter,
            "Usable": view.mountable,
            "State": volume_state(view),
            "Bricks": cut(bricks, PAGE as usize, STATUS_BYTES),
            "BricksTotal": view.bricks.len(),
            "Allowed": cut(allowed, PAGE as usize, STATUS_BYTES),
            "Message": view.message,
        })
    });
    let need = need.unwrap_or_default();
    let (total, first) = (state.counts().total(), first_by_name(state));
    let rows = cut(first.iter().map(|node| row(node, state, around)), STATUS_ROWS, STATUS_BYTES);
    let unregistered = unregistered(state, around.members);
    let unregistered_total = unregistered.len();
    json!({
        "Status": "ready",
        "ClusterId": state.cluster_id(),
        "Revision": state.revision(),
        "Gate": { "State": gate, "Managers": counts.managers, "Workers": counts.workers, "MinManagers": need.managers, "MinWorkers": need.workers },
        "Swarm": swarm,
        "Volume": volume,
        "Nodes": rows,
        "NodesTotal": total,
        "Unregistered": cut(unregistered.into_iter(), STATUS_ROWS, STATUS_BYTES),
        "UnregisteredTotal": unregistered_total,
        "Store": store,
    })
}

/// How the volume is, in one word: `degraded` is one that serves and has something to be seen to.
fn volume_state(view: &StorageView) -> &'static str {
    match (view.mountable, view.message.is_empty()) {
        (true, true) => "usable",
        (true, false) => "degraded",
        (false, _) => "not-usable",
    }
}

/// What is wrong with a node: what it found on its host or what its report shows, and where the Swarm has it as
/// something else than the record. Docker's own commands may have done that; which of the two is meant, an administrator
/// knows.
fn finding(node: &NodeRecord, state: &ClusterState, member: Option<&Member>, view: &StorageView) -> String {
    let host = &node.hostname;
    if state.is_leaving(&node.id) {
        return format!("being removed and answered no more: `clusterctl node remove {host}` goes on");
    }
    let other = match (node.role, member.filter(|member| !member.is_down()).map(|member| member.role)) {
        (Role::Manager, Some(Role::Worker)) => format!(
            "a manager on record and a worker in the Swarm: `docker node promote {host}`, or `clusterctl node remove {host}` and join it as a worker"
        ),
        (Role::Worker, Some(Role::Manager)) => format!(
            "a worker on record and a manager in the Swarm: `docker node demote {host}`, or join it with `clusterctl token create --role manager --node {host}`"
        ),
        (Role::Manager, Some(Role::Manager) | None) | (Role::Worker, Some(Role::Worker) | None) => String::new(),
    };
    let found = [reported(node, view), other];
    found.into_iter().filter(|finding| !finding.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What a node said is not as it should be, or what its report shows.
fn reported(node: &NodeRecord, view: &StorageView) -> String {
    let servers = view.servers.iter().collect::<BTreeSet<_>>().len();
    let known = node.more.boot_servers as usize;
    if !node.report.finding.is_empty() || !node.report.mounted || known == 0 || known >= servers {
        return node.report.finding.clone();
    }
    // It joined when there were fewer, and writes down the others when it joins again.
    format!("it knows {known} of {servers} servers to mount from when it boots: `clusterctl node join` there")
}

/// As many nodes as the state of the cluster comes with, by name. All are looked at; only these are sorted.
fn first_by_name(state: &ClusterState) -> Vec<&NodeRecord> {
    let mut nodes: Vec<&NodeRecord> = state.nodes().collect();
    let by_name = |a: &&NodeRecord, b: &&NodeRecord| a.hostname.cmp(&b.hostname);
    if nodes.len() > STATUS_ROWS {
        nodes.select_nth_unstable_by(STATUS_ROWS, by_name);
        nodes.truncate(STATUS_ROWS);
    }
    nodes.sort_by(by_name);
    nodes
}

/// One page of nodes by id, after the id `after`.
#[must_use]
pub fn nodes(state: &ClusterState, after: &str, limit: u32, around: Surroundings<'_>) -> Value {
    let (rows, next) =
        page(state.nodes_after(after), |node| node.id.as_str(), after, limit, |node| row(node, state, around));
    json!({ "Status": "ready", "Nodes": rows, "After": next })
}

/// One node with all that is known of it.
#[must_use]
pub fn node(node: &NodeRecord, state: &ClusterState, around: Surroundings<'_>, now: Timestamp) -> Value {
    let mut value = row(node, state, around);
    let advice = match (node.keyed, node.key) {
        (_, Some(_)) => "",
        (false, None) if node.admitted_by == Warrant::Adopted => {
            "it was put on record as a member of the Swarm: run `clusterctl node join` on it with a token of `clusterctl token create`"
        }
        (true, None) => "it has not proved its key yet: run `clusterctl node join` on it, which gets it a certificate",
        (false, None) => {
            "its client has no key: install clusterctl on the host and run `clusterctl node join` there; until then it needs `--plaintext` on the master"
        }
    };
    let more = json!({
        "Granted": node.granted,
        "AdmittedBy": admitted_by(&node.admitted_by),
        "Updated": node.updated_at,
        "SeenFrom": around.seen.get(&node.id).and_then(|seen| seen.source),
        "ReplaceableUntil": node.replaceable_until(now),
        "Advice": advice,
        "OS": node.facts.os,
        "CPU": node.facts.cpus,
        "MemoryMb": node.facts.memory_mb,
        "DockerVersion": node.facts.docker_version,
        "BrickReady": node.report.brick_ready,
        "BrickMark": node.report.brick_mark,
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    json!({ "Status": "ready", "Node": value })
}

/// By what right a node came in, in words.
pub(super) fn admitted_by(warrant: &Warrant) -> String {
    match warrant {
        Warrant::Token(id) => format!("token {id}"),
        Warrant::Request(id) => format!("request {id}"),
        Warrant::Local => "this host".to_owned(),
        Warrant::Adopted => "the Swarm".to_owned(),
        // A member's record says how it became one.
        Warrant::Open | Warrant::Member => "open admission".to_owned(),
    }
}

fn row(node: &NodeRecord, state: &ClusterState, around: Surroundings<'_>) -> Value {
    let member = around.members.of_node(node);
    let storage = match (node.storage, state.storage()) {
        (StorageRole::Brick, Some(storage))
            if !around.view.bricks.contains(&Brick::at(node.address, &storage.brick)) =>
        {
            "brick (waiting for a set)"
        }
        (role, _) => role.as_str(),
    };
    json!({
        "NodeId": node.id,
        "Hostname": node.hostname,
        "Address": node.address,
        "Role": node.role,
        "Status": standing(node, state, member),
        "LastSeen": around.seen.get(&node.id).map(|seen| seen.at),
        "Profiles": node.profiles,
        "Swarm": member.map_or("not joined", |member| member.state.as_str()),
        "SwarmRole": member.map(|member| if member.leader { "leader" } else { member.role.as_str() }),
        "SwarmNodeId": member.map(|member| member.swarm_node_id.as_str()),
        "Storage": storage,
        "Mounted": node.report.mounted,
        "Finding": finding(node, state, member, around.view),
        "Registered": node.registered_at,
        "Revision": node.revision,
        "Client": client(node),
        "Key": node.key,
    })
}

/// What speaks for it.
fn client(node: &NodeRecord) -> &'static str {
    match (node.keyed, &node.admitted_by) {
        (true, _) => "clusterctl",
        (false, Warrant::Adopted) => "none yet",
        (false, _) => "legacy",
    }
}

/// How a node is, in one word. What its host is like is as it said last.
fn standing<'a>(node: &NodeRecord, state: &ClusterState, member: Option<&'a Member>) -> &'a str {
    let mounts = state.storage().is_some() && node.storage != StorageRole::None;
    match member {
        _ if state.is_leaving(&node.id) => "removing",
        None => "registered",
        Some(member) if member.state != "ready" => &member.state,
        Some(member) if !node.report.finding.is_empty() || member.role != node.role => "degraded",
        // Clients of the first implementation do not say.
        Some(_) if mounts && node.keyed && !node.report.mounted => "converging",
        Some(_) => "ready",
    }
}

/// The Swarm's entries by id and by name, so that a listing of all nodes looks at each once.
#[derive(Debug, Default)]
pub struct Members<'a> {
    all: &'a [Member],
    by_id: HashMap<&'a str, &'a Member>,
    /// Of entries of one name a live one, else the first.
    by_name: HashMap<&'a str, &'a Member>,
}

impl<'a> Members<'a> {
    #[must_use]
    pub fn of(all: &'a [Member]) -> Self {
        let mut members = Self { all, ..Self::default() };
        for member in all {
            members.by_id.entry(&member.swarm_node_id).or_insert(member);
            let named = members.by_name.entry(&member.hostname).or_insert(member);
            if named.state != "ready" && member.state == "ready" {
                *named = member;
            }
        }
        members
    }

    /// The Swarm's entry for a node: by the id that it reported, else by its name.
    fn of_node(&self, node: &NodeRecord) -> Option<&'a Member> {
        let reported = self.by_id.get(node.report.swarm_node_id.as_str());
        reported.or_else(|| self.by_name.get(node.hostname.as_str())).copied()
    }
}

/// Members of the Swarm that no registered node accounts for: left-overs of failed joins, or hosts joined by hand.
fn unregistered(state: &ClusterState, members: &Members<'_>) -> Vec<Value> {
    let known: HashSet<&str> =
        state.nodes().filter_map(|node| members.of_node(node)).map(|member| member.swarm_node_id.as_str()).collect();
    let strangers = members.all.iter().filter(|member| !known.contains(member.swarm_node_id.as_str()));
    strangers
        .map(
            |member| json!({ "SwarmNodeId": member.swarm_node_id, "Hostname": member.hostname, "Swarm": member.state }),
        )
        .collect()
}

#[cfg(test)]
mod tests;
