//! A cluster in one process: fake hosts, the real controller on a real port, the real join.
//!
//! Every world has an address of its own out of 127.0.0.0/8, so that the controller comes back on the same port after a
//! restart and no other socket takes that port meanwhile. Nodes speak from loopback and register addresses out of
//! 10.0.0.0/24, which open admission allows.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use clusterctl::clock::{Clock, SystemClock};
use clusterctl::cluster::OverlayConfig;
use clusterctl::cluster::{BrickPath, Hostname, KeyFingerprint, MountPoint, NodeAddress, NodeId, Role, VolumeName};
use clusterctl::config::{MasterAddress, MasterHost};
use clusterctl::controller::admission::{Admission, Policy};
use clusterctl::controller::command::{StorageRecord, Thresholds};
use clusterctl::controller::init::{self, AdoptOptions, InitError, InitOptions, InitOutcome};
use clusterctl::controller::limits::LimitSettings;
use clusterctl::controller::listener::{ClearText, ListenOptions};
use clusterctl::controller::serve::{self, ServeError, ServeOptions, StorageChoice};
use clusterctl::controller::store::StoreOptions;
use clusterctl::converge::observe::{Hands, ObserveError};
use clusterctl::nodeagent::client::Link;
use clusterctl::nodeagent::conversation::kernel_chance;
use clusterctl::nodeagent::facts::RunningSystem;
use clusterctl::nodeagent::history::Heard;
use clusterctl::nodeagent::identity::NodeIdentity;
use clusterctl::nodeagent::join::{Join, JoinError, Joined};
use clusterctl::nodeagent::leave::{Leave, LeaveError};
use clusterctl::nodeagent::membership::Membership;
use clusterctl::pki::{Authority, Trust};
use clusterctl::protocol::registration::{Facts, Identity, PROTOCOL, Registration};
use clusterctl::providers::brick_records::BrickRecords;
use clusterctl::providers::gluster::peers_directory::PeersDirectory;
use clusterctl::providers::gluster::{Volume, VolumeStatus};
use clusterctl::providers::swarm::{Engine, SwarmEngine};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::fakes::gluster::FakeGlusterWorld;
use crate::fakes::host::{FakeBoot, FakeBricks, FakeHost, FakeMounter};
use crate::fakes::swarm::{FakeEngine, FakeSwarmWorld};
use crate::invariants::effects::Effects;
use crate::invariants::fake::{self, OnHost};
use crate::invariants::history::History;

/// How long anything may take that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The address of host `n`, the first being 1.
pub(crate) fn address(n: usize) -> NodeAddress {
    NodeAddress::parse(&format!("10.0.0.{n}")).unwrap()
}

pub(crate) fn volume_name() -> VolumeName {
    VolumeName::parse("shared").unwrap()
}

pub(crate) fn brick_path() -> BrickPath {
    BrickPath::parse("/data/clusterctl/bricks/shared").unwrap()
}

/// Nothing is ever made there: only whether files lie in it is looked at.
pub(crate) fn mount_point() -> MountPoint {
    MountPoint::parse("/mnt/clusterctl-fake-mount-point/shared").unwrap()
}

/// The facts that every fake host tells.
pub(crate) fn facts() -> Facts {
    Facts {
        os: "Debian".into(),
        cpus: 2,
        memory_mb: 2048,
        docker_version: "20.10.24".into(),
        gluster_capable: true,
        gluster_client_only: false,
    }
}

/// The shared volume as most tests want it.
pub(crate) fn storage() -> StorageRecord {
    StorageRecord {
        volume: volume_name(),
        brick: brick_path(),
        mount: mount_point(),
        replica: 3,
        arbiter: false,
        allow_root_brick: false,
    }
}

