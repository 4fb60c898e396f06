//! From desired and observed to the missing steps. Pure; the law that a carried-out plan leaves an empty one is
//! tested over every combination.
//!
//! What would destroy something, or is somebody else's, is refused and never becomes a step.

use super::desired::{Desired, StorageDesired, StorageRefusal, SwarmDesired};
use super::observed::{BrickObserved, MountObserved, MountState, Observed};
use super::step::{MountSpec, Step};
use crate::cluster::{BRICK_FULL_PERCENT, BrickPath, MountPoint, NodeAddress, Role};
use crate::providers::swarm::{Engine, Join, LocalState};

/// What is missing, awaited and refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub waits: Vec<Wait>,
    pub refusals: Vec<Refusal>,
    /// What an operator should know; it keeps nothing from being as it is desired.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Nothing to do, nothing awaited, nothing refused.
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.steps.is_empty() && self.waits.is_empty() && self.refusals.is_empty()
    }
}

/// What has to happen elsewhere first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The controller says that the volume cannot be mounted yet, and why.
    Volume(String),
    /// The volume is mounted but does not take writes.
    VolumeUnwritable(String),
    /// The controller gave no token for the Swarm.
    Token,
    /// This host is a member, and its Docker has not reached the managers yet.
    SwarmComingUp,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(why) => write!(f, "the shared volume: {why}"),
            Self::VolumeUnwritable(why) => write!(f, "the shared volume is mounted but cannot be written to: {why}"),
            Self::SwarmComingUp => f.write_str("this host's Docker to reach the managers of its Swarm"),
            Self::Token => f.write_str("a join token from the controller"),
        }
    }
}

/// What stands in nobody's way now, and is for the operator to put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The host's address has changed, and its Docker goes by the old one until it is started again.
    NeedsDockerRestart { goes_by: String, registered: NodeAddress },
    /// A manager's address has changed: the others go on looking for it at the old one.
    ManagerMoved { goes_by: String, registered: NodeAddress },
}

impl Finding {
    /// The word for scripts.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NeedsDockerRestart { .. } => "needs-docker-restart",
            Self::ManagerMoved { .. } => "manager-moved",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeedsDockerRestart { goes_by, registered } => write!(
                f,
                "needs-docker-restart: Docker on this host still goes by {goes_by}, and not by {registered}; run `systemctl restart docker` when its tasks may stop"
            ),
            Self::ManagerMoved { goes_by, registered } => write!(
                f,
                "manager-moved: the Swarm knows this manager at {goes_by}, and not at {registered}; give the host its address back, or demote it, have it leave and join again"
            ),
        }
    }
}

/// What clusterctl does not do by itself. Nothing of it was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this host is in another Swarm (its root certificate is {have}, the controller's is {want})")]
    ForeignSwarm { have: String, want: String },
    #[error("this host's Swarm is locked")]
    SwarmLocked,
    #[error("this host's Swarm is broken: {0}")]
    SwarmBroken(String),
    #[error("this host is a {have} of the Swarm, and a {want} was asked for")]
    OtherRole { have: Role, want: Role },
    #[error("the brick {path} belongs to another volume ({mark})")]
    ForeignBrick { path: BrickPath, mark: String },
    #[error("GlusterFS on this host is in another storage pool, that of {}", .peers.join(", "))]
    ForeignPool { peers: Vec<String> },
    #[error("{0} is not a directory, or lies behind a symbolic link")]
    BrickNotDirectory(BrickPath),
    #[error("the file system of the brick {0} keeps no extended attributes, which GlusterFS needs")]
    BrickWithoutAttributes(BrickPath),
    #[error("the brick {0} is on the root file system, which it could fill up")]
    BrickOnRoot(BrickPath),
    #[error("{0} has files in it and was not made by clusterctl")]
    BrickHasFiles(BrickPath),
    #[error("{point} is taken by another mount ({source_name})")]
    MountPointTaken { point: MountPoint, source_name: String },
    #[error("{point} has files in it, which a mount would hide: {files}")]
    MountPointHasFiles { point: MountPoint, files: String },
    /// The controller does not serve this host.
    #[error("{message}")]
    Storage { code: String, message: String },
    #[error("the volume has its brick of this host at {0}, and what is there is not it")]
    BrickLost(BrickPath),
    #[error("the file system of the brick {path} is {used} % full")]
    BrickFull { path: BrickPath, used: u8 },
}

