//! T2, T4: somebody else answers at the controller's address. The node sends nothing of its request.

use clusterctl::nodeagent::client::ClientError;
use clusterctl::pki::{ChainError, TlsClientError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What an attacker got out of one connection.
struct Loot {
    /// What its TLS gave it.
    plain: Vec<u8>,
    /// Whether its handshake came to an end.
    handshake: bool,
}

/// Serves one connection with these certificates and this key, and passes on to `target` whatever it can read.
async fn intercept(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    target: SocketAddr,
) -> (SocketAddr, JoinHandle<Loot>) {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    // An attacker reads as early as it can.
    config.max_early_data_size = 16 * 1024;
    config.send_half_rtt_data = true;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let robbing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
            return Loot { plain: Vec::new(), handshake: false };
        };
        let (mut plain, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            plain.extend_from_slice(&piece[..read]);
        }
        let mut onward = TcpStream::connect(target).await.unwrap();
        onward.write_all(&plain).await.unwrap();
        Loot { plain, handshake: true }
    });
    (address, robbing)
}

fn signing_key(pair: &KeyPair) -> Arc<dyn SigningKey> {
    sign::any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()))).unwrap()
}

/// The certificate and the key of the controller of another cluster, made with this program.
struct Elsewhere {
    key: Arc<CertifiedKey>,
    fingerprint: KeyFingerprint,
}

impl Elsewhere {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let authority = Authority::create(scratch.path(), "c1", start()).unwrap();
        Self { key: authority.server_certificate(None, start()).unwrap(), fingerprint: authority.fingerprint() }
    }

    fn leaf(&self) -> CertificateDer<'static> {
        self.key.cert[0].clone()
    }

    fn ca(&self) -> CertificateDer<'static> {
        self.key.cert[1].clone()
    }
}

