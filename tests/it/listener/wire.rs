//! The bytes that clients of the first implementation send, as recorded; and what this program and its controller said in
//! each version of their protocol, which the other side must go on to understand.

use clusterctl::cluster::Role;
use clusterctl::protocol::registration::Request;
use clusterctl::protocol::reply::{Reason, Reply, Status};

use super::*;

const REGISTER: &[u8] = include_bytes!("../../fixtures/wire/register.json");
const CHECK_STATUS: &[u8] = include_bytes!("../../fixtures/wire/check-status.json");
const GLUSTER_READY: &[u8] = include_bytes!("../../fixtures/wire/gluster-ready.json");
const DEREGISTER: &[u8] = include_bytes!("../../fixtures/wire/deregister.json");

/// S2-05, C18: each is one line, answered while the client keeps its side open.
#[tokio::test]
async fn recorded_requests_are_answered() {
    let door = Door::open(ListenOptions::default()).await;
    for bytes in [REGISTER, CHECK_STATUS, GLUSTER_READY, DEREGISTER] {
        let mut stream = door.connect().await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(reply(&mut stream).await["Hostname"], "h2");
    }
    door.close().await;
}

/// S2-51: and each means what it meant there.
#[test]
fn recorded_requests_are_understood() {
    let parse = |bytes: &[u8]| serde_json::from_slice::<RawRequest>(bytes).unwrap().check().unwrap();
    let Request::Register(registration) = parse(REGISTER) else { panic!("not a registration") };
    assert_eq!((registration.role, registration.facts.memory_mb), (Some(Role::Worker), 24_105));
    assert!(matches!(parse(CHECK_STATUS), Request::CheckStatus { .. }));
    assert!(matches!(parse(GLUSTER_READY), Request::GlusterReady { .. }));
    assert!(matches!(parse(DEREGISTER), Request::Deregister { .. }));
}

/// Requests of protocol 1, as its first program sent them.
const REQUESTS: [(&str, &str); 4] = [
    ("register", include_str!("../../fixtures/wire/protocol-1/register.json")),
    ("check-status", include_str!("../../fixtures/wire/protocol-1/check-status.json")),
    ("deregister", include_str!("../../fixtures/wire/protocol-1/deregister.json")),
    ("token-create", include_str!("../../fixtures/wire/protocol-1/token-create.json")),
];

/// Replies of protocol 1, as its first controller gave them.
const REPLIES: [(&str, &str); 4] = [
    ("ready", include_str!("../../fixtures/wire/protocol-1/reply-ready.json")),
    ("waiting", include_str!("../../fixtures/wire/protocol-1/reply-waiting.json")),
    ("pending", include_str!("../../fixtures/wire/protocol-1/reply-pending.json")),
    ("error", include_str!("../../fixtures/wire/protocol-1/reply-error.json")),
];

/// Every field of `old` is in `new`, and means the same; `new` may have more.
fn assert_kept(name: &str, old: &Value, new: &Value) {
    for (field, value) in old.as_object().unwrap() {
        match value {
            Value::Object(_) => assert_kept(name, value, &new[field]),
            _ => assert_eq!(&new[field], value, "{name}: {field}"),
        }
    }
}

/// As a later version may say it: with fields that nobody here knows.
fn with_surprises(value: &Value) -> Value {
    let mut value = value.clone();
    value["Surprise"] = json!({"Deep": [1, {"er": null}]});
    for part in ["Report", "Counts"] {
        if value[part].is_object() {
            value[part]["Surprise"] = json!("a later one's");
        }
    }
    value
}

/// C18: requests of this protocol mean what they meant, whatever a later version adds to them, and this program still
/// sends them so.
#[test]
fn requests_of_each_protocol_are_understood() {
    for (name, text) in REQUESTS {
        let golden: Value = serde_json::from_str(text).unwrap();
        let request: RawRequest = serde_json::from_value(golden.clone()).unwrap();
        assert_kept(name, &golden, &serde_json::to_value(&request).unwrap());
        let checked = request.check().unwrap_or_else(|error| panic!("{name}: {error}"));
        let later: RawRequest = serde_json::from_value(with_surprises(&golden)).unwrap();
        assert_eq!(later.check().unwrap(), checked, "{name}");
    }
    let register: RawRequest = serde_json::from_str(REQUESTS[0].1).unwrap();
    let Request::Register(registration) = register.check().unwrap() else { panic!("not a registration") };
    assert_eq!((registration.protocol, registration.wait_ms, registration.facts.cpus), (1, 20_000, 4));
    assert!(registration.who.node_id.is_some() && registration.sent_at.is_some());
}

/// C18: the same for replies.
#[test]
fn replies_of_each_protocol_are_understood() {
    for (name, text) in REPLIES {
        let golden: Value = serde_json::from_str(text).unwrap();
        let reply: Reply = serde_json::from_value(golden.clone()).unwrap();
        assert_kept(name, &golden, &serde_json::to_value(&reply).unwrap());
        let later: Reply = serde_json::from_value(with_surprises(&golden)).unwrap();
        assert_eq!(later, reply, "{name}");
    }
    let pending: Reply = serde_json::from_str(REPLIES[2].1).unwrap();
    assert_eq!((pending.status, pending.reason), (Status::Waiting, Some(Reason::PendingApproval)));
}
