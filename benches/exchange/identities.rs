//! Hosts with keys of their own, for handshakes in which both sides show a certificate.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use clusterctl::cluster::NodeId;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// More handshakes than this come about on no processor that we know.
const PER_SECOND: f64 = 8_000.0;
/// The same for one client, who waits for each answer.
const PER_CLIENT: f64 = 4_000.0;

pub(crate) struct HostIdentity {
    pub(crate) node_id: String,
    config: Arc<ClientConfig>,
}

/// Identities that are used up one by one.
#[derive(Default)]
pub(crate) struct Identities(RefCell<Vec<HostIdentity>>);

impl Identities {
    /// As many as `clients` can use within `time`.
    pub(crate) fn make(clients: usize, time: Duration) -> Self {
        let most = time.as_secs_f64() * PER_SECOND.min(PER_CLIENT * clients as f64);
        let verifier = Arc::new(AnyServer(Arc::new(aws_lc_rs::default_provider())));
        Self(RefCell::new((0..most as usize).map(|_| HostIdentity::make(&verifier)).collect()))
    }

    pub(crate) fn take(&self) -> HostIdentity {
        self.0.borrow_mut().pop().expect("more handshakes than identities: raise PER_SECOND")
    }
}

impl HostIdentity {
    fn make(verifier: &Arc<AnyServer>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap().der().clone();
        let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.0))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
            .with_client_auth_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let node_id = NodeId::of_public_key(&key.subject_public_key_info()).to_string();
        Self { node_id, config: Arc::new(config) }
    }
}

pub(crate) async fn handshake(stream: TcpStream, host: &HostIdentity) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("controller.invalid").unwrap();
    TlsConnector::from(Arc::clone(&host.config)).connect(name, stream).await
}

/// Does not judge the server: what that costs is the client's, and the client is not measured.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
