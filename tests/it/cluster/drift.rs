//! What drifts on a host that is in the cluster is repaired by joining again: that, and nothing besides.

use super::{Cluster, MOUNT, PATIENCE};
use crate::lab::wait_for;

/// Covers S2-68: one drift after the other, each repaired by exactly its own steps.
pub(super) fn each_drift_is_repaired_alone(cluster: &Cluster, n: u8) {
    let unit = "/etc/systemd/system/mnt-shared.mount";
    let wanted = cluster.lab.ok(n, &["cat", unit]);
    let cases: [(&str, &str, &[&str]); 6] = [
        ("unmounted", "umount /mnt/shared", &["mount `shared`"]),
        (
            "mount unit edited",
            "sed -i s/TimeoutSec=.*/TimeoutSec=1/ /etc/systemd/system/mnt-shared.mount",
            &["make the mount"],
        ),
        ("mount unit removed", "rm /etc/systemd/system/mnt-shared.mount", &["make the mount"]),
        ("mount unit disabled", "systemctl disable mnt-shared.mount", &["make the mount"]),
        (
            "FUSE client killed",
            "kill -KILL $(pgrep -f 'glusterfs.* /mnt/shared$')",
            &["take away the dead mount", "mount `shared`"],
        ),
        ("left the Swarm", "docker swarm leave", &["join the Swarm"]),
    ];
    for (what, drift, steps) in cases {
        cluster.lab.ok(n, &["bash", "-c", drift]);
        println!("drift: {what}");
        cluster.join(n, &[]).succeeded().did(steps);
        cluster.nothing_to_do(n);
        assert_eq!(cluster.lab.ok(n, &["cat", unit]), wanted, "{what}");
        assert!(cluster.lab.exec(n, &["systemctl", "is-enabled", "mnt-shared.mount"]).success(), "{what}");
        cluster.expect_mounted(n);
        cluster.lab.ok(n, &["ls", MOUNT]);
    }
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
}

/// Covers FAULTS G11: joining again has the controller look at the bricks and start the one that died.
pub(super) fn a_brick_that_died_is_started_again(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["pkill", "-KILL", "-x", "glusterfsd"]);
    wait_for("the brick is seen to be down", PATIENCE, || cluster.bricks_online() == 2);
    cluster.join(n, &[]).succeeded();
    wait_for("the brick is online again", PATIENCE, || cluster.bricks_online() == 3);
    cluster.nothing_to_do(n);
}
