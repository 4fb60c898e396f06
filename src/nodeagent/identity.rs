//! Who this host is: a key, made at the first join and kept, from which its node id follows. Names and addresses may
//! change; the key is the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData};

use crate::cluster::{KeyFingerprint, NodeId};
use crate::failpoint;
use crate::pki::{ClientIdentity, CredentialsError};
use crate::providers::files;

/// This host's identity.
#[derive(Clone)]
pub struct NodeIdentity {
    pub node_id: NodeId,
    key: Arc<KeyPair>,
}

impl std::fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeIdentity").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// The key is the node: whoever has the same one is the same.
impl PartialEq for NodeIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.key.public_key_raw() == other.key.public_key_raw()
    }
}

impl Eq for NodeIdentity {}

impl NodeIdentity {
    /// The identity that belongs to a key.
    #[must_use]
    pub fn of_key(key: KeyPair) -> Self {
        Self { node_id: NodeId::of_public_key(&key.subject_public_key_info()), key: Arc::new(key) }
    }

    /// The fingerprint of the key, for an administrator to compare.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of_public_key(&self.key.subject_public_key_info())
    }

    /// What this host shows on TLS: the cluster's certificate (PEM) if it has one, else the key alone.
    ///
    /// # Errors
    /// If the certificate is damaged or another key's.
    pub fn credentials(&self, certificate: Option<&str>) -> Result<ClientIdentity, CredentialsError> {
        match certificate {
            Some(certificate) => ClientIdentity::certified(&self.key, certificate),
            None => ClientIdentity::self_signed(&self.key),
        }
    }
}

/// Why the identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the node's key {path} cannot be read or written")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is kept as it is: another key would make this another node.
    #[error("the node's key {path} is damaged")]
    Damaged {
        path: PathBuf,
        #[source]
        source: rcgen::Error,
    },
    #[error("no key could be made")]
    Make(#[source] rcgen::Error),
}

const KEY_FILE: &str = "node.key";
/// Far more than a key takes.
const MAX_KEY_BYTES: u64 = 16 * 1024;

/// Reads the key in `directory`, or makes one.
///
/// # Errors
/// If it cannot be read, is damaged, or cannot be written. A damaged key is never replaced.
pub fn load_or_create(directory: &Path) -> Result<NodeIdentity, IdentityError> {
    let path = directory.join(KEY_FILE);
    let failed = |source| IdentityError::Io { path: path.clone(), source };
    if let Some(identity) = load(directory)? {
        return Ok(identity);
    }
    let key = KeyPair::generate().map_err(IdentityError::Make)?;
    files::create_dir_private(directory).map_err(failed)?;
    // Controller and node of one host may come here at the same moment: the first key stays, and both take it.
    let created = files::create_new(&path, key.serialize_pem().as_bytes(), 0o600).map_err(failed)?;
    failpoint::pass_blocking("J1").map_err(failed)?;
    if created {
        return Ok(NodeIdentity::of_key(key));
    }
    load(directory)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

/// Reads the key in `directory`; `None` if the host never joined.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn load(directory: &Path) -> Result<Option<NodeIdentity>, IdentityError> {
    let path = directory.join(KEY_FILE);
    let bytes = match files::read_limited(&path, MAX_KEY_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let key = KeyPair::from_pem(&String::from_utf8_lossy(&bytes))
        .map_err(|source| IdentityError::Damaged { path, source })?;
    Ok(Some(NodeIdentity::of_key(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("node");
        assert_eq!(load(&home).unwrap(), None);
        let first = load_or_create(&home).unwrap();
        assert_eq!(load_or_create(&home).unwrap(), first);
        let mode = std::fs::metadata(home.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn many_that_make_it_at_once_get_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<NodeIdentity> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create(dir.path()).unwrap())).collect();
            made.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|identity| *identity == all[0]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(KEY_FILE), "rubbish").unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Damaged { .. })));
        assert_eq!(std::fs::read_to_string(dir.path().join(KEY_FILE)).unwrap(), "rubbish");
    }
}
