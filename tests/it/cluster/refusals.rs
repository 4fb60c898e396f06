//! Hosts that are something else's already: joining says so, exits with the code for it, and touches nothing.

use super::secrets::OVERLAY_KEY;
use super::{BRICK, Cluster, Ended, MOUNT, PATIENCE};
use crate::lab::{usable, wait_for};

/// A master and two hosts that get in the way of joining in one manner after the other. Covers T15, T18, T24 and FAULTS
/// N4, N6, G9, G13 and P1.
#[test]
fn lab_what_belongs_to_others_is_left_alone() {
    if !usable("lab_what_belongs_to_others_is_left_alone") {
        return;
    }
    let cluster = Cluster::up("e2e-refuse", 3);
    cluster.init(&["--enable-glusterfs"]);
    an_overlay_that_is_not_up(&cluster, 2);
    a_host_in_another_swarm(&cluster, 2);
    a_host_whose_swarm_is_locked(&cluster, 2);
    a_brick_with_files(&cluster, 3);
    a_brick_of_another_volume(&cluster, 3);
    a_mount_point_with_files(&cluster, 3);
    a_mount_point_that_is_taken(&cluster, 3);
    // What stood in the way is gone: all of them join.
    cluster.join_together(&[1, 2, 3]);
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    for n in 1..=3 {
        cluster.expect_mounted(n);
    }
    programs_first_in_the_path_are_not_run(&cluster, 2);
}

/// Without storage: the one host that decides does not leave; a host in the wrong role is told (FAULTS N10).
#[test]
fn lab_the_last_manager_does_not_leave() {
    if !usable("lab_the_last_manager_does_not_leave") {
        return;
    }
    let cluster = Cluster::up("e2e-last", 2);
    cluster.init(&[]);
    cluster.serve("--admission open");
    cluster.join(1, &[]).succeeded().did(&[]);
    cluster.join(2, &[]).succeeded().did(&["join the Swarm"]);
    cluster.expect_ready(&[1, 2]);
    assert_eq!((cluster.mounted(1), cluster.mounted(2)), (String::new(), String::new()));
    cluster.clusterctl(1, &["node", "leave"]).refused(16, &["last manager", "reason=last-manager"]);
    cluster.expect_ready(&[1, 2]);

    // With two managers, the rest of the Swarm decides without the one that leaves.
    let other = cluster.join(2, &["--role", "manager"]);
    other.refused(12, &["worker", "manager", "docker node promote", "reason=other-role"]);
    let leave = cluster.clusterctl(2, &["node", "leave"]).succeeded();
    assert!(leave.stdout.contains("done: left the Swarm"), "{leave:?}");
    cluster.expect_ready(&[1]);
    cluster.join(2, &["--role", "manager"]).succeeded().did(&["join the Swarm"]);
    cluster.expect_ready(&[1, 2]);
    wait_for("two managers", PATIENCE, || {
        let managers = cluster.lab.ok(1, &["docker", "node", "ls", "--format", "{{.Hostname}}{{.ManagerStatus}}"]);
        managers.contains("h1Leader") && managers.contains("h2Reachable")
    });
    cluster.nothing_to_do(2);
}

/// Covers FAULTS P1: a host whose overlay is not up is told how to bring it up, and joins nothing over the network below.
/// The overlay's key gets no further than the host. The controller has no overlay afterwards.
fn an_overlay_that_is_not_up(cluster: &Cluster, n: u8) {
    const SETTINGS: &str = "/etc/clusterctl/overlay";
    cluster.write(1, SETTINGS, OVERLAY_KEY);
    cluster.lab.ok(1, &["chmod", "600", SETTINGS]);
    cluster.serve(&format!("--overlay-provider netbird --overlay-config {SETTINGS}"));
    let join = cluster.join(n, &[]);
    assert_eq!((join.code, join.done()), (Some(10), Vec::new()), "{join:?}");
    for word in ["`netbird` is not up", "`netbird up`", "reason=overlay-not-up"] {
        assert!(join.stderr.contains(word), "`{word}` is missing in:\n{}", join.stderr);
    }
    assert!(swarm_state(cluster, n).starts_with("inactive"));
    expect_untouched(cluster, n);
    let status = cluster.clusterctl(n, &["node", "status", "--output", "json"]);
    assert!(!status.stdout.contains(OVERLAY_KEY), "{status:?}");
    cluster.lab.ok(1, &["rm", "-r", "/etc/systemd/system/clusterctl-master.service.d"]);
    cluster.serve("");
    cluster.lab.ok(1, &["systemctl", "restart", "clusterctl-master.service"]);
}

fn swarm_state(cluster: &Cluster, n: u8) -> String {
    cluster.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.NodeID}}"])
}

/// Nothing of ours was made on host `n`.
fn expect_untouched(cluster: &Cluster, n: u8) {
    for path in ["/data/clusterctl", MOUNT, "/etc/systemd/system/mnt-shared.mount"] {
        assert!(!cluster.lab.exec(n, &["test", "-e", path]).success(), "h{n}: {path} was made");
    }
}

/// Covers FAULTS N4.
fn a_host_in_another_swarm(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["docker", "swarm", "init", "--advertise-addr", &cluster.lab.host_ip(n).to_string()]);
    let before = swarm_state(cluster, n);
    assert!(before.starts_with("active "), "{before}");
    let digest_of = |n: u8| {
        let token = cluster.lab.ok(n, &["docker", "swarm", "join-token", "--quiet", "worker"]);
        token.split('-').nth(2).unwrap().to_owned()
    };
    let (have, want) = (digest_of(n), digest_of(1));
    cluster.join(n, &[]).refused(13, &["another Swarm", &have, &want, "docker swarm leave", "reason=foreign-swarm"]);
    assert_eq!(swarm_state(cluster, n), before);
    expect_untouched(cluster, n);
    assert_eq!(cluster.row(&format!("h{n}"))["Swarm"], "not joined");
}

