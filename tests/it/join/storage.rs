//! Servers and bricks that are not as they should be: who is fine goes on, who is not is told why and the way out.

use clusterctl::converge::plan::Refusal;
use clusterctl::nodeagent::conversation::ConversationError;
use clusterctl::providers::swarm::SwarmEngine;

use super::*;
use crate::world::{address, mount_point, until, until_so, without_limits};

/// The volume's message in `master status` once it contains `words`.
async fn told(world: &World, words: &str) {
    let said =
        async || world.status().await["Volume"]["Message"].as_str().filter(|text| text.contains(words)).map(drop);
    until(words, said).await;
}

/// Expects that storage is refused to the host with that code, and that nothing was done on it about storage.
async fn not_served(host: &Host, code: &str) {
    let before = host.hand.mutations();
    let error = join(host).await.unwrap_err();
    let refused = |refusal: &Refusal| matches!(refusal, Refusal::Storage { code: found, .. } if found == code);
    assert!(matches!(&error, JoinError::Host(found) if found.len() == 1 && refused(&found[0])), "{error:?}");
    assert_eq!(host.hand.mutations(), before);
}

async fn on_the_access_list(world: &World, host: &Host, listed: bool) {
    let me = host.address.to_string();
    let as_wanted = || {
        let allow = world.volume().and_then(|volume| volume.options.get("auth.allow").cloned()).unwrap_or_default();
        allow.split(',').any(|entry| entry == me) == listed
    };
    until_so(&format!("{} on the access list: {listed}", host.name), as_wanted).await;
}

/// The host whose brick waits for a set.
fn outside(world: &World) -> &Host {
    let volume = world.volume().unwrap();
    let inside = |host: &Host| volume.bricks.iter().any(|brick| brick.host == host.address.to_string());
    world.hosts.iter().find(|host| !inside(host)).unwrap()
}

/// T13: a member that turns out to be in another Swarm is taken off the access list, also across a restart of the
/// controller, and comes back onto it when that is settled.
#[tokio::test]
async fn a_host_of_another_swarm_is_not_let_at_the_volume() {
    let mut world = converged(4, 3).await;
    let host = outside(&world).clone();
    on_the_access_list(&world, &host, true).await;
    host.engine.leave_by_hand().await;
    host.engine.init(host.address).await.unwrap();
    let error = join(&host).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::Host(found) if matches!(found[..], [Refusal::ForeignSwarm { .. }])),
        "{error:?}"
    );
    on_the_access_list(&world, &host, false).await;
    assert!(!world.gluster.lets_mount(address(1), &crate::world::volume_name(), host.address));
    world.restart().await;
    // Whoever else joins does not bring it back, nor does it by asking once more.
    join(world.hosts.iter().find(|other| other.name != host.name).unwrap()).await.unwrap();
    join(&host).await.unwrap_err();
    on_the_access_list(&world, &host, false).await;
    host.engine.leave_by_hand().await;
    host.hand.lose_mounts();
    assert_eq!(names(&join(&host).await.unwrap().done), ["join", "mount"]);
    on_the_access_list(&world, &host, true).await;
    world.check_invariants().await;
    assert_at_rest(&world).await;
}

/// A host with a brick in the volume has its data anyway: it stays on the list, and the volume can grow.
#[tokio::test]
async fn a_host_with_a_brick_stays_on_the_list() {
    let world = converged(3, 3).await;
    let host = &world.hosts[2];
    host.engine.leave_by_hand().await;
    host.engine.init(host.address).await.unwrap();
    let before = world.gluster.history();
    join(host).await.unwrap_err();
    join(&world.hosts[1]).await.unwrap();
    assert_eq!(world.gluster.history(), before);
    assert_eq!(world.status().await["Volume"]["Message"], "");
}

/// G1: while glusterd is down on the master's host a new node waits, with the way out, and goes on by itself.
#[tokio::test]
async fn a_glusterd_that_is_down_is_waited_for() {
    let world = World::started(2, Settings::default()).await;
    join(&world.hosts[0]).await.unwrap();
    world.gluster.set_up(address(1), false);
    let error = world.hosts[1].join(None, Duration::from_millis(900)).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::Conversation(ConversationError::TimedOut { reason, message, .. })
            if reason == "storage-degraded" && message.contains("`systemctl start glusterd`")),
        "{error:?}"
    );
    let joining = tokio::spawn({
        let host = world.hosts[1].clone();
        async move { join(&host).await }
    });
    world.gluster.set_up(address(1), true);
    joining.await.unwrap().unwrap();
    world.check_invariants().await;
}

