//! What nodes are told while the Swarm is away, and that a start refuses what would be wrong.

use clusterctl::controller::command::StorageRecord;
use clusterctl::controller::serve::ServeError;
use clusterctl::providers::swarm::SwarmEngine;

use super::*;
use crate::world::{DEADLINE, until};

/// What a node needs for its brick is said although it has to wait.
fn assert_waits(reply: &Value, reason: &str) {
    assert_eq!((&reply["Status"], &reply["Reason"]), (&json!("waiting"), &json!(reason)), "{reply}");
    assert_eq!((&reply["SwarmJoinToken"], &reply["GlusterEnabled"]), (&json!(""), &json!(true)), "{reply}");
    assert!(!reply["GlusterBrick"].as_str().unwrap().is_empty() && !reply["Message"].as_str().unwrap().is_empty());
}

/// C13: Docker that is stopped on the master holds nobody's brick up, and its return is noticed.
#[tokio::test]
async fn without_docker_on_the_master_nodes_wait() {
    let mut world = World::started(2, Settings::default()).await;
    world.stop().await;
    world.hosts[0].engine.set_up(false);
    world.start().await;
    let request = world.hosts[1].registration();
    assert_waits(&world.ask(&request).await, "swarm-unavailable");
    let wait = with(request, json!({"WaitMs": 20_000}));
    let (reply, ()) = tokio::join!(world.ask(&wait), async {
        let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 1).then_some(());
        until("one waits", held).await;
        world.hosts[0].engine.set_up(true);
    });
    assert_eq!(reply["Status"], "ready", "{reply}");
}

/// A controller on a host without a Swarm says what to do.
#[tokio::test]
async fn without_a_swarm_nodes_wait() {
    let mut world = World::new(2, Settings::default());
    world.start().await;
    let reply = world.ask(&world.hosts[1].registration()).await;
    assert_waits(&reply, "swarm-unavailable");
    assert!(reply["Message"].as_str().unwrap().contains("clusterctl master init"), "{reply}");
}

/// A Swarm that lost its leader is told from one that is not there.
#[tokio::test]
async fn without_a_leader_nodes_wait() {
    let mut world = World::started(4, Settings::default()).await;
    for host in &world.hosts[1..3] {
        host.join(Some(clusterctl::cluster::Role::Manager), DEADLINE).await.unwrap();
    }
    for host in &world.hosts[1..3] {
        host.engine.set_connected(false);
    }
    world.restart().await;
    assert_waits(&world.ask(&world.hosts[3].registration()).await, "swarm-no-leader");
}

/// C7: answering from an empty state beside a Swarm of many would be wrong.
#[tokio::test]
async fn an_empty_state_beside_a_large_swarm_is_refused() {
    let mut world = World::new(2, Settings::default());
    world.hosts[0].engine.init(world.hosts[0].address).await.unwrap();
    let tokens = world.hosts[0].engine.join_tokens().await.unwrap();
    let join = clusterctl::providers::swarm::Join {
        token: tokens.worker,
        managers: vec!["10.0.0.1:2377".to_owned()],
        advertise: world.hosts[1].address,
    };
    world.hosts[1].engine.join(&join).await.unwrap();
    assert!(matches!(world.try_start().await, Err(ServeError::EmptyState { members: 2 })));
}

/// Settings of the volume are fixed once nodes hold bricks for it.
#[tokio::test]
async fn a_volume_with_bricks_keeps_its_settings() {
    let mut world = World::started(2, Settings::default()).await;
    world.ask(&world.hosts[1].registration()).await;
    world.stop().await;
    let recorded = world.settings.storage.clone().unwrap();
    world.settings.storage = Some(StorageRecord { replica: 2, ..recorded.clone() });
    assert!(matches!(world.try_start().await, Err(ServeError::StorageDiffers { field: "gluster.replica", .. })));
    world.settings.storage = Some(StorageRecord { allow_root_brick: true, ..recorded });
    // The one that did not start lets go of the state as its process ends, which here goes on.
    until("the controller starts", async || world.try_start().await.ok()).await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["GlusterAllowRootBrick"], true);
}

/// C8: a second controller on the same state stays out, and the first one goes on.
#[tokio::test]
async fn one_controller_for_one_state() {
    let world = World::started(2, Settings::default()).await;
    world.init().await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
}
