//! Any number of hosts in any order become one cluster.

use clusterctl::providers::mounts::ProbeResult;

use super::*;
use crate::world::{mount_point, until, until_so};

/// How many bricks the volume ends up with.
fn bricks_for(hosts: usize) -> usize {
    if hosts < 3 { 1 } else { hosts / 3 * 3 }
}

/// Joins all hosts, some before and some after the controller is there, and looks at what became of it.
async fn cluster(count: usize, seed: u64, controller_first: bool) {
    let mut world = World::new(count, Settings::default());
    world.init().await;
    if controller_first {
        world.start().await;
    }
    let joins = begin_all(&world, &mut Dice(seed), DEADLINE);
    if !controller_first {
        world.turn_away(count).await;
        world.start().await;
    }
    for (at, outcome) in outcomes(joins).await.into_iter().enumerate() {
        let joined = outcome.unwrap_or_else(|error| panic!("h{} of {count}: {}", at + 1, chain(&error)));
        let words = (joined.role.as_str(), joined.volume.as_str(), joined.mount.as_str());
        let role = if at == 0 { "manager" } else { "worker" };
        assert_eq!(words, (role, "shared", mount_point().as_str()));
    }
    let volume = world.volume_of(bricks_for(count)).await;
    assert_eq!(volume.replica, if count < 3 { 1 } else { 3 });
    // Who joined while the volume was smaller learns of its other servers; nothing else is left to do.
    for steps in join_all(&world).await {
        assert!(steps.iter().all(|step| matches!(step, Step::PersistMount(_))), "{steps:?}");
    }
    for host in &world.hosts {
        assert_eq!(host.hand.mounted(&mount_point()).unwrap().1, ProbeResult::ReadWrite, "{}", host.name);
        let servers = host.hand.at_boot(&mount_point()).unwrap().servers;
        assert_eq!(servers.len(), bricks_for(count), "{}", host.name);
        let own = volume.bricks.iter().any(|brick| brick.host == host.address.to_string());
        assert_eq!(servers[0] == host.address.to_string(), own, "{} mounts from itself if it can", host.name);
    }
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// S2-13, S2-65 to S2-68, S2-72 to S2-76, N3: one command per host, whatever the number and order of the hosts.
#[tokio::test]
async fn every_number_of_hosts_converges() {
    let mut clusters = JoinSet::new();
    for (seed, count) in (1..).zip([1, 2, 3, 4, 6, 7]) {
        clusters.spawn(cluster(count, seed * 0x9e37, true));
    }
    clusters.join_all().await;
}

/// S2-63: hosts that come before the controller wait for it.
#[tokio::test]
async fn hosts_may_come_before_the_controller() {
    let mut clusters = JoinSet::new();
    for (seed, count) in (1..).zip([1, 2, 3, 4, 6, 7]) {
        clusters.spawn(cluster(count, seed * 0x51ed, false));
    }
    clusters.join_all().await;
}

/// S2-61, S2-63: a controller that is restarted while hosts join holds nobody up for good.
#[tokio::test]
async fn a_restart_in_between_is_survived() {
    let mut worlds = JoinSet::new();
    for seed in 1..=6_usize {
        worlds.spawn(async move {
            let mut world = World::started(3, Settings::default()).await;
            let joins = begin_all(&world, &mut Dice(seed as u64 * 0xabcd), DEADLINE);
            // Every run after another change, of the dozen and more that it takes.
            for changes in [seed, seed + 5] {
                until_so(&format!("{changes} changes"), || mutations(&world) >= changes).await;
                world.restart().await;
            }
            for outcome in outcomes(joins).await {
                outcome.unwrap_or_else(|error| panic!("seed {seed}: {}", chain(&error)));
            }
            world.volume_of(3).await;
            join_all(&world).await;
            world.check_invariants().await;
            assert_at_rest(&world).await;
        });
    }
    worlds.join_all().await;
}

/// S2-43 to S2-45, S2-60: a minimum lets all in at the same time.
#[tokio::test]
async fn a_minimum_is_waited_for() {
    let need = clusterctl::controller::command::Thresholds { managers: 1, workers: 2 };
    let world = World::started(3, Settings { need: Some(need), ..Settings::default() }).await;
    let first = tokio::spawn({
        let host = world.hosts[1].clone();
        async move { join(&host).await }
    });
    let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 1).then_some(());
    until("h2 waits", held).await;
    assert_eq!(world.hosts[1].mutations(), 0);
    join_all(&world).await;
    first.await.unwrap().unwrap();
    world.check_invariants().await;
}

/// S2-75: without the shared volume a join is about the Swarm alone.
#[tokio::test]
async fn without_storage_only_the_swarm_is_joined() {
    let world = World::started(3, Settings { storage: None, ..Settings::default() }).await;
    for (at, steps) in join_all(&world).await.iter().enumerate() {
        assert_eq!(names(steps), if at == 0 { vec![] } else { vec!["join"] });
    }
    assert_eq!(world.gluster.calls(), 0);
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// S2-34: managers and workers as they are asked for.
#[tokio::test]
async fn roles_are_as_asked() {
    let world = World::started(3, Settings { storage: None, ..Settings::default() }).await;
    world.hosts[1].join(Some(Role::Manager), DEADLINE).await.unwrap();
    world.hosts[2].join(Some(Role::Worker), DEADLINE).await.unwrap();
    let managers: Vec<bool> = world.engines().await.iter().map(|engine| engine.manager).collect();
    assert_eq!(managers, [true, true, false]);
}
