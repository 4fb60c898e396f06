//! Turns the merged text into [`Settings`] and names every problem at once. Values in, values out: whether a path
//! exists or is on a local disk is for those who use it.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::keys;
use super::layer::{Merged, Origin};
use super::problem::Problem;
use super::values::{
    boolean, duration, listen_address, log_format, log_level, networks, number, overlay_provider, replica, socket_path,
};
use super::{Admin, Common, ConfigError, Gluster, Limits, LogSettings, Master, Node, Overlay, Settings};
use crate::cluster::{AbsolutePath, OverlayKind, Secret};

/// Checks every value and how they go together.
///
/// # Errors
/// All problems, in the order of the keys.
pub fn check(merged: &Merged) -> Result<Settings, ConfigError> {
    let mut reader = Reader { merged, problems: Vec::new() };
    let settings = reader.settings();
    let mut problems = reader.problems;
    if let Some(settings) = settings {
        if problems.is_empty() {
            check_together(&settings, merged, &mut problems);
        }
        if problems.is_empty() {
            return Ok(settings);
        }
    }
    Err(ConfigError { problems })
}

/// Settings that are allowed and yet hardly meant.
#[must_use]
pub fn doubts(settings: &Settings) -> Vec<String> {
    let master = &settings.master;
    let mut doubts = Vec::new();
    let thresholds = master.min_managers > 0 || master.min_workers > 0;
    if master.wait_for_minimum && !thresholds {
        doubts.push("`--wait-for-minimum` waits for nothing without `--min-managers` or `--min-workers`".to_owned());
    }
    if thresholds && !master.wait_for_minimum {
        doubts.push("`--min-managers` and `--min-workers` mean nothing without `--wait-for-minimum`".to_owned());
    }
    if settings.overlay.config.is_some() && settings.overlay.provider == OverlayKind::None {
        doubts.push("`--overlay-config` means nothing without `--overlay-provider`".to_owned());
    }
    doubts
}

