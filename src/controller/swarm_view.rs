//! The controller's view of its Swarm: read from the local engine when needed, kept for a few seconds, never written
//! down. Join tokens live here and in replies, nowhere else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::reply::{SwarmAccess, SwarmView};
use crate::cluster::NodeAddress;
use crate::protocol::reply::Reason;
use crate::providers::swarm::{Engine, JoinTokens, LocalState, Member, SwarmEngine, SwarmError};

/// How long tokens are believed.
const FRESH: Duration = Duration::from_secs(20);
/// How long they are believed when a node says that the Swarm refused one: less than it waits before it asks again, and
/// long enough that many such nodes cause one question.
const DOUBTED_FRESH: Duration = Duration::from_millis(300);
/// How long trouble is believed, so that its end is seen soon and Docker is not asked by every waiting node.
const TROUBLE_FRESH: Duration = Duration::from_millis(150);
/// How long the list of members is believed where many nodes that join again are looked up in it.
const LISTED_FRESH: Duration = Duration::from_secs(1);

/// How often the engine is asked while somebody waits for the Swarm.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long Docker may take before nodes are told that it does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the engine, and remembers.
pub struct SwarmWatch {
    engine: Arc<dyn SwarmEngine>,
    /// Where nodes join, if the operator named an address.
    advertise: Option<NodeAddress>,
    cached: Mutex<Option<(Instant, SwarmView)>>,
    /// Counts how often a look differed from the one before.
    news: watch::Sender<u64>,
    /// Held by the one of all who wait that asks the engine.
    asking: Mutex<()>,
    listed: Mutex<Option<(Instant, Vec<Member>)>>,
}

/// The port that Swarm managers listen on.
const SWARM_PORT: u16 = 2377;

impl SwarmWatch {
    #[must_use]
    pub fn new(engine: Arc<dyn SwarmEngine>, advertise: Option<NodeAddress>) -> Self {
        let (news, asking) = (watch::Sender::new(0), Mutex::default());
        Self { engine, advertise, cached: Mutex::new(None), listed: Mutex::new(None), news, asking }
    }

    /// The Swarm as it is now, or was a moment ago.
    pub async fn view(&self) -> SwarmView {
        let mut cached = self.cached.lock().await;
        if let Some((at, view)) = cached.as_ref() {
            let fresh = match view {
                SwarmView::Ready(_) => FRESH,
                SwarmView::Trouble { .. } => TROUBLE_FRESH,
            };
            if at.elapsed() < fresh {
                return view.clone();
            }
        }
        let view = self.read().await;
        let differs = cached.as_ref().is_none_or(|(_, before)| *before != view);
        *cached = Some((Instant::now(), view.clone()));
        if differs {
            self.news.send_modify(|count| *count += 1);
        }
        view
    }

    /// For [`changed`](Self::changed): what is looked at from now on is news.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns when the Swarm looks otherwise. Docker tells nobody of that and has to be asked, by one of all who wait.
    pub async fn changed(&self, news: &mut watch::Receiver<u64>) {
        tokio::select! {
            // It comes to an end with this value alone.
            _ = news.changed() => {}
            never = self.keep_asking() => match never {},
        }
    }

    async fn keep_asking(&self) -> Infallible {
        let _asking = self.asking.lock().await;
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            self.view().await;
        }
    }

    /// Forgets what is not quite new: a token out of it was refused, so that it may have been rotated.
    pub async fn doubt(&self) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|(at, _)| at.elapsed() >= DOUBTED_FRESH) {
            *cached = None;
        }
    }

    async fn read(&self) -> SwarmView {
        let asked = async { tokio::join!(self.engine.inspect(), self.engine.join_tokens()) };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok((engine, tokens)) => judge(engine, tokens, self.advertise),
            Err(_) => SwarmView::Trouble {
                reason: Reason::SwarmUnavailable,
                message: "the controller's Docker does not answer".to_owned(),
            },
        }
    }

    /// How the managers see a member, in Docker's word, now or a moment ago; empty if it is none, or they cannot be asked.
    pub async fn sees(&self, swarm_node_id: &str) -> String {
        let mut listed = self.listed.lock().await;
        let fresh = listed.as_ref().is_some_and(|(at, _)| at.elapsed() < LISTED_FRESH);
        if !fresh {
            *listed = Some((Instant::now(), self.list().await));
        }
        let members = listed.iter().flat_map(|(_, members)| members);
        members.filter(|member| member.swarm_node_id == swarm_node_id).map(|member| member.state.clone()).collect()
    }

    /// The Swarm's members; empty if they cannot be had.
    pub async fn members(&self) -> Vec<Member> {
        let mut listed = self.listed.lock().await;
        let members = self.list().await;
        *listed = Some((Instant::now(), members.clone()));
        members
    }

    async fn list(&self) -> Vec<Member> {
        tokio::time::timeout(PATIENCE, self.engine.members()).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// What the engine's answers mean for nodes that want to join.
fn judge(
    engine: Result<Engine, SwarmError>,
    tokens: Result<JoinTokens, SwarmError>,
    advertise: Option<NodeAddress>,
) -> SwarmView {
    let trouble = |reason, message: String| SwarmView::Trouble { reason, message };
    let unavailable = |message: &str| trouble(Reason::SwarmUnavailable, message.to_owned());
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => return unavailable(&format!("the controller's Docker: {error}")),
    };
    match engine.state {
        LocalState::Active if engine.manager => {}
        LocalState::Active => return unavailable("the controller's host is a Swarm worker, not a manager"),
        LocalState::Inactive => {
            return unavailable("the controller's host is in no Swarm: run `clusterctl master init` there");
        }
        LocalState::Pending => return unavailable("the controller's host is still joining a Swarm"),
        LocalState::Locked => {
            return unavailable("the Swarm is locked: run `docker swarm unlock` on the controller's host");
        }
        LocalState::Error => {
            return unavailable(&format!("the Swarm on the controller's host is broken: {}", engine.error));
        }
    }
    // Docker says `active` all the while; only this text tells.
    if engine.error.contains("does not have a leader") {
        return trouble(Reason::SwarmNoLeader, "the Swarm has no leader: too few managers are up".to_owned());
    }
    let tokens = match tokens {
        Ok(tokens) => tokens,
        Err(SwarmError::NoLeader) => return trouble(Reason::SwarmNoLeader, "the Swarm has no leader".to_owned()),
        Err(error) => return unavailable(&format!("the Swarm's join tokens cannot be read: {error}")),
    };
    let Some(ca_digest) = engine.ca_digest else { return unavailable("the Swarm's root certificate cannot be read") };
    let own = format!("{}:{SWARM_PORT}", engine.node_address);
    let manager = advertise.map_or_else(|| own.clone(), |address| format!("{address}:{SWARM_PORT}"));
    let mut other_managers = engine.managers;
    other_managers.retain(|other| *other != own && *other != manager);
    SwarmView::Ready(SwarmAccess {
        tokens,
        manager,
        other_managers,
        ca_digest,
        cluster_id: engine.cluster_id.unwrap_or_default(),
    })
}
