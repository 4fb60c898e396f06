//! A certificate authority without cryptography: its certificates are lines that say whom they are for. It remembers
//! what it issued, and can be told to fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clusterctl::cluster::{KeyFingerprint, ProvenKey, Role};
use clusterctl::controller::certificates::{
    AdminCertificate, AuthoritiesView, AuthorityView, CertificateError, CertificateIssuer, RotationError,
};
use jiff::{SignedDuration, Timestamp};

/// How long certificates are valid, and how long a replaced CA is trusted.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);
const OVERLAP: SignedDuration = SignedDuration::from_hours(24 * 30);

#[derive(Debug)]
pub(crate) struct FakeAuthority {
    /// CAs and until when they are trusted, the active one first.
    authorities: Mutex<Vec<(KeyFingerprint, Option<Timestamp>)>>,
    issued: Mutex<Vec<String>>,
    failing: AtomicBool,
}

impl FakeAuthority {
    pub(crate) fn new() -> Self {
        let first = KeyFingerprint::of_public_key(b"CA 1");
        Self { authorities: Mutex::new(vec![(first, None)]), issued: Mutex::default(), failing: AtomicBool::new(false) }
    }

    /// Every certificate that was issued.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.issued.lock().unwrap().clone()
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn issue(&self, line: String) -> Result<String, CertificateError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(CertificateError("the disk is full".into()));
        }
        self.issued.lock().unwrap().push(line.clone());
        Ok(line)
    }

    fn trusted(&self, now: Timestamp) -> Vec<(KeyFingerprint, Option<Timestamp>)> {
        let known = self.authorities.lock().unwrap();
        known.iter().filter(|(_, until)| until.is_none_or(|until| until > now)).copied().collect()
    }
}

impl CertificateIssuer for FakeAuthority {
    fn issue_node(&self, key: &ProvenKey, role: Role, _now: Timestamp) -> Result<String, CertificateError> {
        self.issue(format!("CERTIFICATE node {} {role}", key.node_id))
    }

    fn issue_admin(&self, name: &str, _spki: &[u8], now: Timestamp) -> Result<AdminCertificate, CertificateError> {
        let certificate = self.issue(format!("CERTIFICATE admin {name}"))?;
        Ok(AdminCertificate { certificate, not_after: now + LIFETIME })
    }

    fn authorities_pem(&self, now: Timestamp) -> String {
        self.trusted(now).iter().map(|(fingerprint, _)| format!("CA {fingerprint}\n")).collect()
    }

    fn fingerprint(&self) -> KeyFingerprint {
        self.authorities.lock().unwrap()[0].0
    }

    fn describe(&self, now: Timestamp) -> AuthoritiesView {
        let authorities = self.trusted(now).into_iter().map(|(fingerprint, trusted_until)| AuthorityView {
            fingerprint,
            active: trusted_until.is_none(),
            not_before: now,
            not_after: now + LIFETIME,
            trusted_until,
        });
        AuthoritiesView {
            authorities: authorities.collect(),
            server_not_after: Some(now + LIFETIME),
            verified: 0,
            max_verified: 0,
        }
    }

    fn rotate(&self, at_once: bool, now: Timestamp) -> Result<AuthoritiesView, RotationError> {
        if let Some((_, Some(until))) = self.trusted(now).get(1)
            && !at_once
        {
            return Err(RotationError::UnderWay { until: *until });
        }
        self.issue("CA".to_owned())?;
        let mut known = self.authorities.lock().unwrap();
        let until = if at_once { now } else { now + OVERLAP };
        for (_, trusted) in known.iter_mut() {
            *trusted = Some(trusted.map_or(until, |trusted| trusted.min(until)));
        }
        let next = KeyFingerprint::of_public_key(format!("CA {}", known.len() + 1).as_bytes());
        known.insert(0, (next, None));
        drop(known);
        Ok(self.describe(now))
    }
}
