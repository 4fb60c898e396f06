//! Who is speaking, as far as the connection proves it, and from where. Pure.

use std::net::IpAddr;

use super::{Policy, Refusal};
use crate::cluster::{Admission, KeyFingerprint, NodeAddress, NodeId, Proof, Role, Subject, Validity, is_private};
use crate::controller::state::{ClusterState, NodeRecord};
use crate::protocol::registration::Identity;

/// Where a request comes from, and what it proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'a> {
    /// The controller's own host: its unix socket, or the controller itself. It is believed.
    Local,
    /// Clear text from that address.
    Clear(IpAddr),
    /// TLS from that address, with what the client proved.
    Tls(IpAddr, &'a Proof),
}

/// A node that says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) id: NodeId,
    /// Whether it has, or says that it has, a key.
    pub(super) keyed: bool,
    /// The key that it proved.
    pub(super) key: Option<KeyFingerprint>,
}

impl Caller<'_> {
    /// The address, in the form in which two can be compared.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Local => None,
            Self::Clear(address) | Self::Tls(address, _) => Some(address.to_canonical()),
        }
    }

    /// The identity that a caller may speak in: on TLS that of its key. In clear text nothing is proved: with open
    /// admission a node is taken by its word, unless it has proved a key before; otherwise only clients without a key
    /// are heard, by their host names.
    pub(super) fn identify(&self, state: &ClusterState, policy: Policy, who: &Identity) -> Result<Speaker, Refusal> {
        match self {
            Self::Local => Ok(Speaker { id: who.key(), keyed: who.node_id.is_some(), key: None }),
            Self::Tls(_, proof) => {
                let key = proof.key().ok_or(Refusal::NoKey)?;
                match &who.node_id {
                    Some(claimed) if *claimed != key.node_id => {
                        Err(Refusal::KeyMismatch { claimed: claimed.clone(), proved: key.node_id.clone() })
                    }
                    Some(_) | None => Ok(Speaker { id: key.node_id.clone(), keyed: true, key: Some(key.fingerprint) }),
                }
            }
            Self::Clear(_) => {
                let (id, claims_key) = (who.key(), who.node_id.is_some());
                let proved = state.node(&id).is_some_and(|known| known.key.is_some());
                if proved || (claims_key && policy.admission != Admission::Open) {
                    return Err(Refusal::ClearText);
                }
                Ok(Speaker { id, keyed: claims_key, key: None })
            }
        }
    }
}

/// Whether clear text is answered to that address: private networks only, and only where the operator says so.
#[must_use]
pub fn answers_clear_text(policy: Policy, source: IpAddr) -> bool {
    policy.plaintext && is_private(source)
}

/// Whom a caller speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Member(NodeId),
    /// No member has that id.
    Stranger(NodeId),
}

/// Whom a caller speaks for that asks or leaves, without registering.
///
/// # Errors
/// It is not who it says that it is, was removed, or speaks from elsewhere.
pub fn speaks_for(
    state: &ClusterState,
    policy: Policy,
    who: &Identity,
    caller: Caller<'_>,
) -> Result<Standing, Refusal> {
    let speaker = caller.identify(state, policy, who)?;
    if let Caller::Tls(_, Proof::Certified { validity: Validity::Outside { .. }, .. }) = caller {
        return Err(Refusal::CertificateOutside);
    }
    if let Some(stone) = state.tombstone(&speaker.id) {
        return Err(Refusal::Removed { hostname: stone.hostname.clone() });
    }
    let Some(known) = state.node(&speaker.id) else { return Ok(Standing::Stranger(speaker.id)) };
    if let Caller::Clear(_) = caller {
        // Nothing but the address tells who speaks.
        let source = caller.source().filter(|source| !vouched_by_loopback(policy, *source));
        if let Some(source) = source.filter(|source| *source != IpAddr::from(known.address)) {
            return Err(Refusal::Elsewhere { address: known.address, source_address: source });
        }
    }
    Ok(Standing::Member(speaker.id))
}

/// Whether a clear-text client on this host may speak for any address: with open admission only, since every user of
/// the host could.
fn vouched_by_loopback(policy: Policy, source: IpAddr) -> bool {
    policy.admission == Admission::Open && source.is_loopback()
}

/// The address of a node: what it asks for, or where it speaks from. In clear text, and with open admission, nothing
/// else vouches for an address, so the two must agree. A node with a proven key may sit behind a router; that its
/// addresses differ is shown and not refused; but an address that Docker's bridge has on every host is taken from there
/// alone, since for the others it is one of their own containers.
pub(super) fn judge_address(
    claimed: Option<NodeAddress>,
    known: Option<&NodeRecord>,
    caller: Caller<'_>,
    policy: Policy,
) -> Result<NodeAddress, Refusal> {
    let recorded = known.map(|known| known.address);
    let source = caller.source();
    let Some(claimed) = claimed else {
        return match source.filter(|source| !source.is_loopback()) {
            Some(source) => NodeAddress::parse(&source.to_string()).map_err(Refusal::Source),
            None => recorded.ok_or(Refusal::Source(crate::cluster::AddressError::NotIpv4(String::new()))),
        };
    };
    let Some(source) = source else { return Ok(claimed) };
    if claimed.is_loopback() && recorded != Some(claimed) {
        // Only the controller's own host can have been registered so.
        return Err(Refusal::Loopback(claimed));
    }
    let ambiguous = claimed.is_on_docker_bridge() && recorded != Some(claimed);
    let must_agree = ambiguous || matches!(caller, Caller::Clear(_)) || policy.admission == Admission::Open;
    if must_agree && source != IpAddr::from(claimed) && !vouched_by_loopback(policy, source) {
        return Err(Refusal::AddressMismatch { claimed, source_address: source });
    }
    Ok(claimed)
}

/// Whether a member is to be given a (new) certificate: it shows none of the cluster's, or one that names another role,
/// is due for renewal, or is over.
#[must_use]
pub fn needs_certificate(proof: &Proof, id: &NodeId, role: Role) -> bool {
    match proof {
        Proof::Certified { subject: Subject::Node { id: named, role: certified }, validity, .. } => {
            named != id || *certified != role || *validity != Validity::Valid
        }
        Proof::Certified { subject: Subject::Admin { .. }, .. } | Proof::Key(_) | Proof::Nothing => true,
    }
}
