//! Why a node is not let in or not listened to: code, words and the way out.

use std::net::IpAddr;

use crate::cluster::{AddressError, Hostname, NodeAddress, NodeId, Role};
use crate::controller::tokens::TokenFault;

/// Why a node is not let in. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the name `{hostname}` belongs to another node")]
    HostnameTaken { hostname: Hostname },
    #[error("the address {address} belongs to the node `{holder}`")]
    AddressTaken { address: NodeAddress, holder: Hostname },
    #[error("the node registers {claimed} but speaks from {source_address}")]
    AddressMismatch { claimed: NodeAddress, source_address: IpAddr },
    /// Asking and leaving, in clear text.
    #[error("the node is registered at {address} and not at {source_address}")]
    Elsewhere { address: NodeAddress, source_address: IpAddr },
    #[error("a loopback address ({0}) names no host that others can reach")]
    Loopback(NodeAddress),
    #[error("the address that the request comes from cannot be a node's: {0}")]
    Source(AddressError),
    #[error("the node's clock differs from the controller's by {} s ({direction})", .seconds)]
    ClockSkew { seconds: i64, direction: &'static str },
    #[error("the cluster has {0} nodes, the most that `master.max_nodes` allows")]
    Full(u32),
    /// On TLS without a certificate.
    #[error("the node has shown no key")]
    NoKey,
    /// In clear text, by a node that has one, or says so.
    #[error("a node that has a key proves it: in clear text nobody can")]
    ClearText,
    #[error("the node says that it is {claimed}, but its key is that of {proved}")]
    KeyMismatch { claimed: NodeId, proved: NodeId },
    /// A member may use it for nothing but to register, which renews it.
    #[error("the node's certificate is not valid at this time")]
    CertificateOutside,
    #[error("the node `{hostname}` was removed from the cluster")]
    Removed { hostname: Hostname },
    #[error("the role `{asked}` was not granted to this node")]
    Role { asked: Role },
    /// One answer for whatever is wrong.
    #[error("the token is not valid")]
    Token(TokenFault),
    #[error("an administrator has rejected the request{}", because(.reason))]
    Rejected { reason: String },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Refusal {
    /// The error code on the wire.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostnameTaken { .. } => "hostname-taken",
            Self::AddressTaken { .. } => "address-taken",
            Self::AddressMismatch { .. } | Self::Elsewhere { .. } => "address-mismatch",
            Self::Loopback(_) => "loopback-address",
            Self::Source(_) => "bad-address",
            Self::ClockSkew { .. } => "clock-skew",
            Self::Full(_) => "too-many-nodes",
            Self::NoKey | Self::ClearText => "key-required",
            Self::KeyMismatch { .. } => "key-mismatch",
            Self::CertificateOutside => "certificate-expired",
            Self::Removed { .. } => "node-removed",
            Self::Role { .. } => "role-not-granted",
            Self::Token(_) => "token-refused",
            Self::Rejected { .. } => "request-rejected",
        }
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::HostnameTaken { hostname } => format!(
                "two hosts with one name: pass `--hostname`; if `{hostname}` was re-installed, run `clusterctl node replace {hostname}` on the master's host, then join again"
            ),
            Self::AddressTaken { holder, .. } => format!(
                "give one of the two another address; if `{holder}` is gone, run `clusterctl node remove {holder}` on the master's host"
            ),
            Self::AddressMismatch { source_address, .. } => format!(
                "pass `--ip {source_address}`, or reach the master through the network that the other address is in"
            ),
            Self::Elsewhere { .. } => {
                "ask from the node itself; after a change of its address, run `clusterctl node join` on it".to_owned()
            }
            Self::Loopback(_) | Self::Source(_) => {
                "pass the address that the other hosts reach this one at: `--ip`".to_owned()
            }
            Self::ClockSkew { .. } => "set the clocks of both hosts (`timedatectl`, NTP), then join again".to_owned(),
            Self::Full(_) => "raise `master.max_nodes` and restart the controller".to_owned(),
            Self::NoKey => "join with `clusterctl node join`, which makes a key and shows it".to_owned(),
            Self::ClearText => {
                "join with `clusterctl node join` of this version: it speaks TLS, and shows the node's key".to_owned()
            }
            Self::KeyMismatch { .. } => {
                "leave `NodeId` out, or show the key that it belongs to; a copied `node.key` must be deleted on the copy"
                    .to_owned()
            }
            Self::CertificateOutside => {
                "run `clusterctl node join` on the node: that renews it; if it goes on, set the clocks of both hosts"
                    .to_owned()
            }
            Self::Removed { .. } => {
                "if it is to come back, make a new token with `clusterctl token create` on the master's host, and join with it; neither a token from before nor an approval alone lets it in"
                    .to_owned()
            }
            Self::Role { asked } => format!(
                "leave `--role` out to take what was granted, or join with a token that grants it: `clusterctl token create --role {asked}` on the master's host"
            ),
            Self::Token(_) => {
                "it may be mistyped, expired, used up, revoked or for another host; `clusterctl token create` on the master's host makes a new one"
                    .to_owned()
            }
            Self::Rejected { .. } => {
                "talk to the administrator, who can still run `clusterctl request approve` on the master's host".to_owned()
            }
        }
    }
}
