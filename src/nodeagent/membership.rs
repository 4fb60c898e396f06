//! What this host remembers of its last join: where its controller is and what it was told to be. No secret is in it.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::Heard;
use crate::providers::files;

/// The outcome of the last join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub version: u32,
    /// As it was given: `10.0.0.1:7000`.
    pub master: String,
    pub cluster_id: String,
    pub hostname: String,
    pub address: String,
    pub role: String,
    /// Its id in the Swarm: by this it knows its own place there again. Empty where an older version wrote the file.
    #[serde(default)]
    pub swarm_node_id: String,
    /// Empty where this host takes no part in the shared volume.
    pub volume: String,
    pub mount: String,
    pub brick: String,
    /// The controller's history, and how far it had come when it was last heard (see [`super::history`]).
    #[serde(default)]
    pub incarnation: String,
    #[serde(default)]
    pub revision: u64,
}

impl Membership {
    /// How far the controller had come; `None` if that was not remembered.
    #[must_use]
    pub fn heard(&self) -> Option<Heard> {
        let (cluster_id, incarnation) = (self.cluster_id.clone(), self.incarnation.clone());
        (self.revision > 0).then_some(Heard { cluster_id, incarnation, revision: self.revision })
    }
}

/// The version that this program writes.
pub const VERSION: u32 = 1;
const FILE: &str = "membership.json";
const MAX_BYTES: u64 = 64 * 1024;

/// Reads what `directory` remembers; `None` if this host never joined.
///
/// # Errors
/// If it cannot be read, or was written by a newer program.
pub fn load(directory: &Path) -> io::Result<Option<Membership>> {
    let path = directory.join(FILE);
    let bytes = match files::read_limited(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let membership: Membership = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    if membership.version > VERSION {
        return Err(bad(format!("version {} is newer than this program", membership.version)));
    }
    Ok(Some(membership))
}

/// Remembers `membership`.
///
/// # Errors
/// If it cannot be written.
pub fn store(directory: &Path, membership: &Membership) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(membership).map_err(io::Error::other)?;
    files::create_dir_private(directory)?;
    files::write_if_different(&directory.join(FILE), &bytes, 0o600).map(drop)
}

/// Forgets it: this host has left.
///
/// # Errors
/// If the file cannot be removed.
pub fn forget(directory: &Path) -> io::Result<()> {
    files::remove_file(&directory.join(FILE)).map(drop)
}

/// Keeps other joins of this host out for as long as it lives.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "the lock lives as long as the open file")] std::fs::File);

/// Takes this host's turn; `None` if another process has it.
///
/// # Errors
/// If the lock file cannot be made.
pub fn take_turn(directory: &Path) -> io::Result<Option<Turn>> {
    files::create_dir_private(directory)?;
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Turn(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_and_forgets() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let membership = Membership {
            version: VERSION,
            master: "10.0.0.1:7000".into(),
            cluster_id: "c".into(),
            hostname: "h".into(),
            address: "10.0.0.2".into(),
            role: "worker".into(),
            swarm_node_id: "7qcv".into(),
            volume: String::new(),
            mount: String::new(),
            brick: String::new(),
            incarnation: String::new(),
            revision: 7,
        };
        store(dir.path(), &membership).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(membership.clone()));
        store(dir.path(), &Membership { version: 9, ..membership }).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("newer"));
        forget(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
    }

    /// N18.
    #[test]
    fn one_join_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = take_turn(dir.path()).unwrap();
        assert!(first.is_some() && take_turn(dir.path()).unwrap().is_none());
        drop(first);
        assert!(take_turn(dir.path()).unwrap().is_some());
    }
}
