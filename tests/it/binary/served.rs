//! The real controller as a process, on a port and a directory of its own. It has no Docker, or one that a test gives it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{binary, json, stderr, text};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that runs; it is killed with this.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
    directory: Arc<TempDir>,
    said: Arc<Mutex<String>>,
}

impl Served {
    /// `master serve` with these arguments more; returns once its port is open.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::beside(Path::new("/none/docker.sock"), &[], arguments)
    }

    /// The same with its state on a disk, wherever temporary files are.
    pub(crate) fn on_disk(arguments: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        Self::again(directory, Path::new("/none/docker.sock"), &[], arguments)
    }

    /// The same beside the Docker behind that socket, with these variables in its environment.
    pub(crate) fn beside(docker: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::again(Arc::new(tempfile::tempdir().unwrap()), docker, variables, arguments)
    }

    /// The same in the directory of one that ran before.
    pub(crate) fn again(
        directory: Arc<TempDir>,
        docker: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let path = |name: &str| directory.path().join(name);
        let (state, socket) = (path("state"), path("socket"));
        let fixed = ["master", "serve", "--listen", "127.0.0.1:0", "--advertise-addr", "127.0.0.1"];
        let places = ["--state-dir", text(&state), "--socket", text(&socket), "--docker-socket", text(docker)];
        let mut command = binary(&[&fixed[..], &places, arguments].concat());
        command.envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let (found, listening) = mpsc::channel();
        let heard = Arc::clone(&said);
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("listening for nodes") {
                    let address = line.rsplit("address=").next().and_then(|address| address.parse().ok());
                    // The test may have given up.
                    address.map(|address| found.send(address).ok());
                }
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let address = listening.recv_timeout(PATIENCE);
        let address = address.unwrap_or_else(|_| panic!("it does not listen: {}", said.lock().unwrap()));
        Self { child, address, directory, said }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Another command, which asks it through its socket.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let socket = self.directory.path().join("socket");
        binary(&[arguments, &["--socket", text(&socket)]].concat()).output().unwrap()
    }

    /// What a listing or `master status` says.
    pub(crate) fn asked(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        json(&output)
    }

    /// What it has logged so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Where its state and its socket are.
    pub(crate) fn directory(&self) -> Arc<TempDir> {
        Arc::clone(&self.directory)
    }

    /// Ends it as a crash does, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let since = std::time::Instant::now();
        while self.is_alive() {
            assert!(since.elapsed() < PATIENCE, "it goes on: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.wait().unwrap()
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
