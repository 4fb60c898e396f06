//! Who is not let in, and that nothing is written then.

use clusterctl::controller::admission::{self, Admission, Caller, Policy, Rules, Verdict};
use clusterctl::controller::state::ClusterState;
use clusterctl::protocol::registration::{RawRequest, Request};

use super::door::{Door, Setup, clear, registration, tls};
use super::*;

/// Asks, expects that refusal, and that nothing was written.
async fn refused(world: &World, request: &Value, code: &str) {
    let before = world.sequence().await;
    let reply = world.ask(request).await;
    assert_eq!((&reply["Status"], &reply["Code"]), (&json!("error"), &json!(code)), "{reply}");
    assert!(!reply["Message"].as_str().unwrap().is_empty() && !reply["Hint"].as_str().unwrap().is_empty(), "{reply}");
    assert_eq!(world.sequence().await, before, "{code}");
}

/// S2-52: a name and an address belong to one node.
#[tokio::test]
async fn names_and_addresses_are_taken_once() {
    let world = World::started(3, Settings::default()).await;
    world.ask(&world.hosts[1].registration()).await;
    let other = world.hosts[2].registration();
    refused(&world, &with(other.clone(), json!({"Hostname": "h2"})), "hostname-taken").await;
    refused(&world, &with(other.clone(), json!({"Hostname": "H1"})), "hostname-taken").await;
    refused(&world, &with(other.clone(), json!({"IP": "10.0.0.2"})), "address-taken").await;
    refused(&world, &with(other.clone(), json!({"IP": "10.0.0.1"})), "address-taken").await;
    assert_eq!(world.ask(&other).await["Status"], "ready");
}

/// Of nodes that come with one name at the same moment, one is let in.
#[tokio::test]
async fn one_of_many_gets_the_name() {
    let world = World::started(9, Settings::default()).await;
    let requests: Vec<Value> =
        world.hosts[1..].iter().map(|host| with(host.registration(), json!({"Hostname": "same"}))).collect();
    let mut ready = 0;
    let world = std::sync::Arc::new(world);
    let mut asking = tokio::task::JoinSet::new();
    for request in requests {
        let world = std::sync::Arc::clone(&world);
        asking.spawn(async move { world.ask(&request).await });
    }
    while let Some(reply) = asking.join_next().await {
        let reply = reply.unwrap();
        match reply["Status"].as_str() {
            Some("ready") => ready += 1,
            _ => assert_eq!(reply["Code"], "hostname-taken", "{reply}"),
        }
    }
    assert_eq!((ready, &world.status().await["NodesTotal"]), (1, &json!(2)));
}

/// A clock that is far off is named; clients that know of no protocol are not judged by it.
#[tokio::test]
async fn clocks_that_differ_too_much_are_refused() {
    let world = World::started(2, Settings::default()).await;
    let request = world.hosts[1].registration();
    let now: jiff::Timestamp = request["Timestamp"].as_str().unwrap().parse().unwrap();
    for seconds in [400, -400] {
        let off = now + jiff::SignedDuration::from_secs(seconds);
        refused(&world, &with(request.clone(), json!({"Timestamp": off.to_string()})), "clock-skew").await;
    }
    for fine in [json!({"Timestamp": ""}), json!({"Timestamp": "0001-01-01T00:00:00Z", "Protocol": 0})] {
        assert_eq!(world.ask(&with(request.clone(), fine)).await["Status"], "ready");
    }
}

/// Without certificates nothing but the connection vouches for an address; a loopback address names no host that others
/// could reach. (Over the sockets of this test every source is loopback, which may name any address.)
#[test]
fn an_address_is_where_the_node_speaks_from() {
    let policy = Policy { admission: Admission::Open, plaintext: true, max_nodes: 10 };
    let rules = Rules { policy, authorities: &[], now: jiff::Timestamp::UNIX_EPOCH };
    let judge = |claimed: &str, source: &str| {
        let raw: RawRequest = serde_json::from_value(json!({"Hostname": "h2", "IP": claimed})).unwrap();
        let Ok(Request::Register(registration)) = raw.check() else { panic!("a registration") };
        let caller = Caller::Clear(source.parse().unwrap());
        match admission::admit(&ClusterState::default(), &rules, &registration, caller) {
            Verdict::Admit { node, .. } => node.address.to_string(),
            Verdict::Refuse(refusal) => refusal.code().to_owned(),
            Verdict::Pending { .. } => "pending".to_owned(),
        }
    };
    assert_eq!(judge("10.0.0.2", "10.0.0.2"), "10.0.0.2");
    assert_eq!(judge("10.0.0.2", "::ffff:10.0.0.2"), "10.0.0.2");
    assert_eq!(judge("", "10.0.0.2"), "10.0.0.2");
    assert_eq!(judge("10.0.0.2", "10.0.0.3"), "address-mismatch");
    assert_eq!(judge("127.0.0.1", "10.0.0.3"), "loopback-address");
    assert_eq!(judge("10.0.0.2", "127.0.0.1"), "10.0.0.2");
    assert_eq!((judge("", "127.0.0.1"), judge("", "fd00::1")), ("bad-address".into(), "bad-address".into()));
}

