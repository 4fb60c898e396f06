//! The flags that set settings, in the groups in which commands take them. Each group knows which key each of its
//! flags sets; the values stay text until all layers are together.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::OutputFormat;
use crate::cluster::{ProfileName, Role, Secret};
use crate::config::layer::Flags;
use crate::protocol::registration::RawRequest;

const HEADING: &str = "Options of every command";

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(super) struct GlobalArgs {
    /// Read the settings from this file [default: /etc/clusterctl/config.yaml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How results are printed
    #[arg(
        long,
        short,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = false
    )]
    pub(super) output: OutputFormat,
    /// Print results and errors alone, no progress
    #[arg(long, short, global = true, conflicts_with = "log_level")]
    pub(super) quiet: bool,
    /// Log from this level on [default: info]
    #[arg(hide_short_help = true, long, global = true, value_name = "LEVEL", value_parser = PossibleValuesParser::new(["debug", "info", "warn", "error"]))]
    log_level: Option<String>,
    /// Form of the log lines [default: text]
    #[arg(hide_short_help = true, long, global = true, value_name = "FORMAT", value_parser = PossibleValuesParser::new(["text", "json"]))]
    log_format: Option<String>,
    /// Write the log to this file too
    #[arg(hide_short_help = true, long, global = true, value_name = "FILE")]
    log_file: Option<String>,
    /// Where state is kept, on a local disk [default: /var/lib/clusterctl]
    #[arg(hide_short_help = true, long, global = true, value_name = "DIR")]
    state_dir: Option<String>,
    /// Socket of the controller on this host [default: /run/clusterctl/clusterctl.sock]
    #[arg(hide_short_help = true, long, global = true, value_name = "PATH")]
    socket: Option<String>,
    /// Socket of the Docker engine [default: /var/run/docker.sock]
    #[arg(hide_short_help = true, long, global = true, value_name = "PATH")]
    docker_socket: Option<String>,
}

impl GlobalArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("log.level", "--quiet", self.quiet.then_some("warn"));
        flags.set("log.level", "--log-level", self.log_level.as_ref());
        flags.set("log.format", "--log-format", self.log_format.as_ref());
        flags.set("log.file", "--log-file", self.log_file.as_ref());
        flags.set("state_dir", "--state-dir", self.state_dir.as_ref());
        flags.set("socket", "--socket", self.socket.as_ref());
        flags.set("docker_socket", "--docker-socket", self.docker_socket.as_ref());
    }
}

/// From here on it cannot be printed by accident.
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The overlay network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Overlay network")]
pub(super) struct OverlayArgs {
    /// Network that connects hosts which do not reach each other directly [default: none]
    #[arg(long, value_name = "PROVIDER", value_parser = PossibleValuesParser::new(["netbird", "tailscale", "wireguard", "none"]))]
    overlay_provider: Option<String>,
    /// What the provider needs to connect: a file, env:NAME for a variable, or the value itself (which others on this
    /// host can see in the list of processes)
    #[arg(long, value_name = "FILE|env:NAME|VALUE", value_parser = secret)]
    overlay_config: Option<Secret>,
}

impl OverlayArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("overlay.provider", "--overlay-provider", self.overlay_provider.as_ref());
        flags.set("overlay.config", "--overlay-config", self.overlay_config.as_ref().map(Secret::reveal));
    }
}

/// Whether there is shared storage.
#[derive(Debug, Args)]
#[command(next_help_heading = "Shared storage")]
pub(super) struct StorageSwitch {
    /// Share a directory between all hosts with GlusterFS
    #[arg(long, overrides_with = "enable_glusterfs", conflicts_with = "disable_glusterfs")]
    enable_glusterfs: bool,
    /// Do without shared storage; on a node: this host takes no part in it
    #[arg(long, overrides_with = "disable_glusterfs")]
    disable_glusterfs: bool,
}

impl StorageSwitch {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("gluster.enabled", "--enable-glusterfs", self.enable_glusterfs.then_some(true));
        flags.set("gluster.enabled", "--disable-glusterfs", self.disable_glusterfs.then_some(false));
    }
}

/// How the shared storage is laid out; said on the master.
#[derive(Debug, Args)]
#[command(next_help_heading = "Shared storage")]
pub(super) struct StorageArgs {
    #[command(flatten)]
    switch: StorageSwitch,
    /// Name of the volume [default: shared]
    #[arg(long, value_name = "NAME")]
    volume: Option<String>,
    /// Directory that holds a host's share of the data [default: /data/clusterctl/bricks/shared]
    #[arg(long, value_name = "DIR")]
    brick: Option<String>,
    /// Where every host finds the volume [default: /mnt/shared]
    #[arg(long, value_name = "DIR")]
    mount: Option<String>,
    /// Copies of each file: 1, or 3 and more [default: 3]
    #[arg(long, value_name = "COPIES")]
    replica: Option<String>,
    /// Let the third of three bricks hold names alone, which saves its space
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    arbiter: Option<String>,
    /// Allow a brick on the root file system, which it can fill
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_root_brick: Option<String>,
}

