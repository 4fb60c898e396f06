//! Asks the controller on this host through its unix socket: its state is open to one process at a time.

use std::io::ErrorKind;

use serde_json::Value;
use tokio::net::UnixStream;

use super::{Exit, Failure};
use crate::config::Settings;
use crate::protocol::exchange::{self, Deadlines};
use crate::protocol::registration::RawRequest;

/// Sends `request` to the running controller.
pub(super) async fn ask(settings: &Settings, request: &RawRequest) -> Result<Value, Failure> {
    let socket = &settings.common.socket;
    let mut stream = UnixStream::connect(socket.as_path()).await.map_err(|error| {
        let (reason, hint) = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => (
                "no-controller",
                "start it with `clusterctl master serve`; on another host, run this on the master; `--socket` names another socket",
            ),
            ErrorKind::PermissionDenied => ("not-permitted", "run this as root"),
            _ => ("no-controller", "see whether `clusterctl master serve` is running"),
        };
        Failure::new(Exit::Waiting, anyhow::Error::new(error).context(format!("no controller answers at `{socket}`")))
            .reason(reason)
            .hint(hint)
            .next("clusterctl master serve")
    })?;
    let failed =
        |error| Failure::new(Exit::Waiting, error).reason("no-answer").hint("see the controller's log, then try again");
    let reply = exchange::call(&mut stream, request, &Deadlines::default()).await.map_err(failed)?;
    let reply: Value = exchange::decode(&reply).map_err(failed)?;
    if reply["Status"] == "error" {
        let text = |key: &str| reply[key].as_str().unwrap_or_default().to_owned();
        return Err(Failure::message(Exit::InvalidInput, text("Message")).reason(text("Code")).hint(text("Hint")));
    }
    Ok(reply)
}
