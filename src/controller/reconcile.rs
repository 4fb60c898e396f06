//! The controller's own loop: makes pool and volume what the registered nodes add up to.
//!
//! It is woken by registrations and reports, or by a timer while something is unfinished; each round looks at the
//! whole state and does what it calls for, and the next round is the retry. It alone changes pool and volume, one
//! change at a time. When nothing is unfinished it writes nothing and looks at the pool every five minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::reply::StorageView;
use super::state::{ClusterState, StorageRole};
use super::storage_plan::{self, Candidate, PoolView, StoragePlan, StorageStep, StorageWait, Wanted};
use super::store::Store;
use crate::clock::Clock;
use crate::cluster::NodeAddress;
use crate::providers::gluster::{Brick, GlusterError, NewVolume, StoragePool};

mod pool;
mod publish;
mod seen;
mod trouble;

use seen::{BELIEVED, REPORTS_DUE, RESTART_PAUSE, Seen, Stale, UNREACHABLE_FOR};
use trouble::trouble;

/// What the loop works with.
pub struct Reconcile {
    pub store: Store<ClusterState>,
    pub pool: Arc<dyn StoragePool>,
    /// This host's registered address: GlusterFS calls it `localhost`.
    pub own_address: NodeAddress,
    pub settle: SignedDuration,
    /// Networks that may mount, instead of the registered addresses.
    pub allowed_networks: Vec<ipnet::Ipv4Net>,
    pub wake: Arc<Notify>,
    /// Set before `wake` by whoever has reason to doubt that the pool is still as it was last seen.
    pub look_again: Arc<AtomicBool>,
    pub publish: watch::Sender<Arc<StorageView>>,
    pub clock: Arc<dyn Clock>,
}

/// How long to wait after a round that left something unfinished, growing by half.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_secs(10);
/// The same where the pool is at something else, which it tells at once.
const BUSY_FIRST: Duration = Duration::from_millis(200);
const BUSY_MOST: Duration = Duration::from_secs(5);
/// A pool at rest is looked at after this long even if nobody asks: somebody may have stopped the volume by hand.
const AUDIT: Duration = Duration::from_secs(300);

/// How a round ended.
enum Round {
    /// Nothing to do until something changes, or that moment comes.
    Settled(Option<Timestamp>),
    /// Something changed, or is about to: look again at once.
    Again,
    /// Unfinished: look again soon.
    Unfinished,
}

