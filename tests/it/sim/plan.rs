//! What is going to happen in a simulation: who joins when, and which faults come when. A value that follows from the
//! dice.

use std::time::Duration;

use super::chance::Dice;
use crate::fakes::gluster::Fault as Gluster;
use crate::fakes::host::Hand;
use crate::fakes::swarm::Failure;

/// A fault; hosts are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The join on a host is killed; it starts again a moment later.
    AgentDies(usize),
    ControllerStops(Duration),
    EngineStops(usize, Duration),
    /// The next calls of a host's Docker: the n-th one fails.
    EngineFails(usize, usize, Failure),
    /// Managers do not reach the host that joins.
    Deaf(usize, Duration),
    TokensRotate,
    GlusterdStops(usize, Duration),
    GlusterdHangs(usize, Duration),
    /// Of the next calls to GlusterFS the n-th one fails.
    GlusterFails(usize, Gluster),
    /// The next create or add leaves marks and no volume.
    Wedged,
    /// Other transactions are in progress.
    Busy(usize),
    /// Probes say `rc 0` and do nothing.
    ProbesLie(usize),
    HandFails(usize, Hand, usize, Failure),
    /// A host is off the network.
    Cut(usize, Duration),
    /// A host boots: its join is killed, its mounts are gone, its Docker is away for a moment.
    Reboot(usize),
    BrickDies(usize),
    /// The controller's disk takes no more writes.
    DiskFull(Duration),
}

/// A simulation before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many hosts, of which the first so many are managers.
    pub(crate) hosts: usize,
    pub(crate) managers: usize,
    /// When each host begins to join.
    pub(crate) begin: Vec<Duration>,
    /// The faults in the order of time.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// For how long faults come.
const STORM: u64 = 40_000;
/// For how long something is away at most.
const AWAY: u64 = 45_000;

impl Plan {
    pub(crate) fn of(dice: &Dice) -> Self {
        let hosts = 2 + dice.below(5);
        let managers = if hosts > 3 && dice.percent(50) { 3 } else { 1 };
        let begin = (0..hosts).map(|_| dice.millis(0..=15_000)).collect();
        let count = dice.below(14);
        let mut faults: Vec<_> = (0..count).map(|_| (dice.millis(0..=STORM), fault(dice, hosts))).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self { hosts, managers, begin, faults }
    }
}

fn failure(dice: &Dice) -> Failure {
    if dice.percent(50) { Failure::BeforeEffect } else { Failure::AfterEffect }
}

fn fault(dice: &Dice, hosts: usize) -> Fault {
    let host = 1 + dice.below(hosts);
    let away = dice.millis(200..=AWAY);
    let n = 1 + dice.below(6);
    match dice.below(20) {
        0 | 1 => Fault::AgentDies(host),
        2 | 3 => Fault::ControllerStops(away / 3),
        4 => Fault::EngineStops(host, away),
        5 => Fault::EngineFails(host, n, failure(dice)),
        6 => Fault::Deaf(host, away),
        7 => Fault::TokensRotate,
        8 => Fault::GlusterdStops(host, away),
        9 => Fault::GlusterdHangs(host, away),
        10 | 11 => {
            let faults = [
                Gluster::Busy,
                Gluster::DaemonDown,
                Gluster::TimedOut,
                Gluster::TimedOutButDone,
                Gluster::CommitFailedButDone,
            ];
            Fault::GlusterFails(n, faults[dice.below(faults.len())])
        }
        12 => Fault::Wedged,
        13 => Fault::Busy(n),
        14 => Fault::ProbesLie(1 + dice.below(2)),
        15 => {
            let hands = [Hand::Mounter, Hand::Disk, Hand::Boot];
            Fault::HandFails(host, hands[dice.below(hands.len())], n, failure(dice))
        }
        16 => Fault::Cut(host, away),
        17 => Fault::Reboot(host),
        18 => Fault::BrickDies(host),
        _ => Fault::DiskFull(away / 3),
    }
}
