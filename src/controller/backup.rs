//! The file of a backup: the rows of the state and the cluster's CA, as one text with a digest at its end. Pure.
//!
//! The CA's private key is in it, so that it is as secret as the state directory. The digest is against damage, not
//! against forgery: who can write the file can also write its digest.
//!
//! ```text
//! {"Format":"clusterctl-backup","Version":1,"Made":"2026-01-02T03:04:05Z","ClusterId":"...","Authority":"..."}
//! cluster AmNsdXN0ZXI=
//! node/k3x5q7ab... AmszeDU=
//! sha256 6cf0f4a4...
//! ```

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::cluster::Secret;

const FORMAT: &str = "clusterctl-backup";
/// The version that this program writes. The rows have versions of their own.
const VERSION: u32 = 1;
/// What the last line begins with.
const DIGEST: &str = "sha256 ";

/// A backup, taken apart.
#[derive(Debug, Clone)]
pub struct Backup {
    pub made: Timestamp,
    pub cluster_id: String,
    /// The last command that is in the rows.
    pub sequence: u64,
    /// The content of the CA's file; it holds private keys.
    pub authority: Secret,
    /// The state, each row with its key.
    pub rows: Vec<(String, Vec<u8>)>,
}

/// Why a file cannot be restored. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    #[error("it is no backup of clusterctl")]
    Foreign,
    #[error("it has version {0}, which is newer than this program")]
    Newer(u32),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Header {
    format: String,
    version: u32,
    made: Timestamp,
    cluster_id: String,
    sequence: u64,
    rows: u64,
    authority: String,
}

/// What tells whether the rest can be decoded.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kind {
    format: String,
    version: u32,
}

impl Backup {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            made: self.made,
            cluster_id: self.cluster_id.clone(),
            sequence: self.sequence,
            rows: self.rows.len() as u64,
            authority: self.authority.reveal().to_owned(),
        };
        // Strings and numbers alone: encoding them cannot fail.
        let mut bytes = Zeroizing::new(serde_json::to_vec(&header).unwrap_or_default());
        bytes.push(b'\n');
        for (key, record) in &self.rows {
            bytes.extend_from_slice(format!("{key} {}\n", BASE64.encode(record)).as_bytes());
        }
        let digest = HEXLOWER.encode(&Sha256::digest(&*bytes));
        bytes.extend_from_slice(format!("{DIGEST}{digest}\n").as_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::Damaged(what.to_owned());
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let kind: Kind = serde_json::from_slice(first).map_err(|_| BackupError::Foreign)?;
        if kind.format != FORMAT {
            return Err(BackupError::Foreign);
        }
        if kind.version > VERSION {
            return Err(BackupError::Newer(kind.version));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let body = text.strip_suffix('\n').ok_or_else(|| damaged("its end is missing"))?;
        let (body, last) = body.rsplit_once('\n').ok_or_else(|| damaged("its end is missing"))?;
        let expected = last.strip_prefix(DIGEST).ok_or_else(|| damaged("its end is missing"))?;
        let found = HEXLOWER.encode(&Sha256::new().chain_update(body).chain_update("\n").finalize());
        if found != expected {
            return Err(damaged("its digest does not match"));
        }
        let header: Header = serde_json::from_slice(first).map_err(|error| BackupError::Damaged(error.to_string()))?;
        let row = |line: &str| {
            let (key, record) = line.split_once(' ')?;
            Some((key.to_owned(), BASE64.decode(record.as_bytes()).ok()?))
        };
        let rows: Option<Vec<(String, Vec<u8>)>> = body.lines().skip(1).map(row).collect();
        let rows = rows.ok_or_else(|| damaged("a row cannot be decoded"))?;
        if rows.len() as u64 != header.rows {
            return Err(damaged("rows are missing"));
        }
        Ok(Self {
            made: header.made,
            cluster_id: header.cluster_id,
            sequence: header.sequence,
            authority: Secret::new(header.authority),
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup {
            made: Timestamp::from_second(1_767_323_045).unwrap(),
            cluster_id: "c0ffee".into(),
            sequence: 41,
            authority: Secret::new("canary\n".to_owned()),
            rows: vec![("cluster".into(), vec![3, 0, 255]), ("node/a".into(), Vec::new())],
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = backup().encode();
        let read = Backup::decode(&bytes).unwrap();
        assert_eq!((read.made, read.cluster_id.as_str(), read.sequence), (backup().made, "c0ffee", 41));
        assert_eq!((read.rows, read.authority.reveal()), (backup().rows, "canary\n"));
        assert!(!format!("{:?}", backup()).contains("canary"));
    }

    /// Every flipped bit and every cut is an error, and never another state.
    #[test]
    fn finds_damage_wherever_it_is() {
        let bytes = backup().encode();
        for at in 0..bytes.len() {
            assert!(Backup::decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            assert!(Backup::decode(&flipped).is_err(), "byte {at}");
        }
    }

    #[test]
    fn tells_foreign_and_newer_files_apart() {
        for foreign in [&b""[..], b"{}", b"\0\0", b"{\"Format\":\"x\",\"Version\":1}\n"] {
            assert_eq!(Backup::decode(foreign).unwrap_err(), BackupError::Foreign);
        }
        let newer = b"{\"Format\":\"clusterctl-backup\",\"Version\":2,\"Other\":1}\n";
        assert_eq!(Backup::decode(newer).unwrap_err(), BackupError::Newer(2));
    }
}