impl Reconcile {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let mut pause = RETRY_FIRST;
        let mut last_line = String::new();
        let mut seen = Seen::default();
        loop {
            let round = match self.round(&mut seen).await {
                Ok(round) => {
                    seen.note_trouble(None, "");
                    round
                }
                Err(error) => {
                    let line = seen.hung(&error).unwrap_or_else(|| trouble(&error, seen.busy_for_long()));
                    seen.note_trouble(Some(&error), &line);
                    if matches!(error, GlusterError::Busy) {
                        pause = pause.clamp(BUSY_FIRST, BUSY_MOST);
                    }
                    if line != last_line {
                        tracing::warn!("storage: {line}");
                        last_line.clone_from(&line);
                    }
                    seen.view = None;
                    self.publish_message(&line);
                    Round::Unfinished
                }
            };
            match round {
                Round::Again => {
                    pause = RETRY_FIRST;
                    continue;
                }
                Round::Settled(at) => {
                    pause = RETRY_FIRST;
                    if at.is_none() {
                        last_line.clear();
                    }
                    let due = at.map(|at| Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default());
                    let look = self.look_again.load(Ordering::Relaxed).then(|| seen.look_due());
                    match due.into_iter().chain(look).min() {
                        Some(wait) => {
                            drop(tokio::time::timeout(wait + Duration::from_millis(1), self.wake.notified()).await);
                        }
                        None => {
                            if tokio::time::timeout(AUDIT, self.wake.notified()).await.is_err() {
                                seen.view = None;
                            }
                        }
                    }
                }
                Round::Unfinished => {
                    drop(tokio::time::timeout(pause, self.wake.notified()).await);
                    pause = (pause + pause / 2).min(RETRY_MOST);
                }
            }
        }
    }

    async fn round(&self, seen: &mut Seen) -> Result<Round, GlusterError> {
        seen.unreachable.retain(|_, at| at.elapsed() < UNREACHABLE_FOR);
        let Some(mut wanted) = self.wanted(seen) else {
            self.look_again.store(false, Ordering::Relaxed);
            return Ok(Round::Settled(None));
        };
        if wanted.candidates.iter().any(|candidate| candidate.prepared) {
            wanted.prepared_since = Some(*seen.prepared_since.get_or_insert_with(|| self.clock.now()));
        }
        if seen.look_due().is_zero() && self.look_again.swap(false, Ordering::Relaxed) {
            seen.view = None;
        }
        let known = &mut seen.view;
        // Letting a node mount needs no fresh look at a whole volume: nobody else changes the access list.
        if let Some(view) = known
            && let Some(value) = access_list_only(&wanted, view, self.clock.now())
        {
            self.apply(&wanted, &StorageStep::Allow { value }).await?;
            if let Some(volume) = &mut view.volume {
                volume
                    .options
                    .insert("auth.allow".to_owned(), wanted.allowed.iter().cloned().collect::<Vec<_>>().join(","));
            }
            let plan = storage_plan::plan(&wanted, view, self.clock.now());
            self.publish(&wanted, view, &plan);
            return Ok(Round::Again);
        }
        let began = Instant::now();
        let mut view = self.look(&wanted, seen).await?;
        let mut plan = storage_plan::plan(&wanted, &view, self.clock.now());
        if !plan.reset.is_empty() && seen.at.is_none_or(|at| at < began) {
            // What looks like the trace of a create that came to nothing may be that of one that was made late, after a
            // peer had held it up: then it is the volume's own mark, and must stay.
            (seen.view, seen.stale) = (None, Stale::Nothing);
            view = self.look(&wanted, seen).await?;
            plan = storage_plan::plan(&wanted, &view, self.clock.now());
        }
        seen.note_servers(&view);
        self.publish(&wanted, &view, &plan);
        if plan.steps.is_empty() {
            // What other hosts have to bring about first is announced by a wake; what the pool has to is not.
            let settled = waits_for_nodes(&plan);
            if !settled {
                seen.stale = if view.volume.is_none() { Stale::Peers } else { Stale::Volume };
            } else {
                self.look_at_levels(&view, seen).await;
            }
            seen.view = Some(view);
            return Ok(if settled { Round::Settled(storage_plan::wake_at(&plan)) } else { Round::Unfinished });
        }
        let round = self.carry_out(&wanted, &plan, &view, seen).await?;
        let probes = plan.steps.iter().filter(|step| matches!(step, StorageStep::Probe(_))).count();
        seen.stale = match plan.steps.as_slice() {
            [StorageStep::ForgetBricks(_)] => Stale::Nothing,
            _ if probes > 0 => Stale::Peers,
            _ => Stale::Volume,
        };
        // Where both were changed, all is looked at anew.
        seen.view = (probes == 0 || probes == plan.steps.len()).then_some(view);
        Ok(round)
    }

    /// The pool and the volume as they are, from what was seen before as far as that still holds.
    async fn look(&self, wanted: &Wanted, seen: &mut Seen) -> Result<PoolView, GlusterError> {
        let stale = std::mem::take(&mut seen.stale);
        let younger_than = |age: Duration| seen.at.is_some_and(|at| at.elapsed() < age);
        let (believed, recent) = (younger_than(BELIEVED), younger_than(AUDIT));
        let view = match (seen.view.take(), stale) {
            // However often the loop is woken, everything is looked at now and then.
            (Some(view), Stale::Nothing) if believed || (recent && is_settled(wanted, &view, self.clock.now())) => {
                return Ok(view);
            }
            (Some(view), Stale::Peers) if believed => PoolView { peers: self.peers().await?, ..view },
            (Some(view), Stale::Volume) if believed => {
                let (volume, bricks) = self.volume(wanted).await?;
                PoolView { volume, bricks, ..view }
            }
            _ => {
                let at = Instant::now();
                let (peers, volume) = tokio::join!(self.peers(), self.volume(wanted));
                let (peers, (volume, bricks)) = (peers?, volume?);
                seen.at = Some(at);
                PoolView { peers, volume, bricks, ..PoolView::default() }
            }
        };
        let identities = self.identities(&view.peers).await;
        let id = view.volume.as_ref().map_or("", |volume| volume.id.as_str());
        let marked = |candidate: &Candidate| !candidate.mark.is_empty() && candidate.mark != id;
        let volume_ids = if wanted.candidates.iter().any(marked) { self.pool.volume_ids().await? } else { Vec::new() };
        Ok(PoolView { identities, volume_ids, ..view })
    }

    /// Carries out the steps. A probe that fails is remembered and stops nothing else.
    async fn carry_out(
        &self,
        wanted: &Wanted,
        plan: &StoragePlan,
        view: &PoolView,
        seen: &mut Seen,
    ) -> Result<Round, GlusterError> {
        let mut trouble = None;
        let mut put_off = false;
        for step in &plan.steps {
            if let StorageStep::Create(NewVolume { bricks, .. }) | StorageStep::AddBricks { bricks, .. } = step {
                let marked = seen.marked_at.is_some_and(|at| at.elapsed() < REPORTS_DUE);
                let apart = !marked && !self.know_each_other(view, bricks).await?;
                seen.note_apart(apart);
                if marked || apart {
                    put_off = true;
                    break;
                }
            }
            if matches!(step, StorageStep::Start { force: true }) {
                if seen.restarted.is_some_and(|at| at.elapsed() < RESTART_PAUSE) {
                    continue;
                }
                seen.restarted = Some(Instant::now());
            }
            match (self.apply(wanted, step).await, step) {
                (Ok(()), StorageStep::Probe(address)) => seen.probed(*address, Ok(())),
                (Ok(()), _) => {}
                (Err(error), StorageStep::Probe(address)) => {
                    let why = self.why_declined(*address, &error, view).await;
                    seen.probed(*address, Err(why));
                    trouble = Some(error);
                }
                (Err(error), _) => {
                    if matches!(error, GlusterError::BrickInUse { .. }) {
                        seen.marked_at = Some(Instant::now());
                    }
                    return Err(error);
                }
            }
        }
        if let Some(error) = trouble {
            return Err(error);
        }
        // What a probe began takes the peers a moment to finish.
        let probed = plan.steps.iter().any(|step| matches!(step, StorageStep::Probe(_)));
        let only_restart = plan.steps.iter().all(|step| matches!(step, StorageStep::Start { force: true }));
        Ok(if only_restart || probed || put_off { Round::Unfinished } else { Round::Again })
    }

    /// Whether the servers of new bricks see all servers that take part. A server that was probed a moment ago is
    /// connected to this host before it is to the others, and would refuse the change after others have agreed: their
    /// bricks would keep a mark.
    async fn know_each_other(&self, view: &PoolView, bricks: &[Brick]) -> Result<bool, GlusterError> {
        let old = view.volume.iter().flat_map(|volume| &volume.bricks);
        let hosts: BTreeSet<&str> = old.chain(bricks).map(|brick| brick.host.as_str()).collect();
        let needed: Vec<&str> = view
            .peers
            .iter()
            .filter(|peer| hosts.contains(peer.hostname.as_str()) || peer.hostname == self.own_address.to_string())
            .map(|peer| peer.uuid.as_str())
            .collect();
        let others = bricks.iter().filter_map(|brick| NodeAddress::parse(&brick.host).ok());
        let looks =
            others.filter(|address| *address != self.own_address).map(|address| self.pool.peers_seen_by(address));
        for seen in futures_util::future::try_join_all(looks).await? {
            let sees = |uuid: &&str| seen.iter().any(|peer| peer.uuid == **uuid && peer.usable());
            if !needed.iter().all(sees) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the volume is to be; `None` if storage is off.
    fn wanted(&self, seen: &Seen) -> Option<Wanted> {
        self.store.read(|state| {
            let volume = state.storage()?.clone();
            let mut nodes: Vec<_> = state.nodes().filter(|node| node.storage != StorageRole::None).collect();
            nodes.sort_by_key(|node| node.ordinal);
            let candidates = nodes
                .iter()
                .filter(|node| node.storage == StorageRole::Brick)
                .map(|node| Candidate {
                    hostname: node.hostname.clone(),
                    address: node.address,
                    prepared: node.report.brick_ready || !node.keyed,
                    mark: node.report.brick_mark.clone(),
                    registered_at: node.registered_at,
                    reach: seen.reach(node.address),
                    refused: node.more.refused,
                })
                .collect();
            let by_network = !self.allowed_networks.is_empty();
            let allowed: BTreeSet<String> = if !by_network {
                nodes.iter().filter(|node| !node.more.refused).map(|node| node.address.to_string()).collect()
            } else {
                self.allowed_networks.iter().map(ToString::to_string).collect()
            };
            let served_before = nodes.iter().any(|node| node.report.mounted);
            Some(Wanted {
                volume,
                candidates,
                allowed,
                by_network,
                settle: self.settle,
                prepared_since: None,
                intents: state.intents().to_vec(),
                apart: seen.apart(),
                layout_due: state.layout_due(),
                served_before,
            })
        })
    }
}

/// The new access list, if that is all that is to be done to a volume that is otherwise at rest.
fn access_list_only(wanted: &Wanted, view: &PoolView, now: Timestamp) -> Option<String> {
    let plan = storage_plan::plan(wanted, view, now);
    match plan.steps.as_slice() {
        [StorageStep::Allow { value }] if plan.mountable => Some(value.clone()),
        _ => None,
    }
}

/// Whether there is nothing to do, and nothing to wait for but nodes.
fn is_settled(wanted: &Wanted, view: &PoolView, now: Timestamp) -> bool {
    let plan = storage_plan::plan(wanted, view, now);
    plan.steps.is_empty() && waits_for_nodes(&plan)
}

/// Whether all that is awaited is announced by a registration, a report, or the operator.
fn waits_for_nodes(plan: &StoragePlan) -> bool {
    plan.waits.iter().all(|wait| match wait {
        StorageWait::NoBricks
        | StorageWait::Unprepared(_)
        | StorageWait::Settling { .. }
        | StorageWait::IncompleteSet { .. }
        | StorageWait::UnregisteredBricks(_)
        | StorageWait::BricksFull(_)
        | StorageWait::MarkedBricks(_) => true,
        StorageWait::PeersNotConnected(_)
        | StorageWait::ServersRefused(_)
        | StorageWait::ServersApart(_)
        | StorageWait::OtherVolume { .. }
        | StorageWait::StoppedByOperator
        | StorageWait::BricksOffline(_) => false,
    })
}
