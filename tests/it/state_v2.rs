//! State that the second record version wrote: it must stay readable, and mean what it meant.
//!
//! `tests/fixtures/state-v2/state.redb` was written by the program of that version on a lab host: two nodes that joined
//! with a token, an administrator, and a volume whose create GlusterFS refused each time, so that its intent stands. The
//! program was killed then.

use clusterctl::cluster::Hostname;
use clusterctl::controller::command::{Command, StorageIntent};
use clusterctl::controller::state::ClusterState;
use clusterctl::controller::store::{Store, StoreOptions};
use clusterctl::protocol::registration::{Addendum, NodeReport};

fn assert_as_it_was(state: &ClusterState) {
    let names: Vec<&str> = state.nodes().map(|node| node.hostname.as_str()).collect();
    assert!(names.len() == 2 && names.contains(&"h1") && names.contains(&"h2"), "{names:?}");
    assert_eq!((state.tokens().count(), state.admins().count()), (1, 1));
    assert_eq!(state.storage().unwrap().volume.as_str(), "shared");
    let intents: Vec<&[String]> = state.intents().iter().map(|intent| &intent.bricks[..]).collect();
    assert_eq!(intents, [["10.88.1.12:/data/clusterctl/bricks/shared"]]);
    assert!(!state.layout_due());
    let h2 = state.node_named(&Hostname::parse("h2").unwrap()).unwrap();
    assert!(h2.key.is_some() && h2.report.brick_ready && h2.more == Addendum::default());
}

/// C17, J12: it opens, is as it was, and what is written to it now stands beside it.
#[tokio::test]
async fn a_database_of_that_program_opens_and_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("controller");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("state.redb"), include_bytes!("../fixtures/state-v2/state.redb")).unwrap();
    let store: Store<ClusterState> = Store::open(&dir, StoreOptions::default()).await.unwrap();
    store.read(assert_as_it_was);
    let (id, intent) = store.read(|state| {
        let h2 = state.node_named(&Hostname::parse("h2").unwrap()).unwrap();
        (h2.id.clone(), StorageIntent { bricks: vec!["10.88.1.13:/b".to_owned()], ..state.intents()[0].clone() })
    });
    let more = Addendum { refused: true, boot_servers: 3 };
    store.commit(Command::Observe { id: id.clone(), report: NodeReport::default(), more }).await.unwrap();
    store.commit(Command::Intend { intent, layout: true }).await.unwrap();
    store.close().await;
    let store: Store<ClusterState> = Store::open(&dir, StoreOptions::default()).await.unwrap();
    store.read(|state| {
        assert_eq!((state.intents().len(), state.layout_due()), (2, true));
        assert_eq!(state.node(&id).unwrap().more, more);
    });
    store.close().await;
}
