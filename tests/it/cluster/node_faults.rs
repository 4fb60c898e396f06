//! What goes wrong around one host that joins or is in: its disk, its network in one direction, a second join, managers
//! that do not answer. It says so, keeps what it has, and goes on when it can.

use super::concurrent::{join_beside, said, wait_until_all_said};
use super::{Cluster, MOUNT, PATIENCE};
use crate::lab::{usable, wait_for};

/// N5, N8, N17, N18, N20, P3, J8: h1 to h3 hold the volume; h4 is the host that things happen to.
#[test]
fn lab_a_host_in_trouble_keeps_what_it_has() {
    if !usable("lab_a_host_in_trouble_keeps_what_it_has") {
        return;
    }
    let cluster = Cluster::up("e2e-node", 4);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("--admission open");
    cluster.join_together(&[1, 2, 3]);
    a_full_disk_keeps_what_was_written(&cluster, 4);
    one_join_at_a_time(&cluster, 4);
    a_controller_that_is_not_heard_is_waited_for(&cluster, 4);
    a_host_that_the_managers_have_lost_says_so(&cluster, 4);
    a_join_that_dies_while_docker_joins(&cluster, 4);
    a_way_that_loses_large_packets_is_named(&cluster, 4);
    cluster.expect_three_copies([1, 2, 3]);
}

fn swarm_state(cluster: &Cluster, n: u8) -> String {
    cluster.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"])
}

/// Adds (`-I`) or takes away (`-D`) a rule of host `n`.
fn rule(cluster: &Cluster, n: u8, act: &str, rule: &str) {
    cluster.lab.ok(n, &["sh", "-c", &format!("iptables {act} {rule} -j DROP")]);
}

/// Covers FAULTS N20: files are whole or not there, and what is on disk already is enough to go on.
fn a_full_disk_keeps_what_was_written(cluster: &Cluster, n: u8) {
    let lab = &cluster.lab;
    let fill = || lab.ok(n, &["sh", "-c", "cat /dev/zero >/var/lib/clusterctl/filler 2>/dev/null; true"]);
    let free = || lab.ok(n, &["rm", "/var/lib/clusterctl/filler"]);
    lab.ok(n, &["mkdir", "-p", "/var/lib/clusterctl"]);
    lab.ok(n, &["mount", "-t", "tmpfs", "-o", "size=128k,mode=700", "tmpfs", "/var/lib/clusterctl"]);
    fill();
    cluster.join(n, &[]).refused(17, &["node.key", "--state-dir", "reason=node-key"]);
    let half_written = || lab.ok(n, &["find", "/var/lib/clusterctl", "-name", "node.*", "-o", "-name", "*.tmp"]);
    assert_eq!(half_written(), "");
    free();
    cluster.join(n, &[]).succeeded();
    fill();
    // What it has heard of its controller since cannot be noted; the note of before stays whole.
    let membership = || lab.ok(n, &["cat", "/var/lib/clusterctl/node/membership.json"]);
    let before = membership();
    let join = cluster.join(n, &[]);
    assert_eq!((join.code, join.done()), (Some(17), Vec::new()), "{join:?}");
    assert!(join.stderr.contains("df -h") && join.stderr.contains("result=failed reason=state-io"), "{join:?}");
    assert_eq!((membership(), lab.ok(n, &["find", "/var/lib/clusterctl", "-name", "*.tmp"])), (before, String::new()));
    cluster.expect_mounted(n);
    free();
    cluster.nothing_to_do(n);
}

/// Covers FAULTS N18. The first one hangs as long as this takes.
fn one_join_at_a_time(cluster: &Cluster, n: u8) {
    let hang = format!(
        "CLUSTERCTL_FAIL=J3:hang exec clusterctl node join --master {} --timeout 6s 2>/var/log/join",
        cluster.master()
    );
    cluster.lab.ok(n, &["rm", "-f", "/var/log/join"]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| cluster.lab.exec(n, &["sh", "-c", &hang]).code);
        wait_until_all_said(cluster, &[n], "a failpoint is reached");
        let second = cluster.join(n, &[]);
        assert_eq!(second.code, Some(10), "{second:?}");
        assert!(second.stderr.contains("result=waiting reason=busy"), "{second:?}");
        assert_eq!(first.join().unwrap(), Some(10));
    });
    cluster.nothing_to_do(n);
}

