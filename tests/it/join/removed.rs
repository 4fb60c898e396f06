//! N19: a host that the administrator takes out while it joins stops, with that word, and does not register again.

use clusterctl::controller::command::Thresholds;
use clusterctl::nodeagent::conversation::ConversationError;
use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::world::until;

fn begin(host: &Host) -> JoinHandle<Result<Joined, JoinError>> {
    let host = host.clone();
    tokio::spawn(async move { host.join(None, DEADLINE).await })
}

/// Takes the host of that name out, and expects that its join ends with that.
async fn take_out(world: &World, name: &str, joining: JoinHandle<Result<Joined, JoinError>>) {
    let removed = world.ask_locally(&json!({"Action": "remove", "Hostname": name})).await;
    assert_eq!(removed["Status"], "ready", "{removed}");
    let before = world.status().await["NodesTotal"].clone();
    let error = joining.await.unwrap().unwrap_err();
    let JoinError::Conversation(ConversationError::Refused { code, message, hint }) = &error else {
        panic!("{error:?}")
    };
    // The one that is held back, or the next one.
    assert!(["removed", "node-removed"].contains(&code.as_str()), "{error:?}");
    assert!(message.contains("removed") && !hint.is_empty(), "{error:?}");
    assert_eq!(world.status().await["NodesTotal"], before, "it did not register again");
}

#[tokio::test]
async fn a_host_that_waits_for_others_is_taken_out() {
    let need = Some(Thresholds { managers: 1, workers: 2 });
    let world = World::started(2, Settings { need, ..Settings::default() }).await;
    let joining = begin(&world.hosts[1]);
    let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 1).then_some(());
    until("h2 waits", held).await;
    take_out(&world, "h2", joining).await;
    assert_eq!(world.hosts[1].mutations(), 0);
}

#[tokio::test]
async fn a_host_that_converges_is_taken_out() {
    let world = World::started(4, Settings::default()).await;
    for host in &world.hosts[..3] {
        join(host).await.unwrap();
    }
    until("three bricks", async || world.volume().filter(|volume| volume.bricks.len() == 3)).await;
    // A server that hangs holds up the access list, so that the new host is in the Swarm and waits for the volume.
    world.gluster.set_hung(world.hosts[2].address, true);
    let joining = begin(&world.hosts[3]);
    let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 1).then_some(());
    until("h4 waits for the volume", held).await;
    take_out(&world, "h4", joining).await;
}
