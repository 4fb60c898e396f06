//! `master status`.

use serde_json::Value;

use crate::cli::controller_access::Access;
use crate::cli::output::{Table, print, text};
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::config::Settings;
use crate::protocol::registration::RawRequest;

/// `clusterctl master status`.
pub(super) async fn run(settings: &Settings, prune_ghosts: bool, output: OutputFormat) -> Result<Outcome, Failure> {
    let request = |action: &str| RawRequest { action: action.to_owned(), ..RawRequest::default() };
    let access = Access::of(settings)?;
    let pruned = if prune_ghosts { Some(access.ask(&request("prune-ghosts")).await?["Pruned"].take()) } else { None };
    let mut status = access.ask(&request("status")).await?;
    if let Some(pruned) = pruned {
        status["Pruned"] = pruned;
    }
    // Of many nodes the status has the first ones alone.
    let rows = status["Nodes"].as_array().map_or(0, Vec::len);
    if status["NodesTotal"].as_u64().is_some_and(|total| total > rows as u64) {
        status["Nodes"] = Value::Array(access.list("nodes", "Nodes").await?);
    }
    if !output.is_structured() {
        print(&summary(&status))?;
        nodes(&status).print()?;
        print(&footnotes(&status))?;
    }
    Ok(Outcome::printed().body(status))
}

fn summary(status: &Value) -> String {
    let gate = &status["Gate"];
    let mut lines = vec![format!("cluster  {}", text(&status["ClusterId"]))];
    let counts = format!("{} managers, {} workers", gate["Managers"], gate["Workers"]);
    let need = if gate["State"] == "waiting" {
        format!(" (waiting for {} and {})", gate["MinManagers"], gate["MinWorkers"])
    } else {
        String::new()
    };
    lines.push(format!("nodes    {counts}{need}"));
    let swarm = &status["Swarm"];
    let trouble = text(&swarm["Message"]);
    let swarm = if trouble.is_empty() {
        format!("{}, join at {}", text(&swarm["State"]), text(&swarm["Manager"]))
    } else {
        trouble
    };
    lines.push(format!("swarm    {swarm}"));
    let volume = &status["Volume"];
    if volume.is_object() {
        let bricks = volume["Bricks"].as_array().map_or(0, Vec::len);
        let state = match volume["State"].as_str() {
            Some("degraded") => "usable, degraded",
            _ if volume["Usable"] == true => "usable",
            _ => "not usable yet",
        };
        lines.push(format!(
            "volume   {}, {state}, {bricks} bricks, at {}",
            text(&volume["Name"]),
            text(&volume["Mount"])
        ));
        let message = text(&volume["Message"]);
        if !message.is_empty() {
            lines.push(format!("         {message}"));
        }
    }
    format!("{}\n\n", lines.join("\n"))
}

fn nodes(status: &Value) -> Table {
    let mut table = Table::new(["hostname", "address", "role", "swarm", "storage", "mount", "finding"]);
    for node in status["Nodes"].as_array().into_iter().flatten() {
        let swarm = match text(&node["SwarmRole"]).as_str() {
            "" => text(&node["Swarm"]),
            role => format!("{} ({role})", text(&node["Swarm"])),
        };
        let mounted = if node["Mounted"] == true { "mounted" } else { "" };
        table.row([
            text(&node["Hostname"]),
            text(&node["Address"]),
            text(&node["Role"]),
            swarm,
            text(&node["Storage"]),
            mounted.to_owned(),
            text(&node["Finding"]),
        ]);
    }
    table
}

/// Members of the Swarm that nobody registered, and those that are gone now.
fn footnotes(status: &Value) -> String {
    let rows = |name: &str, show: fn(&Value) -> String| {
        status[name].as_array().into_iter().flatten().map(show).collect::<Vec<_>>().join(", ")
    };
    let named = |member: &Value| format!("{} ({})", text(&member["Hostname"]), text(&member["SwarmNodeId"]));
    let strange = |member: &Value| {
        format!("{} ({}, {})", text(&member["Hostname"]), text(&member["SwarmNodeId"]), text(&member["Swarm"]))
    };
    let (pruned, strangers) = (rows("Pruned", named), rows("Unregistered", strange));
    let mut lines = String::new();
    if !pruned.is_empty() {
        lines.push_str(&format!("\ntaken off the Swarm's list: {pruned}\n"));
    }
    if !strangers.is_empty() {
        lines.push_str(&format!(
            "\nin the Swarm but not registered: {strangers}\n(left over from an earlier join: `clusterctl master status --prune-ghosts` once it is down for ten minutes; joined by hand: `clusterctl node join` there)\n"
        ));
    }
    lines
}
