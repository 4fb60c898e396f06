//! The servers that this host's glusterd has been made a peer of, as glusterd keeps them on disk.
//!
//! A glusterd that belongs to no pool takes part in the first one that probes it, whoever probes. Reading the files costs
//! nothing and also works while glusterd is down.

use std::io;
use std::path::{Path, PathBuf};

use crate::providers::files;

/// Where Debian's glusterd keeps them.
pub const PEERS_DIR: &str = "/var/lib/glusterd/peers";

/// Far more than a peer's file takes.
const MAX_BYTES: u64 = 16 * 1024;

/// glusterd's directory of peers.
#[derive(Debug, Clone)]
pub struct PeersDirectory(PathBuf);

impl PeersDirectory {
    /// The directory at `path`, normally [`PEERS_DIR`].
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The peers, each by the name or address that glusterd knows it by, sorted. None if glusterd was never here.
    ///
    /// # Errors
    /// If the directory or a file in it cannot be read.
    pub fn peers(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut peers = Vec::new();
        for entry in entries {
            match name_in(&entry?.path()) {
                Ok(name) => peers.push(name),
                // glusterd replaces its files while it works.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        peers.sort();
        Ok(peers)
    }
}

/// The peer's name out of its file, glusterd 10.3, else the file's own name, which is the peer's id:
///
/// ```text
/// uuid=6cf0f4a4-1d4f-4ac1-a4b6-1f3f8a4a4b0f
/// state=3
/// hostname1=10.203.77.12
/// ```
fn name_in(file: &Path) -> io::Result<String> {
    let text = String::from_utf8_lossy(&files::read_limited(file, MAX_BYTES)?).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("hostname1=")).map(str::trim);
    let id = || file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(name.filter(|name| !name.is_empty()).map_or_else(id, str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_the_peers_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let peers = PeersDirectory::at(dir.path().join("peers"));
        assert!(peers.peers().unwrap().is_empty());
        std::fs::create_dir(dir.path().join("peers")).unwrap();
        assert!(peers.peers().unwrap().is_empty());
        std::fs::write(dir.path().join("peers/b-2"), "uuid=b-2\nstate=3\nhostname1=10.203.77.12\n").unwrap();
        std::fs::write(dir.path().join("peers/a-1"), "uuid=a-1\n").unwrap();
        assert_eq!(peers.peers().unwrap(), ["10.203.77.12", "a-1"]);
    }
}
