//! What changed since the last join is put right, and nothing else is touched.

use clusterctl::converge::plan::Refusal;
use clusterctl::providers::mounts::ProbeResult;
use clusterctl::providers::swarm::SwarmEngine;

use super::*;
use crate::fakes::host::Hand;
use crate::world::{brick_path, mount_point, until_so};

/// Breaks something on the second of three hosts, joins there, and expects exactly these steps.
async fn repaired(break_it: impl AsyncFnOnce(&Host), steps: &[&str]) {
    let world = converged(3, 3).await;
    let (host, others) = (&world.hosts[1], [&world.hosts[0], &world.hosts[2]]);
    break_it(host).await;
    let before: Vec<usize> = others.iter().map(|host| host.mutations()).collect();
    let joined = join(host).await.unwrap_or_else(|error| panic!("{steps:?}: {}", chain(&error)));
    assert_eq!(names(&joined.done), steps);
    assert_eq!(others.iter().map(|host| host.mutations()).collect::<Vec<_>>(), before);
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// S2-68.
#[tokio::test]
async fn a_mount_that_is_gone_is_mounted() {
    repaired(async |host| host.hand.lose_mounts(), &["mount"]).await;
}

/// S2-68, G12: a mount whose client died is in the way until it is taken off.
#[tokio::test]
async fn a_dead_mount_is_replaced() {
    for health in [ProbeResult::Disconnected, ProbeResult::Hung] {
        repaired(async |host| host.hand.set_health(&mount_point(), health), &["unmount", "mount"]).await;
    }
}

/// S2-68.
#[tokio::test]
async fn a_boot_entry_that_is_gone_is_written() {
    repaired(async |host| host.hand.lose_boot_entries(), &["persist"]).await;
}

/// S2-68: a host that was taken out of the Swarm by hand comes back.
#[tokio::test]
async fn a_host_that_left_the_swarm_joins_it() {
    repaired(async |host| host.engine.leave(false).await.unwrap(), &["join"]).await;
}

/// S2-68: all at the same time.
#[tokio::test]
async fn everything_at_once() {
    let break_it = async |host: &Host| {
        host.engine.leave(false).await.unwrap();
        host.hand.lose_mounts();
        host.hand.lose_boot_entries();
    };
    repaired(break_it, &["join", "persist", "mount"]).await;
}

/// S2-72: a brick that waits for a set, and was removed, is made again.
#[tokio::test]
async fn a_brick_that_waits_is_made_again() {
    let world = converged(4, 3).await;
    let volume = world.volume().unwrap();
    let outside = |host: &&Host| volume.bricks.iter().all(|brick| brick.host != host.address.to_string());
    let host = world.hosts.iter().find(outside).unwrap();
    host.hand.remove_brick(&brick_path());
    assert_eq!(names(&join(host).await.unwrap().done), ["prepare"]);
    assert_at_rest(&world).await;
}

/// What is somebody else's is named and left alone.
#[tokio::test]
async fn a_foreign_mount_is_refused() {
    let world = converged(3, 3).await;
    let host = &world.hosts[1];
    host.hand.mount_by_hand(&mount_point(), "ext4", "/dev/sdb1");
    let before = host.mutations();
    let error = join(host).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::Host(found) if matches!(found[..], [Refusal::MountPointTaken { .. }])),
        "{error:?}"
    );
    assert_eq!(host.mutations(), before);
    let status = world.status().await.to_string();
    assert!(status.contains("/dev/sdb1"), "the finding is reported: {status}");
}

/// A directory with files that this program did not make is never taken for a brick, nor one with another volume's mark.
#[tokio::test]
async fn foreign_bricks_are_refused() {
    let world = World::started(3, Settings::default()).await;
    world.gluster.write_into(world.hosts[1].address, brick_path().as_str());
    let mark = "11111111-0000-4000-8000-000000000001";
    world.gluster.mark(world.hosts[2].address, brick_path().as_str(), mark);
    let files = join(&world.hosts[1]).await.unwrap_err();
    assert!(matches!(&files, JoinError::Host(found) if matches!(found[..], [Refusal::BrickHasFiles(_)])), "{files:?}");
    let foreign = join(&world.hosts[2]).await.unwrap_err();
    assert!(
        matches!(&foreign, JoinError::Host(found) if matches!(found[..], [Refusal::ForeignBrick { .. }])),
        "{foreign:?}"
    );
    assert_eq!(world.gluster.mark_of(world.hosts[2].address, brick_path().as_str()).as_deref(), Some(mark));
    assert!(world.hosts[1..].iter().all(|host| host.hand.mutations() == 0));
}

/// T14, T24: a host whose glusterd somebody else has taken into a pool gets no brick, and is left as it is.
#[tokio::test]
async fn a_captured_glusterd_is_refused() {
    let world = World::started(2, Settings::default()).await;
    join(&world.hosts[0]).await.unwrap();
    world.captured(&world.hosts[1], "10.9.9.9");
    let error = join(&world.hosts[1]).await.unwrap_err();
    let JoinError::Host(refusals) = &error else { panic!("{error:?}") };
    assert_eq!(*refusals, [Refusal::ForeignPool { peers: vec!["10.9.9.9".into()] }]);
    assert_eq!(world.hosts[1].hand.mutations(), 0);
    let status = world.status().await.to_string();
    assert!(status.contains("10.9.9.9"), "the administrator learns of it: {status}");
    // The peers of the controller's own pool are no strangers.
    world.captured(&world.hosts[0], "10.0.0.2");
    join(&world.hosts[0]).await.unwrap();
}

/// A volume that takes no writes is waited for, and mounting it again is no cure.
#[tokio::test]
async fn an_unwritable_volume_is_waited_for() {
    let world = converged(3, 3).await;
    let host = &world.hosts[1];
    host.hand.set_health(&mount_point(), ProbeResult::NoQuorum);
    let before = host.mutations();
    let error = host.join(None, Duration::from_millis(700)).await.unwrap_err();
    assert!(matches!(&error, JoinError::VolumeUnwritable { .. }), "{error:?}");
    assert_eq!(host.mutations(), before);
    let before_it_looks = host.hand.calls(Hand::Mounter);
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { join(&host).await }
    });
    until_so("mounts and volume are looked at", || host.hand.calls(Hand::Mounter) >= before_it_looks + 2).await;
    host.hand.set_health(&mount_point(), ProbeResult::ReadWrite);
    assert_eq!(names(&waiting.await.unwrap().unwrap().done), Vec::<&str>::new());
}
