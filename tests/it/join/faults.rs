//! Every call of every hand fails once: the join gets through or says why not, and the next one gets through.

use super::*;
use crate::fakes::gluster::Fault;
use crate::fakes::host::Hand;
use crate::fakes::swarm::Failure;

/// How many worlds live at the same time.
const WIDTH: usize = 8;

/// Fails the n-th call, for n from 1 on, until a whole run has no n-th call any more.
async fn fail_each_call(
    what: &'static str,
    arm: impl Fn(&World, usize) + Clone + Send + Sync + 'static,
    is_armed: impl Fn(&World) -> bool + Clone + Send + Sync + 'static,
) {
    for first in (1..).step_by(WIDTH) {
        assert!(first < 200, "{what}: there is no end to its calls");
        let mut runs = JoinSet::new();
        for n in first..first + WIDTH {
            let (arm, is_armed) = (arm.clone(), is_armed.clone());
            runs.spawn(async move { run_with_fault(what, n, arm, is_armed).await });
        }
        if runs.join_all().await.contains(&false) {
            return;
        }
    }
}

/// One cluster of three hosts with one fault; says whether the fault was met.
async fn run_with_fault(what: &str, n: usize, arm: impl Fn(&World, usize), is_armed: impl Fn(&World) -> bool) -> bool {
    let world = World::started(3, Settings::default()).await;
    arm(&world, n);
    for (at, outcome) in outcomes(begin_all(&world, &mut Dice(n as u64 * 31), DEADLINE)).await.into_iter().enumerate() {
        if let Err(error) = outcome {
            assert!(
                !matches!(
                    error,
                    JoinError::Conversation(_) | JoinError::VolumeUnwritable { .. } | JoinError::Directive(_)
                ),
                "{what} {n}, h{}: no clear word: {}",
                at + 1,
                chain(&error)
            );
        }
    }
    let met = !is_armed(&world);
    for (at, outcome) in outcomes(begin_all(&world, &mut Dice(n as u64 * 17), DEADLINE)).await.into_iter().enumerate() {
        // A fault that was not met the first time may be met now.
        if met && let Err(error) = outcome {
            panic!("{what} {n}, h{}, second join: {}", at + 1, chain(&error));
        }
    }
    if !met {
        return false;
    }
    world.volume_of(3).await;
    join_all(&world).await;
    world.check_invariants().await;
    assert_at_rest(&world).await;
    true
}

/// S2-67, S2-68.
#[tokio::test]
async fn docker_on_a_node() {
    for failure in [Failure::BeforeEffect, Failure::AfterEffect] {
        let arm = move |world: &World, n| world.hosts[1].engine.fail_call(n, failure);
        fail_each_call("Docker on h2", arm, |world| world.hosts[1].engine.has_failures_left()).await;
    }
}

/// S2-67, S2-68.
#[tokio::test]
async fn docker_on_the_master() {
    for failure in [Failure::BeforeEffect, Failure::AfterEffect] {
        let arm = move |world: &World, n| world.hosts[0].engine.fail_call(n, failure);
        fail_each_call("Docker on h1", arm, |world| world.hosts[0].engine.has_failures_left()).await;
    }
}

async fn hand(what: &'static str, hand: Hand) {
    for failure in [Failure::BeforeEffect, Failure::AfterEffect] {
        let arm = move |world: &World, n| world.hosts[1].hand.fail_call(hand, n, failure);
        fail_each_call(what, arm, |world| world.hosts[1].hand.has_failures_left()).await;
    }
}

/// S2-67, S2-68.
#[tokio::test]
async fn mounts() {
    hand("mounts", Hand::Mounter).await;
}

/// S2-67, S2-68.
#[tokio::test]
async fn bricks() {
    hand("bricks", Hand::Disk).await;
}

/// S2-67, S2-68.
#[tokio::test]
async fn boot_entries() {
    hand("boot entries", Hand::Boot).await;
}

async fn gluster(fault: Fault) {
    let arm = move |world: &World, n| world.gluster.fail_call(n, fault);
    fail_each_call("GlusterFS", arm, |world| world.gluster.has_faults_left()).await;
}

/// S2-67, S2-68: changes that were refused.
#[tokio::test]
async fn gluster_that_refuses() {
    gluster(Fault::Busy).await;
    gluster(Fault::DaemonDown).await;
}

/// S2-67, S2-68, G10: changes of which nobody knows whether they were made.
#[tokio::test]
async fn gluster_that_leaves_it_open() {
    gluster(Fault::TimedOut).await;
    gluster(Fault::TimedOutButDone).await;
    gluster(Fault::CommitFailedButDone).await;
}

/// S2-67, S2-68: many things at the same time, in ways that the dice choose. Joining until all is well gets there.
#[tokio::test]
async fn faults_at_random() {
    let mut runs = JoinSet::new();
    for seed in 1..=8_u64 {
        runs.spawn(async move {
            let mut dice = Dice(seed * 0x9e37_79b9);
            let count = 3 + usize::try_from(dice.below(4)).unwrap();
            let world = World::started(count, Settings::default()).await;
            for _ in 0..1 + dice.below(8) {
                let host = &world.hosts[usize::try_from(dice.below(count as u64)).unwrap()];
                let n = 1 + usize::try_from(dice.below(12)).unwrap();
                let failure = if dice.below(2) == 0 { Failure::BeforeEffect } else { Failure::AfterEffect };
                let faults = [Fault::Busy, Fault::DaemonDown, Fault::TimedOut, Fault::TimedOutButDone, Fault::Wedged];
                match dice.below(6) {
                    0 => host.engine.fail_call(n, failure),
                    1 => host.hand.fail_call(Hand::Mounter, n, failure),
                    2 => host.hand.fail_call(Hand::Disk, n, failure),
                    3 => host.hand.fail_call(Hand::Boot, n, failure),
                    _ => world.gluster.fail_call(n * 2, faults[usize::try_from(dice.below(5)).unwrap()]),
                }
            }
            let bricks = count / 3 * 3;
            let mut rounds = 0;
            loop {
                let outcomes = outcomes(begin_all(&world, &mut dice, DEADLINE)).await;
                let errors: Vec<String> =
                    outcomes.iter().filter_map(|it| it.as_ref().err()).map(|it| chain(it)).collect();
                if errors.is_empty() && world.volume().is_some_and(|volume| volume.bricks.len() == bricks) {
                    break;
                }
                rounds += 1;
                let marks: Vec<_> = world
                    .hosts
                    .iter()
                    .map(|host| world.gluster.mark_of(host.address, crate::world::brick_path().as_str()))
                    .collect();
                assert!(
                    rounds < 40,
                    "seed {seed}: {errors:?}, marks {marks:?}, status {}, history {:?}",
                    world.status().await,
                    world.gluster.history()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            world.volume_of(bricks).await;
            world.gluster.call_off_faults();
            for host in &world.hosts {
                host.engine.call_off_failures();
                host.hand.call_off_failures();
            }
            join_all(&world).await;
            world.check_invariants().await;
            assert_at_rest(&world).await;
        });
    }
    runs.join_all().await;
}