/// Covers FAULTS N6. The Swarm is the host's own, from before.
fn a_host_whose_swarm_is_locked(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["docker", "swarm", "update", "--autolock=true"]);
    cluster.lab.ok(n, &["systemctl", "restart", "docker.service"]);
    wait_for("the Swarm is locked", PATIENCE, || swarm_state(cluster, n).starts_with("locked"));
    cluster.join(n, &[]).refused(15, &["locked", "docker swarm unlock", "reason=swarm-locked"]);
    assert!(swarm_state(cluster, n).starts_with("locked"));
    expect_untouched(cluster, n);
    cluster.lab.ok(n, &["docker", "swarm", "leave", "--force"]);
}

/// What a directory of host `n` holds, with modes, sizes, times and Gluster's marks.
fn contents(cluster: &Cluster, n: u8, directory: &str) -> String {
    let listing = "find \"$0\" -printf '%p %M %s %T@\\n' | sort; getfattr -m . -d -e hex --absolute-names \"$0\"";
    cluster.lab.ok(n, &["sh", "-c", listing, directory])
}

fn a_brick_with_files(cluster: &Cluster, n: u8) {
    cluster.write(n, &format!("{BRICK}/precious"), "somebody's data");
    let before = contents(cluster, n, BRICK);
    cluster.join(n, &[]).refused(14, &[BRICK, "files", "left alone", "reason=foreign-brick"]);
    assert_eq!(contents(cluster, n, BRICK), before);
    assert_eq!(cluster.lab.ok(n, &["cat", &format!("{BRICK}/precious")]), "somebody's data");
    assert_eq!(cluster.mounted(n), "");
    cluster.lab.ok(n, &["rm", "-r", BRICK]);
}

/// Covers FAULTS G9.
fn a_brick_of_another_volume(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["mkdir", "-p", "/data/clusterctl/bricks"]);
    let brick = format!("{}:{BRICK}", cluster.lab.host_ip(n));
    cluster.lab.ok(n, &["gluster", "--mode=script", "volume", "create", "theirs", &brick]);
    let mark =
        cluster.lab.ok(n, &["getfattr", "-n", "trusted.glusterfs.volume-id", "-e", "hex", "--absolute-names", BRICK]);
    let before = contents(cluster, n, BRICK);
    cluster.join(n, &[]).refused(14, &[BRICK, "another volume", "left alone", "reason=foreign-brick"]);
    assert_eq!(contents(cluster, n, BRICK), before);
    assert!(mark.contains("trusted.glusterfs.volume-id=0x"), "{mark}");
    let info = cluster.lab.ok(n, &["gluster", "--mode=script", "volume", "info", "theirs"]);
    assert!(info.contains(&brick), "{info}");
    cluster.lab.ok(n, &["gluster", "--mode=script", "volume", "delete", "theirs"]);
    cluster.lab.ok(n, &["rm", "-r", BRICK]);
}

/// Covers FAULTS G13: a mount would hide what lies there.
fn a_mount_point_with_files(cluster: &Cluster, n: u8) {
    cluster.write(n, &format!("{MOUNT}/written-by-a-service"), "kept");
    let before = contents(cluster, n, MOUNT);
    cluster.join(n, &[]).refused(17, &[MOUNT, "files", "written-by-a-service"]);
    assert_eq!(contents(cluster, n, MOUNT), before);
    assert_eq!(cluster.mounted(n), "");
    cluster.lab.ok(n, &["rm", "-r", MOUNT]);
}

/// Covers T18: a directory that stands first in the caller's `PATH` has programs of the names that a join runs.
fn programs_first_in_the_path_are_not_run(cluster: &Cluster, n: u8) {
    let plant = r#"mkdir /tmp/first && cd /tmp/first && chmod 777 . || exit 1
        for name in gluster mount umount systemctl systemd-escape; do
            printf '#!/bin/sh\ntouch /tmp/first/was-run\n' >$name && chmod 755 $name || exit 1
        done
        PATH="/tmp/first:$PATH" systemctl && rm was-run"#;
    cluster.lab.ok(n, &["sh", "-c", plant]);
    cluster.lab.ok(n, &["umount", MOUNT]);
    let join = r#"PATH="/tmp/first:$PATH" exec /usr/local/bin/clusterctl node join"#;
    let join: Ended = cluster.lab.exec(n, &["sh", "-c", join]).into();
    join.succeeded().did(&["mount `shared`"]);
    cluster.expect_mounted(n);
    assert!(!cluster.lab.exec(n, &["test", "-e", "/tmp/first/was-run"]).success());
}

/// Another file system is mounted there.
fn a_mount_point_that_is_taken(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["mkdir", "-p", MOUNT]);
    cluster.lab.ok(n, &["mount", "-t", "tmpfs", "theirs", MOUNT]);
    let join = cluster.join(n, &[]);
    join.refused(join.code.unwrap_or(0), &[MOUNT, "another mount", "theirs"]);
    assert_eq!(cluster.mounted(n), "tmpfs theirs");
    cluster.lab.ok(n, &["umount", MOUNT]);
}
