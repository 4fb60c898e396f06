//! Faults under way: a token that is rotated, a Docker that hangs, a volume that loses its majority. The host waits,
//! says for what, goes on by itself, and nothing is lost.

use super::concurrent::{join_beside, said, wait_until_all_said};
use super::{Cluster, MOUNT, PATIENCE};
use crate::lab::{usable, wait_for};

/// N2, N9, G16: three hosts, each with a brick; h1 is the master.
#[test]
fn lab_faults_are_waited_out() {
    if !usable("lab_faults_are_waited_out") {
        return;
    }
    let cluster = Cluster::up("e2e-faults", 3);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    a_token_that_is_rotated_under_way_is_asked_for_again(&cluster);
    a_docker_that_hangs_is_waited_for(&cluster, 3);
    a_volume_without_its_majority_is_waited_for(&cluster);
}

/// Covers FAULTS N9: the token is rotated behind the controller's back, after it has looked it up. Both workers are
/// handed the old one, are refused by the Swarm, and ask once more.
fn a_token_that_is_rotated_under_way_is_asked_for_again(cluster: &Cluster) {
    // The controller remembers for a while what it answers here.
    cluster.join(2, &["--dry-run"]).succeeded();
    cluster.lab.ok(1, &["docker", "swarm", "join-token", "--rotate", "--quiet", "worker"]);
    let joins = cluster.join_together(&[1, 2, 3]);
    for (n, join) in (1..).zip(&joins) {
        let refusals = join.stderr.matches("the Swarm does not take this join token").count();
        // The master's own host is a member already.
        assert_eq!(refusals, usize::from(n != 1), "h{n}: {}", join.stderr);
    }
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    for n in 1..=3 {
        cluster.expect_mounted(n);
        cluster.nothing_to_do(n);
    }
}

/// Covers FAULTS N2: a stopped dockerd takes connections and answers none. The join says so and waits; the volume of
/// the host is not touched meanwhile.
fn a_docker_that_hangs_is_waited_for(cluster: &Cluster, n: u8) {
    let signal = |signal: &str| {
        cluster.lab.ok(n, &["systemctl", "kill", "--kill-who=main", &format!("--signal={signal}"), "docker.service"]);
    };
    cluster.lab.ok(n, &["docker", "swarm", "leave"]);
    signal("STOP");
    std::thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, ""));
        wait_until_all_said(cluster, &[n], "waiting for Docker to answer");
        let status = cluster.clusterctl(n, &["node", "status"]).succeeded();
        assert!(status.stdout.contains("Docker did not answer info within 5s"), "{status:?}");
        assert!(status.stdout.contains("can be read and written"), "{status:?}");
        assert!(!join.is_finished(), "{}", said(cluster, n));
        signal("CONT");
        join.join().unwrap().succeeded().did(&["join the Swarm"]);
    });
    cluster.expect_ready(&[1, 2, 3]);
    cluster.nothing_to_do(n);
}

/// Covers FAULTS G16: with one brick of three the volume takes no writes. That is said, mounting again is not tried, and
/// the second brick is enough to go on.
fn a_volume_without_its_majority_is_waited_for(cluster: &Cluster) {
    cluster.write_shared(1, "before", "kept");
    let client = || cluster.lab.ok(1, &["pgrep", "-f", "glusterfs.* /mnt/shared$"]);
    let mounted_by = client();
    cluster.lab.kill(2);
    cluster.lab.kill(3);

    wait_for("the host says that its volume takes no writes", PATIENCE, || {
        let status = cluster.clusterctl(1, &["node", "status"]).succeeded();
        status.stdout.contains("takes no writes: too few bricks answer")
    });
    let refused = cluster.try_write(1, &format!("{MOUNT}/without-a-majority"), "lost");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let bricks = [2, 3].map(|n| format!("{}:{}", cluster.lab.host_ip(n), super::BRICK));
    let why = format!("bricks not online: {}", bricks.join(", "));
    let join = cluster.join(1, &["--timeout", "3s"]);
    assert_eq!((join.code, join.done()), (Some(10), Vec::new()), "{join:?}");
    assert!(join.stderr.contains(&why) && join.stderr.contains("reason=storage-degraded"), "{join:?}");
    let volume = cluster.status()["Volume"].clone();
    assert_eq!((&volume["Usable"], &volume["Message"]), (&false.into(), &why.into()), "{volume}");

    std::thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, 1, ""));
        wait_until_all_said(cluster, &[1], "reason=storage-degraded");
        cluster.lab.start(2);
        join.join().unwrap().succeeded().did(&[]);
    });
    assert_eq!(client(), mounted_by, "it was mounted again");
    cluster.write_shared(1, "with-two-of-three", "kept");
    cluster.lab.start(3);
    cluster.expect_ready(&[1, 2, 3]);
    wait_for("every brick online", PATIENCE, || cluster.bricks_online() == 3);
    for n in [2, 3] {
        // Whether the boot could mount depends on which bricks were there in time.
        let join = cluster.join(n, &[]).succeeded();
        assert!(join.done().iter().all(|step| *step == "mount `shared`"), "{join:?}");
        for file in ["before", "with-two-of-three"] {
            assert_eq!(cluster.lab.ok(n, &["cat", &format!("{MOUNT}/{file}")]), "kept", "h{n}: {file}");
        }
        assert!(!cluster.lab.exec(n, &["test", "-e", &format!("{MOUNT}/without-a-majority")]).success(), "h{n}");
        cluster.nothing_to_do(n);
    }
    cluster.expect_healed();
    cluster.nothing_to_do(1);
}
