//! `node status`.

use serde_json::json;

use crate::cli::output::{Table, print_line};
use crate::cli::{Exit, Failure, Outcome, OutputFormat, this_host};
use crate::cluster::{MountPoint, VolumeName};
use crate::config::Settings;
use crate::nodeagent::{identity, membership};
use crate::providers::mounts::{Mounter, ProbeResult, is_ours};
use crate::providers::swarm::{LocalState, SwarmEngine};

/// `clusterctl node status`. Looks only at this host; the controller is not asked.
pub(super) async fn run(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let directory = this_host::node_dir(settings);
    let io = |error| Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("run as root");
    let member = membership::load(&directory).map_err(io)?;
    let node_id = identity::load(&directory)
        .map_err(|error| Failure::new(Exit::StorageUnsafe, error).reason("node-key"))?
        .map(|identity| identity.node_id.to_string());
    let hands = this_host::hands(settings);
    let (swarm, swarm_ok) = swarm(hands.engine.as_ref()).await;
    let (mount, mount_ok) = match &member {
        Some(member) if !member.mount.is_empty() => mount(hands.mounter.as_ref(), &member.volume, &member.mount).await,
        _ => ("not part of this host".to_owned(), true),
    };
    let joined = member.is_some();
    if output == OutputFormat::Table {
        let mut table = Table::new(["what", "state"]);
        let row = |table: &mut Table, what: &str, state: String| table.row([what.to_owned(), state]);
        row(
            &mut table,
            "joined",
            member.as_ref().map_or_else(|| "no".to_owned(), |member| format!("yes, by {}", member.master)),
        );
        if let Some(member) = &member {
            row(&mut table, "name", format!("{} ({})", member.hostname, member.address));
            row(&mut table, "role", member.role.clone());
        }
        row(&mut table, "node id", node_id.clone().unwrap_or_default());
        row(&mut table, "swarm", swarm.clone());
        row(&mut table, "mount", mount.clone());
        table.print()?;
        if joined && !(swarm_ok && mount_ok) {
            print_line("\n`clusterctl node join` repairs what has drifted")?;
        }
    }
    let healthy = joined && swarm_ok && mount_ok;
    Ok(Outcome::printed().body(json!({
        "joined": joined, "healthy": healthy, "node_id": node_id, "membership": member, "swarm": swarm, "mount": mount,
    })))
}

async fn swarm(engine: &dyn SwarmEngine) -> (String, bool) {
    match engine.inspect().await {
        Err(error) => (error.to_string(), false),
        Ok(engine) => {
            let role = if engine.manager { "manager" } else { "worker" };
            match engine.state {
                LocalState::Active if engine.error.is_empty() => {
                    (format!("active as {role}, at {}", engine.node_address), true)
                }
                LocalState::Active => (format!("active as {role}, but: {}", engine.error), false),
                LocalState::Inactive => ("not in a Swarm".to_owned(), false),
                LocalState::Pending => ("joining, and not getting through".to_owned(), false),
                LocalState::Locked => ("locked: `docker swarm unlock`".to_owned(), false),
                LocalState::Error => (format!("broken: {}", engine.error), false),
            }
        }
    }
}

async fn mount(mounter: &dyn Mounter, volume: &str, point: &str) -> (String, bool) {
    let (Ok(volume), Ok(point)) = (VolumeName::parse(volume), MountPoint::parse(point)) else {
        return ("the record of the last join is damaged: join again".to_owned(), false);
    };
    let table = match mounter.mounts().await {
        Ok(table) => table,
        Err(error) => return (error.to_string(), false),
    };
    match table.at(point.as_path()) {
        None => return (format!("{point} is not mounted"), false),
        Some(entry) if !is_ours(entry, &volume) => {
            return (format!("{point} is another mount ({})", entry.source), false);
        }
        Some(_) => {}
    }
    match mounter.probe(&point).await {
        ProbeResult::ReadWrite => (format!("{point} can be read and written"), true),
        ProbeResult::ReadOnly => (format!("{point} is read-only"), false),
        ProbeResult::NoQuorum => (format!("{point} takes no writes: too few bricks answer"), false),
        ProbeResult::Full => (format!("{point} is full"), false),
        ProbeResult::Disconnected | ProbeResult::NotMounted => (format!("{point} is dead: its client is gone"), false),
        ProbeResult::Hung => (format!("{point} does not answer"), false),
        ProbeResult::Failed(why) => (format!("{point}: {why}"), false),
    }
}
