//! Several real hosts on one machine, to try a cluster and to test one.
//!
//! A host is a set of namespaces with the machine's own root under a writable layer, and systemd as its process 1; it
//! runs the installed dockerd and glusterd by their packages' units. A lab is a bridge with hosts on it, and a directory
//! below `/var/lib/clusterctl-lab`. Nothing else on the machine is touched: not its systemd, its Docker or its firewall.
//!
//! It is a bench, not a security boundary: root in a host is root on the machine's kernel.
//!
//! | module | holds |
//! |---|---|
//! | [`name`], [`subnet`], [`spec`], [`cgroups`], `record` | decisions: what a lab and its hosts are made of |
//! | [`boot`] | a host's first process until systemd takes its place |
//! | [`host`], [`network`], [`processes`], [`leftovers`], [`lock`], [`preflight`] | effects on the machine |

pub mod boot;
pub mod cgroups;
pub mod host;
pub mod leftovers;
pub mod lock;
pub mod name;
pub mod network;
pub mod preflight;
pub mod processes;
mod record;
pub mod spec;
pub mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::providers::command::{CommandError, Commander, Invocation};
use cgroups::{Group, Layout};
use host::Services;
use lock::Lock;
use name::{HostId, LabName, StateDir};
use record::{Found, Phase, Record, judge};
use spec::HostSpec;

/// Where labs live unless the operator says otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/clusterctl-lab";

/// How long another command on the same lab may take; an `up` takes a few seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);

/// Choosing a subnet and taking it is quick.
const CHOICE_PATIENCE: Duration = Duration::from_secs(30);

