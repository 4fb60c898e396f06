//! The fingerprint of a public key: of the cluster's CA, which nodes pin, and of a node's own key, which an
//! administrator compares before letting it in.

use sha2::{Digest, Sha256};

/// SHA-256 over a public key (SubjectPublicKeyInfo, DER); 52 characters of lower-case base32 as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint([u8; 32]);

/// Why a text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key's fingerprint has 52 characters out of a-z and 2-7")]
pub struct KeyFingerprintError;

impl KeyFingerprint {
    /// The fingerprint of a public key, given as its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of_public_key(spki_der: &[u8]) -> Self {
        Self(Sha256::digest(spki_der).into())
    }

    /// Parses the text form, in any letter case.
    ///
    /// # Errors
    /// If `text` is not 52 characters of base32, or has bits beyond the 256.
    pub fn parse(text: &str) -> Result<Self, KeyFingerprintError> {
        let bytes = data_encoding::BASE32_NOPAD
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| KeyFingerprintError)?;
        bytes.try_into().map(Self).map_err(|_| KeyFingerprintError)
    }
}

impl std::fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl std::fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for KeyFingerprint {
    type Err = KeyFingerprintError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl serde::Serialize for KeyFingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KeyFingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable_and_parses_back() {
        let print = KeyFingerprint::of_public_key(b"key");
        let text = print.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(KeyFingerprint::parse(&text.to_uppercase()), Ok(print));
        assert_ne!(print, KeyFingerprint::of_public_key(b"other"));
    }

    #[test]
    fn refuses_other_shapes() {
        // 260 bits of text hold 256: the last character has only two values.
        for text in ["", "a", &"a".repeat(51), &"a".repeat(53), &"7".repeat(52), &"1".repeat(52)] {
            assert_eq!(KeyFingerprint::parse(text), Err(KeyFingerprintError), "{text:?}");
        }
    }
}
