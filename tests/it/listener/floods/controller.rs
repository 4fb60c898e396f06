//! T7, on the real controller: thousands of strangers from few addresses, and nodes that join meanwhile over TLS.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use clusterctl::clock::{Clock, SystemClock};
use clusterctl::cluster::NodeId;
use clusterctl::config::{MasterAddress, MasterHost};
use clusterctl::nodeagent::client::{Link, ask};
use clusterctl::nodeagent::identity::NodeIdentity;
use clusterctl::pki::{self, Trust};
use clusterctl::protocol::registration::PROTOCOL;
use clusterctl::protocol::reply::{Reply, Status};
use tokio::task::JoinSet;

use super::strangers::{ADDRESSES, Flood, STRANGERS, allowed};
use super::*;
use crate::binary::served::Served;

/// How many nodes join from the controller's own address, which as one address may ask a hundred times at once.
const HERE: u16 = 40;

/// How many nodes join at least; the others come from an address of their own each.
const NODES: u16 = 100;

/// How many of them join at the same time.
const AT_ONCE: usize = 8;

/// How many connections the flood may have, of the 64 that one address is allowed.
const SHARE: u64 = 64 * ADDRESSES as u64;

/// A node with a fresh key, and what it says.
fn node(n: u16) -> (NodeIdentity, RawRequest) {
    let identity = NodeIdentity::of_key(rcgen::KeyPair::generate().unwrap());
    let [high, low] = n.to_be_bytes();
    let request = RawRequest {
        action: "register".to_owned(),
        hostname: format!("honest-{n}"),
        role: "worker".to_owned(),
        ip: format!("10.0.{high}.{low}"),
        protocol: PROTOCOL,
        node_id: identity.node_id.to_string(),
        timestamp: SystemClock.now().to_string(),
        ..RawRequest::default()
    };
    (identity, request)
}

/// Joins as `node join` asks: on TLS, with the CA of the first use.
async fn joins(controller: SocketAddr, n: u16) -> (NodeId, Reply) {
    let (identity, request) = node(n);
    let master = MasterAddress { host: MasterHost::Ip(controller.ip()), port: controller.port() };
    let link = Link::new(master, Trust::FirstUse, identity.credentials(None).unwrap(), Arc::new(SystemClock));
    let answer = ask(&link, &request).await.unwrap_or_else(|error| panic!("honest-{n}: {error:?}"));
    (identity.node_id, answer.reply)
}

/// The same from an address of its own.
async fn joins_from_elsewhere(controller: SocketAddr, n: u16) -> (NodeId, Reply) {
    let (identity, request) = node(n);
    let deadlines = Deadlines::default();
    let socket = TcpSocket::new_v4().unwrap();
    let [high, low] = n.to_be_bytes();
    socket.bind((Ipv4Addr::new(127, 77, high, low), 0).into()).unwrap();
    let stream = within(socket.connect(controller)).await.unwrap();
    let (shown, deadline) = (identity.credentials(None).unwrap(), tokio::time::Instant::now() + deadlines.connect);
    let connected = pki::connect(stream, &Trust::FirstUse, &shown, deadline).await;
    let (mut stream, _) = connected.unwrap_or_else(|error| panic!("honest-{n}: {error:?}"));
    let bytes = exchange::call(&mut stream, &request, &deadlines).await;
    let bytes = bytes.unwrap_or_else(|error| panic!("honest-{n}: {error:?}"));
    (identity.node_id, exchange::decode(&bytes).unwrap())
}

/// 5,000 connections that are silent, slow, half a handshake, half-closed or reset, again and again from sixteen
/// addresses: every node that joins meanwhile is let in, and nothing is left of the flood but its counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_during_a_flood() {
    let strangers = allowed(STRANGERS);
    if strangers < STRANGERS {
        eprintln!("SCALED DOWN: the limit on open files carries {strangers} strangers, not {STRANGERS}");
    }
    let mut controller = Served::start(&["--admission", "open"]);
    let address = controller.address();
    let flood = Flood::start(address, strangers);
    until("every stranger was there", || flood.stands()).await;

    let mut joining = JoinSet::new();
    let mut answers = Vec::new();
    let mut nodes = 0;
    // On the average every stranger has come back then.
    while nodes < NODES || flood.opened() < 2 * strangers as u64 {
        if joining.len() == AT_ONCE {
            answers.push(within(joining.join_next()).await.unwrap().unwrap());
        }
        nodes += 1;
        if nodes <= HERE {
            joining.spawn(joins(address, nodes));
        } else {
            joining.spawn(joins_from_elsewhere(address, nodes));
        }
    }
    answers.extend(within(joining.join_all()).await);
    for (id, reply) in &answers {
        // There is no Swarm here that they could be sent to; they are nodes all the same.
        assert_eq!((reply.status, &reply.node_id), (Status::Waiting, &id.to_string()), "{reply:?}");
        assert!(!reply.certificate.is_empty(), "{reply:?}");
    }
    let during = controller.asked(&["master", "status"])["Listener"].clone();
    drop(flood);

    let names: BTreeSet<String> = controller.asked(&["node", "list"])["Nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["Hostname"].as_str().map(str::to_owned))
        .collect();
    let missing: Vec<u16> = (1..=nodes).filter(|n| !names.contains(&format!("honest-{n}"))).collect();
    assert!(missing.is_empty(), "{missing:?} of {names:?}");
    let mut after = Value::Null;
    until("all places are free", || {
        after = controller.asked(&["master", "status"])["Listener"].clone();
        // The one who asks.
        after["Open"] == 1
    })
    .await;
    let number = |status: &Value, name: &str| status[name].as_u64().unwrap_or_else(|| panic!("{name}: {status}"));
    // One for the command that asks.
    assert!(number(&during, "Open") <= SHARE.min(number(&during, "MaxOpen")) + 1, "{during}");
    let nodes = u64::from(nodes);
    assert!(number(&after, "Accepted") >= 2 * strangers as u64 + nodes, "{after}");
    assert!(number(&after, "Answered") >= nodes && number(&after, "Handshakes") >= nodes, "{after}");
    assert_eq!((number(&after, "Panics"), number(&after, "AcceptFailures")), (0, 0), "{after}");
    let sent_away = number(&after["Refused"], "overloaded");
    assert!(sent_away >= (strangers as u64).saturating_sub(SHARE), "{after}");
    for code in ["tls-required", "tls-handshake-failed"] {
        assert!(number(&after["Refused"], code) > 0, "{code}: {after}");
    }
    assert!(number(&after["Limits"], "connections-per-address") >= sent_away, "{after}");

    // Whatever thousands of them do is a handful of lines.
    let said = controller.said();
    let lines = said.lines().filter(|line| line.contains("a limit of the listener is reached")).count();
    assert!((1..100).contains(&lines), "{lines} lines:\n{said}");
    assert!(controller.is_alive());
    assert_eq!(controller.stop().code(), Some(0));
}
