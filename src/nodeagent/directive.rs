//! From the controller's reply to what this host should be. Pure. An incomplete or contradictory reply is refused:
//! acting on half of one could join the wrong Swarm.

use crate::cluster::{BrickPath, MountPoint, NodeAddress, OverlayConfig, OverlayKind, Role, Secret, VolumeName};
use crate::converge::desired::{BrickDesired, Desired, StorageDesired, StorageRefusal, SwarmDesired};
use crate::protocol::reply::{Reply, Status};
use crate::providers::swarm::CaDigest;

/// Why a reply cannot be acted on. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    #[error("the controller's reply has no usable `{field}`: {problem}")]
    Field { field: &'static str, problem: String },
    #[error("the controller's reply has a join token of another Swarm than it names")]
    TokenOfAnotherSwarm,
}

fn field<T, E: ToString>(field: &'static str, value: Result<T, E>) -> Result<T, DirectiveError> {
    value.map_err(|error| DirectiveError::Field { field, problem: error.to_string() })
}

/// What the reply asks of this host.
///
/// # Errors
/// If a part that the reply claims to give is missing or malformed.
pub fn desired(reply: &Reply, advertise: NodeAddress) -> Result<Desired, DirectiveError> {
    let swarm = match reply.status {
        Status::Ready => Some(swarm(reply, advertise)?),
        // While the Swarm is away the storage part is given already.
        Status::Waiting | Status::Error => None,
    };
    let storage = if reply.gluster_enabled { Some(storage(reply)?) } else { None };
    Ok(Desired { swarm, storage, overlay: overlay(reply)? })
}

fn overlay(reply: &Reply) -> Result<OverlayConfig, DirectiveError> {
    let kind = match reply.overlay_type.as_str() {
        "" => OverlayKind::None,
        word => field("OverlayType", word.parse())?,
    };
    let payload =
        Some(&reply.overlay_payload).filter(|payload| !payload.is_empty()).map(|payload| Secret::new(payload.clone()));
    let config = OverlayConfig { kind, payload };
    field("OverlayPayload", config.validate())?;
    Ok(config)
}

fn swarm(reply: &Reply, advertise: NodeAddress) -> Result<SwarmDesired, DirectiveError> {
    let role: Role = field("SwarmRole", reply.swarm_role.parse())?;
    let token = Some(&reply.swarm_join_token).filter(|token| !token.is_empty()).map(|token| Secret::new(token.clone()));
    let named = field("SwarmCaDigest", CaDigest::parse(&reply.swarm_ca_digest).ok_or("not 50 digits of base 36"))?;
    if let Some(token) = &token {
        let of_token = field("SwarmJoinToken", CaDigest::of_token(token).ok_or("not a join token"))?;
        if of_token != named {
            return Err(DirectiveError::TokenOfAnotherSwarm);
        }
    }
    let managers: Vec<String> =
        std::iter::once(&reply.swarm_manager_addr).chain(&reply.swarm_other_managers).cloned().collect();
    for manager in &managers {
        field("SwarmManagerAddr", manager.parse::<std::net::SocketAddr>())?;
    }
    Ok(SwarmDesired { role, token, managers, advertise, ca_digest: named, recorded: None })
}

fn storage(reply: &Reply) -> Result<StorageDesired, DirectiveError> {
    let volume = field("GlusterVolume", VolumeName::parse(&reply.gluster_volume))?;
    let mount = field("GlusterMount", MountPoint::parse(&reply.gluster_mount))?;
    for server in &reply.gluster_servers {
        field("GlusterServers", NodeAddress::parse(server))?;
    }
    if reply.gluster_ready && reply.gluster_servers.is_empty() {
        return Err(DirectiveError::Field {
            field: "GlusterServers",
            problem: "empty though the volume is ready".to_owned(),
        });
    }
    let brick = if reply.gluster_brick.is_empty() {
        None
    } else {
        let path = field("GlusterBrick", BrickPath::parse(&reply.gluster_brick))?;
        Some(BrickDesired {
            path,
            allow_root: reply.gluster_allow_root_brick,
            // Without an id of a volume, the servers are those that it is about to be made of.
            in_volume: !reply.gluster_volume_id.is_empty() && reply.gluster_servers.contains(&reply.node_address),
            pooled: reply.gluster_pooled,
            reset: reply.gluster_brick_reset,
        })
    };
    Ok(StorageDesired {
        volume,
        volume_id: Some(reply.gluster_volume_id.clone()).filter(|id| !id.is_empty()),
        mount,
        refusal: Some(&reply.gluster_code)
            .filter(|code| !code.is_empty())
            .map(|code| StorageRefusal { code: code.clone(), message: reply.gluster_message.clone() }),
        mountable: reply.gluster_ready,
        why_not: reply.gluster_message.clone(),
        servers: reply.gluster_servers.clone(),
        brick,
    })
}

#[cfg(test)]
#[path = "directive_tests.rs"]
mod tests;
