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
    Brick, BrickStatus, GlusterError, NewVolume, Peer, StoragePool, Volume, VolumeStatus,
};
use clusterctl::providers::mounts::{BrickDisk, BrickError, BrickFacts};

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
#[derive(Debug)]
struct Server {
    uuid: String,
    /// Servers with the same number are one pool.
    pool: usize,
    up: bool,
    reachable: bool,
    hung: bool,
    /// Bricks of this server would lie on its root file system.
    root_disk: bool,
    /// It was re-installed: the others reject it.
    rejected: bool,
}

/// A change of a volume.
#[derive(Debug, Clone)]
enum Change {
    Create(NewVolume),
    Start { name: VolumeName, force: bool },
    AddBricks { name: VolumeName, replica: u32, arbiter: u32, bricks: Vec<Brick>, force: bool },
    SetOption { name: VolumeName, option: String, value: String },
    FixLayout { name: VolumeName },
}

impl Change {
    fn volume(&self) -> &VolumeName {
        match self {
            Self::Create(new) => &new.name,
            Self::Start { name, .. }
            | Self::AddBricks { name, .. }
            | Self::SetOption { name, .. }
            | Self::FixLayout { name } => name,
        }
    }

    fn command(&self) -> &'static str {
        match self {
            Self::Create(_) => "volume create",
            Self::Start { .. } => "volume start",
            Self::AddBricks { .. } => "volume add-brick",
            Self::SetOption { .. } => "volume set",
            Self::FixLayout { .. } => "volume rebalance",
        }
    }
}

#[derive(Debug, Default)]
struct World {
    servers: BTreeMap<NodeAddress, Server>,
    /// By pool.
    volumes: Vec<(usize, Volume)>,
    /// Marks on bricks: the id of a volume, which may exist nowhere.
    marks: BTreeMap<(NodeAddress, String), String>,
    /// Bricks with files of users.
    data: BTreeSet<(NodeAddress, String)>,
    dead_bricks: BTreeSet<Brick>,
    calls: usize,
    mutations: usize,
    faults: BTreeMap<usize, Fault>,
    busy: usize,
    /// What waits for a hung server, by volume. It holds the volume's lock, also after its `gluster` was killed, and is
    /// done when the server goes on. `None` for a mere look.
    stuck: BTreeMap<String, Option<(NodeAddress, Change)>>,
    ids: u32,
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
            let server =
                Server { uuid, pool, up: true, reachable: true, hung: false, root_disk: false, rejected: false };
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
        self.server(address, |server| server.rejected = true);
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

    /// How many calls there were that change something.
    pub(crate) fn mutations(&self) -> usize {
        self.lock().mutations
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.lock().calls
    }
}

fn refused(command: &str, message: impl Into<String>) -> GlusterError {
    GlusterError::Refused { command: format!("gluster {command}"), message: message.into() }
}

fn timed_out(command: &str) -> GlusterError {
    GlusterError::TimedOut { command: format!("gluster {command}"), deadline: Duration::from_secs(30) }
}