/// T12: the controller and its nodes connect to the addresses of nodes, and let them at the volume. One that is a
/// service of the host or the cloud, nobody in particular or a container on every host is nobody's, whoever says it.
#[tokio::test]
async fn addresses_that_are_no_hosts_are_refused() {
    for admission in [Admission::Token, Admission::Approve, Admission::Open] {
        let door = Door::open(Setup { plaintext: true, ..Setup::new(admission) }).await;
        let token = door.token(json!({"Uses": 1})).await;
        let sequence = door.sequence();
        for (claimed, code) in [
            ("169.254.169.254", "invalid-request"),
            ("0.0.0.0", "invalid-request"),
            ("224.0.0.1", "invalid-request"),
            ("255.255.255.255", "invalid-request"),
            ("::1", "invalid-request"),
            ("::ffff:10.0.0.1", "invalid-request"),
            ("::ffff:169.254.169.254", "invalid-request"),
            // Decimal, octal, short: what some resolvers take for an address.
            ("2852039166", "invalid-request"),
            ("0177.0.0.1", "invalid-request"),
            ("127.1", "invalid-request"),
            ("127.0.0.1", "loopback-address"),
            ("127.0.0.2", "loopback-address"),
            ("172.17.0.2", "address-mismatch"),
        ] {
            let asks = with(registration("h2", 2), json!({"IP": claimed, "Token": token}));
            let keyless = json!({"Hostname": "old", "IP": claimed});
            for (request, peer) in [(&asks, tls("h2", 2)), (&keyless, clear(2))] {
                let reply = door.ask(request, peer).await;
                assert_eq!(
                    (&reply["Status"], &reply["Code"]),
                    (&json!("error"), &json!(code)),
                    "{admission} {claimed}"
                );
                assert!(!reply["Message"].as_str().unwrap().is_empty(), "{reply}");
            }
        }
        assert_eq!(door.sequence(), sequence, "nothing was written, no use of the token either");
    }
}

#[tokio::test]
async fn the_most_nodes_are_the_most() {
    let world = World::started(3, Settings { max_nodes: 2, ..Settings::default() }).await;
    world.ask(&world.hosts[1].registration()).await;
    refused(&world, &world.hosts[2].registration(), "too-many-nodes").await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
}

/// T9, T10: what is no name, address or id is refused as a whole, before it comes near an argument list or a path.
#[tokio::test]
async fn malformed_values_are_named() {
    let world = World::started(2, Settings::default()).await;
    let request = world.hosts[1].registration();
    for field in [
        json!({"Hostname": ""}),
        json!({"Hostname": "-x"}),
        json!({"Hostname": "--help"}),
        json!({"Hostname": "--remote-host=10.9.9.9"}),
        json!({"Hostname": "h2;reboot"}),
        json!({"Hostname": "../../etc/passwd"}),
        json!({"Hostname": "h2/../h1"}),
        json!({"Hostname": "h2\u{0}"}),
        json!({"IP": "--help"}),
        json!({"IP": "10.0.0.2 force"}),
        json!({"NodeId": "../../../etc/cron.d/x"}),
        json!({"NodeId": "--help"}),
        json!({"Role": "--manager"}),
        json!({"Role": "king"}),
        json!({"IP": "fe80::1"}),
        json!({"NodeId": "x"}),
        json!({"OS": "a\u{1b}[2J"}),
        json!({"CPU": 1_000_000}),
    ] {
        refused(&world, &with(request.clone(), field), "invalid-request").await;
    }
}
