//! The controller dies, fails or hangs while it makes pool and volume: the joins that wait for it get through.

use super::super::concurrent::join_beside;
use super::super::{Cluster, PATIENCE};
use crate::lab::{usable, wait_for};

/// The steps in their order: probe, create, access list, start.
const STEPS: [&str; 4] = ["J11", "J12", "J14", "J13"];

/// J11, J12, J13, J14: bare hosts form a cluster; each time the controller breaks off in another way.
#[test]
fn lab_a_controller_that_breaks_off_anywhere_goes_on() {
    if !usable("lab_a_controller_that_breaks_off_anywhere_goes_on") {
        return;
    }
    hangs_and_is_killed_before_each_step(&begin("J11:hang"));
    dies_after_each_step(&begin(&STEPS.map(|step| format!("{step}:abort@2")).join(",")));
    // A failure is no word about the effect: the first turn is before it, the second after.
    for turn in ["", "@2"] {
        fails_at_each_step(&begin(&STEPS.map(|step| format!("{step}:error{turn}")).join(",")));
    }
}

/// Gives the controller's unit the points for its next start.
fn arm(cluster: &Cluster, points: &str) {
    let drop_in = format!("[Service]\nRestartSec=100ms\nEnvironment=CLUSTERCTL_FAIL={points}\n");
    cluster.write(1, "/etc/systemd/system/clusterctl-master.service.d/points.conf", &drop_in);
    cluster.lab.ok(1, &["systemctl", "daemon-reload"]);
}

/// How often the controller has come to a point that was armed.
fn reached(cluster: &Cluster, point: &str) -> usize {
    let said = cluster.lab.ok(1, &["journalctl", "-q", "-o", "cat", "--no-pager", "-u", "clusterctl-master"]);
    said.lines().filter(|line| line.contains("a failpoint is reached") && line.contains(point)).count()
}

fn begin(points: &str) -> Cluster {
    let cluster = Cluster::up("e2e-crashes", 3);
    cluster.init(&["--enable-glusterfs"]);
    arm(&cluster, points);
    cluster.serve("--admission open");
    cluster
}

/// While a step hangs, joins wait and end in their time; the step is found undone by the next controller.
fn hangs_and_is_killed_before_each_step(cluster: &Cluster) {
    std::thread::scope(|scope| {
        let joins = [2, 3].map(|n| scope.spawn(join_beside(cluster, n, "")));
        for (step, next) in STEPS.into_iter().zip([Some("J12"), Some("J14"), Some("J13"), None]) {
            // Its brick is one of those that the volume is made of.
            let join = cluster.join(1, &["--timeout", "3s"]);
            wait_for(&format!("the controller hangs at {step}"), PATIENCE, || reached(cluster, step) == 1);
            assert_eq!(join.code, Some(10), "{step}: {join:?}");
            assert!(join.stderr.contains("result=waiting reason=storage-degraded"), "{step}: {join:?}");
            arm(cluster, &next.map(|next| format!("{next}:hang")).unwrap_or_default());
            cluster.lab.ok(1, &["systemctl", "kill", "--kill-who=main", "--signal=KILL", "clusterctl-master.service"]);
        }
        for join in joins {
            join.join().unwrap().succeeded();
        }
    });
    converges(cluster);
}

/// What a step did before its controller died is found and kept.
fn dies_after_each_step(cluster: &Cluster) {
    cluster.join_together(&[1, 2, 3]);
    // Two hosts were probed, and each controller takes one of them in.
    assert_eq!(STEPS.map(|step| reached(cluster, step)), [2, 1, 1, 1]);
    converges(cluster);
}

/// What fails is tried again, whether or not it had been done.
fn fails_at_each_step(cluster: &Cluster) {
    cluster.join_together(&[1, 2, 3]);
    assert_eq!(STEPS.map(|step| reached(cluster, step)), [1, 1, 1, 1]);
    converges(cluster);
}

fn converges(cluster: &Cluster) {
    cluster.join_together(&[1, 2, 3]);
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    cluster.expect_shared(2, 3);
    for n in 1..=3 {
        cluster.expect_mounted(n);
        cluster.nothing_to_do(n);
    }
}
