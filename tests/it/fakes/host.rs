//! A host's disk, mounts and boot configuration in memory, behind the same traits as the real ones.
//!
//! Mounting asks the fake GlusterFS servers as the kernel's client would: it works while the volume is started and its
//! access list has this host. Each of the three hands counts its calls and can fail its n-th.

#![expect(clippy::unwrap_used, reason = "a fake that was set up wrongly shall fail its test there")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use clusterctl::cluster::{BrickPath, MountPoint, NodeAddress};
use clusterctl::providers::mounts::{
    BrickDisk, BrickError, BrickFacts, GlusterMount, MountEntry, MountError, MountTable, Mounter, ProbeResult,
};
use clusterctl::providers::persistence::Persistence;

use super::gluster::{FakeDisk, FakeGlusterWorld};
use super::swarm::Failure;

/// One of a host's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hand {
    Mounter,
    Disk,
    Boot,
}

/// What a hand was asked, and what it was told to fail.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    mutations: usize,
    failures: BTreeMap<usize, Failure>,
}

#[derive(Debug)]
struct Mounted {
    source: String,
    fs_type: String,
    health: ProbeResult,
}

#[derive(Debug, Default)]
struct State {
    tallies: BTreeMap<Hand, Tally>,
    mounts: BTreeMap<MountPoint, Mounted>,
    at_boot: BTreeMap<MountPoint, GlusterMount>,
    bricks: BTreeSet<BrickPath>,
    /// The address that it has now, if it has changed.
    moved_to: Option<NodeAddress>,
}

/// One host beside its Docker. Clones are the same host.
#[derive(Debug, Clone)]
pub(crate) struct FakeHost {
    gluster: FakeGlusterWorld,
    me: NodeAddress,
    state: Arc<Mutex<State>>,
}

