//! Answers requests: the one place where decisions, the store and the views of Swarm and storage meet.
//!
//! Nothing here waits for Docker or GlusterFS longer than the cached view of the Swarm takes to refresh; pool and
//! volume are changed by [`reconcile`](super::reconcile) alone, which is woken and not waited for. Every answer that
//! speaks of a change leaves after the change is on disk.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::admission::{self, Policy, Refusal, Source};
use super::command::{Command, Thresholds};
use super::gate::{self, Gate};
use super::listener::{Handler, ListenerMonitor, Peer};
use super::overview::{self, Counters};
use super::reply::{Answer, StorageView, SwarmView, compose};
use super::state::{ClusterState, Conflict, Effect, NodeRecord, StorageRole};
use super::store::{CommitError, Store};
use super::swarm_view::SwarmWatch;
use crate::clock::Clock;
use crate::cluster::NodeId;
use crate::cluster::OverlayConfig;
use crate::protocol::registration::{Administer, Identity, NodeName, NodeReport, RawRequest, Registration, Request};
use crate::protocol::reply::{ErrorReply, Reason, Reply, Status};
use crate::providers::gluster::Brick;

/// The controller's answers.
pub struct FrontDoor {
    pub store: Store<ClusterState>,
    pub policy: Policy,
    /// The minimum, if the controller was told to wait for one.
    pub need: Option<Thresholds>,
    pub overlay: OverlayConfig,
    pub swarm: Arc<SwarmWatch>,
    pub storage: watch::Receiver<Arc<StorageView>>,
    /// Wakes the reconcile loop.
    pub wake: Arc<Notify>,
    /// Tells it, before a wake, that the pool may no longer be as it was last seen.
    pub look_again: Arc<AtomicBool>,
    pub clock: Arc<dyn Clock>,
    pub counters: Arc<Counters>,
    /// What the listener counts; set once it is bound.
    pub listener: OnceLock<ListenerMonitor>,
    /// A digest of the last line logged for each node, so that only changes are logged.
    pub said: Mutex<HashMap<NodeId, u64>>,
}

/// An answer before it is bytes.
enum Outcome {
    Reply(Box<Reply>),
    Error(ErrorReply),
    Value(serde_json::Value),
}

#[async_trait::async_trait]
impl Handler for FrontDoor {
    async fn answer(&self, request: RawRequest, peer: Peer) -> Vec<u8> {
        let outcome = self.outcome(request, peer).await;
        let bytes = match &outcome {
            Outcome::Reply(reply) => serde_json::to_vec(reply),
            Outcome::Error(error) => serde_json::to_vec(error),
            Outcome::Value(value) => serde_json::to_vec(value),
        };
        bytes.unwrap_or_else(|_| br#"{"Status":"error","Code":"internal-error","Message":"the reply could not be written","Hint":"see the controller's log"}"#.to_vec())
    }
}

impl FrontDoor {
    async fn outcome(&self, request: RawRequest, peer: Peer) -> Outcome {
        let request = match request.check() {
            Ok(request) => request,
            Err(error) => {
                let hint = "see `clusterctl node join --help`; the request's fields are in the README under \"Wire\"";
                return Outcome::Error(ErrorReply::new("invalid-request", error.to_string(), hint));
            }
        };
        let local = matches!(peer, Peer::Local { .. });
        match request {
            Request::Register(registration) => self.register(registration, source(&peer)).await,
            Request::CheckStatus { who, report, wait_ms } => self.check_status(&who, &peer, report, wait_ms).await,
            Request::GlusterReady { who } => self.gluster_ready(&who),
            Request::Deregister { who } => match self.speaks_for(&who.key(), &peer) {
                Ok(()) => self.deregister(&who.key(), who.hostname.as_str()).await,
                Err(error) => Outcome::Error(error),
            },
            Request::Administer(_) if !local => Outcome::Error(ErrorReply::new(
                "not-permitted",
                "administration is answered on the controller's unix socket only",
                "run the command on the master's host as root",
            )),
            Request::Administer(action) => self.administer(action).await,
        }
    }

