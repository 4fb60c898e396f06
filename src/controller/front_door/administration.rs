//! Administration: what root on this host and administrators with a certificate ask for. Whoever comes here has been
//! let through; what he does is logged with his name.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::tables::Tables;
use super::{FrontDoor, Outcome, listings, unknown_node};
use crate::cluster::{Hostname, KeyFingerprint, NodeId, Role, ShortId};
use crate::controller::certificates::{CertificateIssuer, RotationError};
use crate::controller::command::{Command, Decision};
use crate::controller::ghosts::ghosts;
use crate::controller::listener::ListenerMonitor;
use crate::controller::overview::{self, Members, Surroundings};
use crate::controller::removal::{self, MemberTarget};
use crate::controller::state::{ClusterState, Denial, Effect, NodeRecord, TokenStatus};
use crate::controller::store::Committed;
use crate::controller::tokens::{MAX_LIFETIME, new_token};
use crate::protocol::registration::{Administer, Grant, NodeName};
use crate::protocol::reply::{ErrorReply, Status};
use crate::providers::swarm::{Member, SwarmError};

/// What could not be done.
pub(super) type Answer = Result<Value, Outcome>;

impl FrontDoor {
    /// Does what `by` asks for.
    pub(super) async fn administer(&self, action: Administer, by: &str) -> Outcome {
        let answer = match action {
            Administer::Status => Ok(self.overview().await),
            Administer::PruneGhosts => self.prune_ghosts(by).await,
            Administer::Nodes { after, limit } => Ok(self.nodes(&after, limit).await),
            Administer::ShowNode { node } => self.show_node(&node).await,
            Administer::Remove { node, force } => return self.remove(&node, force, by).await,
            Administer::Replace { hostname } => self.replace(&hostname, by).await,
            Administer::CreateToken { grant, node, uses, expires_s } => {
                self.create_token(&grant, node, uses, expires_s, by).await
            }
            Administer::Tokens { after, limit } => Ok(self.tokens(&after, limit)),
            Administer::RevokeToken { id } => self.revoke_token(&id, by).await,
            Administer::Requests { after, limit } => {
                Ok(self.store.read(|state| listings::requests(state, &after, limit)))
            }
            Administer::Approve { id, grant } => self.approve(&id, grant, by).await,
            Administer::Reject { id, reason } => self.decide(&id, Decision::Reject { reason }, by).await,
            Administer::ShowAuthorities => {
                self.issuer().map(|issuer| listings::authorities(&issuer.describe(self.clock.now())))
            }
            Administer::RotateAuthority { at_once } => self.rotate(at_once, by).await,
            Administer::CreateAdmin { name, spki } => self.create_admin(&name, &spki, by).await,
            Administer::Admins { after, limit } => Ok(self.store.read(|state| listings::admins(state, &after, limit))),
            Administer::RevokeAdmin { name } => self.revoke_admin(&name, by).await,
            Administer::Backup => self.back_up(by).await,
        };
        match answer {
            Ok(value) => Outcome::Value(value),
            Err(outcome) => outcome,
        }
    }

    async fn overview(&self) -> Value {
        let (members, swarm) = tokio::join!(self.swarm.members(), self.swarm.view());
        let (view, store, memory) = (self.storage.borrow().clone(), self.store.status(), self.memory.sizes());
        let seen = self.memory.seen();
        let around = Surroundings { members: &Members::of(&members), view: &view, seen: &seen };
        let now = self.clock.now();
        let (limits, tables) = {
            let limits = self.limits();
            (limits.counters(), limits.tables())
        };
        let authorities = self.certificates.as_ref().map(|issuer| issuer.describe(now));
        let (mut value, requests, tokens) = self.store.read(|state| {
            let mut value = overview::status(state, self.need, &swarm, around, &store);
            let tables = Tables {
                state,
                max_nodes: self.policy.max_nodes,
                memory,
                limits: tables,
                authorities: authorities.as_ref(),
            };
            value["Tables"] = tables.show();
            let pending = state.requests().filter(|request| request.word() == "pending").count();
            let valid = state.tokens().filter(|token| token.status(now) == TokenStatus::Valid).count();
            (value, pending, valid)
        });
        value["Counters"] = self.counters.show(self.started.elapsed());
        value["Listener"] = json!(self.listener.get().map(ListenerMonitor::status));
        value["Controller"] = json!({ "Address": self.own.to_string() });
        value["Admission"] = json!({
            "Mode": self.policy.admission.as_str(),
            "Plaintext": self.policy.plaintext,
            "RequestsPending": requests,
            "TokensValid": tokens,
        });
        value["Limits"] = json!({
            "RequestsRefused": limits.requests,
            "NodeRequestsRefused": limits.node_requests,
            "TokensNotTried": limits.token_failures,
            "TokenBlocks": limits.blocks,
            "ChangesNotTaken": limits.queue,
            "JoinRequestsDropped": limits.join_requests,
            "NodesRefused": limits.nodes,
        });
        value
    }