/// G2: a server of another pool is named and left alone, its host exits with a refusal, and the others go on.
#[tokio::test]
async fn a_server_of_another_pool_holds_up_nobody() {
    let mut world = World::new(4, Settings::default());
    world.gluster.join_elsewhere(&[address(3), address(4)]);
    world.init().await;
    world.start().await;
    let joins = begin_all_but_the_last(&world);
    let outcomes = joins.join_all().await;
    for (at, outcome) in outcomes {
        match (at, outcome) {
            (2, Err(JoinError::Host(found))) => {
                assert!(matches!(&found[..], [Refusal::Storage { code, .. }] if code == "foreign-pool"), "{found:?}");
            }
            (2, other) => panic!("h3: {other:?}"),
            (_, outcome) => drop(outcome.unwrap_or_else(|error| panic!("h{}: {}", at + 1, chain(&error)))),
        }
    }
    assert_eq!(world.volume().unwrap().bricks.len(), 1);
    on_the_access_list(&world, &world.hosts[2], false).await;
    told(&world, "GlusterFS on h3 (10.0.0.3) is in another pool").await;
    assert_eq!(world.hosts[2].hand.mounted(&mount_point()), None);
}

/// All hosts but the last join at the same moment.
fn begin_all_but_the_last(world: &World) -> JoinSet<(usize, Result<Joined, JoinError>)> {
    let mut joins = JoinSet::new();
    for (at, host) in world.hosts[..world.hosts.len() - 1].iter().cloned().enumerate() {
        joins.spawn(async move { (at, host.join(None, DEADLINE).await) });
    }
    joins
}

/// G17: a server that is too old for the pool is told so.
#[tokio::test]
async fn a_server_of_an_old_version_is_not_served() {
    let world = World::started(4, Settings::default()).await;
    world.gluster.set_old(address(3), true);
    for outcome in begin_all_but_the_last(&world).join_all().await {
        match outcome {
            (2, Err(JoinError::Host(found))) => {
                assert!(matches!(&found[..], [Refusal::Storage { code, .. }] if code == "old-glusterfs"), "{found:?}");
            }
            (2, other) => panic!("h3: {other:?}"),
            (_, outcome) => drop(outcome.unwrap()),
        }
    }
}

/// G3: a rejected server's host is refused with GlusterFS's way out, nothing of it is touched, and others join.
#[tokio::test]
async fn a_rejected_server_holds_up_nobody() {
    let world = converged(4, 3).await;
    let client = outside(&world);
    let rejected = world.hosts[1..].iter().find(|host| host.name != client.name).unwrap();
    world.gluster.set_rejected(rejected.address, true);
    join(rejected).await.ok();
    told(&world, &format!("GlusterFS rejects {}", rejected.name)).await;
    not_served(rejected, "peer-rejected").await;
    client.hand.lose_mounts();
    assert_eq!(names(&join(client).await.unwrap().done), ["mount"]);
    assert_eq!(world.status().await["Volume"]["State"], "degraded");
    world.gluster.set_rejected(rejected.address, false);
    // The controller looks again while something is unfinished.
    until("the volume is whole", async || (world.status().await["Volume"]["State"] == "usable").then_some(())).await;
    join(rejected).await.unwrap();
    assert_at_rest(&world).await;
}

/// G4: a server that was installed anew is told apart from one that is merely rejected, by its identity.
#[tokio::test]
async fn a_server_that_was_installed_anew_is_named() {
    let world = converged(3, 3).await;
    world.gluster.reinstall(address(2));
    join(&world.hosts[1]).await.ok();
    told(&world, "was installed anew").await;
    not_served(&world.hosts[1], "reinstalled-peer").await;
    let history = world.gluster.history();
    assert!(history.iter().all(|line| !line.contains("force=true") || line == "start force=true"), "{history:?}");
}

/// G6: other transactions are waited out.
#[tokio::test]
async fn a_busy_pool_is_waited_for() {
    let world = World::started(3, Settings::default()).await;
    join(&world.hosts[0]).await.unwrap();
    world.gluster.set_busy(4);
    join(&world.hosts[1]).await.unwrap();
    join(&world.hosts[2]).await.unwrap();
    world.volume_of(3).await;
    join_all(&world).await;
    assert_at_rest(&world).await;
}

