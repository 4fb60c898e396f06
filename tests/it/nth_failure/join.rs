//! `node join` and the controller's own loop: Docker, mounts, bricks, boot entries, GlusterFS and the controller's disk.

use super::*;
use crate::fakes::gluster::Fault;
use crate::fakes::host::Hand;

/// Three hosts join with one failure, and again.
fn joins(what: &str, least: usize, arm: impl Fn(&Cluster, usize) + Sync, is_left: impl Fn(&Cluster) -> bool + Sync) {
    each(what, least, |n| {
        on_hosts(3, async |cluster| {
            arm(&cluster, n);
            join_once(&cluster).await;
            let met = !is_left(&cluster);
            call_off(&cluster);
            if met {
                join_well(&cluster, "the second time").await;
                check(&cluster).await;
            }
            met
        })
    });
}

/// S2-67, S2-68; I1 to I12.
#[test]
fn docker_on_a_node() {
    for failure in FAILURES {
        let arm = |cluster: &Cluster, n| cluster.host(2).engine.fail_call(n, failure);
        joins("Docker on h2", 3, arm, |cluster| cluster.host(2).engine.has_failures_left());
    }
}

/// S2-67, S2-68; I1 to I12.
#[test]
fn docker_on_the_master() {
    for failure in FAILURES {
        let arm = |cluster: &Cluster, n| cluster.host(1).engine.fail_call(n, failure);
        joins("Docker on h1", 3, arm, |cluster| cluster.host(1).engine.has_failures_left());
    }
}

fn hand(what: &str, hand: Hand) {
    for failure in FAILURES {
        let arm = |cluster: &Cluster, n| cluster.host(2).hand.fail_call(hand, n, failure);
        joins(what, 2, arm, |cluster| cluster.host(2).hand.has_failures_left());
    }
}

/// S2-67, S2-68; I1 to I12.
#[test]
fn mounts() {
    hand("mounts", Hand::Mounter);
}

/// S2-67, S2-68; I1 to I12.
#[test]
fn bricks() {
    hand("bricks", Hand::Disk);
}

/// S2-67, S2-68; I1 to I12.
#[test]
fn boot_entries() {
    hand("boot entries", Hand::Boot);
}

fn gluster(fault: Fault) {
    let arm = |cluster: &Cluster, n| cluster.gluster.fail_call(n, fault);
    joins("GlusterFS", 10, arm, |cluster| cluster.gluster.has_faults_left());
}

/// S2-67, S2-68; I1 to I12: changes that were refused.
#[test]
fn gluster_that_refuses() {
    gluster(Fault::Busy);
    gluster(Fault::DaemonDown);
}

/// G10, S2-67, S2-68; I1 to I12: changes of which nobody knows whether they were made.
#[test]
fn gluster_that_leaves_it_open() {
    gluster(Fault::TimedOut);
    gluster(Fault::TimedOutButDone);
    gluster(Fault::CommitFailedButDone);
}

/// C5; I1 to I12: the controller's disk fails at every operation in turn, and is well again two seconds later.
#[test]
fn the_controllers_disk() {
    each("the controller's disk", 20, |n| {
        on_hosts(3, async |cluster| {
            cluster.disk.fail_at(n as u64);
            let joining = tokio::spawn({
                let cluster = Arc::clone(&cluster);
                async move { join_once(&cluster).await }
            });
            while !cluster.disk.has_failed() && !joining.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let met = cluster.disk.has_failed();
            tokio::time::sleep(Duration::from_secs(2)).await;
            call_off(&cluster);
            joining.await.unwrap();
            if met {
                join_well(&cluster, "the second time").await;
                check(&cluster).await;
            }
            met
        })
    });
}
