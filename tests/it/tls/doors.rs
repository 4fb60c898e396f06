//! One port for TLS and clear text: who gets what, and the caps.

use serde_json::Value;

use super::*;

async fn said_in_clear_text(door: &Door, request: &[u8]) -> Value {
    let mut stream = door.connect().await;
    stream.write_all(request).await.unwrap();
    let bytes = rest(&mut stream).await;
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{}", bytes.escape_ascii()))
}

/// T1: by default clear text gets one error that names the way in; the handler never hears of it.
#[tokio::test]
async fn clear_text_is_told_the_way_in() {
    let door = Door::open().await;
    for request in [&b"{\"hostname\":\"h1\"}"[..], b" {\"hostname\":\"h1\"}", b"\r\n", b"{"] {
        let error = said_in_clear_text(&door, request).await;
        assert_eq!((error["Status"].as_str(), error["Code"].as_str()), (Some("error"), Some("tls-required")));
        assert!(error["Hint"].as_str().unwrap().contains("clusterctl node join"), "{error}");
    }
    // More on its way than is read does not destroy the answer.
    let large = [&b"{\"x\":\""[..], &[b'x'; 100_000]].concat();
    assert_eq!(said_in_clear_text(&door, &large).await["Code"], "tls-required");
    for (request, code) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], "not-json"), (b"[1]", "not-json"), (b"\0", "not-json")] {
        assert_eq!(said_in_clear_text(&door, request).await["Code"], code);
    }
    assert_eq!(door.monitor.status().answered, 0);
    assert_eq!(door.monitor.status().refused["tls-required"], 5);
    door.ask(&Node::new(), door.pin()).await.unwrap();
    door.close().await;
}

/// `--plaintext`: private sources are answered in clear text, and TLS goes on beside it.
#[tokio::test]
async fn clear_text_is_answered_where_it_is_allowed() {
    let door = Door::open_with(ListenOptions { clear_text: ClearText::Private, ..ListenOptions::default() }).await;
    assert_eq!(said_in_clear_text(&door, b" {\"hostname\":\"h1\"}").await["NodeId"], "h1");
    assert!(matches!(door.last_peer(), Peer::Remote(_)));
    door.ask(&Node::new(), door.pin()).await.unwrap();
    assert!(matches!(door.last_peer(), Peer::Tls { .. }));
    door.close().await;
}

/// A port without TLS says so to the node, which takes it for what it is.
#[tokio::test]
async fn a_port_without_tls_gets_nothing() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = ListenOptions { tcp: vec![any], clear_text: ClearText::Private, ..ListenOptions::default() };
    let listener = Listener::bind(&options).await.unwrap();
    let (address, monitor) = (listener.local_addrs()[0], listener.monitor());
    let clock = SetClock::at(start());
    let release = tokio::sync::Semaphore::new(0);
    let recorder = Arc::new(Recorder { peers: Mutex::default(), clock: clock.clone(), release });
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(listener.serve(recorder, stopped));
    let error = ask(address, Trust::FirstUse, Node::new().shows(), &clock).await.unwrap_err();
    assert!(chain(&error).contains("does not speak TLS"), "{error:?}");
    until("it is counted", || monitor.status().refused.get("tls-not-enabled") == Some(&1)).await;
    stop.send(true).unwrap();
    within(serving).await.unwrap();
}

/// A reply that is held back for a node, until it ends.
fn hold(door: &Door, identity: ClientIdentity) -> JoinHandle<u64> {
    let (address, trust, clock) = (door.address, door.pin(), door.clock.clone());
    tokio::spawn(async move {
        let master = MasterAddress { host: MasterHost::Ip(address.ip()), port: address.port() };
        let link = Link::new(master, trust, identity, Arc::new(clock));
        let request = RawRequest { wait_ms: 20_000, ..canary() };
        within(client::ask(&link, &request)).await.unwrap().reply.retry_after_ms.unwrap()
    })
}

/// One address has its share of held-back replies, unless its clients have certificates.
#[tokio::test]
async fn strangers_do_not_hold_all_places() {
    let options = ListenOptions { held_per_address: 2, clear_text: ClearText::Private, ..ListenOptions::default() };
    let door = Door::open_with(options).await;
    let mut waiting: Vec<_> = (0..2).map(|_| hold(&door, Node::new().shows())).collect();
    until("two are held back", || door.monitor.status().held == 2).await;
    // Others from there are answered at once, on TLS and in clear text.
    assert_eq!(door.monitor.status().open, 0);
    let third = hold(&door, Node::new().shows());
    assert_eq!(within(third).await.unwrap(), 0);
    assert_eq!(said_in_clear_text(&door, b"{\"hostname\":\"h1\",\"waitMs\":20000}").await["RetryAfterMs"], 0);
    assert_eq!(door.monitor.status().limits["held-replies-per-address"], 2);
    // Who belongs to the cluster is not among the strangers.
    let member = Node::new().certified(&door.authority, Role::Worker, start());
    waiting.push(hold(&door, member.shows()));
    until("the member's is held back, too", || door.monitor.status().held == 3).await;
    door.recorder.release.add_permits(3);
    for waiting in waiting {
        assert_eq!(within(waiting).await.unwrap(), 20_000);
    }
    door.close().await;
}

/// A node that leaves while its reply is held back is noticed, on TLS too.
#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let door = Door::open().await;
    let waiting = hold(&door, Node::new().shows());
    until("it is held back", || door.monitor.status().held == 1).await;
    waiting.abort();
    until("its leaving is noticed", || door.monitor.status().left == 1 && door.monitor.status().held == 0).await;
    door.close().await;
}

/// A node that finds no place is not told so in clear text, which it would take for an attack; it tries again.
#[tokio::test]
async fn a_full_controller_is_no_attack() {
    let door = Door::open_with(ListenOptions { max_connections: 1, ..ListenOptions::default() }).await;
    let identity = Node::new().shows();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut busy, _) = clusterctl::pki::connect(door.connect().await, &door.pin(), &identity, deadline).await.unwrap();
    busy.write_all(br#"{"hostname":"busy","action":"hold"}"#).await.unwrap();
    until("it is asked", || !door.recorder.peers.lock().unwrap().is_empty()).await;
    let error = door.ask(&Node::new(), door.pin()).await.unwrap_err();
    assert!(!error.is_final(), "{error:?}");
    assert_eq!(door.monitor.status().limits["connections"], 1);
    door.recorder.release.add_permits(1);
    let mut bytes = Vec::new();
    within(busy.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(serde_json::from_slice::<Reply>(&bytes).unwrap().node_id, "busy");
    door.close().await;
}

/// On TLS a shutdown can be told to those who wait.
#[tokio::test]
async fn a_shutdown_is_told_on_tls() {
    let door = Door::open().await;
    let identity = Node::new().shows();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (mut silent, _) =
        clusterctl::pki::connect(door.connect().await, &door.pin(), &identity, deadline).await.unwrap();
    let mut nothing = door.connect().await;
    until("both are known", || door.monitor.status().open == 2 && door.monitor.status().handshakes == 1).await;
    door.stop.send(true).unwrap();
    let mut bytes = Vec::new();
    within(silent.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap()["Reason"], "overloaded");
    assert_eq!(rest(&mut nothing).await, b"");
    within(door.serving).await.unwrap();
}
