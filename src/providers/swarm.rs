//! Docker Swarm, as seen from one host's engine: what is asked of it, and what it answers.
//!
//! [`docker::DockerEngine`] is the real one (bollard lives there and nowhere else). An error or a time-out means
//! *unknown*: callers look again before they decide. The surprising part is that Docker answers 503 for "no Swarm",
//! "worker" and "locked" alike, so states are told apart by [`Engine::state`], never by an error.

use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::{NodeAddress, Role, Secret};

mod answers;
pub mod docker;
mod large_packets;
pub mod quorum;

/// How this engine takes part in a Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalState {
    Inactive,
    /// A join goes on in the background.
    Pending,
    Active,
    /// Active before a restart, and its key is locked.
    Locked,
    /// Docker's own word for "broken"; [`Engine::error`] has the text. Either a join that failed in the background,
    /// and then there is no [`Engine::ca_digest`], or a member that broke (its certificate expired).
    Error,
}

/// What one engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Docker's version, such as `20.10.24`.
    pub version: String,
    pub state: LocalState,
    /// This node's id in the Swarm; empty outside one.
    pub swarm_node_id: String,
    /// Whether this engine is a manager.
    pub manager: bool,
    /// The address that it advertises; empty outside a Swarm.
    pub node_address: String,
    /// Docker's text about what is wrong with the Swarm ("The swarm does not have a leader"); empty if nothing is.
    pub error: String,
    /// SHA-256 over the Swarm's root CA certificate, in the base-36 form that join tokens carry; `None` outside a
    /// Swarm. Two engines are in the same Swarm if and only if these are equal.
    pub ca_digest: Option<CaDigest>,
    /// The Swarm's id; known to managers alone, `None` elsewhere.
    pub cluster_id: Option<String>,
    /// Addresses of the managers, `IP:2377`.
    pub managers: Vec<String>,
    /// Whom this node's certificate names. Looked for where the state is [`LocalState::Error`] alone: there Docker itself
    /// says neither id nor role any more.
    pub certified: Option<Certified>,
}

/// What a node's certificate in the Swarm says, whether or not it still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    pub swarm_node_id: String,
    pub role: Role,
}

/// The digest of a Swarm's root CA: 50 characters of base 36, as in `SWMTKN-1-<digest>-<secret>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaDigest(String);

impl CaDigest {
    /// The digest of a root CA certificate, given as the bytes of its PEM file.
    #[must_use]
    pub fn of_certificate(pem: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        Self(base36(Sha256::digest(pem).as_slice()))
    }

    /// The digest that a join token demands of the Swarm; `None` if `token` is no join token.
    #[must_use]
    pub fn of_token(token: &Secret) -> Option<Self> {
        let mut parts = token.reveal().split('-');
        let shaped = parts.next() == Some("SWMTKN") && parts.next() == Some("1");
        let digest =
            parts.next().filter(|digest| digest.len() == 50 && digest.bytes().all(|b| b.is_ascii_alphanumeric()));
        let secret = parts.next().filter(|secret| !secret.is_empty());
        if shaped && secret.is_some() && parts.next().is_none() {
            digest.map(|digest| Self(digest.to_owned()))
        } else {
            None
        }
    }

    /// Reads the text form; `None` if it is not 50 digits of base 36.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 50 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        shaped.then(|| Self(text.to_owned()))
    }

    /// The digest as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CaDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A big-endian number in base 36, padded to the 50 digits that 256 bits take.
fn base36(bytes: &[u8]) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; 50];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = (value / 36) as u8;
            remainder = value % 36;
        }
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[remainder as usize];
    }
    digits.into_iter().map(char::from).collect()
}

/// The tokens that let nodes into the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokens {
    pub worker: Secret,
    pub manager: Secret,
}

impl JoinTokens {
    /// The token for `role`.
    #[must_use]
    pub fn for_role(&self, role: Role) -> &Secret {
        match role {
            Role::Manager => &self.manager,
            Role::Worker => &self.worker,
        }
    }
}

/// How to join a Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    pub token: Secret,
    /// `IP:port` of managers. Docker 20.10 goes to the first one alone: put one there that answers.
    pub managers: Vec<String>,
    pub advertise: NodeAddress,
}

/// One entry of the managers' list of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub swarm_node_id: String,
    pub hostname: String,
    pub role: Role,
    /// Docker's word: `ready`, `down`, `unknown`, `disconnected`.
    pub state: String,
    /// Docker's word: `active`, `pause`, `drain`.
    pub availability: String,
    pub address: String,
    pub leader: bool,
    /// How its manager is seen by the others; `None` for a member without a vote: a worker, and a manager whose join
    /// failed half-way. A demotion is done when this is gone, which is later than [`role`](Self::role) says so.
    pub reachability: Option<Reachability>,
    /// When the managers last changed the entry. Of one that is down: it has been so since then at least.
    pub updated_at: Option<Timestamp>,
}

