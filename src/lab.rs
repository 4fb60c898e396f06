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
//! | `lifecycle` | a lab from `up` to `down` |
//! | `members` | what is done to the hosts of a lab that is up |
//! | `place`, `record` | where a lab lies and what it remembers |
//! | [`name`], [`subnet`], [`spec`], [`cgroups`] | decisions: what a lab and its hosts are made of |
//! | [`boot`] | a host's first process until systemd takes its place |
//! | [`host`], [`network`], [`processes`], [`leftovers`], [`lock`], [`preflight`] | effects on the machine |

pub mod boot;
pub mod cgroups;
mod error;
pub mod host;
pub mod leftovers;
mod lifecycle;
pub mod lock;
mod members;
pub mod name;
pub mod network;
mod place;
pub mod preflight;
pub mod processes;
mod record;
pub mod spec;
pub mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::providers::command::Commander;
use cgroups::Group;
use error::at;
use name::{HostId, LabName, StateDir};
use place::{labs_group, without_links};
use record::{Found, Record, judge};
use spec::HostSpec;

pub use error::LabError;
pub use lifecycle::{Summary, Wish};
pub use members::HostStatus;

/// Where labs live unless the operator says otherwise.
pub const DEFAULT_DIR: &str = "/var/lib/clusterctl-lab";

/// How long another command on the same lab may take; an `up` takes a few seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);

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
}
