//! A join that dies, fails or hangs at any of its steps: the next one gets through, and what holds after every fault
//! holds. To die is here to be dropped at the point: nothing that comes after it is done.
//!
//! J1 and J2 are passed before what these tests begin with, J11 to J14 by the controller: for them, and for processes
//! that really die, see `cluster::crash_points`.

use clusterctl::failpoint;

use super::*;

/// Points of the join itself, and how often each is passed at least. A later question that hangs is not waited for while
/// there is something to look at on the host.
const POINTS: [(&str, u32); 8] =
    [("J3", 1), ("J4", 1), ("J5", 1), ("J7", 2), ("J8", 2), ("J9", 1), ("J10", 2), ("J15", 2)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Dies,
    Fails,
    Hangs,
}

/// How long the join that hangs may take: all of the points are reached by then.
const SHORT: Duration = Duration::from_secs(4);

async fn break_off(host: &Host, point: &str, turn: u32, ending: Ending) {
    let what = format!("{point}@{turn} {ending:?}");
    let hang = format!("{point}:hang@{turn}");
    match ending {
        Ending::Dies => {
            let join = failpoint::armed(&hang, host.join(None, DEADLINE));
            let ended = tokio::time::timeout(SHORT, join).await;
            assert!(ended.is_err(), "{what}: the point was not reached: {ended:?}");
        }
        Ending::Fails => {
            let error = format!("{point}:error@{turn}");
            match failpoint::armed(&error, host.join(None, DEADLINE)).await {
                // A failure that passes is waited out.
                Ok(_) => assert_ne!(point, "J10", "a disk that cannot be written to is said"),
                Err(error) => assert!(matches!(error, JoinError::Step(_)), "{what}: {}", chain(&error)),
            }
        }
        Ending::Hangs => {
            let error = failpoint::armed(&hang, host.join(None, SHORT)).await.expect_err(&what);
            assert!(matches!(error, JoinError::Overdue { .. }), "{what}: {}", chain(&error));
        }
    }
}

/// Three hosts, the second of which has to join twice.
async fn join_twice(point: &str, turn: u32, ending: Ending) {
    let world = World::started(3, Settings::default()).await;
    let mut others = JoinSet::new();
    for host in [&world.hosts[0], &world.hosts[2]] {
        let host = host.clone();
        others.spawn(async move { join(&host).await.map(drop) });
    }
    break_off(&world.hosts[1], point, turn, ending).await;
    join(&world.hosts[1]).await.unwrap_or_else(|error| panic!("{point}@{turn} {ending:?}: {}", chain(&error)));
    for outcome in others.join_all().await {
        outcome.unwrap();
    }
    world.volume_of(3).await;
    assert_eq!(world.status().await["NodesTotal"], 3);
    join_all(&world).await;
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

async fn at_every_point(ending: Ending) {
    let mut runs = JoinSet::new();
    for (point, turns) in POINTS {
        for turn in 1..=turns {
            runs.spawn(join_twice(point, turn, ending));
        }
    }
    runs.join_all().await;
}

/// J3, J4, J5, J7, J8, J9, J10, J15.
#[tokio::test]
async fn a_join_that_dies_is_taken_up_again() {
    at_every_point(Ending::Dies).await;
}

/// J3, J4, J5, J7, J8, J9, J10, J15.
#[tokio::test]
async fn a_step_that_fails_is_said_or_tried_again() {
    at_every_point(Ending::Fails).await;
}

/// J3, J4, J5, J7, J8, J9, J10, J15, I9: nothing outlasts the time that a join is given.
#[tokio::test]
async fn a_step_that_hangs_ends_with_the_join() {
    at_every_point(Ending::Hangs).await;
}
