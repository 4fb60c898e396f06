//! `node leave`.

use std::path::Path;

use super::link::link;
use crate::cli::output::print_line;
use crate::cli::{Exit, Failure, Outcome, OutputFormat, explain, this_host};
use crate::config::Settings;
use crate::nodeagent::keyring::Keyring;
use crate::nodeagent::leave::Leave;
use crate::nodeagent::{identity, membership};

/// There if the unit that joins at every boot is enabled.
const JOIN_UNIT_LINK: &str = "/etc/systemd/system/multi-user.target.wants/clusterctl-node-join.service";

/// `clusterctl node leave`.
pub(super) async fn run(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let directory = this_host::node_dir(settings);
    let say = |line: &str| if output.is_structured() { Ok(()) } else { print_line(line) };
    let io = |error| Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("run as root");
    let Some(identity) =
        identity::load(&directory).map_err(|error| Failure::new(Exit::StorageUnsafe, error).reason("node-key"))?
    else {
        say("nothing to do: this host never joined")?;
        return Ok(Outcome::done("nothing-to-do"));
    };
    let _turn = super::join::take_turn(&directory)?;
    let leave = Leave {
        link: link(settings, super::master(settings, &directory)?, &directory, &identity, None)?,
        identity,
        hostname: this_host::hostname(settings)?,
        member: membership::load(&directory).map_err(io)?,
        hands: this_host::hands(settings),
    };
    let done = leave.run().await.map_err(explain::leave)?;
    membership::forget(&directory).map_err(io)?;
    Keyring::at(&directory)
        .forget()
        .map_err(|error| Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("run as root"))?;
    if done.is_empty() {
        say("nothing to do")?;
        return Ok(Outcome::done("nothing-to-do"));
    }
    for line in &done {
        say(&format!("done: {line}"))?;
    }
    if Path::new(JOIN_UNIT_LINK).is_symlink() {
        say("this host would join again at its next boot: `systemctl disable clusterctl-node-join.service`")?;
    }
    Ok(Outcome::done("left").body(serde_json::json!({ "done": done })))
}