    /// Takes the entries off the Swarm's list that stand for no node. Docker itself refuses one that is not down.
    async fn prune_ghosts(&self, by: &str) -> Answer {
        let failed = |error: SwarmError| {
            let hint = "see `docker node ls` on the master's host; nothing else was changed";
            Outcome::error(ErrorReply::new("swarm-unavailable", error.to_string(), hint))
        };
        let (members, now) = (self.engine.members().await.map_err(failed)?, self.clock.now());
        let found: Vec<Member> = self.store.read(|state| {
            let nodes: Vec<&NodeRecord> = state.nodes().collect();
            ghosts(&nodes, &members, now).into_iter().cloned().collect()
        });
        let mut pruned = Vec::new();
        for ghost in found {
            self.engine.remove_member(&ghost.swarm_node_id, false).await.map_err(failed)?;
            tracing::info!(
                hostname = ghost.hostname,
                swarm_node = ghost.swarm_node_id,
                by,
                "an entry of the Swarm that stood for no node is gone"
            );
            pruned.push(json!({ "SwarmNodeId": ghost.swarm_node_id, "Hostname": ghost.hostname }));
        }
        Ok(json!({ "Status": "ready", "Pruned": pruned }))
    }

    async fn nodes(&self, after: &str, limit: u32) -> Value {
        let members = self.swarm.members().await;
        let (view, seen) = (self.storage.borrow().clone(), self.memory.seen());
        let around = Surroundings { members: &Members::of(&members), view: &view, seen: &seen };
        self.store.read(|state| overview::nodes(state, after, limit, around))
    }

    async fn show_node(&self, name: &NodeName) -> Answer {
        let members = self.swarm.members().await;
        let (view, seen) = (self.storage.borrow().clone(), self.memory.seen());
        let around = Surroundings { members: &Members::of(&members), view: &view, seen: &seen };
        let now = self.clock.now();
        self.store
            .read(|state| find(state, name).map(|node| overview::node(node, state, around, now)))
            .ok_or_else(|| no_node(name))
    }

    /// Takes a node out of the cluster. It is answered no more before anything else is done to it: it may have been taken
    /// over by somebody. What breaks off later goes on when it is asked for again: the node is forgotten last.
    async fn remove(&self, name: &NodeName, force: bool, by: &str) -> Outcome {
        let found = self.store.read(|state| find(state, name).map(|node| (node.id.clone(), self.target(state, node))));
        let Some((id, target)) = found else { return no_node(name) };
        tracing::info!(hostname = %target.hostname, node = %id, by, force, "a node is to be removed");
        if let Err(error) = removal::may_go(self.engine.as_ref(), &target, force).await {
            return Outcome::error(error.reply());
        }
        let expelled = Command::Expel { id: id.clone(), at: self.clock.now() };
        match self.store.commit(expelled).await {
            Ok(committed) if committed.effect == Effect::Changed => {
                tracing::info!(hostname = %target.hostname, node = %id, "the node is answered no more");
            }
            Ok(_) => {}
            Err(error) => return self.not_stored(&error),
        }
        let mut done = match removal::take_out(self.engine.as_ref(), &target, force).await {
            Ok(done) => done,
            Err(error) => return Outcome::error(error.reply()),
        };
        match self.replace_join_tokens(force).await {
            Ok(line) => done.push(line),
            Err(outcome) => return outcome,
        }
        match self.bury(&id, by).await {
            Outcome::Reply(reply) if reply.status == Status::Ready => {
                Outcome::Value(json!({ "Status": "ready", "NodeId": id, "Hostname": target.hostname, "Done": done }))
            }
            other => other,
        }
    }

