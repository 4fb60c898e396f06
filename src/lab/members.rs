//! What is done to the hosts of a lab that is up: looked at, entered, cut off and put back, killed and started.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::error::at;
use super::host::{self, Services};
use super::lock::Lock;
use super::name::HostId;
use super::spec::HostSpec;
use super::{LOCK_PATIENCE, Lab, LabError, cgroups, network, processes};
use crate::providers::command::Invocation;

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

impl Lab<'_> {
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
