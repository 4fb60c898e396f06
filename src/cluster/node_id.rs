//! Node identity: derived from the node's public key, so that nobody can choose somebody else's.

use super::text_newtype;
use sha2::{Digest, Sha256};

/// 26 characters of lower-case base32: 128 bits of SHA-256 over the node's public key (SPKI, DER).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Letters);

/// How many there are.
const LENGTH: usize = 26;

/// The characters in place: a controller has each id in half a dozen tables, and an allocation for each would be most of
/// what a node costs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Letters([u8; LENGTH]);

impl std::ops::Deref for Letters {
    type Target = str;

    fn deref(&self) -> &str {
        // They are ASCII, whoever made them.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&**self, f)
    }
}

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
        let mut letters: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| NodeIdError)?;
        letters.make_ascii_lowercase();
        let shaped = letters.iter().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(b));
        if shaped { Ok(Self(Letters(letters))) } else { Err(NodeIdError) }
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
        let mut letters = [0; LENGTH];
        // 16 bytes are 26 characters.
        data_encoding::BASE32_NOPAD.encode_mut(&digest[..16], &mut letters);
        letters.make_ascii_lowercase();
        Self(Letters(letters))
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
