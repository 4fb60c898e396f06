//! Answers requests: the one place where decisions, the store and the views of Swarm and storage meet.
//!
//! Nothing here waits for Docker or GlusterFS longer than the cached view of the Swarm takes to refresh; pool and
//! volume are changed by [`reconcile`](super::reconcile) alone, which is woken and not waited for. Every answer that
//! speaks of a change leaves after the change is on disk.
//!
//! What opens what: a node's requests are believed on TLS for its key, in clear text as far as admission's rules go;
//! administration is for root on this host and for administrators that the state knows. A reply with the Swarm's token
//! or the overlay's settings is composed in one place, for nodes on record alone.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::admission::{Caller, Policy, Refusal, answers_clear_text};
use super::certificates::CertificateIssuer;
use super::command::{Command, Thresholds};
use super::gate::{self, Gate};
use super::limits::{Limit, Limits, TooSoon};
use super::listener::{Handler, ListenerMonitor, Peer};
use super::overview::Counters;
use super::reply::{Answer, StorageView, SwarmView, compose, retry_after};
use super::state::{ClusterState, NodeRecord, StorageRole};
use super::store::{CommitError, Store};
use super::swarm_view::SwarmWatch;
use crate::clock::Clock;
use crate::cluster::{NodeId, OverlayConfig, Proof, Subject, Validity};
use crate::protocol::registration::{Administer, RawRequest, Request};
use crate::protocol::reply::{ErrorReply, Reason, Reply, Status};
use crate::providers::gluster::Brick;
use crate::providers::swarm::SwarmEngine;

mod administration;
mod backing_up;
mod listings;
mod memory;
mod questions;
mod registration;
mod tables;

pub use backing_up::remove_leftovers;
pub use memory::Memory;

/// The controller's answers.
pub struct FrontDoor {
    pub store: Store<ClusterState>,
    /// The controller's own directory.
    pub state_dir: PathBuf,
    pub policy: Policy,
    /// The cluster's certificate authority; without one there is no TLS, and there are no tokens.
    pub certificates: Option<Arc<dyn CertificateIssuer>>,
    /// This host's engine, through which nodes are taken out of the Swarm.
    pub engine: Arc<dyn SwarmEngine>,
    /// Where nodes reach this controller.
    pub own: SocketAddrV4,
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
    pub limits: Mutex<Limits>,
    /// From when the limits count their time.
    pub started: Instant,
    pub memory: Memory,
}

/// An answer before it is bytes.
enum Outcome {
    Reply(Box<Reply>),
    Error(Box<ErrorReply>),
    Value(serde_json::Value),
}

impl Outcome {
    fn error(reply: ErrorReply) -> Self {
        Self::Error(Box::new(reply))
    }
}

/// The part of the state that the reply to a node depends on beside the number of nodes: that alone opens the gate, but
/// not before this is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Awaited {
    settings: u64,
    /// `None`: it is no member any more.
    node: Option<u64>,
}

impl Awaited {
    fn of(state: &ClusterState, id: &NodeId) -> Self {
        Self { settings: state.settings_revision(), node: state.member(id).map(|node| node.revision) }
    }
}

/// What a caller has a right to, whatever it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Party {
    /// Root on this host.
    Local,
    /// An administrator that the state knows.
    Admin(String),
    /// A node on record that proves its key.
    Member(NodeId),
    Stranger,
}

#[async_trait::async_trait]
impl Handler for FrontDoor {
    async fn answer(&self, request: RawRequest, peer: Peer) -> Vec<u8> {
        let mut outcome = self.outcome(request, &peer).await;
        if let Peer::Tls { .. } = peer {
            self.stamp(&mut outcome);
        }
        // Most replies fit, with the end of the line.
        let mut bytes = Vec::with_capacity(1024);
        let written = match &outcome {
            Outcome::Reply(reply) => serde_json::to_writer(&mut bytes, reply),
            Outcome::Error(error) => serde_json::to_writer(&mut bytes, error),
            Outcome::Value(value) => serde_json::to_writer(&mut bytes, value),
        };
        match written {
            Ok(()) => bytes,
            Err(_) => br#"{"Status":"error","Code":"internal-error","Message":"the reply could not be written","Hint":"see the controller's log"}"#.to_vec(),
        }
    }
}

