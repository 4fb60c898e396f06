//! `node join`: register, wait while told to, converge, report.
//!
//! The Swarm and the shared volume are converged side by side, each in its own loop of observe, plan and apply:
//! a volume that takes long never holds up the Swarm, and the other way round. A loop ends when its plan is empty.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, chance};
use super::client::{self, ClientError};
use super::directive::{self, DirectiveError};
use super::identity::NodeIdentity;
use crate::clock::Clock;
use crate::cluster::{Hostname, NodeAddress, Role};
use crate::config::MasterAddress;
use crate::converge::apply::{StepCause, StepError, apply};
use crate::converge::desired::Desired;
use crate::converge::observe::{Hands, ObserveError, observe};
use crate::converge::observed::{MountState, Observed};
use crate::converge::plan::{Plan, Refusal, plan};
use crate::converge::step::Step;
use crate::protocol::registration::{Facts, PROTOCOL, RawReport, RawRequest};
use crate::protocol::reply::{Reason, Reply, Status};
use crate::providers::swarm::{Engine, SwarmError};

/// What a join works with.
pub struct Join {
    pub master: MasterAddress,
    pub identity: NodeIdentity,
    pub hostname: Hostname,
    pub address: NodeAddress,
    pub role: Option<Role>,
    pub facts: Facts,
    /// The engine as it was found when the facts were gathered.
    pub engine: Engine,
    pub hands: Hands,
    pub timeout: Duration,
    pub clock: Arc<dyn Clock>,
}

/// How a join ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// What was changed; empty if nothing was to do.
    pub done: Vec<Step>,
    pub role: String,
    pub cluster_id: String,
    /// The shared volume's name and mount point; empty if this node takes no part.
    pub volume: String,
    pub mount: String,
    /// The brick's directory; empty for a client.
    pub brick: String,
}

