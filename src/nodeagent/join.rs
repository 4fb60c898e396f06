//! `node join`: register, wait while told to, converge, report.
//!
//! The Swarm and the shared volume are converged side by side, each in its own loop of observe, plan and apply:
//! a volume that takes long never holds up the Swarm, and the other way round. A loop ends when its plan is empty.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Chance;
use super::client::{self, Link};
use super::conversation::{Conversation, ConversationError};
use super::directive::{self, DirectiveError};
use super::facts::RunningSystem;
use super::history::{Heard, Rollback};
use super::identity::NodeIdentity;
use crate::causes::chain;
use crate::clock::Clock;
use crate::cluster::{Hostname, JoinToken, NodeAddress, OverlayConfig, Role};
use crate::converge::apply::{StepCause, StepError, apply};
use crate::converge::desired::{Desired, StorageDesired};
use crate::converge::observe::{Hands, ObserveError, observe};
use crate::converge::observed::{MountState, Observed};
use crate::converge::plan::{Finding, Plan, Refusal, Wait, is_cleanable, plan};
use crate::converge::step::Step;
use crate::failpoint;
use crate::protocol::registration::{Facts, PROTOCOL, RawReport, RawRequest};
use crate::protocol::reply::{Reason, Reply, Status};
use crate::providers::overlay::{self, Connected, OverlayError};
use crate::providers::swarm::{Engine, LocalState, SwarmError};

/// What a join works with.
pub struct Join {
    /// The way to the controller.
    pub link: Arc<Link>,
    pub identity: NodeIdentity,
    pub hostname: Hostname,
    pub address: NodeAddress,
    pub role: Option<Role>,
    /// What lets this host in; one that is a member needs none.
    pub token: Option<JoinToken>,
    pub facts: Facts,
    pub running: RunningSystem,
    /// This host's own overlay settings, instead of the controller's.
    pub overlay: Option<OverlayConfig>,
    /// This host's id in the Swarm when it last joined.
    pub recorded: Option<String>,
    /// The engine, where it was looked at when the facts were gathered.
    pub engine: Option<Engine>,
    pub hands: Hands,
    /// How far the controller had come when this host last heard it.
    pub heard: Option<Heard>,
    pub timeout: Duration,
    pub clock: Arc<dyn Clock>,
    pub chance: Chance,
}

/// How a join ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// What was changed; empty if nothing was to do.
    pub done: Vec<Step>,
    pub role: String,
    pub cluster_id: String,
    pub swarm_node_id: String,
    /// What the operator should know.
    pub findings: Vec<Finding>,
    /// The shared volume's name and mount point; empty if this node takes no part.
    pub volume: String,
    pub mount: String,
    /// The brick's directory; empty for a client.
    pub brick: String,
    pub incarnation: String,
    pub revision: u64,
}

/// Why a join ended otherwise. What was done stays done; joining again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    /// The volume is there, and takes no writes.
    #[error("still waiting after {after:?}: {message}")]
    VolumeUnwritable { message: String, after: Duration },
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Host(Vec<Refusal>),
    #[error(transparent)]
    Step(#[from] StepError),
    /// Something did not end in its own time; what it did is unknown, and found out by joining again.
    #[error("the join did not end within {after:?}")]
    Overdue { after: Duration },
    /// This host takes itself for a member, and the managers have lost it. It was left as it is.
    #[error("the managers of the Swarm have not heard from this host for {after:?} and more: to them it is down")]
    Partitioned { after: Duration },
}

/// The last reply that a loop acted on, what it did, and what it found.
struct Converged {
    reply: Reply,
    done: Vec<Step>,
    findings: Vec<Finding>,
}

