//! `node join` on one host, started again whenever it ends with an error, as a unit or an operator does.

use std::sync::Arc;
use std::time::Duration;

use clusterctl::cli::explain;
use clusterctl::cluster::Role;
use clusterctl::converge::step::Step;
use clusterctl::nodeagent::client::Link;
use clusterctl::nodeagent::facts::RunningSystem;
use clusterctl::nodeagent::join::{Join, JoinError, Joined};
use clusterctl::pki::Trust;
use tokio::time::Instant;

use super::cluster::{Cluster, master};
use super::network::Wire;
use crate::invariants::endings::failed_well;
use crate::invariants::secrets;

/// One join of host `n`.
pub(crate) async fn join(cluster: &Cluster, n: usize, role: Role, timeout: Duration) -> Result<Joined, JoinError> {
    let host = cluster.host(n);
    let shown = host.identity.credentials(None).unwrap();
    let wire = Wire { network: cluster.network.clone(), host: n, dice: host.dice.own(2) };
    let link = Link::new(master(), Trust::FirstUse, shown, Arc::new(cluster.clock)).over(Arc::new(wire));
    let dice = host.dice.own(3);
    let join = Join {
        link: Arc::new(link),
        identity: host.identity.clone(),
        hostname: host.name.clone(),
        address: host.address,
        role: Some(role),
        token: None,
        facts: cluster.facts(n),
        running: RunningSystem::default(),
        heard: None,
        overlay: None,
        recorded: None,
        engine: None,
        hands: host.hands.clone(),
        timeout,
        clock: Arc::new(cluster.clock),
        chance: Arc::new(move || dice.fraction()),
    };
    join.run().await
}

/// Joins host `n` until that succeeds; says what was done the last time. I8, I9: every failure is judged.
pub(crate) async fn live(cluster: Arc<Cluster>, n: usize, role: Role) -> Vec<Step> {
    loop {
        let dice = &cluster.host(n).dice;
        let timeout = dice.millis(30_000..=300_000);
        cluster.trace.say(format_args!("h{n} joins, for {timeout:?} at most"));
        let began = Instant::now();
        let failure = match join(&cluster, n, role, timeout).await {
            Ok(joined) => {
                cluster.trace.say(format_args!("h{n} has joined: {}", words(&joined.done)));
                return joined.done;
            }
            Err(error) => explain::join(error),
        };
        cluster.trace.say(format_args!("h{n} ends with {}: {}", failure.exit().code(), failure.chain()));
        failed_well(&failure, began.elapsed(), timeout);
        secrets::not_in("what a join says", &failure.report(), &["SWMTKN-1-".to_owned()]);
        tokio::time::sleep(dice.millis(1_000..=20_000)).await;
    }
}

pub(crate) fn words(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "nothing to do".to_owned();
    }
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
