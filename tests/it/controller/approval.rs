//! Requests: who waits, who decides, and how the one who waits is told.

use std::sync::Arc;

use clusterctl::cluster::Admission;
use clusterctl::controller::command::Thresholds;
use jiff::SignedDuration;

use super::door::*;
use super::*;
use crate::world::until;

const HOLD: u64 = 20_000;

async fn door() -> Arc<Door> {
    Arc::new(Door::open(Setup::new(Admission::Token)).await)
}

/// A registration whose reply is held back, under way.
async fn waits(door: &Arc<Door>, name: &'static str, last: u8, fields: Value) -> tokio::task::JoinHandle<Value> {
    let before = door.held().await;
    let asking = Arc::clone(door);
    let fields = with(json!({"WaitMs": HOLD}), fields);
    let waiting = tokio::spawn(async move { asking.register(name, last, fields).await });
    until("it waits", async || (door.held().await > before).then_some(())).await;
    waiting
}

fn is_pending(reply: &Value) -> bool {
    (&reply["Status"], &reply["Reason"]) == (&json!("waiting"), &json!("pending-approval"))
}

/// The node is told its request and its key, the administrator is shown both, and nothing else is given away.
#[tokio::test]
async fn a_stranger_waits_for_approval() {
    let door = door().await;
    let reply = door.register("h2", 2, json!({"Role": "manager"})).await;
    assert!(is_pending(&reply), "{reply}");
    assert_eq!(reply["KeyFingerprint"], json!(key("h2").fingerprint));
    let request = door.request_of("h2").await;
    assert_eq!(request["Id"], reply["RequestId"]);
    assert_eq!(
        (&request["NodeId"], &request["Address"], &request["Key"], &request["Role"], &request["Status"]),
        (&json!(key("h2").node_id), &json!("10.0.0.2"), &reply["KeyFingerprint"], &json!("manager"), &json!("pending"))
    );
    for secret in door.secrets().await {
        assert!(!reply.to_string().contains(&secret));
    }
    assert_eq!((&reply["Certificate"], &reply["SwarmJoinToken"]), (&Value::Null, &json!("")));
    assert_eq!(door.row("h2").await, Value::Null);
    // Asking again is the same request, and writes nothing.
    let before = door.sequence();
    assert_eq!(door.register("h2", 2, json!({"Role": "manager"})).await["RequestId"], reply["RequestId"]);
    assert_eq!(door.sequence(), before);
}

/// Who waits goes on by himself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_back_reply_leaves_with_the_approval() {
    let door = door().await;
    let waiting = waits(&door, "h2", 2, json!({})).await;
    let id = door.request_of("h2").await["Id"].clone();
    door.command("request-approve", json!({"Id": id, "Profiles": ["core"]})).await;
    let reply = waiting.await.unwrap();
    assert_eq!((&reply["Status"], &reply["SwarmRole"]), (&json!("ready"), &json!("worker")), "{reply}");
    assert_eq!(reply["Certificate"], format!("CERTIFICATE node {} worker", key("h2").node_id));
    assert_eq!((&door.row("h2").await["Profiles"], door.held().await), (&json!(["core"]), 0));
    assert_eq!(door.request_of("h2").await, Value::Null, "what was asked for is granted");
    let shown = door.command("node-show", json!({"Hostname": "h2"})).await;
    assert_eq!(shown["Node"]["AdmittedBy"], format!("request {}", id.as_str().unwrap()));
}

/// Who waits is told why he does not come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_back_reply_leaves_with_the_rejection() {
    let door = door().await;
    let waiting = waits(&door, "h2", 2, json!({})).await;
    let id = door.request_of("h2").await["Id"].clone();
    door.command("request-reject", json!({"Id": id, "Reason": "not one of ours"})).await;
    let reply = waiting.await.unwrap();
    assert_eq!((&reply["Status"], &reply["Code"]), (&json!("error"), &json!("request-rejected")), "{reply}");
    assert!(reply["Message"].as_str().unwrap().contains("not one of ours"));
    assert_eq!(door.register("h2", 2, json!({})).await["Code"], "request-rejected");
    let request = door.request_of("h2").await;
    assert_eq!((&request["Status"], &request["Reason"]), (&json!("rejected"), &json!("not one of ours")));
    // The administrator may think again.
    door.command("request-approve", json!({"Id": id})).await;
    assert_eq!(door.register("h2", 2, json!({})).await["Status"], "ready");
}