/// Waits until `found` is something.
pub(crate) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until something is so that can be asked at once.
pub(crate) async fn until_so(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One fake host.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: Hostname,
    pub(crate) address: NodeAddress,
    pub(crate) engine: FakeEngine,
    pub(crate) hand: FakeHost,
    pub(crate) identity: NodeIdentity,
    /// What it remembers of its controller.
    pub(crate) heard: Option<Heard>,
    pub(crate) facts: Facts,
    pub(crate) running: RunningSystem,
    /// What it remembers of its last join: its id in the Swarm.
    recorded: Arc<Mutex<Option<String>>>,
    hands: Hands,
    master: MasterAddress,
    /// The CA of the world's controller, once there is one.
    authority: Arc<OnceLock<KeyFingerprint>>,
}

impl Host {
    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.node_id.clone()
    }

    /// The way to the controller, which shows this host's key and is for the world's controller alone.
    pub(crate) fn link(&self) -> Link {
        let trust = self.authority.get().map_or(Trust::FirstUse, |authority| Trust::Pinned(vec![*authority]));
        let shown = self.identity.credentials(None).unwrap();
        Link::new(self.master.clone(), trust, shown, Arc::new(SystemClock))
    }

    /// Joins as `node join` does.
    pub(crate) async fn join(&self, role: Option<Role>, timeout: Duration) -> Result<Joined, JoinError> {
        self.engine.version().await.map_err(ObserveError::Docker)?;
        self.join_found(None, role, timeout).await
    }

    /// Joins with the engine as it was found before.
    pub(crate) async fn join_found(
        &self,
        engine: Option<Engine>,
        role: Option<Role>,
        timeout: Duration,
    ) -> Result<Joined, JoinError> {
        let join = Join {
            link: Arc::new(self.link()),
            identity: self.identity.clone(),
            hostname: self.name.clone(),
            address: self.address,
            role,
            token: None,
            facts: self.facts.clone(),
            running: self.running.clone(),
            overlay: None,
            recorded: self.recorded.lock().unwrap().clone(),
            engine,
            hands: self.hands.clone(),
            heard: self.heard.clone(),
            timeout,
            clock: Arc::new(SystemClock),
            chance: kernel_chance(),
        };
        let joined = join.run().await?;
        *self.recorded.lock().unwrap() = Some(joined.swarm_node_id.clone());
        Ok(joined)
    }

    /// Leaves as `node leave` does; `member` is what it remembers of its join.
    pub(crate) async fn leave(&self, member: Option<Membership>) -> Result<Vec<String>, LeaveError> {
        let leave = Leave {
            link: self.link(),
            identity: self.identity.clone(),
            hostname: self.name.clone(),
            member,
            hands: self.hands.clone(),
        };
        leave.run().await
    }

    /// A registration by hand, to be changed and sent.
    pub(crate) fn registration(&self) -> Value {
        let facts = &self.facts;
        json!({
            "Action": "register", "Hostname": self.name, "NodeId": self.node_id(), "IP": self.address,
            "Protocol": PROTOCOL, "OS": facts.os, "CPU": facts.cpus, "MemoryMb": facts.memory_mb,
            "DockerVersion": facts.docker_version, "GlusterCapable": facts.gluster_capable,
            "Timestamp": SystemClock.now().to_string(),
        })
    }

    /// Changes made on this host, by whatever hand.
    pub(crate) fn mutations(&self) -> usize {
        self.engine.mutating_calls() + self.hand.mutations()
    }
}

/// A controller that runs.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), ServeError>>,
}

/// What the controller is started with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) need: Option<Thresholds>,
    pub(crate) storage: Option<StorageRecord>,
    pub(crate) settle: SignedDuration,
    pub(crate) overlay: OverlayConfig,
    pub(crate) max_nodes: u32,
    pub(crate) admission: Admission,
    pub(crate) limits: LimitSettings,
    pub(crate) store: StoreOptions,
    pub(crate) storage_patience: Duration,
}

