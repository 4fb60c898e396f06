//! The durable store: what was acknowledged survives, what was not is known to be unknown, and nothing is made anew in
//! place of what cannot be read.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

pub(crate) mod disks;
mod faults;
mod ledger;
mod power;
mod process;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use clusterctl::controller::store::{Health, OpenError, Store, StoreOptions};
use proptest::prelude::*;

use ledger::{Change, Ledger};

/// Options under which nothing is folded unless a test asks for it.
pub(crate) fn unfolded() -> StoreOptions {
    let fold_after = Duration::from_secs(3600);
    StoreOptions { fold_records: u64::MAX, fold_after, reserve: 0, ..StoreOptions::default() }
}

async fn open(dir: &std::path::Path, options: StoreOptions) -> Store<Ledger> {
    Store::open(dir, options).await.unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never came: {what}");
}

/// S2-52, S2-61: what was recorded is there after a restart; files and directory are private.
#[tokio::test]
async fn keeps_what_was_committed() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("state");
    let store = open(&dir, unfolded()).await;
    let first = store.commit(Change::set("a", 1)).await.unwrap();
    let second = store.commit(Change::set("a", 2)).await.unwrap();
    assert_eq!((first.sequence, first.effect, second.sequence, second.effect), (1, None, 2, Some(1)));
    store.commit(Change::set("b", 3)).await.unwrap();
    store.commit(Change::remove("b")).await.unwrap();
    assert_eq!(*store.changed().borrow(), 4);
    let before = store.read(|ledger| ledger.values.clone());
    store.close().await;

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("state.redb")), mode(&dir.join("state.lock"))), (0o700, 0o600, 0o600));
    let store = open(&dir, unfolded()).await;
    assert_eq!(store.read(|ledger| ledger.values.clone()), before);
    assert_eq!((store.status().sequence, store.status().folded, store.status().rows), (4, 4, 1));
    assert_eq!(store.commit(Change::set("c", 1)).await.unwrap().sequence, 5);
    store.close().await;
}

/// Many at once share transactions, and each gets its own number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_what_waits() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), unfolded()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let store = store.clone();
        tasks.spawn(async move { store.commit(Change::set(&format!("k{n}"), n)).await.unwrap().sequence });
    }
    let mut sequences = tasks.join_all().await;
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=1000).collect::<Vec<u64>>());
    assert!(store.status().batches < 1000, "{:?}", store.status());
    store.close().await;
}

#[tokio::test]
async fn folds_when_there_is_much_or_it_is_old() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), StoreOptions { fold_records: 10, ..unfolded() }).await;
    for n in 0..25 {
        store.commit(Change::set("k", n)).await.unwrap();
    }
    until("two folds", || store.status().folds == 2).await;
    assert_eq!((store.status().folded, store.status().sequence), (20, 25));
    store.close().await;
    let store = open(scratch.path(), StoreOptions { fold_after: Duration::from_millis(1), ..unfolded() }).await;
    store.commit(Change::set("k", 1)).await.unwrap();
    until("a fold", || store.status().folded == 26).await;
    store.close().await;
}

/// B5, B11: a store with nothing to do writes nothing.
#[tokio::test]
async fn does_not_write_when_nothing_changes() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), StoreOptions { fold_after: Duration::from_millis(1), ..unfolded() }).await;
    store.commit(Change::set("k", 1)).await.unwrap();
    until("a fold", || store.status().folded == 1).await;
    let status = store.status();
    store.close().await;
    let store = open(scratch.path(), unfolded()).await;
    assert_eq!((store.status().folds, store.status().batches, store.status().rows), (0, 0, status.rows));
    store.close().await;
}

/// The file does not stay large after what it held is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacts_a_file_that_grew() {
    let scratch = tempfile::tempdir().unwrap();
    let options = StoreOptions { fold_after: Duration::from_millis(1), ..unfolded() };
    let store = open(scratch.path(), unfolded()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..600_u64 {
        let store = store.clone();
        tasks
            .spawn(async move { store.commit(Change::Blob { key: format!("b{n}"), bytes: 64 * 1024 }).await.unwrap() });
    }
    tasks.join_all().await;
    store.close().await;
    let store = open(scratch.path(), options).await;
    let before = store.status().file_bytes;
    assert!(before > 30 * 1024 * 1024, "{before}");
    store.commit(Change::Clear).await.unwrap();
    until("a compaction", || store.status().compactions > 0).await;
    assert!(store.status().file_bytes < before / 2, "{:?}", store.status());
    store.close().await;
}

/// C8: a second opener is told who holds the state.
#[tokio::test]
async fn admits_one_process() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), unfolded()).await;
    let error = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    store.close().await;
    open(scratch.path(), unfolded()).await.close().await;
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), unfolded()).await;
    store.commit(Change::set("a", 1)).await.unwrap();
    let other = store.clone();
    store.close().await;
    assert!(other.commit(Change::set("a", 2)).await.is_err());
    assert_eq!(other.status().health, Health::Closed);
    assert_eq!(other.read(|ledger| ledger.values["a"]), 1);
}

/// C17: a record of a newer program is told apart from damage.
#[tokio::test]
async fn refuses_what_a_newer_program_wrote() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path(), unfolded()).await;
    store.commit(Change::FromTheFuture).await.unwrap();
    store.close().await;
    let error = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { .. }), "{error}");
    assert!(error.to_string().contains("state.redb"), "{error}");
}

/// C6: an emptied or foreign file is an error that names it, and stays as it is.
#[tokio::test]
async fn never_starts_afresh_over_a_file() {
    for bytes in [&b""[..], b"not a database", &[0u8; 8192]] {
        let scratch = tempfile::tempdir().unwrap();
        open(scratch.path(), unfolded()).await.close().await;
        let file = scratch.path().join("state.redb");
        std::fs::write(&file, bytes).unwrap();
        let error = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("state.redb"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let key = prop_oneof!["[a-e]", "node/[0-9]{1,2}"];
    prop_oneof![
        6 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Change::Set { key, value }),
        2 => key.prop_map(|key| Change::Remove { key }),
        1 => Just(Change::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// I1, I3: closing, folding and reopening at any point does not change what the commands add up to.
    #[test]
    fn reopening_changes_nothing(
        commands in proptest::collection::vec((changes(), any::<bool>()), 1..40),
        fold_records in prop_oneof![1u64..8, Just(u64::MAX)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scratch = tempfile::tempdir().unwrap();
            let options = StoreOptions { fold_records, ..unfolded() };
            let mut expected = Ledger::default();
            let mut store = open(scratch.path(), options.clone()).await;
            for (sequence, (command, reopen)) in (1..).zip(commands) {
                let effect = clusterctl::controller::store::Machine::apply(&mut expected, sequence, &command);
                assert_eq!(store.commit(command).await.unwrap().effect, effect);
                if reopen {
                    store.close().await;
                    store = open(scratch.path(), options.clone()).await;
                }
                assert_eq!(store.read(|ledger| ledger.values.clone()), expected.values);
            }
            store.close().await;
        });
    }
}
