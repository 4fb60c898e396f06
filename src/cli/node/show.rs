//! `node show`.

use jiff::Timestamp;
use serde_json::Value;

use super::about;
use crate::cli::controller_access::Access;
use crate::cli::output::{Table, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::protocol::registration::NodeName;

/// `clusterctl node show`.
pub(super) async fn run(settings: &Settings, node: &NodeName, output: OutputFormat) -> Result<Outcome, Failure> {
    let mut reply = Access::of(settings)?.ask(&about("node-show", node)).await?;
    let node = reply["Node"].take();
    if !output.is_structured() {
        table(&node, SystemClock.now()).print()?;
    }
    Ok(Outcome::printed().body(node))
}

/// What is known of a node, in the order in which it is asked for. What is not there has no line.
const FIELDS: [(&str, &str); 23] = [
    ("hostname", "Hostname"),
    ("node id", "NodeId"),
    ("key", "Key"),
    ("address", "Address"),
    ("seen from", "SeenFrom"),
    ("role", "Role"),
    ("role granted", "Granted"),
    ("admitted by", "AdmittedBy"),
    ("profiles", "Profiles"),
    ("status", "Status"),
    ("finding", "Finding"),
    ("advice", "Advice"),
    ("last seen", "LastSeen"),
    ("registered", "Registered"),
    ("name is free until", "ReplaceableUntil"),
    ("swarm", "Swarm"),
    ("swarm role", "SwarmRole"),
    ("swarm node id", "SwarmNodeId"),
    ("storage", "Storage"),
    ("mounted", "Mounted"),
    ("os", "OS"),
    ("docker", "DockerVersion"),
    ("client", "Client"),
];

/// The fields that are times.
const TIMES: [&str; 3] = ["LastSeen", "Registered", "ReplaceableUntil"];

fn table(node: &Value, now: Timestamp) -> Table {
    let mut table = Table::new(["what", "state"]);
    for (label, field) in FIELDS {
        let value = if TIMES.contains(&field) { relative_time::cell(&node[field], now) } else { text(&node[field]) };
        if !value.is_empty() {
            table.row([label.to_owned(), value]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_what_is_known() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let registered = (now - jiff::SignedDuration::from_hours(50)).to_string();
        let until = (now + jiff::SignedDuration::from_hours(24)).to_string();
        let node = json!({
            "NodeId": "abcdefghijklmnopqrstuvwxyz", "Hostname": "h2", "Address": "10.0.0.2", "Role": "worker",
            "Profiles": ["core", "dns"], "Swarm": "ready", "SwarmRole": null, "Mounted": true, "Finding": "",
            "Registered": registered, "Storage": "client", "Unheard": "of", "Advice": "look", "SeenFrom": "10.0.0.2",
            "Granted": "manager", "AdmittedBy": "token aebagbaf", "ReplaceableUntil": until,
        });
        insta::assert_snapshot!(table(&node, now).to_string(), @r"
        WHAT                STATE
        hostname            h2
        node id             abcdefghijklmnopqrstuvwxyz
        address             10.0.0.2
        seen from           10.0.0.2
        role                worker
        role granted        manager
        admitted by         token aebagbaf
        profiles            core, dns
        advice              look
        registered          2 days ago
        name is free until  in 24 h
        swarm               ready
        storage             client
        mounted             true
        ");
    }
}
