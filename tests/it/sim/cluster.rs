//! The hosts of a simulation, and the controller's life: started on its state, killed without a word, started again.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use clusterctl::clock::Clock;
use clusterctl::cluster::{Admission, Hostname, NodeAddress, OverlayConfig, Role};
use clusterctl::controller::admission::Policy;
use clusterctl::controller::front_door::FrontDoor;
use clusterctl::controller::listener::{Handler, ListenOptions, Peer};
use clusterctl::controller::serve::{self, ServeError, ServeOptions, StorageChoice};
use clusterctl::controller::store::{OpenError, StoreOptions, Writing};
use clusterctl::converge::observe::Hands;
use clusterctl::nodeagent::identity::NodeIdentity;
use clusterctl::pki::ServerTls;
use clusterctl::protocol::exchange::{self, Limits};
use clusterctl::protocol::registration::{Facts, Identity, PROTOCOL, Registration};
use clusterctl::providers::brick_records::BrickRecords;
use clusterctl::providers::gluster::peers_directory::PeersDirectory;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::chance::Dice;
use super::engine::SimEngine;
use super::network::{Arrival, Fate, Network};
use super::pool::SimPool;
use super::trace::Trace;
use crate::fakes::gluster::FakeGlusterWorld;
use crate::fakes::host::{FakeBoot, FakeBricks, FakeHost, FakeMounter};
use crate::fakes::swarm::{FakeEngine, FakeSwarmWorld};
use crate::invariants::fake::OnHost;
use crate::invariants::history::History;
use crate::store::disks::{Faults, faulty};
use crate::world::{address, facts, storage, without_limits};

/// How long a controller is started again and again before that is taken for a fault of its own.
const START_PATIENCE: Duration = Duration::from_secs(600);

/// A wall clock that goes with the runtime's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimClock(Instant);

impl SimClock {
    pub(crate) fn started() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(1_767_323_045).unwrap();
        epoch + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// One host.
pub(crate) struct SimHost {
    pub(crate) name: Hostname,
    pub(crate) address: NodeAddress,
    pub(crate) engine: FakeEngine,
    pub(crate) hand: FakeHost,
    pub(crate) identity: NodeIdentity,
    pub(crate) hands: Hands,
    pub(crate) dice: Dice,
    /// It is no server of the volume.
    client: AtomicBool,
}

/// The key of host `n`, the same in every run: ids order nodes.
fn key(n: usize) -> rcgen::KeyPair {
    const HEAD: [u8; 33] = [
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01,
    ];
    let mut der = HEAD.to_vec();
    der.extend([0x04, 0x20]);
    der.extend([u8::try_from(n).unwrap(); 32]);
    let text = data_encoding::BASE64.encode(&der);
    rcgen::KeyPair::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")).unwrap()
}

/// The hosts, and what is between them.
pub(crate) struct Cluster {
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    pub(crate) gluster: FakeGlusterWorld,
    pub(crate) pool: SimPool,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) clock: SimClock,
    pub(crate) history: Arc<History>,
    /// The disk under the controller's state.
    pub(crate) disk: Arc<Faults>,
    docker: SimEngine,
    scratch: tempfile::TempDir,
    controller: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    door: Mutex<Weak<FrontDoor>>,
    /// Told when the controller has to die in the middle of an exchange.
    dying: mpsc::UnboundedSender<()>,
}

