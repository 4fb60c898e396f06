//! The controller's disk fills up: it says so instead of promising, goes on answering, and recovers alone.

use serde_json::Value;

use super::{Cluster, PATIENCE, exchange};
use crate::lab::{usable, wait_for};

/// Covers FAULTS C5. The state directory is a file system of eight MiB of its own.
#[test]
fn lab_a_full_disk_loses_nothing() {
    if !usable("lab_a_full_disk_loses_nothing") {
        return;
    }
    let cluster = Cluster::up("e2e-full", 2);
    cluster.lab.ok(1, &["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", "/var/lib/clusterctl"]);
    cluster.init(&[]);
    cluster.serve("--admission open --plaintext");
    cluster.join(2, &[]).succeeded();

    let mut acknowledged = fill_until_refused(&cluster);
    // Reading goes on, and so does everybody who is in already.
    let status = cluster.status();
    assert_eq!(status["NodesTotal"], 2 + u64::from(acknowledged > 0), "{status}");
    assert!(revision(&status) >= acknowledged, "{status}");
    cluster.nothing_to_do(2);

    cluster.lab.ok(1, &["rm", "/var/lib/clusterctl/filler"]);
    wait_for("the controller takes registrations again by itself", PATIENCE, || {
        let reply = register(&cluster, 1_000_000);
        acknowledged = acknowledged.max(revision(&reply));
        reply["Status"] == "ready"
    });
    cluster.nothing_to_do(2);

    cluster.lab.ok(1, &["systemctl", "kill", "--kill-who=main", "--signal=KILL", "clusterctl-master.service"]);
    wait_for("the controller is back", PATIENCE, || cluster.clusterctl(1, &["master", "status"]).code == Some(0));
    let status = cluster.status();
    assert!(revision(&status) >= acknowledged, "acknowledged up to {acknowledged}: {status}");
    assert_eq!((&status["NodesTotal"], &status["Store"]["Health"]), (&3.into(), &"writable".into()), "{status}");
}

fn revision(reply: &Value) -> u64 {
    reply["Revision"].as_u64().unwrap_or_default()
}

/// Registers the machine itself, with a Docker of its own: each other version is a change to write down.
fn register(cluster: &Cluster, version: u64) -> Value {
    let request = format!(r#"{{"hostname":"machine","action":"register","dockerVersion":"1.{version}"}}"#);
    exchange(cluster.lab.host_ip(1), request.as_bytes())
}

/// Fills the disk and registers changes until one is refused; returns the last revision that was acknowledged.
fn fill_until_refused(cluster: &Cluster) -> u64 {
    let fill = "cat /dev/zero >/var/lib/clusterctl/filler 2>/dev/null; true";
    let mut acknowledged = 0;
    for version in 1..20_000 {
        if version % 1_000 == 1 {
            cluster.lab.ok(1, &["sh", "-c", fill]);
        }
        let reply = register(cluster, version);
        if reply["Status"] != "ready" {
            assert_eq!(
                (&reply["Status"], &reply["Reason"]),
                (&"waiting".into(), &"storage-unavailable".into()),
                "{reply}"
            );
            assert!(reply["RetryAfterMs"].is_u64() && reply["Message"].is_string(), "{reply}");
            return acknowledged;
        }
        acknowledged = acknowledged.max(revision(&reply));
    }
    panic!("the disk is full, and yet {acknowledged} changes were acknowledged");
}
