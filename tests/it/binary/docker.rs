//! T25: Docker is asked through its socket on this host and in no other way, and nobody gets at it through us.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::served::Served;
use super::{binary, last_line, stderr, text, write};

/// A Docker that knows its version and is in no Swarm; it ends with the test's process.
pub(super) struct Engine {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Who looks whether it is there asks nothing.
                if let Some(request) = stream.ok().and_then(answer) {
                    heard.lock().unwrap().push(request);
                }
            }
        });
        Self { directory, asked }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// The first line of each request so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request, whatever it is; gives its first line.
fn answer(mut stream: UnixStream) -> Option<String> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let body = r#"{"Version":"20.10.24","ServerVersion":"20.10.24","DockerRootDir":"/none","Swarm":{"LocalNodeState":"inactive"}}"#;
    let head = format!("Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).ok()?;
    Some(request)
}

/// A Docker elsewhere cannot be named at all.
#[test]
fn an_engine_on_the_network_is_no_setting() {
    let directory = tempfile::tempdir().unwrap();
    for place in [
        "tcp://127.0.0.1:2375",
        "127.0.0.1:2375",
        ":2375",
        "http://127.0.0.1:2375",
        "ssh://root@h1",
        "unix:///var/run/docker.sock",
        "docker.sock",
    ] {
        let mut by_variable = binary(&["config", "show"]);
        by_variable.env("CLUSTERCTL_DOCKER_SOCKET", place);
        let file = write(&directory, "c.yaml", &format!("docker_socket: \"{place}\"\n"));
        let by_file = binary(&["config", "show", "--config", text(&file)]);
        let by_flag = binary(&["node", "status", "--docker-socket", place]);
        for mut command in [by_variable, by_file, by_flag] {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(12), "{place}: {}", stderr(&output));
            assert!(stderr(&output).contains("`docker_socket`"), "{place}: {}", stderr(&output));
            assert_eq!(last_line(&output), "result=failed reason=invalid-settings next=-", "{place}");
        }
    }
}

/// The TCP ports that a process listens on.
fn ports_of(process: u32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        for line in std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default().lines() {
            // `0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...`; 0A listens.
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(3) == Some(&"0A") && words.get(9).is_some_and(|inode| sockets.contains(*inode)) {
                ports.insert(u16::from_str_radix(words[1].rsplit(':').next().unwrap(), 16).unwrap());
            }
        }
    }
    ports
}

/// What sends Docker's own tool elsewhere does not send us there, and the controller listens on its own port alone.
#[test]
fn the_controller_keeps_docker_to_this_host() {
    let (engine, elsewhere) = (Engine::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    elsewhere.set_nonblocking(true).unwrap();
    let place = format!("tcp://{}", elsewhere.local_addr().unwrap());
    let controller = Served::beside(&engine.socket(), &[("DOCKER_HOST", &place), ("DOCKER_CONTEXT", "elsewhere")], &[]);
    // It asks Docker before it opens its port.
    let asked = engine.asked();
    assert!(asked.iter().any(|request| request.starts_with("GET /") && request.contains("/info ")), "{asked:?}");
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(ports_of(controller.process()), BTreeSet::from([controller.address().port()]));
    assert_eq!(controller.stop().code(), Some(0));
}
