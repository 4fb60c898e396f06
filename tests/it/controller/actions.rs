//! Every action of the wire.

use std::time::Duration;

use super::*;

/// S2-50, S2-52 to S2-57, S2-75: one registration, one complete reply, one record.
#[tokio::test]
async fn a_registration_is_answered_with_everything_a_node_needs() {
    let world = World::started(2, Settings::default()).await;
    let reply = world.ask(&world.hosts[1].registration()).await;
    assert_eq!((&reply["Status"], &reply["SwarmRole"]), (&json!("ready"), &json!("worker")));
    assert!(reply["SwarmJoinToken"].as_str().unwrap().starts_with("SWMTKN-1-"), "{reply}");
    assert_eq!(reply["SwarmManagerAddr"], "10.0.0.1:2377");
    assert_eq!((&reply["GlusterEnabled"], &reply["GlusterVolume"]), (&json!(true), &json!("shared")));
    assert_eq!(reply["GlusterBrick"], "/data/clusterctl/bricks/shared");
    assert_eq!((&reply["GlusterReady"], &reply["GlusterOrchestrator"]), (&json!(false), &json!(false)));
    assert_eq!(reply["NodeAddress"], "10.0.0.2");
    assert_eq!(reply["Counts"], json!({"Managers": 1, "Workers": 1, "MinManagers": 0, "MinWorkers": 0}));
    let status = world.status().await;
    assert_eq!(status["NodesTotal"], 2, "{status}");
}

/// S2-54, S2-75: without the shared volume nothing is said about one.
#[tokio::test]
async fn without_storage_no_storage_words() {
    let world = World::started(2, Settings { storage: None, ..Settings::default() }).await;
    let reply = world.ask(&world.hosts[1].registration()).await;
    assert_eq!(reply["GlusterEnabled"], false);
    for field in ["GlusterVolume", "GlusterMount", "GlusterBrick"] {
        assert_eq!(reply[field], "", "{field}");
    }
}

/// S2-51: the role that is asked for is given; a node that asks for none keeps what it has.
#[tokio::test]
async fn roles_are_given_as_asked_and_kept() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    let manager = world.ask(&with(host.registration(), json!({"Role": "manager"}))).await;
    let again = world.ask(&host.registration()).await;
    let worker = world.ask(&with(host.registration(), json!({"Role": "worker"}))).await;
    assert_eq!(manager["SwarmRole"], "manager");
    assert_eq!((&again["SwarmRole"], &again["SwarmJoinToken"]), (&manager["SwarmRole"], &manager["SwarmJoinToken"]));
    assert_eq!(worker["SwarmRole"], "worker");
    assert_ne!(worker["SwarmJoinToken"], manager["SwarmJoinToken"]);
    assert_eq!(world.status().await["Gate"]["Workers"], 1);
}

/// Asking how things stand lets nobody in and is answered for known nodes only.
#[tokio::test]
async fn check_status_tells_and_gives_no_token() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    let unknown = world.ask(&check_status(host)).await;
    assert_eq!((&unknown["Status"], &unknown["Code"]), (&json!("error"), &json!("unknown-node")));
    world.ask(&host.registration()).await;
    let reply = world.ask(&check_status(host)).await;
    assert_eq!((&reply["Status"], &reply["SwarmJoinToken"]), (&json!("ready"), &json!("")));
    assert_eq!(reply["SwarmManagerAddr"], "10.0.0.1:2377");
}

/// A report is kept, and the same one again writes nothing.
#[tokio::test]
async fn a_report_is_kept_once() {
    let world = World::started(2, Settings { storage: None, ..Settings::default() }).await;
    let host = &world.hosts[1];
    world.ask(&host.registration()).await;
    let report = with(check_status(host), json!({"Report": {"Finding": "the disk is full", "Mounted": false}}));
    world.ask(&report).await;
    let before = world.sequence().await;
    world.ask(&report).await;
    assert_eq!(world.sequence().await, before);
    let status = world.status().await;
    assert!(status.to_string().contains("the disk is full"), "{status}");
}

/// A wait is answered as soon as the volume is there, and at its end if it is not.
#[tokio::test]
async fn check_status_waits_for_the_volume() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    world.ask(&host.registration()).await;
    let brief = world.ask(&with(check_status(host), json!({"WaitMs": 20}))).await;
    assert_eq!(brief["GlusterReady"], false);
    assert!(!brief["GlusterMessage"].as_str().unwrap().is_empty(), "{brief}");
    let wait = with(check_status(host), json!({"WaitMs": 20_000, "Report": {"BrickReady": true}}));
    // Other news comes first: which hosts serve the volume.
    let ready = async || Some(world.ask(&wait).await).filter(|reply| reply["GlusterReady"] == true);
    let reply = crate::world::until("the volume", ready).await;
    assert_eq!(reply["GlusterServers"], json!(["10.0.0.2"]));
}

