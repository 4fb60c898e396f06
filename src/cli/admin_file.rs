//! The file that makes somebody an administrator from afar: a key, its certificate, the cluster's CAs and where the
//! controller is. Whoever can read it administers the cluster, so that it is made for its owner alone (0600) and never
//! in the place of another file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cluster::Secret;
use crate::config::{MasterAddress, MasterAddressError};
use crate::providers::files;

/// The version that this program writes.
const VERSION: u32 = 1;
/// A key, a certificate and a few CAs take some 4 KiB.
const MAX_BYTES: u64 = 256 * 1024;

/// An administrator's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminFile {
    pub(super) name: String,
    pub(super) controller: MasterAddress,
    /// PEM, PKCS #8.
    pub(super) private_key: Secret,
    /// PEM.
    pub(super) certificate: String,
    /// PEM, the CA in use first.
    pub(super) authorities: String,
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    version: u32,
    name: Cow<'a, str>,
    controller: Cow<'a, str>,
    private_key: Cow<'a, str>,
    certificate: Cow<'a, str>,
    authorities: Cow<'a, str>,
}

/// Only looked at to tell a newer file from a damaged one.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a file makes nobody an administrator.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminFileError {
    #[error("the administrator's file `{path}` cannot be read")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is not an administrator's file, or damaged")]
    Damaged { path: PathBuf },
    #[error("the administrator's file `{path}` is of version {version}, which this program does not know")]
    NewerVersion { path: PathBuf, version: u32 },
    #[error("the administrator's file `{path}` names no controller")]
    Controller {
        path: PathBuf,
        #[source]
        source: MasterAddressError,
    },
}

/// Reads an administrator's file; says so where others can read it too.
///
/// # Errors
/// If it cannot be read or is none. No error repeats what is in it.
pub(super) fn read(path: &Path) -> Result<AdminFile, AdminFileError> {
    let io = |source| AdminFileError::Io { path: path.to_owned(), source };
    let bytes = Zeroizing::new(files::read_limited(path, MAX_BYTES).map_err(io)?);
    if others_can_read(path) {
        tracing::warn!("`{0}` is an administrator's key and others can read it: `chmod 600 {0}`", path.display());
    }
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<AdminFile, AdminFileError> {
    let damaged = || AdminFileError::Damaged { path: path.to_owned() };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    if version > VERSION {
        return Err(AdminFileError::NewerVersion { path: path.to_owned(), version });
    }
    let record: Record<'_> = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let controller = MasterAddress::parse(&record.controller)
        .map_err(|source| AdminFileError::Controller { path: path.to_owned(), source })?;
    Ok(AdminFile {
        name: record.name.into_owned(),
        controller,
        private_key: Secret::new(record.private_key),
        certificate: record.certificate.into_owned(),
        authorities: record.authorities.into_owned(),
    })
}

/// Whether a regular file can be read by others than its owner.
pub(super) fn others_can_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0)
}

impl AdminFile {
    fn render(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let record = Record {
            version: VERSION,
            name: self.name.as_str().into(),
            controller: self.controller.to_string().into(),
            private_key: self.private_key.reveal().into(),
            certificate: self.certificate.as_str().into(),
            authorities: self.authorities.as_str().into(),
        };
        let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(&record).map_err(io::Error::other)?);
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// A file that was made, empty, for an administrator's key. It goes again unless it is filled, so that nobody is asked
/// for a certificate that could not be kept.
#[derive(Debug)]
pub(super) struct Reserved {
    path: PathBuf,
    file: Option<File>,
}

impl Reserved {
    /// Makes the file, for its owner alone.
    ///
    /// # Errors
    /// If something of that name is there, which stays as it is, or on input and output.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    /// Writes the credentials, durably.
    ///
    /// # Errors
    /// On input and output; then the file goes.
    pub(super) fn fill(mut self, admin: &AdminFile) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            let written = admin.render().and_then(|bytes| file.write_all(&bytes)).and_then(|()| file.sync_all());
            if written.is_err() {
                self.file = Some(file);
            }
            written?;
        }
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.file.is_some()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("the empty file `{}` could not be removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin() -> AdminFile {
        AdminFile {
            name: "alice".to_owned(),
            controller: MasterAddress::parse("10.0.0.1:7000").unwrap(),
            private_key: Secret::new("-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"),
            certificate: "certificate".to_owned(),
            authorities: "authorities".to_owned(),
        }
    }

    /// T15: for its owner alone, and shown by nothing.
    #[test]
    fn is_written_for_its_owner_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        Reserved::at(&path).unwrap().fill(&admin()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!others_can_read(&path));
        let read = read(&path).unwrap();
        assert_eq!(read, admin());
        assert!(!format!("{read:?}").contains("hush"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(others_can_read(&path));
    }

    #[test]
    fn nothing_is_written_over_and_nothing_empty_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.json");
        drop(Reserved::at(&path).unwrap());
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(Reserved::at(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn says_what_is_wrong_without_repeating_it() {
        let path = Path::new("x.json");
        let fresh = String::from_utf8(admin().render().unwrap().to_vec()).unwrap();
        for (text, words) in [
            ("hush", "not an administrator's file"),
            ("{}", "not an administrator's file"),
            (&fresh.replace("\"name\"", "\"nome\""), "not an administrator's file"),
            (&fresh.replace("\"version\": 1", "\"version\": 7"), "version 7"),
            (&fresh.replace("10.0.0.1:7000", "0.0.0.0"), "names no controller"),
        ] {
            let error = parse(path, text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}