/// How often a step that fails is tried before the join gives up.
const ATTEMPTS: u32 = 5;
/// How often a node that waits for the volume looks at its brick.
const RELOOK: Duration = Duration::from_secs(1);
/// How long what was seen of the engine is believed.
const FRESH: Duration = Duration::from_secs(2);
/// How long a Docker that was there may be away: it restarts, or is busy.
const DOCKER_PATIENCE: Duration = Duration::from_secs(60);
const DOCKER_PAUSE: Duration = Duration::from_millis(500);
/// For how long a report that the controller did not take is sent again, and how often.
const REPORT_PATIENCE: Duration = Duration::from_secs(15);
const REPORT_PAUSE: Duration = Duration::from_millis(500);
/// Docker's word for a member that its managers have lost.
const DOWN: &str = "down";
/// How long the managers may take to hear again from a host that takes itself for a member; a heartbeat takes 5 s.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
const HEARD_PAUSE: Duration = Duration::from_secs(1);
/// What a join gets beyond its time, to say itself why it ended and to tell the controller.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long Docker gives a manager that does not answer, and what it takes to see why.
const MANAGER_ANSWERS: Duration = Duration::from_secs(25);
/// For how long managers are tried that do not answer.
const MANAGERS_PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a step that failed, doubling.
const STEP_PAUSE: Duration = Duration::from_millis(200);