    async fn administer(&self, action: Administer) -> Outcome {
        match action {
            Administer::Status => Outcome::Value(self.overview().await),
            Administer::Nodes { after, limit } => {
                Outcome::Value(self.store.read(|state| overview::nodes(state, &after, limit)))
            }
            Administer::Remove { node: NodeName::Host(hostname), .. } => {
                let id = self.store.read(|state| state.node_named(&hostname).map(|node| node.id.clone()));
                match id {
                    Some(id) => self.deregister(&id, hostname.as_str()).await,
                    None => Outcome::Error(unknown_node(hostname.as_str())),
                }
            }
            _ => todo!("replaced in this branch"),
        }
    }

    async fn register(&self, registration: Registration, source: Source) -> Outcome {
        let now = self.clock.now();
        let admitted = self.store.read(|state| {
            admission::admit(state, self.policy, &registration, source, now)
                .map(|node| (state.is_registered_as(&node), node))
        });
        let (unchanged, node) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&registration.who, &refusal),
        };
        let id = node.id.clone();
        let holds_brick =
            || self.store.read(|state| state.node(&id).is_some_and(|node| node.storage == StorageRole::Brick));
        if unchanged && registration.wait_ms == 0 && holds_brick() {
            // Who joins again may do so because something broke: also bricks are looked at, while the node goes on.
            self.look_again.store(true, Ordering::Relaxed);
            self.wake.notify_one();
        }
        let moved = self.store.read(|state| {
            let known = state.node(&node.id).filter(|known| known.address != node.address);
            known.filter(|known| self.holds_brick(state, known)).map(|known| known.address)
        });
        if let Some(old) = moved {
            return Outcome::Error(ErrorReply::new(
                "brick-address",
                format!("the volume knows this host's brick at {old}, and the host registers {}", node.address),
                format!("give the host its address {old} back, or pass `--ip {old}`; nothing was changed"),
            ));
        }
        if registration.token_refused {
            self.swarm.doubt().await;
        }
        if !unchanged {
            let (hostname, address) = (node.hostname.clone(), node.address);
            match self.store.commit(Command::Register { node, at: now }).await {
                Ok(committed) => match committed.effect {
                    Effect::Changed | Effect::Unchanged => self.wake.notify_one(),
                    Effect::Conflict(Conflict::Hostname { .. }) => {
                        return self.refuse(&registration.who, &Refusal::HostnameTaken { hostname });
                    }
                    Effect::Conflict(Conflict::Address { holder }) => {
                        return self.refuse(&registration.who, &Refusal::AddressTaken { address, holder });
                    }
                },
                Err(error) => return not_stored(&error),
            }
            self.log_registration(&id);
        }
        let deadline = Instant::now() + Duration::from_millis(registration.wait_ms);
        self.answer_when(&id, deadline, |reply| reply.status == Status::Ready).await
    }

    async fn check_status(&self, who: &Identity, peer: &Peer, report: Option<NodeReport>, wait_ms: u64) -> Outcome {
        let id = who.key();
        if let Err(error) = self.speaks_for(&id, peer) {
            return Outcome::Error(error);
        }
        if let Some(report) = report {
            let changed = self.store.read(|state| state.node(&id).is_some_and(|node| node.report != report));
            if changed {
                if let Err(error) = self.store.commit(Command::Report { id: id.clone(), report }).await {
                    return not_stored(&error);
                }
                self.wake.notify_one();
            }
        }
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        let mut told = None;
        let news = |reply: &Reply| {
            let told = told.get_or_insert_with(|| reply.gluster_servers.clone());
            let settled = reply.gluster_ready || !reply.gluster_enabled || reply.gluster_brick_reset;
            reply.status == Status::Ready && (settled || *told != reply.gluster_servers)
        };
        match self.answer_when(&id, deadline, news).await {
            Outcome::Reply(mut reply) => {
                // Asking how things stand lets nobody in.
                reply.swarm_join_token.clear();
                reply.overlay_type.clear();
                reply.overlay_payload.clear();
                Outcome::Reply(reply)
            }
            other => other,
        }
    }

    /// A client of the first implementation says that it made the volume. Ours never asks one to; it is thanked.
    fn gluster_ready(&self, who: &Identity) -> Outcome {
        tracing::info!(hostname = %who.hostname, "a client says that the volume is ready; the controller looks after it itself");
        self.wake.notify_one();
        Outcome::Reply(Box::new(Reply { status: Status::Ready, ..Reply::default() }))
    }

    async fn deregister(&self, id: &NodeId, hostname: &str) -> Outcome {
        if self.store.read(|state| state.node(id).is_none()) {
            // Leaving twice is leaving.
            return Outcome::Reply(Box::new(Reply { status: Status::Ready, ..Reply::default() }));
        }
        if self.store.read(|state| state.node(id).is_some_and(|node| self.holds_brick(state, node))) {
            return Outcome::Error(ErrorReply::new(
                "holds-brick",
                format!("`{hostname}` holds a brick of the shared volume"),
                "nothing was changed; bring the host back, or move its brick to another host with `gluster volume replace-brick` first",
            ));
        }
        match self.store.commit(Command::Deregister { id: id.clone(), at: self.clock.now() }).await {
            Ok(committed) => {
                let counts = self.store.read(ClusterState::counts);
                if let Ok(mut said) = self.said.lock() {
                    said.remove(id);
                }
                tracing::info!(hostname, node = %id, managers = counts.managers, workers = counts.workers, "node left");
                self.wake.notify_one();
                let revision = Some(committed.sequence);
                Outcome::Reply(Box::new(Reply { status: Status::Ready, revision, ..Reply::default() }))
            }
            Err(error) => not_stored(&error),
        }
    }

    /// Answers as soon as `enough` holds, or `deadline` has come.
    async fn answer_when(&self, id: &NodeId, deadline: Instant, mut enough: impl FnMut(&Reply) -> bool) -> Outcome {
        let mut storage = self.storage.clone();
        let mut state = self.store.changed();
        let mut parked = None;
        loop {
            storage.mark_unchanged();
            state.mark_unchanged();
            let reply = match self.compose(id).await {
                Ok(reply) => reply,
                Err(outcome) => return outcome,
            };
            self.log_decision(id, &reply);
            if enough(&reply) || Instant::now() >= deadline {
                return Outcome::Reply(Box::new(reply));
            }
            parked.get_or_insert_with(|| self.counters.park());
            // The Swarm has no channel that tells of its return: it is asked again, through its cache.
            let swarm_poll = Duration::from_millis(if reply.reason.is_some_and(is_swarm) { 200 } else { 60_000 });
            tokio::select! {
                _ = storage.changed() => {}
                _ = state.changed() => {}
                () = tokio::time::sleep(swarm_poll) => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    async fn compose(&self, id: &NodeId) -> Result<Reply, Outcome> {
        let (gate, found) = self
            .store
            .read(|state| (gate::evaluate(self.need, state.counts(), state.latch()), state.node(id).cloned()));
        let Some(node) = found else { return Err(Outcome::Error(unknown_node(id.as_str()))) };
        if let (Gate::Open { newly: true }, Some(thresholds)) = (gate, self.need) {
            tracing::info!(
                managers = thresholds.managers,
                workers = thresholds.workers,
                "the minimum is reached: the gate opens"
            );
            self.store.commit(Command::LatchGate { thresholds }).await.map_err(|error| not_stored(&error))?;
        }
        let swarm = match gate {
            Gate::Open { .. } => self.own_swarm(self.swarm.view().await),
            Gate::Waiting { .. } => SwarmView::Trouble { reason: Reason::BelowMinimum, message: String::new() },
        };
        Ok(self.reply_to(&node, gate, &swarm))
    }

    /// The Swarm's view, unless this host has come into another Swarm than the cluster's.
    fn own_swarm(&self, view: SwarmView) -> SwarmView {
        let recorded = self.store.read(|state| state.swarm().map(|swarm| swarm.cluster_id.clone()));
        match (&view, recorded) {
            (SwarmView::Ready(access), Some(recorded)) if !recorded.is_empty() && access.cluster_id != recorded => {
                SwarmView::Trouble {
                    reason: Reason::SwarmUnavailable,
                    message: format!(
                        "the controller's host is in another Swarm ({}) than the one on record ({recorded})",
                        access.cluster_id
                    ),
                }
            }
            _ => view,
        }
    }

    fn reply_to(&self, node: &NodeRecord, gate: Gate, swarm: &SwarmView) -> Reply {
        let view = self.storage.borrow().clone();
        self.store.read(|state| {
            compose(&Answer {
                node,
                counts: state.counts(),
                need: self.need,
                gate,
                swarm,
                storage: state.storage(),
                view: &view,
                overlay: &self.overlay,
                cluster_id: state.cluster_id().unwrap_or_default(),
                revision: state.revision(),
            })
        })
    }

    async fn overview(&self) -> serde_json::Value {
        let (members, swarm) = tokio::join!(self.swarm.members(), self.swarm.view());
        let view = self.storage.borrow().clone();
        let store = self.store.status();
        let mut value = self
            .store
            .read(|state| overview::status(state, self.need, &swarm, &members, &view, &store, &self.counters));
        value["Listener"] = serde_json::json!(self.listener.get().map(ListenerMonitor::status));
        value
    }

    /// In clear text nothing but the address tells who speaks: a node is believed from its own, and from this host.
    fn speaks_for(&self, id: &NodeId, peer: &Peer) -> Result<(), ErrorReply> {
        let (Peer::Remote(source) | Peer::Tls { address: source, .. }) = peer else { return Ok(()) };
        let source = source.ip().to_canonical();
        let registered = self.store.read(|state| state.node(id).map(|node| node.address));
        match registered {
            Some(address) if !source.is_loopback() && source != std::net::IpAddr::from(address) => {
                Err(ErrorReply::new(
                    "address-mismatch",
                    format!("the node is registered at {address} and not at {source}"),
                    "ask from the node itself; after a change of its address, run `clusterctl node join` on it",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the volume would lose a brick with this node: as it was last seen, or by the mark that the node found.
    fn holds_brick(&self, state: &ClusterState, node: &NodeRecord) -> bool {
        let inside = state
            .storage()
            .is_some_and(|storage| self.storage.borrow().bricks.contains(&Brick::at(node.address, &storage.brick)));
        inside || (node.storage == StorageRole::Brick && !node.report.brick_mark.is_empty())
    }

    fn refuse(&self, who: &Identity, refusal: &Refusal) -> Outcome {
        tracing::warn!(hostname = %who.hostname, node = %who.key(), reason = refusal.code(), "registration refused: {refusal}");
        self.counters.refused();
        Outcome::Error(ErrorReply::new(refusal.code(), refusal.to_string(), refusal.hint()))
    }

    fn log_registration(&self, id: &NodeId) {
        self.store.read(|state| {
            let Some(node) = state.node(id) else { return };
            let counts = state.counts();
            tracing::info!(
                hostname = %node.hostname,
                node = %node.id,
                address = %node.address,
                role = %node.role,
                storage = node.storage.as_str(),
                managers = counts.managers,
                workers = counts.workers,
                "node registered"
            );
        });
    }

    /// One line for each decision, and none for its repetition.
    fn log_decision(&self, id: &NodeId, reply: &Reply) {
        let line = match reply.reason {
            Some(reason) => format!("{reason}: {}", reply.message),
            None if reply.gluster_enabled && !reply.gluster_ready => {
                format!("ready, volume not yet: {}", reply.gluster_message)
            }
            None => "ready".to_owned(),
        };
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let digest = hasher.finish();
        let Ok(mut said) = self.said.lock() else { return };
        if said.insert(id.clone(), digest) == Some(digest) {
            return;
        }
        drop(said);
        tracing::info!(node = %id, role = reply.swarm_role, brick = reply.gluster_brick, "answer: {line}");
    }
}

fn is_swarm(reason: Reason) -> bool {
    matches!(reason, Reason::SwarmUnavailable | Reason::SwarmNoLeader)
}

fn source(peer: &Peer) -> Source {
    match peer {
        Peer::Remote(address) | Peer::Tls { address, .. } => Source::Remote(address.ip()),
        Peer::Local { .. } => Source::Local,
    }
}

fn unknown_node(who: &str) -> ErrorReply {
    ErrorReply::new("unknown-node", format!("no node `{who}` is registered"), "run `clusterctl node join` on it first")
}

fn not_stored(error: &CommitError) -> Outcome {
    let reason = match error {
        CommitError::Overloaded => Reason::Overloaded,
        _ => Reason::StorageUnavailable,
    };
    Outcome::Reply(Box::new(Reply {
        status: Status::Waiting,
        reason: Some(reason),
        message: error.to_string(),
        retry_after_ms: Some(2_000),
        ..Reply::default()
    }))
}
