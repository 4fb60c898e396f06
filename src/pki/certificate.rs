//! What webpki reads from a certificate, in this program's words. A certificate that is read is not yet believed.
//!
//! webpki has no accessor for the two limits of time; it names each where it refuses a moment beyond it, so that is
//! where they are taken from.

use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::lifetime::{Lifetime, from_unix, to_unix};
use super::provider::SIGNATURES;
use crate::cluster::KeyFingerprint;

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
    /// Whatever it says; the caller judges that apart.
    Any,
}

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self {
            Self::Server => KeyUsage::server_auth().validate(purposes),
            Self::Client => KeyUsage::client_auth().validate(purposes),
            Self::Any => purposes.try_for_each(|purpose| purpose.map(drop)),
        }
    }
}

/// The certificate's public key.
pub(super) fn spki_of(certificate: &EndEntityCert<'_>) -> Vec<u8> {
    certificate.subject_public_key_info().as_ref().to_vec()
}

/// The fingerprint of a CA's key; `None` if this is no certificate.
pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> Option<KeyFingerprint> {
    EndEntityCert::try_from(certificate).ok().map(|read| KeyFingerprint::of_public_key(&spki_of(&read)))
}

/// The fingerprints of the CAs in a bundle (PEM), in its order; what is no certificate is left out.
#[must_use]
pub fn authorities_in(bundle: &str) -> Vec<KeyFingerprint> {
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok);
    certificates.filter_map(|certificate| fingerprint_of(&certificate)).collect()
}

/// From when until when it holds.
///
/// # Errors
/// If it says so in no readable way.
pub(super) fn lifetime_of(certificate: &EndEntityCert<'_>) -> Result<Lifetime, Error> {
    let refused = |second| {
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(second));
        // No anchor: nothing is verified, and everything about the certificate alone is checked, time first.
        certificate.verify_for_usage(SIGNATURES.all, &[], &[], moment, Usage::Any, None, None).err()
    };
    let not_before = match refused(0) {
        Some(Error::CertNotValidYet { not_before, .. }) => not_before,
        Some(error @ (Error::InvalidCertValidity | Error::BadDer | Error::BadDerTime)) => return Err(error),
        _ => UnixTime::since_unix_epoch(Duration::ZERO),
    };
    match refused(u64::MAX) {
        Some(Error::CertExpired { not_after, .. }) => {
            Ok(Lifetime { not_before: from_unix(not_before), not_after: from_unix(not_after) })
        }
        _ => Err(Error::BadDerTime),
    }
}

/// Whether this CA itself has signed the certificate, which may be used for that. Time is left out: it is judged as of
/// the certificate's first moment.
///
/// # Errors
/// webpki's reason why not.
pub(super) fn is_signed_by(
    certificate: &EndEntityCert<'_>,
    authority: &TrustAnchor<'_>,
    usage: Usage,
) -> Result<(), Error> {
    let moment = to_unix(lifetime_of(certificate)?.not_before);
    let anchors = std::slice::from_ref(authority);
    certificate.verify_for_usage(SIGNATURES.all, anchors, &[], moment, usage, None, None).map(drop)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn lifetime(from: i32, to: i32) -> Result<Lifetime, Error> {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        lifetime_of(&EndEntityCert::try_from(certificate.der()).unwrap())
    }

    #[test]
    fn limits_are_read() {
        for (from, to) in [(1970, 1971), (1975, 4096), (2026, 2026), (2049, 2051), (3000, 9999)] {
            let read = lifetime(from, to).unwrap();
            let year = |year: i32| format!("{year:04}-01-01T00:00:00Z").parse().unwrap();
            assert_eq!((read.not_before, read.not_after), (year(from), year(to)));
        }
        assert_eq!(lifetime(2027, 2026), Err(Error::InvalidCertValidity));
    }
}
