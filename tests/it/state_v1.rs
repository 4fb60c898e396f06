//! State that the first record version wrote: it must stay readable, and mean what it meant.
//!
//! `tests/fixtures/state-v1` was written by the program that had no other version: `journal.txt` holds one command of
//! every kind, `rows.txt` the state that they add up to, each line a name and bytes in hexadecimal.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use clusterctl::cluster::{BrickPath, Hostname, KeyFingerprint, MountPoint, NodeAddress, NodeId, Role, VolumeName};
use clusterctl::controller::command::{
    AdmittedNode, Command, StorageIntent, StorageRecord, SwarmRecord, Thresholds, Warrant,
};
use clusterctl::controller::state::{ClusterState, Effect, StorageRole};
use clusterctl::controller::store::{Machine, Store, StoreOptions};
use clusterctl::protocol::registration::{Addendum, Facts, NodeReport};
use jiff::Timestamp;

const JOURNAL: &str = include_str!("../fixtures/state-v1/journal.txt");
const ROWS: &str = include_str!("../fixtures/state-v1/rows.txt");

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + second).unwrap()
}

fn keyed(name: &str) -> NodeId {
    NodeId::of_public_key(name.as_bytes())
}

fn node(name: &str, keyed: bool, last: u8, role: Role) -> AdmittedNode {
    let hostname = Hostname::parse(name).unwrap();
    AdmittedNode {
        id: if keyed { self::keyed(name) } else { NodeId::of_legacy(&hostname) },
        keyed,
        hostname,
        address: NodeAddress::parse(&format!("10.0.0.{last}")).unwrap(),
        role,
        facts: Facts {
            os: "Debian GNU/Linux 12".into(),
            cpus: 4,
            memory_mb: 8192,
            docker_version: "20.10.24".into(),
            gluster_capable: role == Role::Manager || !keyed,
            gluster_client_only: false,
        },
    }
}

/// The commands of the fixture, in its order.
fn commands() -> Vec<(&'static str, Command)> {
    let storage = StorageRecord {
        volume: VolumeName::parse("shared").unwrap(),
        brick: BrickPath::parse("/data/clusterctl/bricks/shared").unwrap(),
        mount: MountPoint::parse("/mnt/shared").unwrap(),
        replica: 3,
        arbiter: true,
        allow_root_brick: true,
    };
    let swarm = SwarmRecord { cluster_id: "swarm1".into(), ca_digest: "3kq9v".into() };
    let report = NodeReport {
        swarm_node_id: "abc123".into(),
        brick_ready: true,
        brick_mark: "8f6f5a2e-33d6-4a0e-9c3d-1f2e3d4c5b6a".into(),
        mounted: true,
        finding: "the disk is nearly full".into(),
    };
    let intent =
        StorageIntent { volume: VolumeName::parse("shared").unwrap(), bricks: vec!["10.0.0.1:/b".into()], at: at(9) };
    vec![
        ("initialise", Command::Initialise { cluster_id: "c0ffee".into(), at: at(0) }),
        ("record-swarm", Command::RecordSwarm { swarm }),
        ("storage-off", Command::ConfigureStorage { storage: None }),
        ("storage-on", Command::ConfigureStorage { storage: Some(storage) }),
        ("register-keyed", Command::Register { node: node("h1", true, 1, Role::Manager), at: at(1) }),
        ("register-legacy", Command::Register { node: node("old2", false, 2, Role::Worker), at: at(2) }),
        ("register-client", Command::Register { node: node("h3", true, 3, Role::Worker), at: at(3) }),
        ("register-leaver", Command::Register { node: node("h4", true, 4, Role::Worker), at: at(4) }),
        ("deregister", Command::Deregister { id: keyed("h4"), at: at(5) }),
        ("report", Command::Report { id: keyed("h1"), report }),
        ("latch-gate", Command::LatchGate { thresholds: Thresholds { managers: 1, workers: 2 } }),
        ("clear-intent", Command::ClearIntent),
        ("record-intent", Command::RecordIntent { intent }),
    ]
}

/// The lines of a fixture: a name and its bytes.
fn lines(text: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, hex)| (name.to_owned(), bytes(hex))).collect()
}

