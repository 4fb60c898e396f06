//! The bytes that clients of the first implementation send, as recorded.

use clusterctl::cluster::Role;
use clusterctl::protocol::registration::Request;

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
