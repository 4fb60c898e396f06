//! End to end: the built program on lab hosts, with real Docker and GlusterFS, from bare hosts to a working cluster.
//!
//! What is asserted is what an operator sees with Docker's and Gluster's own tools, not what clusterctl says of itself.
//! Scenarios that can follow one another share a lab: each is a function, and the test names them in their order.

mod admission;
mod concurrent;
mod crash_points;
mod demo;
mod drift;
mod empty_root;
mod faults;
mod first_implementation;
mod full_disk;
mod growth;
mod invariants;
mod lost_state;
mod node_faults;
mod refusals;
mod requests;
mod secrets;
mod soak;
mod storage;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use clusterctl::providers::command::Output;
use serde_json::Value;

use crate::lab::{Lab, run, wait_for};

/// How long the cluster may take for anything, on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(120);
const BRICK: &str = "/data/clusterctl/bricks/shared";
const MOUNT: &str = "/mnt/shared";

/// A lab whose h1 is the master.
struct Cluster {
    lab: Lab,
    /// The token that `master init` printed.
    token: OnceLock<String>,
}

/// A test that fails shows what the controller said last; any other ends with a search for its secrets.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            secrets::are_nowhere(&self.lab, &self.lab.said());
        } else {
            let journal = ["journalctl", "--no-pager", "-o", "cat", "-n", "60", "-u", "clusterctl-master"];
            if let Ok(said) = run(self.lab.invocation(1, &journal)) {
                eprintln!("the controller on h1:\n{}", said.stdout_text());
            }
        }
    }
}

/// How a command of clusterctl ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.code, stdout: output.stdout_text().to_owned(), stderr }
    }
}

impl Ended {
    /// The steps that were carried out, each by its first words; sorted, since independent ones run side by side.
    fn done(&self) -> Vec<&str> {
        let mut steps: Vec<&str> =
            self.stdout.lines().filter_map(|line| line.strip_prefix("done: ")).map(in_short).collect();
        steps.sort_unstable();
        steps
    }

    /// # Panics
    /// Other steps than `steps` were carried out.
    fn did(&self, steps: &[&str]) {
        let mut wanted = steps.to_vec();
        wanted.sort_unstable();
        assert_eq!(self.done(), wanted, "{}", self.stderr);
    }

    /// # Panics
    /// The command failed.
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// # Panics
    /// It ended otherwise than with `code`, a message that contains all of `words`, a hint and a reason.
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.done(), Vec::<&str>::new());
        for word in words.iter().copied().chain(["error: ", "hint: ", "result=failed reason="]) {
            assert!(self.stderr.contains(word), "`{word}` is missing in:\n{}", self.stderr);
        }
    }
}

/// A step by its first words, without addresses.
fn in_short(step: &str) -> &str {
    const STEPS: [&str; 8] = [
        "join the Swarm",
        "give up the broken place",
        "make the directory",
        "mount `shared`",
        "take away the dead mount",
        "make the mount",
        "drop the Swarm join",
        "clean the mark",
    ];
    STEPS.into_iter().find(|short| step.starts_with(short)).unwrap_or(step)
}

impl Cluster {
    fn up(name: &str, hosts: u8) -> Self {
        Self { lab: Lab::up(name, hosts), token: OnceLock::new() }
    }

    /// What nodes are told to join.
    fn master(&self) -> String {
        format!("{}:7000", self.lab.host_ip(1))
    }

    /// Runs `clusterctl` in host `n`, whatever comes of it.
    fn clusterctl(&self, n: u8, words: &[&str]) -> Ended {
        let argv: Vec<&str> = std::iter::once("clusterctl").chain(words.iter().copied()).collect();
        let invocation = self.lab.invocation(n, &argv).deadline(PATIENCE * 3);
        run(invocation).unwrap_or_else(|error| panic!("h{n}: {argv:?}: {error}")).into()
    }