/// Why a join ended otherwise. What was done stays done; joining again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the controller cannot be reached")]
    Unreachable(#[source] ClientError),
    #[error("the controller refused: {message}")]
    Refused { code: String, message: String, hint: String },
    #[error("still waiting after {after:?}: {message}")]
    TimedOut { reason: String, message: String, after: Duration },
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Host(Vec<Refusal>),
    #[error(transparent)]
    Step(#[from] StepError),
}

/// How long a reply may be held back until there is news.
const HOLD_MS: u64 = 20_000;
/// How often a step that fails is tried before the join gives up.
const ATTEMPTS: u32 = 5;
/// The pause after a step that failed, doubling.
const STEP_PAUSE: Duration = Duration::from_millis(200);

impl Join {
    /// Joins the host to the cluster.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn run(&self) -> Result<Joined, JoinError> {
        let deadline = Instant::now() + self.timeout;
        let report = Mutex::new(RawReport { swarm_node_id: self.engine.swarm_node_id.clone(), ..RawReport::default() });
        let first = self.until_instructed(deadline).await?;
        let outcome = tokio::try_join!(
            self.converge_swarm(first.clone(), &report, deadline),
            self.converge_storage(first, &report, deadline)
        );
        let finding = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        note(&report, |report| report.finding = finding);
        // The outcome of the join stands whether or not the controller hears of it.
        if let Err(error) = self.send_report(&report, 0).await {
            tracing::warn!("the controller could not be told how it went: {error}");
        }
        let ((reply, mut done), (storage, more)) = outcome?;
        done.extend(more);
        Ok(Joined {
            done,
            role: reply.swarm_role,
            cluster_id: reply.cluster_id,
            volume: storage.gluster_volume,
            mount: storage.gluster_mount,
            brick: storage.gluster_brick,
        })
    }

    /// What a join would do now. Registers the node, since only the controller knows what it should be; changes
    /// nothing on the host.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn dry_run(&self) -> Result<(Reply, Plan), JoinError> {
        let deadline = Instant::now() + self.timeout;
        let reply = self.until_instructed(deadline).await?;
        let desired = directive::desired(&reply, self.address)?;
        let observed = observe(&self.hands, &desired, Some(self.engine.clone())).await?;
        Ok((reply, plan(&desired, &observed)))
    }

    /// Registers until the reply says what to do, be it only about storage.
    async fn until_instructed(&self, deadline: Instant) -> Result<Reply, JoinError> {
        let instructed = |reply: &Reply| {
            reply.status == Status::Ready || (reply.gluster_enabled && reply.reason.is_some_and(swarm_is_away))
        };
        let facts = &self.facts;
        tracing::info!(
            hostname = %self.hostname, node = %self.identity.node_id, address = %self.address,
            role = self.role.map_or("unset", Role::as_str), os = facts.os, cpus = facts.cpus, memory_mb = facts.memory_mb,
            docker = facts.docker_version, gluster = facts.gluster_capable, "registering with the controller"
        );
        self.ask_until(deadline, instructed, || self.registration(), &mut String::new()).await
    }

    /// Asks until `enough`; waits as the controller says; logs only what changes.
    async fn ask_until(
        &self,
        deadline: Instant,
        enough: impl Fn(&Reply) -> bool,
        request: impl Fn() -> RawRequest,
        said: &mut String,
    ) -> Result<Reply, JoinError> {
        let (mut waiting, mut unreachable) = (Backoff::waiting(), Backoff::unreachable());
        let mut hold_ms = 0;
        loop {
            let mut request = request();
            request.wait_ms = hold_ms;
            let asked = Instant::now();
            let (line, reason, pause, error) = match client::ask(&self.master, &request).await {
                Ok(reply) => match reply.status {
                    Status::Error => {
                        return Err(JoinError::Refused { code: reply.code, message: reply.message, hint: reply.hint });
                    }
                    Status::Ready | Status::Waiting => {
                        unreachable.reset();
                        if enough(&reply) {
                            return Ok(reply);
                        }
                        let (line, reason) = why_waiting(&reply);
                        // A controller that held the reply back has paced us already.
                        let held = hold_ms > 0 && asked.elapsed() >= Duration::from_millis(hold_ms / 2);
                        let paced = reply.retry_after_ms.filter(|_| hold_ms == 0 || !held).map(Duration::from_millis);
                        let pause = if hold_ms == 0 {
                            Duration::ZERO
                        } else if held {
                            Duration::ZERO
                        } else {
                            paced.unwrap_or_else(|| waiting.next(random()))
                        };
                        hold_ms = HOLD_MS;
                        (line, reason, pause, None)
                    }
                },
                Err(error) if error.is_final() => return Err(JoinError::Unreachable(error)),
                Err(error) => {
                    (chain(&error), "controller-unreachable".to_owned(), unreachable.next(random()), Some(error))
                }
            };
            if *said != line {
                tracing::info!(reason, "waiting: {line}");
                said.clone_from(&line);
                waiting.reset();
            }
            if Instant::now() + pause >= deadline {
                return Err(match error {
                    Some(error) => JoinError::Unreachable(error),
                    None => JoinError::TimedOut { reason, message: line, after: self.timeout },
                });
            }
            tokio::time::sleep(pause).await;
        }
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
            ..self.request()
        }
    }

    fn request(&self) -> RawRequest {
        RawRequest {
            hostname: self.hostname.to_string(),
            node_id: self.identity.node_id.to_string(),
            protocol: PROTOCOL,
            ..RawRequest::default()
        }
    }

    fn status_request(&self, report: &Mutex<RawReport>) -> RawRequest {
        let report = report.lock().map(|report| report.clone()).unwrap_or_default();
        RawRequest { action: "check-status".to_owned(), report: Some(report), ..self.request() }
    }

    async fn send_report(&self, report: &Mutex<RawReport>, wait_ms: u64) -> Result<Reply, ClientError> {
        client::ask(&self.master, &RawRequest { wait_ms, ..self.status_request(report) }).await
    }

    /// Brings the host into the Swarm.
    async fn converge_swarm(
        &self,
        first: Reply,
        report: &Mutex<RawReport>,
        deadline: Instant,
    ) -> Result<(Reply, Vec<Step>), JoinError> {
        let mut reply = first;
        let mut engine = Some(self.engine.clone());
        let mut attempts = Attempts::default();
        let mut done = Vec::new();
        loop {
            if reply.status != Status::Ready || attempts.wants_fresh_token() {
                let ready = |reply: &Reply| reply.status == Status::Ready;
                reply = self.ask_until(deadline, ready, || self.registration(), &mut String::new()).await?;
            }
            let desired = Desired { storage: None, ..directive::desired(&reply, self.address)? };
            let observed = observe(&self.hands, &desired, engine.take()).await?;
            if let Some(engine) = &observed.engine {
                note(report, |report| report.swarm_node_id.clone_from(&engine.swarm_node_id));
            }
            let plan = plan(&desired, &observed);
            if !plan.refusals.is_empty() {
                return Err(JoinError::Host(plan.refusals));
            }
            if plan.steps.is_empty() {
                return Ok((reply, done));
            }
            self.carry_out(&plan, &mut done, &mut attempts, deadline).await?;
        }
    }

    /// Makes the brick ready, waits for the volume, mounts it.
    async fn converge_storage(
        &self,
        first: Reply,
        report: &Mutex<RawReport>,
        deadline: Instant,
    ) -> Result<(Reply, Vec<Step>), JoinError> {
        let mut reply = first;
        let mut attempts = Attempts::default();
        let mut done = Vec::new();
        let mut said = String::new();
        loop {
            let desired = Desired { swarm: None, ..directive::desired(&reply, self.address)? };
            let observed = observe(&self.hands, &desired, None).await?;
            note_storage(report, &observed);
            let plan = plan(&desired, &observed);
            if !plan.refusals.is_empty() {
                return Err(JoinError::Host(plan.refusals));
            }
            if !plan.steps.is_empty() {
                self.carry_out(&plan, &mut done, &mut attempts, deadline).await?;
                continue;
            }
            if plan.waits.is_empty() {
                return Ok((reply, done));
            }
            // A mount that does not take writes is looked at again after the controller's next word, at the latest
            // after the pause.
            let enough = |reply: &Reply| reply.gluster_ready || reply.gluster_brick_reset || !reply.gluster_enabled;
            let before = reply.gluster_ready;
            reply = self.ask_until(deadline, enough, || self.status_request(report), &mut said).await?;
            if before && reply.gluster_ready {
                attempts.failed(None);
                let line = plan.waits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                if Instant::now() + attempts.pause() >= deadline {
                    return Err(JoinError::TimedOut {
                        reason: "volume-unwritable".to_owned(),
                        message: line,
                        after: self.timeout,
                    });
                }
                tokio::time::sleep(attempts.pause()).await;
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
        deadline: Instant,
    ) -> Result<(), JoinError> {
        let (steps, errors) = apply(&self.hands, plan).await;
        done.extend(steps);
        let Some(error) = errors.into_iter().next() else { return Ok(()) };
        attempts.failed(Some(&error));
        let pause = attempts.pause();
        if attempts.exhausted(&error) || Instant::now() + pause >= deadline {
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
    failures: u32,
    token_refused: u32,
    fresh_token_due: bool,
}

impl Attempts {
    fn failed(&mut self, error: Option<&StepError>) {
        self.failures += 1;
        if matches!(error, Some(StepError { cause: StepCause::Swarm(SwarmError::TokenRefused), .. })) {
            self.token_refused += 1;
            self.fresh_token_due = true;
        }
    }

    /// A token that was refused may have been rotated since it was given: once a fresh one is asked for.
    fn wants_fresh_token(&mut self) -> bool {
        std::mem::take(&mut self.fresh_token_due)
    }

    fn exhausted(&self, error: &StepError) -> bool {
        let hopeless = matches!(error.cause, StepCause::Swarm(SwarmError::CaMismatch) | StepCause::Io(_));
        hopeless || self.token_refused > 1 || self.failures >= ATTEMPTS
    }

    fn pause(&self) -> Duration {
        STEP_PAUSE * 2_u32.pow(self.failures.min(5))
    }
}

fn note(report: &Mutex<RawReport>, change: impl FnOnce(&mut RawReport)) {
    if let Ok(mut report) = report.lock() {
        change(&mut report);
    }
}

fn note_storage(report: &Mutex<RawReport>, observed: &Observed) {
    note(report, |report| {
        if let Some(brick) = &observed.brick {
            report.brick_ready = brick.exists && brick.is_directory && brick.ours;
            report.brick_mark = brick.mark.clone().unwrap_or_default();
        }
        report.mounted = observed.mount.as_ref().is_some_and(|mount| mount.state == MountState::Usable);
    });
}

fn swarm_is_away(reason: Reason) -> bool {
    matches!(reason, Reason::SwarmUnavailable | Reason::SwarmNoLeader)
}

/// The line and the word for why a reply is not enough.
fn why_waiting(reply: &Reply) -> (String, String) {
    match reply.reason {
        Some(reason) => (reply.message.clone(), reason.to_string()),
        None => (reply.gluster_message.clone(), Reason::StorageDegraded.to_string()),
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness every node waits the same time, which is worse but not wrong.
    getrandom::fill(&mut bytes).ok();
    chance(bytes)
}
