//! A create that came to nothing leaves marks on bricks; they are cleaned and the volume comes about.

use clusterctl::providers::gluster::StoragePool;

use super::*;
use crate::fakes::gluster::Fault;
use crate::world::{brick_path, until};

/// Waits for the n-th change of the pool to be a create, wedges it, and expects the joins to get through all the same.
#[tokio::test]
async fn a_wedged_create_heals_itself() {
    let mut worlds = JoinSet::new();
    for n in 1..=24 {
        worlds.spawn(async move {
            let world = World::started(3, Settings::default()).await;
            world.gluster.fail_call(n, Fault::Wedged);
            let steps = join_all(&world).await;
            world.volume_of(3).await;
            join_all(&world).await;
            world.check_invariants().await;
            assert_at_rest(&world).await;
            steps.iter().flatten().filter(|step| matches!(step, Step::ResetBrick { .. })).count()
        });
    }
    let cleaned = worlds.join_all().await;
    assert!(cleaned.iter().any(|bricks| *bricks > 0), "no run met the create: {cleaned:?}");
}

/// Marks that no intent of the controller accounts for are somebody else's.
#[tokio::test]
async fn the_mark_of_another_volume_stays() {
    let world = World::started(1, Settings::default()).await;
    let host = &world.hosts[0];
    let joining = tokio::spawn({
        let host = host.clone();
        async move { host.join(Some(Role::Manager), Duration::from_secs(2)).await }
    });
    until("the brick is made", async || host.hand.has_brick(&brick_path()).then_some(())).await;
    let mark = "22222222-0000-4000-8000-000000000002";
    world.gluster.mark(host.address, brick_path().as_str(), mark);
    world.gluster.pool(host.address).peers().await.unwrap();
    drop(joining.await.unwrap());
    assert_eq!(world.gluster.mark_of(host.address, brick_path().as_str()).as_deref(), Some(mark));
}
