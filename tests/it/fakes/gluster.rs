//! A world of GlusterFS servers in memory, behind the same trait as the real command.
//!
//! Servers have state, not a script: pools, volumes, marks on bricks. What they answer, and what a refusal leaves
//! behind, is what GlusterFS 10.3 was seen to do; `gluster_contract` holds both to it.

#![expect(clippy::unwrap_used, reason = "a fake that was set up wrongly shall fail its test there")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clusterctl::cluster::{BrickPath, NodeAddress, VolumeName};
use clusterctl::providers::gluster::{
    Brick, BrickStatus, GlusterError, NewVolume, OpVersions, Peer, StoragePool, Volume, VolumeStatus,
};
use clusterctl::providers::mounts::{BrickDisk, BrickError, BrickFacts};

mod changes;
mod disk;

use changes::Change;
pub(crate) use disk::FakeDisk;

/// What a call does instead of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another transaction; nothing is changed.
    Busy,
    /// `gluster` cannot reach its glusterd; nothing is changed.
    DaemonDown,
    /// The deadline passes; nothing is changed.
    TimedOut,
    /// The deadline passes although the change is made.
    TimedOutButDone,
    /// "Commit failed on ..." although the change is made.
    CommitFailedButDone,
    /// A participant dies during a create or an add: marks stay on the bricks, and no volume comes about.
    Wedged,
}

/// A server's disk and daemon.
#[derive(Debug, Default)]
struct Server {
    uuid: String,
    /// Servers with the same number are one pool.
    pool: usize,
    up: bool,
    reachable: bool,
    hung: bool,
    /// Bricks of this server would lie on its root file system.
    root_disk: bool,
    /// The others reject it.
    rejected: bool,
    /// It was installed anew: its identity by now.
    renewed: Option<String>,
    /// It is of a version that knows less than the pool uses.
    old: bool,
    /// How full the file systems of its bricks are.
    used_percent: u8,
}

#[derive(Debug, Default)]
struct World {
    servers: BTreeMap<NodeAddress, Server>,
    /// By pool.
    volumes: Vec<(usize, Volume)>,
    /// Marks on bricks: the id of a volume, which may exist nowhere.
    marks: BTreeMap<(NodeAddress, String), String>,
    /// Bricks that a create or an add has named.
    named: BTreeSet<(NodeAddress, String)>,
    /// Bricks with files of users.
    data: BTreeSet<(NodeAddress, String)>,
    dead_bricks: BTreeSet<Brick>,
    calls: usize,
    mutations: usize,
    faults: BTreeMap<usize, Fault>,
    busy: usize,
    /// So many creates and adds to come are wedged.
    wedges: usize,
    /// A wedged change finds files in the bricks that it leaves its mark on.
    files_at_wedge: bool,
    /// What waits for a hung server, by volume. It holds the volume's lock, also after its `gluster` was killed, and is
    /// done when the server goes on. `None` for a mere look.
    stuck: BTreeMap<String, Option<(NodeAddress, Change)>>,
    ids: u32,
    /// Every change of a volume or of a mark that was asked for, in words.
    history: Vec<String>,
    probed: BTreeSet<NodeAddress>,
    /// Spreading the layout is refused.
    layouts_refused: bool,
    /// How often the layout was spread.
    layouts: usize,
    /// Where the next delay comes from; 0 where nothing is slow.
    delays: u64,
}

/// Some servers, and the means to disturb them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeGlusterWorld(Arc<Mutex<World>>);

#[expect(dead_code, reason = "the means are there for every test; not each is used yet")]
impl FakeGlusterWorld {
    /// A world of servers that run and know nobody.
    pub(crate) fn new(addresses: &[NodeAddress]) -> Self {
        let world = Self::default();
        for (pool, address) in addresses.iter().enumerate() {
            let uuid = world.lock().next_id();
            let server = Server { uuid, pool, up: true, used_percent: 10, reachable: true, ..Server::default() };
            world.lock().servers.insert(*address, server);
        }
        world
    }

    /// The view and the means of one server.
    pub(crate) fn pool(&self, me: NodeAddress) -> FakePool {
        FakePool { world: self.clone(), me }
    }

