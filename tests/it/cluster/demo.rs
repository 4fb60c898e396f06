//! The demo's flow, and what the cluster that it makes goes through afterwards.

use super::{BRICK, Cluster, MOUNT, PATIENCE, drift};
use crate::lab::{usable, wait_for};

/// Four hosts: h1 to h3 form the cluster, h4 stays outside until it is asked in. Covers T13, T15 and FAULTS
/// G11 and G12.
#[test]
fn lab_a_cluster_from_bare_hosts() {
    if !usable("lab_a_cluster_from_bare_hosts") {
        return;
    }
    let cluster = Cluster::up("e2e-demo", 4);
    bare_hosts_become_a_cluster(&cluster);
    no_token_is_written_anywhere(&cluster);
    joining_again_changes_nothing(&cluster, 1);
    joining_again_changes_nothing(&cluster, 2);
    only_members_mount(&cluster);
    a_spare_host_leaves(&cluster);
    a_host_with_a_brick_stays(&cluster);
    drift::each_drift_is_repaired_alone(&cluster, 3);
    drift::a_brick_that_died_is_started_again(&cluster, 2);
    a_power_cut_heals_by_itself(&cluster, 3);
    the_masters_power_cut_heals_by_itself(&cluster);
    no_token_is_written_anywhere(&cluster);
}