impl StorageArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        self.switch.collect(flags);
        flags.set("gluster.volume", "--volume", self.volume.as_ref());
        flags.set("gluster.brick", "--brick", self.brick.as_ref());
        flags.set("gluster.mount", "--mount", self.mount.as_ref());
        flags.set("gluster.replica", "--replica", self.replica.as_ref());
        flags.set("gluster.arbiter", "--arbiter", self.arbiter.as_ref());
        flags.set("gluster.allow_root_brick", "--allow-root-brick", self.allow_root_brick.as_ref());
    }
}

/// The controller's own flags.
#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Address that the other hosts reach this one at [default: found as `clusterctl ip` does]
    #[arg(long, value_name = "IP")]
    advertise_addr: Option<String>,
    /// Address and port to listen on for nodes [default: 0.0.0.0:7000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Who may join: holders of a token (others are asked about), only who is approved, or everybody [default: token]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(["token", "approve", "open"]))]
    admission: Option<String>,
    /// Answer clients without TLS too, from private networks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    plaintext: Option<String>,
    /// Let no node in before the minimum has registered
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait_for_minimum: Option<String>,
    /// The least number of managers, this host included [default: 0]
    #[arg(long, value_name = "N")]
    min_managers: Option<String>,
    /// The least number of workers [default: 0]
    #[arg(long, value_name = "N")]
    min_workers: Option<String>,
}

impl ControllerArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("master.advertise_addr", "--advertise-addr", self.advertise_addr.as_ref());
        flags.set("master.listen", "--listen", self.listen.as_ref());
        flags.set("master.admission", "--admission", self.admission.as_ref());
        flags.set("master.plaintext", "--plaintext", self.plaintext.as_ref());
        flags.set("master.wait_for_minimum", "--wait-for-minimum", self.wait_for_minimum.as_ref());
        flags.set("master.min_managers", "--min-managers", self.min_managers.as_ref());
        flags.set("master.min_workers", "--min-workers", self.min_workers.as_ref());
    }
}

/// Which controller is asked, for commands that administer it.
#[derive(Debug, Args)]
#[command(next_help_heading = "From another host than the master")]
pub(super) struct AccessArgs {
    /// The administrator's file; without one, the controller on this host is asked
    #[arg(long, value_name = "FILE")]
    admin_cert: Option<String>,
    /// The controller to ask [default: the one in the administrator's file]
    #[arg(long, value_name = "HOST[:PORT]")]
    controller: Option<String>,
}

impl AccessArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("admin.cert", "--admin-cert", self.admin_cert.as_ref());
        flags.set("admin.controller", "--controller", self.controller.as_ref());
    }
}

/// What a token or an approval grants.
#[derive(Debug, Args)]
pub(super) struct GrantArgs {
    /// What a host may be in the Swarm
    #[arg(long, value_name = "ROLE", value_parser = str::parse::<Role>)]
    role: Option<Role>,
    /// A profile that a host gets; may be given several times
    #[arg(long = "profile", value_name = "PROFILE", value_parser = ProfileName::parse)]
    profiles: Vec<ProfileName>,
}

impl GrantArgs {
    pub(super) fn add_to(&self, request: &mut RawRequest) {
        request.role = self.role.map(|role| role.to_string()).unwrap_or_default();
        request.profiles = self.profiles.iter().map(ToString::to_string).collect();
    }
}

/// What lets a node in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admission")]
pub(super) struct TokenArgs {
    /// The admission token; others on this host can see it in the list of processes
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with = "token_file")]
    pub(super) token: Option<Secret>,
    /// File that holds the admission token; `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Whether the command line itself has a token.
    pub(super) fn is_given(&self) -> bool {
        self.token.is_some() || self.token_file.is_some()
    }

    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("node.token", "--token", self.token.as_ref().map(Secret::reveal));
    }
}

/// Who a node is and where its master is.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The master: an address or a name, and its port unless that is 7000
    #[arg(long, value_name = "HOST[:PORT]")]
    master: Option<String>,
    /// What this host is to be in the Swarm [default: the master decides]
    #[arg(long, value_name = "ROLE", value_parser = PossibleValuesParser::new(["manager", "worker"]))]
    role: Option<String>,
    /// Address of this host [default: found as `clusterctl ip` does]
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Name of this host [default: its own]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// How long it may take in all [default: 10m]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
}

impl NodeArgs {
    pub(super) fn collect(&self, flags: &mut Flags) {
        flags.set("node.master", "--master", self.master.as_ref());
        flags.set("node.role", "--role", self.role.as_ref());
        flags.set("node.ip", "--ip", self.ip.as_ref());
        flags.set("node.hostname", "--hostname", self.hostname.as_ref());
        flags.set("node.timeout", "--timeout", self.timeout.as_ref());
    }
}