impl Member {
    /// Whether the managers have lost it, so that nothing runs there that they know of.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state == "down"
    }

    /// Whether it takes no tasks and gives up those that it has.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.availability == Availability::Drain.as_str()
    }
}

/// Whether the leader hears from a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    Reachable,
    /// Not heard from, or not known yet.
    Unreachable,
}

/// Whether a member is given tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Active,
    /// Its tasks are stopped and started elsewhere.
    Drain,
}

impl Availability {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Drain => "drain",
        }
    }
}

/// Why Docker did not do, or say, what was asked. What it did meanwhile is unknown: look again.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    #[error("Docker does not answer at {socket}")]
    Unavailable {
        socket: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("Docker did not answer {call} within {deadline:?}")]
    TimedOut { call: &'static str, deadline: Duration },
    #[error("the Swarm does not take this join token (it may have been rotated)")]
    TokenRefused,
    #[error("the join token belongs to another Swarm than the manager that answered")]
    CaMismatch,
    /// The state tells whether Docker goes on (`pending`, later `error`) or gave up (`inactive`, if the connection was
    /// refused).
    #[error("no manager answered; Docker may go on trying in the background")]
    ManagerUnreachable,
    /// As [`Self::ManagerUnreachable`], and it was seen why.
    #[error("the manager {manager} takes connections, and nothing comes back once a packet is large")]
    LargePacketsLost { manager: String },
    #[error("the managers could not reach this host at the address that it advertises")]
    AdvertisedAddressUnreachable,
    #[error("the Swarm has no leader at the moment")]
    NoLeader,
    #[error("this engine is already part of a Swarm")]
    AlreadyPart,
    #[error("this engine is not a Swarm manager")]
    NotManager,
    #[error("Docker refused {call}: {message}")]
    Refused { call: &'static str, message: String },
}

/// One host's engine.
#[async_trait::async_trait]
pub trait SwarmEngine: Send + Sync {
    /// Reads the engine's version, which it gives at once also while it makes or joins a Swarm.
    async fn version(&self) -> Result<String, SwarmError>;
    /// Reads what the engine says about itself; changes nothing.
    async fn inspect(&self) -> Result<Engine, SwarmError>;
    /// Makes this engine the first manager of a new Swarm.
    async fn init(&self, advertise: NodeAddress) -> Result<(), SwarmError>;
    /// Joins the Swarm; `Ok` says that Docker answered well, not that the state is `active`.
    async fn join(&self, join: &Join) -> Result<(), SwarmError>;
    /// Leaves the Swarm; `force` is needed on managers and while pending.
    async fn leave(&self, force: bool) -> Result<(), SwarmError>;
    /// Reads the join tokens (managers only).
    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError>;
    /// Makes new join tokens; those that were handed out open nothing any more (managers only). Members stay.
    async fn rotate_join_tokens(&self) -> Result<(), SwarmError>;
    /// Lists the Swarm's nodes (managers only).
    async fn members(&self) -> Result<Vec<Member>, SwarmError>;
    /// Promotes or demotes a member (managers only). It is done later: see [`Member::reachability`].
    async fn set_role(&self, swarm_node_id: &str, role: Role) -> Result<(), SwarmError>;
    /// Lets a member have tasks or takes them away (managers only); they end later: see
    /// [`running_tasks`](Self::running_tasks).
    async fn set_availability(&self, swarm_node_id: &str, availability: Availability) -> Result<(), SwarmError>;
    /// How many tasks have not ended on a member, as the managers know it (managers only).
    async fn running_tasks(&self, swarm_node_id: &str) -> Result<usize, SwarmError>;
    /// Takes a member off the list (managers only). One that is not down needs `force`; a manager with a vote is refused
    /// in any case, until it is demoted.
    async fn remove_member(&self, swarm_node_id: &str, force: bool) -> Result<(), SwarmError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base36_is_padded_to_fifty_digits() {
        assert_eq!(base36(&[0; 32]), "0".repeat(50));
        assert_eq!(base36(&[35]).trim_start_matches('0'), "z");
        assert_eq!(base36(&[1, 0]).trim_start_matches('0'), "74");
        assert_eq!(base36(&[0xff; 32]).len(), 50);
    }

    #[test]
    fn reads_the_digest_out_of_a_token() {
        let digest = "a".repeat(50);
        let token = Secret::new(format!("SWMTKN-1-{digest}-0123456789abcdefghijklmno"));
        assert_eq!(CaDigest::of_token(&token).unwrap().as_str(), digest);
        for text in ["", "SWMTKN-1-x-y", "SWMTKN-2-", &format!("SWMTKN-1-{digest}")] {
            assert!(CaDigest::of_token(&Secret::new(text)).is_none(), "{text}");
        }
    }
}