impl World {
    fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-4000-8000-{:012}", self.ids)
    }

    /// Counts a read and tells whether it can be answered.
    fn read(&mut self, me: NodeAddress, command: &str) -> Result<(), GlusterError> {
        self.calls += 1;
        let fault = self.faults.remove(&self.calls);
        if !self.servers[&me].up || fault == Some(Fault::DaemonDown) {
            return Err(GlusterError::DaemonDown);
        }
        match fault {
            None | Some(Fault::DaemonDown) => Ok(()),
            Some(Fault::Busy) => Err(GlusterError::Busy),
            Some(Fault::TimedOut | Fault::TimedOutButDone | Fault::CommitFailedButDone | Fault::Wedged) => {
                Err(timed_out(command))
            }
        }
    }

    /// Counts a change and tells whether it begins; a fault that shows only afterwards is handed back.
    fn begin(&mut self, me: NodeAddress, command: &str) -> Result<Option<Fault>, GlusterError> {
        self.calls += 1;
        self.mutations += 1;
        let fault = self.faults.remove(&self.calls);
        if !self.servers[&me].up || fault == Some(Fault::DaemonDown) {
            return Err(GlusterError::DaemonDown);
        }
        if self.busy > 0 || fault == Some(Fault::Busy) {
            self.busy = self.busy.saturating_sub(1);
            return Err(GlusterError::Busy);
        }
        if fault == Some(Fault::TimedOut) { Err(timed_out(command)) } else { Ok(fault) }
    }

    /// A change of a volume, as far as the others let it come.
    fn change(&mut self, me: NodeAddress, change: &Change) -> Result<(), GlusterError> {
        let fault = self.begin(me, change.command())?;
        self.take_turn(me, change.volume(), change.command(), Some((me, change.clone())))?;
        self.apply(me, change, fault)
    }

    /// Gets a volume's lock of all members, or waits for it with `stuck`.
    fn take_turn(
        &mut self,
        me: NodeAddress,
        name: &VolumeName,
        command: &str,
        stuck: Option<(NodeAddress, Change)>,
    ) -> Result<(), GlusterError> {
        if self.stuck.contains_key(name.as_str()) {
            return Err(GlusterError::Busy);
        }
        if self.members(me).any(|server| server.hung && server.up && server.reachable) {
            self.stuck.insert(name.to_string(), stuck);
            return Err(timed_out(command));
        }
        Ok(())
    }

    fn members(&self, me: NodeAddress) -> impl Iterator<Item = &Server> {
        let pool = self.servers[&me].pool;
        self.servers.values().filter(move |server| server.pool == pool)
    }

    fn pool_of(&self, me: NodeAddress) -> usize {
        self.servers[&me].pool
    }

    fn volume(&mut self, me: NodeAddress, name: &VolumeName) -> Option<&mut Volume> {
        let pool = self.pool_of(me);
        self.volumes.iter_mut().find(|(of, volume)| *of == pool && volume.name == name.as_str()).map(|(_, it)| it)
    }

    fn existing(&mut self, me: NodeAddress, name: &VolumeName, command: &str) -> Result<&mut Volume, GlusterError> {
        self.volume(me, name).ok_or_else(|| refused(command, format!("Volume {name} does not exist")))
    }

    /// What the servers of new bricks say, this one first. Those that agree before another one refuses keep a mark.
    fn stage(&mut self, me: NodeAddress, bricks: &[Brick], force: bool) -> Result<String, GlusterError> {
        let mut bricks: Vec<(NodeAddress, &Brick)> =
            bricks.iter().map(|brick| (NodeAddress::parse(&brick.host).unwrap(), brick)).collect();
        for (host, _) in &bricks {
            let unreachable = |message: String| GlusterError::PeerUnreachable { host: host.to_string(), message };
            let server = self.servers.get(host).filter(|server| server.pool == self.pool_of(me) && !server.rejected);
            match server {
                None => return Err(unreachable(format!("Host {host} is not in 'Peer in Cluster' state"))),
                Some(server) if !server.up || !server.reachable => {
                    return Err(unreachable(format!("Host {host} not connected")));
                }
                Some(_) => {}
            }
        }
        bricks.sort_by_key(|(host, _)| *host != me);
        let id = self.next_id();
        let mut refusal = None;
        for (host, brick) in bricks {
            match self.stage_one(host, brick, force) {
                Ok(()) => {
                    self.marks.insert((host, brick.path.clone()), id.clone());
                }
                // This server's own refusal ends it; others have all been asked by then.
                Err(error) if host == me => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        refusal.map_or(Ok(id), Err)
    }

    fn stage_one(&self, host: NodeAddress, brick: &Brick, force: bool) -> Result<(), GlusterError> {
        let overlaps = |other: &Brick| {
            other.host == brick.host
                && (other.path == brick.path
                    || other.path.starts_with(&format!("{}/", brick.path))
                    || brick.path.starts_with(&format!("{}/", other.path)))
        };
        if self.volumes.iter().any(|(_, volume)| volume.bricks.iter().any(overlaps)) {
            let message =
                format!("Brick: {brick} not available. Brick may be containing or be contained by an existing brick.");
            return Err(GlusterError::BrickInUse { message });
        }
        if self.servers[&host].root_disk && !force {
            let message = format!("The brick {brick} is being created in the root partition.");
            return Err(GlusterError::BrickOnRoot { message });
        }
        if self.marks.contains_key(&(host, brick.path.clone())) && !force {
            return Err(GlusterError::BrickInUse { message: format!("{} is already part of a volume", brick.path) });
        }
        Ok(())
    }

    fn apply(&mut self, me: NodeAddress, change: &Change, fault: Option<Fault>) -> Result<(), GlusterError> {
        let command = change.command();
        match change {
            Change::Create(new) => self.create(me, new, command, fault)?,
            Change::Start { name, force } => {
                let volume = self.existing(me, name, command)?;
                let again = volume.status == VolumeStatus::Started;
                volume.status = VolumeStatus::Started;
                let bricks = volume.bricks.clone();
                if *force || !again {
                    self.dead_bricks.retain(|brick| !bricks.contains(brick));
                }
            }
            Change::AddBricks { name, replica, arbiter, bricks, force } => {
                self.add_bricks(me, name, (*replica, *arbiter), bricks, *force, fault)?;
            }
            Change::SetOption { name, option, value } => {
                let volume = self.existing(me, name, command)?;
                if !OPTIONS.iter().any(|prefix| option.starts_with(prefix)) {
                    return Err(refused(command, format!("option : {option} does not exist")));
                }
                volume.options.insert(option.clone(), value.clone());
            }
            Change::FixLayout { name } => {
                let volume = self.existing(me, name, command)?;
                if volume.status != VolumeStatus::Started {
                    return Err(refused(command, format!("Volume {name} needs to be started to perform rebalance")));
                }
                if volume.bricks.len() <= volume.replica as usize {
                    let message = format!("Volume {name} is not a distribute volume or contains only 1 brick.");
                    return Err(refused(command, message));
                }
            }
        }
        Self::end(fault, command)
    }

    fn create(
        &mut self,
        me: NodeAddress,
        new: &NewVolume,
        command: &str,
        fault: Option<Fault>,
    ) -> Result<(), GlusterError> {
        if self.volume(me, &new.name).is_some() {
            return Err(GlusterError::VolumeExists(new.name.to_string()));
        }
        let replica = new.replica.max(1) as usize;
        if new.bricks.is_empty() || !new.bricks.len().is_multiple_of(replica) {
            return Err(refused(command, "Failed to create volume files"));
        }
        let hosts = |set: &[Brick]| set.iter().map(|brick| brick.host.clone()).collect::<BTreeSet<_>>().len();
        if !new.force && new.bricks.chunks(replica).any(|set| hosts(set) != replica) {
            return Err(refused(command, "Multiple bricks of a replicate volume are present on the same server."));
        }
        let id = self.stage(me, &new.bricks, new.force)?;
        if fault != Some(Fault::Wedged) {
            let volume = Volume {
                name: new.name.to_string(),
                id,
                status: VolumeStatus::Created,
                replica: new.replica.max(1),
                arbiter: new.arbiter,
                bricks: new.bricks.clone(),
                options: BTreeMap::from([("nfs.disable".to_owned(), "on".to_owned())]),
            };
            self.volumes.push((self.pool_of(me), volume));
        }
        Ok(())
    }

    fn add_bricks(
        &mut self,
        me: NodeAddress,
        name: &VolumeName,
        (replica, arbiter): (u32, u32),
        bricks: &[Brick],
        force: bool,
        fault: Option<Fault>,
    ) -> Result<(), GlusterError> {
        let command = "volume add-brick";
        let old = self.existing(me, name, command)?.clone();
        let (was, now) = (old.replica as usize, replica.max(1) as usize);
        let sets = old.bricks.len() / was;
        let fits = match now.checked_sub(was) {
            Some(0) => bricks.len().is_multiple_of(now),
            Some(more) => bricks.len() == sets * more,
            None => false,
        };
        if !fits || bricks.is_empty() || bricks.iter().any(|brick| old.bricks.contains(brick)) {
            return Err(refused(command, "Operation failed"));
        }
        let id = self.stage(me, bricks, force)?;
        if fault == Some(Fault::Wedged) {
            return Ok(());
        }
        for mark in self.marks.values_mut().filter(|mark| **mark == id) {
            mark.clone_from(&old.id);
        }
        let mut left = bricks.iter().cloned();
        let mut all = Vec::new();
        for set in old.bricks.chunks(was) {
            all.extend_from_slice(set);
            all.extend(left.by_ref().take(now - was));
        }
        all.extend(left);
        let volume = self.existing(me, name, command)?;
        (volume.bricks, volume.replica, volume.arbiter) = (all, replica.max(1), arbiter);
        Ok(())
    }

    /// How a change ends whose effect, except for a wedge, is there.
    fn end(fault: Option<Fault>, command: &str) -> Result<(), GlusterError> {
        match fault {
            Some(Fault::CommitFailedButDone | Fault::Wedged) => {
                Err(refused(command, "Commit failed on 10.0.0.2. Please check the log file for more details."))
            }
            Some(Fault::TimedOutButDone) => Err(timed_out(command)),
            None | Some(Fault::Busy | Fault::DaemonDown | Fault::TimedOut) => Ok(()),
        }
    }
}

/// One server of the world.
#[derive(Debug, Clone)]
pub(crate) struct FakePool {
    world: FakeGlusterWorld,
    me: NodeAddress,
}

impl FakePool {
    fn change(&self, change: Change) -> Result<(), GlusterError> {
        self.world.lock().change(self.me, &change)
    }
}

/// How the names of options begin that are known.
const OPTIONS: [&str; 8] =
    ["auth.", "cluster.", "performance.", "network.", "storage.", "client.", "server.", "diagnostics."];

#[async_trait::async_trait]
impl StoragePool for FakePool {
    async fn peers(&self) -> Result<Vec<Peer>, GlusterError> {
        let mut world = self.world.lock();
        world.read(self.me, "pool list")?;
        let pool = world.pool_of(self.me);
        let mut peers = Vec::new();
        for (address, server) in world.servers.iter().filter(|(address, _)| **address != self.me) {
            if server.pool != pool || world.servers[&self.me].rejected {
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
        peers.push(Peer {
            uuid: world.servers[&self.me].uuid.clone(),
            hostname: "localhost".to_owned(),
            connected: true,
            state: 3,
            state_text: "Peer in Cluster".to_owned(),
        });
        Ok(peers)
    }

    async fn probe(&self, address: NodeAddress) -> Result<(), GlusterError> {
        let mut world = self.world.lock();
        let fault = world.begin(self.me, "peer probe")?;
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
        let has_peers = world.servers.values().filter(|server| server.pool == theirs).count() > 1;
        if has_peers || world.volumes.iter().any(|(pool, _)| *pool == theirs) {
            return Err(GlusterError::ForeignPool { host: address.to_string() });
        }
        world.servers.get_mut(&address).unwrap().pool = mine;
        World::end(fault, "peer probe")
    }

    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, GlusterError> {
        let mut world = self.world.lock();
        world.read(self.me, "volume info")?;
        Ok(world.volume(self.me, name).cloned())
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), GlusterError> {
        self.change(Change::Create(volume.clone()))
    }

    async fn start(&self, name: &VolumeName, force: bool) -> Result<(), GlusterError> {
        self.change(Change::Start { name: name.clone(), force })
    }

    async fn add_bricks(
        &self,
        name: &VolumeName,
        replica: u32,
        arbiter: u32,
        bricks: &[Brick],
        force: bool,
    ) -> Result<(), GlusterError> {
        self.change(Change::AddBricks { name: name.clone(), replica, arbiter, bricks: bricks.to_vec(), force })
    }

    async fn set_option(&self, name: &VolumeName, option: &str, value: &str) -> Result<(), GlusterError> {
        self.change(Change::SetOption { name: name.clone(), option: option.to_owned(), value: value.to_owned() })
    }

    async fn brick_status(&self, name: &VolumeName) -> Result<Vec<BrickStatus>, GlusterError> {
        let command = "volume status";
        let mut world = self.world.lock();
        world.read(self.me, command)?;
        let volume = world.existing(self.me, name, command)?.clone();
        if volume.status == VolumeStatus::Started {
            world.take_turn(self.me, name, command, None)?;
        }
        let online = |brick: &Brick| {
            let server = NodeAddress::parse(&brick.host).ok().and_then(|host| world.servers.get(&host));
            volume.status == VolumeStatus::Started
                && server.is_some_and(|server| server.up && server.reachable && !server.rejected)
                && !world.dead_bricks.contains(brick)
        };
        Ok(volume.bricks.iter().map(|brick| BrickStatus { brick: brick.clone(), online: online(brick) }).collect())
    }

    async fn fix_layout(&self, name: &VolumeName) -> Result<(), GlusterError> {
        self.change(Change::FixLayout { name: name.clone() })
    }
}

/// The bricks' directories of one server of the world.
#[derive(Debug, Clone)]
pub(crate) struct FakeDisk {
    world: FakeGlusterWorld,
    me: NodeAddress,
}

#[async_trait::async_trait]
impl BrickDisk for FakeDisk {
    async fn inspect(&self, path: &BrickPath) -> Result<BrickFacts, BrickError> {
        let world = self.world.lock();
        let key = (self.me, path.as_str().to_owned());
        let (volume_id, data) = (world.marks.get(&key).cloned(), world.data.contains(&key));
        Ok(BrickFacts {
            exists: volume_id.is_some() || data,
            is_dir: volume_id.is_some() || data,
            link: None,
            empty: !data,
            volume_id,
            on_root_fs: world.servers[&self.me].root_disk,
            is_mount_point: false,
            fs_type: "ext4".to_owned(),
            supports_xattr: true,
        })
    }

    async fn prepare(&self, _path: &BrickPath) -> Result<(), BrickError> {
        Ok(())
    }

    async fn clear_mark(&self, path: &BrickPath, volume_id: &str) -> Result<(), BrickError> {
        let mut world = self.world.lock();
        let key = (self.me, path.as_str().to_owned());
        match world.marks.get(&key) {
            None => return Ok(()),
            Some(found) if found == volume_id => {}
            Some(found) => {
                return Err(BrickError::OtherMark {
                    path: path.as_path().to_owned(),
                    found: found.clone(),
                    expected: volume_id.to_owned(),
                });
            }
        }
        if world.data.contains(&key) {
            return Err(BrickError::NotEmpty { path: path.as_path().to_owned(), found: "data".to_owned() });
        }
        world.marks.remove(&key);
        Ok(())
    }
}
