//! C7: a controller that lost its state is given the Swarm and the volume back as they are, and its nodes take their
//! places over.

use clusterctl::cluster::{Admission, Role};
use clusterctl::controller::adopt::Because;
use clusterctl::controller::init::InitError;
use clusterctl::controller::serve::ServeError;
use clusterctl::controller::state::StorageRole;
use clusterctl::nodeagent::client;
use clusterctl::nodeagent::history::Heard;
use clusterctl::protocol::registration::RawRequest;
use clusterctl::protocol::reply::Status;
use clusterctl::providers::swarm::SwarmEngine;

use super::*;
use crate::world::DEADLINE;

/// A cluster of four with a volume of three bricks, whose controller lost its state and kept its CA.
async fn lost() -> World {
    let mut world = World::started(4, Settings::default()).await;
    for joined in futures_util::future::join_all(world.hosts.iter().map(|host| host.join(None, DEADLINE))).await {
        joined.unwrap();
    }
    world.volume_of(3).await;
    world.stop().await;
    std::fs::remove_file(world.state_dir().join("state.redb")).unwrap();
    world
}

/// Nothing changes in Swarm and volume; every host is counted once before and after it comes again, and comes in with a
/// token alone.
#[tokio::test]
async fn the_registry_comes_back_out_of_the_swarm() {
    let mut world = lost().await;
    assert!(matches!(world.try_start().await, Err(ServeError::StateLost { .. })));
    let before = (world.volume(), world.hosts.iter().map(Host::mutations).collect::<Vec<_>>());
    let adopted = world.adopt().await.unwrap();
    let mut found: Vec<_> =
        adopted.adopted.nodes.iter().map(|one| (one.node.hostname.as_str(), one.node.role, one.storage)).collect();
    found.sort_unstable_by_key(|(name, ..)| *name);
    let expected = [
        ("h2", Role::Worker, StorageRole::Brick),
        ("h3", Role::Worker, StorageRole::Brick),
        ("h4", Role::Worker, StorageRole::Client),
    ];
    assert_eq!(found, expected);
    assert!(adopted.created && adopted.token.is_some() && adopted.adopted.left_out.is_empty(), "{adopted:?}");
    // Once more adopts nobody.
    let again = world.adopt().await.unwrap();
    assert!(!again.created && again.adopted.nodes.is_empty() && again.token.is_none(), "{again:?}");

    world.settings.admission = Admission::Token;
    world.settings.storage = None;
    world.as_recorded = true;
    world.start().await;
    let status = world.status().await;
    assert_eq!((&status["NodesTotal"], &status["Volume"]["Name"]), (&json!(4), &json!("shared")), "{status}");
    let clients: Vec<_> =
        status["Nodes"].as_array().unwrap().iter().map(|row| row["Client"].as_str().unwrap()).collect();
    assert_eq!(clients.iter().filter(|client| **client == "none yet").count(), 3, "{clients:?}");

    let made = world.ask_locally(&json!({"Action": "token-create"})).await;
    for host in &world.hosts[1..] {
        let request: RawRequest = serde_json::from_value(host.registration()).unwrap();
        let without = client::ask(&host.link(), &request).await.unwrap().reply;
        assert_ne!(without.status, Status::Ready, "{without:?}");
        let request = RawRequest { token: made["Token"].as_str().unwrap().to_owned(), ..request };
        let with = client::ask(&host.link(), &request).await.unwrap().reply;
        assert_eq!(with.status, Status::Ready, "{with:?}");
        host.join(None, DEADLINE).await.unwrap();
    }
    let status = world.status().await;
    assert_eq!((&status["NodesTotal"], &status["Gate"]["Workers"]), (&json!(4), &json!(3)), "{status}");
    let rows = status["Nodes"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["Client"] == "clusterctl"), "{status}");
    assert_eq!((world.volume(), world.hosts.iter().map(Host::mutations).collect::<Vec<_>>()), before);
    world.check_invariants().await;
}

/// Two entries of one name are one host: the one that is there.
#[tokio::test]
async fn what_is_left_over_in_the_swarm_is_named() {
    let world = lost().await;
    world.hosts[3].engine.leave_by_hand().await;
    let tokens = world.hosts[0].engine.join_tokens().await.unwrap();
    let managers = vec!["10.0.0.1:2377".to_owned()];
    let join = clusterctl::providers::swarm::Join { token: tokens.worker, managers, advertise: world.hosts[3].address };
    world.hosts[3].engine.join(&join).await.unwrap();
    let outcome = world.adopt().await.unwrap();
    let left: Vec<_> = outcome.adopted.left_out.iter().map(|one| (one.hostname.as_str(), one.because)).collect();
    assert_eq!(left, [("h4", Because::Duplicate)]);
    assert_eq!(outcome.adopted.nodes.len(), 3, "{outcome:?}");
}

/// Where there is nothing to adopt, or a controller runs, nothing is made.
#[tokio::test]
async fn only_a_swarm_of_ones_own_is_adopted() {
    let world = World::new(2, Settings::default());
    assert!(matches!(world.adopt().await, Err(InitError::NoSwarm)));
    assert!(!world.state_dir().exists());
    let world = World::started(2, Settings::default()).await;
    assert!(matches!(world.adopt().await, Err(InitError::Running)));
}

/// P8: a node that has seen a later state, or another history, says so, is joined all the same, and says so once.
#[tokio::test]
async fn a_node_notices_that_its_controller_went_back() {
    let mut world = World::started(2, Settings { storage: None, ..Settings::default() }).await;
    let joined = world.hosts[1].join(None, DEADLINE).await.unwrap();
    let finding = async |world: &World| {
        let status = world.status().await;
        let row = status["Nodes"].as_array().unwrap().iter().find(|row| row["Hostname"] == "h2").unwrap().clone();
        row["Finding"].as_str().unwrap().to_owned()
    };
    let heard = |incarnation: &str, revision: u64| {
        let (cluster_id, incarnation) = (joined.cluster_id.clone(), incarnation.to_owned());
        Some(Heard { cluster_id, incarnation, revision })
    };
    for (before, word) in [(heard("", 99_999), "older state"), (heard("another", 1), "restored from a backup")] {
        world.hosts[1].heard = before;
        let again = world.hosts[1].join(None, DEADLINE).await.unwrap();
        assert!(again.done.is_empty(), "{again:?}");
        let said = finding(&world).await;
        assert!(said.starts_with("controller-rollback: ") && said.contains(word), "{said}");
        assert!(said.ends_with("see `clusterctl node list`"), "it is cut: {said}");
        world.hosts[1].heard = heard(&again.incarnation, again.revision);
        world.hosts[1].join(None, DEADLINE).await.unwrap();
        assert_eq!(finding(&world).await, "");
    }
}