    /// The bricks' directories of one server.
    pub(crate) fn disk(&self, me: NodeAddress) -> FakeDisk {
        FakeDisk { world: self.clone(), me }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn server(&self, address: NodeAddress, change: impl FnOnce(&mut Server)) {
        change(self.lock().servers.get_mut(&address).unwrap());
    }

    /// Stops or starts glusterd.
    pub(crate) fn set_up(&self, address: NodeAddress, up: bool) {
        self.server(address, |server| server.up = up);
    }

    /// Cuts or heals the network.
    pub(crate) fn set_reachable(&self, address: NodeAddress, reachable: bool) {
        self.server(address, |server| server.reachable = reachable);
    }

    /// Stops glusterd as SIGSTOP does, or lets it go on. Meanwhile the others see it connected; the first change of a
    /// volume hangs, and the next ones find it in progress. What hung is done when it goes on. Probes are not held up.
    pub(crate) fn set_hung(&self, address: NodeAddress, hung: bool) {
        self.server(address, |server| server.hung = hung);
        let mut world = self.lock();
        if !world.servers.values().any(|server| server.hung) {
            for (me, change) in std::mem::take(&mut world.stuck).into_values().flatten() {
                // Nobody waits for the answer any more.
                drop(world.apply(me, &change, None));
            }
        }
    }

    /// Whether bricks lie on the root file system.
    pub(crate) fn set_root_disk(&self, address: NodeAddress, root_disk: bool) {
        self.server(address, |server| server.root_disk = root_disk);
    }

    /// Wipes `/var/lib/glusterd`: a new identity and no peers; the others show it as rejected.
    pub(crate) fn reinstall(&self, address: NodeAddress) {
        let uuid = self.lock().next_id();
        self.server(address, |server| (server.rejected, server.renewed) = (true, Some(uuid)));
    }

    /// Has the others reject a server, as they do one whose volumes' checksums differ from theirs; or accept it again.
    pub(crate) fn set_rejected(&self, address: NodeAddress, rejected: bool) {
        self.server(address, |server| server.rejected = rejected);
    }

    /// Gives a server a version that knows less than the pool uses.
    pub(crate) fn set_old(&self, address: NodeAddress, old: bool) {
        self.server(address, |server| server.old = old);
    }

    /// Fills the file systems of a server's bricks.
    pub(crate) fn fill(&self, address: NodeAddress, used_percent: u8) {
        self.server(address, |server| server.used_percent = used_percent);
    }

    /// Lets every call take its time from now on, up to 60 ms, as `seed` says.
    pub(crate) fn slow_down(&self, seed: u64) {
        self.lock().delays = seed;
    }

    /// Lets the layout be spread, or not.
    pub(crate) fn refuse_layouts(&self, refused: bool) {
        self.lock().layouts_refused = refused;
    }

    /// How often the layout was spread.
    pub(crate) fn layouts(&self) -> usize {
        self.lock().layouts
    }

    /// Waits as long as the next call takes.
    async fn delay(&self) {
        let wait = {
            let mut world = self.lock();
            for shift in [13_i32, -7, 17] {
                world.delays ^= if shift > 0 { world.delays << shift } else { world.delays >> -shift };
            }
            world.delays % 60
        };
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    /// The addresses of the servers that were asked to come into a pool.
    pub(crate) fn probed(&self) -> BTreeSet<NodeAddress> {
        self.lock().probed.clone()
    }

    /// Makes these servers one pool of their own.
    pub(crate) fn join_elsewhere(&self, addresses: &[NodeAddress]) {
        let pool = self.lock().servers[&addresses[0]].pool;
        for address in addresses {
            self.server(*address, |server| server.pool = pool);
        }
    }

    /// Puts the mark of a volume on a brick.
    pub(crate) fn mark(&self, address: NodeAddress, path: &str, id: &str) {
        self.lock().marks.insert((address, path.to_owned()), id.to_owned());
    }

    /// The mark on a brick.
    pub(crate) fn mark_of(&self, address: NodeAddress, path: &str) -> Option<String> {
        self.lock().marks.get(&(address, path.to_owned())).cloned()
    }

    /// Puts a user's file into a brick.
    pub(crate) fn write_into(&self, address: NodeAddress, path: &str) {
        self.lock().data.insert((address, path.to_owned()));
    }

    /// Kills a brick's process.
    pub(crate) fn kill_brick(&self, brick: &Brick) {
        self.lock().dead_bricks.insert(brick.clone());
    }

    /// Lets the `n`-th call from now (1 is the next one), by any server, meet a fault.
    pub(crate) fn fail_call(&self, n: usize, fault: Fault) {
        let mut world = self.lock();
        let at = world.calls + n;
        world.faults.insert(at, fault);
    }

    /// Lets the next `n` changes find another transaction in progress.
    pub(crate) fn set_busy(&self, n: usize) {
        self.lock().busy = n;
    }

    /// The volume of that name in the pool of `server`, without asking it.
    pub(crate) fn look_at(&self, server: NodeAddress, name: &VolumeName) -> Option<Volume> {
        self.lock().volume(server, name).cloned()
    }

    /// Whether a client at `client` that asks `server` may mount the volume now.
    pub(crate) fn lets_mount(&self, server: NodeAddress, name: &VolumeName, client: NodeAddress) -> bool {
        let up = self.lock().servers.get(&server).is_some_and(|server| server.up && server.reachable);
        let listed = |volume: Volume| {
            let allow = volume.options.get("auth.allow").map_or("*", String::as_str).to_owned();
            let me = client.to_string();
            volume.status == VolumeStatus::Started && allow.split(',').any(|entry| entry == "*" || entry == me)
        };
        up && self.look_at(server, name).is_some_and(listed)
    }

    /// Every change of a volume or of a mark that was asked for, in words: `create replica=3 force=false`.
    pub(crate) fn history(&self) -> Vec<String> {
        self.lock().history.clone()
    }

    /// Forgets the faults that have not come about.
    pub(crate) fn call_off_faults(&self) {
        self.lock().faults.clear();
    }

    /// Whether a fault that was ordered has not come about.
    pub(crate) fn has_faults_left(&self) -> bool {
        !self.lock().faults.is_empty()
    }

    /// Lets the next `n` creates or adds meet [`Fault::Wedged`].
    pub(crate) fn wedge_next(&self, n: usize) {
        self.lock().wedges = n;
    }

    /// The next wedged change leaves its mark on bricks that somebody has written into meanwhile.
    pub(crate) fn write_at_wedge(&self) {
        self.lock().files_at_wedge = true;
    }

    /// How many calls there were that change something.
    pub(crate) fn mutations(&self) -> usize {
        self.lock().mutations
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.lock().calls
    }
}

/// One server of the world.
#[derive(Debug, Clone)]
pub(crate) struct FakePool {
    world: FakeGlusterWorld,
    me: NodeAddress,
}

impl FakePool {
    async fn change(&self, change: Change) -> Result<(), GlusterError> {
        self.world.delay().await;
        self.world.lock().change(self.me, &change)
    }
}

#[async_trait::async_trait]
impl StoragePool for FakePool {
    async fn peers_seen_by(&self, server: NodeAddress) -> Result<Vec<Peer>, GlusterError> {
        self.world.delay().await;
        self.world.lock().read(self.me, "pool list")?;
        let there = Self { me: server, world: self.world.clone() };
        if !self.world.lock().servers.get(&server).is_some_and(|server| server.up && server.reachable) {
            return Err(GlusterError::DaemonDown);
        }
        there.peers().await
    }

    async fn peers(&self) -> Result<Vec<Peer>, GlusterError> {
        self.world.delay().await;
        let mut world = self.world.lock();
        world.read(self.me, "pool list")?;
        let pool = world.pool_of(self.me);
        let mut peers = Vec::new();
        for (address, server) in world.servers.iter().filter(|(address, _)| **address != self.me) {
            if server.pool != pool || world.servers[&self.me].renewed.is_some() {
                continue;
            }
            let (state, text) = if server.rejected { (6, "Peer Rejected") } else { (3, "Peer in Cluster") };
            peers.push(Peer {
                uuid: server.uuid.clone(),
                hostname: address.to_string(),
                connected: server.up && server.reachable,
                state,
                state_text: text.to_owned(),
            });
        }
        let own = &world.servers[&self.me];
        peers.push(Peer {
            uuid: own.renewed.clone().unwrap_or_else(|| own.uuid.clone()),
            hostname: "localhost".to_owned(),
            connected: true,
            state: 3,
            state_text: "Peer in Cluster".to_owned(),
        });
        Ok(peers)
    }

    async fn probe(&self, address: NodeAddress) -> Result<(), GlusterError> {
        self.world.delay().await;
        let mut world = self.world.lock();
        let fault = world.begin(self.me, "peer probe")?;
        world.probed.insert(address);
        let mine = world.pool_of(self.me);
        if address == self.me || address.is_loopback() {
            return Ok(());
        }
        let unreachable = || GlusterError::PeerUnreachable {
            host: address.to_string(),
            message: "Probe returned with Transport endpoint is not connected".to_owned(),
        };
        let Some(server) = world.servers.get(&address) else { return Err(unreachable()) };
        let theirs = server.pool;
        if theirs == mine {
            return Ok(());
        }
        if !server.up || !server.reachable {
            return Err(unreachable());
        }
        if server.old {
            return Err(GlusterError::OldVersion { host: address.to_string() });
        }
        let has_peers = world.servers.values().filter(|server| server.pool == theirs).count() > 1;
        if has_peers || world.volumes.iter().any(|(pool, _)| *pool == theirs) {
            return Err(GlusterError::ForeignPool { host: address.to_string() });
        }
        world.servers.get_mut(&address).unwrap().pool = mine;
        World::end(fault, "peer probe")
    }

    async fn volumes_at(&self, server: NodeAddress) -> Result<Vec<String>, GlusterError> {
        self.world.delay().await;
        let mut world = self.world.lock();
        world.read(self.me, "volume list")?;
        let Some(there) = world.servers.get(&server).filter(|server| server.up && server.reachable) else {
            return Err(GlusterError::DaemonDown);
        };
        let of = |(pool, volume): &(usize, Volume)| (*pool == there.pool).then(|| volume.name.clone());
        Ok(world.volumes.iter().filter_map(of).collect())
    }

    async fn volume_ids(&self) -> Result<Vec<String>, GlusterError> {
        self.world.delay().await;
        let mut world = self.world.lock();
        world.read(self.me, "volume info")?;
        let pool = world.pool_of(self.me);
        let of = |(of, volume): &(usize, Volume)| (*of == pool).then(|| volume.id.clone());
        Ok(world.volumes.iter().filter_map(of).collect())
    }

    async fn op_versions(&self) -> Result<OpVersions, GlusterError> {
        self.world.delay().await;
        self.world.lock().read(self.me, "volume get")?;
        Ok(OpVersions { now: 100_000, most: 100_000 })
    }

    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, GlusterError> {
        self.world.delay().await;
        let mut world = self.world.lock();
        world.read(self.me, "volume info")?;
        Ok(world.volume(self.me, name).cloned())
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), GlusterError> {
        self.change(Change::Create(volume.clone())).await
    }

    async fn start(&self, name: &VolumeName, force: bool) -> Result<(), GlusterError> {
        self.change(Change::Start { name: name.clone(), force }).await
    }

    async fn add_bricks(
        &self,
        name: &VolumeName,
        replica: u32,
        arbiter: u32,
        bricks: &[Brick],
        force: bool,
    ) -> Result<(), GlusterError> {
        self.change(Change::AddBricks { name: name.clone(), replica, arbiter, bricks: bricks.to_vec(), force }).await
    }

    async fn set_option(&self, name: &VolumeName, option: &str, value: &str) -> Result<(), GlusterError> {
        self.change(Change::SetOption { name: name.clone(), option: option.to_owned(), value: value.to_owned() }).await
    }

    async fn brick_status(&self, volume: &Volume) -> Result<Vec<BrickStatus>, GlusterError> {
        self.world.delay().await;
        let command = "volume status";
        let mut world = self.world.lock();
        if volume.status == VolumeStatus::Started {
            world.read(self.me, command)?;
            let name = VolumeName::parse(&volume.name).unwrap();
            if world.existing(self.me, &name, command)?.status != VolumeStatus::Started {
                return Err(GlusterError::Refused { command: command.to_owned(), message: "not started".to_owned() });
            }
            world.take_turn(self.me, &name, command, None)?;
        }
        let online = |brick: &Brick| {
            let server = NodeAddress::parse(&brick.host).ok().and_then(|host| world.servers.get(&host));
            volume.status == VolumeStatus::Started
                && server.is_some_and(|server| server.up && server.reachable && !server.rejected)
                && !world.dead_bricks.contains(brick)
        };
        let used = |brick: &Brick| {
            let server = NodeAddress::parse(&brick.host).ok().and_then(|host| world.servers.get(&host));
            server.filter(|_| online(brick)).map(|server| server.used_percent)
        };
        let status =
            |brick: &Brick| BrickStatus { brick: brick.clone(), online: online(brick), used_percent: used(brick) };
        Ok(volume.bricks.iter().map(status).collect())
    }

    async fn fix_layout(&self, name: &VolumeName) -> Result<(), GlusterError> {
        self.change(Change::FixLayout { name: name.clone() }).await
    }
}
