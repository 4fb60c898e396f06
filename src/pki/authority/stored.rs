//! The file of the cluster's CA: JSON with a version. It holds private keys, which leave memory with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::pki::issue::{IssueError, SigningAuthority};

/// The version that this program writes.
pub(super) const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) version: u32,
    pub(super) cluster_id: String,
    pub(super) active: StoredAuthority,
    /// The one that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<StoredPrevious>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredPrevious {
    #[serde(flatten)]
    pub(super) authority: StoredAuthority,
    pub(super) trusted_until: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAuthority {
    /// PEM.
    pub(super) certificate: String,
    /// PEM.
    pub(super) key: String,
}

impl Drop for StoredAuthority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl StoredAuthority {
    /// A new one.
    pub(super) fn make(cluster_id: &str, now: Timestamp) -> Result<Self, IssueError> {
        let (key, certificate) = SigningAuthority::make(cluster_id, now)?;
        Ok(Self { certificate, key })
    }

    /// One that was read before.
    pub(super) fn again(authority: &SigningAuthority) -> Self {
        Self { certificate: authority.pem().to_owned(), key: authority.key_pem() }
    }
}

impl Stored {
    pub(super) fn of(cluster_id: &str, active: StoredAuthority, previous: Option<StoredPrevious>) -> Self {
        Self { version: VERSION, cluster_id: cluster_id.to_owned(), active, previous }
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Strings and numbers alone: encoding them cannot fail.
        let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(self).unwrap_or_default());
        bytes.push(b'\n');
        bytes
    }

    /// The version of a file, which says whether the rest can be decoded.
    pub(super) fn version(bytes: &[u8]) -> Result<u32, serde_json::Error> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        serde_json::from_slice::<Versioned>(bytes).map(|file| file.version)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
