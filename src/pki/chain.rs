//! Whom the certificates of a handshake make their holder. Pure: certificates and times come in, a verdict goes out.
//!
//! Both directions know one step only: a CA's key has signed the certificate itself. Whatever else the other side sends
//! along proves nothing, so a chain of many certificates gains nothing.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, Error};

use super::certificate::{Usage, fingerprint_of, is_signed_by, lifetime_of, spki_of};
use super::names::{asked_name, subject_in};
use super::presented::Presented;
use super::provider::SIGNATURES;
use crate::cluster::{KeyFingerprint, Proof, ProvenKey, Subject};

/// Of the certificates beside the first, so many are looked at; a controller sends one.
const LOOKED_AT: usize = 4;

/// Whom a node takes for its controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whoever holds a certificate of one of these CAs; the first is the one to ask for.
    Pinned(Vec<KeyFingerprint>),
    /// Whoever answers first.
    FirstUse,
}

impl Trust {
    /// The CA to ask for.
    #[must_use]
    pub fn asks_for(&self) -> Option<KeyFingerprint> {
        match self {
            Self::Pinned(pins) => pins.first().copied(),
            Self::FirstUse => None,
        }
    }
}

/// Why the other side is not the controller. Nothing was sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("another CA than the pinned one answers, as if somebody stood between: expected {}, found {}", list(.pinned), .found.map_or_else(|| "none that signed the certificate".to_owned(), |found| found.to_string()))]
    OtherAuthority { pinned: Vec<KeyFingerprint>, found: Option<KeyFingerprint> },
    #[error("the certificate is not signed by any CA that comes with it")]
    NoAuthority,
    #[error("the certificate is of the CA {authority}, but not for a controller")]
    OtherPurpose { authority: KeyFingerprint },
    #[error("the certificate cannot be read")]
    Unreadable(#[source] Error),
}

fn list(pins: &[KeyFingerprint]) -> String {
    pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// Judges what a server shows. Time is left to [`Presented::judge`].
///
/// # Errors
/// Says why it is not the controller.
pub fn judge_server(
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    trust: &Trust,
) -> Result<Presented, ChainError> {
    let read = EndEntityCert::try_from(certificate).map_err(ChainError::Unreadable)?;
    let lifetime = lifetime_of(&read).map_err(ChainError::Unreadable)?;
    let found = others.iter().take(LOOKED_AT).find(|other| {
        webpki::anchor_from_trusted_cert(other).is_ok_and(|anchor| is_signed_by(&read, &anchor, Usage::Any).is_ok())
    });
    let found = found.and_then(fingerprint_of);
    let authority = match (trust, found) {
        (Trust::Pinned(pins), Some(found)) if pins.contains(&found) => found,
        (Trust::Pinned(pins), found) => return Err(ChainError::OtherAuthority { pinned: pins.clone(), found }),
        (Trust::FirstUse, Some(found)) => found,
        (Trust::FirstUse, None) => return Err(ChainError::NoAuthority),
    };
    let for_servers = has_usage(&read, lifetime.not_before, Usage::Server);
    if !for_servers || read.verify_is_valid_for_subject_name(&asked_name(Some(authority))).is_err() {
        return Err(ChainError::OtherPurpose { authority });
    }
    Ok(Presented { authority, lifetime })
}

/// Without an anchor everything but the signature is judged, and then an issuer is missing.
fn has_usage(certificate: &EndEntityCert<'_>, moment: Timestamp, usage: Usage) -> bool {
    let moment = super::lifetime::to_unix(moment);
    let outcome = certificate.verify_for_usage(SIGNATURES.all, &[], &[], moment, usage, None, None);
    matches!(outcome, Err(Error::UnknownIssuer))
}

/// Which CA has signed a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    Active,
    /// One that another is taking the place of.
    Replaced,
}

/// What a client has proved that showed this certificate, and whose key signed the handshake. `signer` verifies the
/// certificate's signature. `None` if it cannot be read; such a handshake does not come to its end.
#[must_use]
pub fn judge_client(
    certificate: &CertificateDer<'_>,
    cluster_id: &str,
    now: Timestamp,
    signer: impl FnOnce(&EndEntityCert<'_>) -> Option<SignedBy>,
) -> Option<Proof> {
    let read = EndEntityCert::try_from(certificate).ok()?;
    let key = ProvenKey::new(spki_of(&read));
    // Cheap things first: most strangers show no such name, and cost no signature.
    let Some(subject) = subject_of(&read, &key, cluster_id) else { return Some(Proof::Key(key)) };
    let Some(signer) = signer(&read) else { return Some(Proof::Key(key)) };
    let validity = lifetime_of(&read).ok()?.validity(now, signer == SignedBy::Replaced);
    Some(Proof::Certified { key, subject, validity })
}

/// Whom the certificate names, if it names one and a node's name goes with the key.
fn subject_of(read: &EndEntityCert<'_>, key: &ProvenKey, cluster_id: &str) -> Option<Subject> {
    let mut names = read.valid_uri_names();
    let subject = subject_in(cluster_id, names.next()?).filter(|_| names.next().is_none())?;
    match &subject {
        Subject::Node { id, .. } if *id != key.node_id => None,
        Subject::Node { .. } | Subject::Admin { .. } => Some(subject),
    }
}

/// Whether this CA has signed the certificate, for a client.
#[must_use]
pub fn is_client_of(read: &EndEntityCert<'_>, authority: &TrustAnchor<'_>) -> bool {
    is_signed_by(read, authority, Usage::Client).is_ok()
}

#[cfg(test)]
mod tests;
