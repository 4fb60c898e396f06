//! One CA: its key, its certificate, and what it signs.
//!
//! Its name in certificates follows from its key, so that two CAs of one cluster never have the same and nothing needs
//! to be read out of a certificate to sign under it. Serial numbers are random: the same key gets many certificates.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType,
    SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, TrustAnchor};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::certificate::{Usage, is_signed_by, lifetime_of, spki_of};
use super::lifetime::{AUTHORITY_LIFE, CERTIFICATE_LIFE, Lifetime, to_unix};
use super::names::{controller_uri, server_name, uri_of};
use super::provider::provider;
use crate::cluster::{KeyFingerprint, ProvenKey, Subject};

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub pem: String,
    pub not_after: Timestamp,
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the public key is of a kind that gets no certificate: a P-256, P-384 or Ed25519 key is needed")]
    Key,
    #[error("the cluster's CA has ended, at {0}")]
    AuthorityEnded(Timestamp),
    #[error(transparent)]
    Name(#[from] super::names::AdminNameError),
    #[error("the certificate could not be made")]
    Make(#[source] rcgen::Error),
    #[error("the host gives no randomness")]
    Random(#[source] getrandom::Error),
    #[error("the certificate cannot be used for TLS")]
    Tls(#[source] rustls::Error),
}

/// Why a key and a certificate are no CA.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("the key cannot be read")]
    Key(#[source] rcgen::Error),
    #[error("the certificate cannot be read")]
    Certificate(#[source] rustls::pki_types::pem::Error),
    #[error("the certificate is not a CA's")]
    NotAnAuthority(#[source] webpki::Error),
    #[error("key and certificate do not belong together")]
    Mismatch,
}

/// A CA that can sign.
pub(super) struct SigningAuthority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    pem: String,
    pub(super) fingerprint: KeyFingerprint,
    pub(super) lifetime: Lifetime,
}

impl std::fmt::Debug for SigningAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningAuthority")
            .field("fingerprint", &self.fingerprint)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl SigningAuthority {
    /// A new CA; returns its key (PEM) and its certificate (PEM).
    pub(super) fn make(cluster_id: &str, now: Timestamp) -> Result<(String, String), IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Make)?;
        let mut params = parameters(Lifetime::beginning(now, AUTHORITY_LIFE))?;
        params.distinguished_name = name_of(&key);
        params.subject_alt_names = vec![uri(format!("spiffe://{cluster_id}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(IssueError::Make)?;
        Ok((key.serialize_pem(), certificate.pem()))
    }

    /// The CA of this key (PEM) and this certificate (PEM).
    pub(super) fn read(key: &str, certificate: &str) -> Result<Self, PairError> {
        let key = KeyPair::from_pem(key).map_err(PairError::Key)?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(PairError::Certificate)?;
        let (spki, lifetime) = {
            let read = EndEntityCert::try_from(&der).map_err(PairError::NotAnAuthority)?;
            (spki_of(&read), lifetime_of(&read).map_err(PairError::NotAnAuthority)?)
        };
        if spki != key.subject_public_key_info() {
            return Err(PairError::Mismatch);
        }
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(PairError::NotAnAuthority)?.to_owned();
        let authority = Self {
            key,
            certificate: der,
            anchor,
            pem: certificate.to_owned(),
            fingerprint: KeyFingerprint::of_public_key(&spki),
            lifetime,
        };
        authority.signs_under_its_name()?;
        Ok(authority)
    }

    /// Whether what it signs is accepted under its certificate: the name in there could be another.
    fn signs_under_its_name(&self) -> Result<(), PairError> {
        let probe = CertificateParams::default();
        let signed = probe.signed_by(&self.key, &self.issuer()).map_err(PairError::Key)?;
        let read = EndEntityCert::try_from(signed.der()).map_err(PairError::NotAnAuthority)?;
        is_signed_by(&read, &self.anchor, Usage::Any).map_err(|_| PairError::Mismatch)
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key. Every call is a place to look at in a review.
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// Certifies who holds a key.
    pub(super) fn certify(
        &self,
        key: &ProvenKey,
        cluster_id: &str,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Issued, IssueError> {
        let lifetime = self.lifetime_from(now)?;
        let mut params = leaf(lifetime, ExtendedKeyUsagePurpose::ClientAuth)?;
        params.subject_alt_names = vec![uri(uri_of(cluster_id, subject))?];
        let name = match subject {
            Subject::Node { id, .. } => id.as_str(),
            Subject::Admin { name } => name,
        };
        params.distinguished_name.push(DnType::CommonName, name);
        let key = PublicKey::read(&key.spki).ok_or(IssueError::Key)?;
        let certificate = params.signed_by(&key, &self.issuer()).map_err(IssueError::Make)?;
        Ok(Issued { pem: certificate.pem(), not_after: lifetime.not_after })
    }

    /// A certificate for the controller, with a key of its own that is never written anywhere, and with this CA's.
    pub(super) fn server_certificate(
        &self,
        cluster_id: &str,
        now: Timestamp,
    ) -> Result<(CertifiedKey, Lifetime), IssueError> {
        let lifetime = self.lifetime_from(now)?;
        let key = KeyPair::generate().map_err(IssueError::Make)?;
        let mut params = leaf(lifetime, ExtendedKeyUsagePurpose::ServerAuth)?;
        let name = server_name(self.fingerprint).try_into().map_err(IssueError::Make)?;
        params.subject_alt_names = vec![SanType::DnsName(name), uri(controller_uri(cluster_id))?];
        params.distinguished_name.push(DnType::CommonName, "clusterctl controller");
        let certificate = params.signed_by(&key, &self.issuer()).map_err(IssueError::Make)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok((certified_key(chain, &key).map_err(IssueError::Tls)?, lifetime))
    }

    fn lifetime_from(&self, now: Timestamp) -> Result<Lifetime, IssueError> {
        if now > self.lifetime.not_after {
            return Err(IssueError::AuthorityEnded(self.lifetime.not_after));
        }
        Ok(Lifetime::beginning(now, CERTIFICATE_LIFE).until(self.lifetime.not_after))
    }

    fn issuer(&self) -> Issuer<'static, &KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name_of(&self.key);
        Issuer::new(params, &self.key)
    }
}

/// A key with its certificates, as TLS wants them.
pub(super) fn certified_key(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Result<CertifiedKey, rustls::Error> {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(chain, private, &provider())
}

fn parameters(lifetime: Lifetime) -> Result<CertificateParams, IssueError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(IssueError::Random)?;
    // Positive, and never shorter than its bytes.
    serial[0] = serial[0] & 0x7f | 0x40;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let after = |time| epoch + Duration::from_secs(to_unix(time).as_secs());
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = after(lifetime.not_before);
    params.not_after = after(lifetime.not_after);
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

fn leaf(lifetime: Lifetime, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, IssueError> {
    let mut params = parameters(lifetime)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

/// The name of a CA: its fingerprint.
fn name_of(key: &KeyPair) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "clusterctl");
    let fingerprint = KeyFingerprint::of_public_key(&key.subject_public_key_info());
    name.push(DnType::CommonName, fingerprint.to_string());
    name
}

fn uri(text: String) -> Result<SanType, IssueError> {
    text.try_into().map(SanType::URI).map_err(IssueError::Make)
}

/// Somebody else's public key, as rcgen wants it: its kind and its bytes.
struct PublicKey {
    algorithm: &'static SignatureAlgorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Every kind has one length, so that the bytes are the end of the whole; the right kind is the one that gives the
    /// whole again.
    fn read(spki: &[u8]) -> Option<Self> {
        let kinds = [(&PKCS_ECDSA_P256_SHA256, 65), (&PKCS_ECDSA_P384_SHA384, 97), (&PKCS_ED25519, 32)];
        kinds.into_iter().find_map(|(algorithm, length)| {
            let bytes = spki.get(spki.len().checked_sub(length)?..)?.to_vec();
            let key = Self { algorithm, bytes };
            (key.subject_public_key_info() == spki).then_some(key)
        })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn made() -> SigningAuthority {
        let (key, certificate) = SigningAuthority::make("c1", now()).unwrap();
        SigningAuthority::read(&key, &certificate).unwrap()
    }

    fn node(key: &KeyPair) -> (ProvenKey, Subject) {
        let key = ProvenKey::new(key.subject_public_key_info());
        let subject = Subject::Node { id: key.node_id.clone(), role: Role::Worker };
        (key, subject)
    }

    #[test]
    fn certifies_keys_of_every_kind() {
        let authority = made();
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let (key, subject) = node(&KeyPair::generate_for(kind).unwrap());
            let issued = authority.certify(&key, "c1", &subject, now()).unwrap();
            let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
            let read = EndEntityCert::try_from(&der).unwrap();
            assert_eq!(spki_of(&read), key.spki, "the certificate is for that key");
            assert_eq!(lifetime_of(&read).unwrap(), Lifetime::beginning(now(), CERTIFICATE_LIFE));
            assert_eq!(read.valid_uri_names().collect::<Vec<_>>(), [uri_of("c1", &subject)]);
            assert_eq!(is_signed_by(&read, authority.anchor(), Usage::Client), Ok(()));
            assert!(is_signed_by(&read, authority.anchor(), Usage::Server).is_err(), "a node is no controller");
            assert_eq!(is_signed_by(&read, made().anchor(), Usage::Client), Err(webpki::Error::UnknownIssuer));
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let (key, subject) = node(&KeyPair::generate().unwrap());
        let authority = made();
        for spki in [Vec::new(), b"key".to_vec(), vec![4; 91], key.spki[1..].to_vec(), [&key.spki[..], &[0]].concat()] {
            let other = ProvenKey::new(spki);
            assert!(matches!(authority.certify(&other, "c1", &subject, now()), Err(IssueError::Key)));
        }
    }

    #[test]
    fn the_same_key_gets_certificates_with_different_serials() {
        let authority = made();
        let (key, subject) = node(&KeyPair::generate().unwrap());
        let serial = || {
            let pem = authority.certify(&key, "c1", &subject, now()).unwrap().pem;
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            EndEntityCert::try_from(&der).unwrap().serial().to_vec()
        };
        assert_ne!(serial(), serial());
    }

    /// Nothing outlives its CA, and an ended one signs nothing.
    #[test]
    fn certificates_end_with_their_authority() {
        let authority = made();
        let end = authority.lifetime.not_after;
        let (key, subject) = node(&KeyPair::generate().unwrap());
        let late = end - jiff::SignedDuration::from_hours(24);
        assert_eq!(authority.certify(&key, "c1", &subject, late).unwrap().not_after, end);
        assert_eq!(authority.server_certificate("c1", late).unwrap().1.not_after, end);
        let over = end + jiff::SignedDuration::from_secs(1);
        assert!(matches!(authority.certify(&key, "c1", &subject, over), Err(IssueError::AuthorityEnded(_))));
    }

    #[test]
    fn a_pair_that_is_none_is_refused() {
        let ((key, certificate), (other, _)) =
            (SigningAuthority::make("c1", now()).unwrap(), SigningAuthority::make("c1", now()).unwrap());
        let read = |key: &str, certificate: &str| SigningAuthority::read(key, certificate).unwrap_err();
        assert!(matches!(read(&other, &certificate), PairError::Mismatch));
        assert!(matches!(read("", &certificate), PairError::Key(_)));
        assert!(matches!(read(&key, &certificate[..200]), PairError::Certificate(_)));
        let bad = certificate.replace("MII", "MIA");
        assert!(matches!(read(&key, &bad), PairError::NotAnAuthority(_)), "{bad}");
        // A certificate of the right key under another name.
        let pair = KeyPair::from_pem(&key).unwrap();
        let misnamed = CertificateParams::default().self_signed(&pair).unwrap().pem();
        assert!(matches!(read(&key, &misnamed), PairError::Mismatch));
        assert!(!format!("{:?}", made()).contains("PRIVATE"), "the key is not shown");
    }
}
