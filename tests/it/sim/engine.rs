//! Docker as it takes its time: the fake's answers, after as long as the real one was seen to need, and two oddities
//! that are about time: a join goes on when whoever asked for it is gone, and a Swarm that has lost its leader looks
//! healthy to its managers for ten seconds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clusterctl::cluster::{NodeAddress, Role};
use clusterctl::providers::swarm::{
    Availability, Engine, Join, JoinTokens, LocalState, Member, SwarmEngine, SwarmError,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::chance::Dice;
use crate::fakes::swarm::FakeEngine;

/// How long managers take to notice that there is no leader: ten ticks of the raft.
const BLIND: Duration = Duration::from_secs(10);
/// How long Docker tries with a token that is refused, or a Swarm without a leader, before it says so.
const REFUSAL: Duration = Duration::from_secs(10);
/// And with a manager that does not answer.
const SILENCE: Duration = Duration::from_secs(20);

/// What a manager saw while there was a leader.
#[derive(Debug, Default)]
struct Sight {
    healthy: Option<Engine>,
    leaderless_since: Option<Instant>,
}

/// One host's Docker. Clones are the same engine.
#[derive(Debug, Clone)]
pub(crate) struct SimEngine {
    fake: FakeEngine,
    dice: Dice,
    sight: Arc<Mutex<Sight>>,
}

impl SimEngine {
    pub(crate) fn new(fake: FakeEngine, dice: Dice) -> Self {
        Self { fake, dice, sight: Arc::default() }
    }

    /// The same engine for somebody else who asks it.
    pub(crate) fn for_another(&self, dice: Dice) -> Self {
        Self { dice, ..self.clone() }
    }

    async fn takes(&self, least: u64, most: u64) {
        tokio::time::sleep(self.dice.millis(least..=most)).await;
    }

    /// What `engine` shows while its managers have not noticed yet that there is no leader.
    fn as_it_seems(&self, engine: Engine) -> Engine {
        let mut sight = self.sight.lock().unwrap();
        if engine.state != LocalState::Active || engine.error.is_empty() {
            sight.leaderless_since = None;
            sight.healthy = engine.manager.then(|| engine.clone());
            return engine;
        }
        let since = *sight.leaderless_since.get_or_insert_with(Instant::now);
        match &sight.healthy {
            Some(healthy) if since.elapsed() < BLIND => healthy.clone(),
            Some(_) | None => engine,
        }
    }
}

/// Has `work` done by a task of its own, as a daemon does it: to its end, whoever still waits for it.
pub(crate) async fn by_daemon<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, ended) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody may wait for it any more.
        done.send(work.await).ok();
    });
    ended.await.expect("the daemon's work does not panic")
}

#[async_trait::async_trait]
impl SwarmEngine for SimEngine {
    async fn version(&self) -> Result<String, SwarmError> {
        self.takes(1, 3).await;
        self.fake.version().await
    }

    async fn inspect(&self) -> Result<Engine, SwarmError> {
        self.takes(15, 40).await;
        self.fake.inspect().await.map(|engine| self.as_it_seems(engine))
    }

    async fn init(&self, advertise: NodeAddress) -> Result<(), SwarmError> {
        self.takes(600, 800).await;
        self.fake.init(advertise).await
    }

    async fn join(&self, join: &Join) -> Result<(), SwarmError> {
        let (it, join) = (self.clone(), join.clone());
        by_daemon(async move {
            it.takes(40, 600).await;
            let outcome = it.fake.join(&join).await;
            match &outcome {
                Err(SwarmError::TokenRefused | SwarmError::CaMismatch | SwarmError::NoLeader) => {
                    tokio::time::sleep(REFUSAL).await;
                }
                Err(SwarmError::ManagerUnreachable) => tokio::time::sleep(SILENCE).await,
                Err(SwarmError::AdvertisedAddressUnreachable) => it.takes(3_000, 3_200).await,
                Ok(()) | Err(_) => {}
            }
            outcome
        })
        .await
    }

    async fn leave(&self, force: bool) -> Result<(), SwarmError> {
        let it = self.clone();
        by_daemon(async move {
            it.takes(1, 2_300).await;
            it.fake.leave(force).await
        })
        .await
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        self.takes(5, 20).await;
        self.fake.join_tokens().await
    }

    async fn rotate_join_tokens(&self) -> Result<(), SwarmError> {
        self.takes(5, 20).await;
        self.fake.rotate_join_tokens().await
    }

    async fn members(&self) -> Result<Vec<Member>, SwarmError> {
        self.takes(5, 20).await;
        self.fake.members().await
    }

    async fn set_role(&self, swarm_node_id: &str, role: Role) -> Result<(), SwarmError> {
        self.takes(5, 1_500).await;
        self.fake.set_role(swarm_node_id, role).await
    }

    async fn set_availability(&self, swarm_node_id: &str, availability: Availability) -> Result<(), SwarmError> {
        self.takes(5, 20).await;
        self.fake.set_availability(swarm_node_id, availability).await
    }

    async fn running_tasks(&self, swarm_node_id: &str) -> Result<usize, SwarmError> {
        self.takes(5, 20).await;
        self.fake.running_tasks(swarm_node_id).await
    }

    async fn remove_member(&self, swarm_node_id: &str, force: bool) -> Result<(), SwarmError> {
        self.takes(5, 20).await;
        self.fake.remove_member(swarm_node_id, force).await
    }
}
