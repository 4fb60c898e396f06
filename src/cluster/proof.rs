//! What a client of a TLS connection has proved about itself.
//!
//! Every node shows a certificate: one that it signed itself until it is admitted, one of the cluster's CA from then
//! on. The handshake proves that it holds the key; the CA's signature, that it was admitted once. Whether it still is a
//! member is for the state to say, at every exchange.

use jiff::Timestamp;

use super::{KeyFingerprint, NodeId, Role};

/// A public key whose private half the client holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The node id that belongs to it.
    pub node_id: NodeId,
    pub fingerprint: KeyFingerprint,
}

impl ProvenKey {
    /// The key with what follows from it.
    #[must_use]
    pub fn new(spki: Vec<u8>) -> Self {
        let (node_id, fingerprint) = (NodeId::of_public_key(&spki), KeyFingerprint::of_public_key(&spki));
        Self { spki, node_id, fingerprint }
    }
}

/// What a client has proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: it showed no certificate.
    Nothing,
    /// It holds this key, under a certificate that is not of this cluster.
    Key(ProvenKey),
    /// It holds this key, and the cluster's CA has certified it.
    Certified { key: ProvenKey, subject: Subject, validity: Validity },
}

impl Proof {
    /// The key, if one was proved.
    #[must_use]
    pub fn key(&self) -> Option<&ProvenKey> {
        match self {
            Self::Nothing => None,
            Self::Key(key) | Self::Certified { key, .. } => Some(key),
        }
    }
}

/// Whom a certificate of the cluster's CA names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Node {
        id: NodeId,
        role: Role,
    },
    /// An administrator, by a name that the operator chose.
    Admin {
        name: String,
    },
}

/// How a certificate stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Valid,
    /// Valid, and due for renewal: two thirds of its life have passed, or a CA signed it that is being replaced.
    RenewalDue,
    /// Over, or not begun.
    Outside {
        limit: Timestamp,
    },
}