/// A node holds one reply back, not as many as it likes; the others are answered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_holds_one_reply_back() {
    let door = door().await;
    let waiting = waits(&door, "h2", 2, json!({})).await;
    let since = std::time::Instant::now();
    assert!(is_pending(&door.register("h2", 2, json!({"WaitMs": HOLD})).await));
    assert!(since.elapsed().as_secs() < 10);
    assert_eq!(door.held().await, 1);
    waiting.abort();
    until("nobody waits", async || (door.held().await == 0).then_some(())).await;
    waits(&door, "h2", 2, json!({})).await.abort();
}

#[tokio::test]
async fn a_wait_ends_with_its_time() {
    let door = door().await;
    let reply = door.register("h2", 2, json!({"WaitMs": 30})).await;
    assert!(is_pending(&reply) && reply["RetryAfterMs"].as_u64().unwrap() > 0, "{reply}");
}

/// Nobody becomes a manager because he asked and somebody said yes in passing.
#[tokio::test]
async fn managers_are_approved_as_such() {
    let door = door().await;
    door.register("h2", 2, json!({"Role": "manager"})).await;
    let id = door.request_of("h2").await["Id"].clone();
    let reply = door.administer("request-approve", json!({"Id": id})).await;
    assert_eq!(reply["Code"], "role-needed", "{reply}");
    assert!(reply["Hint"].as_str().unwrap().contains("--role manager"), "{reply}");
    assert_eq!(door.request_of("h2").await["Status"], "pending");
    door.command("request-approve", json!({"Id": id, "Role": "manager"})).await;
    assert_eq!(door.register("h2", 2, json!({"Role": "manager"})).await["SwarmRole"], "manager");
}

/// The administrator's word decides what it comes in as.
#[tokio::test]
async fn an_approval_grants_what_it_says() {
    let door = door().await;
    for (name, last, asked, granted, comes_as) in [
        ("h2", 2, json!({}), json!({}), "worker"),
        ("h3", 3, json!({"Role": "manager"}), json!({"Role": "manager"}), "manager"),
        ("h4", 4, json!({"Role": "manager"}), json!({"Role": "worker"}), "role-not-granted"),
        ("h5", 5, json!({}), json!({"Role": "manager"}), "manager"),
    ] {
        door.register(name, last, asked.clone()).await;
        let id = door.request_of(name).await["Id"].clone();
        door.command("request-approve", with(json!({"Id": id}), granted)).await;
        let reply = door.register(name, last, asked).await;
        let came_as = if reply["Status"] == "ready" { &reply["SwarmRole"] } else { &reply["Code"] };
        assert_eq!(came_as, comes_as, "{name}: {reply}");
    }
    // What was too much to ask for is not asked for the second time.
    assert_eq!(door.register("h4", 4, json!({})).await["SwarmRole"], "worker");
    assert_eq!(door.administer("request-approve", json!({"Id": "aaaaaaaa"})).await["Code"], "unknown-request");
}

/// An approval that nobody came for ends, and so does a rejection.
#[tokio::test]
async fn decisions_end_with_their_time() {
    let door = door().await;
    for (name, last, decide) in [("h2", 2, "request-approve"), ("h3", 3, "request-reject")] {
        let id = door.register(name, last, json!({})).await["RequestId"].clone();
        door.command(decide, json!({"Id": id})).await;
        door.pass(clusterctl::controller::state::REQUESTS_KEPT + SignedDuration::from_secs(1));
        let reply = door.register(name, last, json!({})).await;
        assert!(is_pending(&reply) && reply["RequestId"] != id, "{reply}");
    }
}

/// T6: an approval is for what the administrator was shown. Who asks for something else meanwhile gets another id.
#[tokio::test]
async fn an_approval_is_for_what_was_shown() {
    let door = door().await;
    let shown = door.register("h2", 2, json!({})).await["RequestId"].clone();
    let other = door.register("h2", 2, json!({"Role": "manager"})).await["RequestId"].clone();
    assert_ne!(shown, other);
    assert_eq!(door.administer("request-approve", json!({"Id": shown})).await["Code"], "unknown-request");
    assert!(is_pending(&door.register("h2", 2, json!({"Role": "manager"})).await));
}

