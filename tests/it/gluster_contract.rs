//! What every pool must do, the fake one and a real one. The fake is only worth what this suite says of it.
//!
//! On real servers: four of them that know nobody, `Stage::bricks` an existing directory on each, not on the root file
//! system. The suite leaves volumes behind.

#![expect(clippy::unwrap_used, reason = "the suite's functions are tests that take arguments")]

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use clusterctl::cluster::{NodeAddress, VolumeName};
use clusterctl::providers::command::{CommandError, Commander, Invocation, Output, Processes};
use clusterctl::providers::gluster::cli::GlusterCli;
use clusterctl::providers::gluster::{
    Brick, BrickStatus, GlusterError, NewVolume, Peer, StoragePool, Volume, VolumeStatus,
};

use crate::fakes::gluster::{FakeGlusterWorld, Fault};
use crate::lab::{Lab, usable};

/// Real servers take some seconds to start bricks on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs programs on another host of this machine: `wrap` turns an argument list into a run that goes there, such as the
/// lab's `exec`. The deadline is that of what `wrap` returns.
struct InHost<F>(F);

#[async_trait::async_trait]
impl<F: Fn(Vec<OsString>) -> Invocation + Send + Sync> Commander for InHost<F> {
    async fn run(&self, invocation: Invocation) -> Result<Output, CommandError> {
        let mut argv = vec![invocation.program().as_os_str().to_owned()];
        argv.extend(invocation.words().into_iter().map(OsString::from));
        Processes.run((self.0)(argv)).await
    }
}

/// The servers that the suite runs on.
pub(crate) struct Stage<'a> {
    pub(crate) servers: [(NodeAddress, &'a dyn StoragePool); 4],
    /// An address in reach that nobody has.
    pub(crate) nobody: NodeAddress,
    /// A directory on every server, such as `/data/contract`.
    pub(crate) bricks: String,
}

impl Stage<'_> {
    fn brick(&self, server: usize, name: &str) -> Brick {
        Brick { host: self.servers[server].0.to_string(), path: format!("{}/{name}", self.bricks) }
    }

    fn bricks_of(&self, servers: &[usize], name: &str) -> Vec<Brick> {
        servers.iter().map(|server| self.brick(*server, name)).collect()
    }

    fn new_volume(&self, name: &str, replica: u32, arbiter: u32, servers: &[usize]) -> NewVolume {
        NewVolume { name: volume_name(name), replica, arbiter, bricks: self.bricks_of(servers, name), force: false }
    }
}

fn volume_name(name: &str) -> VolumeName {
    VolumeName::parse(name).unwrap()
}

