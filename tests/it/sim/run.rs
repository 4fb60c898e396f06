//! One simulation from its seed to the invariants: hosts join while faults come, then it is quiet, then everything has
//! to be as it should be.

use std::sync::Arc;
use std::time::Duration;

use clusterctl::cluster::Role;
use clusterctl::providers::gluster::{Brick, VolumeStatus};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::agent;
use super::chance::Dice;
use super::cluster::Cluster;
use super::plan::{Fault, Plan};
use super::trace::Trace;
use crate::fakes::swarm::Failure;
use crate::invariants::fake;
use crate::world::{address, brick_path, volume_name};

/// How long after the storm everything may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Runs the simulation of that seed and returns what happened.
///
/// # Panics
/// An invariant does not hold; prints what happened.
pub(crate) fn run(seed: u64) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let dice = Dice::of(seed);
        let plan = Plan::of(&dice);
        let (dying, deaths) = mpsc::unbounded_channel();
        let cluster = Arc::new(Cluster::new(plan.hosts, dice, dying).await);
        let _shown = ShownOnPanic(cluster.trace.clone());
        cluster.trace.say(format_args!("{plan:?}"));
        Storm { cluster: Arc::clone(&cluster), plan, agents: Vec::new(), undone: JoinSet::new(), deaths }.run().await;
        cluster.trace.clone()
    })
}

/// Prints what happened when an invariant does not hold.
struct ShownOnPanic(Trace);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// A simulation under way.
struct Storm {
    cluster: Arc<Cluster>,
    plan: Plan,
    agents: Vec<JoinHandle<Vec<clusterctl::converge::step::Step>>>,
    /// What ends faults that last.
    undone: JoinSet<()>,
    deaths: mpsc::UnboundedReceiver<()>,
}

impl Storm {
    async fn run(mut self) {
        self.cluster.start_controller().await;
        for (n, begin) in (1..).zip(self.plan.begin.clone()) {
            self.agents.push(self.agent(n, begin));
        }
        for (at, fault) in std::mem::take(&mut self.plan.faults) {
            self.until(Instant::now() + at.saturating_sub(self.cluster.trace.elapsed())).await;
            self.cluster.trace.say(format_args!("{fault:?}"));
            self.strike(fault).await;
        }
        self.until(Instant::now() + Duration::from_secs(60)).await;
        self.calm().await;
        let ended = tokio::time::timeout(PATIENCE, self.settle()).await;
        assert!(ended.is_ok(), "not within {PATIENCE:?} after the storm");
    }

    fn role(&self, n: usize) -> Role {
        if n <= self.plan.managers { Role::Manager } else { Role::Worker }
    }

