//! What the controller asks of the cluster's certificate authority. Here is the question; who answers it keeps keys and
//! files, which is no business of deciding code.

use jiff::Timestamp;

use crate::cluster::{KeyFingerprint, ProvenKey, Role};

/// Why there is no certificate. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("the cluster's certificate authority failed")]
pub struct CertificateError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why the CA was not replaced. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error("the CA is being replaced already: the one before is trusted until {until}")]
    UnderWay { until: Timestamp },
    #[error(transparent)]
    Failed(#[from] CertificateError),
}

/// A CA of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityView {
    pub fingerprint: KeyFingerprint,
    /// The one that signs; else one that is still trusted.
    pub active: bool,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Until when it is trusted; `None`: as long as it is valid.
    pub trusted_until: Option<Timestamp>,
}

/// The cluster's CAs, the active one first, and the controller's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritiesView {
    pub authorities: Vec<AuthorityView>,
    /// The end of the controller's own certificate; `None` until a client has asked for it.
    pub server_not_after: Option<Timestamp>,
    /// Certificates of clients that are remembered as verified, and how many may be.
    pub verified: usize,
    pub max_verified: usize,
}

impl AuthoritiesView {
    /// The CAs that nodes may pin.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<KeyFingerprint> {
        self.authorities.iter().map(|authority| authority.fingerprint).collect()
    }
}

/// An administrator's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminCertificate {
    /// PEM.
    pub certificate: String,
    pub not_after: Timestamp,
}

/// Certifies keys. Its calls may read and write files, and take some milliseconds.
pub trait CertificateIssuer: Send + Sync {
    /// A node's certificate (PEM).
    ///
    /// # Errors
    /// [`CertificateError`].
    fn issue_node(&self, key: &ProvenKey, role: Role, now: Timestamp) -> Result<String, CertificateError>;

    /// An administrator's certificate.
    ///
    /// # Errors
    /// The key is not one that can be certified, or [`CertificateError`].
    fn issue_admin(&self, name: &str, spki: &[u8], now: Timestamp) -> Result<AdminCertificate, CertificateError>;

    /// The CAs that are trusted (PEM), the active one first.
    fn authorities_pem(&self, now: Timestamp) -> String;

    /// The active CA's: what new tokens pin.
    fn fingerprint(&self) -> KeyFingerprint;

    /// What there is.
    fn describe(&self, now: Timestamp) -> AuthoritiesView;

    /// Puts a new CA in the place of the active one, which stays trusted for a while, or, `at_once`, no longer: then
    /// every certificate and every token that there is has ended. Says what there is then.
    ///
    /// # Errors
    /// [`RotationError`]; what there was is left.
    fn rotate(&self, at_once: bool, now: Timestamp) -> Result<AuthoritiesView, RotationError>;
}
