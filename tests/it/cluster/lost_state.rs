//! A controller that lost its state comes back: out of a backup, and out of the Swarm and the volume themselves.

use super::{Cluster, Ended, PATIENCE};
use crate::lab::{usable, wait_for};

const BACKUP: &str = "/root/cluster.backup";

/// Covers FAULTS C7 and P8. The volume and its data are the same all the while.
#[test]
fn lab_a_lost_controller_comes_back() {
    if !usable("lab_a_lost_controller_comes_back") {
        return;
    }
    let cluster = Cluster::up("e2e-lost", 3);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    cluster.join_together(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    cluster.write_shared(2, "canary", "still here");
    let before = cluster.volume_info();
    out_of_a_backup(&cluster);
    out_of_the_swarm(&cluster);
    assert_eq!(cluster.volume_info(), before);
    cluster.expect_ready(&[1, 2, 3]);
    for n in [1, 2, 3] {
        assert_eq!(cluster.lab.ok(n, &["cat", "/mnt/shared/canary"]), "still here");
    }
}

fn lose(cluster: &Cluster) {
    cluster.lab.ok(1, &["systemctl", "stop", "clusterctl-master.service"]);
    cluster.lab.ok(1, &["rm", "-rf", "/var/lib/clusterctl/controller"]);
}

fn start(cluster: &Cluster) {
    cluster.lab.ok(1, &["systemctl", "start", "clusterctl-master.service"]);
    assert_eq!(cluster.status()["NodesTotal"], 3);
}

fn did_nothing(join: &Ended) {
    assert!(join.stdout.starts_with("nothing to do\n"), "{join:?}");
}

/// What the nodes have seen since the backup was made, they say; once.
fn out_of_a_backup(cluster: &Cluster) {
    cluster.clusterctl(1, &["master", "backup", BACKUP]).succeeded();
    cluster.clusterctl(1, &["token", "create"]).succeeded();
    cluster.nothing_to_do(2);
    lose(cluster);
    cluster.clusterctl(1, &["master", "restore", BACKUP]).succeeded();
    start(cluster);
    let join = cluster.join(2, &[]).succeeded();
    did_nothing(&join);
    assert!(join.stderr.contains("controller-rollback: the controller was restored from a backup"), "{join:?}");
    let finding = cluster.row("h2")["Finding"].clone();
    assert!(finding.as_str().is_some_and(|finding| finding.starts_with("controller-rollback: ")), "{finding}");
    cluster.nothing_to_do(2);
    assert_eq!(cluster.row("h2")["Finding"], "");
}

/// Without a backup, and with the CA lost too: every host joins again with a new token, and changes nothing.
fn out_of_the_swarm(cluster: &Cluster) {
    lose(cluster);
    cluster.clusterctl(1, &["master", "serve"]).refused(17, &["Swarm of 3 nodes", "clusterctl master init --adopt"]);
    let adopted = cluster.clusterctl(1, &["master", "init", "--adopt"]).succeeded();
    for n in [2, 3] {
        let line = format!("adopted h{n} ({}, worker), with its brick\n", cluster.lab.host_ip(n));
        assert!(adopted.stdout.contains(&line), "{adopted:?}");
    }
    let token = adopted.stdout.split_whitespace().find(|word| word.starts_with("CCTL1-")).unwrap();
    start(cluster);
    assert_eq!(cluster.status()["Volume"]["Name"], "shared");
    let master = cluster.master();
    did_nothing(&cluster.clusterctl(1, &["node", "join", "--master", &master]).succeeded());
    for n in [2, 3] {
        did_nothing(&cluster.with_token(n, &["node", "join", "--master", &master], token).succeeded());
    }
    let status = cluster.status();
    assert_eq!(status["NodesTotal"], 3, "{status}");
    assert!(status["Nodes"].as_array().unwrap().iter().all(|row| row["Client"] == "clusterctl"), "{status}");
    wait_for("the volume is usable", PATIENCE, || cluster.status()["Volume"]["Usable"] == true);
}