/// G18: a brick is not put onto a full file system, and one that has filled up is named.
#[tokio::test]
async fn full_bricks_are_named_and_not_begun() {
    let mut world = World::started(3, Settings::default()).await;
    world.gluster.fill(address(2), 95);
    let error = join(&world.hosts[1]).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::Host(found) if matches!(found[..], [Refusal::BrickFull { used: 95, .. }])),
        "{error:?}"
    );
    world.gluster.fill(address(2), 40);
    join_all(&world).await;
    world.volume_of(3).await;
    join_all(&world).await;
    world.gluster.fill(address(3), 91);
    world.restart().await;
    told(&world, "bricks more than 90 % full: 10.0.0.3:").await;
    assert_eq!(world.status().await["Volume"]["State"], "degraded");
    assert_at_rest(&world).await;
}

/// G20: who cannot hold a brick mounts, and is no server of the pool.
#[tokio::test]
async fn clients_are_never_probed() {
    let mut world = World::started(4, Settings::default()).await;
    world.hosts[1].facts.gluster_client_only = true;
    join_all(&world).await;
    world.volume_of(3).await;
    join_all(&world).await;
    assert_eq!(world.gluster.probed(), [address(3), address(4)].into());
    assert!(world.hosts[1].hand.mounted(&mount_point()).is_some());
    assert_at_rest(&world).await;
}

/// J12: a controller that ends between adding a set of bricks and spreading the layout does so when it is back.
#[tokio::test]
async fn a_layout_that_was_not_spread_is_made_up_for() {
    let mut world = World::started(6, Settings::default()).await;
    world.gluster.refuse_layouts(true);
    join_all(&world).await;
    until_so("the set is added and the layout refused", || world.gluster.history().contains(&"fix-layout".to_owned()))
        .await;
    world.stop().await;
    assert_eq!(world.gluster.layouts(), 0);
    world.gluster.refuse_layouts(false);
    world.start().await;
    until_so("the layout is spread", || world.gluster.layouts() == 1).await;
    join_all(&world).await;
    world.check_invariants().await;
    assert_at_rest(&world).await;
    world.restart().await;
    assert_at_rest(&world).await;
    assert_eq!(world.gluster.layouts(), 1, "once");
}

/// A host that joined while the volume had one brick is named until it knows the others, and learns of them when it
/// joins again.
#[tokio::test]
async fn a_host_that_knows_too_few_servers_is_named() {
    let world = World::started(3, Settings::default()).await;
    join(&world.hosts[0]).await.unwrap();
    for host in &world.hosts[1..] {
        join(host).await.unwrap();
    }
    world.volume_of(3).await;
    let finding = async || {
        let status = world.status().await;
        status["Nodes"][0]["Finding"].as_str().map(str::to_owned).filter(|text| text.contains("1 of 3 servers"))
    };
    until("h1 is named", finding).await;
    assert_eq!(names(&join(&world.hosts[0]).await.unwrap().done), ["persist"]);
    until("h1 is not named", async || finding().await.is_none().then_some(())).await;
}

/// What a node says last may be all that the volume waits for: a report that the controller has no time for is sent again.
#[tokio::test]
async fn a_last_report_that_was_not_taken_is_sent_again() {
    let mut limits = without_limits();
    (limits.node_requests_per_second, limits.node_requests_burst) = (2, 1);
    let world = World::started(3, Settings { limits, ..Settings::default() }).await;
    for host in &world.hosts {
        join(host).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    let status = world.status().await;
    for row in status["Nodes"].as_array().unwrap() {
        assert_eq!(row["Mounted"], true, "{row}");
    }
    world.volume_of(3).await;
}

/// However slow GlusterFS is and in whatever order things happen, one brick becomes three copies without another join.
#[tokio::test]
async fn growth_is_never_left_undone() {
    let mut runs = JoinSet::new();
    for seed in 1..=12_u64 {
        runs.spawn(async move {
            let mut limits = without_limits();
            (limits.node_requests_per_second, limits.node_requests_burst) = (5, 2);
            let world = World::started(3, Settings { limits, ..Settings::default() }).await;
            world.gluster.slow_down(seed * 0x9e37_79b9);
            join(&world.hosts[1]).await.unwrap_or_else(|error| panic!("seed {seed}: {}", chain(&error)));
            let mut dice = Dice(seed * 0x51ed);
            let mut joins = JoinSet::new();
            for at in [0, 2] {
                let (host, pause) = (world.hosts[at].clone(), Duration::from_millis(dice.below(120)));
                joins.spawn(async move {
                    tokio::time::sleep(pause).await;
                    join(&host).await
                });
            }
            for joined in joins.join_all().await {
                joined.unwrap_or_else(|error| panic!("seed {seed}: {}", chain(&error)));
            }
            world.volume_of(3).await;
        });
    }
    runs.join_all().await;
}
