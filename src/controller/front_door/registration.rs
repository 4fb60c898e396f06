//! Registrations: judged, recorded, answered.
//!
//! A node that has to wait for an administrator is answered when he has decided, if it lets its reply be held back. The
//! judgement that counts is the state's, when the command is applied; where that differs from the first one, the
//! registration is judged again.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{FrontDoor, Outcome, Party, overloaded, waiting};
use crate::cluster::{KeyFingerprint, NodeId, ShortId};
use crate::controller::admission::{Caller, Refusal, Rules, Verdict, admit, needs_certificate};
use crate::controller::command::{AdmittedNode, Command, RequestTerms, Warrant};
use crate::controller::limits::Limit;
use crate::controller::overview::{Seen, admitted_by};
use crate::controller::state::{Conflict, Denial, Effect, StorageRole};
use crate::protocol::registration::{Identity, Registration};
use crate::protocol::reply::{ErrorReply, Reason, Reply, Status};

/// How often a registration is judged again because the state moved on between the judgement and the commit.
const ATTEMPTS: u32 = 4;
/// When a node that waits for an administrator should ask again, if its reply is not held back.
const PENDING_RETRY: Duration = Duration::from_secs(5);

/// How far a registration has come.
enum Progress {
    Answer(Outcome),
    /// The state has moved on.
    JudgeAgain,
}

