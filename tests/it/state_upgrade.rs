//! C17: what version 2 of the state left on disk is read as what it was, and a copy of it is kept before this version
//! writes.
//!
//! `journal.txt`, `rows.txt` and `members.redb` in `tests/fixtures/state-v2` were written by the program whose version that
//! was, as `state-v1` by the one before it: their commands are those that version 2 added, by everybody who comes in by
//! them.

use std::path::Path;

use clusterctl::cluster::{Hostname, KeyFingerprint, NodeId, ProfileName, Role, ShortId};
use clusterctl::controller::command::{Command, Decision, Warrant};
use clusterctl::controller::state::{ClusterState, Effect, RequestStatus, StorageRole};
use clusterctl::controller::store::{Machine, Store, StoreOptions};
use jiff::Timestamp;

const JOURNAL: &str = include_str!("../fixtures/state-v2/journal.txt");
const ROWS: &str = include_str!("../fixtures/state-v2/rows.txt");

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + second).unwrap()
}

fn short(n: u8) -> ShortId {
    ShortId::of_bytes([n; 5])
}

fn key(name: &str) -> KeyFingerprint {
    KeyFingerprint::of_public_key(name.as_bytes())
}

/// The lines of a fixture: a name and its bytes.
fn lines(text: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, hex)| (name.to_owned(), bytes(hex))).collect()
}

/// What all commands of the fixture add up to.
fn assert_as_it_was(state: &ClusterState) {
    assert_eq!((state.cluster_id(), state.revision(), state.incarnation()), (Some("c0ffee"), 19, None));
    assert_eq!((state.counts().managers, state.counts().workers), (1, 3));
    let found = |name: &str| state.node_named(&Hostname::parse(name).unwrap()).unwrap();
    let profiles = vec![ProfileName::parse("storage").unwrap()];
    for (name, warrant, proved, granted) in [
        ("h1", Warrant::Local, None, Vec::new()),
        ("h2", Warrant::Token(short(1)), Some(key("h2")), profiles.clone()),
        ("h3", Warrant::Open, Some(key("h3")), Vec::new()),
        ("h5", Warrant::Request(short(3)), Some(key("h5")), profiles),
    ] {
        let node = found(name);
        assert_eq!((&node.admitted_by, node.key, &node.profiles), (&warrant, proved, &granted), "{name}");
        assert_eq!(node.storage, StorageRole::None, "{name}");
    }
    assert_eq!((found("h3").address.to_string().as_str(), found("h1").role), ("10.0.0.33", Role::Manager));
    assert_eq!(found("h2").replaceable_since, Some(at(8)));
    assert!(state.tombstone(&NodeId::of_public_key(b"h4")).is_some());
    let token = state.token(&short(1)).unwrap();
    assert_eq!((token.used, token.terms.uses, token.revoked_at), (1, 2, None));
    assert_eq!(state.token(&short(2)).unwrap().revoked_at, Some(at(9)));
    let rejected = &state.request(&short(4)).unwrap().status;
    assert!(
        matches!(rejected, RequestStatus::Decided { decision: Decision::Reject { reason }, .. } if reason == "unknown host"),
        "{rejected:?}"
    );
    assert!(state.administers("alice", &key("alice")) && !state.administers("bob", &key("bob")));
}

#[test]
fn every_command_does_what_it_did() {
    let mut state = ClusterState::default();
    let lines = lines(JOURNAL);
    assert_eq!(lines.len(), 19);
    for (sequence, (name, bytes)) in (1..).zip(&lines) {
        assert_eq!(bytes[0], 2, "{name}");
        assert_eq!(state.apply(sequence, &ClusterState::decode(bytes).unwrap()), Effect::Changed, "{name}");
    }
    assert_as_it_was(&state);
}

#[test]
fn every_row_reads_as_what_it_was() {
    let mut state = ClusterState::default();
    for (key, bytes) in lines(ROWS) {
        assert_eq!(bytes[0], 2);
        state.load(&key, &bytes).unwrap();
    }
    assert_as_it_was(&state);
}

async fn open(dir: &Path) -> Store<ClusterState> {
    Store::open(dir, StoreOptions::default()).await.unwrap()
}

/// The whole database, killed with rows folded and a tail in its journal. The copy is what it was; once this version has
/// written there is no other.
#[tokio::test]
async fn a_copy_is_kept_before_this_version_writes() {
    let versions = [
        (2, &include_bytes!("../fixtures/state-v2/members.redb")[..]),
        (1, &include_bytes!("../fixtures/state-v1/state.redb")[..]),
    ];
    for (version, image) in versions {
        let scratch = tempfile::tempdir().unwrap();
        let (dir, back) = (scratch.path().join("controller"), scratch.path().join("back"));
        for dir in [&dir, &back] {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::write(dir.join("state.redb"), image).unwrap();
        let store = open(&dir).await;
        let before = store.read(|state| state.nodes().cloned().collect::<Vec<_>>());
        if version == 2 {
            store.read(assert_as_it_was);
        }
        store.commit(Command::RevokeAdmin { name: "alice".into(), at: at(100) }).await.unwrap();
        let mark = Command::MarkRestored { incarnation: "i2".into(), at: at(101) };
        assert_eq!(store.commit(mark).await.unwrap().effect, Effect::Changed);
        store.close().await;

        let kept = dir.join("state.redb.pre-v3");
        let copy = std::fs::read(&kept).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let store = open(&dir).await;
        assert_eq!(store.read(|state| state.incarnation().map(str::to_owned)).as_deref(), Some("i2"));
        store.close().await;
        assert_eq!(std::fs::read(&kept).unwrap(), copy, "it is a copy of what was before");
        std::fs::write(back.join("state.redb"), copy).unwrap();
        let store = open(&back).await;
        assert_eq!(store.read(|state| state.nodes().cloned().collect::<Vec<_>>()), before, "version {version}");
        store.close().await;
    }
}
