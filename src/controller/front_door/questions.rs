//! What members ask and say between registrations: how things stand, what they found, that they leave.

use std::time::Duration;

use tokio::time::Instant;

use super::{FrontDoor, Outcome, Party, overloaded, removed_node, unknown_node};
use crate::cluster::NodeId;
use crate::controller::admission::{Caller, Refusal, Standing, speaks_for};
use crate::controller::command::Command;
use crate::controller::overview::Seen;
use crate::protocol::registration::{Addendum, Identity, NodeReport};
use crate::protocol::reply::{ErrorReply, Reply, Status};

impl FrontDoor {
    pub(super) async fn check_status(
        &self,
        who: &Identity,
        caller: Caller<'_>,
        party: &Party,
        report: Option<(NodeReport, Addendum)>,
        wait_ms: u64,
    ) -> Outcome {
        let id = match self.speaker(who, caller) {
            Ok(Standing::Member(id)) => id,
            Ok(Standing::Stranger(_)) => return Outcome::error(unknown_node(who.hostname.as_str())),
            Err(outcome) => return outcome,
        };
        let mut was_member = None;
        if let Some((report, more)) = report {
            let known = self.store.read(|state| state.node(&id).map(|node| node.report.swarm_node_id.clone()));
            was_member = known.filter(|known| !known.is_empty() && *known == report.swarm_node_id && wait_ms == 0);
            let changed =
                self.store.read(|state| state.node(&id).is_some_and(|node| node.report != report || node.more != more));
            if changed {
                if let Party::Member(id) = party {
                    let allowed = self.limits().node(id, self.started.elapsed());
                    if let Err(too_soon) = allowed {
                        return overloaded(&too_soon, id);
                    }
                }
                if let Err(error) = self.store.commit(Command::Observe { id: id.clone(), report, more }).await {
                    return self.not_stored(&error);
                }
                self.wake.notify_one();
            }
        }
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        let mut told = None;
        let news = |reply: &Reply| {
            let told = told.get_or_insert_with(|| reply.gluster_servers.clone());
            let refused = !reply.gluster_code.is_empty();
            let settled = refused || reply.gluster_ready || !reply.gluster_enabled || reply.gluster_brick_reset;
            reply.status == Status::Ready && (settled || *told != reply.gluster_servers)
        };
        match self.answer_when(&id, deadline, news).await {
            Outcome::Reply(mut reply) => {
                // Asking how things stand lets nobody in.
                reply.swarm_join_token.clear();
                reply.overlay_type.clear();
                reply.overlay_payload.clear();
                // One that has only just joined is not looked up: that would keep it waiting, and it was heard.
                if let Some(swarm_node_id) = was_member {
                    reply.swarm_seen = self.swarm.sees(&swarm_node_id).await;
                }
                Outcome::Reply(reply)
            }
            other => other,
        }
    }

    /// A client of the first implementation says that it made the volume. Ours never asks one to; it is thanked.
    pub(super) fn gluster_ready(&self, who: &Identity, caller: Caller<'_>, party: &Party) -> Outcome {
        if let Party::Member(id) = party {
            let allowed = self.limits().node(id, self.started.elapsed());
            if let Err(too_soon) = allowed {
                return overloaded(&too_soon, id);
            }
        }
        match self.speaker(who, caller) {
            Err(outcome) => outcome,
            Ok(Standing::Stranger(_)) if caller != Caller::Local && !self.is_open() => {
                Outcome::error(unknown_node(who.hostname.as_str()))
            }
            Ok(Standing::Member(_) | Standing::Stranger(_)) => {
                tracing::info!(hostname = %who.hostname, "a client says that the volume is ready; the controller looks after it itself");
                self.wake.notify_one();
                done(None)
            }
        }
    }

    pub(super) async fn deregister(&self, who: &Identity, caller: Caller<'_>) -> Outcome {
        let id = match self.speaker(who, caller) {
            Ok(Standing::Member(id)) => id,
            // Leaving twice is leaving.
            Ok(Standing::Stranger(_)) => return done(None),
            Err(outcome) => return outcome,
        };
        if let Some(error) = self.brick_is_here(&id) {
            return Outcome::error(error);
        }
        let at = self.clock.now();
        self.drop_node(&id, Command::Deregister { id: id.clone(), at }, "node left").await
    }

    /// Why a node cannot be dropped, if it holds a brick.
    pub(super) fn brick_is_here(&self, id: &NodeId) -> Option<ErrorReply> {
        let held = self.store.read(|state| {
            let node = state.node(id).filter(|node| self.holds_brick(state, node))?;
            let volume = state.storage().map(|storage| storage.volume.to_string()).unwrap_or_default();
            Some((node.hostname.clone(), volume))
        });
        held.map(|(hostname, volume)| {
            ErrorReply::new(
                "holds-brick",
                format!("`{hostname}` holds a brick of the shared volume `{volume}`"),
                "nothing was changed; bring the host back, or move its brick to another host with `gluster volume replace-brick` first",
            )
        })
    }

    /// Takes a node out of the state, by whichever command.
    pub(super) async fn drop_node(&self, id: &NodeId, command: Command, line: &'static str) -> Outcome {
        let hostname =
            self.store.read(|state| state.node(id).map(|node| node.hostname.to_string()).unwrap_or_default());
        match self.store.commit(command).await {
            Ok(_) => {
                let (counts, revision) = self.store.read(|state| (state.counts(), state.revision()));
                self.memory.forget(id);
                tracing::info!(hostname, node = %id, managers = counts.managers, workers = counts.workers, "{line}");
                self.wake.notify_one();
                // That of the state: a node that was gone already was no change.
                done(Some(revision))
            }
            Err(error) => self.not_stored(&error),
        }
    }

    /// Whom the caller speaks for. A member is noted as heard.
    fn speaker(&self, who: &Identity, caller: Caller<'_>) -> Result<Standing, Outcome> {
        let standing = self.store.read(|state| speaks_for(state, self.policy, who, caller)).map_err(|refusal| {
            Outcome::error(if matches!(refusal, Refusal::Removed { .. }) {
                removed_node(&refusal)
            } else {
                ErrorReply::new(refusal.code(), refusal.to_string(), refusal.hint())
            })
        })?;
        if let Standing::Member(id) = &standing {
            self.memory.hears(id, Seen { at: self.clock.now(), source: caller.source() });
        }
        Ok(standing)
    }

    fn is_open(&self) -> bool {
        self.policy.admission == crate::cluster::Admission::Open
    }
}

pub(super) fn done(revision: Option<u64>) -> Outcome {
    Outcome::Reply(Box::new(Reply { status: Status::Ready, revision, ..Reply::default() }))
}
