//! The front door without its listener: callers are what a test says they have proved. State, decisions and limits are
//! the real ones; Swarm and certificate authority are fakes.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use clusterctl::clock::Clock;
use clusterctl::cluster::{Admission, OverlayConfig, OverlayKind, Proof, ProvenKey, Role, Secret, Subject, Validity};
use clusterctl::controller::admission::Policy;
use clusterctl::controller::certificates::CertificateIssuer;
use clusterctl::controller::command::Thresholds;
use clusterctl::controller::front_door::{FrontDoor, Memory};
use clusterctl::controller::limits::{LimitSettings, Limits};
use clusterctl::controller::listener::{Handler, Peer};
use clusterctl::controller::overview::Counters;
use clusterctl::controller::reply::StorageView;
use clusterctl::controller::state::ClusterState;
use clusterctl::controller::store::{Store, StoreOptions};
use clusterctl::controller::swarm_view::SwarmWatch;
use clusterctl::protocol::registration::RawRequest;
use clusterctl::providers::swarm::{Join, SwarmEngine};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::with;
use crate::fakes::authority::FakeAuthority;
use crate::fakes::swarm::{FakeEngine, FakeSwarmWorld};
use crate::world::{address, without_limits};

/// The overlay's secret, which only members may see.
pub(super) const OVERLAY_SECRET: &str = "nb-setup-key-canary";

/// A clock that goes when it is told to.
#[derive(Debug)]
struct SetClock(Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// How the door is set up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) admission: Admission,
    pub(super) plaintext: bool,
    pub(super) limits: LimitSettings,
    pub(super) need: Option<Thresholds>,
}

impl Setup {
    pub(super) fn new(admission: Admission) -> Self {
        Self { admission, plaintext: false, limits: without_limits(), need: None }
    }
}

pub(super) struct Door {
    front: Arc<FrontDoor>,
    pub(super) authority: Arc<FakeAuthority>,
    world: FakeSwarmWorld,
    pub(super) engine: FakeEngine,
    setup: Setup,
    clock: Arc<SetClock>,
    scratch: tempfile::TempDir,
    storage: watch::Sender<Arc<StorageView>>,
}

impl Door {
    /// A door whose own host, h1 at 10.0.0.1, manages a Swarm.
    pub(super) async fn open(setup: Setup) -> Self {
        let world = FakeSwarmWorld::new();
        let engine = world.engine("h1", "10.0.0.1");
        engine.init(address(1)).await.unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let authority = Arc::new(FakeAuthority::new());
        let clock = Arc::new(SetClock(Mutex::new(Timestamp::from_second(1_767_323_045).unwrap())));
        let (storage, _) = watch::channel(Arc::new(StorageView::default()));
        let front = front(setup, &scratch, &engine, &authority, &clock, &storage).await;
        let door = Self { front, authority, world, engine, setup, clock, scratch, storage };
        let own = json!({"Role": "manager"});
        let reply = door.ask(&with(registration("h1", 1), own), Peer::Local { uid: 0 }).await;
        assert_eq!(reply["Status"], if setup.need.is_some() { "waiting" } else { "ready" }, "{reply}");
        door
    }

    /// As after a restart of the controller.
    pub(super) async fn restart(&mut self) {
        self.front.store.clone().close().await;
        let Self { setup, scratch, engine, authority, clock, storage, .. } = self;
        self.front = front(*setup, scratch, engine, authority, clock, storage).await;
    }