impl Cluster {
    /// Hosts that know nothing of each other, but for the Swarm that the first one has made.
    pub(crate) async fn new(count: usize, dice: Dice, dying: mpsc::UnboundedSender<()>) -> Self {
        let addresses: Vec<NodeAddress> = (1..=count).map(address).collect();
        let (swarm, gluster) = (FakeSwarmWorld::new(), FakeGlusterWorld::new(&addresses));
        // In memory where the machine has that: nothing here is about the disk.
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut docker = None;
        let mut hosts = Vec::new();
        for n in 1..=count {
            let (name, me) = (format!("h{n}"), address(n));
            let engine = swarm.engine(&name, me.to_string().as_str());
            let own = dice.own(n as u64);
            let timed = SimEngine::new(engine.clone(), own.own(1));
            let hand = FakeHost::new(&gluster, me);
            let home = scratch.path().join(&name);
            let hands = Hands {
                engine: Arc::new(timed.clone()),
                bricks: Arc::new(FakeBricks { host: hand.clone(), disk: gluster.disk(me) }),
                records: BrickRecords::below(&home),
                peers: PeersDirectory::at(home.join("peers")),
                mounter: Arc::new(FakeMounter(hand.clone())),
                persistence: Arc::new(FakeBoot(hand.clone())),
            };
            docker.get_or_insert_with(|| timed.for_another(dice.own(100)));
            let (name, identity) = (Hostname::parse(&name).unwrap(), NodeIdentity::of_key(key(n)));
            hosts.push(SimHost {
                name,
                address: me,
                engine,
                hand,
                identity,
                hands,
                dice: own,
                client: AtomicBool::new(false),
            });
        }
        let docker = docker.unwrap();
        clusterctl::providers::swarm::SwarmEngine::init(&docker, address(1)).await.unwrap();
        Self {
            pool: SimPool::new(gluster.pool(address(1)), dice.own(101)),
            network: Network::new(),
            trace: Trace::begin(),
            clock: SimClock::started(),
            history: Arc::default(),
            disk: Arc::default(),
            controller: tokio::sync::Mutex::new(None),
            door: Mutex::default(),
            dice,
            gluster,
            hosts,
            docker,
            scratch,
            dying,
        }
    }

    pub(crate) fn host(&self, n: usize) -> &SimHost {
        &self.hosts[n - 1]
    }

    /// Makes host `n` a client of the volume.
    pub(crate) fn set_client(&self, n: usize) {
        self.host(n).client.store(true, Ordering::Relaxed);
    }

    /// What host `n` says of itself.
    pub(crate) fn facts(&self, n: usize) -> Facts {
        Facts { gluster_client_only: self.host(n).client.load(Ordering::Relaxed), ..facts() }
    }

    pub(crate) fn seen(&self) -> Vec<OnHost> {
        let seen = |host: &SimHost| OnHost {
            hostname: host.name.to_string(),
            node_id: host.identity.node_id.to_string(),
            engine: host.engine.clone(),
            hand: host.hand.clone(),
        };
        self.hosts.iter().map(seen).collect()
    }

    fn options(&self) -> ServeOptions {
        let master = self.host(1);
        ServeOptions {
            state_dir: self.scratch.path().join("controller"),
            listen: ListenOptions {
                tcp: vec![SocketAddr::from((master.address.ip(), 7000))],
                ..ListenOptions::default()
            },
            policy: Policy { admission: Admission::Open, plaintext: false, max_nodes: 100 },
            limits: without_limits(),
            need: None,
            overlay: OverlayConfig::default(),
            storage: StorageChoice::On(storage()),
            settle: SignedDuration::from_secs(10),
            allowed_networks: Vec::new(),
            advertise: None,
            own: Registration {
                who: Identity { node_id: Some(master.identity.node_id.clone()), hostname: master.name.clone() },
                role: Some(Role::Manager),
                address: Some(master.address),
                facts: facts(),
                sent_at: None,
                protocol: PROTOCOL,
                wait_ms: 0,
                token_refused: false,
                token: None,
            },
            engine: Arc::new(self.docker.clone()),
            pool: Arc::new(self.pool.clone()),
            clock: Arc::new(self.clock),
            store: StoreOptions {
                medium: Some(faulty(&self.disk)),
                writing: Writing::Caller,
                reopen: (Duration::ZERO, Duration::ZERO),
                ..StoreOptions::default()
            },
            storage_patience: serve::STORAGE_PATIENCE,
        }
    }

