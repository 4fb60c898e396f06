//! The controller on a disk that fails, stays away, or is slow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clusterctl::controller::serve::ServeError;
use clusterctl::controller::store::{OpenMedium, StoreOptions};

use super::*;
use crate::store::disks::{Faults, faulty};
use crate::world::{until, until_so};

/// A disk that cannot be opened either while it is broken.
fn gone_when_broken(faults: &Arc<Faults>) -> OpenMedium {
    let (faults, open) = (Arc::clone(faults), faulty(faults));
    Arc::new(move |path| {
        if faults.has_failed() {
            return Err(std::io::Error::other("no such device"));
        }
        open(path)
    })
}

fn on(medium: OpenMedium) -> Settings {
    let reopen = (Duration::from_millis(1), Duration::from_millis(10));
    Settings { store: StoreOptions { reopen, medium: Some(medium), ..StoreOptions::default() }, ..Settings::default() }
}

fn is_unavailable(reply: &Value) -> bool {
    let told = reply["RetryAfterMs"].as_u64().is_some_and(|after| after > 0);
    (&reply["Status"], &reply["Reason"]) == (&json!("waiting"), &json!("storage-unavailable")) && told
}

/// C5: while the disk is away nothing is acknowledged and members are answered; it comes back, and so does the
/// controller, by itself.
#[tokio::test]
async fn what_cannot_be_written_is_not_acknowledged() {
    let faults = Arc::new(Faults::default());
    let world = World::started(4, on(gone_when_broken(&faults))).await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
    faults.fail_at(1);
    for host in &world.hosts[2..] {
        let reply = world.ask(&host.registration()).await;
        assert!(is_unavailable(&reply), "{reply}");
    }
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
    let status = world.status().await;
    assert!(status["Store"]["Health"]["failing"].is_object(), "{status}");
    faults.repair();
    for host in &world.hosts[2..] {
        until("taken again", async || (world.ask(&host.registration()).await["Status"] == "ready").then_some(())).await;
    }
    assert_eq!(world.status().await["Store"]["Health"], "writable");
}

/// C5: a state that stays away ends the controller, which says why.
#[tokio::test]
async fn a_disk_that_stays_away_ends_the_controller() {
    let faults = Arc::new(Faults::default());
    let settings = Settings { storage_patience: Duration::from_secs(1), ..on(gone_when_broken(&faults)) };
    let mut world = World::started(2, settings).await;
    faults.fail_at(1);
    let reply = world.ask(&world.hosts[1].registration()).await;
    assert!(is_unavailable(&reply), "{reply}");
    match world.ended().await {
        Err(ServeError::StorageGone { reason, .. }) => assert!(reason.contains("no such device"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// C12: while the disk takes its time, as many wait as the queue holds; the others are told to come back, and nobody is
/// lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds_are_told_to_come_back() {
    let faults = Arc::new(Faults::default());
    let mut settings = on(faulty(&faults));
    settings.store.queue = 2;
    let world = Arc::new(World::started(12, settings).await);
    faults.stuck.store(true, Ordering::SeqCst);
    let mut asked = tokio::task::JoinSet::new();
    let mut ask = |n: usize| {
        let world = Arc::clone(&world);
        asked.spawn(async move { (n, world.ask(&world.hosts[n].registration()).await) });
    };
    ask(1);
    until_so("the writer stands", || faults.standing.load(Ordering::SeqCst)).await;
    (2..12).for_each(&mut ask);
    let mut overloaded = Vec::new();
    for _ in 0..8 {
        let (n, reply) = asked.join_next().await.unwrap().unwrap();
        assert_eq!((&reply["Status"], &reply["Reason"]), (&json!("waiting"), &json!("overloaded")), "{reply}");
        assert!(reply["RetryAfterMs"].as_u64().unwrap() > 0, "{reply}");
        overloaded.push(n);
    }
    assert_eq!(world.status().await["Store"]["Queued"], 2);
    faults.stuck.store(false, Ordering::SeqCst);
    for (_, reply) in asked.join_all().await {
        assert_eq!(reply["Status"], "ready", "{reply}");
    }
    for n in overloaded {
        assert_eq!(world.ask(&world.hosts[n].registration()).await["Status"], "ready");
    }
    assert_eq!(world.status().await["NodesTotal"], 12);
}
