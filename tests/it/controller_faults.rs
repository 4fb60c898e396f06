//! The real controller dies, hangs or meets a broken disk at every point, and at random ones; its clients ask again, and
//! what was answered once holds.

mod crash;
mod history;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::served::Served;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients without keys, as many requests as they like.
const OPEN: [&str; 3] = ["--admission", "open", "--plaintext"];
const UNLIMITED: [(&str, &str); 2] =
    [("CLUSTERCTL_MASTER_REQUESTS_PER_SECOND", "1000000"), ("CLUSTERCTL_MASTER_REQUESTS_BURST", "1000000")];

/// A controller on the state in `directory`, which ends as `fail` says (see `src/failpoint.rs`).
fn serve(directory: Arc<TempDir>, fail: &str) -> Served {
    let variables = [&UNLIMITED[..], &[("CLUSTERCTL_FAIL", fail)]].concat();
    Served::again(directory, Path::new("/none/docker.sock"), &variables, &OPEN)
}

/// A registration of host `n`, which has another address in each version: a change to write down.
fn registration(n: usize, version: u64) -> Value {
    let address = format!("10.{}.{}.{}", n + 1, version / 250, version % 250 + 1);
    json!({"action": "register", "hostname": format!("n{n}"), "role": "worker", "ip": address})
}

/// The controller's answer; `None` if it ends before it has given one.
fn ask(controller: SocketAddr, request: &Value) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&controller, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    serde_json::from_slice(&reply).ok()
}

/// Whether the controller has this registration on record, by its answer: it writes such a thing down before it answers,
/// with a revision.
fn is_acknowledged(reply: &Value) -> bool {
    // Without a Docker it waits for one; with another reason it has recorded nothing.
    reply["Revision"].is_u64()
}