    /// Starts the controller on its state, unless it runs.
    pub(crate) async fn start_controller(&self) {
        let mut running = self.controller.lock().await;
        if running.is_some() {
            return;
        }
        let began = Instant::now();
        let controller = loop {
            match serve::open(self.options()).await {
                Ok(controller) => break controller,
                // What is left of the one before is dropped when its tasks next have their turn.
                Err(ServeError::Open(OpenError::InUse { .. })) => tokio::time::sleep(Duration::from_millis(1)).await,
                // A unit is started again.
                Err(error) => {
                    let scratch = self.scratch.path().to_string_lossy();
                    let line = clusterctl::causes::chain(&error).replace(&*scratch, "");
                    assert!(began.elapsed() < START_PATIENCE, "the controller does not start: {line}");
                    self.trace.say(format_args!("the controller ends: {line}"));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let (door, tls) = (Arc::clone(&controller.door), Arc::clone(&controller.tls));
        *self.door.lock().unwrap() = Arc::downgrade(&door);
        let desk = Desk {
            door,
            tls,
            network: self.network.clone(),
            history: Arc::clone(&self.history),
            dying: self.dying.clone(),
        };
        let serving = desk.serve(self.network.listen());
        self.trace.say("the controller runs");
        *running = Some(tokio::spawn(async move { controller.run(serving).await.unwrap() }));
    }

    /// Ends the controller as SIGKILL does.
    pub(crate) async fn kill_controller(&self) {
        let Some(running) = self.controller.lock().await.take() else { return };
        self.trace.say("the controller is killed");
        running.abort();
        if let Err(error) = running.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// What `master status` shows.
    pub(crate) async fn status(&self) -> Value {
        self.administer(json!({"Action": "status"})).await
    }

    /// What root on the controller's host is answered.
    pub(crate) async fn administer(&self, request: Value) -> Value {
        let door = self.door.lock().unwrap().upgrade().expect("a controller runs");
        let request = serde_json::from_value(request).unwrap();
        let asked = Instant::now();
        let reply = serde_json::from_slice(&door.answer(request, Peer::Local { uid: 0 }).await).unwrap();
        self.history.note(asked, &reply);
        reply
    }
}

/// Where the controller answers.
struct Desk {
    door: Arc<FrontDoor>,
    tls: Arc<ServerTls>,
    network: Network,
    history: Arc<History>,
    dying: mpsc::UnboundedSender<()>,
}

impl Desk {
    async fn serve(self, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
        let desk = Arc::new(self);
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(arrival) = arrivals.recv() => {
                    conversations.spawn(Arc::clone(&desk).converse(arrival));
                }
                Some(ended) = conversations.join_next() => ended.unwrap(),
                else => std::future::pending().await,
            }
        }
    }

    /// One exchange, as far as its fate lets it come. On the way out of here the connection breaks.
    async fn converse(self: Arc<Self>, arrival: Arrival) {
        let Arrival { stream, from, host, fate } = arrival;
        if fate == Fate::RequestLost {
            return;
        }
        let Ok(mut stream) = TlsAcceptor::from(self.tls.config()).accept(stream).await else { return };
        let proof = Arc::new(self.tls.proof_of(stream.get_ref().1));
        let limits = Limits::default();
        let Ok(request) = exchange::receive(&mut stream, &limits).await else { return };
        let asked = Instant::now();
        let mut byte = [0];
        let reply = tokio::select! {
            biased;
            reply = self.door.answer(request, Peer::Tls { address: from, proof }) => reply,
            // A client that leaves is not answered.
            _ = stream.read(&mut byte) => return,
        };
        self.history.note(asked, &serde_json::from_slice(&reply).unwrap());
        match fate {
            Fate::Fine | Fate::RequestLost => {}
            Fate::ReplyLost => return,
            Fate::ReplyLate(late) => tokio::time::sleep(late).await,
            Fate::ControllerDies => {
                self.dying.send(()).ok();
                std::future::pending::<()>().await;
            }
        }
        while self.network.is_cut(host) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if exchange::respond(&mut stream, reply, &limits).await.is_ok() {
            exchange::finish(&mut stream, &limits).await;
        }
    }
}

/// Where nodes are told that the controller is.
pub(crate) fn master() -> clusterctl::config::MasterAddress {
    let host = clusterctl::config::MasterHost::Ip(IpAddr::V4(address(1).ip()));
    clusterctl::config::MasterAddress { host, port: 7000 }
}
