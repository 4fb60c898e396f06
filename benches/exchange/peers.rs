//! The servers that are compared, as processes of their own, so that what they use can be told apart.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Options;
use crate::load::{self, Shape};

pub(crate) struct Server {
    name: String,
    shapes: &'static [Shape],
    address: SocketAddr,
    argv: Vec<String>,
    state: Option<PathBuf>,
    /// The admission token that registrations on TLS carry.
    token: String,
    child: Child,
}

impl Server {
    /// The floor: reads the JSON, answers, keeps nothing.
    pub(crate) fn echo() -> Self {
        let address = free_address();
        Self::start("TCP and JSON echo (floor)", &[Shape::Exchange], address, this("--serve-echo", address, None), None)
    }

    /// The same over TLS: the least that a server does which asks for the client's certificate.
    pub(crate) fn tls_echo() -> Self {
        let address = free_address();
        let argv = this("--serve-tls-echo", address, None);
        Self::start("TLS 1.3 and JSON echo (floor)", &[Shape::Tls], address, argv, None)
    }

    pub(crate) fn ours(options: &Options, dir: &Path) -> Self {
        // No Docker, so that its answers are not what is measured.
        Self::ours_beside(Path::new("/none/docker.sock"), options, dir, &[])
    }

    /// The same beside a Docker, with arguments more.
    pub(crate) fn ours_beside(docker: &Path, options: &Options, dir: &Path, more: &[&str]) -> Self {
        let address = free_address();
        let argv = match &options.binary {
            Some(binary) => {
                // A line in the log for every node is no part of what is measured.
                let (listen, state) = (address.to_string(), dir.to_string_lossy().into_owned());
                let socket = dir.with_extension("sock").to_string_lossy().into_owned();
                let fixed = [
                    "master",
                    "serve",
                    "--listen",
                    &listen,
                    "--state-dir",
                    &state,
                    "--socket",
                    &socket,
                    "--advertise-addr",
                    "127.0.0.1",
                    "--docker-socket",
                    &docker.to_string_lossy(),
                    "--log-level",
                    "error",
                ];
                // In clear text there are no tokens.
                let open: &[&str] = if options.tls { &[] } else { &["--admission", "open", "--plaintext"] };
                let words = std::iter::once(binary.as_str())
                    .chain(fixed)
                    .chain(open.iter().copied())
                    .chain(more.iter().copied());
                words.map(str::to_owned).chain(options.serve_args.iter().cloned()).collect()
            }
            None => this("--serve-store", address, Some(dir)),
        };
        let shapes: &[Shape] = if options.tls { &[Shape::Tls] } else { &[Shape::Exchange] };
        let mut server = Self::start("**ours**", shapes, address, argv, Some(dir.to_owned()));
        if let (true, Some(binary)) = (options.tls, &options.binary) {
            server.token = token_of(binary, dir);
        }
        server
    }

    pub(crate) fn etcd(dir: &Path) -> Result<Self, String> {
        let program = ["/usr/bin/etcd", "/usr/local/bin/etcd"].iter().find(|path| Path::new(path).exists());
        let program = program.ok_or("no etcd in /usr/bin or /usr/local/bin")?;
        let (address, peer) = (free_address(), free_address());
        let argv = [
            *program,
            "--data-dir",
            &dir.to_string_lossy(),
            "--listen-client-urls",
            &format!("http://{address}"),
            "--advertise-client-urls",
            &format!("http://{address}"),
            "--listen-peer-urls",
            &format!("http://{peer}"),
            "--initial-advertise-peer-urls",
            &format!("http://{peer}"),
            "--initial-cluster",
            &format!("default=http://{peer}"),
            "--log-level",
            "error",
        ];
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let shapes = &[Shape::HttpEach, Shape::HttpKept];
        Ok(Self::start("etcd by its JSON gateway", shapes, address, argv, Some(dir.to_owned())))
    }

