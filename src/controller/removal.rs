//! Takes a node out of the Swarm: drained, demoted, removed, one step at a time, with a look at the Swarm after each.
//!
//! [`plan`] decides; here is asked, done and waited. The controller's own record is not touched: the caller stops to
//! answer the node once [`may_go`] has said that nothing stands against it, and forgets it once [`take_out`] has ended
//! well. The surprising part: a call that fails decides nothing, since it may have done its work; the next look does.

pub mod plan;

use std::time::Duration;

use tokio::time::Instant;

pub use plan::{MemberTarget, Refusal};
use plan::{Sight, Step, Wait};

use crate::causes;
use crate::cluster::Role;
use crate::protocol::reply::ErrorReply;
use crate::providers::swarm::{Availability, LocalState, Member, SwarmEngine, SwarmError};

/// How long tasks may take to end: twice what Docker gives a container by default.
const TASKS_PATIENCE: Duration = Duration::from_secs(20);
/// How long a demotion may take; it takes a second or two.
const DEMOTION_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take in all: whoever asked waits for the answer.
pub const LIMIT: Duration = Duration::from_secs(38);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How often in a row Docker may fail a call.
const ATTEMPTS: u32 = 3;

/// Why the node is not out of the Swarm. Asking again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was changed.
    #[error("the controller's host does not manage the Swarm ({0})")]
    NoManager(&'static str),
    #[error("Docker could not {what}")]
    Swarm {
        what: &'static str,
        #[source]
        source: SwarmError,
    },
    #[error("the Swarm has not let go of the node within {LIMIT:?}")]
    TimedOut,
}

impl RemovalError {
    /// The word for scripts and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::NoManager(_) => "swarm-unavailable",
            Self::Swarm { source: SwarmError::NoLeader, .. } => "swarm-no-leader",
            Self::Swarm { .. } => "swarm-unavailable",
            Self::TimedOut => "not-yet",
        }
    }

    /// What whoever asked is told.
    #[must_use]
    pub fn reply(&self) -> ErrorReply {
        ErrorReply::new(self.code(), causes::chain(self), self.hint())
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::NoManager(_) => {
                "nothing was changed; `docker info` there has the details; with `--force` the controller forgets the node, and the Swarm stays as it is".to_owned()
            }
            Self::Swarm { source: SwarmError::NoLeader, .. } => {
                "too few managers are up: start them, then run this again".to_owned()
            }
            Self::Swarm { .. } | Self::TimedOut => {
                "run this again: it goes on where it was; `docker node ls` shows how things stand; with `--force` the controller forgets the node, and what is left of it in the Swarm stays".to_owned()
            }
        }
    }
}

/// Whether anything stands against it that `node` is taken out, as the Swarm is now. Changes nothing.
///
/// # Errors
/// See [`RemovalError`].
pub async fn may_go(engine: &dyn SwarmEngine, node: &MemberTarget, force: bool) -> Result<(), RemovalError> {
    let own = match Removal::new(engine, node, force).own().await {
        Ok(Some(own)) => own,
        Ok(None) => return Ok(()),
        Err(RemovalError::Swarm { .. }) if force => return Ok(()),
        Err(error) => return Err(error),
    };
    match engine.members().await {
        Ok(members) => {
            // Waits are not over before they have begun.
            let waits = Wait::GoesOn;
            let sight = Sight { own: &own, members: &members, tasks: 0, tasks_wait: waits, demotion_wait: waits };
            plan::next(node, sight, force)?;
            Ok(())
        }
        Err(_) if force => Ok(()),
        Err(source) => Err(RemovalError::Swarm { what: "list the Swarm's nodes", source }),
    }
}

/// Takes `node` out of the Swarm that `engine` manages; returns what was done, in words. With `force` it goes on where
/// tasks do not end, a demotion is not done in time, or Docker does not do what it is asked. Ends within [`LIMIT`].
///
/// # Errors
/// See [`RemovalError`].
pub async fn take_out(engine: &dyn SwarmEngine, node: &MemberTarget, force: bool) -> Result<Vec<String>, RemovalError> {
    let mut removal = Removal::new(engine, node, force);
    let ended = tokio::time::timeout(LIMIT, removal.run()).await.unwrap_or(Err(RemovalError::TimedOut));
    match ended {
        Err(error @ (RemovalError::Swarm { .. } | RemovalError::TimedOut)) if force => {
            let id = node.swarm_node_id.as_deref().unwrap_or(node.hostname.as_str());
            let left = format!("left the Swarm as it is, `docker node rm --force {id}` takes the node out of it");
            removal.say(&left, &causes::chain(&error));
            Ok(removal.done)
        }
        ended => ended.map(|()| removal.done),
    }
}

/// A removal under way.
struct Removal<'a> {
    engine: &'a dyn SwarmEngine,
    node: &'a MemberTarget,
    force: bool,
    done: Vec<String>,
    /// Calls that failed one after the other.
    failures: u32,
    /// Since when tasks are waited for.
    tasks: Option<Instant>,
    /// Since when the demotion is waited for.
    demotion: Option<Instant>,
}

/// What the Swarm said: it, or that it is to be asked again.
type Heard<T> = Result<Option<T>, RemovalError>;

