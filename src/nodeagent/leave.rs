//! `node leave`: takes the host out of the shared volume's mounts, the Swarm and the controller's record. Refused
//! where something would be lost with it.

use std::time::Duration;

use tokio::time::Instant;

use super::client::{self, ClientError, Link};
use super::identity::NodeIdentity;
use super::membership::Membership;
use crate::cluster::{BrickPath, Hostname, MountPoint, Role, VolumeName};
use crate::converge::observe::Hands;
use crate::protocol::registration::{PROTOCOL, RawRequest};
use crate::protocol::reply::{Reply, Status};
use crate::providers::mounts::{BrickError, MountError, is_ours};
use crate::providers::swarm::quorum::{self, QuorumError};
use crate::providers::swarm::{CaDigest, Engine, LocalState, SwarmError};

/// How long a demotion may take; it takes a second or two.
const DEMOTION_PATIENCE: Duration = Duration::from_secs(15);
const DEMOTION_PAUSE: Duration = Duration::from_millis(100);

/// What a leave works with.
pub struct Leave {
    /// The way to the controller.
    pub link: Link,
    pub identity: NodeIdentity,
    pub hostname: Hostname,
    /// What this host remembers of its join.
    pub member: Option<Membership>,
    pub hands: Hands,
}

/// Why the host stays, or left only half-way. Leaving again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    #[error("the controller cannot be reached")]
    Unreachable(#[source] ClientError),
    #[error("the controller refused: {message}")]
    Refused { code: String, message: String, hint: String },
    /// The host is out of the Swarm, and still on the controller's record.
    #[error("the controller could not take this host off its record: {message}")]
    NotNoted { message: String },
    /// Nothing was changed.
    #[error("this host holds a brick of the volume `{volume}`")]
    HoldsBrick { volume: String },
    /// Nothing was changed.
    #[error("this host is in a Swarm that is not known to be the cluster's ({0})")]
    ForeignSwarm(String),
    /// Nothing was changed.
    #[error("this host is the last manager of the Swarm")]
    LastManager,
    /// Nothing was changed.
    #[error("leaving would leave {left} of {needed} managers that the Swarm needs to decide")]
    Quorum { left: usize, needed: usize },
    /// Nothing was changed.
    #[error("this host's brick could not be looked at")]
    Brick(#[from] BrickError),
    /// The Swarm goes on with it; leaving again goes on from there.
    #[error("the Swarm has not taken the manager's role from this host within {DEMOTION_PATIENCE:?}")]
    NotDemoted,
    #[error("the volume's mount could not be taken away")]
    Mount(#[from] MountError),
    #[error("the mount's entry for the next boot could not be taken away")]
    Persistence(#[source] std::io::Error),
    #[error("the Swarm could not be left")]
    Swarm(#[from] SwarmError),
}

impl Leave {
    /// Takes the host out of the cluster; returns what was done, in words.
    ///
    /// # Errors
    /// See [`LeaveError`].
    pub async fn run(&self) -> Result<Vec<String>, LeaveError> {
        let reply = self.ask("check-status").await?;
        let known = reply.status != Status::Error;
        if let Some(volume) = self.volume_of_own_brick(&reply).await? {
            return Err(LeaveError::HoldsBrick { volume });
        }
        let engine = self.hands.engine.inspect().await?;
        let active = engine.state == LocalState::Active;
        if active && !self.is_ours(&engine, &reply) {
            let have =
                engine.ca_digest.map_or_else(|| "its root certificate is unknown".to_owned(), |it| it.to_string());
            return Err(LeaveError::ForeignSwarm(have));
        }
        if active && engine.manager {
            self.refuse_to_break_quorum(&engine.swarm_node_id).await?;
        }
        let mut done = Vec::new();
        let (volume, point) = match &self.member {
            Some(member) => (&member.volume, &member.mount),
            None => (&reply.gluster_volume, &reply.gluster_mount),
        };
        if let (Ok(volume), Ok(point)) = (VolumeName::parse(volume), MountPoint::parse(point)) {
            self.unmount(&volume, &point, &mut done).await?;
        }
        if active {
            if engine.manager {
                self.hands.engine.set_role(&engine.swarm_node_id, Role::Worker).await?;
                self.until_demoted().await?;
                done.push("gave up the manager's role".to_owned());
            }
            // By now it is no manager.
            self.hands.engine.leave(false).await?;
            done.push("left the Swarm".to_owned());
        }
        if known {
            let reply = self.ask("deregister").await?;
            // It waits for its disk, or has too much to do.
            if reply.status == Status::Waiting {
                return Err(LeaveError::NotNoted { message: reply.message });
            }
            done.push("told the controller".to_owned());
        }
        Ok(done)
    }

    /// The volume that this host's brick is marked for. The mark on the disk counts, whatever the controller knows at the
    /// moment.
    async fn volume_of_own_brick(&self, reply: &Reply) -> Result<Option<String>, LeaveError> {
        let (path, volume) = match &self.member {
            Some(member) => (&member.brick, &member.volume),
            None => (&reply.gluster_brick, &reply.gluster_volume),
        };
        let Ok(path) = BrickPath::parse(path) else { return Ok(None) };
        let marked = self.hands.bricks.inspect(&path).await?.volume_id.is_some();
        Ok(marked.then(|| volume.clone()))
    }

    /// Whether the Swarm that this host is in is the one that it is to leave: the controller's, or, where the controller
    /// cannot say, the one that it recorded when it joined. A host can be registered, and in another Swarm.
    fn is_ours(&self, engine: &Engine, reply: &Reply) -> bool {
        match (CaDigest::parse(&reply.swarm_ca_digest), &self.member) {
            (Some(digest), _) => engine.ca_digest.as_ref() == Some(&digest),
            (None, Some(member)) => member.swarm_node_id.is_empty() || member.swarm_node_id == engine.swarm_node_id,
            (None, None) => false,
        }
    }

    async fn refuse_to_break_quorum(&self, own: &str) -> Result<(), LeaveError> {
        let members = self.hands.engine.members().await?;
        quorum::without(&members, own).map_err(|error| match error {
            QuorumError::LastManager => LeaveError::LastManager,
            QuorumError::Lost { left, needed, others: _ } => LeaveError::Quorum { left, needed },
        })
    }

    /// Waits until this host votes no more: a manager that leaves before that takes its vote along, and of two the other
    /// one could then decide nothing.
    async fn until_demoted(&self) -> Result<(), LeaveError> {
        let deadline = Instant::now() + DEMOTION_PATIENCE;
        while self.hands.engine.inspect().await?.manager {
            if Instant::now() >= deadline {
                return Err(LeaveError::NotDemoted);
            }
            tokio::time::sleep(DEMOTION_PAUSE).await;
        }
        Ok(())
    }

    async fn unmount(&self, volume: &VolumeName, point: &MountPoint, done: &mut Vec<String>) -> Result<(), LeaveError> {
        if self.hands.persistence.clear(point).await.map_err(LeaveError::Persistence)? {
            done.push(format!("took the mount at {point} off the list for the next boot"));
        }
        let table = self.hands.mounter.mounts().await?;
        if table.at(point.as_path()).is_some_and(|entry| is_ours(entry, volume)) {
            self.hands.mounter.unmount_lazy(point).await?;
            done.push(format!("unmounted {point}"));
        }
        Ok(())
    }

    async fn ask(&self, action: &str) -> Result<Reply, LeaveError> {
        let request = RawRequest {
            action: action.to_owned(),
            hostname: self.hostname.to_string(),
            node_id: self.identity.node_id.to_string(),
            protocol: PROTOCOL,
            ..RawRequest::default()
        };
        let reply = client::ask(&self.link, &request).await.map_err(LeaveError::Unreachable)?.reply;
        judge(reply)
    }
}

/// Tells an answer from a refusal. That the controller has no such node, because it never had or an administrator took
/// it out, is an answer: what is left on this host is cleaned up all the same.
fn judge(reply: Reply) -> Result<Reply, LeaveError> {
    let gone = matches!(reply.code.as_str(), "unknown-node" | "removed");
    match reply.status {
        Status::Error if !gone => {
            Err(LeaveError::Refused { code: reply.code, message: reply.message, hint: reply.hint })
        }
        Status::Error | Status::Ready | Status::Waiting => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_taken_out_can_still_clean_up() {
        let refusal = |code: &str| Reply { status: Status::Error, code: code.to_owned(), ..Reply::default() };
        for code in ["unknown-node", "removed"] {
            assert!(judge(refusal(code)).is_ok(), "{code}");
        }
        for code in ["tls-required", "key-required", "holds-brick", ""] {
            assert!(matches!(judge(refusal(code)), Err(LeaveError::Refused { .. })), "{code}");
        }
        assert!(judge(Reply { status: Status::Waiting, ..Reply::default() }).is_ok());
    }
}