impl FrontDoor {
    pub(super) async fn register(&self, mut registration: Registration, caller: Caller<'_>, party: &Party) -> Outcome {
        if let Party::Member(id) = party {
            let allowed = self.limits().node(id, self.started.elapsed());
            if let Err(too_soon) = allowed {
                return overloaded(&too_soon, id);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(registration.wait_ms);
        let mut changes = self.store.changed();
        let (mut place, mut parked, mut asked) = (None, None, None);
        let mut attempts = 0;
        loop {
            changes.mark_unchanged();
            let now = self.clock.now();
            let verdict = self.judge(&registration, caller, now);
            // The clock is judged once: however long the reply is held back, it was right when it was sent.
            registration.sent_at = None;
            if let Some(outcome) = self.blocks_token(&registration, caller, &verdict) {
                return outcome;
            }
            let progress = match verdict {
                Verdict::Refuse(refusal) => Progress::Answer(self.refuse_registration(&registration, caller, &refusal)),
                Verdict::Admit { node, warrant, key } => {
                    self.let_in(&registration, caller, *node, warrant, key, now, deadline).await
                }
                Verdict::Pending { request, filed } => {
                    let id = match (filed, &asked) {
                        (Some(id), _) => id,
                        // Another request of the same node has taken its place, or there was no room for it.
                        (None, Some(id)) => return pending(id, &request),
                        (None, None) => match self.file(*request.clone(), now).await {
                            Ok(id) => id,
                            Err(outcome) => return outcome,
                        },
                    };
                    asked = Some(id.clone());
                    place = place.or_else(|| self.memory.wait(&request.node_id));
                    if place.is_none() || Instant::now() >= deadline {
                        return pending(&id, &request);
                    }
                    parked.get_or_insert_with(|| self.counters.park());
                    tokio::select! {
                        biased;
                        _ = changes.changed() => {}
                        () = tokio::time::sleep_until(deadline) => {}
                    }
                    continue;
                }
            };
            attempts += 1;
            match progress {
                Progress::Answer(outcome) => return outcome,
                Progress::JudgeAgain if attempts < ATTEMPTS => {}
                Progress::JudgeAgain => {
                    let message = "the cluster is changing faster than this could be decided".to_owned();
                    return waiting(Reason::Overloaded, message, Duration::from_secs(1));
                }
            }
        }
    }

    fn judge(&self, registration: &Registration, caller: Caller<'_>, now: Timestamp) -> Verdict {
        // They matter for tokens alone.
        let issuer = self.certificates.as_ref().filter(|_| registration.token.is_some());
        let authorities = issuer.map(|issuer| issuer.describe(now).fingerprints()).unwrap_or_default();
        let rules = Rules { policy: self.policy, authorities: &authorities, now };
        self.store.read(|state| admit(state, &rules, registration, caller))
    }

    /// The answer where a token was looked at that must not be, after too many wrong ones. It is the same whether this
    /// one is good.
    fn blocks_token(&self, registration: &Registration, caller: Caller<'_>, verdict: &Verdict) -> Option<Outcome> {
        let (token, source) = (registration.token.as_ref()?, caller.source()?);
        let looked_at = match verdict {
            Verdict::Admit { warrant, .. } => matches!(warrant, Warrant::Token(_) | Warrant::Open),
            Verdict::Pending { .. } | Verdict::Refuse(_) => true,
        };
        if !looked_at {
            return None;
        }
        let too_soon = self.limits().may_try_token(source, &token.id, self.started.elapsed()).err()?;
        if let Some(count) = too_soon.log {
            tracing::warn!(%source, token = %token.id, count, "too many {}", too_soon.limit.as_str());
        }
        let mut error = ErrorReply::new(
            "too-many-failures",
            "too many wrong tokens came from this address",
            "wait for a minute, then join with a token that `clusterctl token list` on the master's host shows as valid",
        );
        error.retry_after_ms = Some(super::millis(too_soon.retry_after));
        Some(Outcome::error(error))
    }

    fn refuse_registration(&self, registration: &Registration, caller: Caller<'_>, refusal: &Refusal) -> Outcome {
        if let (Refusal::Token(fault), Some(token)) = (refusal, &registration.token) {
            let source = caller.source();
            tracing::warn!(token = %token.id, fault = fault.as_str(), source = source.map(tracing::field::display), "a token is refused");
            if let Some(source) = source {
                self.limits().token_failed(source, &token.id, self.started.elapsed());
            }
        }
        self.refuse(&registration.who, refusal)
    }

    fn refuse(&self, who: &Identity, refusal: &Refusal) -> Outcome {
        let count = self.limits().refused(refusal.code(), self.started.elapsed());
        if let Some(count) = count {
            tracing::warn!(hostname = %who.hostname, reason = refusal.code(), count, "registration refused: {refusal}");
        }
        if let Refusal::Full(_) = refusal {
            self.reached(Limit::Nodes);
        }
        self.counters.refused();
        Outcome::error(ErrorReply::new(refusal.code(), refusal.to_string(), refusal.hint()))
    }

    /// Puts a request on record, and says under which id it is.
    async fn file(&self, request: RequestTerms, now: Timestamp) -> Result<ShortId, Outcome> {
        let terms = request.clone();
        let id = ShortId::of_bytes(super::administration::random()?);
        let crowded = self.store.read(|state| state.crowds_out(&terms, now));
        let command = Command::FileRequest { id: id.clone(), request, at: now };
        let committed = self.store.commit(command).await.map_err(|error| self.not_stored(&error))?;
        let filed = self.store.read(|state| state.request_like(&terms).cloned());
        let Some(filed) = filed else {
            // Dropped again by now, for want of room.
            return Err(waiting(Reason::Overloaded, "too many requests to join are waiting".to_owned(), PENDING_RETRY));
        };
        if committed.effect == Effect::Changed {
            if crowded {
                self.reached(Limit::JoinRequests);
            }
            let terms = &filed.terms;
            tracing::info!(
                request = %filed.id,
                hostname = %terms.hostname,
                node = %terms.node_id,
                source = %terms.source,
                key = terms.key.map(tracing::field::display),
                "a node asks to be let in"
            );
        }
        Ok(filed.id)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a verdict, and what it is about")]
    async fn let_in(
        &self,
        registration: &Registration,
        caller: Caller<'_>,
        node: AdmittedNode,
        warrant: Warrant,
        key: Option<KeyFingerprint>,
        now: Timestamp,
        deadline: Instant,
    ) -> Progress {
        let id = node.id.clone();
        let unchanged = self.store.read(|state| state.is_registered_as(&node, key));
        let brick = self.store.read(|state| state.node(&id).is_some_and(|node| node.storage == StorageRole::Brick));
        if unchanged && registration.wait_ms == 0 {
            self.look_up_member(&id);
        }
        if unchanged && registration.wait_ms == 0 && brick {
            // Who joins again may do so because something broke: also bricks are looked at, while the node goes on.
            self.look_again.store(true, Ordering::Relaxed);
            self.wake.notify_one();
        }
        if let Some(error) = self.brick_stays_behind(&node, now) {
            return Progress::Answer(Outcome::error(error));
        }
        if registration.token_refused {
            self.swarm.doubt().await;
        }
        if !unchanged {
            let (hostname, address) = (node.hostname.clone(), node.address);
            let replaced = self.store.read(|state| state.succeeded_by(&node, now).map(|old| old.id.clone()));
            let effect = match self.store.commit(Command::Admit { node, warrant, key, at: now }).await {
                Ok(committed) => committed.effect,
                Err(error) => return Progress::Answer(self.not_stored(&error)),
            };
            let refusal = match effect {
                Effect::Changed | Effect::Unchanged => None,
                Effect::Conflict(Conflict::Hostname { .. }) => Some(Refusal::HostnameTaken { hostname }),
                Effect::Conflict(Conflict::Address { holder }) => Some(Refusal::AddressTaken { address, holder }),
                Effect::Refused(
                    Denial::Token
                    | Denial::Role
                    | Denial::NotApproved
                    | Denial::NotMember
                    | Denial::Removed
                    | Denial::Unknown
                    | Denial::Taken
                    | Denial::Full,
                ) => return Progress::JudgeAgain,
            };
            if let Some(refusal) = refusal {
                return Progress::Answer(self.refuse(&registration.who, &refusal));
            }
            if let Some(old) = replaced {
                self.memory.forget(&old);
            }
            self.wake.notify_one();
            self.log_registration(&id, caller.source());
        }
        self.memory.hears(&id, Seen { at: now, source: caller.source() });
        self.counters.registered(self.started.elapsed());
        let certificate = match self.certificate(&id, caller, now) {
            Ok(certificate) => certificate,
            Err(outcome) => return Progress::Answer(outcome),
        };
        let answer = self.answer_when(&id, deadline, |reply| reply.status == Status::Ready).await;
        Progress::Answer(match answer {
            Outcome::Reply(mut reply) => {
                reply.certificate = certificate;
                Outcome::Reply(reply)
            }
            other => other,
        })
    }

    /// A member that joins again will ask how the managers see it: by then they have said so.
    fn look_up_member(&self, id: &NodeId) {
        let (swarm, id) = (
            Arc::clone(&self.swarm),
            self.store.read(|state| state.node(id).map(|node| node.report.swarm_node_id.clone())),
        );
        if let Some(swarm_node_id) = id.filter(|id| !id.is_empty()) {
            tokio::spawn(async move { swarm.sees(&swarm_node_id).await });
        }
    }

    /// A brick is known by its host's address: neither may the address change under it, nor may another host take the
    /// name of one that holds a brick elsewhere.
    fn brick_stays_behind(&self, node: &AdmittedNode, now: Timestamp) -> Option<ErrorReply> {
        let old = self.store.read(|state| {
            let before = state.succeeded_by(node, now).or_else(|| state.node(&node.id));
            let moved = before.filter(|known| known.address != node.address);
            moved.filter(|known| self.holds_brick(state, known)).map(|known| known.address)
        })?;
        Some(ErrorReply::new(
            "brick-address",
            format!("the volume knows this host's brick at {old}, and the host registers {}", node.address),
            format!("give the host its address {old} back, or pass `--ip {old}`; nothing was changed"),
        ))
    }

    /// A certificate for a member that needs one; empty if it does not.
    fn certificate(&self, id: &NodeId, caller: Caller<'_>, now: Timestamp) -> Result<String, Outcome> {
        let (Caller::Tls(_, proof), Some(issuer)) = (caller, &self.certificates) else { return Ok(String::new()) };
        let role = self.store.read(|state| state.node(id).map(|node| node.role));
        let (Some(key), Some(role)) = (proof.key(), role) else { return Ok(String::new()) };
        if !needs_certificate(proof, id, role) {
            return Ok(String::new());
        }
        match issuer.issue_node(key, role, now) {
            Ok(certificate) => {
                tracing::info!(node = %id, %role, "the node gets a certificate");
                Ok(certificate)
            }
            Err(error) => {
                tracing::error!(node = %id, "no certificate for the node: {error}: {}", error.0);
                Err(no_certificate())
            }
        }
    }

    fn log_registration(&self, id: &NodeId, source: Option<IpAddr>) {
        self.store.read(|state| {
            let Some(node) = state.node(id) else { return };
            let counts = state.counts();
            let elsewhere = source.filter(|source| *source != IpAddr::from(node.address) && !source.is_loopback());
            tracing::info!(
                hostname = %node.hostname,
                node = %node.id,
                address = %node.address,
                seen_from = elsewhere.map(tracing::field::display),
                role = %node.role,
                storage = node.storage.as_str(),
                by = admitted_by(&node.admitted_by),
                managers = counts.managers,
                workers = counts.workers,
                "node registered"
            );
        });
    }
}

pub(super) fn no_certificate() -> Outcome {
    Outcome::error(ErrorReply::new(
        "no-certificate",
        "the controller could not make a certificate",
        "see the controller's log; its state directory must be writable",
    ))
}

fn pending(id: &ShortId, request: &RequestTerms) -> Outcome {
    let key = request.key.map(|key| key.to_string()).unwrap_or_default();
    let shown = if key.is_empty() { String::new() } else { format!(", key {key}") };
    Outcome::Reply(Box::new(Reply {
        status: Status::Waiting,
        reason: Some(Reason::PendingApproval),
        message: format!("an administrator has to approve the request {id}{shown}"),
        hint: format!("on the master's host: `clusterctl request approve {id}`"),
        retry_after_ms: Some(super::millis(PENDING_RETRY)),
        request_id: id.to_string(),
        key_fingerprint: key,
        ..Reply::default()
    }))
}
