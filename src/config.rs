//! Settings: file, then environment, then flags; every value knows where it came from.
//!
//! `sources` reads, `yaml` parses, `layer` puts the layers on top of each other, `check` turns the text into types and names every
//! problem at once. Only `sources` touches files and the environment. The surprising part: up to `check` all values
//! are text, whichever layer they come from, so that a wrong port number reads the same in a file and in a flag.

mod address;
pub mod check;
pub mod keys;
pub mod layer;
mod problem;
pub mod sources;
mod values;
pub mod yaml;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::cluster::{
    AbsolutePath, Admission, BrickPath, Hostname, MountPoint, NodeAddress, OverlayKind, Role, Secret, VolumeName,
};

pub use address::{MasterAddress, MasterAddressError, MasterHost};
pub use problem::{ConfigError, Problem};

/// The port of the controller where none is given.
pub const DEFAULT_PORT: u16 = 7000;

/// Every setting, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub common: Common,
    pub overlay: Overlay,
    pub gluster: Gluster,
    pub master: Master,
    pub node: Node,
    pub admin: Admin,
}

/// What every command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Where controller and node keep what must survive a restart. Always a local disk.
    pub state_dir: AbsolutePath,
    /// The socket through which commands on the master's host ask the running controller.
    pub socket: AbsolutePath,
    /// Where the Docker engine of this host listens.
    pub docker_socket: AbsolutePath,
    pub log: LogSettings,
}

/// What is logged, where to and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    /// Written to besides stderr.
    pub file: Option<AbsolutePath>,
    pub format: LogFormat,
}

/// The least severe level that is still logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `[2026-01-02T03:04:05Z] - [INFO] - message key=value`
    Text,
    /// One JSON object on each line.
    Json,
}

/// The network between hosts that cannot reach each other directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    pub provider: OverlayKind,
    /// What the provider needs to connect (a setup key, a configuration): handed to the nodes, never logged.
    pub config: Option<Secret>,
}

/// Shared storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gluster {
    /// `None` where nobody said: off on the master; on a node, whatever the master says.
    pub enabled: Option<bool>,
    pub volume: VolumeName,
    /// The directory of a brick, on every host that holds one.
    pub brick: BrickPath,
    /// Where the volume is mounted, on every host.
    pub mount: MountPoint,
    /// Copies of each file: 1, or 3 and more. Never 2, which a lost connection turns into two truths.
    pub replica: u32,
    /// The third brick of each set holds names and sizes alone, no content.
    pub arbiter: bool,
    /// How long to wait for more brick hosts before a volume is made of a single one.
    pub settle: Duration,
    /// A brick may lie on the root file system.
    pub allow_root_brick: bool,
    /// Networks that may mount the volume; empty means the addresses of the registered nodes.
    pub auth_allow_cidrs: Vec<Ipv4Net>,
}

/// The controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    pub listen: SocketAddr,
    /// The address that nodes are told; detected where nobody said.
    pub advertise_addr: Option<NodeAddress>,
    pub min_managers: u32,
    pub min_workers: u32,
    pub wait_for_minimum: bool,
    /// Connections that have not proved who they are, over all addresses.
    pub max_connections: u32,
    pub max_connections_per_address: u32,
    /// Registrations kept at most.
    pub max_nodes: u32,
    /// Who may become a node.
    pub admission: Admission,
    /// Clear text is answered too, to private networks.
    pub plaintext: bool,
    pub limits: Limits,
}

/// How often the controller may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From one address, by clients that have not proved that they are members.
    pub requests_per_second: u32,
    pub requests_burst: u32,
    /// Registrations of one node.
    pub node_requests_per_second: u32,
    pub node_requests_burst: u32,
    /// Wrong tokens under one id from one address, and from one address in all, before no more are tried for a minute.
    pub token_failures_per_minute: u32,
    pub token_failures_per_address: u32,
}

/// A host that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub master: Option<MasterAddress>,
    pub role: Option<Role>,
    pub ip: Option<NodeAddress>,
    pub hostname: Option<Hostname>,
    /// How long a join may take in all.
    pub timeout: Duration,
    /// The admission token, as it was given: not judged yet.
    pub token: Option<Secret>,
}

/// Who administers which controller from afar; unset, the one on this host is asked through its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub controller: Option<MasterAddress>,
    /// The administrator's file.
    pub cert: Option<PathBuf>,
}