/// Where everybody has to be approved, a token alone opens nothing, and a bad one not even the waiting room.
#[tokio::test]
async fn in_approve_mode_tokens_are_not_enough() {
    let door = Door::open(Setup::new(Admission::Approve)).await;
    let token = door.token(json!({"Profiles": ["edge"]})).await;
    let reply = door.register("h2", 2, json!({"Token": token})).await;
    assert!(is_pending(&reply), "{reply}");
    let bad = format!("{}{}", &token[..68], "a".repeat(26));
    assert_eq!(door.register("h3", 3, json!({"Token": bad})).await["Code"], "token-refused");
    assert_eq!(door.request_of("h3").await, Value::Null);
    door.command("request-approve", json!({"Id": reply["RequestId"]})).await;
    // It takes its time: the token has expired meanwhile.
    door.pass(SignedDuration::from_hours(25));
    assert_eq!(door.register("h2", 2, json!({"Token": token})).await["Status"], "ready");
    assert_eq!(door.row("h2").await["Profiles"], json!(["edge"]), "what its token would have granted");
}

/// Who waits for approval does not count, before and after a restart; the request is there still.
#[tokio::test]
async fn requests_outlive_a_restart_and_count_for_nothing() {
    let setup = Setup { need: Some(Thresholds { managers: 1, workers: 1 }), ..Setup::new(Admission::Token) };
    let mut door = Door::open(setup).await;
    let reply = door.register("h2", 2, json!({})).await;
    assert!(is_pending(&reply));
    door.restart().await;
    let status = door.command("status", json!({})).await;
    assert_eq!((&status["Gate"]["State"], &status["Admission"]["RequestsPending"]), (&json!("waiting"), &json!(1)));
    assert_eq!(door.register("h2", 2, json!({})).await["RequestId"], reply["RequestId"]);
    door.command("request-approve", json!({"Id": reply["RequestId"]})).await;
    door.restart().await;
    assert_eq!(door.register("h2", 2, json!({})).await["Status"], "ready");
    assert_eq!(door.command("status", json!({})).await["Gate"]["State"], "open");
}

/// A client without a key is approved by name and address; with `--plaintext` it gets what it needs in clear text.
#[tokio::test]
async fn clients_without_a_key_are_approved_too() {
    let door = Door::open(Setup { plaintext: true, ..Setup::new(Admission::Token) }).await;
    let legacy = json!({"hostname": "old", "role": "worker", "ip": "10.0.0.7", "os": "linux", "cpu": 2});
    let reply = door.ask(&legacy, clear(7)).await;
    assert!(is_pending(&reply), "{reply}");
    assert_eq!((reply.get("KeyFingerprint"), reply.get("ServerTime")), (None, None));
    let request = door.request_of("old").await;
    assert_eq!((&request["Key"], &request["Source"]), (&Value::Null, &json!("10.0.0.7")));
    door.command("request-approve", json!({"Id": request["Id"]})).await;
    // Somebody else who says the name is somebody else, and changes nothing for the first one.
    let twin = with(legacy.clone(), json!({"ip": "10.0.0.8"}));
    let impostor = door.ask(&twin, clear(8)).await;
    assert!(is_pending(&impostor) && impostor["RequestId"] != request["Id"], "{impostor}");
    door.command("request-reject", json!({"Id": impostor["RequestId"], "Reason": "an impostor"})).await;
    assert_eq!(door.ask(&twin, clear(8)).await["Code"], "request-rejected");
    let reply = door.ask(&legacy, clear(7)).await;
    assert!(reply["SwarmJoinToken"].as_str().unwrap().starts_with("SWMTKN-"), "{reply}");
    assert_eq!(reply.get("Certificate"), None);
    let shown = door.command("node-show", json!({"Hostname": "old"})).await;
    assert!(shown["Node"]["Advice"].as_str().unwrap().contains("clusterctl node join"), "{shown}");
}

/// T12: administrators see where a request comes from, and requests are few.
#[tokio::test]
async fn an_address_has_a_few_requests() {
    let door = door().await;
    for n in 0..40_u8 {
        assert!(is_pending(&door.ask(&registration(&format!("x{n}"), n + 10), tls(&format!("x{n}"), 99)).await), "{n}");
    }
    let listed = door.command("requests", json!({})).await;
    assert_eq!(listed["Requests"].as_array().unwrap().len(), 32);
    assert_eq!(door.request_of("x39").await["Source"], "10.0.0.99");
}