    fn agent(&self, n: usize, after: Duration) -> JoinHandle<Vec<clusterctl::converge::step::Step>> {
        let (cluster, role) = (Arc::clone(&self.cluster), self.role(n));
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            agent::live(cluster, n, role).await
        })
    }

    /// Waits until that moment; meanwhile a controller that dies starts again.
    async fn until(&mut self, moment: Instant) {
        loop {
            tokio::select! {
                biased;
                Some(()) = self.deaths.recv() => {
                    self.cluster.kill_controller().await;
                    let (cluster, pause) = (Arc::clone(&self.cluster), self.cluster.dice.millis(100..=8_000));
                    self.undone.spawn(async move {
                        tokio::time::sleep(pause).await;
                        cluster.start_controller().await;
                    });
                }
                () = tokio::time::sleep_until(moment) => return,
            }
        }
    }

    /// Undoes a fault after a while.
    fn undo(&mut self, after: Duration, undo: impl FnOnce(&Cluster) + Send + 'static) {
        let cluster = Arc::clone(&self.cluster);
        self.undone.spawn(async move {
            tokio::time::sleep(after).await;
            undo(&cluster);
        });
    }

    async fn strike(&mut self, fault: Fault) {
        let cluster = Arc::clone(&self.cluster);
        match fault {
            Fault::AgentDies(n) => self.restart_agent(n).await,
            Fault::ControllerStops(away) => {
                cluster.kill_controller().await;
                self.undone.spawn(async move {
                    tokio::time::sleep(away).await;
                    cluster.start_controller().await;
                });
            }
            Fault::EngineStops(n, away) => {
                cluster.host(n).engine.set_up(false);
                self.undo(away, move |cluster| cluster.host(n).engine.set_up(true));
            }
            Fault::EngineFails(n, call, failure) => cluster.host(n).engine.fail_call(call, failure),
            Fault::Deaf(n, away) => {
                cluster.host(n).engine.set_deaf(true);
                self.undo(away, move |cluster| cluster.host(n).engine.set_deaf(false));
            }
            Fault::TokensRotate => cluster.host(1).engine.rotate_tokens(),
            Fault::GlusterdStops(n, away) => {
                cluster.gluster.set_up(address(n), false);
                self.undo(away, move |cluster| cluster.gluster.set_up(address(n), true));
            }
            Fault::GlusterdHangs(n, away) => {
                cluster.gluster.set_hung(address(n), true);
                self.undo(away, move |cluster| cluster.gluster.set_hung(address(n), false));
            }
            Fault::GlusterFails(call, fault) => cluster.gluster.fail_call(call, fault),
            Fault::Wedged => cluster.gluster.wedge_next(1),
            Fault::Busy(n) => cluster.gluster.set_busy(n),
            Fault::ProbesLie(n) => cluster.pool.lie(n),
            Fault::HandFails(n, hand, call, failure) => cluster.host(n).hand.fail_call(hand, call, failure),
            Fault::Cut(n, away) => {
                set_connected(&cluster, n, false);
                self.undo(away, move |cluster| set_connected(cluster, n, true));
            }
            Fault::Reboot(n) => {
                cluster.host(n).hand.lose_mounts();
                cluster.host(n).engine.fail_call(1, Failure::BeforeEffect);
                self.restart_agent(n).await;
            }
            Fault::DiskFull(away) => {
                cluster.disk.fail_at(1);
                self.undo(away, |cluster| cluster.disk.repair());
            }
            Fault::BrickDies(n) => cluster.gluster.kill_brick(&Brick::at(address(n), &brick_path())),
        }
    }

    async fn restart_agent(&mut self, n: usize) {
        let pause = self.cluster.dice.millis(100..=5_000);
        let next = self.agent(n, pause);
        end(std::mem::replace(&mut self.agents[n - 1], next)).await;
    }

    /// Ends every fault.
    async fn calm(&mut self) {
        self.cluster.network.calm();
        while let Some(ended) = self.undone.join_next().await {
            ended.unwrap();
        }
        // The last one may have died of an exchange that was decided before.
        while self.deaths.try_recv().is_ok() {
            self.cluster.kill_controller().await;
        }
        self.cluster.start_controller().await;
        self.cluster.disk.repair();
        self.cluster.gluster.call_off_faults();
        self.cluster.gluster.wedge_next(0);
        self.cluster.gluster.set_busy(0);
        self.cluster.pool.lie(0);
        for host in &self.cluster.hosts {
            host.engine.call_off_failures();
            host.hand.call_off_failures();
        }
        self.cluster.host(1).engine.miss_heartbeats();
        self.cluster.trace.say("it is quiet now");
        self.cluster.trace.say(format_args!("Docker: {:?}", self.cluster.host(1).engine.acts()));
        self.cluster.trace.say(format_args!("GlusterFS: {:?}", self.cluster.gluster.history()));
    }

    /// What follows the storm, to the invariants.
    async fn settle(&mut self) {
        for agent in std::mem::take(&mut self.agents) {
            agent.await.unwrap();
        }
        let bricks = if self.plan.hosts < 3 { 1 } else { self.plan.hosts / 3 * 3 };
        // Some waits end when somebody joins on the host that they name.
        while !self.volume_has(bricks) {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.join_all().await;
            self.cluster.trace.say(format_args!("storage: {}", self.cluster.status().await["Volume"]["Message"]));
        }
        self.join_all().await;
        // Who joins again has the pool looked at, and a brick's process started that has died.
        tokio::time::sleep(Duration::from_secs(120)).await;
        self.join_all().await;
        self.cluster.host(1).engine.miss_heartbeats();
        let (hosts, status) = (self.cluster.seen(), self.cluster.status().await);
        fake::check_swarm(&hosts).await;
        fake::check_storage(&self.cluster.gluster, hosts.len()).await;
        fake::check_acts(&hosts, &self.cluster.gluster, false);
        fake::check_records(&status, &self.cluster.history, &hosts);
        let before = self.effects().await;
        let steps = self.join_all().await;
        assert!(steps.iter().all(Vec::is_empty), "I7: {steps:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.effects().await.same_as(before);
        self.cluster.trace.say(format_args!("revision {}", status["Revision"]));
        self.cluster.kill_controller().await;
    }

    async fn effects(&self) -> crate::invariants::effects::Effects {
        let records = self.cluster.status().await["Store"]["Sequence"].as_u64().unwrap();
        fake::effects(&self.cluster.seen(), &self.cluster.gluster, records)
    }

    async fn join_all(&self) -> Vec<Vec<clusterctl::converge::step::Step>> {
        let joins: Vec<_> = (1..=self.plan.hosts).map(|n| self.agent(n, Duration::ZERO)).collect();
        let mut steps = Vec::new();
        for join in joins {
            steps.push(join.await.unwrap());
        }
        steps
    }

    fn volume_has(&self, bricks: usize) -> bool {
        let volume = self.cluster.gluster.look_at(address(1), &volume_name());
        volume.is_some_and(|volume| volume.bricks.len() == bricks && volume.status == VolumeStatus::Started)
    }
}

/// Ends a join as SIGKILL does.
async fn end<T>(agent: JoinHandle<T>) {
    agent.abort();
    if let Err(error) = agent.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn set_connected(cluster: &Cluster, n: usize, connected: bool) {
    cluster.network.set_cut(n, !connected);
    cluster.host(n).engine.set_connected(connected);
    cluster.gluster.set_reachable(address(n), connected);
}