/// S2-75: clients of the first implementation that say so are thanked; nothing is written down.
#[tokio::test]
async fn gluster_ready_is_thanked() {
    let world = World::started(1, Settings::default()).await;
    let before = world.sequence().await;
    let reply = world.ask(&json!({"Action": "gluster-ready", "Hostname": "h9"})).await;
    assert_eq!(reply["Status"], "ready");
    assert_eq!(world.sequence().await, before);
}

/// Leaving twice is leaving; the name is free again.
#[tokio::test]
async fn deregister_frees_name_and_address() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    world.ask(&host.registration()).await;
    let leave = with(check_status(host), json!({"Action": "deregister"}));
    for _ in 0..2 {
        assert_eq!(world.ask(&leave).await["Status"], "ready");
    }
    assert_eq!(world.ask(&check_status(host)).await["Code"], "unknown-node");
    assert_eq!(world.status().await["Gate"]["Workers"], 0);
    let other = with(host.registration(), json!({"NodeId": "a".repeat(26)}));
    assert_eq!(world.ask(&other).await["Status"], "ready");
}

#[tokio::test]
async fn an_unknown_action_is_named() {
    let world = World::started(1, Settings::default()).await;
    let reply = world.ask(&json!({"Action": "explode", "Hostname": "h1"})).await;
    assert_eq!((&reply["Status"], &reply["Code"]), (&json!("error"), &json!("invalid-request")));
    assert!(reply["Message"].as_str().unwrap().contains("explode") && !reply["Hint"].as_str().unwrap().is_empty());
}

/// Administration has no business on TCP, whoever asks.
#[tokio::test]
async fn administration_is_for_the_unix_socket() {
    let world = World::started(3, Settings::default()).await;
    for host in &world.hosts[1..] {
        world.ask(&host.registration()).await;
    }
    for action in ["status", "nodes", "remove"] {
        let refused = world.ask(&json!({"Action": action, "Hostname": "h2"})).await;
        assert_eq!((&refused["Status"], &refused["Code"]), (&json!("error"), &json!("not-permitted")), "{action}");
    }
    assert_eq!(world.status().await["NodesTotal"], 3);
    let page = world.ask_locally(&json!({"Action": "nodes", "Limit": 2})).await;
    assert_eq!(page["Nodes"].as_array().unwrap().len(), 2);
    let rest = world.ask_locally(&json!({"Action": "nodes", "Limit": 2, "After": page["After"]})).await;
    assert_eq!((rest["Nodes"].as_array().unwrap().len(), &rest["After"]), (1, &Value::Null));
    let remove = json!({"Action": "remove", "Hostname": "h2"});
    assert_eq!(world.ask_locally(&remove).await["Status"], "ready");
    assert_eq!(world.ask_locally(&remove).await["Code"], "unknown-node");
    assert_eq!(world.status().await["NodesTotal"], 2);
}

/// Secrets go to nodes that register and nowhere else.
#[tokio::test]
async fn nothing_secret_in_status_and_check_status() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    let token = world.ask(&host.registration()).await["SwarmJoinToken"].as_str().unwrap().to_owned();
    let secret = token.rsplit('-').next().unwrap();
    let answers = [
        world.ask(&check_status(host)).await,
        world.status().await,
        world.ask_locally(&json!({"Action": "nodes"})).await,
    ];
    for answer in answers {
        let text = answer.to_string();
        assert!(!text.contains(secret) && !text.contains("SWMTKN"), "{text}");
    }
}

/// S2-61: with nothing new, a second registration writes nothing and says the same.
#[tokio::test]
async fn an_unchanged_registration_writes_nothing() {
    let world = World::started(2, Settings { storage: None, ..Settings::default() }).await;
    let request = world.hosts[1].registration();
    let first = world.ask(&request).await;
    let before = world.sequence().await;
    for change in [
        json!({}),
        json!({"MemoryMb": 1024}),
        json!({"Timestamp": jiff::Timestamp::UNIX_EPOCH.to_string(), "Protocol": 0}),
        json!({"Hostname": "H2"}),
    ] {
        assert_eq!(world.ask(&with(request.clone(), change.clone())).await, first, "{change}");
    }
    assert_eq!(world.sequence().await, before);
    world.ask(&with(request, json!({"OS": "another"}))).await;
    assert_eq!(world.sequence().await, before + 1);
}

/// A client that waits and goes away leaves nothing behind.
#[tokio::test]
async fn a_client_that_leaves_is_not_counted_as_waiting() {
    let world = World::started(2, Settings::default()).await;
    let host = &world.hosts[1];
    world.ask(&host.registration()).await;
    let wait = with(check_status(host), json!({"WaitMs": 20_000}));
    let gone = tokio::time::timeout(Duration::from_millis(50), world.ask(&wait)).await;
    assert!(gone.is_err(), "{gone:?}");
    let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 0).then_some(());
    crate::world::until("nobody waits", held).await;
}
