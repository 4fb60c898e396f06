//! The node's side of TLS: the other side is the controller that it pins, or nothing is sent.
//!
//! The chain is judged inside the handshake, before a byte of a request can leave, and without regard to time; that is
//! judged after the reply ([`Presented::judge`]). There is no way back to clear text from here.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, PeerIncompatible,
    SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::chain::{ChainError, Trust, judge_server};
use super::credentials::ClientIdentity;
use super::names::asked_name;
use super::presented::Presented;
use super::provider::{SIGNATURES, provider};

/// Why there is no connection. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsClientError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(
        "what answers there does not speak TLS: nothing was sent to it, since clear text could be read and changed by anybody in between"
    )]
    ClearText,
    #[error("what answers there does not speak TLS 1.3, and nothing older is accepted")]
    OldVersion,
    #[error("the TLS handshake failed")]
    Handshake(#[source] Error),
    #[error("the connection broke during the TLS handshake")]
    Io(#[source] io::Error),
    #[error("no answer to the TLS handshake came in time")]
    Timeout,
}

impl TlsClientError {
    /// Whether trying again is pointless. A connection that broke may have met a controller that is full.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Chain(_) | Self::ClearText | Self::OldVersion => true,
            Self::Handshake(error) => {
                !matches!(error, Error::AlertReceived(AlertDescription::InternalError | AlertDescription::CloseNotify))
            }
            Self::Io(_) | Self::Timeout => false,
        }
    }
}

/// Speaks TLS on a connection to whom `trust` takes for the controller, and shows `identity`.
///
/// # Errors
/// See [`TlsClientError`].
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    trust: &Trust,
    identity: &ClientIdentity,
    deadline: Instant,
) -> Result<(TlsStream<S>, Presented), TlsClientError> {
    let verifier = Arc::new(Pinned { trust: trust.clone(), verdict: Mutex::new(None) });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsClientError::Handshake)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(identity.resolver());
    config.resumption = Resumption::disabled();
    let connecting = TlsConnector::from(Arc::new(config)).connect(asked_name(trust.asks_for()), stream);
    let outcome = tokio::time::timeout_at(deadline, connecting).await.map_err(|_| TlsClientError::Timeout)?;
    let verdict = verifier.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (outcome, verdict) {
        (_, Some(Err(error))) => Err(error.into()),
        (Ok(stream), Some(Ok(presented))) => Ok((stream, presented)),
        // A handshake that verified nothing is none; the library does not let it come to this.
        (Ok(_), None) => Err(TlsClientError::Handshake(Error::NoCertificatesPresented)),
        (Err(error), _) => Err(classify(error)),
    }
}

fn classify(error: io::Error) -> TlsClientError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)) => {
            TlsClientError::ClearText
        }
        Some(
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | Error::AlertReceived(AlertDescription::ProtocolVersion),
        ) => TlsClientError::OldVersion,
        Some(error) => TlsClientError::Handshake(error.clone()),
        None => TlsClientError::Io(error),
    }
}

/// Lets the handshake go on with the pinned controller alone.
#[derive(Debug)]
struct Pinned {
    trust: Trust,
    /// What was judged of the one connection that this is for.
    verdict: Mutex<Option<Result<Presented, ChainError>>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = judge_server(certificate, others, &self.trust);
        let outcome = match &verdict {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            // The other side learns no more than that.
            Err(_) => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        outcome
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