impl Join {
    /// Joins the host to the cluster.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn run(&self) -> Result<Joined, JoinError> {
        let talk = self.conversation();
        let joined = tokio::time::timeout_at(talk.deadline + LAST_WORDS, self.run_until(&talk)).await;
        joined.unwrap_or(Err(JoinError::Overdue { after: self.timeout }))
    }

    async fn run_until(&self, talk: &Conversation) -> Result<Joined, JoinError> {
        let swarm_node_id = self.engine.as_ref().map(|engine| engine.swarm_node_id.clone()).unwrap_or_default();
        let report = Mutex::new(RawReport { swarm_node_id, ..RawReport::default() });
        let first = self.until_instructed(talk).await?;
        let rollback = self.rollback(&first);
        if let Some(rollback) = &rollback {
            tracing::warn!("{rollback}");
        }
        self.connect_overlay(&first).await?;
        let outcome = self.converge_both(first, &report, talk).await;
        let found = match &outcome {
            Ok(converged) => {
                rollback.map(|rollback| rollback.to_string()).into_iter().chain(findings(converged)).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        note(&report, |report| {
            report.finding = found.join("; ");
            report.refused = matches!(&outcome, Err(JoinError::Host(refusals)) if refusals.iter().any(Refusal::is_of_something_else));
        });
        if let (Some(told), Ok(_)) = (self.report_back(&report, &outcome, talk).await, &outcome) {
            self.until_the_managers_hear(told, &report, talk).await?;
        }
        let (swarm, storage) = outcome?;
        let swarm_node_id = report.lock().map(|report| report.swarm_node_id.clone()).unwrap_or_default();
        Ok(Joined {
            done: [swarm.done, storage.done].concat(),
            role: swarm.reply.swarm_role,
            cluster_id: swarm.reply.cluster_id,
            swarm_node_id,
            findings: [swarm.findings, storage.findings].concat(),
            volume: storage.reply.gluster_volume,
            mount: storage.reply.gluster_mount,
            brick: storage.reply.gluster_brick,
            incarnation: swarm.reply.incarnation,
            revision: swarm.reply.revision.unwrap_or_default(),
        })
    }

    /// Whether the controller has gone back since this host last heard it.
    fn rollback(&self, reply: &Reply) -> Option<Rollback> {
        self.heard.as_ref()?.rolled_back(&Heard::in_reply(reply)?)
    }

    /// A host that was a member before it joined again can be one by its own word alone. It is given time, since the
    /// managers may only just hear it again.
    async fn until_the_managers_hear(
        &self,
        told: Reply,
        report: &Mutex<RawReport>,
        talk: &Conversation,
    ) -> Result<(), JoinError> {
        let (mut reply, since) = (Some(told), Instant::now());
        while reply.is_some_and(|reply| reply.swarm_seen == DOWN) {
            if since.elapsed() >= HEARD_WITHIN || Instant::now() + HEARD_PAUSE >= talk.deadline {
                let error = JoinError::Partitioned { after: since.elapsed() };
                note(report, |report| report.finding = error.to_string());
                self.tell_how_it_went(report).await.ok();
                return Err(error);
            }
            if since.elapsed() < HEARD_PAUSE {
                tracing::warn!("waiting for the managers of the Swarm to hear from this host: to them it is down");
            }
            tokio::time::sleep(HEARD_PAUSE).await;
            reply = self.tell_how_it_went(report).await.ok();
        }
        Ok(())
    }

    /// Without its Swarm a host has no use for the volume, so trouble there ends the wait for it. The other way round
    /// the Swarm is joined all the same.
    async fn converge_both(
        &self,
        first: Reply,
        report: &Mutex<RawReport>,
        talk: &Conversation,
    ) -> Result<(Converged, Converged), JoinError> {
        // Nothing is made on a host that turns out to be in another Swarm. Where the controller has no Swarm yet there is
        // none to compare with, and none to wait for.
        let (judged, verdict) = watch::channel(first.status != Status::Ready);
        let swarm = self.converge_swarm(first.clone(), report, talk, &judged);
        let storage = self.converge_storage(first, report, talk, verdict);
        tokio::pin!(swarm, storage);
        tokio::select! {
            // The order is that of the branches, not chance's: what happens can be repeated.
            biased;
            swarm = &mut swarm => Ok((swarm?, storage.await?)),
            storage = &mut storage => {
                if let Err(error) = &storage {
                    tracing::warn!("{}; going on with the Swarm", chain(error));
                }
                Ok((swarm.await?, storage?))
            }
        }
    }

    /// What a join would do now. Registers the node, since only the controller knows what it should be; changes
    /// nothing on the host.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn dry_run(&self) -> Result<(Reply, Plan), JoinError> {
        let talk = self.conversation();
        let reply = self.until_instructed(&talk).await?;
        let mut desired = directive::desired(&reply, self.address)?;
        let observed = observe(&self.hands, &desired, self.engine.clone()).await?;
        self.add_own(&mut desired, &observed);
        Ok((reply, plan(&desired, &observed)))
    }

    fn conversation(&self) -> Conversation {
        Conversation {
            link: Arc::clone(&self.link),
            deadline: Instant::now() + self.timeout,
            timeout: self.timeout,
            chance: Arc::clone(&self.chance),
        }
    }

    /// The hosts reach each other before they become a Swarm (S2-33, S2-64).
    async fn connect_overlay(&self, reply: &Reply) -> Result<(), JoinError> {
        let told = directive::desired(reply, self.address)?.overlay;
        let overlay = self.overlay.clone().unwrap_or(told);
        match overlay::provider(overlay.kind).ensure_connected(&overlay).await? {
            Connected::NotNeeded => tracing::debug!("no overlay network is asked for"),
            Connected::Already => tracing::info!(provider = %overlay.kind, "the overlay network is up"),
            Connected::Established => tracing::info!(provider = %overlay.kind, "the overlay network is up now"),
        }
        Ok(())
    }

    /// Registers until the reply says what to do, be it only about storage.
    async fn until_instructed(&self, talk: &Conversation) -> Result<Reply, JoinError> {
        let instructed = |reply: &Reply| {
            reply.status == Status::Ready || (reply.gluster_enabled && reply.reason.is_some_and(swarm_is_away))
        };
        let facts = &self.facts;
        tracing::info!(
            hostname = %self.hostname, node = %self.identity.node_id, address = %self.address,
            role = self.role.map_or("unset", Role::as_str), os = facts.os, cpus = facts.cpus, memory_mb = facts.memory_mb,
            docker = facts.docker_version, gluster = facts.gluster_capable, "registering with the controller"
        );
        Ok(talk.until(instructed, || self.registration(), &mut String::new()).await?)
    }

    fn registration(&self) -> RawRequest {
        RawRequest {
            action: "register".to_owned(),
            role: self.role.map(|role| role.to_string()).unwrap_or_default(),
            ip: self.address.to_string(),
            os: self.facts.os.clone(),
            cpu: self.facts.cpus,
            memory_mb: self.facts.memory_mb,
            docker_version: self.facts.docker_version.clone(),
            gluster_capable: self.facts.gluster_capable,
            gluster_client_only: self.facts.gluster_client_only,
            timestamp: self.clock.now().to_string(),
            token: self.token.as_ref().map(JoinToken::reveal).unwrap_or_default(),
            ..self.request()
        }
    }

    fn request(&self) -> RawRequest {
        RawRequest {
            hostname: self.hostname.to_string(),
            node_id: self.identity.node_id.to_string(),
            machine_id: self.running.machine_id.clone(),
            boot_id: self.running.boot_id.clone(),
            protocol: PROTOCOL,
            ..RawRequest::default()
        }
    }

    fn status_request(&self, report: &Mutex<RawReport>) -> RawRequest {
        let report = report.lock().map(|report| report.clone()).unwrap_or_default();
        RawRequest { action: "check-status".to_owned(), report: Some(report), ..self.request() }
    }

    /// Tells the controller how it went. The outcome stands whether or not it hears of it, and yet something may wait for
    /// this report alone, such as the volume for this brick: it is sent again if it was not taken.
    async fn report_back(
        &self,
        report: &Mutex<RawReport>,
        outcome: &Result<(Converged, Converged), JoinError>,
        talk: &Conversation,
    ) -> Option<Reply> {
        let patience =
            if matches!(outcome, Err(JoinError::Conversation(_))) { Duration::ZERO } else { REPORT_PATIENCE };
        let until = (Instant::now() + patience).min(talk.deadline);
        loop {
            let unheard = match self.tell_how_it_went(report).await {
                Ok(reply) if !reply.reason.is_some_and(took_nothing) => return Some(reply),
                Ok(reply) => reply.message,
                Err(why) => why,
            };
            if Instant::now() + REPORT_PAUSE >= until {
                tracing::warn!("the controller could not be told how it went: {unheard}");
                return None;
            }
            tokio::time::sleep(REPORT_PAUSE).await;
        }
    }

    async fn tell_how_it_went(&self, report: &Mutex<RawReport>) -> Result<Reply, String> {
        failpoint::pass("J9").await.map_err(|error| error.to_string())?;
        let answer = client::ask(&self.link, &self.status_request(report)).await;
        answer.map(|answer| answer.reply).map_err(|error| chain(&error))
    }

    /// Brings the host into the Swarm.
    async fn converge_swarm(
        &self,
        first: Reply,
        report: &Mutex<RawReport>,
        talk: &Conversation,
        judged: &watch::Sender<bool>,
    ) -> Result<Converged, JoinError> {
        let mut reply = first;
        // What was seen before a wait is no ground to act on.
        let waited = talk.elapsed() > FRESH;
        let mut engine = self.engine.clone().filter(|_| !waited);
        let mut attempts = Attempts::default();
        let mut done = Vec::new();
        loop {
            let token_refused = attempts.wants_fresh_token();
            if reply.status != Status::Ready || token_refused {
                let ready = |reply: &Reply| reply.status == Status::Ready;
                let request = || RawRequest { token_refused, ..self.registration() };
                reply = talk.until(ready, request, &mut String::new()).await?;
            }
            let mut desired = Desired { storage: None, ..directive::desired(&reply, self.address)? };
            let observed = match observe(&self.hands, &desired, engine.take()).await {
                Err(ObserveError::Docker(error)) if attempts.waits_for_docker(&error, talk.deadline) => {
                    tokio::time::sleep(DOCKER_PAUSE).await;
                    continue;
                }
                observed => observed?,
            };
            attempts.docker_away = None;
            self.add_own(&mut desired, &observed);
            if let Some(swarm) = &mut desired.swarm {
                attempts.put_another_manager_first(&mut swarm.managers);
            }
            if let Some(engine) = &observed.engine {
                note(report, |report| report.swarm_node_id.clone_from(&engine.swarm_node_id));
            }
            let plan = plan(&desired, &observed);
            if !plan.refusals.is_empty() {
                return Err(JoinError::Host(plan.refusals));
            }
            judged.send_replace(true);
            if plan.waits.contains(&Wait::SwarmComingUp) {
                attempts.failed(None);
                if Instant::now() + attempts.pause() >= talk.deadline {
                    let message = Wait::SwarmComingUp.to_string();
                    return Err(ConversationError::TimedOut {
                        reason: Reason::SwarmUnavailable.to_string(),
                        message,
                        after: self.timeout,
                    }
                    .into());
                }
                if attempts.failures == 1 {
                    tracing::info!("waiting for {}", Wait::SwarmComingUp);
                }
                tokio::time::sleep(attempts.pause()).await;
                continue;
            }
            if plan.steps.is_empty() {
                if let Some(swarm) = &desired.swarm {
                    reply.swarm_role = swarm.role.to_string();
                }
                return Ok(Converged { reply, done, findings: plan.findings });
            }
            self.carry_out(&plan, &mut done, &mut attempts, talk).await?;
        }
    }

    /// What this host knows of itself: its recorded id in the Swarm, and its role. A host that nobody asks to change its
    /// role stays what it is in its Swarm, also after a promotion by hand.
    fn add_own(&self, desired: &mut Desired, observed: &Observed) {
        if let Some(swarm) = &mut desired.swarm {
            swarm.recorded.clone_from(&self.recorded);
        }
        let active = observed.engine.as_ref().filter(|engine| engine.state == LocalState::Active);
        if let (None, Some(engine), Some(swarm)) = (self.role, active, &mut desired.swarm) {
            swarm.role = if engine.manager { Role::Manager } else { Role::Worker };
        }
    }

    /// Makes the brick ready, waits for the volume, mounts it.
    async fn converge_storage(
        &self,
        first: Reply,
        report: &Mutex<RawReport>,
        talk: &Conversation,
        mut verdict: watch::Receiver<bool>,
    ) -> Result<Converged, JoinError> {
        let mut reply = first;
        let mut attempts = Attempts::default();
        let mut done = Vec::new();
        let mut said = String::new();
        // The mark that the controller had been told of when it answered.
        let mut told = None;
        let mut asked_again = false;
        loop {
            let desired = Desired { swarm: None, ..directive::desired(&reply, self.address)? };
            let observed = observe(&self.hands, &desired, None).await?;
            // A host that is in another Swarm is not served, and does not say otherwise until that is known. The sender
            // lives as long as this; without it nobody would be there to object.
            verdict.wait_for(|judged| *judged).await.ok();
            note_storage(report, &desired, &observed);
            let mark = observed.brick.as_ref().and_then(|brick| brick.mark.clone());
            if reply.gluster_brick_reset && mark.is_some() && mark != told {
                // The word to clean a brick was about another mark, or an older look: this one may be that of a volume
                // which came about since.
                reply = talk.until(tells_of_storage, || self.status_request(report), &mut said).await?;
                told = mark;
                continue;
            }
            let plan = plan(&desired, &observed);
            let of_pool = |refusal: &Refusal| matches!(refusal, Refusal::ForeignPool { .. } | Refusal::Storage { .. });
            if !asked_again && plan.refusals.iter().any(of_pool) {
                // The controller may have looked again, or taken this host into the pool, since it answered.
                reply = talk.until(tells_of_storage, || self.status_request(report), &mut said).await?;
                asked_again = true;
                continue;
            }
            if !plan.refusals.is_empty() {
                return Err(JoinError::Host(plan.refusals));
            }
            if !plan.steps.is_empty() {
                self.carry_out(&plan, &mut done, &mut attempts, talk).await?;
                continue;
            }
            if plan.waits.is_empty() {
                return Ok(Converged { reply, done, findings: plan.findings });
            }
            // A mount that does not take writes is looked at again after the controller's next word, at the latest
            // after the pause.
            let known = reply.gluster_servers.clone();
            let brick = observed.brick.unwrap_or_default();
            let enough = |reply: &Reply| {
                let settled = reply.gluster_ready
                    // Else the controller has yet to look at a brick that is clean, or it stays as it is.
                    || (reply.gluster_brick_reset && is_cleanable(&brick, &reply.gluster_volume_id))
                    || !reply.gluster_enabled
                    || !reply.gluster_code.is_empty()
                    || reply.gluster_servers != known;
                settled && tells_of_storage(reply)
            };
            let before = reply.gluster_ready;
            reply = tokio::select! {
                biased;
                answer = talk.until(enough, || self.status_request(report), &mut said) => {
                    told.clone_from(&mark);
                    answer?
                }
                // The controller learns of it from the next report alone.
                () = self.brick_marked(desired.storage.as_ref(), mark.as_deref()) => continue,
            };
            if before && reply.gluster_ready {
                attempts.failed(None);
                let line = plan.waits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                if Instant::now() + attempts.pause() >= talk.deadline {
                    return Err(JoinError::VolumeUnwritable { message: line, after: self.timeout });
                }
                tokio::time::sleep(attempts.pause()).await;
            }
        }
    }

    /// Ends when the mark on this node's brick is another than `known`: a create that the controller tries while this
    /// node waits leaves one, also when it comes to nothing. A brick that cannot be looked at is for the next round.
    async fn brick_marked(&self, storage: Option<&StorageDesired>, known: Option<&str>) {
        let Some(brick) = storage.and_then(|storage| storage.brick.as_ref()) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(RELOOK).await;
            if let Ok(facts) = self.hands.bricks.inspect(&brick.path).await
                && facts.volume_id.as_deref() != known
            {
                return;
            }
        }
    }

    /// Carries out the steps. A failed step is an error only once it has failed often enough, or for a reason that
    /// trying again does not change.
    async fn carry_out(
        &self,
        plan: &Plan,
        done: &mut Vec<Step>,
        attempts: &mut Attempts,
        talk: &Conversation,
    ) -> Result<(), JoinError> {
        let (steps, errors) = apply(&self.hands, plan).await;
        done.extend(steps);
        // The same steps again mean that they went well and changed nothing.
        let in_vain = attempts.tried.as_ref() == Some(&plan.steps);
        attempts.tried = Some(plan.steps.clone());
        let error = match (errors.into_iter().next(), plan.steps.first()) {
            (Some(error), _) => error,
            (None, Some(step)) if in_vain => StepError { step: step.to_string(), cause: StepCause::NoEffect },
            (None, _) => {
                attempts.failures = 0;
                return Ok(());
            }
        };
        attempts.failed(Some(&error));
        let pause = attempts.pause();
        // What would be cut off could not say why it ended.
        let needed = if no_manager_answered(&error) { MANAGER_ANSWERS } else { pause };
        if attempts.exhausted(&error) || Instant::now() + needed >= talk.deadline {
            return Err(error.into());
        }
        tracing::warn!("{}; looking again", chain(&error));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// How often steps failed in a row, and why last.
#[derive(Debug, Default)]
struct Attempts {
    tried: Option<Vec<Step>>,
    failures: u32,
    token_refused: u32,
    fresh_token_due: bool,
    /// Since when Docker does not answer.
    docker_away: Option<Instant>,
    /// Since when no manager answers, and how many were tried.
    managers_away: Option<Instant>,
    managers_tried: usize,
}

impl Attempts {
    fn failed(&mut self, error: Option<&StepError>) {
        self.failures += 1;
        if matches!(error, Some(StepError { cause: StepCause::Swarm(SwarmError::TokenRefused), .. })) {
            self.token_refused += 1;
            self.fresh_token_due = true;
        }
        if error.is_some_and(no_manager_answered) {
            self.managers_away.get_or_insert_with(Instant::now);
            self.managers_tried += 1;
        }
    }

    /// Docker goes to the first manager alone, so that each attempt begins with another one.
    fn put_another_manager_first(&self, managers: &mut [String]) {
        if !managers.is_empty() {
            managers.rotate_left(self.managers_tried % managers.len());
        }
    }

    /// A token that was refused may have been rotated since it was given: once a fresh one is asked for.
    fn wants_fresh_token(&mut self) -> bool {
        std::mem::take(&mut self.fresh_token_due)
    }

    /// Whether a Docker that could not be asked is waited for. Says so once.
    fn waits_for_docker(&mut self, error: &SwarmError, deadline: Instant) -> bool {
        if !matches!(error, SwarmError::Unavailable { .. } | SwarmError::TimedOut { .. }) {
            return false;
        }
        if self.docker_away.is_none() {
            tracing::warn!("waiting for Docker on this host: {}", chain(error));
        }
        let away = *self.docker_away.get_or_insert_with(Instant::now);
        away.elapsed() < DOCKER_PATIENCE && Instant::now() + DOCKER_PAUSE < deadline
    }

    fn exhausted(&self, error: &StepError) -> bool {
        let hopeless = matches!(error.cause, StepCause::Swarm(SwarmError::CaMismatch) | StepCause::Io(_));
        let long_away = self.managers_away.is_some_and(|since| since.elapsed() >= MANAGERS_PATIENCE);
        hopeless || long_away || self.token_refused > 1 || self.failures >= ATTEMPTS
    }

    fn pause(&self) -> Duration {
        STEP_PAUSE * 2_u32.pow(self.failures.min(5))
    }
}

fn no_manager_answered(error: &StepError) -> bool {
    matches!(error.cause, StepCause::Swarm(SwarmError::ManagerUnreachable | SwarmError::LargePacketsLost { .. }))
}

fn note(report: &Mutex<RawReport>, change: impl FnOnce(&mut RawReport)) {
    if let Ok(mut report) = report.lock() {
        change(&mut report);
    }
}

/// What the controller is told of a join that went well.
fn findings((swarm, storage): &(Converged, Converged)) -> impl Iterator<Item = String> {
    swarm.findings.iter().chain(&storage.findings).map(ToString::to_string)
}

fn note_storage(report: &Mutex<RawReport>, desired: &Desired, observed: &Observed) {
    let servers = desired.storage.as_ref().map_or(0, |storage| storage.servers.len());
    let at_boot = observed.mount.as_ref().filter(|mount| mount.persistent).map_or(0, |_| servers);
    note(report, |report| {
        report.boot_servers = u32::try_from(at_boot).unwrap_or(u32::MAX);
        if let Some(brick) = &observed.brick {
            report.brick_ready = brick.exists && brick.is_directory && brick.ours;
            report.brick_mark = brick.mark.clone().unwrap_or_default();
        }
        report.mounted = observed.mount.as_ref().is_some_and(|mount| mount.state == MountState::Usable);
    });
}

/// Whether the reply says what is to become of this host's storage. A controller that is too busy, or waits for others
/// first, leaves that out, which does not mean that storage is off.
fn tells_of_storage(reply: &Reply) -> bool {
    reply.status == Status::Ready || reply.reason.is_some_and(swarm_is_away)
}

/// Whether what came with the request was not taken either.
fn took_nothing(reason: Reason) -> bool {
    matches!(reason, Reason::Overloaded | Reason::StorageUnavailable)
}

fn swarm_is_away(reason: Reason) -> bool {
    matches!(reason, Reason::SwarmUnavailable | Reason::SwarmNoLeader)
}