/// What all commands of the fixture add up to.
fn assert_as_it_was(state: &ClusterState) {
    assert_eq!(state.cluster_id(), Some("c0ffee"));
    assert_eq!(state.swarm().unwrap().cluster_id, "swarm1");
    assert_eq!(state.latch(), Some(Thresholds { managers: 1, workers: 2 }));
    assert_eq!(state.intents().iter().map(|intent| &intent.bricks[..]).collect::<Vec<_>>(), [["10.0.0.1:/b"]]);
    assert!(!state.layout_due() && state.nodes().all(|node| node.more == Addendum::default()));
    let storage = state.storage().unwrap();
    assert!(storage.arbiter && storage.allow_root_brick && storage.mount.as_str() == "/mnt/shared");
    assert_eq!((state.counts().managers, state.counts().workers), (1, 2));
    let found = |name: &str| state.node_named(&Hostname::parse(name).unwrap()).unwrap();
    for (name, keyed, storage, ordinal) in [
        ("h1", true, StorageRole::Brick, 5),
        ("old2", false, StorageRole::Brick, 6),
        ("h3", true, StorageRole::None, 7),
    ] {
        let node = found(name);
        assert_eq!((node.keyed, node.storage, node.ordinal), (keyed, storage, ordinal), "{name}");
    }
    assert!(found("h1").report.mounted && found("h1").report.swarm_node_id == "abc123");
    assert_eq!((found("h1").role, found("h1").facts.cpus, found("h1").registered_at), (Role::Manager, 4, at(1)));
    assert!(state.node(&keyed("h4")).is_none(), "it left");
    // They are members as they were: granted what they are, and yet to prove their keys.
    assert!(state.nodes().all(|node| node.granted == node.role && node.key.is_none() && node.profiles.is_empty()));
    assert!(state.nodes().all(|node| node.admitted_by == Warrant::Open && node.replaceable_since.is_none()));
    assert_eq!(state.tokens().count() + state.requests().count() + state.tombstones().count(), 0);
}

#[test]
fn every_command_reads_as_what_it_was() {
    let lines = lines(JOURNAL);
    let expected = commands();
    assert_eq!(lines.len(), expected.len());
    let mut state = ClusterState::default();
    for (n, ((name, bytes), (wanted, command))) in lines.iter().zip(&expected).enumerate() {
        assert_eq!((bytes[0], name.as_str()), (1, *wanted));
        assert_eq!(ClusterState::decode(bytes).unwrap(), *command, "{name}");
        state.apply(n as u64 + 1, &ClusterState::decode(bytes).unwrap());
    }
    assert_as_it_was(&state);
}

#[test]
fn every_row_reads_as_what_it_was() {
    let mut state = ClusterState::default();
    for (key, bytes) in lines(ROWS) {
        assert_eq!(bytes[0], 1);
        state.load(&key, &bytes).unwrap();
    }
    assert_as_it_was(&state);
    assert_eq!(state.revision(), 13);
}

/// A whole database of that program, killed with rows folded and a tail in its journal.
#[tokio::test]
async fn a_database_of_that_program_opens_and_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("controller");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("state.redb"), include_bytes!("../fixtures/state-v1/state.redb")).unwrap();
    for round in 0..2 {
        let store: Store<ClusterState> = Store::open(&dir, StoreOptions::default()).await.unwrap();
        if round == 0 {
            store.read(assert_as_it_was);
        }
        // What is written now is of the present version, beside rows of the first one.
        let report = NodeReport { finding: format!("round {round}"), ..NodeReport::default() };
        store.commit(Command::Report { id: keyed("h3"), report }).await.unwrap();
        let key = Some(KeyFingerprint::of_public_key(b"h1"));
        let (node, warrant) = (node("h1", true, 1, Role::Manager), Warrant::Member);
        let effect = store.commit(Command::Admit { node, warrant, key, at: at(20) }).await.unwrap().effect;
        assert_eq!(effect, if round == 0 { Effect::Changed } else { Effect::Unchanged }, "its key is on record now");
        store.close().await;
    }
}
