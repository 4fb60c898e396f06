//! The cluster's CA as the controller holds it: the active one, and while it is being replaced the one before.
//!
//! All of it lies in one file, so that it changes in one step; the file holds the keys and is its owner's alone. It is
//! never replaced for being damaged: with another CA no node would know its controller any more.
//!
//! The surprising part: the controller's own certificate is nowhere on disk. It is made when the first client asks,
//! and again when two thirds of its life have passed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use self::stored::{Stored, StoredAuthority, StoredPrevious};
use super::chain::{self, is_client_of};
use super::issue::{IssueError, Issued, PairError, SigningAuthority};
use super::lifetime::{Lifetime, later};
use super::names::check_admin_name;
use crate::cluster::{KeyFingerprint, Proof, ProvenKey, Role, Secret, Subject};
use crate::providers::files;

mod stored;

const FILE: &str = "authority.json";
/// Two CAs take 3 KiB.
const MAX_BYTES: u64 = 64 * 1024;

/// Why the cluster's CA cannot be had. It was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the cluster's CA `{}` cannot be read or written", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the cluster's CA `{}` is damaged", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: DamageError,
    },
    #[error("the cluster's CA `{}` was written by a newer version of this program (version {version} of the file)", path.display())]
    Newer { path: PathBuf, version: u32 },
    #[error("the CA `{}` is of the cluster {found}, and the state of {expected}", path.display())]
    OtherCluster { path: PathBuf, found: String, expected: String },
    #[error("the CA is being replaced already: the one before is trusted until {until}")]
    RotationUnderWay { until: Timestamp },
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum DamageError {
    #[error("it cannot be decoded")]
    Json(#[source] serde_json::Error),
    #[error("the {which} CA in it is none")]
    Pair {
        which: &'static str,
        #[source]
        source: PairError,
    },
}

/// The cluster's CA. One for each controller, shared; what is in it can be replaced while it is used.
#[derive(Debug)]
pub struct Authority {
    path: PathBuf,
    cluster_id: String,
    current: RwLock<Arc<Current>>,
    /// Held while the file changes.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    active: Arc<Signer>,
    previous: Option<Previous>,
}

#[derive(Debug, Clone)]
struct Previous {
    signer: Arc<Signer>,
    trusted_until: Timestamp,
}

impl Current {
    /// The one before, as long as it is trusted.
    fn previous(&self, now: Timestamp) -> Option<&Previous> {
        self.previous.as_ref().filter(|previous| now < previous.trusted_until)
    }

    /// Who of those that are trusted has signed a client's certificate, given by its digest too.
    fn signer_of(&self, read: &EndEntityCert<'_>, digest: [u8; 32], now: Timestamp) -> Option<chain::SignedBy> {
        if self.active.has_signed(read, digest) {
            return Some(chain::SignedBy::Active);
        }
        let previous = self.previous(now).filter(|previous| previous.signer.has_signed(read, digest));
        previous.map(|_| chain::SignedBy::Replaced)
    }
}

/// A CA and the controller's certificate of it.
struct Signer {
    authority: SigningAuthority,
    server: Mutex<Option<(Arc<CertifiedKey>, Lifetime)>>,
    /// Digests of clients' certificates whose signature was verified, which is a third of what a node's exchange costs.
    /// Whole certificates, so that nothing else passes for one; only those that this CA did sign, so that strangers
    /// cannot fill it.
    verified: Mutex<HashSet<[u8; 32]>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// How many certificates are remembered as verified; then it begins anew. 3 MiB.
pub const MAX_VERIFIED: usize = 64 * 1024;

/// What `master cert show` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub active: AuthorityDescription,
    /// The one that it replaces, as long as that is trusted.
    pub previous: Option<(AuthorityDescription, Timestamp)>,
    /// The end of the controller's own certificate; `None` until a client has asked for it.
    pub server_not_after: Option<Timestamp>,
    /// Clients' certificates that are remembered as verified; at most [`MAX_VERIFIED`] for each CA.
    pub verified: usize,
}

/// One CA of a [`Description`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityDescription {
    pub fingerprint: KeyFingerprint,
    pub lifetime: Lifetime,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub active: KeyFingerprint,
    pub previous: KeyFingerprint,
    pub trusted_until: Timestamp,
}

