//! `master init`, `node leave` and `node remove`.

use clusterctl::cli::explain;
use clusterctl::controller::init::{self, InitError, InitOptions, InitOutcome};
use clusterctl::controller::serve::StorageChoice;
use clusterctl::controller::store::{StoreOptions, Writing};
use clusterctl::nodeagent::client::Link;
use clusterctl::nodeagent::leave::Leave;
use clusterctl::pki::Trust;
use clusterctl::protocol::reply::Status;
use clusterctl::providers::swarm::SwarmEngine;
use serde_json::json;

use super::*;
use crate::fakes::host::Hand;
use crate::fakes::swarm::{FakeEngine, FakeSwarmWorld};
use crate::invariants::records;
use crate::sim::cluster::{SimClock, master};
use crate::sim::network::Wire;
use crate::store::disks::{Faults, faulty};
use crate::world::{address, storage};

/// `master init` with one failure, then again, and once more.
fn initialises(what: &str, least: usize, arm: impl Fn(&FakeEngine, &Faults, usize) + Sync) {
    each(what, least, |n| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (scratch, disk) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
            let engine = FakeSwarmWorld::new().engine("h1", "10.0.0.1");
            let run = async || -> Result<InitOutcome, InitError> {
                let options = InitOptions {
                    state_dir: scratch.path().join("controller"),
                    storage: StorageChoice::On(storage()),
                    advertise: address(1),
                    engine: Arc::new(engine.clone()),
                    clock: Arc::new(SimClock::started()),
                    adopt: None,
                    store: StoreOptions {
                        medium: Some(faulty(&disk)),
                        writing: Writing::Caller,
                        ..StoreOptions::default()
                    },
                };
                init::run(options).await
            };
            arm(&engine, &disk, n);
            let first = run().await;
            let met = !engine.has_failures_left() && !disk.is_armed();
            if let Err(error) = first {
                failed_well(&explain::init(error), Duration::ZERO, Duration::ZERO);
            }
            engine.call_off_failures();
            disk.repair();
            let second = run().await.unwrap_or_else(|error| panic!("{}", explain::init(error).report()));
            let before = engine.mutating_calls();
            let third = run().await.unwrap_or_else(|error| panic!("{}", explain::init(error).report()));
            assert!(!third.created && !third.storage_changed && !third.swarm_created, "I7: {third:?}");
            assert_eq!((engine.mutating_calls(), third.cluster_id), (before, second.cluster_id), "I7");
            let members = engine.members().await.unwrap();
            assert_eq!(members.len(), 1, "I11: {members:?}");
            met
        })
    });
}

/// S2-67, S2-68; I7, I9, I11.
#[test]
fn docker_under_master_init() {
    for failure in FAILURES {
        initialises("Docker under `master init`", 3, |engine, _, n| engine.fail_call(n, failure));
    }
}

/// C5; I7, I9, I11.
#[test]
fn the_disk_under_master_init() {
    initialises("the disk under `master init`", 10, |_, disk, n| disk.fail_at(n as u64));
}

/// A worker without a brick, on the second of two hosts.
async fn with_a_client(cluster: &Arc<Cluster>) {
    cluster.set_client(2);
    join_well(cluster, "before it leaves").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    join_well(cluster, "with the volume").await;
}

async fn leave(cluster: &Cluster) -> Result<(), Failure> {
    let host = cluster.host(2);
    let shown = host.identity.credentials(None).unwrap();
    let wire = Wire { network: cluster.network.clone(), host: 2, dice: host.dice.own(4) };
    let leave = Leave {
        link: Link::new(master(), Trust::FirstUse, shown, Arc::new(cluster.clock)).over(Arc::new(wire)),
        identity: host.identity.clone(),
        hostname: host.name.clone(),
        member: None,
        hands: host.hands.clone(),
    };
    let began = tokio::time::Instant::now();
    leave.run().await.map(drop).map_err(|error| {
        let failure = explain::leave(error);
        failed_well(&failure, began.elapsed(), TIMEOUT);
        failure
    })
}

/// The second host is gone without a trace, and can come back.
async fn is_gone_and_comes_back(cluster: &Arc<Cluster>) {
    let status = cluster.status().await;
    records::add_up(&status);
    assert!(!records::ids(&status).contains(cluster.host(2).identity.node_id.as_str()), "I2: {status}");
    let members = cluster.host(1).engine.members().await.unwrap();
    assert!(members.iter().all(|it| it.hostname != "h2" || it.state != "ready"), "I11: {members:?}");
    join_well(cluster, "after it has left").await;
    check(cluster).await;
}