/// Asks until `found` says yes.
async fn eventually<T, F: Future<Output = Result<T, GlusterError>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
    found: impl Fn(&T) -> bool,
) -> T {
    let wait = async {
        loop {
            match ask().await {
                Ok(value) if found(&value) => return value,
                Ok(_) | Err(GlusterError::Busy) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => panic!("{what}: {error}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

async fn volume(pool: &dyn StoragePool, name: &str) -> Volume {
    pool.volume(&volume_name(name)).await.unwrap().unwrap_or_else(|| panic!("no volume {name}"))
}

async fn all_online(pool: &dyn StoragePool, name: &str, count: usize) {
    let volume = volume(pool, name).await;
    let online = |bricks: &Vec<BrickStatus>| bricks.len() == count && bricks.iter().all(|brick| brick.online);
    eventually("every brick online", || pool.brick_status(&volume), online).await;
}

macro_rules! assert_refusal {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {{
        let result = $result;
        assert!(matches!(&result, Err($pattern) $(if $guard)?), "{result:?}");
    }};
}

/// The whole suite, in the order of a cluster's life.
pub(crate) async fn contract(stage: &Stage<'_>) {
    a_server_alone(stage).await;
    probing(stage).await;
    foreign_pools(stage).await;
    a_volume_of_one_brick(stage).await;
    growing_to_three_copies(stage).await;
    options(stage).await;
    further_sets(stage).await;
    arbiters(stage).await;
    ids(stage).await;
    what_a_refusal_leaves_behind(stage).await;
}

async fn a_server_alone(stage: &Stage<'_>) {
    let (address, pool) = stage.servers[0];
    let peers = pool.peers().await.unwrap();
    assert_eq!(peers.iter().map(|peer| peer.hostname.as_str()).collect::<Vec<_>>(), ["localhost"]);
    assert!(peers[0].usable());
    let none = volume_name("none");
    assert_eq!(pool.volume(&none).await.unwrap(), None);
    assert_refusal!(pool.start(&none, false).await, GlusterError::Refused { .. });
    assert_refusal!(pool.set_option(&none, "auth.allow", "10.0.0.1").await, GlusterError::Refused { .. });
    // Success proves nothing.
    pool.probe(address).await.unwrap();
    pool.probe(NodeAddress::parse("127.0.0.2").unwrap()).await.unwrap();
    assert_eq!(pool.peers().await.unwrap().len(), 1);
}

async fn probing(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let nobody = stage.nobody.to_string();
    assert_refusal!(
        pool.probe(stage.nobody).await,
        GlusterError::PeerUnreachable { host, .. } if *host == nobody
    );
    for (address, _) in &stage.servers[1..3] {
        pool.probe(*address).await.unwrap();
        pool.probe(*address).await.unwrap();
    }
    let three = |peers: &Vec<Peer>| peers.len() == 3 && peers.iter().all(Peer::usable);
    for (_, pool) in &stage.servers[..3] {
        eventually("three peers, seen from each", || pool.peers(), three).await;
    }
    for (address, _) in &stage.servers[1..3] {
        eventually("three peers, as another one sees them", || pool.peers_seen_by(*address), three).await;
    }
    let names: Vec<String> = pool.peers().await.unwrap().into_iter().map(|peer| peer.hostname).collect();
    assert!(names.contains(&stage.servers[1].0.to_string()), "{names:?}");
}

async fn foreign_pools(stage: &Stage<'_>) {
    let ((_, ours), (outside, theirs)) = (stage.servers[0], stage.servers[3]);
    let member = stage.servers[1].0;
    let name = member.to_string();
    assert_refusal!(theirs.probe(member).await, GlusterError::ForeignPool { host } if *host == name);
    theirs.create(&stage.new_volume("own", 1, 0, &[3])).await.unwrap();
    assert_eq!(ours.volumes_at(outside).await.unwrap(), ["own"]);
    assert_eq!(theirs.volumes_at(member).await.unwrap(), Vec::<String>::new());
    let seen = ours.peers_seen_by(outside).await.unwrap();
    assert_eq!(seen, theirs.peers().await.unwrap());
    let name = outside.to_string();
    assert_refusal!(ours.probe(outside).await, GlusterError::ForeignPool { host } if *host == name);
    assert_eq!(ours.peers().await.unwrap().len(), 3);
    assert_refusal!(
        ours.create(&stage.new_volume("mixed", 3, 0, &[0, 1, 3])).await,
        GlusterError::PeerUnreachable { host, .. } if *host == name
    );
}

async fn a_volume_of_one_brick(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let new = stage.new_volume("v", 1, 0, &[0]);
    pool.create(&new).await.unwrap();
    let made = volume(pool, "v").await;
    assert_eq!((made.status, made.replica, made.arbiter), (VolumeStatus::Created, 1, 0));
    assert_eq!(made.bricks, new.bricks);
    assert_eq!(volume(stage.servers[1].1, "v").await.id, made.id);
    assert_refusal!(pool.create(&new).await, GlusterError::VolumeExists(name) if name == "v");
    let twice = NewVolume { name: volume_name("w"), ..new.clone() };
    assert_refusal!(pool.create(&twice).await, GlusterError::BrickInUse { .. });
    let uneven = stage.new_volume("uneven", 3, 0, &[0, 1]);
    assert_refusal!(pool.create(&uneven).await, GlusterError::Refused { .. });
    let mut on_one_server = stage.new_volume("crowd", 3, 0, &[0, 0, 0]);
    for (at, brick) in on_one_server.bricks.iter_mut().enumerate() {
        brick.path.push_str(&at.to_string());
    }
    assert_refusal!(pool.create(&on_one_server).await, GlusterError::Refused { .. });

    let name = &new.name;
    let made = volume(pool, "v").await;
    let before = pool.brick_status(&made).await.unwrap();
    assert_eq!(before, [BrickStatus { brick: new.bricks[0].clone(), online: false, used_percent: None }]);
    pool.start(name, false).await.unwrap();
    pool.start(name, false).await.unwrap();
    pool.start(name, true).await.unwrap();
    assert_eq!(volume(pool, "v").await.status, VolumeStatus::Started);
    let gone = Volume { name: "none".to_owned(), status: VolumeStatus::Started, ..made };
    assert_refusal!(pool.brick_status(&gone).await, GlusterError::Refused { .. });
    all_online(pool, "v", 1).await;
    let levels = pool.op_versions().await.unwrap();
    assert!(levels.now >= 100_000 && levels.now == levels.most, "{levels:?}");
    let serving = pool.brick_status(&volume(pool, "v").await).await.unwrap();
    assert!(serving[0].used_percent.is_some_and(|used| (1..=100).contains(&used)), "{serving:?}");
}

async fn growing_to_three_copies(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let name = volume_name("v");
    let id = volume(pool, "v").await.id;
    let more = stage.bricks_of(&[1, 2], "v");
    assert_refusal!(pool.add_bricks(&name, 3, 0, &more[..1], false).await, GlusterError::Refused { .. });
    pool.add_bricks(&name, 3, 0, &more, false).await.unwrap();
    let grown = volume(pool, "v").await;
    assert_eq!((grown.replica, grown.id), (3, id));
    assert_eq!(grown.bricks, stage.bricks_of(&[0, 1, 2], "v"));
    all_online(pool, "v", 3).await;
    assert_refusal!(pool.add_bricks(&name, 3, 0, &more, false).await, GlusterError::Refused { .. });
    assert_refusal!(pool.fix_layout(&name).await, GlusterError::Refused { .. });
}

async fn options(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let allowed: Vec<String> = stage.servers[..3].iter().map(|(address, _)| address.to_string()).collect();
    pool.set_option(&volume_name("v"), "auth.allow", &allowed.join(",")).await.unwrap();
    let seen = volume(stage.servers[2].1, "v").await;
    assert_eq!(seen.options["auth.allow"], allowed.join(","));
    assert_refusal!(pool.set_option(&volume_name("v"), "no.such.option", "on").await, GlusterError::Refused { .. });
}

async fn further_sets(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let name = volume_name("v");
    let second = stage.bricks_of(&[0, 1, 2], "v2");
    pool.add_bricks(&name, 3, 0, &second, false).await.unwrap();
    let sets = volume(pool, "v").await;
    assert_eq!((sets.replica, sets.bricks.len()), (3, 6));
    assert_eq!(sets.bricks[3..], second);
    assert!(sets.options.contains_key("auth.allow"));
    all_online(pool, "v", 6).await;
    pool.fix_layout(&name).await.unwrap();
}

/// The volumes of the pool, by their ids.
async fn ids(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let mut expected = vec![volume(pool, "v").await.id, volume(pool, "arb").await.id];
    expected.sort();
    let mut found = pool.volume_ids().await.unwrap();
    found.sort();
    assert_eq!(found, expected);
}

async fn arbiters(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    pool.create(&stage.new_volume("arb", 3, 1, &[0, 1, 2])).await.unwrap();
    let made = volume(pool, "arb").await;
    assert_eq!((made.replica, made.arbiter, made.bricks.len()), (3, 1, 3));
}

/// A create that another server refuses leaves this server's brick marked: the same create without the culprit is
/// refused too.
async fn what_a_refusal_leaves_behind(stage: &Stage<'_>) {
    let (_, pool) = stage.servers[0];
    let mut wrong = stage.new_volume("left", 3, 0, &[0, 1, 2]);
    wrong.bricks[1] = stage.brick(1, "v");
    assert_refusal!(pool.create(&wrong).await, GlusterError::BrickInUse { .. });
    let right = stage.new_volume("left", 3, 0, &[0, 1, 2]);
    assert_refusal!(pool.create(&right).await, GlusterError::BrickInUse { .. });
    assert_eq!(pool.volume(&volume_name("left")).await.unwrap(), None);
}

fn address(last: u8) -> NodeAddress {
    NodeAddress::parse(&format!("10.0.0.{last}")).unwrap()
}

fn world() -> (FakeGlusterWorld, [NodeAddress; 4]) {
    let addresses = [1, 2, 3, 4].map(address);
    (FakeGlusterWorld::new(&addresses), addresses)
}

/// Covers S2-18, S2-72, S2-73 and FAULTS G2.
#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let (world, addresses) = world();
    let pools = addresses.map(|address| world.pool(address));
    let servers = [0, 1, 2, 3].map(|at| (addresses[at], &pools[at] as &dyn StoragePool));
    contract(&Stage { servers, nobody: address(99), bricks: "/data/contract".to_owned() }).await;
}

/// Covers S2-18, S2-72, S2-73 and FAULTS G2 and G5, on real servers.
#[tokio::test]
async fn lab_real_servers_keep_the_contract() {
    if !usable("lab_real_servers_keep_the_contract") {
        return;
    }
    let lab = Arc::new(Lab::up("gluster", 4));
    let pools = [1, 2, 3, 4].map(|n| {
        let lab = Arc::clone(&lab);
        lab.ok(n, &["mkdir", "-p", "/data/contract"]);
        GlusterCli::new(Arc::new(InHost(move |argv: Vec<OsString>| lab.invocation(n, &[]).args(argv))))
    });
    let addresses = [1, 2, 3, 4].map(|n| NodeAddress::new(lab.host_ip(n)).unwrap());
    let servers = [0, 1, 2, 3].map(|at| (addresses[at], &pools[at] as &dyn StoragePool));
    let [a, b, c, _] = lab.host_ip(1).octets();
    let nobody = NodeAddress::parse(&format!("{a}.{b}.{c}.250")).unwrap();
    contract(&Stage { servers, nobody, bricks: "/data/contract".to_owned() }).await;
}

/// Covers FAULTS J12: the marks that a wedged create leaves, and how an operator of them goes on.
#[tokio::test]
async fn a_wedged_create_leaves_marks_and_no_volume() {
    use clusterctl::cluster::BrickPath;
    use clusterctl::providers::mounts::BrickDisk;

    let (world, addresses) = world();
    let pool = world.pool(addresses[0]);
    pool.probe(addresses[1]).await.unwrap();
    let path = BrickPath::parse("/data/x/shared").unwrap();
    let bricks = vec![Brick::at(addresses[0], &path), Brick::at(addresses[1], &path)];
    let new = NewVolume { name: volume_name("shared"), replica: 1, arbiter: 0, bricks, force: false };
    world.fail_call(1, Fault::Wedged);
    assert!(pool.create(&new).await.is_err());
    assert_eq!(pool.volume(&new.name).await.unwrap(), None);
    assert_refusal!(pool.create(&new).await, GlusterError::BrickInUse { .. });
    for at in &addresses[..2] {
        let mark = world.disk(*at).inspect(&path).await.unwrap().volume_id.unwrap();
        world.disk(*at).clear_mark(&path, &mark).await.unwrap();
    }
    pool.create(&new).await.unwrap();
}

/// Covers FAULTS G1, G7 and rule R1: an error says nothing about what happened.
#[tokio::test]
async fn faults_are_those_of_real_servers() {
    let (world, addresses) = world();
    let pool = world.pool(addresses[0]);
    world.set_up(addresses[1], false);
    assert_refusal!(pool.probe(addresses[1]).await, GlusterError::PeerUnreachable { .. });
    world.set_up(addresses[1], true);
    world.set_busy(2);
    assert_refusal!(pool.probe(addresses[1]).await, GlusterError::Busy);
    assert_refusal!(pool.probe(addresses[1]).await, GlusterError::Busy);
    world.fail_call(1, Fault::TimedOutButDone);
    assert_refusal!(pool.probe(addresses[1]).await, GlusterError::TimedOut { .. });
    assert_eq!(pool.peers().await.unwrap().len(), 2);
    assert_eq!(world.mutations(), 4);
    let new = NewVolume {
        name: volume_name("v"),
        replica: 1,
        arbiter: 0,
        bricks: vec![Brick { host: addresses[0].to_string(), path: "/data/v/b".to_owned() }],
        force: false,
    };
    world.fail_call(1, Fault::CommitFailedButDone);
    assert_refusal!(pool.create(&new).await, GlusterError::Refused { .. });
    assert!(pool.volume(&new.name).await.unwrap().is_some());

    world.set_hung(addresses[1], true);
    assert!(pool.peers().await.unwrap().iter().all(Peer::usable));
    pool.probe(addresses[2]).await.unwrap();
    let late_brick = Brick { host: addresses[0].to_string(), path: "/data/late/b".to_owned() };
    let late = NewVolume { name: volume_name("late"), bricks: vec![late_brick], ..new };
    assert_refusal!(pool.create(&late).await, GlusterError::TimedOut { .. });
    assert_refusal!(pool.create(&late).await, GlusterError::Busy);
    assert_eq!(pool.volume(&late.name).await.unwrap(), None);
    world.set_hung(addresses[1], false);
    assert!(pool.volume(&late.name).await.unwrap().is_some());
    world.reinstall(addresses[1]);
    assert!(!pool.peers().await.unwrap()[0].usable());
    world.set_up(addresses[0], false);
    assert_refusal!(pool.peers().await, GlusterError::DaemonDown);
}
