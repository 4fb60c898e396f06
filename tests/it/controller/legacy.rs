//! Clients of the first implementation: no key, no protocol, and they mount only after their own brick is in.

use super::*;
use crate::world::{address, brick_path, until};

/// A registration as they send it.
fn legacy(n: usize) -> Value {
    json!({
        "hostname": format!("old{n}"), "role": "worker", "ip": format!("10.0.0.{n}"), "os": "linux", "cpu": 2,
        "memoryMb": 2048, "dockerVersion": "20.10.24", "glusterCapable": true, "timestamp": "0001-01-01T00:00:00Z",
    })
}

/// S2-50, S2-75: they are let in as they are, and the first set is the only one that they hold bricks for.
#[tokio::test]
async fn bricks_are_for_the_first_set_only() {
    let world = World::started(6, Settings::default()).await;
    let mut bricks = Vec::new();
    for n in 2..=5 {
        let reply = world.ask(&legacy(n)).await;
        assert_eq!(reply["Status"], "ready", "{reply}");
        bricks.push(reply["GlusterBrick"].as_str().unwrap().to_owned());
    }
    // The master holds the first one.
    let path = brick_path().to_string();
    assert_eq!(bricks, [path.clone(), path.clone(), String::new(), String::new()]);
    let keyed = world.ask(&world.hosts[5].registration()).await;
    assert_eq!(keyed["GlusterBrick"], path);
}

/// S2-75: `GlusterReady` means to them that their own brick is in the volume.
#[tokio::test]
async fn they_are_told_to_mount_once_their_brick_is_in() {
    let world = World::started(4, Settings::default()).await;
    let master = world.hosts[0].clone();
    let prepared = with(check_status(&master), json!({"Report": {"BrickReady": true}}));
    world.ask(&world.hosts[3].registration()).await;
    world.ask(&prepared).await;
    until("a volume of one brick", async || world.volume()).await;
    let alone = world.ask(&legacy(2)).await;
    assert_eq!(alone["GlusterReady"], false, "{alone}");
    // The other keyed node has no brick in the volume either, and may mount all the same.
    let ready = async || {
        let reply = world.ask(&check_status(&world.hosts[3])).await;
        (reply["GlusterReady"] == true).then_some(())
    };
    until("the keyed one may mount", ready).await;
    world.ask(&with(check_status(&world.hosts[3]), json!({"Report": {"BrickReady": true}}))).await;
    let three = async || world.volume().filter(|volume| volume.bricks.len() == 3);
    let volume = until("a volume of three bricks", three).await;
    assert!(volume.bricks.iter().any(|brick| brick.host == address(2).to_string()), "{volume:?}");
    let inside = async || (world.ask(&legacy(2)).await["GlusterReady"] == true).then_some(());
    until("the old one may mount", inside).await;
}

/// A host that gets the new client keeps its place, its count and its brick.
#[tokio::test]
async fn a_host_moves_over_and_keeps_its_place() {
    let mut world = World::started(2, Settings::default()).await;
    let old = world.ask(&legacy(2)).await;
    let keyed = with(world.hosts[1].registration(), json!({"Hostname": "old2"}));
    let new = world.ask(&keyed).await;
    assert_eq!((&new["Status"], &new["GlusterBrick"]), (&json!("ready"), &old["GlusterBrick"]), "{new}");
    assert_ne!(new["NodeId"], old["NodeId"]);
    assert_eq!(world.status().await["NodesTotal"], 2);
    // The way back is closed: without the key anybody could say the name.
    assert_eq!(world.ask(&legacy(2)).await["Code"], "hostname-taken");
    world.restart().await;
    assert_eq!(world.ask(&keyed).await["GlusterBrick"], new["GlusterBrick"]);
    assert_eq!(world.status().await["NodesTotal"], 2);
}