fn leaves(what: &str, least: usize, arm: impl Fn(&Cluster, usize) + Sync, is_left: impl Fn(&Cluster) -> bool + Sync) {
    each(what, least, |n| {
        on_hosts(2, async |cluster| {
            with_a_client(&cluster).await;
            arm(&cluster, n);
            let first = leave(&cluster).await;
            let met = !is_left(&cluster);
            call_off(&cluster);
            // The controller's disk is opened again with the next question.
            tokio::time::sleep(Duration::from_secs(1)).await;
            if first.is_err() {
                leave(&cluster).await.unwrap_or_else(|failure| panic!("the second time: {}", failure.report()));
            }
            is_gone_and_comes_back(&cluster).await;
            met
        })
    });
}

/// S2-67; I2, I9, I11.
#[test]
fn docker_under_node_leave() {
    for failure in FAILURES {
        let arm = |cluster: &Cluster, n| cluster.host(2).engine.fail_call(n, failure);
        leaves("Docker under `node leave`", 2, arm, |cluster| cluster.host(2).engine.has_failures_left());
    }
}

/// S2-67; I2, I9, I11.
#[test]
fn files_under_node_leave() {
    for (hand, least) in [(Hand::Mounter, 2), (Hand::Boot, 1)] {
        for failure in FAILURES {
            let arm = |cluster: &Cluster, n| cluster.host(2).hand.fail_call(hand, n, failure);
            leaves("files under `node leave`", least, arm, |cluster| cluster.host(2).hand.has_failures_left());
        }
    }
}

/// C5; I2, I9, I11: who is told that he has left is off the record.
#[test]
fn the_controllers_disk_under_node_leave() {
    let arm = |cluster: &Cluster, n| cluster.disk.fail_at(n as u64);
    leaves("the controller's disk under `node leave`", 3, arm, |cluster| cluster.disk.is_armed());
}

/// `node remove` as the controller answers it.
async fn remove(cluster: &Cluster) -> Result<(), String> {
    let reply = cluster.administer(json!({"Action": "remove", "Hostname": "h2", "WaitMs": 30_000})).await;
    if reply["Status"] == "ready" || reply["Code"] == "unknown-node" {
        return Ok(());
    }
    let exit = match serde_json::from_value::<Status>(reply["Status"].clone()) {
        Ok(Status::Waiting) => 10,
        _ => explain::refusal(reply["Code"].as_str().unwrap_or_default()).code(),
    };
    let text = |field: &str| reply[field].as_str().unwrap_or_default().to_owned();
    assert!([10, 11, 16, 17].contains(&exit) && text("Message").len() > 8, "I9: exit {exit}: {reply}");
    assert!(exit == 10 && reply["RetryAfterMs"].is_u64() || text("Hint").len() > 8, "I9: {reply}");
    Err(reply.to_string())
}

fn removes(what: &str, least: usize, arm: impl Fn(&Cluster, usize) + Sync, is_left: impl Fn(&Cluster) -> bool + Sync) {
    each(what, least, |n| {
        on_hosts(2, async |cluster| {
            with_a_client(&cluster).await;
            cluster.host(2).engine.run_tasks(1, false);
            arm(&cluster, n);
            let first = remove(&cluster).await;
            let met = !is_left(&cluster);
            call_off(&cluster);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if first.is_err() {
                remove(&cluster).await.unwrap_or_else(|reply| panic!("the second time: {reply}"));
            }
            let (status, members) = (cluster.status().await, cluster.host(1).engine.members().await.unwrap());
            records::add_up(&status);
            assert!(!records::ids(&status).contains(cluster.host(2).identity.node_id.as_str()), "I2: {status}");
            assert!(members.iter().all(|member| member.hostname != "h2"), "I11: {members:?}");
            met
        })
    });
}

/// N2; I2, I9, I11.
#[test]
fn docker_under_node_remove() {
    for failure in FAILURES {
        let arm = |cluster: &Cluster, n| cluster.host(1).engine.fail_call(n, failure);
        removes("Docker under `node remove`", 4, arm, |cluster| cluster.host(1).engine.has_failures_left());
    }
}

/// C5; I2, I9, I11.
#[test]
fn the_controllers_disk_under_node_remove() {
    let arm = |cluster: &Cluster, n| cluster.disk.fail_at(n as u64);
    removes("the controller's disk under `node remove`", 3, arm, |cluster| cluster.disk.is_armed());
}
