//! The store on disks that fail, fill up, are slow or rot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clusterctl::controller::store::{CommitError, Health, OpenError, Store, StoreOptions};

use super::disks::{Faults, faulty, quick};
use super::ledger::{Change, Ledger};
use super::{unfolded, until};

fn on(faults: &Arc<Faults>) -> StoreOptions {
    StoreOptions {
        fold_records: 4,
        reopen: (Duration::from_millis(1), Duration::from_millis(5)),
        medium: Some(faulty(faults)),
        ..unfolded()
    }
}

/// C5: while the disk is broken, commits fail at once and reads go on; when it works again, so does the store, by
/// itself, and nothing acknowledged is lost.
#[tokio::test]
async fn comes_back_after_a_full_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = Store::<Ledger>::open(scratch.path(), on(&faults)).await.unwrap();
    store.commit(Change::set("a", 1)).await.unwrap();
    faults.fail_at(1);
    assert!(matches!(store.commit(Change::set("a", 2)).await, Err(CommitError::Storage(_))));
    assert!(matches!(store.commit(Change::set("a", 3)).await, Err(CommitError::Storage(_))));
    assert!(matches!(store.status().health, Health::Failing { .. }), "{:?}", store.status());
    assert_eq!(store.read(|ledger| ledger.values["a"]), 1);
    faults.repair();
    until("writable again", || store.status().health == Health::Writable).await;
    store.commit(Change::set("a", 4)).await.unwrap();
    store.close().await;
    let store = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap();
    assert_eq!(store.read(|ledger| ledger.values["a"]), 4);
    store.close().await;
}

/// C5, I1, I2: for every n, the n-th operation on the disk fails (in a commit, a fold or a reopening): what was
/// acknowledged is there, what was refused is there whole or not at all, and memory and disk agree.
#[tokio::test]
async fn survives_the_nth_failure() {
    for n in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let store = Store::<Ledger>::open(scratch.path(), on(&faults)).await.unwrap();
        store.commit(Change::set("k0", 0)).await.unwrap();
        faults.fail_at(n);
        let (mut acknowledged, mut refused) = (BTreeMap::from([("k0".to_owned(), 0)]), BTreeMap::new());
        for round in 1..=10u64 {
            let key = format!("k{round}");
            match store.commit(Change::set(&key, round)).await {
                Ok(_) => acknowledged.insert(key, round),
                Err(CommitError::Storage(_)) => refused.insert(key, round),
                Err(error) => panic!("n={n}: {error}"),
            };
        }
        let failed = faults.has_failed();
        faults.repair();
        // A fold may still be failing in the background.
        while store.commit(Change::set("last", 99)).await.is_err() {
            until("writable again", || store.status().health == Health::Writable).await;
        }
        acknowledged.insert("last".to_owned(), 99);
        let memory = store.read(|ledger| ledger.values.clone());
        store.close().await;
        let store = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap();
        let disk = store.read(|ledger| ledger.values.clone());
        assert_eq!(memory, disk, "n={n}");
        for (key, value) in &acknowledged {
            assert_eq!(disk.get(key), Some(value), "n={n}: {key}");
        }
        for (key, value) in &disk {
            assert!(acknowledged.get(key).or(refused.get(key)) == Some(value), "n={n}: {key} was invented");
        }
        store.close().await;
        if !failed {
            assert!(n > 20, "only {n} operations were tried");
            return;
        }
    }
}

/// C12: on a slow disk batches grow; beyond the queue, commits are refused at once.
#[tokio::test]
async fn refuses_what_does_not_fit_the_queue() {
    let scratch = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let options = StoreOptions { queue: 8, ..on(&faults) };
    let store = Store::<Ledger>::open(scratch.path(), options).await.unwrap();
    faults.stuck.store(true, Ordering::SeqCst);
    let mut waiting = tokio::task::JoinSet::new();
    let commit = |n: u64| {
        let store = store.clone();
        async move { store.commit(Change::set("k", n)).await }
    };
    waiting.spawn(commit(0));
    until("the writer is stuck", || store.status().queued == 0 && store.read(|_| true)).await;
    let mut refused = 0;
    for n in 1..100 {
        waiting.spawn(commit(n));
        tokio::task::yield_now().await;
        while let Some(done) = waiting.try_join_next() {
            assert_eq!(done.unwrap(), Err(CommitError::Overloaded));
            refused += 1;
        }
    }
    assert!(refused > 80, "{refused}");
    faults.stuck.store(false, Ordering::SeqCst);
    for done in waiting.join_all().await {
        assert!(matches!(done, Ok(_) | Err(CommitError::Overloaded)), "{done:?}");
    }
    store.close().await;
}