impl FrontDoor {
    async fn outcome(&self, request: RawRequest, peer: &Peer) -> Outcome {
        let caller = caller(peer);
        if let Caller::Clear(source) = caller
            && !answers_clear_text(self.policy, source)
        {
            return Outcome::error(tls_required());
        }
        let party = self.party(caller);
        if let (Party::Stranger, Some(source)) = (&party, caller.source()) {
            let allowed = self.limits().stranger(source, self.started.elapsed());
            if let Err(too_soon) = allowed {
                return overloaded(&too_soon, &source);
            }
        }
        let (boot_id, machine_id) = (request.boot_id.clone(), request.machine_id.clone());
        let request = match request.check() {
            Ok(request) => request,
            Err(error) => {
                let hint = "see `clusterctl node join --help`; the request's fields are in the README under \"Wire\"";
                return Outcome::error(ErrorReply::new("invalid-request", error.to_string(), hint));
            }
        };
        if let (Party::Member(id), false) = (&party, boot_id.is_empty())
            && self.memory.hears_boot(id, &boot_id, self.started.elapsed())
        {
            tracing::error!(node = %id, boot_id, machine_id, source = caller.source().map(tracing::field::display), "two hosts have the key of one node: neither is listened to");
            return Outcome::error(cloned_host());
        }
        match request {
            Request::Register(registration) => self.register(registration, caller, &party).await,
            Request::CheckStatus { who, report, wait_ms } => {
                self.check_status(&who, caller, &party, report, wait_ms).await
            }
            Request::GlusterReady { who } => self.gluster_ready(&who, caller, &party),
            Request::Deregister { who } => self.deregister(&who, caller).await,
            Request::Administer(action) => match party {
                Party::Local => self.administer(action, "root").await,
                // A backup holds the CA's keys and lies on this host.
                Party::Admin(name) if action != Administer::Backup => self.administer(action, &name).await,
                Party::Admin(_) | Party::Member(_) | Party::Stranger => Outcome::error(ErrorReply::new(
                    "not-permitted",
                    "administration is for root on the controller's unix socket, and for administrators' certificates",
                    "run the command on the master's host as root, or get a certificate there with `clusterctl master admin create`",
                )),
            },
        }
    }

    fn party(&self, caller: Caller<'_>) -> Party {
        let proof = match caller {
            Caller::Local => return Party::Local,
            Caller::Clear(_) => return Party::Stranger,
            Caller::Tls(_, proof) => proof,
        };
        if let Proof::Certified { key, subject: Subject::Admin { name }, validity } = proof
            && !matches!(validity, Validity::Outside { .. })
            && self.store.read(|state| state.administers(name, &key.fingerprint))
        {
            return Party::Admin(name.clone());
        }
        let member =
            proof.key().map(|key| &key.node_id).filter(|id| self.store.read(|state| state.member(id).is_some()));
        member.map_or(Party::Stranger, |id| Party::Member(id.clone()))
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a limit that was reached elsewhere; of each kind there is a line now and then, whoever floods.
    fn reached(&self, limit: Limit) {
        let count = self.limits().reached(limit, self.started.elapsed());
        if let Some(count) = count {
            tracing::warn!(count, "too many {}", limit.as_str());
        }
    }

    fn not_stored(&self, error: &CommitError) -> Outcome {
        let reason = match error {
            CommitError::Overloaded => {
                self.reached(Limit::Queue);
                Reason::Overloaded
            }
            CommitError::Storage(_) | CommitError::Closed => Reason::StorageUnavailable,
        };
        // Nobody knows how many more come; those who wait already tell.
        let lot = administration::random::<4>().unwrap_or_default();
        let after = retry_after(self.store.status().queued, &lot) * 2;
        waiting(reason, error.to_string(), after)
    }

    /// On TLS every answer tells the time, by which certificates are judged, and the CAs that are trusted.
    fn stamp(&self, outcome: &mut Outcome) {
        let now = self.clock.now();
        let authorities = self.certificates.as_ref().map(|issuer| issuer.authorities_pem(now)).unwrap_or_default();
        let time = now.to_string();
        match outcome {
            Outcome::Reply(reply) => (reply.server_time, reply.authorities) = (time, authorities),
            Outcome::Error(error) => (error.server_time, error.authorities) = (time, authorities),
            Outcome::Value(value) => {
                value["ServerTime"] = time.into();
                // A listing of the authorities has the field for itself.
                if value["Authorities"].is_null() {
                    value["Authorities"] = authorities.into();
                }
            }
        }
    }

    /// Answers as soon as `enough` holds, or `deadline` has come.
    async fn answer_when(&self, id: &NodeId, deadline: Instant, mut enough: impl FnMut(&Reply) -> bool) -> Outcome {
        let (mut storage, mut state, mut swarm) = (self.storage.clone(), self.store.changed(), self.swarm.news());
        let mut parked = None;
        loop {
            storage.mark_unchanged();
            state.mark_unchanged();
            swarm.mark_unchanged();
            let awaited = self.store.read(|state| Awaited::of(state, id));
            let reply = match self.compose(id).await {
                Ok(reply) => reply,
                Err(outcome) => return outcome,
            };
            self.log_decision(id, &reply);
            if enough(&reply) || Instant::now() >= deadline {
                return Outcome::Reply(Box::new(reply));
            }
            parked.get_or_insert_with(|| self.counters.park());
            tokio::select! {
                // The order is that of the branches, not chance's: what happens can be repeated.
                biased;
                _ = storage.changed() => {}
                () = self.moves_on(&mut state, id, awaited) => {}
                () = self.swarm.changed(&mut swarm), if reply.reason.is_some_and(is_swarm) => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Returns when the state has changed in a way that a held-back reply to that node may be about. Most changes are
    /// about other nodes: while thousands wait for the last one, composing anew each time would cost N times N replies.
    async fn moves_on(&self, state: &mut watch::Receiver<u64>, id: &NodeId, awaited: Awaited) {
        while state.changed().await.is_ok() {
            if self.store.read(|state| Awaited::of(state, id)) != awaited {
                return;
            }
        }
        // The store is closed: the connection's deadline, or the shutdown, ends this.
        std::future::pending().await
    }

    async fn compose(&self, id: &NodeId) -> Result<Reply, Outcome> {
        let (gate, found) = self
            .store
            .read(|state| (gate::evaluate(self.need, state.counts(), state.latch()), state.member(id).cloned()));
        let Some(node) = found else { return Err(Outcome::error(self.no_longer(id))) };
        if let (Gate::Open { newly: true }, Some(thresholds)) = (gate, self.need) {
            self.latch(thresholds).await?;
        }
        let swarm = match gate {
            Gate::Open { .. } => self.own_swarm(self.swarm.view().await),
            Gate::Waiting { .. } => SwarmView::Trouble { reason: Reason::BelowMinimum, message: String::new() },
        };
        Ok(self.reply_to(&node, gate, &swarm))
    }

    /// Puts on record that the gate is open: once, although many may see it at the same moment.
    async fn latch(&self, thresholds: Thresholds) -> Result<(), Outcome> {
        let _one = self.memory.latching.lock().await;
        if self.store.read(|state| state.latch() == Some(thresholds)) {
            return Ok(());
        }
        let Thresholds { managers, workers } = thresholds;
        tracing::info!(managers, workers, "the minimum is reached: the gate opens");
        self.store.commit(Command::LatchGate { thresholds }).await.map_err(|error| self.not_stored(&error))?;
        Ok(())
    }

    /// What a node is told that was registered when it asked, and is not any more.
    fn no_longer(&self, id: &NodeId) -> ErrorReply {
        let removed = self.store.read(|state| state.tombstone(id).map(|stone| stone.hostname.clone()));
        removed.map_or_else(|| unknown_node(id.as_str()), |hostname| removed_node(&Refusal::Removed { hostname }))
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
                incarnation: state.incarnation().unwrap_or_default(),
                revision: state.revision(),
            })
        })
    }

