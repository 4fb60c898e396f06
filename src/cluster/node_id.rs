//! Node identity: derived from the node's public key, so that nobody can choose somebody else's.

use super::text_newtype;
use sha2::{Digest, Sha256};

/// 26 characters of lower-case base32: 128 bits of SHA-256 over the node's public key (SPKI, DER).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(String);

/// Why a text is not a node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node id has 26 characters out of a-z and 2-7")]
pub struct NodeIdError;

impl NodeId {
    /// Parses the text form, in any letter case.
    ///
    /// # Errors
    /// If `text` is not 26 characters of base32.
    pub fn parse(text: &str) -> Result<Self, NodeIdError> {
        let lower = text.to_ascii_lowercase();
        let shaped = lower.len() == 26 && lower.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        if shaped { Ok(Self(lower)) } else { Err(NodeIdError) }
    }

    /// The id that belongs to a public key, given as its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of_public_key(spki_der: &[u8]) -> Self {
        Self::of_bytes(spki_der)
    }

    /// The id under which a client without a key is filed: such clients are told apart by host name alone.
    #[must_use]
    pub fn of_legacy(hostname: &super::Hostname) -> Self {
        Self::of_bytes(format!("clusterctl legacy client {hostname}").as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(data_encoding::BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase())
    }
}

text_newtype!(NodeId, NodeIdError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable_and_parses_back() {
        let id = NodeId::of_public_key(b"key");
        assert_eq!(id.as_str().len(), 26);
        assert_eq!(NodeId::parse(&id.as_str().to_uppercase()).unwrap(), id);
        assert_ne!(id, NodeId::of_public_key(b"other"));
    }

    #[test]
    fn refuses_other_shapes() {
        for text in ["", "a", &"1".repeat(26), &"a".repeat(27)] {
            assert!(NodeId::parse(text).is_err(), "{text:?}");
        }
    }
}