    fn start(
        name: &str,
        shapes: &'static [Shape],
        address: SocketAddr,
        argv: Vec<String>,
        state: Option<PathBuf>,
    ) -> Self {
        let child = spawn(&argv);
        let server = Self { name: name.to_owned(), shapes, address, argv, state, token: String::new(), child };
        server.wait();
        server
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "`{}` does not listen", self.argv.join(" "));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn shapes(&self) -> &'static [Shape] {
        self.shapes
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.name == "**ours**"
    }

    pub(crate) fn label(&self, shape: Shape) -> String {
        match shape {
            Shape::Exchange => self.name.clone(),
            Shape::Tls => format!("{}, TLS", self.name),
            Shape::HttpEach => format!("{}, a connection for each put", self.name),
            Shape::HttpKept => format!("{}, connections kept open", self.name),
        }
    }

    /// CPU time so far, in s.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_of(&self.child.id().to_string())
    }

    /// Bytes that it caused to be sent to the disk so far.
    pub(crate) fn written(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that it was since its start.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|words| words.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// All that it keeps on the disk.
    pub(crate) fn state_kib(&self) -> u64 {
        self.state.as_deref().map_or(0, bytes_below) / 1024
    }

    /// From the start of the process to its first open port.
    pub(crate) fn time_to_listening(&mut self) -> Duration {
        self.end();
        let begun = Instant::now();
        self.child = spawn(&self.argv);
        self.wait();
        begun.elapsed()
    }

    /// How long it takes after a kill -9 until a registration is answered.
    pub(crate) fn kill_and_restart(&mut self, shape: Shape) -> Duration {
        self.end();
        let begun = Instant::now();
        self.child = spawn(&self.argv);
        self.wait();
        load::first(self, shape);
        begun.elapsed()
    }

    /// Kills it and starts it again, and waits for nothing.
    pub(crate) fn restart_at_once(&mut self) {
        self.end();
        self.child = spawn(&self.argv);
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the controller answers to an action that root asks for on its host.
pub(crate) fn ask(server: &Server, action: &str) -> serde_json::Value {
    let socket = server.state.as_ref().unwrap().with_extension("sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!(r#"{{"Action":"{action}"}}"#).as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    serde_json::from_slice(&reply).unwrap()
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// A counter of the kernel's network, from `/proc/net/netstat`: a line of names and one of values for each protocol.
pub(crate) fn network_counter(protocol: &str, name: &str) -> u64 {
    let table = std::fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = table.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = names.split_whitespace().position(|known| known == name);
    at.and_then(|at| values.split_whitespace().nth(at)?.parse().ok()).unwrap_or(0)
}

/// A token of the running controller for as many nodes as like.
fn token_of(binary: &str, dir: &Path) -> String {
    let socket = dir.with_extension("sock");
    let words = ["token", "create", "--output", "json", "--quiet", "--socket"];
    #[expect(clippy::disallowed_methods, reason = "a benchmark runs the program as an operator does")]
    let made = Command::new(binary).args(words).arg(socket).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["Token"].as_str().unwrap().to_owned()
}

/// This program as a server.
fn this(role: &str, address: SocketAddr, dir: Option<&Path>) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let dir = dir.unwrap_or(Path::new("-"));
    vec![
        program.to_string_lossy().into_owned(),
        role.to_owned(),
        address.to_string(),
        dir.to_string_lossy().into_owned(),
    ]
}

fn spawn(argv: &[String]) -> Child {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the process and then kills it")]
    let mut command = Command::new("/usr/bin/taskset");
    let command = command.args(["-c", "0"]).args(argv).stdin(Stdio::null()).stdout(Stdio::null());
    if argv[0].ends_with("etcd") {
        // It tells of every election, whatever it is asked to log.
        command.stderr(Stdio::null());
    }
    command.spawn().unwrap()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Keeps the calling thread, and those that it starts, on one CPU.
pub(crate) fn stay_on_cpu(cpu: usize) {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    rustix::thread::sched_setaffinity(None, &cpus).unwrap();
}

pub(crate) fn last_cpu() -> usize {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo.lines().filter(|line| line.starts_with("processor")).count().saturating_sub(1)
}

pub(crate) fn cpu_of_self() -> f64 {
    cpu_of("self")
}

fn cpu_of(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th words after it.
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Busy CPU time of the whole machine, in s.
pub(crate) fn busy_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    // Without idle and waiting for I/O, and without guests, whose time is in user time already.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| ticks.get(at)).sum::<f64>() / TICKS
}

/// `USER_HZ`, which is 100 on every Linux that we know.
const TICKS: f64 = 100.0;
