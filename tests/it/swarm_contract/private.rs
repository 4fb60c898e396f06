//! Two real Docker daemons in namespaces of their own, joined by a cable, for the contract suite.
//!
//! Nothing on the machine is named or kept: the namespaces, the cable between them and all processes in them go when
//! the starters go, and those go with the test, even one that is killed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clusterctl::cluster::NodeAddress;
use clusterctl::providers::command::{Commander, Invocation, Processes};
use clusterctl::providers::swarm::SwarmEngine;
use clusterctl::providers::swarm::docker::DockerEngine;
use tokio::task::JoinHandle;

use super::eventually;

/// Longer than the whole suite takes; an abandoned daemon does not outlive it.
const LIFETIME: Duration = Duration::from_secs(900);

/// One dockerd; it is killed when this is dropped.
pub(super) struct PrivateDocker {
    pub(super) engine: DockerEngine,
    pub(super) address: NodeAddress,
    /// Its process, by the machine's numbers.
    pid: i32,
    process: JoinHandle<String>,
    _dir: tempfile::TempDir,
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        self.process.abort();
    }
}

impl PrivateDocker {
    /// Starts a dockerd and waits until it answers.
    async fn start(address: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/swarm_contract/private-dockerd.sh");
        let run = Invocation::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--net", "--uts", "--fork"])
            .args(["--kill-child", "--mount-proc", "--"])
            .arg("sh")
            .arg(script)
            .arg(dir.path())
            .deadline(LIFETIME);
        let process = tokio::spawn(async move {
            match Processes.run(run).await {
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => error.to_string(),
            }
        });
        let socket: PathBuf = dir.path().join("docker.sock");
        let engine = DockerEngine::new(&socket);
        let answers = || async {
            assert!(!process.is_finished(), "dockerd ended at once; this needs root and an installed dockerd");
            engine.inspect().await.ok()
        };
        eventually("an answer of the private dockerd", answers).await;
        let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let pid = stream.peer_cred().unwrap().pid().unwrap();
        Self { engine, address: address.parse().unwrap(), pid, process, _dir: dir }
    }

    /// Runs a program in the daemon's network.
    async fn in_network(&self, line: &[&str]) {
        run(Invocation::new("nsenter").args(["--target", &self.pid.to_string(), "--net", "--"]).args(line)).await;
    }
}

/// Starts two daemons that reach each other.
pub(super) async fn pair() -> (PrivateDocker, PrivateDocker) {
    let (first, second) = tokio::join!(PrivateDocker::start("10.231.7.1"), PrivateDocker::start("10.231.7.2"));
    let cable =
        ["link", "add", "cable", "netns", &first.pid.to_string(), "type", "veth", "peer", "name", "cable", "netns"];
    run(Invocation::new("ip").args(cable).arg(second.pid.to_string())).await;
    for (here, there) in [(&first, &second), (&second, &first)] {
        here.in_network(&["ip", "address", "add", &format!("{}/24", here.address), "dev", "cable"]).await;
        here.in_network(&["ip", "link", "set", "cable", "up"]).await;
        // Without a default route Docker does not know which address is its own.
        here.in_network(&["ip", "route", "add", "default", "via", &there.address.to_string()]).await;
    }
    (first, second)
}

async fn run(invocation: Invocation) {
    let line = invocation.describe();
    let output = Processes.run(invocation).await.unwrap();
    assert!(output.success(), "`{line}`: {}", output.complaint());
}
