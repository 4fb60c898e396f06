//! Everybody at once, before there is anything to join, with a controller that dies while they wait.

use super::{Cluster, Ended, PATIENCE};
use crate::lab::{run, usable, wait_for};

/// Four hosts: three start to join before the master is one, the fourth completes the minimum.
#[test]
fn lab_everybody_joins_at_once_and_waits() {
    if !usable("lab_everybody_joins_at_once_and_waits") {
        return;
    }
    let cluster = Cluster::up("e2e-crowd", 4);
    joins_wait_through_everything(&cluster);
    a_client_leaves_and_comes_back(&cluster, 4);
    a_host_that_is_cut_off_waits(&cluster, 4);
    the_masters_docker_stops_for_a_while(&cluster, 4);
}

/// A join of host `n`, to be run beside other things; what it says is there to be read meanwhile.
pub(super) fn join_beside(cluster: &Cluster, n: u8, options: &str) -> impl FnOnce() -> Ended + Send + 'static {
    cluster.lab.ok(n, &["rm", "-f", "/var/log/join"]);
    let command = format!("exec clusterctl node join --master {} {options} 2>/var/log/join", cluster.master());
    let join = cluster.lab.invocation(n, &["sh", "-c", &command]).deadline(PATIENCE * 4);
    move || run(join).unwrap().into()
}

/// What the join in host `n` has said until now.
pub(super) fn said(cluster: &Cluster, n: u8) -> String {
    cluster.lab.exec(n, &["cat", "/var/log/join"]).stdout_text().to_owned()
}

pub(super) fn wait_until_all_said(cluster: &Cluster, hosts: &[u8], word: &str) {
    for n in hosts {
        wait_for(&format!("h{n} says `{word}`"), PATIENCE, || said(cluster, *n).contains(word));
    }
}

/// Covers S2-44, S2-45, S2-59, S2-60, S2-61, S2-63 and FAULTS C9: the nodes wait and say why, before there is a
/// controller, below the minimum, and across the death of the controller; then all of them converge.
fn joins_wait_through_everything(cluster: &Cluster) {
    let lab = &cluster.lab;
    std::thread::scope(|scope| {
        let mut joins: Vec<_> = [1, 2, 3].map(|n| scope.spawn(join_beside(cluster, n, ""))).into();
        wait_until_all_said(cluster, &[1, 2, 3], "reason=controller-unreachable");

        cluster.init(&["--enable-glusterfs"]);
        cluster.serve("--admission open --plaintext --wait-for-minimum --min-managers 1 --min-workers 3");
        wait_until_all_said(cluster, &[1, 2, 3], "waiting: 1 of 1 managers and 2 of 3 workers have registered");
        let waiting = cluster.status();
        assert_eq!((&waiting["Gate"]["State"], &waiting["NodesTotal"]), (&"waiting".into(), &3.into()), "{waiting}");
        let reply = cluster.send(br#"{"hostname":"h2","action":"check-status"}"#);
        assert_ne!(reply["Status"], "ready", "{reply}");
        assert!(!reply.to_string().contains("SWMTKN"), "{reply}");

        lab.ok(1, &["systemctl", "kill", "--kill-who=main", "--signal=KILL", "clusterctl-master.service"]);
        wait_for("systemd has started the controller again", PATIENCE, || {
            cluster.clusterctl(1, &["master", "status"]).code == Some(0)
        });
        // Nobody is forgotten, nobody is counted twice.
        let after = cluster.status();
        assert_eq!((&after["Gate"], &after["NodesTotal"]), (&waiting["Gate"], &3.into()), "{after}");
        assert!(joins.iter().all(|join| !join.is_finished()), "a join ended before the minimum was reached");

        joins.push(scope.spawn(join_beside(cluster, 4, "--disable-glusterfs")));
        for (n, join) in (1..).zip(joins) {
            let join = join.join().unwrap();
            assert_eq!(join.code, Some(0), "h{n}: {}\n{}", join.stdout, said(cluster, n));
        }
    });
    cluster.expect_ready(&[1, 2, 3, 4]);
    cluster.expect_three_copies([1, 2, 3]);
    for n in 1..=3 {
        cluster.expect_mounted(n);
        // A reason is said when it changes, not at every attempt.
        let said = said(cluster, n);
        assert!(said.matches("reason=below-minimum").count() <= 4, "{said}");
    }
    assert_eq!(cluster.mounted(4), "");
    cluster.expect_shared(2, 3);
    for n in 1..=4 {
        cluster.join(n, if n == 4 { &["--disable-glusterfs"] } else { &[] }).succeeded().did(&[]);
    }
}

/// A host that takes no part in the storage leaves and joins again; the gate stays open meanwhile (FAULTS C9).
fn a_client_leaves_and_comes_back(cluster: &Cluster, n: u8) {
    let leave = cluster.clusterctl(n, &["node", "leave"]).succeeded();
    assert!(leave.stdout.contains("done: left the Swarm") && !leave.stdout.contains("unmounted"), "{leave:?}");
    cluster.expect_ready(&[1, 2, 3]);
    cluster.nothing_to_do(2);
    assert_eq!(cluster.status()["Gate"]["State"], "open");
    cluster.join(n, &["--disable-glusterfs"]).succeeded().did(&["join the Swarm"]);
    cluster.expect_ready(&[1, 2, 3, 4]);
}

/// Covers FAULTS N17 and P3: a join that does not reach the controller waits for it; what is there stays.
fn a_host_that_is_cut_off_waits(cluster: &Cluster, n: u8) {
    cluster.lab.cut(n);
    std::thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, "--disable-glusterfs"));
        wait_until_all_said(cluster, &[n], "reason=controller-unreachable");
        assert_eq!(cluster.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]), "active");
        cluster.lab.heal(n);
        join.join().unwrap().succeeded().did(&[]);
    });
    cluster.expect_ready(&[1, 2, 3, 4]);
}

/// Covers FAULTS C13: without its Docker the controller registers on, hands out no token, and says why.
fn the_masters_docker_stops_for_a_while(cluster: &Cluster, n: u8) {
    cluster.clusterctl(n, &["node", "leave"]).succeeded();
    cluster.lab.ok(1, &["systemctl", "stop", "docker.socket", "docker.service"]);
    let register = br#"{"hostname":"machine","action":"register"}"#;
    wait_for("the controller says that Docker is away", PATIENCE, || {
        let reply = cluster.send(register);
        assert_ne!(reply["Status"], "error", "{reply}");
        reply["Reason"] == "swarm-unavailable" && !reply.to_string().contains("SWMTKN")
    });
    assert_eq!(cluster.row("machine")["Swarm"], "not joined");
    std::thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, "--disable-glusterfs"));
        wait_until_all_said(cluster, &[n], "reason=swarm-unavailable");
        cluster.lab.ok(1, &["systemctl", "start", "docker.service"]);
        join.join().unwrap().succeeded().did(&["join the Swarm"]);
    });
    cluster.expect_ready(&[1, 2, 3, 4]);
    cluster.clusterctl(1, &["node", "remove", "machine"]).succeeded();
    assert!(cluster.row("machine").is_null());
}
