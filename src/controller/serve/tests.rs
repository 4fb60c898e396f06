use super::*;
use crate::clock::SystemClock;
use crate::cluster::{Hostname, KeyFingerprint, NodeId, Role, ShortId};
use crate::controller::command::{AdmittedNode, TokenTerms};
use crate::protocol::registration::Facts;

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_767_323_045).unwrap()
}

fn print() -> KeyFingerprint {
    KeyFingerprint::of_public_key(b"key")
}

fn admit(key: Option<KeyFingerprint>) -> Command {
    let node = AdmittedNode {
        id: NodeId::of_public_key(b"key"),
        keyed: true,
        hostname: Hostname::parse("h1").unwrap(),
        address: NodeAddress::parse("10.0.0.1").unwrap(),
        role: Role::Worker,
        facts: Facts::default(),
    };
    Command::Admit { node, warrant: Warrant::Open, key, at: now() }
}

async fn store(dir: &Path, commands: Vec<Command>) -> Store<ClusterState> {
    let store: Store<ClusterState> = Store::open(dir, StoreOptions::default()).await.unwrap();
    store.commit(Command::Initialise { cluster_id: "c1".to_owned(), at: now() }).await.unwrap();
    for command in commands {
        store.commit(command).await.unwrap();
    }
    store
}

/// A CA that is gone is not made anew where somebody knows the one before.
#[tokio::test]
async fn a_lost_authority_is_noticed() {
    let token = TokenTerms {
        id: ShortId::of_bytes([1; 5]),
        digest: [0; 32],
        role: Role::Worker,
        profiles: Vec::new(),
        node: None,
        uses: 0,
        expires_at: now(),
        pin: print(),
    };
    let admin = Command::CreateAdmin { name: "ann".to_owned(), key: print(), at: now() };
    let removed = vec![admit(None), Command::Remove { id: NodeId::of_public_key(b"key"), at: now() }];
    for (commands, lost) in [
        (vec![Command::CreateToken { token, at: now() }], true),
        (vec![admit(Some(print()))], true),
        (vec![admin], true),
        (removed, true),
        // As a state of the first version has them.
        (vec![admit(None)], false),
        (Vec::new(), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), commands.clone()).await;
        let made = authority(&store, dir.path(), &SystemClock);
        assert_eq!(matches!(made, Err(ServeError::AuthorityLost { .. })), lost, "{commands:?}");
        assert_eq!(made.is_ok(), !lost, "{commands:?}");
        store.close().await;
    }
}

/// The CA of another cluster would shut out every node of this one.
#[tokio::test]
async fn an_authority_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Vec::new()).await;
    Authority::create(&dir.path().join(AUTHORITY_DIR), "c2", now()).unwrap();
    let found = authority(&store, dir.path(), &SystemClock);
    assert!(
        matches!(&found, Err(ServeError::Authority(AuthorityError::OtherCluster { found, expected, .. })) if found == "c2" && expected == "c1"),
        "{found:?}"
    );
    store.close().await;
}