/// Covers S2-25 to S2-35 and S2-72 to S2-76: the commands of the demo, seen with the tools of Docker and GlusterFS.
fn bare_hosts_become_a_cluster(cluster: &Cluster) {
    let init = cluster.init(&["--enable-glusterfs"]);
    assert!(init.stdout.contains(&format!("clusterctl node join --master {}", cluster.master())), "{init:?}");
    assert!(cluster.init(&["--enable-glusterfs"]).stdout.contains("nothing to do"));
    cluster.serve("");
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| cluster.lab.ok(2, &["bash", "-c", WATCH]));
        let joins = cluster.join_together(&[1, 2, 3]);
        cluster.lab.ok(2, &["touch", "/run/watched-enough"]);
        assert_eq!(watch.join().unwrap(), "", "a token in a process's arguments or environment");
        for join in joins {
            assert!(join.stdout.contains("the volume `shared` is at /mnt/shared"), "{join:?}");
        }
    });

    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    for n in 1..=3 {
        cluster.expect_mounted(n);
        assert_eq!(cluster.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]), "active");
    }
    cluster.expect_shared(1, 3);
    let allowed = format!("auth.allow: {}", [1, 2, 3].map(|n| cluster.lab.host_ip(n).to_string()).join(","));
    let info = cluster.volume_info();
    assert!(info.contains(&allowed), "{info}");

    let status = cluster.status();
    assert_eq!(status["NodesTotal"], 3);
    assert_eq!((&status["Gate"]["State"], &status["Volume"]["Usable"]), (&"open".into(), &true.into()), "{status}");
    for (n, role, swarm_role) in [(1, "manager", "leader"), (2, "worker", "worker"), (3, "worker", "worker")] {
        let row = cluster.row(&format!("h{n}"));
        let seen = (&row["Role"], &row["Swarm"], &row["SwarmRole"], &row["Storage"], &row["Mounted"], &row["Finding"]);
        let wanted = (role.into(), "ready".into(), swarm_role.into(), "brick".into(), true.into(), "".into());
        assert_eq!(seen, (&wanted.0, &wanted.1, &wanted.2, &wanted.3, &wanted.4, &wanted.5), "{row}");
        assert_eq!(row["Address"], cluster.lab.host_ip(n).to_string());
    }
    let healthy = cluster.clusterctl(3, &["node", "status", "--output", "json"]).succeeded();
    assert!(healthy.stdout.contains(r#""healthy": true"#), "{healthy:?}");
}

/// Covers S2-80 and T15: a Swarm's token is in no log, output, argument list, environment or file of ours.
fn no_token_is_written_anywhere(cluster: &Cluster) {
    let token = cluster.lab.ok(1, &["docker", "swarm", "join-token", "--quiet", "worker"]);
    assert!(token.starts_with("SWMTKN-1-"));
    // The word is put together so that the search does not find itself.
    let search = r#"word=SWMTKN; exec 2>/dev/null
        grep -rls -- "$word-" /var/lib/clusterctl /var/log /etc /run/clusterctl /run/log
        journalctl --no-pager | grep -- "$word-"
        grep -ls -- "$word-" /proc/[0-9]*/cmdline /proc/[0-9]*/environ
        true"#;
    for n in 1..=3 {
        assert_eq!(cluster.lab.ok(n, &["bash", "-c", search]), "", "h{n}");
    }
    // That the search finds what is there.
    cluster.write(1, "/var/log/control", &token);
    assert_eq!(cluster.lab.ok(1, &["bash", "-c", search]), "/var/log/control");
    cluster.lab.ok(1, &["rm", "/var/log/control"]);
    for (n, words) in [
        (1, ["master", "status", "--output", "json"]),
        (2, ["node", "status", "--output", "json"]),
        (2, ["config", "show", "--output", "json"]),
    ] {
        let ended = cluster.clusterctl(n, &words);
        assert!(!ended.stdout.contains("SWMTKN") && !ended.stderr.contains("SWMTKN"), "{words:?}");
    }
    let join = cluster.join(2, &["--output", "json", "--log-level", "debug"]).succeeded();
    assert!(!join.stdout.contains("SWMTKN") && !join.stderr.contains("SWMTKN"));
}

/// Looks through the argument lists and environments of host `n` over and over, until the file is there.
const WATCH: &str = r#"word=SWMTKN
    until [ -e /run/watched-enough ]; do grep -ls -- "$word-" /proc/[0-9]*/cmdline /proc/[0-9]*/environ; done 2>/dev/null
    true"#;

/// Covers S2-68: the second join says that there is nothing to do, asks Docker only what changes nothing, and runs no
/// Gluster command. Docker's own debug log and a program in the place of `gluster` are the witnesses.
fn joining_again_changes_nothing(cluster: &Cluster, n: u8) {
    let lab = &cluster.lab;
    cluster.write(n, "/etc/docker/daemon.json", "{\"debug\": true}\n");
    lab.ok(n, &["systemctl", "kill", "--kill-who=main", "--signal=HUP", "docker.service"]);
    let calls = || lab.ok(n, &["bash", "-c", "journalctl --no-pager -o cat -u docker | grep 'Calling ' || true"]);
    wait_for("the debug log of Docker", PATIENCE, || {
        lab.ok(n, &["docker", "version"]);
        !calls().is_empty()
    });
    let witness = "#!/bin/sh\necho \"$*\" >>/var/log/gluster-calls\nexec /usr/sbin/gluster.real \"$@\"\n";
    lab.ok(n, &["cp", "/usr/sbin/gluster", "/usr/sbin/gluster.real"]);
    cluster.write(n, "/usr/sbin/gluster.new", witness);
    lab.ok(n, &["chmod", "755", "/usr/sbin/gluster.new"]);
    lab.ok(n, &["mv", "/usr/sbin/gluster.new", "/usr/sbin/gluster"]);
    lab.ok(n, &["gluster", "--version"]);
    let gluster = || {
        let calls = lab.ok(n, &["cat", "/var/log/gluster-calls"]);
        // The controller may look at the pool meanwhile; on the other hosts nobody does.
        let looks = |call: &&str| {
            ["pool list", "volume info shared", "volume status shared"].iter().any(|look| call.ends_with(look))
        };
        calls.lines().filter(|call| n > 1 || !looks(call)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(gluster(), ["--version"]);

    let history = || lab.ok(1, &["cat", "/var/log/glusterfs/cmd_history.log"]);
    let (record, swarm) = (history(), cluster.swarm_nodes());
    let before = calls().lines().count();
    cluster.nothing_to_do(n);
    let calls = calls();
    let new: Vec<&str> = calls.lines().skip(before).collect();
    assert!(new.iter().any(|line| line.contains("/info")), "{new:?}");
    assert!(new.iter().all(|line| line.contains("Calling GET ") || line.contains("Calling HEAD ")), "{new:?}");
    assert_eq!(gluster(), ["--version"]);
    assert_eq!(changes(&history()), changes(&record));
    assert_eq!(cluster.swarm_nodes(), swarm);
    lab.ok(n, &["mv", "/usr/sbin/gluster.real", "/usr/sbin/gluster"]);
}

/// The lines of glusterd's history that change something.
fn changes(history: &str) -> Vec<&str> {
    history.lines().filter(|line| !line.contains(" : volume status ")).collect()
}

/// Covers T13, the access list of the volume: who is not registered does not mount it, though Gluster by itself lets everybody.
fn only_members_mount(cluster: &Cluster) {
    let lab = &cluster.lab;
    lab.ok(4, &["mkdir", "-p", "/mnt/stolen"]);
    assert_ne!(lab.ok(1, &["ls", MOUNT]), "");
    // The tool may say that it mounted; the client ends as soon as the bricks have refused it.
    lab.exec(4, &["timeout", "60", "mount", "-t", "glusterfs", "h1:/shared", "/mnt/stolen"]);
    wait_for("the refused mount is gone", PATIENCE, || !lab.exec(4, &["findmnt", "-n", "/mnt/stolen"]).success());
    assert_eq!(lab.ok(4, &["ls", "-A", "/mnt/stolen"]), "");
    let refusal = lab.ok(4, &["cat", "/var/log/glusterfs/mnt-stolen.log"]);
    assert!(refusal.contains("Authentication failed"), "{refusal}");

    let join = cluster.join(4, &[]).succeeded();
    join.did(&["join the Swarm", "make the directory", "mount `shared`", "make the mount"]);
    cluster.expect_mounted(4);
    cluster.expect_shared(4, 1);
    // A fourth brick waits for a whole set; the volume stays as it is.
    assert_eq!(cluster.row("h4")["Storage"], "brick (waiting for a set)");
    cluster.expect_three_copies([1, 2, 3]);
    let peers = lab.ok(1, &["gluster", "--mode=script", "pool", "list"]);
    assert!(!peers.contains(&lab.host_ip(4).to_string()) && !peers.contains("h4"), "{peers}");
}

/// A host without a share of the data leaves: mount, Swarm and registration go, the others go on.
fn a_spare_host_leaves(cluster: &Cluster) {
    let leave = cluster.clusterctl(4, &["node", "leave"]).succeeded();
    assert!(leave.stdout.contains("done: left the Swarm") && leave.stdout.contains("done: unmounted"), "{leave:?}");
    assert_eq!(cluster.mounted(4), "");
    assert_eq!(cluster.lab.ok(4, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]), "inactive");
    assert!(!cluster.lab.exec(4, &["test", "-e", "/etc/systemd/system/mnt-shared.mount"]).success());
    cluster.expect_ready(&[1, 2, 3]);
    assert!(cluster.row("h4").is_null());
    let gone = cluster.lab.host_ip(4).to_string();
    wait_for("the access list without h4", PATIENCE, || !cluster.volume_info().contains(&gone));
    cluster.nothing_to_do(2);
    let again = cluster.clusterctl(4, &["node", "leave"]);
    assert!(again.code == Some(0) || again.code == Some(12), "{again:?}");
}

/// Leaving would lose a copy of the data: refused, and nothing is touched.
fn a_host_with_a_brick_stays(cluster: &Cluster) {
    cluster.clusterctl(3, &["node", "leave"]).refused(17, &["brick", "shared", "reason=holds-brick"]);
    cluster.expect_mounted(3);
    cluster.expect_ready(&[1, 2, 3]);
    cluster.nothing_to_do(3);
}

/// After a power cut Swarm, brick and mount come back without anybody's help.
fn a_power_cut_heals_by_itself(cluster: &Cluster, n: u8) {
    cluster.expect_shared(1, n);
    cluster.lab.kill(n);
    cluster.write_shared(1, "written-meanwhile", "kept");
    cluster.lab.start(n);
    comes_back(cluster, n);
    assert_eq!(cluster.lab.ok(n, &["cat", "/mnt/shared/written-meanwhile"]), "kept");
}

fn comes_back(cluster: &Cluster, n: u8) {
    wait_for(&format!("h{n} has the volume mounted by itself"), PATIENCE, || {
        cluster.mounted(n).starts_with("fuse.glusterfs ") && cluster.lab.exec(n, &["ls", MOUNT]).success()
    });
    cluster.expect_ready(&[1, 2, 3]);
    wait_for("every brick online", PATIENCE, || cluster.bricks_online() == 3);
    assert!(cluster.lab.exec(n, &["test", "-d", BRICK]).success());
    cluster.nothing_to_do(n);
    cluster.expect_shared(n, 2);
}

/// The same for the host of the controller, which goes on where it was (S2-61).
fn the_masters_power_cut_heals_by_itself(cluster: &Cluster) {
    let before = cluster.status();
    cluster.lab.kill(1);
    cluster.lab.start(1);
    wait_for("the controller answers again", PATIENCE, || cluster.clusterctl(1, &["master", "status"]).code == Some(0));
    comes_back(cluster, 1);
    let after = cluster.status();
    assert_eq!(after["ClusterId"], before["ClusterId"]);
    let ids = |status: &serde_json::Value| {
        let rows = status["Nodes"].as_array().unwrap();
        rows.iter().map(|row| (row["Hostname"].clone(), row["NodeId"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&after), ids(&before));
}