    /// A node that was taken out still knows the Swarm's token that it was given: it is to open nothing any more. A node
    /// that was a manager could read every later one as well, so that this comes after it has gone.
    async fn replace_join_tokens(&self, force: bool) -> Result<String, Outcome> {
        const BY_HAND: &str = "`docker swarm join-token --rotate worker`, and the same with `manager`";
        match self.engine.rotate_join_tokens().await {
            Ok(()) => {
                self.swarm.doubt().await;
                Ok("made new join tokens for the Swarm".to_owned())
            }
            Err(error) => {
                tracing::error!("the Swarm's join tokens could not be replaced: {error}");
                if force {
                    return Ok(format!("left the Swarm's join tokens as they are, and the node knows them: {BY_HAND}"));
                }
                Err(Outcome::error(ErrorReply::new(
                    "swarm-unavailable",
                    format!(
                        "the node is out, but the Swarm's join tokens, which it knows, could not be replaced: {error}"
                    ),
                    format!("run this again: it goes on where it was; by hand: {BY_HAND}"),
                )))
            }
        }
    }

    fn target(&self, state: &ClusterState, node: &NodeRecord) -> MemberTarget {
        let volume = state.storage().filter(|_| self.holds_brick(state, node));
        MemberTarget {
            hostname: node.hostname.clone(),
            address: node.address,
            swarm_node_id: Some(node.report.swarm_node_id.clone()).filter(|id| !id.is_empty()),
            own_host: node.address.ip() == *self.own.ip(),
            brick_of: volume.map(|storage| storage.volume.clone()),
        }
    }

    /// Drops a node from the state, and remembers its key as one that opens nothing.
    pub(super) async fn bury(&self, id: &NodeId, by: &str) -> Outcome {
        tracing::info!(node = %id, by, "a node is removed");
        self.drop_node(id, Command::Remove { id: id.clone(), at: self.clock.now() }, "node removed").await
    }

    async fn replace(&self, hostname: &Hostname, by: &str) -> Answer {
        let found = self.store.read(|state| {
            state.node_named(hostname).map(|node| (node.id.clone(), self.holds_brick(state, node), node.address))
        });
        let Some((id, brick, address)) = found else { return Err(no_node(&NodeName::Host(hostname.clone()))) };
        let now = self.clock.now();
        self.change(Command::AllowReplacement { id: id.clone(), at: now }).await?;
        let until = self.store.read(|state| state.node(&id).and_then(|node| node.replaceable_until(now)));
        tracing::info!(%hostname, node = %id, by, "the host name may be taken by another key");
        let finding = brick.then(|| {
            format!(
                "the volume has a brick at {address}: the re-installed host must register that address, and its glusterd must be given the old one's identity, or the brick must be replaced by hand (`gluster volume replace-brick`, `gluster volume reset-brick`), before it serves again"
            )
        });
        Ok(json!({ "Status": "ready", "NodeId": id, "Hostname": hostname, "Until": until, "Finding": finding }))
    }

    async fn create_token(&self, grant: &Grant, node: Option<Hostname>, uses: u32, expires_s: u64, by: &str) -> Answer {
        let pin = self.issuer()?.fingerprint();
        let lifetime = i64::try_from(expires_s).map(SignedDuration::from_secs).unwrap_or(SignedDuration::MAX);
        if lifetime > MAX_LIFETIME {
            let most = MAX_LIFETIME.as_hours() / 24;
            return Err(invalid(format!("a token is valid for at most {most} days"), "pass a shorter `--expires`"));
        }
        let now = self.store.read(|state| state.no_earlier(self.clock.now()));
        let (token, command) = new_token(random()?, grant, node, uses, lifetime, pin, now);
        self.change(command).await?;
        let record = self.store.read(|state| state.token(&token.id).cloned());
        let terms = record.ok_or_else(|| denied(Denial::Unknown, "token"))?.terms;
        tracing::info!(token = %terms.id, role = %terms.role, expires = %terms.expires_at, by, "a token is made");
        Ok(json!({
            "Status": "ready",
            "Token": token.reveal(),
            "Id": terms.id,
            "Role": terms.role,
            "Profiles": terms.profiles,
            "Node": terms.node,
            "Uses": terms.uses,
            "Expires": terms.expires_at,
        }))
    }

