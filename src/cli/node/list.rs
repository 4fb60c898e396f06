//! `node list`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::controller_access::Access;
use crate::cli::output::{Table, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;

/// `clusterctl node list`.
pub(super) async fn run(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let nodes = Access::of(settings)?.list("nodes", "Nodes").await?;
    if !output.is_structured() {
        table(&nodes, SystemClock.now()).print()?;
    }
    Ok(Outcome::printed().body(json!({ "Nodes": nodes })))
}

fn table(nodes: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(["node id", "hostname", "role", "status", "address", "last seen"]);
    for node in nodes {
        table.row([
            text(&node["NodeId"]),
            text(&node["Hostname"]),
            text(&node["Role"]),
            text(&node["Status"]),
            text(&node["Address"]),
            relative_time::cell(&node["LastSeen"], now),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_who_belongs_and_when_it_was_heard_of() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let seen = (now - jiff::SignedDuration::from_secs(65)).to_string();
        let nodes = [
            json!({"NodeId": "abcdefghijklmnopqrstuvwxyz", "Hostname": "h1", "Role": "manager", "Status": "ready",
                "Address": "10.0.0.1", "LastSeen": seen, "Profiles": ["core"]}),
            json!({"NodeId": "zyxwvutsrqponmlkjihgfedcba", "Hostname": "h2", "Role": "worker", "Address": "10.0.0.2",
                "LastSeen": null}),
        ];
        insta::assert_snapshot!(table(&nodes, now).to_string(), @r"
        NODE ID                     HOSTNAME  ROLE     STATUS  ADDRESS   LAST SEEN
        abcdefghijklmnopqrstuvwxyz  h1        manager  ready   10.0.0.1  1 min ago
        zyxwvutsrqponmlkjihgfedcba  h2        worker   -       10.0.0.2  -
        ");
    }
}
