//! What the controller answers, in the specification's names and letter case.
//!
//! One struct serves both sides: the controller writes it, the node reads it. Secrets are plain text here, since
//! this is the wire; they are wrapped on arrival and its `Debug` does not show them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the client can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The instructions are complete.
    Ready,
    /// Not yet; `Reason` says why, `RetryAfterMs` when to ask again.
    Waiting,
    /// The request was refused; `Code`, `Message` and `Hint` say why and what to do.
    Error,
}

/// Why a client has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Fewer managers or workers than the thresholds ask for.
    BelowMinimum,
    /// An administrator has not decided yet.
    PendingApproval,
    /// The controller's Docker does not answer, or is not in a Swarm.
    SwarmUnavailable,
    /// The Swarm has no leader.
    SwarmNoLeader,
    /// The controller cannot write its state.
    StorageUnavailable,
    /// The shared volume is not usable yet.
    StorageDegraded,
    /// More requests than the controller takes at once.
    Overloaded,
}

impl Reason {
    /// The word on the wire and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BelowMinimum => "below-minimum",
            Self::PendingApproval => "pending-approval",
            Self::SwarmUnavailable => "swarm-unavailable",
            Self::SwarmNoLeader => "swarm-no-leader",
            Self::StorageUnavailable => "storage-unavailable",
            Self::StorageDegraded => "storage-degraded",
            Self::Overloaded => "overloaded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reply to a node (S2-54 to S2-60) and, with `Code`, to a request that was refused.
///
/// The specification's fields are always there for `ready` and `waiting`, empty where they do not apply, as clients
/// of the first implementation expect them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Reply {
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// `error` only: what went wrong, in kebab case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,

    pub swarm_role: String,
    pub swarm_join_token: String,
    pub swarm_manager_addr: String,
    /// Further managers, for a node that does not reach that one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swarm_other_managers: Vec<String>,
    pub overlay_type: String,
    pub overlay_payload: String,
    pub gluster_enabled: bool,
    pub gluster_volume: String,
    pub gluster_mount: String,
    /// The brick's directory on this node; empty for a client.
    pub gluster_brick: String,
    /// Always false: the controller creates the volume, never a node.
    pub gluster_orchestrator: bool,
    pub gluster_worker_nodes: Vec<String>,
    /// The volume is started and this node may mount it.
    pub gluster_ready: bool,
    /// Hosts to mount from, the first one first, the others as backup.
    pub gluster_servers: Vec<String>,
    /// The operator allows bricks on the root file system.
    pub gluster_allow_root_brick: bool,
    /// GlusterFS's id of the volume; empty while there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gluster_volume_id: String,
    /// A create failed half-way and left its mark on this node's brick: an empty brick of ours is to be cleaned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gluster_brick_reset: bool,
    /// Whether this node is in the controller's storage pool, or is being taken into it; not known while the pool was
    /// not looked at. A node that has peers and is not in it was taken by somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gluster_pooled: Option<bool>,
    /// Why the volume is not ready; empty if it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gluster_message: String,
    /// Storage is not for this node until somebody has seen to what `GlusterMessage` says: why, in kebab case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gluster_code: String,

    /// Registered nodes by role, and the thresholds that the gate asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// SHA-256 of the Swarm's root CA, as join tokens carry it: the Swarm that this reply speaks of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub swarm_ca_digest: String,
    /// How the Swarm's managers see this node, in Docker's word (`ready`, `down`); empty where nobody looked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub swarm_seen: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// The address under which the controller knows this node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_address: String,
    /// The revision of the state that this reply speaks of; it strictly increases with changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Which history of the state that is; empty as long as it was never restored from a backup.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
    /// The controller's [`PROTOCOL`](super::registration::PROTOCOL).
    pub protocol: u32,
    /// `pending-approval`: the id of the request that an administrator decides on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// `pending-approval`: the fingerprint of the node's key, for the administrator to compare.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_fingerprint: String,
    /// The node's certificate (PEM), when it gets a new one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// The CAs that the node is to trust (PEM, the one in use first), on TLS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authorities: String,
    /// The controller's time (RFC 3339), on TLS: certificates are judged by it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_time: String,
}

/// Registered nodes by role, and the thresholds that they are measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    pub managers: u32,
    pub workers: u32,
    pub min_managers: u32,
    pub min_workers: u32,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: Status::Error,
            reason: None,
            code: String::new(),
            message: String::new(),
            hint: String::new(),
            retry_after_ms: None,
            swarm_role: String::new(),
            swarm_join_token: String::new(),
            swarm_manager_addr: String::new(),
            swarm_other_managers: Vec::new(),
            overlay_type: String::new(),
            overlay_payload: String::new(),
            gluster_enabled: false,
            gluster_volume: String::new(),
            gluster_mount: String::new(),
            gluster_brick: String::new(),
            gluster_orchestrator: false,
            gluster_worker_nodes: Vec::new(),
            gluster_ready: false,
            gluster_servers: Vec::new(),
            gluster_allow_root_brick: false,
            gluster_volume_id: String::new(),
            gluster_brick_reset: false,
            gluster_pooled: None,
            gluster_message: String::new(),
            gluster_code: String::new(),
            counts: None,
            swarm_ca_digest: String::new(),
            swarm_seen: String::new(),
            cluster_id: String::new(),
            node_id: String::new(),
            node_address: String::new(),
            revision: None,
            incarnation: String::new(),
            protocol: super::registration::PROTOCOL,
            request_id: String::new(),
            key_fingerprint: String::new(),
            certificate: String::new(),
            authorities: String::new(),
            server_time: String::new(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("swarm_role", &self.swarm_role)
            .field("swarm_manager_addr", &self.swarm_manager_addr)
            .field("gluster_brick", &self.gluster_brick)
            .field("gluster_ready", &self.gluster_ready)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// The one answer to a request that was refused: what, why and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorReply {
    pub status: Status,
    pub code: String,
    pub message: String,
    pub hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// As in [`Reply`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub authorities: String,
    /// As in [`Reply`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server_time: String,
}

impl ErrorReply {
    /// An error with its kebab-case code, what happened and what to do about it.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            status: Status::Error,
            code: code.to_owned(),
            message: message.into(),
            hint: hint.into(),
            retry_after_ms: None,
            authorities: String::new(),
            server_time: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2-54 to S2-57: the specification's fields, in its letter case, are always there.
    #[test]
    fn has_the_specifications_fields() {
        let reply = Reply { status: Status::Ready, ..Reply::default() };
        let value = serde_json::to_value(&reply).unwrap();
        for field in [
            "Status",
            "SwarmRole",
            "SwarmJoinToken",
            "SwarmManagerAddr",
            "OverlayType",
            "OverlayPayload",
            "GlusterEnabled",
            "GlusterVolume",
            "GlusterMount",
            "GlusterBrick",
            "GlusterReady",
            "GlusterOrchestrator",
        ] {
            assert!(value.get(field).is_some(), "{field}");
        }
        assert_eq!(value["Status"], "ready");
        assert_eq!(serde_json::from_value::<Reply>(value).unwrap(), reply);
    }

    #[test]
    fn debug_shows_no_token() {
        let reply = Reply { swarm_join_token: "SWMTKN-1-x".into(), overlay_payload: "key".into(), ..Reply::default() };
        let text = format!("{reply:?}");
        assert!(!text.contains("SWMTKN") && !text.contains("key"), "{text}");
    }
}