impl Refusal {
    /// Whether the host belongs to something else: then it is not let at the volume either.
    #[must_use]
    pub fn is_of_something_else(&self) -> bool {
        match self {
            Self::ForeignSwarm { .. } | Self::ForeignPool { .. } => true,
            Self::Storage { code, .. } => code == "foreign-pool",
            Self::SwarmLocked
            | Self::SwarmBroken(_)
            | Self::OtherRole { .. }
            | Self::ForeignBrick { .. }
            | Self::BrickNotDirectory(_)
            | Self::BrickWithoutAttributes(_)
            | Self::BrickOnRoot(_)
            | Self::BrickHasFiles(_)
            | Self::BrickLost(_)
            | Self::BrickFull { .. }
            | Self::MountPointTaken { .. }
            | Self::MountPointHasFiles { .. } => false,
        }
    }
}

/// Plans the way from `observed` to `desired`.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if let (Some(swarm), Some(engine)) = (&desired.swarm, &observed.engine) {
        plan_swarm(&mut plan, swarm, engine);
    }
    if let Some(storage) = &desired.storage {
        if let Some(StorageRefusal { code, message }) = &storage.refusal {
            plan.refusals.push(Refusal::Storage { code: code.clone(), message: message.clone() });
            return plan;
        }
        if let (Some(_), Some(brick)) = (&storage.brick, &observed.brick) {
            plan_brick(&mut plan, storage, brick);
        }
        if let Some(mount) = &observed.mount {
            plan_mount(&mut plan, storage, mount);
        }
    }
    plan
}

fn plan_swarm(plan: &mut Plan, swarm: &SwarmDesired, engine: &Engine) {
    let join = |plan: &mut Plan| match &swarm.token {
        Some(token) => plan.steps.push(Step::JoinSwarm(Join {
            token: token.clone(),
            managers: swarm.managers.clone(),
            advertise: swarm.advertise,
        })),
        None => plan.waits.push(Wait::Token),
    };
    match engine.state {
        LocalState::Inactive => join(plan),
        // Never a member: it has neither certificate nor id, so that leaving loses nothing, and joining again is refused
        // meanwhile. A join that failed in the background ends as an error.
        LocalState::Pending | LocalState::Error if engine.ca_digest.is_none() && engine.swarm_node_id.is_empty() => {
            plan.steps.push(Step::AbandonPendingJoin);
            join(plan);
        }
        // A member that is coming up: after a power cut this lasts until the managers have found each other.
        LocalState::Pending => plan.waits.push(Wait::SwarmComingUp),
        LocalState::Locked => plan.refusals.push(Refusal::SwarmLocked),
        LocalState::Error if may_join_anew(swarm, engine) => {
            plan.steps.push(Step::LeaveBrokenSwarm { swarm_node_id: swarm.recorded.clone().unwrap_or_default() });
            join(plan);
        }
        LocalState::Error => plan.refusals.push(Refusal::SwarmBroken(engine.error.clone())),
        LocalState::Active => {
            let have_role = if engine.manager { Role::Manager } else { Role::Worker };
            if engine.ca_digest.as_ref() != Some(&swarm.ca_digest) {
                let have = engine.ca_digest.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
                plan.refusals.push(Refusal::ForeignSwarm { have, want: swarm.ca_digest.to_string() });
            } else if have_role != swarm.role {
                plan.refusals.push(Refusal::OtherRole { have: have_role, want: swarm.role });
            }
            plan.findings.extend(address_finding(swarm, engine));
        }
    }
}

/// Whether a broken member may leave by itself, to join again: a worker of this very Swarm, under the id that it is on
/// record with. A manager may hold the Swarm's only copy of its state.
fn may_join_anew(swarm: &SwarmDesired, engine: &Engine) -> bool {
    let proved = engine.certified.as_ref().filter(|certified| certified.role == Role::Worker);
    proved.is_some_and(|certified| swarm.recorded.as_ref() == Some(&certified.swarm_node_id))
        && engine.ca_digest.as_ref() == Some(&swarm.ca_digest)
        && swarm.token.is_some()
}

