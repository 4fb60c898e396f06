//! May a node come in, and as what? A pure function of state, policy, registration and time.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::command::AdmittedNode;
use super::state::{ClusterState, Conflict};
use crate::cluster::{AddressError, Hostname, NodeAddress, Role};
use crate::protocol::registration::Registration;

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everybody, in the role that they ask for.
    Open,
}

/// The controller's rules for admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub admission: Admission,
    /// No more nodes than this.
    pub max_nodes: u32,
}

/// Where a registration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A connection from that address.
    Remote(IpAddr),
    /// The controller's own host: its unix socket, or the controller itself.
    Local,
}

/// Why a node is not let in. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the name `{hostname}` belongs to another node")]
    HostnameTaken { hostname: Hostname },
    #[error("the address {address} belongs to the node `{holder}`")]
    AddressTaken { address: NodeAddress, holder: Hostname },
    #[error("the node registers {claimed} but speaks from {source_address}")]
    AddressMismatch { claimed: NodeAddress, source_address: IpAddr },
    #[error("a loopback address ({0}) names no host that others can reach")]
    Loopback(NodeAddress),
    #[error("the address that the request comes from cannot be a node's: {0}")]
    Source(AddressError),
    #[error("the node's clock differs from the controller's by {} s ({direction})", .seconds)]
    ClockSkew { seconds: i64, direction: &'static str },
    #[error("the cluster has {0} nodes, the most that `master.max_nodes` allows")]
    Full(u32),
}

impl Refusal {
    /// The error code on the wire.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostnameTaken { .. } => "hostname-taken",
            Self::AddressTaken { .. } => "address-taken",
            Self::AddressMismatch { .. } => "address-mismatch",
            Self::Loopback(_) => "loopback-address",
            Self::Source(_) => "bad-address",
            Self::ClockSkew { .. } => "clock-skew",
            Self::Full(_) => "too-many-nodes",
        }
    }

    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::HostnameTaken { hostname } => format!(
                "two hosts with one name: pass `--hostname`; if `{hostname}` was re-installed, run `clusterctl node remove {hostname}` on the master's host, then join again"
            ),
            Self::AddressTaken { holder, .. } => format!(
                "give one of the two another address; if `{holder}` is gone, run `clusterctl node remove {holder}` on the master's host"
            ),
            Self::AddressMismatch { source_address, .. } => format!(
                "pass `--ip {source_address}`, or reach the master through the network that the other address is in"
            ),
            Self::Loopback(_) | Self::Source(_) => {
                "pass the address that the other hosts reach this one at: `--ip`".to_owned()
            }
            Self::ClockSkew { .. } => "set the clocks of both hosts (`timedatectl`, NTP), then join again".to_owned(),
            Self::Full(_) => "raise `master.max_nodes` and restart the controller".to_owned(),
        }
    }
}

/// The largest difference between the clocks of node and controller.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(300);

/// Judges a registration.
///
/// # Errors
/// The reason why the node is not let in.
pub fn admit(
    state: &ClusterState,
    policy: Policy,
    registration: &Registration,
    source: Source,
    now: Timestamp,
) -> Result<AdmittedNode, Refusal> {
    if let Some(sent_at) = registration.sent_at {
        let skew = sent_at.duration_since(now);
        if skew.abs() > MAX_SKEW {
            let direction = if skew.is_positive() { "it is ahead" } else { "it is behind" };
            return Err(Refusal::ClockSkew { seconds: skew.abs().as_secs(), direction });
        }
    }
    let id = registration.who.key();
    let known = state.node(&id);
    if known.is_none() && state.counts().managers + state.counts().workers >= policy.max_nodes {
        return Err(Refusal::Full(policy.max_nodes));
    }
    let address = judge_address(registration.address, source)?;
    let Admission::Open = policy.admission;
    let node = AdmittedNode {
        id,
        keyed: registration.who.node_id.is_some(),
        hostname: registration.who.hostname.clone(),
        address,
        role: registration.role.or(known.map(|known| known.role)).unwrap_or(Role::Worker),
        facts: registration.facts.clone(),
    };
    match state.conflict(&node) {
        None => Ok(node),
        Some(Conflict::Hostname { .. }) => Err(Refusal::HostnameTaken { hostname: node.hostname }),
        Some(Conflict::Address { holder }) => Err(Refusal::AddressTaken { address, holder }),
    }
}

/// The address of the node: what it asks for, or where it speaks from. In clear text with open admission nothing
/// else vouches for an address, so the two must agree; the controller's own host may name any of its addresses.
fn judge_address(claimed: Option<NodeAddress>, source: Source) -> Result<NodeAddress, Refusal> {
    let source_address = match source {
        Source::Local => None,
        Source::Remote(address) => Some(address).filter(|address| !address.is_loopback()),
    };
    match (claimed, source_address) {
        (Some(claimed), None) => Ok(claimed),
        (Some(claimed), Some(_)) if claimed.is_loopback() => Err(Refusal::Loopback(claimed)),
        (Some(claimed), Some(source_address)) if source_address.to_canonical() != IpAddr::from(claimed) => {
            Err(Refusal::AddressMismatch { claimed, source_address })
        }
        (Some(claimed), Some(_)) => Ok(claimed),
        (None, Some(address)) => NodeAddress::parse(&address.to_canonical().to_string()).map_err(Refusal::Source),
        (None, None) => Err(Refusal::Source(AddressError::NotIpv4(String::new()))),
    }
}
