//! The servers that are compared, as processes of their own, so that what they use can be told apart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
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
        let address = free_address();
        let argv = match &options.binary {
            Some(binary) => {
                // No Docker, so that its answers are not what is measured; a line for every node is no part of it either.
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
                    "/none/docker.sock",
                    "--log-level",
                    "error",
                ];
                // In clear text there are no tokens.
                let open: &[&str] = if options.tls { &[] } else { &["--admission", "open", "--plaintext"] };
                let words = std::iter::once(binary.as_str()).chain(fixed).chain(open.iter().copied());
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|words| words.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn file_kib(&self) -> u64 {
        let file = self.state.as_ref().map(|dir| dir.join("state.redb"));
        file.and_then(|file| std::fs::metadata(file).ok()).map_or(0, |found| found.len() / 1024)
    }

    /// From the start of the process to its first open port.
    pub(crate) fn time_to_listening(&mut self) -> Duration {
        self.end();
        let begun = Instant::now();
        self.child = spawn(&self.argv);
        self.wait();
        begun.elapsed()
    }

    /// How long a kill -9, a start and one registration take together.
    pub(crate) fn kill_and_restart(&mut self) -> Duration {
        self.end();
        let begun = Instant::now();
        self.child = spawn(&self.argv);
        self.wait();
        load::prefill(self, 1);
        begun.elapsed()
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
