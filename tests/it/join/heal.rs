//! A create that came to nothing leaves marks on bricks; they are cleaned and the volume comes about.

use super::*;
use crate::world::brick_path;

/// Joins `count` hosts, then `more`, while the next changes are wedged; expects so many bricks, and that some were cleaned.
async fn healed(count: usize, more: usize, wedges: usize, bricks: usize) {
    let what = format!("{count} and {more} hosts, {wedges} wedges");
    let world = World::started(count + more, Settings::default()).await;
    let join = async |hosts: &[Host]| {
        let mut joins = JoinSet::new();
        for host in hosts {
            let host = host.clone();
            joins.spawn(async move { host.join(None, DEADLINE).await });
        }
        let mut steps = Vec::new();
        for outcome in joins.join_all().await {
            steps.extend(outcome.unwrap_or_else(|error| panic!("{what}: {}", chain(&error))).done);
        }
        steps
    };
    let mut steps = Vec::new();
    if more > 0 {
        steps.extend(join(&world.hosts[..count]).await);
        world.gluster.wedge_next(wedges);
        steps.extend(join(&world.hosts[count..]).await);
    } else {
        world.gluster.wedge_next(wedges);
        steps.extend(join(&world.hosts).await);
    }
    // A volume that serves is grown while nobody waits: its new bricks are cleaned by later joins on their hosts.
    let start = std::time::Instant::now();
    while world.volume().is_none_or(|volume| volume.bricks.len() < bricks) {
        assert!(start.elapsed() < DEADLINE, "{what}: {:?}", world.gluster.history());
        tokio::time::sleep(Duration::from_millis(20)).await;
        steps.extend(join(&world.hosts).await);
    }
    world.volume_of(bricks).await;
    join(&world.hosts).await;
    assert!(names(&steps).contains(&"reset"), "{what}: {:?}", world.gluster.history());
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// S2-73, G10: the first set, one brick alone, and the growth to a set.
#[tokio::test]
async fn wedged_creates_heal_themselves() {
    let worlds = [(3, 0, 1, 3), (3, 0, 2, 3), (1, 0, 1, 1), (1, 2, 1, 3), (3, 3, 1, 6)];
    let mut runs = JoinSet::new();
    for (count, more, wedges, bricks) in worlds {
        runs.spawn(healed(count, more, wedges, bricks));
    }
    runs.join_all().await;
}

/// A marked brick with files in it is nobody's to clean, also where the create was ours.
#[tokio::test]
async fn a_brick_with_files_keeps_its_mark() {
    let world = World::started(1, Settings::default()).await;
    let host = &world.hosts[0];
    world.gluster.wedge_next(1);
    world.gluster.write_at_wedge();
    let error = host.join(Some(Role::Manager), Duration::from_millis(2_500)).await.unwrap_err();
    assert!(matches!(&error, JoinError::Conversation(_)), "{}", chain(&error));
    assert!(chain(&error).contains("interrupted create"), "{}", chain(&error));
    assert!(world.gluster.mark_of(host.address, brick_path().as_str()).is_some());
}
