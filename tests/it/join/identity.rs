//! Who a host is, when its name or address changes, or when it is there twice.

use clusterctl::cluster::Hostname;
use clusterctl::nodeagent::conversation::ConversationError;
use clusterctl::nodeagent::facts::RunningSystem;

use super::*;
use crate::world::address;

/// N12: the same node under another name, counted once; nothing in the pool or on its host is done about it.
#[tokio::test]
async fn another_name_is_the_same_node() {
    let world = converged(3, 3).await;
    let (before, pool) = (world.status().await, world.gluster.mutations());
    let mut host = world.hosts[1].clone();
    host.name = Hostname::parse("renamed").unwrap();
    assert_eq!(names(&join(&host).await.unwrap().done), Vec::<&str>::new());
    let after = world.status().await;
    assert_eq!((&after["NodesTotal"], &after["Gate"]), (&before["NodesTotal"], &before["Gate"]));
    let row = after["Nodes"].as_array().unwrap().iter().find(|row| row["Hostname"] == "renamed").unwrap();
    assert_eq!((&row["NodeId"], &row["Swarm"]), (&host.node_id().to_string().into(), &"ready".into()));
    assert_eq!(world.gluster.mutations(), pool, "the pool knows it by its address");
}

/// N13: a host that holds no brick registers its new address, may mount from there before it tries, and is told that its
/// Docker goes by the old one.
#[tokio::test]
async fn another_address_is_the_same_node() {
    let world = World::started(4, Settings::default()).await;
    for host in &world.hosts[..3] {
        join(host).await.unwrap();
    }
    world.volume_of_listed(3, &[1, 2, 3]).await;
    join(&world.hosts[3]).await.unwrap();
    let mut moved = world.hosts[3].clone();
    moved.address = address(44);
    moved.hand.lose_mounts();
    moved.hand.move_to(address(44));
    let joined = join(&moved).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(names(&joined.done), ["mount"]);
    assert_eq!(joined.findings.iter().map(|finding| finding.word()).collect::<Vec<_>>(), ["needs-docker-restart"]);
    let volume = world.volume_of_listed(3, &[1, 2, 3, 44]).await;
    assert_eq!(volume.bricks.len(), 3);
    let status = world.status().await;
    assert_eq!(status["NodesTotal"], 4);
    assert!(status.to_string().contains("needs-docker-restart"), "{status}");
}

/// N13, I6: a host that holds a brick is known by its address; it keeps what it has.
#[tokio::test]
async fn the_address_of_a_brick_does_not_change() {
    let world = converged(3, 3).await;
    let (mut moved, before) = (world.hosts[1].clone(), world.volume());
    moved.address = address(44);
    let error = join(&moved).await.unwrap_err();
    let refused =
        matches!(&error, JoinError::Conversation(ConversationError::Refused { code, .. }) if code == "brick-address");
    assert!(refused, "{error:?}");
    assert_eq!(world.volume(), before);
}

/// N14: a copy of a host's disk runs beside the original. Neither is listened to; when the copy is silent for a minute
/// the original is again.
#[tokio::test]
async fn a_copied_disk_is_noticed() {
    let world = converged(3, 3).await;
    let (original, mut copy) = (world.hosts[1].clone(), world.hosts[1].clone());
    copy.running = RunningSystem { boot_id: "0a11".into(), ..copy.running };
    join(&copy).await.unwrap();
    let before = (mutations(&world), world.sequence().await);
    for host in [&original, &copy, &original] {
        let error = join(host).await.unwrap_err();
        let JoinError::Conversation(ConversationError::Refused { code, hint, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(code == "cloned-host" && hint.contains("/var/lib/clusterctl/node"), "{error:?}");
    }
    assert_eq!((mutations(&world), world.sequence().await), before);
    join(&world.hosts[2]).await.unwrap();
}