/// Rates that no test reaches which is about something else.
pub(crate) fn without_limits() -> LimitSettings {
    LimitSettings {
        requests_per_second: 1_000_000,
        requests_burst: 1_000_000,
        node_requests_per_second: 1_000_000,
        node_requests_burst: 1_000_000,
        token_failures_per_minute: 1_000_000,
        token_failures_per_address: 1_000_000,
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            need: None,
            storage: Some(storage()),
            settle: SignedDuration::from_millis(150),
            overlay: OverlayConfig::default(),
            max_nodes: 100,
            // Most tests are about something else.
            admission: Admission::Open,
            limits: without_limits(),
            store: StoreOptions::default(),
            storage_patience: serve::STORAGE_PATIENCE,
        }
    }
}

/// Some hosts, the first of which is the master, and its controller.
pub(crate) struct World {
    pub(crate) gluster: FakeGlusterWorld,
    pub(crate) hosts: Vec<Host>,
    pub(crate) settings: Settings,
    pub(crate) door: SocketAddr,
    /// The controller is told nothing of the volume.
    pub(crate) as_recorded: bool,
    authority: Arc<OnceLock<KeyFingerprint>>,
    scratch: tempfile::TempDir,
    running: Option<Running>,
    history: History,
}

/// A port that is free on a loopback address which nobody else in this process uses.
fn reserve() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = number.to_be_bytes();
    let process = u8::try_from(std::process::id() % 250).unwrap() + 1;
    let ip = Ipv4Addr::new(127, process, high, low);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

impl World {
    /// Hosts `h1` to `hN` that know nothing of each other, and no controller yet.
    pub(crate) fn new(count: usize, settings: Settings) -> Self {
        let addresses: Vec<NodeAddress> = (1..=count).map(address).collect();
        let (swarm, gluster) = (FakeSwarmWorld::new(), FakeGlusterWorld::new(&addresses));
        let (scratch, door) = (tempfile::tempdir().unwrap(), reserve());
        let authority = Arc::new(OnceLock::new());
        let host = |n: usize| {
            let (name, me) = (format!("h{n}"), address(n));
            let engine = swarm.engine(&name, me.to_string().as_str());
            let hand = FakeHost::new(&gluster, me);
            let home = scratch.path().join(&name);
            let hands = Hands {
                engine: Arc::new(engine.clone()),
                bricks: Arc::new(FakeBricks { host: hand.clone(), disk: gluster.disk(me) }),
                records: BrickRecords::below(&home),
                peers: PeersDirectory::at(home.join("peers")),
                mounter: Arc::new(FakeMounter(hand.clone())),
                persistence: Arc::new(FakeBoot(hand.clone())),
            };
            let master = MasterAddress { host: MasterHost::Ip(door.ip()), port: door.port() };
            Host {
                name: Hostname::parse(&name).unwrap(),
                address: me,
                engine,
                hand,
                identity: NodeIdentity::of_key(rcgen::KeyPair::generate().unwrap()),
                heard: None,
                facts: facts(),
                running: RunningSystem {
                    machine_id: format!("{n:032x}"),
                    boot_id: format!("{n:08x}-0000-4000-8000-0"),
                },
                recorded: Arc::default(),
                hands,
                master,
                authority: Arc::clone(&authority),
            }
        };
        let hosts = (1..=count).map(host).collect();
        Self {
            gluster,
            hosts,
            settings,
            door,
            as_recorded: false,
            authority,
            scratch,
            running: None,
            history: History::default(),
        }
    }

    /// A glusterd that this host's glusterd has been made a peer of.
    pub(crate) fn captured(&self, host: &Host, by: &str) {
        let peers = self.scratch.path().join(host.name.as_str()).join("peers");
        std::fs::create_dir_all(&peers).unwrap();
        std::fs::write(peers.join("6cf0f4a4-1d4f-4ac1-a4b6-1f3f8a4a4b0f"), format!("state=3\nhostname1={by}\n"))
            .unwrap();
    }

    /// Hosts, a Swarm on the first one, and a controller.
    pub(crate) async fn started(count: usize, settings: Settings) -> Self {
        let mut world = Self::new(count, settings);
        world.init().await;
        world.start().await;
        world
    }

