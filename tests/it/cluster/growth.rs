//! A host that is killed at every step of its join, and a volume that grows from its one brick to three copies.

use super::{Cluster, Ended, MOUNT, PATIENCE};
use crate::lab::{run, usable, wait_for};

/// h1 is the master and does not join at first, so that h2 alone makes up the storage.
#[test]
fn lab_a_killed_join_goes_on_and_its_volume_grows() {
    if !usable("lab_a_killed_join_goes_on_and_its_volume_grows") {
        return;
    }
    let cluster = Cluster::up("e2e-grow", 3);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    a_join_killed_at_every_step_goes_on(&cluster, 2);
    one_brick_becomes_three_copies(&cluster);
}

/// Runs a join in host `n` that is killed with SIGKILL as soon as it says `word`; returns what it said until then.
fn join_killed_at(cluster: &Cluster, n: u8, word: &str) -> Ended {
    // In the host itself, so that nothing but a pipe lies between the word and the kill.
    let script = r#"
        exec 3< <(CLUSTERCTL_TOKEN="$2" exec clusterctl node join --master "$0" 2>&1 >/dev/null)
        join=$!
        while read -r line <&3; do
            printf '%s\n' "$line"
            case "$line" in *"$1"*) kill -KILL $join && exit 0 ;; esac
        done
        echo "it ended without a word of it"
        exit 9"#;
    let invocation =
        cluster.lab.invocation(n, &["bash", "-c", script, &cluster.master(), word, cluster.token.get().unwrap()]);
    run(invocation.deadline(PATIENCE * 2)).unwrap().into()
}

/// Covers FAULTS 4.2: whatever step a join is killed in, joining again ends where an unhindered one does.
fn a_join_killed_at_every_step_goes_on(cluster: &Cluster, n: u8) {
    let steps = [
        "registering with the controller",
        "make the directory",
        "join the Swarm",
        "waiting: ",
        "make the mount",
        "mount `shared`",
    ];
    let mut killed = 0;
    for step in steps {
        let join = join_killed_at(cluster, n, step);
        println!("killed at `{step}`: {:?}, {:?}", join.code, cluster.swarm_nodes());
        // Steps side by side: one may be done before the process is killed in the other.
        killed += u32::from(join.code == Some(0));
        assert!(join.code == Some(0) || join.code == Some(9), "{step}: {join:?}");
    }
    assert!(killed >= 4, "the join was killed only {killed} times");
    cluster.join(n, &[]).succeeded();
    cluster.nothing_to_do(n);
    cluster.expect_mounted(n);
    let own = |state: &str| cluster.swarm_nodes().iter().filter(|node| **node == format!("h{n} {state}")).count();
    wait_for("exactly one ready entry of the host", PATIENCE, || own("Ready") == 1);
    let status = cluster.status();
    // The master's own host registers itself.
    assert_eq!(status["NodesTotal"], 2, "{status}");
    // What a join that was killed in Docker's hands may leave on the Swarm's list is named, not hidden.
    let left_over = cluster.swarm_nodes().len() - 2;
    assert!(left_over <= 1, "{:?}", cluster.swarm_nodes());
    assert_eq!(status["Unregistered"].as_array().unwrap().len(), left_over, "{status}");
}

/// Covers S2-73: a volume of one brick with a file on it takes two more bricks and copies the file.
fn one_brick_becomes_three_copies(cluster: &Cluster) {
    let info = cluster.volume_info();
    assert!(info.contains("Number of Bricks: 1\n"), "{info}");
    cluster.lab.ok(2, &["sh", "-c", &format!("seq 1 200000 >{MOUNT}/before && sync {MOUNT}/before")]);
    let sum = |n: u8| cluster.lab.exec(n, &["sha256sum", &format!("{MOUNT}/before")]).stdout_text().to_owned();
    let before = sum(2);
    assert!(before.contains(MOUNT), "{before}");

    cluster.join_together(&[1, 3]);
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    for n in 1..=3 {
        cluster.expect_mounted(n);
        assert_eq!(sum(n), before, "h{n}");
    }
    cluster.expect_healed();
    // Each brick has the file: any two hosts may go.
    for n in 1..=3 {
        let copy = cluster.lab.ok(n, &["sha256sum", &format!("{}/before", super::BRICK)]);
        assert_eq!(copy.split(' ').next(), before.split(' ').next(), "the copy on h{n}");
    }
    // Who joined while there was one brick learns of the others, for its next boot, when it joins again.
    for n in 1..=3 {
        let again = cluster.join(n, &[]).succeeded();
        assert!(again.done().iter().all(|step| *step == "make the mount"), "{again:?}");
        cluster.nothing_to_do(n);
    }
}
