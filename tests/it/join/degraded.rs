//! Servers of the pool that hang or are gone: who is known goes on, who is new waits.

use clusterctl::converge::plan::Refusal;
use clusterctl::providers::gluster::Brick;
use clusterctl::providers::mounts::ProbeResult;

use super::*;
use crate::world::{brick_path, mount_point, until};

/// G7: a server that hangs holds up the access list, and so only those who are not on it yet.
#[tokio::test]
async fn a_hung_server_holds_up_new_hosts_only() {
    let mut world = World::started(4, Settings::default()).await;
    for host in &world.hosts[..3] {
        join(host).await.unwrap();
    }
    until("three bricks", async || world.volume().filter(|volume| volume.bricks.len() == 3)).await;
    join(&world.hosts[1]).await.unwrap();
    world.gluster.set_hung(world.hosts[2].address, true);
    world.hosts[1].hand.lose_mounts();
    assert_eq!(names(&join(&world.hosts[1]).await.unwrap().done), ["mount"]);
    let new = world.hosts[3].clone();
    let joining = tokio::spawn(async move { join(&new).await });
    // It stays on record for that, and not for the change in progress that it is from then on.
    let says = |status: &serde_json::Value| status["Volume"]["Message"].as_str().unwrap_or_default().to_owned();
    let told = async || Some(says(&world.status().await)).filter(|text| text.contains("a peer may hang")).map(drop);
    until("the status says why", told).await;
    assert_eq!(world.status().await["Volume"]["State"], "degraded");
    let calls = world.gluster.calls();
    until("it is looked at again", async || (world.gluster.calls() > calls + 4).then_some(())).await;
    assert!(says(&world.status().await).contains("a peer may hang"));
    assert_eq!(world.hosts[3].hand.mounted(&mount_point()), None);
    world.gluster.set_hung(world.hosts[2].address, false);
    joining.await.unwrap().unwrap();
    world.restart().await;
    join_all(&world).await;
    world.volume_of(3).await;
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// One server of three that is gone leaves a volume that can be mounted by those who had mounted it.
#[tokio::test]
async fn a_server_that_is_gone_is_done_without() {
    let mut world = converged(3, 3).await;
    world.gluster.set_up(world.hosts[2].address, false);
    world.restart().await;
    world.hosts[1].hand.lose_mounts();
    assert_eq!(names(&join(&world.hosts[1]).await.unwrap().done), ["mount"]);
    world.gluster.set_up(world.hosts[2].address, true);
    world.restart().await;
    assert_at_rest(&world).await;
}

/// G11: a brick whose process died is started by the next join of its host, with the one force that is allowed.
#[tokio::test]
async fn a_dead_brick_is_started() {
    let world = converged(3, 3).await;
    let dead = Brick::at(world.hosts[1].address, &brick_path());
    world.gluster.kill_brick(&dead);
    join(&world.hosts[1]).await.unwrap();
    let started = async || world.gluster.history().contains(&"start force=true".to_owned()).then_some(());
    until("the brick is started", started).await;
    world.check_invariants().await;
    assert_eq!(world.hosts[1].hand.mounted(&mount_point()).unwrap().1, ProbeResult::ReadWrite);
    assert_at_rest(&world).await;
}

/// G8: a volume that somebody made by hand is neither taken over nor changed.
#[tokio::test]
async fn a_volume_of_the_same_name_is_left_alone() {
    use clusterctl::providers::gluster::{NewVolume, StoragePool};
    let world = World::new(2, Settings::default());
    let pool = world.gluster.pool(world.hosts[0].address);
    let by_hand = NewVolume {
        name: crate::world::volume_name(),
        replica: 1,
        arbiter: 0,
        bricks: vec![Brick { host: world.hosts[0].address.to_string(), path: "/data/by-hand".to_owned() }],
        force: false,
    };
    pool.create(&by_hand).await.unwrap();
    let (before, history) = (world.volume(), world.gluster.history());
    let mut world = world;
    world.init().await;
    world.start().await;
    let error = world.hosts[1].join(None, Duration::from_millis(800)).await.unwrap_err();
    let JoinError::Host(refusals) = &error else { panic!("{error:?}") };
    assert!(matches!(&refusals[..], [Refusal::Storage { code, .. }] if code == "other-volume"), "{error:?}");
    assert!(chain(&error).contains("/data/by-hand"), "{}", chain(&error));
    assert_eq!((world.volume(), world.gluster.history()), (before, history));
}
