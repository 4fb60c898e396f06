//! The controller's side of TLS: 1.3 alone, no tickets, a client certificate if the client has one.
//!
//! Whatever certificate a client shows is taken in the handshake, which proves that it holds the key; what it is worth
//! is judged afterwards ([`ServerTls::proof_of`]), so that a node with an ended certificate can still ask for a new
//! one. No ticket is sent: a conversation is one exchange, and a ticket would outlive the proof of a key.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};
use webpki::EndEntityCert;

use super::authority::Authority;
use super::names::authority_asked_for;
use super::provider::{SIGNATURES, provider};
use crate::clock::Clock;
use crate::cluster::Proof;

/// What the listener needs for TLS. One for all connections.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// TLS with certificates of this CA.
    ///
    /// # Errors
    /// If the TLS library refuses its own parts, which would be a bug.
    pub fn new(authority: Arc<Authority>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let resolver = Certificates { authority: Arc::clone(&authority), clock: Arc::clone(&clock) };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyKey))
            .with_cert_resolver(Arc::new(resolver));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // SHA-384, which clients that are not ours tend to ask for first, is 7 % of what a registration costs here.
        config.ignore_client_order = true;
        Ok(Self { config: Arc::new(config), authority, clock })
    }

    /// The configuration, which all connections share.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What the client of this connection has proved. For after the handshake.
    #[must_use]
    pub fn proof_of(&self, connection: &ServerConnection) -> Proof {
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        shown.and_then(|shown| self.authority.judge_client(shown, self.clock.now())).unwrap_or(Proof::Nothing)
    }
}

/// Shows the certificate of the CA that the client pins.
struct Certificates {
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(authority_asked_for);
        match self.authority.server_certificate(asked, self.clock.now()) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                tracing::error!("no certificate to show to clients: {error}");
                None
            }
        }
    }
}

/// Takes every certificate whose key signs the handshake, or none at all.
#[derive(Debug)]
struct AnyKey;

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None, so that also those send theirs whom no CA has certified.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Read it must be, since a key is taken from it.
        EndEntityCert::try_from(certificate)
            .map(|_| ClientCertVerified::assertion())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
