//! What one host is made of, as a value: what the lab decides, [`super::boot`] carries out inside the namespaces.
//! Renders the files that a host has of its own. Decides only.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::cgroups::{Group, Layout};
use super::name::HostId;

/// Everything that the first process of a host must know; stored as `spec.json` in the host's directory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostSpec {
    pub host: HostId,
    /// The host's directory, on a real file system.
    pub dir: PathBuf,
    /// The directory of all labs, hidden from the host.
    pub labs: PathBuf,
    /// The network namespace with the bridge.
    pub network: PathBuf,
    pub address: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub group: Group,
    pub layout: Layout,
    /// Mount points of the machine that are laid under the host, `/` first.
    pub layers: Vec<PathBuf>,
    /// Path in the host to its place in the host's directory.
    pub binds: BTreeMap<PathBuf, PathBuf>,
    /// The binary that the host calls `clusterctl`.
    pub program: PathBuf,
}

impl HostSpec {
    /// Where the host's root is put together.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The writable part over layer number `index`.
    #[must_use]
    pub fn upper(&self, index: usize) -> PathBuf {
        self.dir.join(format!("upper{index}"))
    }

    /// What the overlay needs beside [`Self::upper`].
    #[must_use]
    pub fn work(&self, index: usize) -> PathBuf {
        self.dir.join(format!("work{index}"))
    }

    /// The file that stands for `/proc/sys/kernel/random/boot_id`.
    #[must_use]
    pub fn boot_id(&self) -> PathBuf {
        self.dir.join("boot_id")
    }
}

/// The directories that a host has on a real file system: data roots (an overlay carries neither Docker's own overlay
/// nor Gluster's extended attributes), and what must not be shared with a cluster that the machine itself is part of.
pub const OWN_DIRECTORIES: [&str; 15] = [
    "/data",
    "/etc/clusterctl",
    "/etc/docker",
    "/etc/systemd/system",
    "/etc/systemd/system-generators",
    "/etc/wireguard",
    "/mnt",
    "/srv",
    "/var/lib/clusterctl",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/lib/glusterd",
    "/var/lib/minio",
    "/var/log",
];

/// Where a directory of the host lies in the host's own: `/var/lib/docker` in `data/var-lib-docker`.
#[must_use]
pub fn place_of(directory: &Path) -> PathBuf {
    let name = directory.to_string_lossy().trim_start_matches('/').replace('/', "-");
    Path::new("data").join(name)
}

/// Units that a host starts beside systemd's own; whoever lacks one has no such file and systemd skips it.
const SERVICES: [(&str, &str); 4] = [
    ("multi-user.target.wants", "docker.service"),
    ("multi-user.target.wants", "containerd.service"),
    ("multi-user.target.wants", "glusterd.service"),
    ("sockets.target.wants", "docker.socket"),
];

/// What stays of the units that the machine's packages start by themselves.
const KEPT_UNITS: [&str; 6] = [
    "dbus.service",
    "dbus.socket",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-tmpfiles-setup.service",
];

/// The links in a host's `/etc/systemd/system`. The machine's own directory is not seen at all, so its databases, cron
/// jobs and gettys do not start; `packaged` are the units in `/lib/systemd/system/*.wants`, masked unless needed. One
/// of them would set the machine's kernel parameters, another its clock.
#[must_use]
pub fn unit_links(packaged: &[String], unit_dir: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let mut links = BTreeMap::new();
    for unit in packaged.iter().filter(|unit| !KEPT_UNITS.contains(&unit.as_str())) {
        links.insert(PathBuf::from(unit), PathBuf::from("/dev/null"));
    }
    for (wants, unit) in SERVICES {
        links.insert(Path::new(wants).join(unit), unit_dir.join(unit));
    }
    links.insert(PathBuf::from("default.target"), unit_dir.join("multi-user.target"));
    links
}

/// The files that a host has of its own, by absolute path.
#[must_use]
pub fn files(host: HostId, hosts: &[(HostId, Ipv4Addr)], machine_id: &str) -> BTreeMap<&'static str, String> {
    let mut known = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for (host, address) in hosts {
        known.push_str(&format!("{address} {host}\n"));
    }
    BTreeMap::from([
        ("/etc/default/docker", String::new()),
        ("/etc/environment", String::new()),
        ("/etc/fstab", String::new()),
        ("/etc/hostname", format!("{host}\n")),
        ("/etc/hosts", known),
        ("/etc/machine-id", format!("{machine_id}\n")),
        // A look-up that waits for a name server which nobody reaches makes every Gluster command take half a minute.
        (
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n".to_owned(),
        ),
        ("/etc/resolv.conf", "# a lab has no name server\n".to_owned()),
        ("/etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=volatile\n".to_owned()),
    ])
}

/// The file systems of the machine whose content a host sees below its own writable layer: `/`, and what is mounted
/// separately at the few places where programs lie.
#[must_use]
pub fn layers(mountinfo: &str) -> Vec<PathBuf> {
    const PLACES: [&str; 5] = ["/opt", "/usr", "/usr/local", "/var", "/var/lib"];
    let mounted = |place: &&str| mountinfo.lines().any(|line| line.split(' ').nth(4) == Some(*place));
    std::iter::once("/").chain(PLACES.into_iter().filter(mounted)).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8) -> HostId {
        HostId::parse(&format!("h{number}")).unwrap()
    }

    #[test]
    fn a_host_knows_every_other_and_asks_nobody_else() {
        let hosts = [(host(1), "10.88.0.11".parse().unwrap()), (host(2), "10.88.0.12".parse().unwrap())];
        let files = files(host(2), &hosts, "0123");
        assert_eq!(files["/etc/hostname"], "h2\n");
        assert!(files["/etc/hosts"].ends_with("10.88.0.11 h1\n10.88.0.12 h2\n"), "{}", files["/etc/hosts"]);
        assert!(files["/etc/nsswitch.conf"].contains("hosts: files\n"));
        assert!(!files["/etc/hosts"].contains("127.0.1.1"));
        assert_eq!(files["/etc/fstab"], "");
    }

    #[test]
    fn masks_what_the_machine_would_start() {
        let packaged = ["systemd-sysctl.service", "getty.target", "dbus.service"].map(str::to_owned);
        let links = unit_links(&packaged, Path::new("/lib/systemd/system"));
        let target = |unit: &str| links.get(Path::new(unit)).map(|target| target.to_str().unwrap());
        assert_eq!(target("systemd-sysctl.service"), Some("/dev/null"));
        assert_eq!(target("getty.target"), Some("/dev/null"));
        assert_eq!(target("dbus.service"), None);
        let wanted = "multi-user.target.wants/glusterd.service";
        assert_eq!(target(wanted), Some("/lib/systemd/system/glusterd.service"));
        assert_eq!(target("default.target"), Some("/lib/systemd/system/multi-user.target"));
    }

    #[test]
    fn lays_separate_file_systems_under_the_host() {
        let mounts =
            "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /var rw - ext4 /dev/b rw\n3 1 0:9 / /home rw - ext4 c rw";
        assert_eq!(layers(mounts), ["/", "/var"].map(PathBuf::from));
    }

    #[test]
    fn places_of_directories_do_not_meet() {
        let places: std::collections::BTreeSet<_> =
            OWN_DIRECTORIES.iter().map(|dir| place_of(Path::new(dir))).collect();
        assert_eq!(places.len(), OWN_DIRECTORIES.len());
        assert!(places.contains(Path::new("data/var-lib-docker")));
    }
}