/// Covers FAULTS N17 and P3: what the host says arrives and no answer comes back, and the other way round. The join ends
/// in its time; nothing is taken apart meanwhile.
fn a_controller_that_is_not_heard_is_waited_for(cluster: &Cluster, n: u8) {
    for deaf in ["INPUT -p tcp --sport 7000", "OUTPUT -p tcp --dport 7000"] {
        rule(cluster, n, "-I", deaf);
        let join = cluster.join(n, &["--timeout", "4s"]);
        assert_eq!((join.code, join.done()), (Some(10), Vec::new()), "{deaf}: {join:?}");
        assert!(join.stderr.contains("reason=controller-unreachable"), "{deaf}: {join:?}");
        assert_eq!(swarm_state(cluster, n), "active");
        cluster.expect_mounted(n);
        std::thread::scope(|scope| {
            let join = scope.spawn(join_beside(cluster, n, ""));
            wait_until_all_said(cluster, &[n], "reason=controller-unreachable");
            rule(cluster, n, "-D", deaf);
            join.join().unwrap().succeeded().did(&[]);
        });
    }
    cluster.expect_ready(&[1, 2, 3, 4]);
}

/// Covers FAULTS N8 and P3: the host hears nothing of the managers' and takes itself for a member all the same.
fn a_host_that_the_managers_have_lost_says_so(cluster: &Cluster, n: u8) {
    rule(cluster, n, "-I", "INPUT -p tcp --sport 2377");
    let down = format!("h{n} Down");
    wait_for(&down, PATIENCE, || cluster.swarm_nodes().contains(&down));
    let join = cluster.join(n, &[]);
    assert_eq!((join.code, join.done()), (Some(10), Vec::new()), "{join:?}");
    assert!(join.stderr.contains("result=waiting reason=swarm-partition"), "{join:?}");
    assert_eq!(swarm_state(cluster, n), "active");
    cluster.expect_mounted(n);
    assert!(cluster.row(&format!("h{n}"))["Finding"].as_str().unwrap().contains("to them it is down"));
    rule(cluster, n, "-D", "INPUT -p tcp --sport 2377");
    cluster.expect_ready(&[1, 2, 3, 4]);
    cluster.nothing_to_do(n);
    assert_eq!(cluster.row(&format!("h{n}"))["Finding"], "");
}

/// Covers FAULTS J8 and N5: Docker goes on alone after its join has found nobody and clusterctl was killed over it.
fn a_join_that_dies_while_docker_joins(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["docker", "swarm", "leave"]);
    rule(cluster, n, "-I", "INPUT -p tcp --sport 2377");
    std::thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, ""));
        wait_until_all_said(cluster, &[n], "join the Swarm");
        wait_for("Docker tries to join", PATIENCE, || swarm_state(cluster, n) == "pending");
        cluster.lab.ok(n, &["pkill", "-KILL", "-x", "clusterctl"]);
        assert_ne!(join.join().unwrap().code, Some(0));
    });
    rule(cluster, n, "-D", "INPUT -p tcp --sport 2377");
    // Whichever of the two gets through, the other one's is given up.
    cluster.join(n, &[]).succeeded();
    cluster.nothing_to_do(n);
    cluster.expect_ready(&[1, 2, 3, 4]);
}

/// Covers FAULTS N5: connections are made, and whatever fills a packet is lost, as where an interface says 9000 and a
/// switch on the way carries 1500. Docker can only say that nobody answers.
fn a_way_that_loses_large_packets_is_named(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["docker", "swarm", "leave"]);
    let large = "OUTPUT -p tcp --dport 2377 -m length --length 400:65535";
    rule(cluster, n, "-I", large);
    let join = cluster.join(n, &["--timeout", "45s"]);
    assert_eq!((join.code, join.done()), (Some(10), Vec::new()), "{join:?}\n{}", said(cluster, n));
    for word in ["nothing comes back once a packet is large", "mtu 1400", "result=waiting reason=manager-unreachable"] {
        assert!(join.stderr.contains(word), "{word}: {join:?}");
    }
    rule(cluster, n, "-D", large);
    cluster.join(n, &[]).succeeded();
    cluster.expect_ready(&[1, 2, 3, 4]);
    assert!(cluster.lab.exec(n, &["ls", MOUNT]).success());
}
