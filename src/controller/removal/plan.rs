//! The next step on a node's way out of the Swarm, and what stands against it. Pure.
//!
//! It is asked anew after every step, with the Swarm as it is then: a removal that broke off goes on where it was, and
//! nothing is remembered between two looks but for how long something has been waited for. The surprising part: `force`
//! lifts no refusal that protects something that others need (the quorum, a brick, the controller's host).

use crate::cluster::{Hostname, NodeAddress, Role, VolumeName};
use crate::providers::swarm::Member;
use crate::providers::swarm::quorum::{self, QuorumError};

/// The node that is to go, as the controller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberTarget {
    pub hostname: Hostname,
    pub address: NodeAddress,
    /// Its id in the Swarm, if it has reported one.
    pub swarm_node_id: Option<String>,
    /// It is the host that the controller runs on.
    pub own_host: bool,
    /// The volume that it holds a brick of.
    pub brick_of: Option<VolumeName>,
}

/// How a wait stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    GoesOn,
    /// It has taken as long as it may.
    Over,
}

/// The Swarm as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The controller's own host in the Swarm.
    pub own: &'a str,
    pub members: &'a [Member],
    /// The tasks that have not ended on the member that [`member`] gives.
    pub tasks: usize,
    pub tasks_wait: Wait,
    pub demotion_wait: Wait,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    Drain(&'a Member),
    AwaitTasks { member: &'a Member, tasks: usize },
    Demote(&'a Member),
    AwaitDemotion(&'a Member),
    Remove { member: &'a Member, force: bool },
}

/// Why the node stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was changed.
    #[error("`{0}` is the controller's own host")]
    OwnHost(Hostname),
    /// Nothing was changed.
    #[error("`{hostname}` holds a brick of the volume `{volume}`")]
    HoldsBrick { hostname: Hostname, volume: VolumeName },
    /// Nothing was changed, unless managers were lost meanwhile.
    #[error("the Swarm's managers cannot do without `{hostname}`: {loss}")]
    Quorum { hostname: Hostname, loss: QuorumError },
    /// The node gets no new tasks any more, and is answered no more.
    #[error("{tasks} tasks have not ended on `{hostname}`")]
    TasksRunning { hostname: Hostname, tasks: usize },
    /// The Swarm goes on with the demotion by itself.
    #[error("the Swarm has not demoted `{0}` yet")]
    NotDemoted(Hostname),
}

impl Refusal {
    /// The word for scripts and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OwnHost(_) => "own-host",
            Self::HoldsBrick { .. } => "holds-brick",
            Self::Quorum { loss: QuorumError::LastManager, .. } => "last-manager",
            Self::Quorum { loss: QuorumError::Lost { .. }, .. } => "quorum",
            Self::TasksRunning { .. } => "tasks-running",
            Self::NotDemoted(_) => "not-demoted",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::OwnHost(_) => {
                "nothing was changed; to give the cluster up, stop the controller, then run `clusterctl master reset` and `docker swarm leave --force` there".to_owned()
            }
            Self::HoldsBrick { volume, .. } => format!(
                "nothing was changed, and `--force` does not help, since files would lose a copy; move the brick to another host first: `gluster volume replace-brick {volume} ...`"
            ),
            Self::Quorum { loss: QuorumError::LastManager, .. } => {
                "promote another host first: `docker node promote HOST`".to_owned()
            }
            Self::Quorum { loss: QuorumError::Lost { .. }, .. } => {
                "start the managers that do not answer, or remove those first; `docker node ls` shows them".to_owned()
            }
            Self::TasksRunning { hostname, .. } => format!(
                "it gets no new ones, and the controller answers it no more; run this again to go on waiting, or with `--force` to go on without; to keep it after all, `docker node update --availability active {hostname}`, then join it with a new token"
            ),
            Self::NotDemoted(_) => {
                "run this again to go on, or with `--force` to go on without; `docker node ls` shows the managers".to_owned()
            }
        }
    }
}

/// The member to deal with: the one with the id that the node reported, or one of its name. Of several with its name,
/// which earlier joins left behind, those that are down go after the one that runs.
#[must_use]
pub fn member<'a>(target: &MemberTarget, members: &'a [Member]) -> Option<&'a Member> {
    let reported = |member: &&Member| target.swarm_node_id.as_ref() == Some(&member.swarm_node_id);
    let address = target.address.to_string();
    // Where the id is known, another member of that name that runs elsewhere is another host.
    let its_own = |member: &&Member| target.swarm_node_id.is_none() || member.is_down() || member.address == address;
    let named = || {
        let same_name = |member: &&Member| member.hostname == target.hostname.as_str();
        let mut named: Vec<&Member> = members.iter().filter(same_name).filter(its_own).collect();
        named.sort_by_key(|member| member.is_down());
        named.first().copied()
    };
    members.iter().find(reported).or_else(named)
}

/// The next step; `None` once the Swarm knows nothing of the node.
///
/// # Errors
/// See [`Refusal`].
pub fn next<'a>(target: &MemberTarget, sight: Sight<'a>, force: bool) -> Result<Option<Step<'a>>, Refusal> {
    let hostname = || target.hostname.clone();
    if target.own_host {
        return Err(Refusal::OwnHost(hostname()));
    }
    if let Some(volume) = &target.brick_of {
        return Err(Refusal::HoldsBrick { hostname: hostname(), volume: volume.clone() });
    }
    let Some(member) = member(target, sight.members) else { return Ok(None) };
    if member.swarm_node_id == sight.own {
        return Err(Refusal::OwnHost(hostname()));
    }
    let lost = |loss| Refusal::Quorum { hostname: hostname(), loss };
    quorum::without(sight.members, &member.swarm_node_id).map_err(lost)?;
    if !member.is_down() {
        if !member.is_drained() {
            return Ok(Some(Step::Drain(member)));
        }
        match (sight.tasks, sight.tasks_wait) {
            (0, _) => {}
            (tasks, Wait::GoesOn) => return Ok(Some(Step::AwaitTasks { member, tasks })),
            (_, Wait::Over) if force => {}
            (tasks, Wait::Over) => return Err(Refusal::TasksRunning { hostname: hostname(), tasks }),
        }
    }
    // Who has no vote needs no demotion: workers, and managers whose join failed half-way.
    if member.reachability.is_some() {
        match (member.role, sight.demotion_wait) {
            (Role::Manager, _) => return Ok(Some(Step::Demote(member))),
            (Role::Worker, Wait::GoesOn) => return Ok(Some(Step::AwaitDemotion(member))),
            (Role::Worker, Wait::Over) if force => {}
            (Role::Worker, Wait::Over) => return Err(Refusal::NotDemoted(hostname())),
        }
    }
    // The Swarm wants force for every member that it has not lost.
    Ok(Some(Step::Remove { member, force: !member.is_down() }))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