    fn tokens(&self, after: &str, limit: u32) -> Value {
        let now = self.store.read(|state| state.no_earlier(self.clock.now()));
        let authorities = self.certificates.as_ref().map(|issuer| issuer.describe(now));
        self.store.read(|state| listings::tokens(state, authorities.as_ref(), now, after, limit))
    }

    async fn revoke_token(&self, id: &ShortId, by: &str) -> Answer {
        self.change_or(Command::RevokeToken { id: id.clone(), at: self.clock.now() }, "token").await?;
        tracing::info!(token = %id, by, "a token is revoked");
        Ok(json!({ "Status": "ready", "Id": id }))
    }

    /// What is granted is what is said, else a worker's role and what the node's token grants. Nobody becomes a manager
    /// because he asked.
    async fn approve(&self, id: &ShortId, grant: Grant, by: &str) -> Answer {
        let asked = self.store.read(|state| state.request(id).map(|request| request.terms.clone()));
        let asked = asked.ok_or_else(|| denied(Denial::Unknown, "request"))?;
        let role = match (grant.role, asked.role) {
            (Some(role), _) => role,
            (None, Some(Role::Worker) | None) => Role::Worker,
            (None, Some(Role::Manager)) => {
                return Err(Outcome::error(ErrorReply::new(
                    "role-needed",
                    format!("`{}` asks to be a manager: say as what it is let in", asked.hostname),
                    "a manager is root on every host of the Swarm; pass `--role manager`, or `--role worker`",
                )));
            }
        };
        let profiles = if grant.profiles.is_empty() { asked.profiles } else { grant.profiles };
        self.decide(id, Decision::Approve { role, profiles }, by).await
    }

    async fn decide(&self, id: &ShortId, decision: Decision, by: &str) -> Answer {
        self.change_or(Command::DecideRequest { id: id.clone(), decision, at: self.clock.now() }, "request").await?;
        // The node may have come in by now.
        let request = self.store.read(|state| state.request(id).map(listings::request));
        let status = request.as_ref().and_then(|request| request["Status"].as_str()).unwrap_or("approved");
        tracing::info!(request = %id, by, status, "a request is decided");
        Ok(json!({ "Status": "ready", "Id": id, "Request": request }))
    }

    async fn rotate(&self, at_once: bool, by: &str) -> Answer {
        let (issuer, now) = (Arc::clone(self.issuer()?), self.clock.now());
        let rotated = tokio::task::spawn_blocking(move || issuer.rotate(at_once, now)).await;
        let view = match rotated {
            Ok(Ok(view)) => view,
            Ok(Err(error @ RotationError::UnderWay { .. })) => {
                return Err(Outcome::error(ErrorReply::new(
                    "rotation-under-way",
                    error.to_string(),
                    "rotate it again after that; if a key was stolen, `clusterctl master cert rotate --now` ends every certificate and token of before at once",
                )));
            }
            Ok(Err(RotationError::Failed(error))) => {
                tracing::error!("the CA is not rotated: {error}: {}", error.0);
                return Err(super::registration::no_certificate());
            }
            Err(error) => {
                tracing::error!("the CA is not rotated: {error}");
                return Err(super::registration::no_certificate());
            }
        };
        let active = view.authorities.iter().find(|authority| authority.active);
        let previous = view.authorities.iter().find(|authority| !authority.active);
        tracing::warn!(
            by,
            at_once,
            active = active.map(|active| tracing::field::display(active.fingerprint)),
            "the CA is rotated"
        );
        Ok(json!({
            "Status": "ready",
            "Active": active.map(|authority| authority.fingerprint),
            "Previous": previous.map(|authority| authority.fingerprint),
            "TrustedUntil": previous.and_then(|authority| authority.trusted_until),
        }))
    }