/// Puts an attacker between the node and the door, who shows `chain` and holds `key`. The node's error.
async fn attacked(door: &Door, chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> ClientError {
    let (address, robbing) = intercept(chain, key, door.address).await;
    let error = ask(address, door.pin(), Node::new().shows(), &door.clock).await.unwrap_err();
    let loot = within(robbing).await.unwrap();
    assert_eq!(loot.plain.escape_ascii().to_string(), "", "not a byte of the request");
    assert!(!loot.handshake, "it does not even come to a connection");
    assert_eq!(door.monitor.status().answered, 0, "nothing reached the controller");
    assert!(error.is_final(), "trying again would only try again");
    error
}

fn other_authority(error: &ClientError) -> Option<KeyFingerprint> {
    match error {
        ClientError::Tls { source: TlsClientError::Chain(ChainError::OtherAuthority { found, .. }), .. } => *found,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_authority_gets_nothing() {
    let (door, other) = (Door::open().await, Elsewhere::new());
    let pinned = door.authority.server_certificate(None, start()).unwrap().cert[1].clone();
    // A proxy with the certificate of another cluster, then with the pinned CA's certificate put into its chain.
    for chain in [
        vec![other.leaf(), other.ca()],
        vec![other.leaf(), pinned.clone(), other.ca()],
        vec![other.leaf(), other.ca(), pinned.clone()],
    ] {
        let error = attacked(&door, chain, Arc::clone(&other.key.key)).await;
        assert_eq!(other_authority(&error), Some(other.fingerprint));
        let text = super::chain(&error);
        let (expected, found) = (door.authority.fingerprint().to_string(), other.fingerprint.to_string());
        assert!(text.contains(&expected) && text.contains(&found), "both are named: {text}");
    }
    let error = attacked(&door, vec![other.leaf(), pinned.clone()], Arc::clone(&other.key.key)).await;
    assert_eq!(other_authority(&error), None);
    let error = attacked(&door, vec![other.leaf()], Arc::clone(&other.key.key)).await;
    assert_eq!(other_authority(&error), None);
    door.close().await;
}

/// An attacker's CA that calls itself like the pinned one, and a certificate with all names of the controller's.
#[tokio::test]
async fn the_same_names_gain_nothing() {
    let door = Door::open().await;
    let pin = door.authority.fingerprint();
    let pinned = door.authority.server_certificate(None, start()).unwrap().cert[1].clone();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "clusterctl");
    params.distinguished_name.push(rcgen::DnType::CommonName, pin.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![
        SanType::DnsName(format!("{pin}.ca.clusterctl.internal").try_into().unwrap()),
        SanType::URI("spiffe://c1/controller".try_into().unwrap()),
    ];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    for chain in [
        vec![leaf.der().clone(), ca.der().clone()],
        vec![leaf.der().clone(), pinned.clone()],
        vec![leaf.der().clone(), pinned, ca.der().clone()],
    ] {
        other_authority(&attacked(&door, chain, signing_key(&key)).await);
    }
    door.close().await;
}

/// The controller's own certificates are public; without their key they are of no use.
#[tokio::test]
async fn the_controllers_certificate_without_its_key_gains_nothing() {
    let door = Door::open().await;
    let genuine = door.authority.server_certificate(None, start()).unwrap().cert.clone();
    let error = attacked(&door, genuine, signing_key(&KeyPair::generate().unwrap())).await;
    assert!(matches!(error, ClientError::Tls { source: TlsClientError::Handshake(_), .. }), "{error:?}");
    door.close().await;
}

/// A member of the cluster is no controller.
#[tokio::test]
async fn a_nodes_certificate_is_no_controllers() {
    let door = Door::open().await;
    let pair = KeyPair::generate().unwrap();
    let key = ProvenKey::new(pair.subject_public_key_info());
    let issued = door.authority.issue_node(&key, Role::Manager, start()).unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
    let ca = door.authority.server_certificate(None, start()).unwrap().cert[1].clone();
    let error = attacked(&door, vec![leaf, ca], signing_key(&pair)).await;
    let purpose = ChainError::OtherPurpose { authority: door.authority.fingerprint() };
    assert!(
        matches!(&error, ClientError::Tls { source: TlsClientError::Chain(found), .. } if *found == purpose),
        "{error:?}"
    );
    door.close().await;
}

/// Takes one connection, answers the client's first bytes with these and gives what it got.
async fn answer_with(answer: Vec<u8>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = vec![0; 16 * 1024];
        let read = stream.read(&mut got).await.unwrap();
        got.truncate(read);
        stream.write_all(&answer).await.unwrap();
        got.extend(rest(&mut stream).await);
        got
    });
    (address, answering)
}

/// That these bytes are the opening of TLS and at most an alert.
fn assert_only_an_opening(mut bytes: &[u8]) {
    assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    let mut kinds = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        kinds.push(*kind);
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    assert!(bytes.is_empty(), "whole records");
    assert!(matches!(kinds[..], [0x16] | [0x16, 0x15]), "no record with data: {kinds:?}");
}

/// T2: TLS is stripped. The node does not go on in clear text, whatever it is offered.
#[tokio::test]
async fn a_server_in_clear_text_gets_nothing() {
    let clock = SetClock::at(start());
    let pin = Trust::Pinned(vec![KeyFingerprint::of_public_key(b"ca")]);
    for answer in [
        &b"{\"Status\":\"error\",\"Code\":\"tls-not-enabled\"}\n"[..],
        b"{\"Status\":\"ready\",\"SwarmJoinToken\":\"SWMTKN-1-x\"}\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 smtp.example.org\r\n",
    ] {
        for trust in [pin.clone(), Trust::FirstUse] {
            let (address, answering) = answer_with(answer.to_vec()).await;
            let error = ask(address, trust, Node::new().shows(), &clock).await.unwrap_err();
            assert!(matches!(error, ClientError::Tls { source: TlsClientError::ClearText, .. }), "{error:?}");
            assert!(error.is_final());
            assert_only_an_opening(&within(answering).await.unwrap());
        }
    }
    // One that closes without a word may be a controller that is full.
    let (address, answering) = answer_with(Vec::new()).await;
    let asking = tokio::spawn(async move { ask(address, pin, Node::new().shows(), &clock).await });
    answering.abort();
    let error = within(asking).await.unwrap().unwrap_err();
    assert!(!error.is_final(), "{error:?}");
}

/// T4: TLS 1.2 is refused, by the node and by the controller.
#[tokio::test]
async fn older_tls_is_refused() {
    let hello = client_hello().await;
    // A record with a ServerHello of TLS 1.2: version, random, the client's session id, a cipher suite of 1.2.
    let session = &hello[44..44 + 32];
    let mut body = [&[3, 3][..], &[7; 32], &[32], session, &[0xc0, 0x2b, 0]].concat();
    body.splice(..0, [2, 0, 0, u8::try_from(body.len()).unwrap()]);
    let record = [&[0x16, 3, 3, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let (address, answering) = answer_with(record).await;
    let clock = SetClock::at(start());
    let error = ask(address, Trust::FirstUse, Node::new().shows(), &clock).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { source: TlsClientError::OldVersion, .. }), "{error:?}");
    assert!(error.is_final());
    assert_only_an_opening(&within(answering).await.unwrap());

    // A ClientHello that offers 1.2 alone: the extension that names the versions is made another one.
    let door = Door::open().await;
    let mut old = hello;
    let at = old.windows(2).position(|pair| pair == [0, 43]).unwrap();
    old[at + 1] = 200;
    let mut stream = door.connect().await;
    stream.write_all(&old).await.unwrap();
    // One alert, fatal, `protocol_version`.
    assert_eq!(rest(&mut stream).await, [0x15, 3, 3, 0, 2, 2, 70]);
    assert_eq!(door.monitor.status().refused["tls-handshake-failed"], 1);
    door.close().await;
}

/// Somebody who only passes bytes on reads nothing, and the node knows its controller.
#[tokio::test]
async fn a_relay_reads_nothing() {
    let door = Door::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), door.address);
    let relaying = tokio::spawn(async move {
        let (mut inside, _) = listener.accept().await.unwrap();
        let mut outside = TcpStream::connect(target).await.unwrap();
        let (mut read_in, mut write_in) = inside.split();
        let (mut read_out, mut write_out) = outside.split();
        let up = async {
            let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(read @ 1..) = read_in.read(&mut piece).await {
                seen.extend_from_slice(&piece[..read]);
                if write_out.write_all(&piece[..read]).await.is_err() {
                    break;
                }
            }
            seen
        };
        let (seen, _) = tokio::join!(up, tokio::io::copy(&mut read_out, &mut write_in));
        seen
    });
    let answer = ask(address, door.pin(), Node::new().shows(), &door.clock).await.unwrap();
    assert_eq!((answer.reply.node_id.as_str(), answer.authority), (CANARY, door.authority.fingerprint()));
    let seen = within(relaying).await.unwrap();
    assert!(seen.len() > 500 && !seen.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    door.close().await;
}
