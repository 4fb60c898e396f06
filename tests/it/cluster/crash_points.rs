//! The built program dies, fails or hangs at every step of a join, with the real Docker and GlusterFS: the next run gets
//! through, and what holds after every fault holds.
//!
//! J6 has nothing to do on these hosts: they need no overlay network. J16 to J18 are steps of a later time.

mod controller;

use super::{BRICK, Cluster, Ended, MOUNT, PATIENCE};
use crate::lab::{run, usable, wait_for};

/// What is armed, and how a join ends that meets it as an error: converged, since trying again helps, or with that code
/// and reason.
const POINTS: [(&str, Option<(i32, &str)>); 13] = [
    ("J1", Some((17, "node-key"))),
    ("J2", Some((12, "no-address"))),
    ("J3", None),
    ("J4", None),
    ("J5", None),
    ("J7", None),
    ("J8", None),
    ("J8@2", None),
    ("J9", None),
    ("J10", Some((17, "host-not-writable"))),
    ("J10@2", Some((17, "host-not-writable"))),
    ("J15", None),
    ("J15@2", None),
];

/// J1, J2, J3, J4, J5, J7, J8, J9, J10, J15: h1 to h3 hold the volume; h4 and h5 go through half of the points each, as hosts that have never been there.
#[test]
fn lab_a_join_that_breaks_off_anywhere_is_taken_up_again() {
    if !usable("lab_a_join_that_breaks_off_anywhere_is_taken_up_again") {
        return;
    }
    let cluster = Cluster::up("e2e-crash", 5);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("--admission open");
    cluster.join_together(&[1, 2, 3]);
    cluster.write_shared(1, "canary", "kept");
    std::thread::scope(|scope| {
        for n in [4, 5] {
            let cluster = &cluster;
            scope.spawn(move || {
                for (point, error) in POINTS.into_iter().skip(usize::from(n) % 2).step_by(2) {
                    for action in ["abort", "error", "hang"] {
                        breaks_off_and_is_taken_up(cluster, n, point, action, error);
                    }
                }
            });
        }
    });
    // One live entry for each, whatever became of the others.
    cluster.expect_ready(&[1, 2, 3, 4, 5]);
    cluster.expect_three_copies([1, 2, 3]);
    assert_eq!(cluster.status()["NodesTotal"], 5);
    for n in 1..=5 {
        cluster.nothing_to_do(n);
        assert_eq!(cluster.lab.ok(n, &["cat", &format!("{MOUNT}/canary")]), "kept", "h{n}");
    }
}

fn breaks_off_and_is_taken_up(cluster: &Cluster, n: u8, point: &str, action: &str, error: Option<(i32, &str)>) {
    // Back to a host that has never been there, so that every point is met.
    let leave = "clusterctl node leave && rm -rf /var/lib/clusterctl/node /data/clusterctl";
    cluster.lab.ok(n, &["sh", "-c", leave]);
    let armed = point.split_once('@').map_or_else(|| format!("{point}:{action}"), |(p, n)| format!("{p}:{action}@{n}"));
    let ended = join_armed(cluster, n, &armed);
    let said = format!("h{n}, {armed}: {ended:?}");
    match (action, error) {
        ("abort", _) => assert_eq!(ended.code, Some(128 + 6), "{said}"),
        // What blocks its thread nothing ends but a signal.
        ("hang", _) if matches!(point, "J1" | "J2") => assert_eq!(ended.code, Some(128 + 9), "{said}"),
        ("hang", _) => {
            assert_eq!(ended.code, Some(10), "{said}");
            assert!(ended.stderr.contains("result=waiting reason=timed-out"), "{said}");
        }
        (_, Some((code, reason))) => {
            assert_eq!(ended.code, Some(code), "{said}");
            assert!(ended.stderr.contains(&format!("reason={reason} ")), "{said}");
        }
        (_, None) => assert_eq!(ended.code, Some(0), "{said}"),
    }
    assert!(ended.stderr.contains("a failpoint is reached"), "{said}");
    cluster.join(n, &[]).succeeded();
    cluster.nothing_to_do(n);
    cluster.expect_mounted(n);
    assert!(cluster.lab.exec(n, &["test", "-d", BRICK]).success(), "{said}");
    let hostname = format!("h{n}");
    wait_for(&format!("{hostname} is ready, once"), PATIENCE, || {
        let ready = format!("{hostname} Ready");
        cluster.swarm_nodes().iter().filter(|node| **node == ready).count() == 1
    });
    let state = cluster.row(&hostname);
    assert_eq!((&state["Swarm"], &state["Finding"]), (&"ready".into(), &"".into()), "{said}");
}

/// A join of a program that has the point armed. What blocks its thread is past being asked to end, hence `timeout`.
fn join_armed(cluster: &Cluster, n: u8, armed: &str) -> Ended {
    let (patience, kill) = if armed.contains("hang") { ("4s", "12") } else { ("60s", "90") };
    let script = "CLUSTERCTL_FAIL=$0 timeout -s KILL $3 clusterctl node join --master $1 --timeout $2; exit $?";
    let argv = ["sh", "-c", script, armed, &cluster.master(), patience, kill];
    run(cluster.lab.invocation(n, &argv).deadline(PATIENCE)).unwrap().into()
}
