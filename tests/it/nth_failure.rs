//! Every operation fails once, as SQLite tests itself: the N-th call of one hand fails, for N = 1 until a whole run has no
//! N-th call any more. Each time the command says what, why and what next with a documented exit code, the invariants
//! hold, and a second run gets there.
//!
//! It runs on the simulation's hosts, whose time passes by itself. A failure comes before the effect or after it, since
//! nobody can tell the two apart.

mod commands;
mod join;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clusterctl::cli::Failure;
use clusterctl::cluster::Role;
use tokio::sync::mpsc;

use crate::fakes::swarm::Failure as Call;
use crate::invariants::endings::failed_well;
use crate::invariants::fake;
use crate::sim::agent;
use crate::sim::chance::Dice;
use crate::sim::cluster::Cluster;

/// Both ways in which a call can fail.
const FAILURES: [Call; 2] = [Call::BeforeEffect, Call::AfterEffect];
/// How long a command may take here.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Runs `once` with N = 1, 2, ... on every processor until it says that its failure was not met.
///
/// # Panics
/// One run panics; or nearly none meets its failure, or there is no end.
fn each(what: &str, least: usize, once: impl Fn(usize) -> bool + Sync) {
    let (next, over) = (AtomicUsize::new(1), AtomicBool::new(false));
    let met = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    assert!(n < 2_000, "{what}: there is no end to its calls");
                    let _named = Named { what, n };
                    if once(n) {
                        met.fetch_add(1, Ordering::Relaxed);
                    } else {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let met = met.into_inner();
    assert!(met >= least, "{what}: only {met} calls can fail");
}

/// Says which run it was that panicked.
struct Named<'a> {
    what: &'a str,
    n: usize,
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failure {} of: {}", self.n, self.what);
        }
    }
}

/// Runs `body` on hosts of its own, in a time of its own, with a network on which nothing is lost.
fn on_hosts(count: usize, body: impl AsyncFnOnce(Arc<Cluster>) -> bool) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (dying, _deaths) = mpsc::unbounded_channel();
        let cluster = Arc::new(Cluster::new(count, Dice::of(7), dying).await);
        cluster.network.calm();
        cluster.start_controller().await;
        let met = body(Arc::clone(&cluster)).await;
        cluster.kill_controller().await;
        met
    })
}

fn role(n: usize) -> Role {
    if n == 1 { Role::Manager } else { Role::Worker }
}

/// Joins every host at the same time, once. I9: failures are judged.
async fn join_once(cluster: &Arc<Cluster>) -> Vec<Result<(), Failure>> {
    let joins: Vec<_> = (1..=cluster.hosts.len())
        .map(|n| {
            let cluster = Arc::clone(cluster);
            tokio::spawn(async move {
                let began = tokio::time::Instant::now();
                let outcome = agent::join(&cluster, n, role(n), TIMEOUT).await.map(drop);
                outcome.map_err(|error| {
                    let failure = clusterctl::cli::explain::join(error);
                    failed_well(&failure, began.elapsed(), TIMEOUT);
                    failure
                })
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for join in joins {
        outcomes.push(join.await.unwrap());
    }
    outcomes
}

/// Joins every host; all must get through.
async fn join_well(cluster: &Arc<Cluster>, when: &str) {
    for (n, outcome) in (1..).zip(join_once(cluster).await) {
        outcome.unwrap_or_else(|failure| panic!("h{n}, {when}: {}", failure.report()));
    }
}

/// Lets everything succeed from now on.
fn call_off(cluster: &Cluster) {
    cluster.disk.repair();
    cluster.gluster.call_off_faults();
    for host in &cluster.hosts {
        host.engine.call_off_failures();
        host.hand.call_off_failures();
    }
}

/// I1 to I7 and I10 to I12, of hosts that have all joined: after a while nothing more is done, also not by another join.
async fn check(cluster: &Arc<Cluster>) {
    tokio::time::sleep(Duration::from_secs(120)).await;
    join_well(cluster, "to see the volume as it is by now").await;
    let (hosts, status) = (cluster.seen(), cluster.status().await);
    fake::check_swarm(&hosts).await;
    fake::check_storage(&cluster.gluster, hosts.len()).await;
    fake::check_acts(&hosts, &cluster.gluster, false);
    fake::check_records(&status, &cluster.history, &hosts);
    let before = effects(cluster).await;
    join_well(cluster, "with nothing to do").await;
    effects(cluster).await.same_as(before);
}

async fn effects(cluster: &Cluster) -> crate::invariants::effects::Effects {
    let records = cluster.status().await["Store"]["Sequence"].as_u64().unwrap();
    fake::effects(&cluster.seen(), &cluster.gluster, records)
}