fn address_finding(swarm: &SwarmDesired, engine: &Engine) -> Option<Finding> {
    let goes_by = engine.node_address.clone();
    if goes_by.is_empty() || goes_by == swarm.advertise.to_string() {
        return None;
    }
    let registered = swarm.advertise;
    Some(if engine.manager {
        Finding::ManagerMoved { goes_by, registered }
    } else {
        Finding::NeedsDockerRestart { goes_by, registered }
    })
}

fn plan_brick(plan: &mut Plan, storage: &StorageDesired, observed: &BrickObserved) {
    let Some(brick) = &storage.brick else { return };
    let path = brick.path.clone();
    // A glusterd without a pool follows whoever probes it first: then that one decides what happens to what is here.
    if brick.pooled == Some(false) && !observed.peers.is_empty() {
        plan.refusals.push(Refusal::ForeignPool { peers: observed.peers.clone() });
        return;
    }
    if observed.exists && !observed.is_directory {
        plan.refusals.push(Refusal::BrickNotDirectory(path));
        return;
    }
    let this_volume = observed.mark.is_some() && observed.mark == storage.volume_id;
    if brick.in_volume && !this_volume {
        // The host was installed anew, or the brick's disk is not mounted: nothing may be made in its place.
        plan.refusals.push(Refusal::BrickLost(path));
        return;
    }
    if let Some(mark) = &observed.mark {
        if brick.reset && is_cleanable(observed, storage.volume_id.as_deref().unwrap_or_default()) {
            plan.steps.push(Step::ResetBrick { path, mark: mark.clone() });
        } else if !this_volume && !observed.ours {
            plan.refusals.push(Refusal::ForeignBrick { path, mark: mark.clone() });
        }
        // Ours, with a mark that the controller does not know of yet: a create is under way.
        return;
    }
    if observed.exists && observed.ours {
        return;
    }
    if observed.exists && !observed.empty {
        plan.refusals.push(Refusal::BrickHasFiles(path));
    } else if !observed.keeps_attributes {
        plan.refusals.push(Refusal::BrickWithoutAttributes(path));
    } else if observed.on_root && !brick.allow_root {
        plan.refusals.push(Refusal::BrickOnRoot(path));
    } else if let Some(used) = observed.used_percent.filter(|used| *used > BRICK_FULL_PERCENT) {
        plan.refusals.push(Refusal::BrickFull { path, used });
    } else {
        plan.steps.push(Step::PrepareBrick { path, volume: storage.volume.clone() });
    }
}

/// Whether the brick carries a mark that may go once the controller says so: on an empty brick of ours, and not of the
/// volume that there is (`volume_id`, empty if there is none).
#[must_use]
pub fn is_cleanable(brick: &BrickObserved, volume_id: &str) -> bool {
    brick.ours && brick.empty && brick.mark.as_deref().is_some_and(|mark| mark != volume_id)
}

fn plan_mount(plan: &mut Plan, storage: &StorageDesired, observed: &MountObserved) {
    let spec =
        || MountSpec { volume: storage.volume.clone(), point: storage.mount.clone(), servers: storage.servers.clone() };
    let wait = || Wait::Volume(storage.why_not.clone());
    let refusal = match &observed.state {
        MountState::Foreign { source } => {
            Some(Refusal::MountPointTaken { point: storage.mount.clone(), source_name: source.clone() })
        }
        MountState::Absent if !observed.would_hide.is_empty() => {
            Some(Refusal::MountPointHasFiles { point: storage.mount.clone(), files: observed.would_hide.join(", ") })
        }
        MountState::Absent | MountState::Usable | MountState::Stale(_) | MountState::Unwritable(_) => None,
    };
    if let Some(refusal) = refusal {
        plan.refusals.push(refusal);
        return;
    }
    // Which hosts serve is known before they do. What comes back after a reboot is written first: the mount is then
    // started through it.
    if !observed.persistent && !storage.servers.is_empty() {
        plan.steps.push(Step::PersistMount(spec()));
    }
    match &observed.state {
        MountState::Usable | MountState::Foreign { .. } => {}
        MountState::Absent if storage.mountable => plan.steps.push(Step::Mount(spec())),
        MountState::Stale(_) if storage.mountable => {
            plan.steps.push(Step::Unmount { point: storage.mount.clone() });
            plan.steps.push(Step::Mount(spec()));
        }
        MountState::Absent | MountState::Stale(_) => plan.waits.push(wait()),
        MountState::Unwritable(why) => plan.waits.push(Wait::VolumeUnwritable(why.clone())),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
