//! What this host keeps of its cluster beside its key: the CAs that it takes for its controller's, and the certificate
//! that it was given. Neither is secret, and both are for root alone all the same.
//!
//! The CAs are kept as fingerprints: a controller shows the certificate itself in every handshake.

use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::KeyFingerprint;
use crate::providers::files;

/// One fingerprint a line, the one to ask for first.
const AUTHORITIES: &str = "authorities";
/// PEM.
const CERTIFICATE: &str = "node.crt";
/// Far more than either takes.
const MAX_BYTES: u64 = 64 * 1024;

/// The files, below the node's own directory.
#[derive(Debug, Clone)]
pub struct Keyring {
    directory: PathBuf,
}

/// Why what is kept cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("{} cannot be read or written", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is left as it is: without it, anybody who answers would be believed.
    #[error("{} is damaged: it has one fingerprint a line, and `{line}` is none", .path.display())]
    Damaged { path: PathBuf, line: String },
}

impl Keyring {
    /// The keyring in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The CAs that this host trusts; none if it never spoke to a controller.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn authorities(&self) -> Result<Vec<KeyFingerprint>, KeyringError> {
        let path = self.directory.join(AUTHORITIES);
        let Some(text) = read(&path)? else { return Ok(Vec::new()) };
        let parse = |line: &str| {
            let damaged = || KeyringError::Damaged { path: path.clone(), line: line.chars().take(80).collect() };
            KeyFingerprint::parse(line).map_err(|_| damaged())
        };
        text.lines().map(parse).collect()
    }

    /// Trusts these CAs and no others.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn trust(&self, authorities: &[KeyFingerprint]) -> Result<(), KeyringError> {
        let text: String = authorities.iter().map(|authority| format!("{authority}\n")).collect();
        self.write(AUTHORITIES, &text)
    }

    /// The certificate that the cluster gave this host; `None` if it has none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn certificate(&self) -> Result<Option<String>, KeyringError> {
        read(&self.directory.join(CERTIFICATE))
    }

    /// Keeps a certificate, in the place of an older one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep_certificate(&self, pem: &str) -> Result<(), KeyringError> {
        self.write(CERTIFICATE, pem)
    }

    /// Forgets both: the host has left.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn forget(&self) -> Result<(), KeyringError> {
        for name in [CERTIFICATE, AUTHORITIES] {
            let path = self.directory.join(name);
            files::remove_file(&path).map_err(|source| KeyringError::Io { path, source })?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), KeyringError> {
        let path = self.directory.join(name);
        let written = files::create_dir_private(&self.directory)
            .and_then(|()| files::write_if_different(&path, text.as_bytes(), 0o600));
        written.map(drop).map_err(|source| KeyringError::Io { path, source })
    }
}

fn read(path: &Path) -> Result<Option<String>, KeyringError> {
    match files::read_limited(path, MAX_BYTES) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyringError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_forgets() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::at(&dir.path().join("node"));
        assert!(keyring.authorities().unwrap().is_empty() && keyring.certificate().unwrap().is_none());
        let pins = [KeyFingerprint::of_public_key(b"new"), KeyFingerprint::of_public_key(b"old")];
        keyring.trust(&pins).unwrap();
        keyring.keep_certificate("PEM").unwrap();
        assert_eq!(keyring.authorities().unwrap(), pins);
        assert_eq!(keyring.certificate().unwrap().as_deref(), Some("PEM"));
        for name in [AUTHORITIES, CERTIFICATE] {
            let mode = std::fs::metadata(dir.path().join("node").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        keyring.forget().unwrap();
        keyring.forget().unwrap();
        assert!(keyring.authorities().unwrap().is_empty() && keyring.certificate().unwrap().is_none());
    }

    #[test]
    fn damage_is_not_taken_for_no_trust_yet() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(AUTHORITIES), "rubbish\n").unwrap();
        assert!(matches!(Keyring::at(dir.path()).authorities(), Err(KeyringError::Damaged { .. })));
    }
}
