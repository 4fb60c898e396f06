//! What a client shows of itself: a certificate of the cluster's CA, or before it has one, a certificate that it signed
//! itself. Either way the handshake proves that it holds the key.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use webpki::EndEntityCert;

use super::certificate::{lifetime_of, spki_of};
use super::issue::certified_key;
use super::lifetime::Lifetime;
use crate::cluster::{NodeId, Secret};

/// A client's key and certificate, ready for handshakes.
#[derive(Clone)]
pub struct ClientIdentity {
    shown: Arc<SingleCertAndKey>,
    /// Of the cluster's certificate; `None` for one that was signed by its own key.
    lifetime: Option<Lifetime>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIdentity").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Why key and certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("no certificate could be made for the key")]
    Make(#[source] rcgen::Error),
    #[error("the key is damaged")]
    Key(#[source] rcgen::Error),
    #[error("the certificate is damaged")]
    Damaged(#[source] rustls::pki_types::pem::Error),
    #[error("the certificate cannot be read")]
    Unreadable(#[source] webpki::Error),
    #[error("the certificate is for another key")]
    OtherKey,
    #[error("the key cannot be used for TLS")]
    Tls(#[source] rustls::Error),
}

impl ClientIdentity {
    /// The key alone, under a certificate that it signs itself. It has no end: nobody believes more of it than the key.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn self_signed(key: &KeyPair) -> Result<Self, CredentialsError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.distinguished_name = DistinguishedName::new();
        let node_id = NodeId::of_public_key(&key.subject_public_key_info());
        params.distinguished_name.push(DnType::CommonName, node_id.as_str());
        let certificate = params.self_signed(key).map_err(CredentialsError::Make)?;
        Self::of(key, certificate.der().clone(), None)
    }

    /// The key under its certificate of the cluster's CA (PEM).
    ///
    /// # Errors
    /// If the certificate is damaged or another key's.
    pub fn certified(key: &KeyPair, certificate: &str) -> Result<Self, CredentialsError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(CredentialsError::Damaged)?;
        let lifetime = {
            let read = EndEntityCert::try_from(&der).map_err(CredentialsError::Unreadable)?;
            if spki_of(&read) != key.subject_public_key_info() {
                return Err(CredentialsError::OtherKey);
            }
            lifetime_of(&read).map_err(CredentialsError::Unreadable)?
        };
        Self::of(key, der, Some(lifetime))
    }

    /// As [`certified`](Self::certified), with the key in PEM too.
    ///
    /// # Errors
    /// If key or certificate are damaged, or do not belong together.
    pub fn from_pem(key: &Secret, certificate: &str) -> Result<Self, CredentialsError> {
        let key = KeyPair::from_pem(key.reveal()).map_err(CredentialsError::Key)?;
        Self::certified(&key, certificate)
    }

    fn of(
        key: &KeyPair,
        certificate: CertificateDer<'static>,
        lifetime: Option<Lifetime>,
    ) -> Result<Self, CredentialsError> {
        let shown = certified_key(vec![certificate], key).map_err(CredentialsError::Tls)?;
        Ok(Self { shown: Arc::new(shown.into()), lifetime })
    }

    /// From when until when the cluster's certificate holds; `None` without one.
    #[must_use]
    pub fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.shown) as Arc<dyn ResolvesClientCert>
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::issue::SigningAuthority;
    use super::super::lifetime::CERTIFICATE_LIFE;
    use super::*;
    use crate::cluster::{ProvenKey, Role, Subject};

    #[test]
    fn a_certificate_goes_with_its_key_alone() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert_eq!(ClientIdentity::self_signed(&key).unwrap().lifetime(), None);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (ca_key, ca) = SigningAuthority::make("c1", now).unwrap();
        let proven = ProvenKey::new(key.subject_public_key_info());
        let subject = Subject::Node { id: proven.node_id.clone(), role: Role::Worker };
        let issued = SigningAuthority::read(&ca_key, &ca).unwrap().certify(&proven, "c1", &subject, now).unwrap();
        let shown = ClientIdentity::certified(&key, &issued.pem).unwrap();
        assert_eq!(shown.lifetime(), Some(Lifetime::beginning(now, CERTIFICATE_LIFE)));
        assert!(matches!(ClientIdentity::certified(&other, &issued.pem), Err(CredentialsError::OtherKey)));
        assert!(matches!(ClientIdentity::certified(&key, "rubbish"), Err(CredentialsError::Damaged(_))));
        assert!(!format!("{shown:?}").contains("PRIVATE"));
    }
}