    async fn create_admin(&self, name: &str, spki: &[u8], by: &str) -> Answer {
        let (issuer, now) = (self.issuer()?, self.clock.now());
        let issued = issuer.issue_admin(name, spki, now).map_err(|error| {
            tracing::warn!(name, "no certificate for the administrator: {error}: {}", error.0);
            invalid("the key cannot be certified".to_owned(), "send an ECDSA P-256 or Ed25519 public key")
        })?;
        let key = KeyFingerprint::of_public_key(spki);
        // On record before the certificate leaves; one that nobody gets opens nothing more than its key.
        self.change_or(Command::CreateAdmin { name: name.to_owned(), key, at: now }, "administrator").await?;
        tracing::warn!(name, %key, by, "an administrator is made");
        Ok(json!({
            "Status": "ready",
            "Name": name,
            "Certificate": issued.certificate,
            "Authorities": issuer.authorities_pem(now),
            "NotAfter": issued.not_after,
        }))
    }

    async fn revoke_admin(&self, name: &str, by: &str) -> Answer {
        let command = Command::RevokeAdmin { name: name.to_owned(), at: self.clock.now() };
        self.change_or(command, "administrator").await?;
        tracing::warn!(name, by, "an administrator is revoked");
        Ok(json!({ "Status": "ready", "Name": name }))
    }

    fn issuer(&self) -> Result<&Arc<dyn CertificateIssuer>, Outcome> {
        self.certificates.as_ref().ok_or_else(|| {
            Outcome::error(ErrorReply::new(
                "no-authority",
                "this controller has no certificate authority",
                "run `clusterctl master init` on the master's host, then start the controller again",
            ))
        })
    }

    async fn change(&self, command: Command) -> Result<Committed<Effect>, Outcome> {
        self.change_or(command, "node").await
    }

    /// Commits a command about a `what`.
    async fn change_or(&self, command: Command, what: &'static str) -> Result<Committed<Effect>, Outcome> {
        let committed = self.store.commit(command).await.map_err(|error| self.not_stored(&error))?;
        match committed.effect {
            Effect::Changed | Effect::Unchanged => Ok(committed),
            Effect::Refused(denial) => Err(denied(denial, what)),
            Effect::Conflict(_) => Err(denied(Denial::Taken, what)),
        }
    }
}

fn find<'a>(state: &'a ClusterState, name: &NodeName) -> Option<&'a NodeRecord> {
    match name {
        NodeName::Id(id) => state.node(id),
        NodeName::Host(hostname) => state.node_named(hostname),
    }
}

fn no_node(name: &NodeName) -> Outcome {
    Outcome::error(unknown_node(&name.to_string()))
}

fn invalid(message: String, hint: &str) -> Outcome {
    Outcome::error(ErrorReply::new("invalid-request", message, hint))
}

fn denied(denial: Denial, what: &str) -> Outcome {
    let (code, message, hint) = match denial {
        Denial::Full => (
            format!("too-many-{what}s"),
            format!("there are as many {what}s as there may be"),
            format!("revoke {what}s that are not needed any more"),
        ),
        Denial::Taken => (
            format!("{what}-exists"),
            format!("there is another {what} of that name"),
            "choose another name, or revoke that one first".to_owned(),
        ),
        Denial::Unknown | Denial::NotMember | Denial::Token | Denial::Role | Denial::NotApproved | Denial::Removed => {
            (format!("unknown-{what}"), format!("there is no such {what}"), "list what there is".to_owned())
        }
    };
    Outcome::error(ErrorReply::new(&code, message, hint))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Outcome> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            tracing::error!("this host gives no random numbers: {error}");
            let hint = "see the controller's log";
            Err(Outcome::error(ErrorReply::new("internal-error", "the host gives no random numbers", hint)))
        }
    }
}