    /// Makes h1 the master.
    fn init(&self, options: &[&str]) -> Ended {
        let words: Vec<&str> = ["master", "init"].into_iter().chain(options.iter().copied()).collect();
        let init = self.clusterctl(1, &words).succeeded();
        if let Some(token) = init.stdout.split_whitespace().find(|word| word.starts_with("CCTL1-")) {
            self.token.get_or_init(|| token.to_owned());
        }
        init
    }

    /// Installs and starts the controller's unit on h1, as the packaging has it, with `options` for the command.
    fn serve(&self, options: &str) {
        let unit = include_str!("../../packaging/systemd/clusterctl-master.service");
        self.write(1, "/etc/systemd/system/clusterctl-master.service", unit);
        if !options.is_empty() {
            let command =
                format!("[Service]\nExecStart=\nExecStart=/usr/local/bin/clusterctl master serve {options}\n");
            self.write(1, "/etc/systemd/system/clusterctl-master.service.d/options.conf", &command);
        }
        self.lab.ok(1, &["systemctl", "daemon-reload"]);
        // It returns when the controller listens.
        self.lab.ok(1, &["systemctl", "enable", "--now", "clusterctl-master.service"]);
    }

    /// Writes a file in host `n`.
    fn write(&self, n: u8, path: &str, text: &str) {
        self.try_write(n, path, text).succeeded();
    }

    fn try_write(&self, n: u8, path: &str, text: &str) -> Ended {
        let script = r#"mkdir -p "$(dirname "$0")" && cat >"$0""#;
        run(self.lab.invocation(n, &["sh", "-c", script, path]).stdin(text)).unwrap().into()
    }

    /// Writes a file on the volume. A client that has yet to reach enough bricks again refuses that for some seconds.
    fn write_shared(&self, n: u8, name: &str, text: &str) {
        let path = format!("{MOUNT}/{name}");
        wait_for(&format!("h{n} writes {path}"), PATIENCE, || self.try_write(n, &path, text).code == Some(0));
    }

    fn join(&self, n: u8, options: &[&str]) -> Ended {
        let master = self.master();
        let words: Vec<&str> =
            ["node", "join", "--master", &master].into_iter().chain(options.iter().copied()).collect();
        match self.token.get() {
            Some(token) => self.with_token(n, &words, token),
            None => self.clusterctl(n, &words),
        }
    }

    /// Runs `clusterctl` in host `n` with a token that it reads from its input.
    fn with_token(&self, n: u8, words: &[&str], token: &str) -> Ended {
        let argv: Vec<&str> =
            std::iter::once("clusterctl").chain(words.iter().copied()).chain(["--token-file", "-"]).collect();
        run(self.lab.invocation(n, &argv).stdin(token).deadline(PATIENCE * 3)).unwrap().into()
    }

    /// Has the hosts join at the same moment; all of them must succeed.
    fn join_together(&self, hosts: &[u8]) -> Vec<Ended> {
        std::thread::scope(|scope| {
            let joins: Vec<_> = hosts.iter().map(|n| scope.spawn(|| self.join(*n, &[]).succeeded())).collect();
            joins.into_iter().map(|join| join.join().unwrap()).collect()
        })
    }

    /// Host `n` is as it should be, says the program, and touches nothing.
    fn nothing_to_do(&self, n: u8) {
        let join = self.join(n, &[]).succeeded();
        assert!(join.stdout.starts_with("nothing to do\n"), "{join:?}");
        assert!(join.stderr.ends_with("result=ok reason=nothing-to-do next=-\n"), "{join:?}");
    }

    /// The controller's own picture.
    fn status(&self) -> Value {
        let status = self.clusterctl(1, &["master", "status", "--output", "json"]).succeeded();
        serde_json::from_str(&status.stdout).unwrap()
    }

