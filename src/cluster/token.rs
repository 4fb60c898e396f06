//! Admission tokens and the short ids of tokens and requests.
//!
//! `CCTL1-<CA fingerprint, 52>-<id, 8>-<secret, 26>`: who gets one knows which cluster it is for before the first byte
//! is sent. The id is public and may be logged; of the secret the controller keeps a digest alone.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{KeyFingerprint, text_newtype};

/// What every token begins with; another version of the form gets another one.
const PREFIX: &str = "CCTL1";
const SECRET_BYTES: usize = 16;

/// The id of a token or of a request to join: 8 characters of lower-case base32, 40 bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortId(String);

/// Why a text is not such an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id has 8 characters out of a-z and 2-7")]
pub struct ShortIdError;

impl ShortId {
    /// Parses the text form, in any letter case.
    ///
    /// # Errors
    /// If `text` is not 8 characters of base32.
    pub fn parse(text: &str) -> Result<Self, ShortIdError> {
        let lower = text.to_ascii_lowercase();
        let shaped = lower.len() == 8 && lower.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        if shaped { Ok(Self(lower)) } else { Err(ShortIdError) }
    }

    /// The id of these random bytes.
    #[must_use]
    pub fn of_bytes(random: [u8; 5]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase())
    }
}

text_newtype!(ShortId, ShortIdError);

/// The secret part of a token: 128 random bits.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl TokenSecret {
    /// A secret of these random bytes.
    #[must_use]
    pub fn of_bytes(random: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// SHA-256 of the secret: what the controller keeps.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(*self.0).into()
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("«redacted»")
    }
}

/// An admission token.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// The cluster's CA: the node speaks to nobody else.
    pub pin: KeyFingerprint,
    pub id: ShortId,
    pub secret: TokenSecret,
}

/// Why a text is not a token. It does not say where, so that it repeats nothing of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    #[error("a token begins with `CCTL1-`")]
    NotAToken,
    #[error("the token is of a form that this program does not know")]
    OtherVersion,
    #[error("the token is damaged: it has 94 characters, `CCTL1-` and three groups of a-z and 2-7")]
    Damaged,
}

impl JoinToken {
    /// Parses the text form, in any letter case.
    ///
    /// # Errors
    /// If `text` is no token, one of another version, or damaged.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let mut parts = text.trim().split('-');
        match parts.next().map(str::to_ascii_uppercase) {
            Some(prefix) if prefix == PREFIX => {}
            Some(prefix) if prefix.starts_with("CCTL") => return Err(JoinTokenError::OtherVersion),
            Some(_) | None => return Err(JoinTokenError::NotAToken),
        }
        let (Some(pin), Some(id), Some(secret), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(JoinTokenError::Damaged);
        };
        let secret = Zeroizing::new(secret.to_ascii_uppercase());
        let decoded = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).map(Zeroizing::new);
        let bytes: [u8; SECRET_BYTES] =
            decoded.ok().and_then(|bytes| bytes.as_slice().try_into().ok()).ok_or(JoinTokenError::Damaged)?;
        Ok(Self {
            pin: KeyFingerprint::parse(pin).map_err(|_| JoinTokenError::Damaged)?,
            id: ShortId::parse(id).map_err(|_| JoinTokenError::Damaged)?,
            secret: TokenSecret::of_bytes(bytes),
        })
    }

    /// The text form, with the secret. Every call is a place to look at in a review.
    #[must_use]
    pub fn reveal(&self) -> String {
        let secret = data_encoding::BASE32_NOPAD.encode(self.secret.0.as_slice()).to_ascii_lowercase();
        format!("{PREFIX}-{}-{}-{secret}", self.pin, self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            pin: KeyFingerprint::of_public_key(b"ca"),
            id: ShortId::of_bytes([1, 2, 3, 4, 5]),
            secret: TokenSecret::of_bytes([7; 16]),
        }
    }

    #[test]
    fn has_the_documented_form_and_reads_back() {
        let text = token().reveal();
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!((lengths.as_slice(), text.len()), ([5, 52, 8, 26].as_slice(), 94));
        let back = JoinToken::parse(&format!(" {}\n", text.to_uppercase())).unwrap();
        assert_eq!((back.reveal(), back.pin), (text.clone(), token().pin));
        assert!(!format!("{:?}", token()).contains(text.rsplit('-').next().unwrap()), "the secret is not shown");
    }

    /// T4, T15.
    #[test]
    fn says_what_is_wrong_without_repeating_it() {
        let text = token().reveal();
        for (bad, error) in [
            ("", JoinTokenError::NotAToken),
            ("SWMTKN-1-x", JoinTokenError::NotAToken),
            ("CCTL2-x", JoinTokenError::OtherVersion),
            ("CCTL1", JoinTokenError::Damaged),
            (&text[..93], JoinTokenError::Damaged),
            (&format!("{text}-x"), JoinTokenError::Damaged),
            (&text.replace("CCTL1-", "CCTL1-1"), JoinTokenError::Damaged),
        ] {
            assert_eq!(JoinToken::parse(bad).unwrap_err(), error, "{bad:?}");
        }
    }

    proptest! {
        /// Whatever it is given, it does not panic; and what it takes, it gives back.
        #[test]
        fn every_accepted_text_reads_back(text in "(CCTL1-)?[a-zA-Z2-7-]{0,100}") {
            if let Ok(token) = JoinToken::parse(&text) {
                prop_assert_eq!(token.reveal().to_ascii_lowercase(), text.to_ascii_lowercase());
            }
        }

        #[test]
        fn every_token_reads_back(pin: [u8; 8], id: [u8; 5], secret: [u8; 16]) {
            let token = JoinToken {
                pin: KeyFingerprint::of_public_key(&pin),
                id: ShortId::of_bytes(id),
                secret: TokenSecret::of_bytes(secret),
            };
            let back = JoinToken::parse(&token.reveal()).unwrap();
            prop_assert_eq!((back.pin, back.id, back.secret.digest()), (token.pin, token.id, token.secret.digest()));
        }
    }
}