/// C6: a flipped bit anywhere in the file is an error or harmless, never a panic and never a different state.
#[tokio::test]
async fn a_flipped_bit_is_an_error_or_harmless() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("state");
    let store = Store::<Ledger>::open(&dir, unfolded()).await.unwrap();
    for n in 0..50 {
        store.commit(Change::set(&format!("folded/{n}"), n)).await.unwrap();
    }
    store.close().await;
    let store = Store::<Ledger>::open(&dir, unfolded()).await.unwrap();
    for n in 0..50 {
        store.commit(Change::set(&format!("journaled/{n}"), n)).await.unwrap();
    }
    let expected = store.read(|ledger| ledger.values.clone());
    // As a crash would leave it: the journal is not folded.
    let image = std::fs::read(dir.join("state.redb")).unwrap();
    store.close().await;

    let used: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
    let copy = scratch.path().join("copy");
    let (mut errors, mut harmless) = (0, 0);
    let mut dice = u64::from(std::process::id()) | 1;
    for _ in 0..1_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (at, bit) = (&used[(dice >> 36) as usize % used.len()], (dice >> 33) % 8);
        let mut damaged = image.clone();
        damaged[*at] ^= 1 << bit;
        std::fs::create_dir_all(&copy).unwrap();
        std::fs::write(copy.join("state.redb"), &damaged).unwrap();
        match Store::<Ledger>::open(&copy, StoreOptions { medium: Some(quick()), ..unfolded() }).await {
            Ok(store) => {
                assert_eq!(store.read(|ledger| ledger.values.clone()), expected, "byte {at}, bit {bit}");
                store.close().await;
                harmless += 1;
            }
            Err(OpenError::Corrupt { .. } | OpenError::NewerFormat { .. } | OpenError::Io { .. }) => errors += 1,
            Err(error) => panic!("byte {at}, bit {bit}: {error}"),
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(errors > 0 && harmless > 0, "{errors} errors, {harmless} harmless");
}

/// C5: a file system that is full, for real. Needs the right to mount.
#[tokio::test]
async fn comes_back_after_a_full_file_system() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may mount");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mounted = Tmpfs::mount(scratch.path(), "size=8m");
    let dir = scratch.path().join("state");
    let options = StoreOptions { reopen: (Duration::from_millis(1), Duration::from_millis(5)), ..unfolded() };
    let store = Store::<Ledger>::open(&dir, options).await.unwrap();
    store.commit(Change::set("a", 1)).await.unwrap();
    let mut blobs = 0;
    let error = loop {
        let blob = Change::Set { key: "x".repeat(200_000) + &blobs.to_string(), value: blobs };
        match store.commit(blob).await {
            Ok(_) => blobs += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::Storage(_)), "{error}");
    assert!(blobs > 1, "{blobs}");
    assert_eq!(store.read(|ledger| ledger.values["a"]), 1);
    mounted.remount("size=64m");
    let writable = async {
        while store.commit(Change::set("a", 2)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), writable).await.unwrap();
    store.close().await;
    let store = Store::<Ledger>::open(&dir, unfolded()).await.unwrap();
    assert_eq!(store.read(|ledger| ledger.values["a"]), 2);
    assert!(store.read(|ledger| ledger.values.len() as u64) > blobs);
    store.close().await;
}

/// C5: when the disk is full, what was kept back lets the state be written on before anybody made room; once there is room
/// it is kept back again.
#[tokio::test]
async fn a_full_disk_gives_up_its_reserve_first() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may mount");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let _mounted = Tmpfs::mount(scratch.path(), "size=16m");
    let dir = scratch.path().join("state");
    let (reserve, filler) = (dir.join("state.reserve"), scratch.path().join("filler"));
    let options = StoreOptions {
        reopen: (Duration::from_millis(1), Duration::from_millis(5)),
        fold_records: 4,
        reserve: 2 * 1024 * 1024,
        ..unfolded()
    };
    let store = Store::<Ledger>::open(&dir, options).await.unwrap();
    store.commit(Change::set("a", 1)).await.unwrap();
    assert!(store.status().reserve_held);
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 2 * 1024 * 1024);
    // All that is left, to the last page.
    let full = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&filler).unwrap()).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // What the file has to grow for.
    let (mut failures, mut written) = (0, 0);
    while failures == 0 || written < 3 {
        match store.commit(Change::Set { key: "x".repeat(100_000) + &written.to_string(), value: written }).await {
            Ok(_) => written += 1,
            Err(CommitError::Storage(_)) => failures += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(written < 200, "the disk is not full");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!reserve.exists() && !store.status().reserve_held);
    std::fs::remove_file(&filler).unwrap();
    let again = async {
        while !store.status().reserve_held {
            store.commit(Change::set("a", 2)).await.ok();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    assert!(reserve.exists());
    store.close().await;
}

/// A file system of its own, unmounted in the end. It is below a directory of this test, where nobody else looks.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(at: &std::path::Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("tmpfs", at, "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str()).unwrap();
        Self(at.to_owned())
    }

    fn remount(&self, options: &str) {
        rustix::mount::mount_remount(&self.0, rustix::mount::MountFlags::empty(), options).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).ok();
    }
}