    /// The same with other settings.
    pub(super) async fn restart_with(&mut self, setup: Setup) {
        self.setup = setup;
        self.restart().await;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn pass(&self, time: SignedDuration) {
        *self.clock.0.lock().unwrap() += time;
    }

    /// The bytes of the answer.
    pub(super) async fn answer(&self, request: &Value, peer: Peer) -> Vec<u8> {
        let raw: RawRequest = serde_json::from_value(request.clone()).unwrap();
        self.front.answer(raw, peer).await
    }

    pub(super) async fn ask(&self, request: &Value, peer: Peer) -> Value {
        serde_json::from_slice(&self.answer(request, peer).await).unwrap()
    }

    /// As root on the controller's host.
    pub(super) async fn administer(&self, action: &str, fields: Value) -> Value {
        self.ask(&with(json!({"Action": action}), fields), Peer::Local { uid: 0 }).await
    }

    /// The same, for what must succeed.
    pub(super) async fn command(&self, action: &str, fields: Value) -> Value {
        let reply = self.administer(action, fields).await;
        assert_eq!(reply["Status"], "ready", "{action}: {reply}");
        reply
    }

    /// The engine of a node that has joined the Swarm as a worker.
    pub(super) async fn engine_of(&self, name: &str, last: u8) -> FakeEngine {
        let engine = self.world.engine(name, &format!("10.0.0.{last}"));
        let join = Join {
            token: self.engine.join_tokens().await.unwrap().for_role(Role::Worker).clone(),
            managers: vec!["10.0.0.1:2377".to_owned()],
            advertise: address(last.into()),
        };
        engine.join(&join).await.unwrap();
        engine
    }

    /// A new token's text.
    pub(super) async fn token(&self, fields: Value) -> String {
        self.command("token-create", fields).await["Token"].as_str().unwrap().to_owned()
    }

    /// A registration on TLS by a node with a key and no certificate.
    pub(super) async fn register(&self, name: &str, last: u8, fields: Value) -> Value {
        self.ask(&with(registration(name, last), fields), tls(name, last)).await
    }

    /// Lets a node in as a worker, with a token of its own.
    pub(super) async fn member(&self, name: &str, last: u8) {
        let token = self.token(json!({"Uses": 1})).await;
        let reply = self.register(name, last, json!({"Token": token})).await;
        assert_eq!(reply["Status"], "ready", "{reply}");
    }

    /// The request of the node of that name.
    pub(super) async fn request_of(&self, name: &str) -> Value {
        let requests = self.command("requests", json!({})).await;
        let found = requests["Requests"].as_array().unwrap().iter().find(|request| request["Hostname"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// The row of the node of that name.
    pub(super) async fn row(&self, name: &str) -> Value {
        let nodes = self.command("nodes", json!({})).await;
        let found = nodes["Nodes"].as_array().unwrap().iter().find(|node| node["Hostname"] == name);
        found.cloned().unwrap_or(Value::Null)
    }

    /// How many replies are held back.
    pub(super) async fn held(&self) -> u64 {
        self.command("status", json!({})).await["Counters"]["RepliesHeldBack"].as_u64().unwrap()
    }

    /// The sequence of the last record.
    pub(super) fn sequence(&self) -> u64 {
        self.front.store.status().sequence
    }

    /// The texts that only members may see.
    pub(super) async fn secrets(&self) -> Vec<String> {
        let tokens = self.engine.join_tokens().await.unwrap();
        let swarm = [Role::Worker, Role::Manager].map(|role| tokens.for_role(role).reveal().to_owned());
        swarm.into_iter().chain(["SWMTKN".to_owned(), OVERLAY_SECRET.to_owned()]).collect()
    }
}

async fn front(
    setup: Setup,
    scratch: &tempfile::TempDir,
    engine: &FakeEngine,
    authority: &Arc<FakeAuthority>,
    clock: &Arc<SetClock>,
    storage: &watch::Sender<Arc<StorageView>>,
) -> Arc<FrontDoor> {
    Arc::new(FrontDoor {
        store: Store::<ClusterState>::open(&scratch.path().join("state"), StoreOptions::default()).await.unwrap(),
        state_dir: scratch.path().join("state"),
        policy: Policy { admission: setup.admission, plaintext: setup.plaintext, max_nodes: 1_000 },
        certificates: Some(Arc::clone(authority) as Arc<dyn CertificateIssuer>),
        engine: Arc::new(engine.clone()),
        own: std::net::SocketAddrV4::new([10, 0, 0, 1].into(), 7000),
        need: setup.need,
        overlay: OverlayConfig { kind: OverlayKind::Netbird, payload: Some(Secret::new(OVERLAY_SECRET)) },
        swarm: Arc::new(SwarmWatch::new(Arc::new(engine.clone()), None)),
        storage: storage.subscribe(),
        wake: Arc::new(Notify::new()),
        look_again: Arc::new(AtomicBool::new(false)),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        counters: Arc::new(Counters::default()),
        listener: OnceLock::new(),
        limits: Mutex::new(Limits::new(&setup.limits)),
        started: tokio::time::Instant::now(),
        memory: Memory::default(),
    })
}

/// The key of the node of that name.
pub(super) fn key(name: &str) -> ProvenKey {
    ProvenKey::new(name.as_bytes().to_vec())
}

/// What the node of that name says about itself.
pub(super) fn registration(name: &str, last: u8) -> Value {
    json!({
        "Action": "register", "Hostname": name, "NodeId": key(name).node_id, "IP": format!("10.0.0.{last}"),
        "Protocol": 1, "OS": "Debian", "CPU": 2, "MemoryMb": 2048, "GlusterCapable": false,
    })
}

fn from(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 40_000))
}

/// A client in clear text.
pub(super) fn clear(last: u8) -> Peer {
    Peer::Remote(from(last))
}

/// A client on TLS with that proof.
pub(super) fn proving(proof: Proof, last: u8) -> Peer {
    Peer::Tls { address: from(last), proof: Arc::new(proof) }
}

/// A client that shows the key of the node of that name, under a certificate of its own.
pub(super) fn tls(name: &str, last: u8) -> Peer {
    proving(Proof::Key(key(name)), last)
}

/// The same with a certificate of the cluster.
pub(super) fn certified(name: &str, last: u8, role: Role, validity: Validity) -> Peer {
    let key = key(name);
    let subject = Subject::Node { id: key.node_id.clone(), role };
    proving(Proof::Certified { key, subject, validity }, last)
}

/// A client with an administrator's certificate.
pub(super) fn administrator(name: &str, validity: Validity) -> Peer {
    let subject = Subject::Admin { name: name.to_owned() };
    proving(Proof::Certified { key: key(name), subject, validity }, 200)
}

/// Asks how things stand for the node of that name.
pub(super) fn status_of(name: &str) -> Value {
    json!({"Action": "check-status", "Hostname": name, "NodeId": key(name).node_id, "Protocol": 1})
}