    /// `master init` on the first host.
    pub(crate) async fn init(&self) {
        init::run(self.init_options(None)).await.unwrap();
    }

    /// `master init --adopt` on the first host.
    pub(crate) async fn adopt(&self) -> Result<InitOutcome, InitError> {
        let pool = Arc::new(self.gluster.pool(self.hosts[0].address));
        let adopt = Some(AdoptOptions { pool, wanted: storage() });
        init::run(InitOptions { storage: StorageChoice::AsRecorded, ..self.init_options(adopt) }).await
    }

    fn init_options(&self, adopt: Option<AdoptOptions>) -> InitOptions {
        InitOptions {
            state_dir: self.state_dir(),
            storage: self.storage_choice(),
            advertise: address(1),
            engine: Arc::new(self.hosts[0].engine.clone()),
            clock: Arc::new(SystemClock),
            adopt,
            store: StoreOptions::default(),
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.scratch.path().join("controller")
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path().join("controller.sock")
    }

    fn storage_choice(&self) -> StorageChoice {
        if self.as_recorded {
            return StorageChoice::AsRecorded;
        }
        self.settings.storage.clone().map_or(StorageChoice::Off, StorageChoice::On)
    }

    /// Starts the controller and waits until its port is open.
    pub(crate) async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    /// Starts the controller.
    pub(crate) async fn try_start(&mut self) -> Result<(), ServeError> {
        assert!(self.running.is_none(), "one controller at a time");
        let master = &self.hosts[0];
        let own = Registration {
            who: Identity { node_id: Some(master.node_id()), hostname: master.name.clone() },
            role: Some(Role::Manager),
            address: Some(master.address),
            facts: facts(),
            sent_at: None,
            protocol: PROTOCOL,
            wait_ms: 0,
            token_refused: false,
            token: None,
        };
        let options = ServeOptions {
            state_dir: self.state_dir(),
            listen: ListenOptions {
                tcp: vec![self.door],
                unix: Some(self.socket()),
                clear_text: ClearText::Private,
                per_address: 1_000,
                held_per_address: 1_000,
                drain: Duration::from_millis(20),
                ..ListenOptions::default()
            },
            policy: Policy { admission: self.settings.admission, plaintext: true, max_nodes: self.settings.max_nodes },
            limits: self.settings.limits,
            need: self.settings.need,
            overlay: self.settings.overlay.clone(),
            storage: self.storage_choice(),
            settle: self.settings.settle,
            allowed_networks: Vec::new(),
            advertise: None,
            own,
            engine: Arc::new(master.engine.clone()),
            pool: Arc::new(self.gluster.pool(master.address)),
            clock: Arc::new(SystemClock),
            store: self.settings.store.clone(),
            storage_patience: self.settings.storage_patience,
        };
        let (stop, stopped) = watch::channel(false);
        let (open, opened) = oneshot::channel();
        let task = tokio::spawn(serve::run(options, stopped, |_| open.send(()).unwrap()));
        if opened.await.is_err() {
            return task.await.unwrap();
        }
        self.running = Some(Running { stop, task });
        let directory = self.state_dir().join(serve::AUTHORITY_DIR);
        let found = Authority::load(&directory).unwrap().unwrap().fingerprint();
        assert_eq!(*self.authority.get_or_init(|| found), found, "a controller keeps its CA");
        Ok(())
    }

    /// Stands at the controller's door without one and hangs up on so many visitors.
    pub(crate) async fn turn_away(&self, visitors: usize) {
        assert!(self.running.is_none(), "one at the door at a time");
        let door = tokio::net::TcpListener::bind(self.door).await.unwrap();
        for visitor in 1..=visitors {
            let came = tokio::time::timeout(DEADLINE, door.accept()).await;
            drop(came.unwrap_or_else(|_| panic!("visitor {visitor} not within {DEADLINE:?}")).unwrap());
        }
    }

    /// Stops the controller and waits for its end.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.send_replace(true);
        running.task.await.unwrap().unwrap();
    }