    /// Whether the volume would lose a brick with this node: as it was last seen, or by the mark that the node found.
    fn holds_brick(&self, state: &ClusterState, node: &NodeRecord) -> bool {
        let inside = state
            .storage()
            .is_some_and(|storage| self.storage.borrow().bricks.contains(&Brick::at(node.address, &storage.brick)));
        inside || (node.storage == StorageRole::Brick && !node.report.brick_mark.is_empty())
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
        if self.memory.says_anew(id, &line) {
            tracing::info!(node = %id, role = reply.swarm_role, brick = reply.gluster_brick, "answer: {line}");
        }
    }
}

fn is_swarm(reason: Reason) -> bool {
    matches!(reason, Reason::SwarmUnavailable | Reason::SwarmNoLeader)
}

fn caller(peer: &Peer) -> Caller<'_> {
    match peer {
        Peer::Remote(address) => Caller::Clear(address.ip()),
        Peer::Tls { address, proof } => Caller::Tls(address.ip(), proof),
        Peer::Local { .. } => Caller::Local,
    }
}

fn tls_required() -> ErrorReply {
    ErrorReply::new(
        "tls-required",
        "this controller answers on TLS",
        "run `clusterctl node join` of this version; clients that know no TLS need `--plaintext` on the master, and a private network",
    )
}

/// Both of them are told the same: nobody can say which one is the copy.
fn cloned_host() -> ErrorReply {
    ErrorReply::new(
        "cloned-host",
        "another host that runs at the same time has this host's key: one is a copy of the other's disk",
        "on the copy, remove `/var/lib/clusterctl/node` and `/etc/machine-id` and, with Docker stopped, `/var/lib/docker/swarm`; run `systemd-machine-id-setup` and join it with a token of its own; a minute later the original joins again as before",
    )
}

fn unknown_node(who: &str) -> ErrorReply {
    ErrorReply::new("unknown-node", format!("no node `{who}` is registered"), "run `clusterctl node join` on it first")
}

/// For a client that only asks, or was let in before: it must not take this for an answer to a registration.
fn removed_node(refusal: &Refusal) -> ErrorReply {
    ErrorReply::new("removed", refusal.to_string(), refusal.hint())
}

/// Not an error: clients of the first implementation give up on errors.
fn overloaded(too_soon: &TooSoon, who: &dyn std::fmt::Display) -> Outcome {
    if let Some(count) = too_soon.log {
        tracing::warn!(%who, count, "too many {}", too_soon.limit.as_str());
    }
    waiting(Reason::Overloaded, "too many requests in a short time".to_owned(), too_soon.retry_after)
}

fn waiting(reason: Reason, message: String, retry_after: Duration) -> Outcome {
    Outcome::Reply(Box::new(Reply {
        status: Status::Waiting,
        reason: Some(reason),
        message,
        retry_after_ms: Some(millis(retry_after)),
        ..Reply::default()
    }))
}

/// At least 1: 0 would ask for the next request at once.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