impl FakeHost {
    /// A host that has mounted nothing and holds no brick.
    pub(crate) fn new(gluster: &FakeGlusterWorld, me: NodeAddress) -> Self {
        Self { gluster: gluster.clone(), me, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes the `n`-th call of that hand from now fail (1 is the next one).
    pub(crate) fn fail_call(&self, hand: Hand, n: usize, failure: Failure) {
        let mut state = self.lock();
        let tally = state.tallies.entry(hand).or_default();
        tally.failures.insert(tally.calls + n, failure);
    }

    /// Forgets the failures that have not come about.
    pub(crate) fn call_off_failures(&self) {
        self.lock().tallies.values_mut().for_each(|tally| tally.failures.clear());
    }

    /// Whether a failure that was ordered has not come about.
    pub(crate) fn has_failures_left(&self) -> bool {
        self.lock().tallies.values().any(|tally| !tally.failures.is_empty())
    }

    /// How many calls that hand had.
    pub(crate) fn calls(&self, hand: Hand) -> usize {
        self.lock().tallies.get(&hand).map_or(0, |tally| tally.calls)
    }

    /// How many calls there were that change something.
    pub(crate) fn mutations(&self) -> usize {
        self.lock().tallies.values().map(|tally| tally.mutations).sum()
    }

    /// The source of what is mounted at `point`, and how it answers.
    pub(crate) fn mounted(&self, point: &MountPoint) -> Option<(String, ProbeResult)> {
        self.lock().mounts.get(point).map(|mounted| (mounted.source.clone(), mounted.health.clone()))
    }

    /// Mounts something else, as an operator might have.
    pub(crate) fn mount_by_hand(&self, point: &MountPoint, fs_type: &str, source: &str) {
        let mounted =
            Mounted { source: source.to_owned(), fs_type: fs_type.to_owned(), health: ProbeResult::ReadWrite };
        self.lock().mounts.insert(point.clone(), mounted);
    }

    /// Lets a mount answer probes like this from now on.
    pub(crate) fn set_health(&self, point: &MountPoint, health: ProbeResult) {
        self.lock().mounts.get_mut(point).unwrap().health = health;
    }

    /// Reboots: mounts are gone, everything on disk stays.
    pub(crate) fn lose_mounts(&self) {
        self.lock().mounts.clear();
    }

    /// Loses what is mounted at boot.
    pub(crate) fn lose_boot_entries(&self) {
        self.lock().at_boot.clear();
    }

    /// What is mounted at `point` after the next boot.
    pub(crate) fn at_boot(&self, point: &MountPoint) -> Option<GlusterMount> {
        self.lock().at_boot.get(point).cloned()
    }

    /// Gives the host another address; its bricks and its Docker go by the old one.
    pub(crate) fn move_to(&self, address: NodeAddress) {
        self.lock().moved_to = Some(address);
    }

    /// Makes a brick's directory by hand.
    pub(crate) fn make_brick(&self, path: &BrickPath) {
        self.lock().bricks.insert(path.clone());
    }

    /// Takes a brick's directory away.
    pub(crate) fn remove_brick(&self, path: &BrickPath) {
        self.lock().bricks.remove(path);
    }

    /// Whether the brick's directory is there.
    pub(crate) fn has_brick(&self, path: &BrickPath) -> bool {
        self.lock().bricks.contains(path)
    }

    /// Counts a call; `Some` if it is to fail.
    fn begin(&self, hand: Hand, mutating: bool) -> Option<Failure> {
        let mut state = self.lock();
        let tally = state.tallies.entry(hand).or_default();
        tally.calls += 1;
        tally.mutations += usize::from(mutating);
        tally.failures.remove(&tally.calls)
    }

    /// Makes one call, and fails it if it was told to.
    fn call<T>(&self, hand: Hand, mutating: bool, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let told = || io::Error::other("a failure that the test asked for");
        match self.begin(hand, mutating) {
            None => act(),
            Some(Failure::BeforeEffect) => Err(told()),
            Some(Failure::AfterEffect) => {
                act()?;
                Err(told())
            }
        }
    }

    fn mount(&self, mount: &GlusterMount) -> Result<(), String> {
        let mut servers = mount.servers.iter().filter_map(|server| NodeAddress::parse(server).ok());
        let from = self.lock().moved_to.unwrap_or(self.me);
        let serves = |server: NodeAddress| self.gluster.lets_mount(server, &mount.volume, from);
        if !servers.any(serves) {
            return Err("Mount failed. Check the log file for more details.".to_owned());
        }
        let source = format!("{}:/{}", mount.servers[0], mount.volume);
        let mounted = Mounted { source, fs_type: "fuse.glusterfs".to_owned(), health: ProbeResult::ReadWrite };
        self.lock().mounts.insert(mount.point.clone(), mounted);
        Ok(())
    }

    fn table(&self) -> MountTable {
        let state = self.lock();
        let entry = |(point, mounted): (&MountPoint, &Mounted)| MountEntry {
            point: point.as_path().to_owned(),
            fs_type: mounted.fs_type.clone(),
            source: mounted.source.clone(),
            dev: 7,
        };
        MountTable::new(state.mounts.iter().map(entry).collect())
    }
}

/// A host's mounts.
#[derive(Debug, Clone)]
pub(crate) struct FakeMounter(pub(crate) FakeHost);

#[async_trait::async_trait]
impl Mounter for FakeMounter {
    async fn mounts(&self) -> Result<MountTable, MountError> {
        self.0.call(Hand::Mounter, false, || Ok(self.0.table())).map_err(MountError::Table)
    }

    async fn mount_gluster(&self, mount: &GlusterMount) -> Result<(), MountError> {
        mount.source_and_options()?;
        let act = || self.0.mount(mount).map_err(io::Error::other);
        self.0.call(Hand::Mounter, true, act).map_err(|error| MountError::Failed {
            command: "mount".to_owned(),
            message: error.to_string(),
            log: "fake".to_owned(),
        })
    }

    async fn unmount_lazy(&self, point: &MountPoint) -> Result<(), MountError> {
        let act = || {
            self.0.lock().mounts.remove(point);
            Ok(())
        };
        let failed = |source| MountError::Unmount { point: point.clone(), source };
        self.0.call(Hand::Mounter, true, act).map_err(failed)
    }

    async fn probe(&self, point: &MountPoint) -> ProbeResult {
        let probe = || Ok(self.0.mounted(point).map_or(ProbeResult::NotMounted, |(_, health)| health));
        self.0.call(Hand::Mounter, false, probe).unwrap_or_else(|error| ProbeResult::Failed(error.to_string()))
    }
}

/// A host's bricks; marks and users' files are the fake servers'.
#[derive(Debug, Clone)]
pub(crate) struct FakeBricks {
    pub(crate) host: FakeHost,
    pub(crate) disk: FakeDisk,
}

impl FakeBricks {
    fn fail(path: &BrickPath) -> BrickError {
        BrickError::Io {
            path: path.as_path().to_owned(),
            source: io::Error::other("a failure that the test asked for"),
        }
    }
}

#[async_trait::async_trait]
impl BrickDisk for FakeBricks {
    async fn inspect(&self, path: &BrickPath) -> Result<BrickFacts, BrickError> {
        if self.host.begin(Hand::Disk, false).is_some() {
            return Err(Self::fail(path));
        }
        let facts = self.disk.inspect(path).await?;
        let made = facts.exists || self.host.has_brick(path);
        Ok(BrickFacts { exists: made, is_dir: made, ..facts })
    }

    async fn prepare(&self, path: &BrickPath) -> Result<(), BrickError> {
        let failure = self.host.begin(Hand::Disk, true);
        if failure != Some(Failure::BeforeEffect) {
            self.host.make_brick(path);
        }
        failure.map_or(Ok(()), |_| Err(Self::fail(path)))
    }

    async fn clear_mark(&self, path: &BrickPath, volume_id: &str) -> Result<(), BrickError> {
        let failure = self.host.begin(Hand::Disk, true);
        if failure != Some(Failure::BeforeEffect) {
            self.disk.clear_mark(path, volume_id).await?;
        }
        failure.map_or(Ok(()), |_| Err(Self::fail(path)))
    }
}

/// What a host mounts when it boots.
#[derive(Debug, Clone)]
pub(crate) struct FakeBoot(pub(crate) FakeHost);

#[async_trait::async_trait]
impl Persistence for FakeBoot {
    fn is_set(&self, mount: &GlusterMount) -> io::Result<bool> {
        self.0.call(Hand::Boot, false, || Ok(self.0.at_boot(&mount.point).as_ref() == Some(mount)))
    }

    async fn set(&self, mount: &GlusterMount) -> io::Result<()> {
        self.0.call(Hand::Boot, true, || {
            self.0.lock().at_boot.insert(mount.point.clone(), mount.clone());
            Ok(())
        })
    }

    async fn clear(&self, point: &MountPoint) -> io::Result<bool> {
        self.0.call(Hand::Boot, true, || Ok(self.0.lock().at_boot.remove(point).is_some()))
    }
}