    /// How the controller ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), ServeError> {
        let running = self.running.take().unwrap();
        tokio::time::timeout(DEADLINE, running.task).await.unwrap_or_else(|_| panic!("it goes on")).unwrap()
    }

    /// Stops the controller and starts it on the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Sends one request over TCP and reads until the controller closes.
    pub(crate) async fn ask(&self, request: &Value) -> Value {
        self.noted(async { exchange(TcpStream::connect(self.door).await.unwrap(), request).await }).await
    }

    async fn noted(&self, asking: impl Future<Output = Value>) -> Value {
        let asked = tokio::time::Instant::now();
        let reply = asking.await;
        self.history.note(asked, &reply);
        reply
    }

    /// The same over the unix socket.
    pub(crate) async fn ask_locally(&self, request: &Value) -> Value {
        self.noted(async { exchange(UnixStream::connect(self.socket()).await.unwrap(), request).await }).await
    }

    /// What `master status` shows.
    pub(crate) async fn status(&self) -> Value {
        self.ask_locally(&json!({"Action": "status"})).await
    }

    /// The sequence of the store's last record.
    pub(crate) async fn sequence(&self) -> u64 {
        let status = self.status().await;
        status["Store"]["Sequence"].as_u64().or(status["Store"]["sequence"].as_u64()).unwrap()
    }

    /// The volume as the master's server has it.
    pub(crate) fn volume(&self) -> Option<Volume> {
        self.gluster.look_at(address(1), &volume_name())
    }

    /// Waits until the volume serves with that many bricks and everybody on its access list.
    pub(crate) async fn volume_of(&self, bricks: usize) -> Volume {
        let listed: Vec<usize> = (1..=self.hosts.len()).collect();
        self.volume_of_listed(bricks, &listed).await
    }

    /// The same with these hosts, by their numbers, on its access list.
    pub(crate) async fn volume_of_listed(&self, bricks: usize, listed: &[usize]) -> Volume {
        let listed = listed.iter().map(|n| address(*n).to_string()).collect::<std::collections::BTreeSet<_>>();
        let as_wanted = |volume: &Volume| {
            let allow = volume.options.get("auth.allow").map(String::as_str).unwrap_or_default();
            let allowed: std::collections::BTreeSet<String> = allow.split(',').map(str::to_owned).collect();
            volume.bricks.len() == bricks && volume.status == VolumeStatus::Started && allowed == listed
        };
        let start = Instant::now();
        loop {
            let volume = self.volume();
            match volume {
                Some(volume) if as_wanted(&volume) => return volume,
                Some(_) | None => assert!(start.elapsed() < DEADLINE, "no volume of {bricks} bricks: {volume:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What holds after every fault, once all hosts have joined: I1 to I6 and I10 to I12.
    pub(crate) async fn check_invariants(&self) {
        let hosts = self.seen();
        fake::check_swarm(&hosts).await;
        fake::check_storage(&self.gluster, self.hosts.len()).await;
        let root = self.settings.storage.as_ref().is_some_and(|storage| storage.allow_root_brick);
        fake::check_acts(&hosts, &self.gluster, root);
        fake::check_records(&self.status().await, &self.history, &hosts);
    }

    /// What was changed until now, on the hosts, in the pool and in the controller's records.
    pub(crate) async fn effects(&self) -> Effects {
        fake::effects(&self.seen(), &self.gluster, self.sequence().await)
    }

    fn seen(&self) -> Vec<OnHost> {
        let seen = |host: &Host| OnHost {
            hostname: host.name.to_string(),
            node_id: host.node_id().to_string(),
            engine: host.engine.clone(),
            hand: host.hand.clone(),
        };
        self.hosts.iter().map(seen).collect()
    }

    pub(crate) async fn engines(&self) -> Vec<Engine> {
        let mut engines = Vec::new();
        for host in &self.hosts {
            engines.push(host.engine.inspect().await.unwrap());
        }
        engines
    }
}

async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &Value) -> Value {
    stream.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE + Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer)))
}
