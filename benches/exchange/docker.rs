//! A Docker that manages a Swarm of one and never changes: without one no node is ever told that it may join, and what is
//! measured would end before the reply that matters.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Answers on that socket until this process ends.
pub(crate) fn start(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks and is gone again is the controller that was killed.
            std::thread::spawn(move || answer(&stream));
        }
    });
}

fn answer(mut stream: &UnixStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let path = request.split_whitespace().nth(1)?;
    let body = if path.ends_with("/swarm") {
        r#"{"JoinTokens":{"Worker":"SWMTKN-1-worker","Manager":"SWMTKN-1-manager"}}"#
    } else if path.contains("/nodes") {
        "[]"
    } else {
        r#"{"Version":"20.10.24","ServerVersion":"20.10.24","DockerRootDir":"/none","Swarm":{"LocalNodeState":"active","NodeID":"n1","NodeAddr":"127.0.0.1","ControlAvailable":true,"Cluster":{"ID":"c1","TLSInfo":{"TrustRoot":"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"}}}}"#
    };
    let head = format!("Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).ok()
}