/// Why a lab command failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(transparent)]
    Unfit(#[from] preflight::Unfit),
    #[error(transparent)]
    NoHierarchy(#[from] cgroups::NoHierarchy),
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    #[error(transparent)]
    Start(#[from] host::StartError),
    #[error(transparent)]
    NotReady(#[from] host::NotReady),
    #[error(transparent)]
    Clear(#[from] leftovers::ClearError),
    #[error(transparent)]
    Survivors(#[from] processes::Survivors),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("there is no lab {0}: `clusterctl lab up --name {0}`")]
    NoLab(LabName),
    #[error("lab {name} is up with {hosts} hosts: `clusterctl lab down --name {name}` first")]
    OtherSize { name: LabName, hosts: u8 },
    #[error("lab {lab} has no host {host}, only h1 to h{hosts}")]
    NoHost { lab: LabName, host: HostId, hosts: u8 },
    #[error("host {host} is off: `clusterctl lab start {host} --name {lab}`")]
    Off { lab: LabName, host: HostId },
    #[error("host {0} is on")]
    On(HostId),
    #[error("ended by {0}")]
    Interrupted(&'static str),
    #[error("cannot read or write {path}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.display().to_string();
    move |source| LabError::Io { path, source }
}

/// One host as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostStatus {
    pub host: HostId,
    pub ip: Ipv4Addr,
    /// `off`, or what `systemctl is-system-running` says.
    pub systemd: String,
    pub dockerd: bool,
    pub glusterd: bool,
    /// Whether the host is on the bridge.
    pub connected: bool,
}

/// What `up` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub hosts: u8,
    /// Offer cgroup2 alone to the hosts.
    pub unified_cgroups: bool,
    /// Leave a lab that failed to come up as it is.
    pub keep: bool,
    /// How long the services may take to answer.
    pub within: Duration,
}

/// What `up` did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    pub name: LabName,
    pub subnet: Ipv4Net,
    pub hosts: Vec<(HostId, Ipv4Addr)>,
    /// It was up before.
    pub already: bool,
}

/// A lab by name, there or not.
pub struct Lab<'a> {
    labs: PathBuf,
    name: LabName,
    commander: &'a dyn Commander,
}

impl<'a> Lab<'a> {
    /// The lab `name` among those in `labs`.
    #[must_use]
    pub fn new(labs: &StateDir, name: LabName, commander: &'a dyn Commander) -> Self {
        Self { labs: without_links(labs.path()), name, commander }
    }

    /// The labs in `labs`, up or left over.
    #[must_use]
    pub fn all(labs: &StateDir) -> Vec<LabName> {
        let labs = without_links(labs.path());
        let entries = fs::read_dir(&labs).into_iter().flatten().flatten();
        let mut names: BTreeSet<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.extend(labs_group(&labs).children());
        names.iter().filter_map(|name| LabName::parse(name).ok()).collect()
    }

    fn dir(&self) -> PathBuf {
        self.labs.join(self.name.as_str())
    }

    fn network(&self) -> PathBuf {
        self.dir().join("net")
    }

    fn group(&self) -> Group {
        labs_group(&self.labs).child(self.name.as_str())
    }

    fn found(&self) -> Found {
        // A record that cannot be read is a leftover like any other.
        let record = fs::read(self.dir().join("lab.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let network = self.network();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let has_bridge = mounts.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(&network));
        judge(record, has_bridge)
    }

    fn record(&self) -> Result<Record, LabError> {
        preflight::check()?;
        match self.found() {
            Found::Lab(record) => Ok(record),
            Found::Leftovers(_) => Err(LabError::NoLab(self.name.clone())),
        }
    }

    fn write(&self, record: &Record) -> Result<(), LabError> {
        let (path, new) = (self.dir().join("lab.json"), self.dir().join("lab.json.new"));
        let text = serde_json::to_vec_pretty(record).map_err(|error| at(&path)(error.into()))?;
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(at(&path))
    }

    fn host(&self, record: &Record, host: HostId) -> HostSpec {
        let dir = self.dir().join(host.to_string());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = spec::OWN_DIRECTORIES.iter().map(PathBuf::from);
        HostSpec {
            host,
            labs: self.labs.clone(),
            network: self.network(),
            address: Ipv4Net::new(host.address(record.subnet), record.subnet.prefix_len()).unwrap_or(record.subnet),
            gateway: subnet::gateway(record.subnet),
            group: self.group().child(&host.to_string()),
            layout: record.layout,
            layers: spec::layers(&mounts),
            binds: own.map(|at| (at.clone(), spec::place_of(&at))).collect::<BTreeMap<_, _>>(),
            program: self.dir().join("clusterctl"),
            dir,
        }
    }

    fn hosts(&self, record: &Record) -> Vec<HostSpec> {
        HostId::first(record.hosts).map(|host| self.host(record, host)).collect()
    }

    fn known_host(&self, host: HostId) -> Result<(Record, HostSpec), LabError> {
        let record = self.record()?;
        if host.number() > record.hosts {
            return Err(LabError::NoHost { lab: self.name.clone(), host, hosts: record.hosts });
        }
        let spec = self.host(&record, host);
        Ok((record, spec))
    }

    fn summary(&self, record: &Record, already: bool) -> Summary {
        let hosts = HostId::first(record.hosts).map(|host| (host, host.address(record.subnet))).collect();
        Summary { name: self.name.clone(), subnet: record.subnet, hosts, already }
    }

    /// Makes the lab and waits until Docker and Gluster answer on every host; leaves a lab that is up as it is.
    ///
    /// # Errors
    /// The lab is gone again, unless the wish says to keep it.
    pub async fn up(&self, wish: Wish) -> Result<Summary, LabError> {
        preflight::check()?;
        // Files for the hosts are made with the modes that they need, whatever the caller's shell says.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let dir = self.dir();
        let _lock = Lock::take(&dir, LOCK_PATIENCE).await?;
        let stale = match self.found() {
            Found::Lab(record) if record.hosts == wish.hosts => return Ok(self.summary(&record, true)),
            Found::Lab(record) => return Err(LabError::OtherSize { name: self.name.clone(), hosts: record.hosts }),
            Found::Leftovers(stale) => stale,
        };
        leftovers::clear(self.commander, &dir, &self.group(), stale.map(|record| record.subnet)).await?;
        // After the clearing, which may have freed some.
        let room = preflight::disk(&dir).and_then(|()| preflight::watches(wish.hosts, processes::inotify_instances()));
        let made = tokio::select! {
            made = async { room?; self.make(wish).await } => made,
            signal = interrupted() => Err(LabError::Interrupted(signal)),
        };
        if made.is_err() && !wish.keep {
            self.remove().await?;
        }
        made
    }

    async fn make(&self, wish: Wish) -> Result<Summary, LabError> {
        let layout = cgroups::layout(self.group().hierarchies(), wish.unified_cgroups)?;
        let mut record = self.take_subnet(wish.hosts, layout).await?;
        let program = self.dir().join("clusterctl");
        let current = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
        fs::copy(&current, &program).map_err(at(&program))?;
        let addresses: Vec<_> = HostId::first(wish.hosts).map(|host| (host, host.address(record.subnet))).collect();
        let hosts = self.hosts(&record);
        for host in &hosts {
            let machine_id = uuid::Uuid::new_v4().simple().to_string();
            let files: Vec<_> = spec::files(host.host, &addresses, &machine_id).into_iter().collect();
            host::prepare(host, &files).map_err(at(&host.dir))?;
            host::start(host, &uuid::Uuid::new_v4().to_string())?;
        }
        let ready = hosts.iter().map(|host| host::wait_ready(host, self.commander, wish.within));
        futures_util::future::try_join_all(ready).await?;
        record.phase = Phase::Up;
        self.write(&record)?;
        Ok(self.summary(&record, false))
    }

    /// Chooses a subnet and makes the network, so that the next lab sees the subnet in use.
    async fn take_subnet(&self, hosts: u8, layout: Layout) -> Result<Record, LabError> {
        let _choice = Lock::take(&self.labs, CHOICE_PATIENCE).await?;
        let used = network::used(self.commander).await?;
        let subnet = subnet::choose(&used).ok_or(network::NetworkError::NoSubnet)?;
        let record = Record { version: 1, name: self.name.clone(), subnet, hosts, layout, phase: Phase::Starting };
        self.write(&record)?;
        fs::write(self.network(), "").map_err(at(&self.network()))?;
        network::create(self.commander, &self.network(), subnet).await?;
        Ok(record)
    }

    async fn remove(&self) -> Result<(), LabError> {
        let subnet = match self.found() {
            Found::Lab(record) => Some(record.subnet),
            Found::Leftovers(record) => record.map(|record| record.subnet),
        };
        let dir = self.dir();
        leftovers::clear(self.commander, &dir, &self.group(), subnet).await?;
        labs_group(&self.labs).remove_if_empty();
        fs::remove_dir(&dir).map_err(at(&dir))?;
        // Other labs may be there.
        drop(fs::remove_dir(&self.labs));
        Ok(())
    }

    /// Removes the lab, up or half made. Says whether there was anything.
    ///
    /// # Errors
    /// Names what would not go; a second run goes on from there.
    pub async fn down(&self) -> Result<bool, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(preflight::Unfit::NotRoot.into());
        }
        let dir = self.dir();
        let is_there = dir.exists() || self.group().exists() || !processes::starters_below(&dir).is_empty();
        if is_there {
            let _lock = Lock::take(&dir, LOCK_PATIENCE).await?;
            self.remove().await?;
        }
        Ok(is_there)
    }

    /// Every host with the state of its services.
    ///
    /// # Errors
    /// There is no such lab.
    pub async fn status(&self) -> Result<Vec<HostStatus>, LabError> {
        let record = self.record()?;
        let connected = network::connected(self.commander, &self.network()).await?;
        let hosts = self.hosts(&record);
        let rows = hosts.iter().map(|host| async {
            let Services { dockerd, glusterd } = host::services(host).await;
            HostStatus {
                host: host.host,
                ip: host.address.addr(),
                systemd: self.systemd_state(host).await,
                dockerd,
                glusterd,
                connected: connected.contains(&host.host),
            }
        });
        Ok(futures_util::future::join_all(rows).await)
    }

    async fn systemd_state(&self, host: &HostSpec) -> String {
        let Some(init) = host.init() else { return "off".to_owned() };
        let ask = processes::inside(init, ["systemctl", "is-system-running"]).deadline(Duration::from_secs(5));
        match self.commander.run(ask).await {
            Ok(output) => output.complaint(),
            Err(error) => error.to_string(),
        }
    }

    /// Makes the calling process a member of the host's control groups, and returns the run of `argv` in the host that
    /// should then take its place.
    ///
    /// # Errors
    /// There is no such host, or it is off.
    pub fn exec(&self, host: HostId, argv: Vec<OsString>) -> Result<Invocation, LabError> {
        let (_, spec) = self.known_host(host)?;
        let off = || LabError::Off { lab: self.name.clone(), host };
        let init = spec.init().ok_or_else(off)?;
        let groups = fs::read_to_string(format!("/proc/{init}/cgroup")).map_err(|_| off())?;
        for dir in cgroups::groups_of(&groups, spec.group.hierarchies()) {
            let procs = dir.join("cgroup.procs");
            fs::write(&procs, "0").map_err(at(&procs))?;
        }
        Ok(processes::inside(init, argv))
    }

    /// Takes the host off the bridge.
    ///
    /// # Errors
    /// There is no such host, or it is off.
    pub async fn cut(&self, host: HostId) -> Result<(), LabError> {
        let _lock = self.lock_running(host).await?;
        Ok(network::cut(self.commander, &self.network(), host).await?)
    }

    /// Puts the host back on the bridge.
    ///
    /// # Errors
    /// There is no such host, or it is off.
    pub async fn heal(&self, host: HostId) -> Result<(), LabError> {
        let _lock = self.lock_running(host).await?;
        Ok(network::heal(self.commander, &self.network(), host).await?)
    }

    async fn lock_running(&self, host: HostId) -> Result<Lock, LabError> {
        self.known_host(host)?;
        let lock = Lock::take(&self.dir(), LOCK_PATIENCE).await?;
        let (_, spec) = self.known_host(host)?;
        if spec.init().is_none() {
            return Err(LabError::Off { lab: self.name.clone(), host });
        }
        Ok(lock)
    }

    /// Cuts the host's power: everything in it dies at once, its disk stays. A host that is off stays off.
    ///
    /// # Errors
    /// There is no such host.
    pub async fn kill(&self, host: HostId) -> Result<(), LabError> {
        self.known_host(host)?;
        let _lock = Lock::take(&self.dir(), LOCK_PATIENCE).await?;
        let (_, spec) = self.known_host(host)?;
        processes::kill(&spec.group, &spec.file(), host::END).await?;
        spec.group.remove(host::END).await.map_err(at(&spec.dir))?;
        network::forget_host(self.commander, &self.network(), host).await;
        Ok(())
    }

    /// Boots the host again from its disk and waits for its services.
    ///
    /// # Errors
    /// The host is on, or its services did not come up; it is left as it is then.
    pub async fn start(&self, host: HostId, within: Duration) -> Result<(), LabError> {
        self.known_host(host)?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let _lock = Lock::take(&self.dir(), LOCK_PATIENCE).await?;
        let (_, spec) = self.known_host(host)?;
        if spec.init().is_some() {
            return Err(LabError::On(host));
        }
        // The rest of a host that shut itself down.
        processes::kill(&spec.group, &spec.file(), host::END).await?;
        spec.group.remove(host::END).await.map_err(at(&spec.dir))?;
        network::forget_host(self.commander, &self.network(), host).await;
        host::start(&spec, &uuid::Uuid::new_v4().to_string())?;
        Ok(host::wait_ready(&spec, self.commander, within).await?)
    }
}

/// `path` as namespaces, mounts and command lines show it, also while its last parts do not exist yet.
fn without_links(path: &Path) -> PathBuf {
    let resolve = |there: &Path| Some(fs::canonicalize(there).ok()?.join(path.strip_prefix(there).ok()?));
    // Joining an empty rest adds a slash.
    path.ancestors().find_map(resolve).map_or_else(|| path.to_owned(), |path| path.components().collect())
}

/// The group that all labs of a directory share.
fn labs_group(labs: &Path) -> Group {
    let hierarchies = cgroups::hierarchies(
        &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        &cgroups::controllers(&fs::read_to_string("/proc/cgroups").unwrap_or_default()),
    );
    Group::new(hierarchies, group_name(labs))
}

/// Control groups know no directories: labs of the same name in two directories are told apart by a digest.
fn group_name(labs: &Path) -> String {
    use sha2::Digest;
    if labs == Path::new(DEFAULT_DIR) {
        return "clusterctl-lab".to_owned();
    }
    let digest = sha2::Sha256::digest(labs.as_os_str().as_encoded_bytes());
    format!("clusterctl-lab-{}", data_encoding::HEXLOWER.encode(&digest[..4]))
}

/// Waits for the signal that asks a command to end.
async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => "SIGINT",
        _ = term.recv() => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_same_before_and_after_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        let named = real.join("link/a/b");
        assert_eq!(without_links(&named), real.join("a/b"));
        fs::create_dir_all(&named).unwrap();
        assert_eq!(without_links(&named), real.join("a/b"));
        assert!(!without_links(&named).to_string_lossy().ends_with('/'));
    }

    #[test]
    fn labs_in_other_directories_have_groups_of_their_own() {
        assert_eq!(group_name(Path::new(DEFAULT_DIR)), "clusterctl-lab");
        let other = group_name(Path::new("/tmp/labs"));
        assert!(other.starts_with("clusterctl-lab-") && other.len() == 23, "{other}");
    }
}