    /// A host's row in the controller's picture.
    fn row(&self, hostname: &str) -> Value {
        let status = self.status();
        let mut rows = status["Nodes"].as_array().unwrap().iter();
        rows.find(|row| row["Hostname"] == hostname).cloned().unwrap_or(Value::Null)
    }

    /// Name and state of every entry in the Swarm's own list, sorted.
    fn swarm_nodes(&self) -> Vec<String> {
        let list = self.lab.ok(1, &["docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
        let mut nodes: Vec<String> = list.lines().map(str::to_owned).collect();
        nodes.sort();
        nodes
    }

    /// Waits until `hosts` are `Ready` in the Swarm, each once.
    fn expect_ready(&self, hosts: &[u8]) {
        let wanted: Vec<String> = hosts.iter().map(|n| format!("h{n} Ready")).collect();
        let mut seen = Vec::new();
        wait_for(&format!("{wanted:?} in the Swarm"), PATIENCE, || {
            seen = self.swarm_nodes();
            seen.iter().filter(|node| node.ends_with(" Ready")).eq(wanted.iter())
        });
    }

    fn volume_info(&self) -> String {
        self.lab.ok(1, &["gluster", "--mode=script", "volume", "info", "shared"])
    }

    /// The volume is started with three copies, on these hosts.
    fn expect_three_copies(&self, hosts: [u8; 3]) {
        wait_for("three bricks", PATIENCE, || self.volume_info().contains("Number of Bricks: 1 x 3 = 3"));
        let info = self.volume_info();
        assert!(info.contains("Status: Started") && info.contains("Type: Replicate"), "{info}");
        for n in hosts {
            assert!(info.contains(&format!("{}:{BRICK}", self.lab.host_ip(n))), "{info}");
        }
        wait_for("every brick online", PATIENCE, || self.bricks_online() == 3);
    }

    /// Each of three bricks has what the others have.
    fn expect_healed(&self) {
        wait_for("nothing is left to be healed", PATIENCE, || {
            let heal = self.lab.exec(1, &["gluster", "--mode=script", "volume", "heal", "shared", "info"]);
            heal.stdout_text().matches("Number of entries: 0").count() == 3
        });
    }

    fn bricks_online(&self) -> usize {
        let status = self.lab.exec(1, &["gluster", "--mode=script", "volume", "status", "shared", "--xml"]);
        let text = status.stdout_text();
        // One `node` element for each process; bricks are those with a path.
        text.split("<node>").filter(|node| node.contains(BRICK) && node.contains("<status>1</status>")).count()
    }

    /// What is mounted at the volume's mount point of host `n`, as `TYPE SOURCE`; empty if nothing is.
    fn mounted(&self, n: u8) -> String {
        self.lab.exec(n, &["findmnt", "-rn", "-o", "FSTYPE,SOURCE", MOUNT]).stdout_text().trim().to_owned()
    }

    fn expect_mounted(&self, n: u8) {
        let mounted = self.mounted(n);
        assert!(mounted.starts_with("fuse.glusterfs ") && mounted.ends_with(":/shared"), "h{n}: {mounted}");
    }

    /// What host `from` writes, host `to` reads.
    fn expect_shared(&self, from: u8, to: u8) {
        let name = format!("from-h{from}-to-h{to}");
        self.write_shared(from, &name, "shared");
        let file = format!("{MOUNT}/{name}");
        wait_for(&format!("h{to} reads {file}"), PATIENCE, || {
            self.lab.exec(to, &["cat", &file]).stdout_text() == "shared"
        });
    }

    /// Sends bytes to the controller and returns what it answers until it closes.
    fn send(&self, bytes: &[u8]) -> Value {
        exchange(self.lab.host_ip(1), bytes)
    }
}

/// One exchange with the controller at `address`, as a client does it that leaves its side open.
fn exchange(address: Ipv4Addr, bytes: &[u8]) -> Value {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, 7000)), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    serde_json::from_slice(&reply).unwrap_or_else(|error| panic!("{error}: {}", reply.escape_ascii()))
}