impl Authority {
    /// Reads the CA in `directory`; `None` if there is none. Blocks.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn load(directory: &Path) -> Result<Option<Self>, AuthorityError> {
        let path = directory.join(FILE);
        let bytes = match files::read_limited(&path, MAX_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AuthorityError::Io { path, source }),
        };
        let damaged = |source| AuthorityError::Damaged { path: path.clone(), source };
        let undecodable = |error| damaged(DamageError::Json(error));
        let version = Stored::version(&bytes).map_err(undecodable)?;
        if version > stored::VERSION {
            return Err(AuthorityError::Newer { path, version });
        }
        let stored = Stored::decode(&bytes).map_err(undecodable)?;
        let signer = |which, stored: &StoredAuthority| {
            Signer::read(stored).map_err(|source| damaged(DamageError::Pair { which, source }))
        };
        let active = signer("active", &stored.active)?;
        let previous = match &stored.previous {
            Some(previous) => Some(Previous {
                signer: signer("previous", &previous.authority)?,
                trusted_until: previous.trusted_until,
            }),
            None => None,
        };
        let cluster_id = stored.cluster_id.clone();
        let current = RwLock::new(Arc::new(Current { active, previous }));
        Ok(Some(Self { path, cluster_id, current, changing: Mutex::new(()) }))
    }

    /// Reads the CA in `directory`, or makes one for the cluster. Of several that do so at the same moment one makes
    /// it, and all have it. Blocks.
    ///
    /// # Errors
    /// If it cannot be read or written, is damaged, or is another cluster's.
    pub fn create(directory: &Path, cluster_id: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let found = match Self::load(directory)? {
            Some(found) => found,
            None => {
                let stored = Stored::of(cluster_id, StoredAuthority::make(cluster_id, now)?, None);
                let path = directory.join(FILE);
                let failed = |source| AuthorityError::Io { path: path.clone(), source };
                files::create_dir_private(directory).map_err(failed)?;
                // Whether it was this one or another's, what is there now counts.
                files::create_new(&path, &stored.encode(), 0o600).map_err(failed)?;
                Self::load(directory)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?
            }
        };
        if found.cluster_id == cluster_id {
            Ok(found)
        } else {
            Err(AuthorityError::OtherCluster {
                path: found.path,
                found: found.cluster_id,
                expected: cluster_id.to_owned(),
            })
        }
    }

    /// The content of the CA's file, for a backup. Blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn copy_out(directory: &Path) -> Result<Secret, AuthorityError> {
        let path = directory.join(FILE);
        let bytes = match files::read_limited(&path, MAX_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(source) => return Err(AuthorityError::Io { path, source }),
        };
        // It is JSON; what is not would be refused when it is put back.
        Ok(Secret::new(String::from_utf8_lossy(&bytes)))
    }

    /// Makes the CA's file out of what [`copy_out`](Self::copy_out) read. Blocks.
    ///
    /// # Errors
    /// If it cannot be written, or there is one.
    pub fn put_back(directory: &Path, content: &Secret) -> Result<(), AuthorityError> {
        let path = directory.join(FILE);
        let made = files::create_dir_private(directory)
            .and_then(|()| files::create_new(&path, content.reveal().as_bytes(), 0o600));
        match made {
            Ok(true) => Ok(()),
            Ok(false) => Err(AuthorityError::Io { path, source: std::io::ErrorKind::AlreadyExists.into() }),
            Err(source) => Err(AuthorityError::Io { path, source }),
        }
    }

    /// The cluster that certificates are for.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The fingerprint of the active CA: what tokens carry and nodes pin.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.current().active.authority.fingerprint
    }

    /// The certificates of the CAs that are trusted (PEM), the active one first.
    #[must_use]
    pub fn bundle_pem(&self, now: Timestamp) -> String {
        let current = self.current();
        let mut bundle = current.active.authority.pem().to_owned();
        if let Some(previous) = current.previous(now) {
            bundle.push_str(previous.signer.authority.pem());
        }
        bundle
    }

    /// Certifies a node that was admitted with this role.
    ///
    /// # Errors
    /// If the key is of a kind that gets no certificate, or the CA has ended.
    pub fn issue_node(&self, key: &ProvenKey, role: Role, now: Timestamp) -> Result<Issued, IssueError> {
        self.issue(key, &Subject::Node { id: key.node_id.clone(), role }, now)
    }

    /// Certifies an administrator.
    ///
    /// # Errors
    /// The same, and if the name cannot be one.
    pub fn issue_admin(&self, key: &ProvenKey, name: &str, now: Timestamp) -> Result<Issued, IssueError> {
        check_admin_name(name)?;
        self.issue(key, &Subject::Admin { name: name.to_owned() }, now)
    }

    fn issue(&self, key: &ProvenKey, subject: &Subject, now: Timestamp) -> Result<Issued, IssueError> {
        self.current().active.authority.certify(key, &self.cluster_id, subject, now)
    }

    /// The controller's certificate of the CA that the client asks for, or of the active one.
    ///
    /// # Errors
    /// If a new one is due and cannot be made.
    pub fn server_certificate(
        &self,
        asked: Option<KeyFingerprint>,
        now: Timestamp,
    ) -> Result<Arc<CertifiedKey>, IssueError> {
        let current = self.current();
        let previous = current.previous(now).filter(|previous| asked == Some(previous.signer.authority.fingerprint));
        previous.map_or(&current.active, |previous| &previous.signer).server_certificate(&self.cluster_id, now)
    }

    /// What a client has proved that showed this certificate. See [`chain::judge_client`].
    #[must_use]
    pub fn judge_client(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> Option<Proof> {
        let current = self.current();
        chain::judge_client(certificate, &self.cluster_id, now, |read| {
            current.signer_of(read, Sha256::digest(certificate).into(), now)
        })
    }

    /// Replaces the CA. The one before stays trusted for `overlap`, so that every node gets a certificate of the new
    /// one meanwhile; with no overlap all certificates end now. It counts once it is on disk. Blocks.
    ///
    /// # Errors
    /// If it cannot be written, or another replacement is under way: without an overlap that is ended.
    pub fn rotate(&self, overlap: SignedDuration, now: Timestamp) -> Result<Rotated, AuthorityError> {
        let _changing = guard(&self.changing);
        let old = self.current();
        if let Some(running) = old.previous(now)
            && overlap.is_positive()
        {
            return Err(AuthorityError::RotationUnderWay { until: running.trusted_until });
        }
        let trusted_until = later(now, overlap.max(SignedDuration::ZERO));
        let active = StoredAuthority::make(&self.cluster_id, now)?;
        let previous = overlap
            .is_positive()
            .then(|| StoredPrevious { authority: StoredAuthority::again(&old.active.authority), trusted_until });
        let stored = Stored::of(&self.cluster_id, active, previous);
        let signer = Signer::read(&stored.active).map_err(|source| AuthorityError::Damaged {
            path: self.path.clone(),
            source: DamageError::Pair { which: "new", source },
        })?;
        let written = files::write_if_different(&self.path, &stored.encode(), 0o600);
        written.map_err(|source| AuthorityError::Io { path: self.path.clone(), source })?;
        let rotated =
            Rotated { active: signer.authority.fingerprint, previous: old.active.authority.fingerprint, trusted_until };
        let previous = stored.previous.is_some().then(|| Previous { signer: Arc::clone(&old.active), trusted_until });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Current { active: signer, previous });
        Ok(rotated)
    }

    /// What there is and until when it holds.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> Description {
        let current = self.current();
        let one = |signer: &Signer| AuthorityDescription {
            fingerprint: signer.authority.fingerprint,
            lifetime: signer.authority.lifetime,
        };
        Description {
            active: one(&current.active),
            previous: current.previous(now).map(|previous| (one(&previous.signer), previous.trusted_until)),
            server_not_after: guard(&current.active.server).as_ref().map(|(_, lifetime)| lifetime.not_after),
            verified: guard(&current.active.verified).len()
                + current.previous(now).map_or(0, |previous| guard(&previous.signer.verified).len()),
        }
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Signer {
    fn read(stored: &StoredAuthority) -> Result<Arc<Self>, PairError> {
        let authority = SigningAuthority::read(&stored.key, &stored.certificate)?;
        Ok(Arc::new(Self { authority, server: Mutex::new(None), verified: Mutex::default() }))
    }

    fn has_signed(&self, read: &EndEntityCert<'_>, digest: [u8; 32]) -> bool {
        if guard(&self.verified).contains(&digest) {
            return true;
        }
        let signed = is_client_of(read, self.authority.anchor());
        if signed {
            let mut verified = guard(&self.verified);
            if verified.len() >= MAX_VERIFIED {
                verified.clear();
            }
            verified.insert(digest);
        }
        signed
    }

    fn server_certificate(&self, cluster_id: &str, now: Timestamp) -> Result<Arc<CertifiedKey>, IssueError> {
        let mut server = guard(&self.server);
        if let Some((key, lifetime)) = &*server
            && lifetime.holds(now)
            && (now < lifetime.renewal() || lifetime.not_after == self.authority.lifetime.not_after)
        {
            return Ok(Arc::clone(key));
        }
        let (key, lifetime) = self.authority.server_certificate(cluster_id, now)?;
        let key = Arc::new(key);
        *server = Some((Arc::clone(&key), lifetime));
        Ok(key)
    }
}

fn guard<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
