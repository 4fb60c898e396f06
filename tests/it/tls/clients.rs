//! What a client proves, and what becomes of it while the CA is replaced.

use clusterctl::cluster::{Subject, Validity};
use clusterctl::nodeagent::client::ClientError;
use clusterctl::pki::TlsClientError;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::*;

fn node_subject(node: &Node, role: Role) -> Subject {
    Subject::Node { id: node.key.node_id.clone(), role }
}

/// A node that was not admitted yet proves its key, from which its id follows; an admitted one its certificate too.
#[tokio::test]
async fn nodes_prove_their_key() {
    let door = Door::open().await;
    let node = Node::new();
    let answer = door.ask(&node, door.pin()).await.unwrap();
    assert_eq!((answer.reply.node_id.as_str(), answer.authority), (CANARY, door.authority.fingerprint()));
    assert_eq!(door.last_proof(), Proof::Key(node.key.clone()));
    assert_eq!(door.last_proof().key().unwrap().node_id, node.identity.node_id);

    let node = node.certified(&door.authority, Role::Worker, start());
    door.ask(&node, door.pin()).await.unwrap();
    let subject = node_subject(&node, Role::Worker);
    assert_eq!(door.last_proof(), Proof::Certified { key: node.key.clone(), subject, validity: Validity::Valid });
    door.close().await;
}

/// An ended certificate still says who it was: its holder may ask for a new one.
#[tokio::test]
async fn an_ended_certificate_is_certified_and_outside() {
    let door = Door::open().await;
    let node = Node::new().certified(&door.authority, Role::Worker, start());
    door.clock.set(start() + days(400));
    door.ask(&node, door.pin()).await.unwrap();
    let Proof::Certified { key, subject, validity } = door.last_proof() else { panic!("not certified") };
    assert_eq!((&key, subject), (&node.key, node_subject(&node, Role::Worker)));
    assert_eq!(validity, Validity::Outside { limit: start() + days(365) });
    door.close().await;
}

/// The longest requests and replies take many records.
#[tokio::test]
async fn long_requests_and_replies_get_through() {
    let door = Door::open().await;
    let master = MasterAddress { host: MasterHost::Ip(door.address.ip()), port: door.address.port() };
    let link = Link::new(master, door.pin(), Node::new().shows(), Arc::new(door.clock.clone()));
    let request = RawRequest { action: "large".into(), os: "x".repeat(60 * 1024), ..canary() };
    let reply = within(client::ask(&link, &request)).await.unwrap().reply;
    assert_eq!((reply.node_id.as_str(), reply.message.len()), (CANARY, 200 * 1024));
    let request = RawRequest { os: "x".repeat(70 * 1024), ..canary() };
    assert_eq!(within(client::ask(&link, &request)).await.unwrap().reply.code, "request-too-large");
    assert_eq!(door.monitor.status().limits["request-size"], 1);
    door.close().await;
}

/// T6: certificates of another cluster, or of this one's CA for somebody else, prove the key alone.
#[tokio::test]
async fn foreign_certificates_prove_the_key_alone() {
    let (door, other) = (Door::open().await, Door::open().await);
    let node = Node::new().certified(&other.authority, Role::Manager, start());
    door.ask(&node, door.pin()).await.unwrap();
    assert_eq!(door.last_proof(), Proof::Key(node.key.clone()));

    // Its own certificate, with another node's name in it.
    let victim = Node::new();
    let pair = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let name = format!("spiffe://c1/node/{}/manager", victim.key.node_id);
    params.subject_alt_names = vec![rcgen::SanType::URI(name.try_into().unwrap())];
    let certificate = params.self_signed(&pair).unwrap().pem();
    let liar = ClientIdentity::certified(&pair, &certificate).unwrap();
    ask(door.address, door.pin(), liar, &door.clock).await.unwrap();
    let key = ProvenKey::new(pair.subject_public_key_info());
    assert_eq!(door.last_proof(), Proof::Key(key));
    door.close().await;
    other.close().await;
}

