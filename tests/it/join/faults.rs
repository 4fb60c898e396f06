//! Many failures in one cluster, on the real network: joining until all is well gets there. One failure at a time, of
//! every call in turn, is `nth_failure`'s.

use super::*;
use crate::fakes::gluster::Fault;
use crate::fakes::host::Hand;
use crate::fakes::swarm::Failure;

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
