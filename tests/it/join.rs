//! Whole joins: the real loop on fake hosts against a real controller.

mod converge;
#[cfg(feature = "failpoints")]
mod crash_points;
mod degraded;
mod drift;
mod faults;
mod heal;
mod identity;
mod partition;
mod removed;
mod storage;
mod swarm;

use std::time::Duration;

use clusterctl::causes::chain;
use clusterctl::cluster::Role;
use clusterctl::converge::step::Step;
use clusterctl::nodeagent::join::{JoinError, Joined};
use tokio::task::JoinSet;

use crate::world::{DEADLINE, Host, Settings, World};

/// Small numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for left in (1..count).rev() {
            order.swap(left, usize::try_from(self.below(left as u64 + 1)).unwrap());
        }
        order
    }
}

/// Begins a join on every host, in the order and with the pauses that the dice give.
fn begin_all(world: &World, dice: &mut Dice, timeout: Duration) -> JoinSet<(usize, Result<Joined, JoinError>)> {
    let mut joins = JoinSet::new();
    for at in dice.shuffled(world.hosts.len()) {
        let host = world.hosts[at].clone();
        let pause = Duration::from_millis(dice.below(40));
        joins.spawn(async move {
            tokio::time::sleep(pause).await;
            let role = if at == 0 { Some(Role::Manager) } else { None };
            (at, host.join(role, timeout).await)
        });
    }
    joins
}

/// The outcome of every join, in the order of the hosts.
async fn outcomes(joins: JoinSet<(usize, Result<Joined, JoinError>)>) -> Vec<Result<Joined, JoinError>> {
    let mut found = joins.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Joins every host at the same time; all must get through. Returns what each did.
async fn join_all(world: &World) -> Vec<Vec<Step>> {
    let mut steps = Vec::new();
    for (at, outcome) in outcomes(begin_all(world, &mut Dice(7), DEADLINE)).await.into_iter().enumerate() {
        steps.push(outcome.unwrap_or_else(|error| panic!("h{}: {}", at + 1, chain(&error))).done);
    }
    steps
}

async fn join(host: &Host) -> Result<Joined, JoinError> {
    host.join(None, DEADLINE).await
}

/// Steps by name alone.
fn names(steps: &[Step]) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::AbandonPendingJoin => "abandon",
        Step::LeaveBrokenSwarm { .. } => "give-up",
        Step::JoinSwarm(_) => "join",
        Step::PrepareBrick { .. } => "prepare",
        Step::ResetBrick { .. } => "reset",
        Step::Unmount { .. } => "unmount",
        Step::Mount(_) => "mount",
        Step::PersistMount(_) => "persist",
    };
    steps.iter().map(name).collect()
}

/// A cluster of `count` hosts that have all joined and know of all bricks.
async fn converged(count: usize, bricks: usize) -> World {
    let world = World::started(count, Settings::default()).await;
    join_all(&world).await;
    world.volume_of(bricks).await;
    join_all(&world).await;
    world
}

/// I7: joining once more does nothing, on no host, in the pool or in the controller's state.
async fn assert_at_rest(world: &World) {
    let before = world.effects().await;
    for (at, steps) in join_all(world).await.iter().enumerate() {
        assert_eq!(names(steps), Vec::<&str>::new(), "h{}", at + 1);
    }
    world.effects().await.same_as(before);
}

fn mutations(world: &World) -> usize {
    world.hosts.iter().map(Host::mutations).sum::<usize>() + world.gluster.mutations()
}
