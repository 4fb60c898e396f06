//! TLS between nodes and their controller: whom each takes the other for, and what is said before that is known.

mod attacks;
mod clients;
mod clocks;
mod deadlines;
mod doors;
mod speed;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clusterctl::clock::Clock;
use clusterctl::cluster::{KeyFingerprint, Proof, ProvenKey, Role};
use clusterctl::config::{MasterAddress, MasterHost};
use clusterctl::controller::listener::{ClearText, Handler, ListenOptions, Listener, ListenerMonitor, Peer};
use clusterctl::nodeagent::client::{self, Answer, ClientError, Link};
use clusterctl::nodeagent::identity::NodeIdentity;
use clusterctl::pki::{Authority, ClientIdentity, ServerTls, Trust};
use clusterctl::protocol::registration::RawRequest;
use clusterctl::protocol::reply::{Reply, Status};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A name that must not reach anybody but the controller.
const CANARY: &str = "canary-of-the-request";

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

/// A clock that stands where it was put.
#[derive(Debug, Clone)]
struct SetClock(Arc<Mutex<Timestamp>>);

impl SetClock {
    fn at(time: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap() = time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Says `ready` and the time; remembers who asked.
struct Recorder {
    peers: Mutex<Vec<Peer>>,
    clock: SetClock,
    release: tokio::sync::Semaphore,
}

#[async_trait::async_trait]
impl Handler for Recorder {
    async fn answer(&self, request: RawRequest, peer: Peer) -> Vec<u8> {
        self.peers.lock().unwrap().push(peer);
        if request.wait_ms > 0 || request.action == "hold" {
            self.release.acquire().await.unwrap().forget();
        }
        let reply = Reply {
            status: Status::Ready,
            message: if request.action == "large" { "x".repeat(200 * 1024) } else { String::new() },
            node_id: request.hostname,
            server_time: self.clock.now().to_string(),
            retry_after_ms: Some(request.wait_ms),
            ..Reply::default()
        };
        serde_json::to_vec(&reply).unwrap()
    }
}

/// A controller's listener with its CA.
struct Door {
    authority: Arc<Authority>,
    clock: SetClock,
    recorder: Arc<Recorder>,
    address: SocketAddr,
    monitor: ListenerMonitor,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    _scratch: tempfile::TempDir,
}

impl Door {
    async fn open() -> Self {
        Self::open_with(ListenOptions::default()).await
    }

    async fn open_with(options: ListenOptions) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let clock = SetClock::at(start());
        let authority = Arc::new(Authority::create(scratch.path(), "c1", start()).unwrap());
        let tls = ServerTls::new(Arc::clone(&authority), Arc::new(clock.clone())).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = ListenOptions { tcp: vec![any], tls: Some(Arc::new(tls)), ..options };
        let listener = Listener::bind(&options).await.unwrap();
        let (address, monitor) = (listener.local_addrs()[0], listener.monitor());
        let release = tokio::sync::Semaphore::new(0);
        let recorder = Arc::new(Recorder { peers: Mutex::default(), clock: clock.clone(), release });
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listener.serve(Arc::clone(&recorder), stopped));
        Self { authority, clock, recorder, address, monitor, stop, serving, _scratch: scratch }
    }

    fn pin(&self) -> Trust {
        Trust::Pinned(vec![self.authority.fingerprint()])
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks as a node with this key and this trust.
    async fn ask(&self, node: &Node, trust: Trust) -> Result<Answer, ClientError> {
        ask(self.address, trust, node.shows(), &self.clock).await
    }

    /// The last client that was answered.
    fn last_peer(&self) -> Peer {
        self.recorder.peers.lock().unwrap().last().unwrap().clone()
    }

    fn last_proof(&self) -> Proof {
        match self.last_peer() {
            Peer::Tls { proof, .. } => Proof::clone(&proof),
            other => panic!("not on TLS: {other:?}"),
        }
    }

    async fn close(self) {
        self.stop.send(true).unwrap();
        within(self.serving).await.unwrap();
    }
}

/// Asks whoever listens at `address`.
async fn ask(
    address: SocketAddr,
    trust: Trust,
    identity: ClientIdentity,
    clock: &SetClock,
) -> Result<Answer, ClientError> {
    let master = MasterAddress { host: MasterHost::Ip(address.ip()), port: address.port() };
    let link = Link::new(master, trust, identity, Arc::new(clock.clone()));
    within(client::ask(&link, &canary())).await
}

fn canary() -> RawRequest {
    RawRequest { hostname: CANARY.to_owned(), ..RawRequest::default() }
}

/// A node's key, and the certificate it got.
struct Node {
    identity: NodeIdentity,
    key: ProvenKey,
    certificate: Option<String>,
}

impl Node {
    fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        let key = ProvenKey::new(pair.subject_public_key_info());
        Self { identity: NodeIdentity::of_key(pair), key, certificate: None }
    }

    /// The same node after its admission.
    fn certified(self, authority: &Authority, role: Role, now: Timestamp) -> Self {
        let issued = authority.issue_node(&self.key, role, now).unwrap();
        Self { certificate: Some(issued.pem), ..self }
    }

    fn shows(&self) -> ClientIdentity {
        self.identity.credentials(self.certificate.as_deref()).unwrap()
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Everything up to the end of the connection, however that comes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = within(stream.read(&mut piece)).await {
        bytes.extend_from_slice(&piece[..read]);
    }
    bytes
}

/// The bytes with which a node opens TLS.
async fn client_hello() -> Vec<u8> {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    let identity = Node::new().shows();
    let opening = tokio::spawn(async move {
        let trust = Trust::Pinned(vec![KeyFingerprint::of_public_key(b"ca")]);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        clusterctl::pki::connect(client, &trust, &identity, deadline).await.map(drop)
    });
    let mut bytes = vec![0; 16 * 1024];
    let read = within(server.read(&mut bytes)).await.unwrap();
    bytes.truncate(read);
    opening.abort();
    assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])) + 5, bytes.len(), "one record");
    bytes
}
