//! A lab from `up` to `down`.
//!
//! A lab counts from the record on that `up` writes last; whatever a killed `up` or `down` left behind, the next one of
//! either clears away first.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::cgroups::{self, Layout};
use super::error::at;
use super::lock::Lock;
use super::name::{HostId, LabName};
use super::place::labs_group;
use super::record::{Found, Phase, Record};
use super::{LOCK_PATIENCE, Lab, LabError, host, leftovers, network, preflight, processes, spec, subnet};

/// Choosing a subnet and taking it is quick.
const CHOICE_PATIENCE: Duration = Duration::from_secs(30);

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

impl Lab<'_> {
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

    fn summary(&self, record: &Record, already: bool) -> Summary {
        let hosts = HostId::first(record.hosts).map(|host| (host, host.address(record.subnet))).collect();
        Summary { name: self.name.clone(), subnet: record.subnet, hosts, already }
    }
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