impl<'a> Removal<'a> {
    fn new(engine: &'a dyn SwarmEngine, node: &'a MemberTarget, force: bool) -> Self {
        Self { engine, node, force, done: Vec::new(), failures: 0, tasks: None, demotion: None }
    }

    async fn run(&mut self) -> Result<(), RemovalError> {
        let Some(own) = self.own().await? else {
            self.say("left the Swarm alone", "this host does not manage one");
            return Ok(());
        };
        while !self.step(&own).await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The controller's own host in the Swarm; `None` if there is nothing to be asked and that is meant.
    async fn own(&self) -> Result<Option<String>, RemovalError> {
        // Whatever Docker says, what others need stays.
        let nobody = Sight { own: "", members: &[], tasks: 0, tasks_wait: Wait::Over, demotion_wait: Wait::Over };
        plan::next(self.node, nobody, self.force)?;
        let asked = self.engine.inspect().await;
        let engine = asked.map_err(|source| RemovalError::Swarm { what: "be asked about the Swarm", source })?;
        let why = match engine.state {
            LocalState::Active if engine.manager => return Ok(Some(engine.swarm_node_id)),
            LocalState::Active => "it is a worker",
            LocalState::Inactive => "it is in no Swarm",
            LocalState::Pending => "it is still joining",
            LocalState::Locked => "it is locked",
            LocalState::Error => "its part in it is broken",
        };
        if self.force { Ok(None) } else { Err(RemovalError::NoManager(why)) }
    }

    /// Looks, and does what comes next; `true` once nothing does.
    async fn step(&mut self, own: &str) -> Result<bool, RemovalError> {
        let asked = self.engine.members().await;
        let Some(members) = self.heard(asked, "list the Swarm's nodes")? else { return Ok(false) };
        let tasks = match plan::member(self.node, &members) {
            Some(member) if member.is_drained() && !member.is_down() => {
                let asked = self.engine.running_tasks(&member.swarm_node_id).await;
                let Some(tasks) = self.heard(asked, "list the node's tasks")? else { return Ok(false) };
                tasks
            }
            Some(_) | None => 0,
        };
        let sight = Sight {
            own,
            members: &members,
            tasks,
            tasks_wait: wait(self.tasks, TASKS_PATIENCE),
            demotion_wait: wait(self.demotion, DEMOTION_PATIENCE),
        };
        let Some(step) = plan::next(self.node, sight, self.force)? else { return Ok(true) };
        self.carry_out(step).await?;
        Ok(false)
    }

    async fn carry_out(&mut self, step: Step<'_>) -> Result<(), RemovalError> {
        match step {
            Step::Drain(member) => {
                let asked = self.engine.set_availability(&member.swarm_node_id, Availability::Drain).await;
                if self.heard(asked, "drain the node")?.is_some() {
                    self.say("drained it", "its tasks start on other hosts before it goes");
                }
            }
            Step::AwaitTasks { tasks, .. } => {
                if self.tasks.is_none() {
                    self.tasks = Some(Instant::now());
                    tracing::info!(hostname = %self.node.hostname, tasks, "removal: waiting for its tasks to end");
                }
            }
            Step::Demote(member) => {
                let asked = self.engine.set_role(&member.swarm_node_id, Role::Worker).await;
                if self.heard(asked, "demote the node")?.is_some() {
                    self.say("demoted it", "the other managers can do without its vote");
                }
            }
            Step::AwaitDemotion(_) => {
                if self.demotion.is_none() {
                    self.demotion = Some(Instant::now());
                    tracing::info!(hostname = %self.node.hostname, "removal: waiting until its vote is gone");
                }
            }
            Step::Remove { member, force } => {
                let asked = self.engine.remove_member(&member.swarm_node_id, force).await;
                if self.heard(asked, "remove the node")?.is_some() {
                    self.say(&removed(member), if force { "it still runs" } else { "it is down" });
                }
            }
        }
        Ok(())
    }

    /// What was answered; `None` if the call failed and the Swarm is to be looked at again.
    fn heard<T>(&mut self, answer: Result<T, SwarmError>, what: &'static str) -> Heard<T> {
        match answer {
            Ok(value) => {
                self.failures = 0;
                Ok(Some(value))
            }
            // A leader that is demoted hands over first; the removal's limit bounds that.
            Err(SwarmError::NoLeader) if !self.done.is_empty() => Ok(None),
            Err(source) => {
                self.failures += 1;
                tracing::warn!(hostname = %self.node.hostname, attempt = self.failures, "removal: Docker could not {what}: {source}");
                if self.failures < ATTEMPTS { Ok(None) } else { Err(RemovalError::Swarm { what, source }) }
            }
        }
    }

    fn say(&mut self, what: &str, reason: &str) {
        tracing::info!(hostname = %self.node.hostname, reason, force = self.force, "removal: {what}");
        self.done.push(format!("{what}: {reason}"));
    }
}

fn removed(member: &Member) -> String {
    format!("took {} ({}) out of the Swarm", member.hostname, member.swarm_node_id)
}

fn wait(since: Option<Instant>, patience: Duration) -> Wait {
    if since.is_some_and(|since| since.elapsed() >= patience) { Wait::Over } else { Wait::GoesOn }
}
