//! The words that both sides share. Every type here parses on entry and is valid from then on: code that holds a
//! [`Hostname`] never checks it again. Nothing here reads a file, a clock or the environment.
//!
//! The grammar is strict on purpose: what is not allowed is refused, never repaired, since these values end up in
//! argument lists of root-owned programs and in rendered files.

mod address;
mod admission;
mod fingerprint;
mod hostname;
mod node_id;
mod overlay;
mod paths;
mod profile;
mod proof;
mod role;
mod secret;
mod token;
mod volume;

pub use address::{AddressError, NodeAddress, is_private, is_shared};
pub use admission::{Admission, AdmissionError};
pub use fingerprint::{KeyFingerprint, KeyFingerprintError};
pub use hostname::{Hostname, HostnameError};
pub use node_id::{NodeId, NodeIdError};
pub use overlay::{OverlayConfig, OverlayConfigError, OverlayKind, OverlayKindError};
pub use paths::{AbsolutePath, BrickPath, MountPoint, PathError};
pub use profile::{ProfileName, ProfileNameError};
pub use proof::{Proof, ProvenKey, Subject, Validity};
pub use role::{Role, RoleError};
pub use secret::Secret;
pub use token::{JoinToken, JoinTokenError, ShortId, ShortIdError, TokenSecret};
pub use volume::{BRICK_FULL_PERCENT, VolumeName, VolumeNameError};

/// Implements `Display`, `FromStr`-based serde and `as_str` for a newtype over `String` whose constructor is `parse`.
macro_rules! text_newtype {
    ($name:ident, $error:ident) => {
        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_newtype;