/// Takes any server; only for clients that are not ours.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 alone")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client without a certificate is answered, and has proved nothing. Tickets are never handed out.
#[tokio::test]
async fn a_client_without_a_certificate_proves_nothing() {
    let door = Door::open().await;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    let name = ServerName::try_from("controller.example.org").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, door.connect().await);
    let mut stream = within(connecting).await.unwrap();
    stream.write_all(b"{\"hostname\":\"h1\"}").await.unwrap();
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes.last(), Some(&b'\n'), "the end of the conversation is an end of TLS, too");
    assert_eq!(serde_json::from_slice::<Reply>(&bytes).unwrap().node_id, "h1");
    assert_eq!(door.last_proof(), Proof::Nothing);
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    door.close().await;
}

/// Who shows a certificate without its key does not get through the handshake.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let door = Door::open().await;
    let node = Node::new().certified(&door.authority, Role::Manager, start());
    let thief = KeyPair::generate().unwrap();
    let pem = node.certificate.as_deref().unwrap();
    assert!(ClientIdentity::certified(&thief, pem).is_err(), "ours does not even try");
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(
        &rustls::pki_types::PrivatePkcs8KeyDer::from(thief.serialize_der()).into(),
    );
    let der = <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes()).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![der], key.unwrap());
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    let name = ServerName::try_from("controller.example.org").unwrap();
    // To the client the handshake may look complete, until it reads.
    if let Ok(mut stream) = within(TlsConnector::from(Arc::new(config)).connect(name, door.connect().await)).await {
        stream.write_all(b"{\"hostname\":\"h1\"}").await.ok();
        assert!(within(stream.read_to_end(&mut Vec::new())).await.is_err());
    }
    until("it is counted", || door.monitor.status().refused.get("tls-handshake-failed") == Some(&1)).await;
    assert!(door.recorder.peers.lock().unwrap().is_empty());
    door.close().await;
}

/// Who pins the CA before and who pins the new one both get through during the overlap; after it the new one alone.
#[tokio::test]
async fn a_replacement_of_the_authority_has_an_overlap() {
    let door = Door::open().await;
    let (old_pin, old) = (door.pin(), door.authority.fingerprint());
    let node = Node::new().certified(&door.authority, Role::Worker, start());
    let authority = Arc::clone(&door.authority);
    authority.rotate(days(10), start()).unwrap();
    let (new_pin, new) = (door.pin(), door.authority.fingerprint());
    let both = Trust::Pinned(vec![old, new]);
    for (trust, shown) in [(&old_pin, old), (&new_pin, new), (&both, old), (&Trust::FirstUse, new)] {
        assert_eq!(door.ask(&node, trust.clone()).await.unwrap().authority, shown);
        let Proof::Certified { validity, .. } = door.last_proof() else { panic!("not certified") };
        assert_eq!(validity, Validity::RenewalDue);
    }
    let node = node.certified(&door.authority, Role::Worker, start());
    door.clock.set(start() + days(10));
    let error = door.ask(&node, old_pin).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { source: TlsClientError::Chain(_), .. }), "{error:?}");
    for trust in [&new_pin, &both] {
        assert_eq!(door.ask(&node, trust.clone()).await.unwrap().authority, new);
        assert!(matches!(door.last_proof(), Proof::Certified { validity: Validity::Valid, .. }));
    }
    door.close().await;
}

/// Without a pin the first controller is taken, and from then on no other.
#[tokio::test]
async fn the_first_controller_is_pinned() {
    let (door, other) = (Door::open().await, Door::open().await);
    let link = |address: SocketAddr| {
        let master = MasterAddress { host: MasterHost::Ip(address.ip()), port: address.port() };
        Link::new(master, Trust::FirstUse, Node::new().shows(), Arc::new(door.clock.clone()))
    };
    let mut meeting = link(door.address);
    assert_eq!(meeting.authority(), None);
    let answer = within(client::ask(&meeting, &canary())).await.unwrap();
    assert_eq!(answer.authority, door.authority.fingerprint());
    assert_eq!(meeting.authority(), Some(answer.authority));
    within(client::ask(&meeting, &canary())).await.unwrap();
    meeting.master = link(other.address).master;
    let error = within(client::ask(&meeting, &canary())).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { source: TlsClientError::Chain(_), .. }), "{error:?}");
    assert_eq!(other.monitor.status().answered, 0);
    door.close().await;
    other.close().await;
}