/// Reads values and collects what is wrong with them. A reader that has failed still reads the rest.
struct Reader<'a> {
    merged: &'a Merged,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Option<Settings> {
        // Each group is read before the first `?`, so that one wrong value does not hide the next.
        let common = self.common();
        let overlay = self.overlay();
        let gluster = self.gluster();
        let master = self.master();
        let node = self.node();
        let admin = self.admin();
        Some(Settings {
            common: common?,
            overlay: overlay?,
            gluster: gluster?,
            master: master?,
            node: node?,
            admin: admin?,
        })
    }

    fn common(&mut self) -> Option<Common> {
        let state_dir = self.required("state_dir", AbsolutePath::parse);
        let socket = self.required("socket", socket_path);
        let docker_socket = self.required("docker_socket", socket_path);
        let level = self.required("log.level", log_level);
        let file = self.optional("log.file", AbsolutePath::parse);
        let format = self.required("log.format", log_format);
        let log = LogSettings { level: level?, file: file?, format: format? };
        Some(Common { state_dir: state_dir?, socket: socket?, docker_socket: docker_socket?, log })
    }

    fn overlay(&mut self) -> Option<Overlay> {
        let provider = self.required("overlay.provider", overlay_provider);
        let config = self.optional("overlay.config", |text| Ok::<_, String>(Secret::new(text)));
        Some(Overlay { provider: provider?, config: config? })
    }

    fn gluster(&mut self) -> Option<Gluster> {
        let enabled = self.optional("gluster.enabled", boolean);
        let volume = self.required("gluster.volume", str::parse);
        let brick = self.required("gluster.brick", str::parse);
        let mount = self.required("gluster.mount", str::parse);
        let replica = self.required("gluster.replica", replica);
        let arbiter = self.required("gluster.arbiter", boolean);
        let settle = self.required("gluster.settle", |text| duration(text, Duration::ZERO, Duration::from_secs(3600)));
        let allow_root_brick = self.required("gluster.allow_root_brick", boolean);
        let auth_allow_cidrs = self.optional("gluster.auth_allow_cidrs", networks);
        Some(Gluster {
            enabled: enabled?,
            volume: volume?,
            brick: brick?,
            mount: mount?,
            replica: replica?,
            arbiter: arbiter?,
            settle: settle?,
            allow_root_brick: allow_root_brick?,
            auth_allow_cidrs: auth_allow_cidrs?.unwrap_or_default(),
        })
    }

    fn master(&mut self) -> Option<Master> {
        let listen = self.required("master.listen", listen_address);
        let advertise_addr = self.optional("master.advertise_addr", str::parse);
        let min_managers = self.required("master.min_managers", |text| number(text, 0, 100_000));
        let min_workers = self.required("master.min_workers", |text| number(text, 0, 1_000_000));
        let wait_for_minimum = self.required("master.wait_for_minimum", boolean);
        let max_connections = self.required("master.max_connections", |text| number(text, 1, 1_000_000));
        let max_connections_per_address =
            self.required("master.max_connections_per_address", |text| number(text, 1, 1_000_000));
        let max_nodes = self.required("master.max_nodes", |text| number(text, 1, 10_000_000));
        let admission = self.required("master.admission", str::parse);
        let plaintext = self.required("master.plaintext", boolean);
        let limits = self.limits();
        Some(Master {
            listen: listen?,
            advertise_addr: advertise_addr?,
            min_managers: min_managers?,
            min_workers: min_workers?,
            wait_for_minimum: wait_for_minimum?,
            max_connections: max_connections?,
            max_connections_per_address: max_connections_per_address?,
            max_nodes: max_nodes?,
            admission: admission?,
            plaintext: plaintext?,
            limits: limits?,
        })
    }

    fn limits(&mut self) -> Option<Limits> {
        let mut rate = |name: &str| self.required(name, |text| number(text, 1, 1_000_000));
        let requests_per_second = rate("master.requests_per_second");
        let requests_burst = rate("master.requests_burst");
        let node_requests_per_second = rate("master.node_requests_per_second");
        let node_requests_burst = rate("master.node_requests_burst");
        let token_failures_per_minute = rate("master.token_failures_per_minute");
        let token_failures_per_address = rate("master.token_failures_per_address");
        Some(Limits {
            requests_per_second: requests_per_second?,
            requests_burst: requests_burst?,
            node_requests_per_second: node_requests_per_second?,
            node_requests_burst: node_requests_burst?,
            token_failures_per_minute: token_failures_per_minute?,
            token_failures_per_address: token_failures_per_address?,
        })
    }

    fn node(&mut self) -> Option<Node> {
        let master = self.optional("node.master", str::parse);
        let role = self.optional("node.role", str::parse);
        let ip = self.optional("node.ip", str::parse);
        let hostname = self.optional("node.hostname", str::parse);
        let day = Duration::from_secs(24 * 3600);
        let timeout = self.required("node.timeout", |text| duration(text, Duration::from_secs(1), day));
        // Only `node join` reads it: a damaged one is no reason for other commands to fail.
        let token = self.optional("node.token", |text| Ok::<_, String>(Secret::new(text)));
        Some(Node { master: master?, role: role?, ip: ip?, hostname: hostname?, timeout: timeout?, token: token? })
    }

    fn admin(&mut self) -> Option<Admin> {
        let controller = self.optional("admin.controller", str::parse);
        let cert = self.optional("admin.cert", |text| Ok::<_, String>(PathBuf::from(text)));
        Some(Admin { controller: controller?, cert: cert? })
    }

    /// The value of a key that has a default. `None` once it is reported.
    fn required<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let value = self.optional(name, parse)?;
        if value.is_none()
            && let Some(key) = keys::find(name)
        {
            self.problems.push(Problem::with_key(key, Origin::Default, "is not set"));
        }
        value
    }

    /// The value of a key that may be unset; the outer `None` means that it is wrong, and reported.
    fn optional<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<Option<T>> {
        let key = keys::find(name)?;
        let Some(entry) = self.merged.get(key).filter(|entry| !entry.text.is_empty()) else { return Some(None) };
        match parse(&entry.text) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                self.problems.push(Problem::with_key(key, entry.origin.clone(), error.to_string()));
                None
            }
        }
    }
}

/// The rules over more than one value.
fn check_together(settings: &Settings, merged: &Merged, problems: &mut Vec<Problem>) {
    let mut report = |name: &str, message: String| {
        if let Some((key, entry)) = keys::find(name).and_then(|key| Some((key, merged.get(key)?))) {
            problems.push(Problem::with_key(key, entry.origin.clone(), message));
        }
    };
    let (brick, mount) = (settings.gluster.brick.as_str(), settings.gluster.mount.as_str());
    if within(brick, mount) || within(mount, brick) {
        report("gluster.mount", format!("brick and mount point lie inside one another: {brick} and {mount}"));
    }
    let state_dir = settings.common.state_dir.as_str();
    for (what, place) in [("the mount point", mount), ("the brick", brick)] {
        if within(state_dir, place) {
            report("state_dir", format!("lies in {what} {place}; the state must be on a local disk of its own"));
        }
    }
    if settings.gluster.arbiter && settings.gluster.replica != 3 {
        let replica = settings.gluster.replica;
        report("gluster.arbiter", format!("an arbiter is the third of 3 bricks; `gluster.replica` is {replica}"));
    }
    if settings.common.socket == settings.common.docker_socket {
        report("socket", "is the Docker engine's socket too".to_owned());
    }
}

fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Admission, Role};
    use crate::config::layer::{self, Flags};
    use crate::config::{LogFormat, LogLevel};

    fn settings(pairs: &[(&'static str, &str)]) -> Result<Settings, ConfigError> {
        let mut flags = Flags::default();
        for (key, text) in pairs {
            flags.set(key, "--flag", Some(*text));
        }
        check(&layer::merge([flags.into_layer()]))
    }

    fn complaint(pairs: &[(&'static str, &str)]) -> String {
        settings(pairs).unwrap_err().to_string()
    }

    /// S2-08, S2-29: the defaults of the specification.
    #[test]
    fn defaults() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.common.state_dir.as_str(), "/var/lib/clusterctl");
        assert_eq!(settings.common.socket.as_str(), "/run/clusterctl/clusterctl.sock");
        assert_eq!(settings.common.log, LogSettings { level: LogLevel::Info, file: None, format: LogFormat::Text });
        assert_eq!(settings.overlay, Overlay { provider: OverlayKind::None, config: None });
        assert_eq!(settings.gluster.enabled, None);
        assert_eq!(settings.gluster.settle, Duration::from_secs(5));
        assert_eq!((settings.gluster.replica, settings.gluster.arbiter), (3, false));
        assert_eq!(settings.master.listen.to_string(), "0.0.0.0:7000");
        assert!(!settings.master.wait_for_minimum);
        assert_eq!((settings.master.max_connections, settings.master.max_connections_per_address), (2048, 64));
        assert_eq!((settings.master.admission, settings.master.plaintext), (Admission::Token, false));
        let limits = settings.master.limits;
        assert_eq!((limits.requests_per_second, limits.requests_burst), (20, 100));
        assert_eq!((limits.node_requests_per_second, limits.node_requests_burst), (1, 10));
        assert_eq!((limits.token_failures_per_minute, limits.token_failures_per_address), (20, 200));
        assert_eq!(settings.node.timeout, Duration::from_secs(600));
        assert_eq!(settings.node.master, None);
        assert!(doubts(&settings).is_empty());
    }

    /// S2-36 to S2-49: every flag's value arrives in its type.
    #[test]
    fn reads_values() {
        let settings = settings(&[
            ("log.level", "WARN"),
            ("log.file", "/var/log/clusterctl.log"),
            ("log.format", "json"),
            ("overlay.provider", "netbird"),
            ("overlay.config", "key"),
            ("gluster.enabled", "yes"),
            ("gluster.arbiter", "true"),
            ("gluster.settle", "1m 30s"),
            ("gluster.auth_allow_cidrs", "192.168.0.0/16, 10.0.0.0/8,10.0.0.0/8"),
            ("master.listen", "[::]:0"),
            ("master.advertise_addr", "10.0.0.1"),
            ("master.min_managers", "3"),
            ("master.wait_for_minimum", "true"),
            ("master.admission", "Approve"),
            ("master.plaintext", "on"),
            ("master.node_requests_burst", "50"),
            ("node.master", "h1"),
            ("node.role", "Manager"),
            ("node.ip", "10.0.0.2"),
            ("node.hostname", "H2"),
            ("node.timeout", "2h"),
            ("node.token", "hush"),
            ("admin.controller", "10.0.0.1"),
            ("admin.cert", "alice.json"),
        ])
        .unwrap();
        assert_eq!(settings.node.token.as_ref().map(Secret::reveal), Some("hush"));
        assert_eq!(settings.admin.controller.as_ref().unwrap().to_string(), "10.0.0.1:7000");
        assert_eq!(settings.admin.cert.as_deref(), Some(std::path::Path::new("alice.json")));
        assert!(!format!("{settings:?}").contains("hush"));
        assert_eq!(settings.common.log.level, LogLevel::Warn);
        assert_eq!(settings.common.log.format, LogFormat::Json);
        assert_eq!(settings.overlay.config.unwrap().reveal(), "key");
        assert_eq!(settings.gluster.enabled, Some(true));
        assert_eq!(settings.gluster.settle, Duration::from_secs(90));
        let networks: Vec<String> = settings.gluster.auth_allow_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "192.168.0.0/16"]);
        assert_eq!(settings.master.min_managers, 3);
        assert_eq!((settings.master.admission, settings.master.plaintext), (Admission::Approve, true));
        assert_eq!(settings.master.limits.node_requests_burst, 50);
        assert_eq!(settings.node.master.unwrap().to_string(), "h1:7000");
        assert_eq!(settings.node.role, Some(Role::Manager));
        assert_eq!(settings.node.hostname.unwrap().as_str(), "h2");
        assert_eq!(settings.node.timeout, Duration::from_secs(7200));
    }

    #[test]
    fn names_every_problem_at_once() {
        insta::assert_snapshot!(
            complaint(&[
                ("state_dir", "relative"),
                ("gluster.volume", "-x"),
                ("master.listen", "7000"),
                ("master.max_nodes", "-1"),
                ("node.timeout", "10"),
                ("node.role", "boss"),
            ]),
            @r#"
        6 settings are wrong:
          --flag: `state_dir`: a path starts with `/`, has no empty, `.` or `..` component and at most 255 characters: "relative" (set by `state_dir` in the file, `CLUSTERCTL_STATE_DIR` or `--state-dir`)
          --flag: `gluster.volume`: a volume name starts with a letter, digit or underscore, goes on with at most 62 of those and hyphens, and is not `all`: "-x" (set by `gluster.volume` in the file, `CLUSTERCTL_GLUSTER_VOLUME` or `--volume`)
          --flag: `master.listen`: is an address and a port, such as `0.0.0.0:7000`, not "7000" (set by `master.listen` in the file, `CLUSTERCTL_MASTER_LISTEN` or `--listen`)
          --flag: `master.max_nodes`: is a number from 1 to 10000000, not "-1" (set by `master.max_nodes` in the file or `CLUSTERCTL_MASTER_MAX_NODES`)
          --flag: `node.role`: a role is `manager` or `worker`, not "boss" (set by `node.role` in the file, `CLUSTERCTL_NODE_ROLE` or `--role`)
          --flag: `node.timeout`: is a duration with its unit, such as `90s` or `10m`, not "10" (set by `node.timeout` in the file, `CLUSTERCTL_NODE_TIMEOUT` or `--timeout`)
        "#
        );
    }

    #[test]
    fn two_copies_are_refused_with_the_reason() {
        let complaint = complaint(&[("gluster.replica", "2")]);
        assert!(complaint.contains("split brain") && complaint.contains("--replica"), "{complaint}");
        for copies in ["1", "3", "4", "16"] {
            assert!(settings(&[("gluster.replica", copies)]).is_ok(), "{copies}");
        }
        for copies in ["0", "17", "three"] {
            assert!(settings(&[("gluster.replica", copies)]).is_err(), "{copies}");
        }
    }

    /// S2-24: the state never lies on the storage that it describes.
    #[test]
    fn values_are_judged_together() {
        for (pairs, words) in [
            (&[("state_dir", "/mnt/shared/state")][..], "state_dir"),
            (&[("state_dir", "/data/clusterctl/bricks/shared/x")][..], "state_dir"),
            (&[("gluster.mount", "/data/clusterctl/bricks/shared/x")][..], "inside one another"),
            (&[("gluster.mount", "/data/clusterctl/bricks")][..], "inside one another"),
            (&[("gluster.arbiter", "true"), ("gluster.replica", "1")][..], "third of 3"),
            (&[("socket", "/run/docker.sock"), ("docker_socket", "/run/docker.sock")][..], "Docker engine's"),
        ] {
            let complaint = complaint(pairs);
            assert!(complaint.contains(words), "{complaint}");
        }
        // Beside each other is fine, with a common beginning of the name too.
        assert!(settings(&[("state_dir", "/mnt/shared-state")]).is_ok());
    }

    #[test]
    fn refuses_bad_values() {
        let long = format!("/{}", "a".repeat(107));
        for (key, text) in [
            ("socket", long.as_str()),
            ("log.level", "loud"),
            ("log.format", "xml"),
            ("log.file", "x.log"),
            ("overlay.provider", "zerotier"),
            ("gluster.enabled", "maybe"),
            ("gluster.settle", "-5s"),
            ("gluster.settle", "2h"),
            ("gluster.auth_allow_cidrs", "10.0.0.1/8"),
            ("gluster.auth_allow_cidrs", "10.0.0.0"),
            ("gluster.brick", "/etc/x"),
            ("master.listen", "localhost:7000"),
            ("master.advertise_addr", "0.0.0.0"),
            ("master.max_connections", "0"),
            ("master.admission", "everybody"),
            ("master.plaintext", "maybe"),
            ("master.requests_per_second", "0"),
            ("master.token_failures_per_minute", "-1"),
            ("node.timeout", "0s"),
            ("node.hostname", "a_b"),
            ("node.ip", "fd00::1"),
            ("admin.controller", "0.0.0.0:7000"),
        ] {
            let key: &'static str = keys::find(key).unwrap().name;
            let complaint = complaint(&[(key, text)]);
            assert!(complaint.contains(key) && complaint.contains("CLUSTERCTL_"), "{key}={text}: {complaint}");
        }
    }

    #[test]
    fn doubts_are_said() {
        for pairs in [
            &[("master.wait_for_minimum", "true")][..],
            &[("master.min_workers", "2")][..],
            &[("overlay.config", "x")][..],
        ] {
            assert_eq!(doubts(&settings(pairs).unwrap()).len(), 1, "{pairs:?}");
        }
    }
}
