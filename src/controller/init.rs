//! `master init`: the cluster gets its id, the shared volume its settings, and this host becomes the Swarm's first
//! manager. A second run changes nothing.
//!
//! The store is closed before Docker is asked, so that a controller may start meanwhile and answer nodes.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

use super::adopt::{Adoption, VolumeError};
use super::command::{Command, SwarmRecord};
use super::serve::{ServeError, StorageChoice, authority, configure_storage, initialise};
use super::state::ClusterState;
use super::store::{OpenError, Store, StoreOptions};
use super::tokens;
use crate::clock::Clock;
use crate::cluster::{JoinToken, NodeAddress, Role};
use crate::protocol::registration::Grant;
use crate::providers::gluster::GlusterError;
use crate::providers::swarm::{Engine, LocalState, SwarmEngine, SwarmError};

mod adopting;

pub use adopting::AdoptOptions;

/// What `master init` works with.
pub struct InitOptions {
    pub state_dir: PathBuf,
    pub storage: StorageChoice,
    pub advertise: NodeAddress,
    pub engine: Arc<dyn SwarmEngine>,
    pub clock: Arc<dyn Clock>,
    /// Puts on record what the Swarm and the volume are.
    pub adopt: Option<AdoptOptions>,
    pub store: StoreOptions,
}

/// What `master init` did.
#[derive(Debug, Clone, Default)]
pub struct InitOutcome {
    /// The cluster was made now.
    pub created: bool,
    pub storage_changed: bool,
    /// The Swarm was made now.
    pub swarm_created: bool,
    /// A controller is running; what it has on record was left to it.
    pub controller_running: bool,
    /// The first token, for workers; `None` if this cluster was set up before, or if a controller runs, which makes one.
    pub token: Option<JoinToken>,
    pub cluster_id: String,
    pub swarm_cluster_id: String,
    pub manager_address: String,
    /// What was put on record of the Swarm that there was.
    pub adopted: Adoption,
}

/// Why `master init` failed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    State(#[from] ServeError),
    #[error("Docker could not be asked")]
    Docker(#[source] SwarmError),
    #[error("Docker did not make a Swarm")]
    SwarmInit(#[source] SwarmError),
    #[error("the host gives no randomness")]
    Random(#[source] getrandom::Error),
    #[error("this host is a worker of another manager's Swarm")]
    Worker,
    #[error("this host is still joining another Swarm")]
    Pending,
    #[error("this host's Swarm is locked")]
    Locked,
    #[error("this host's Swarm is broken: {0}")]
    Broken(String),
    #[error("Docker said that it made a Swarm, but this host is `{0}` in it")]
    NotActive(String),
    #[error("a controller is running on this state")]
    Running,
    #[error("this host manages no Swarm that could be adopted")]
    NoSwarm,
    #[error("GlusterFS could not be asked")]
    Gluster(#[source] GlusterError),
    #[error("the shared volume cannot be adopted")]
    Volume(#[source] VolumeError),
}

/// Makes this host the first of a cluster.
///
/// # Errors
/// If Docker does not answer, or the host is in a Swarm that it does not manage. Settings that were recorded before
/// stay; running `master init` again goes on from there.
pub async fn run(options: InitOptions) -> Result<InitOutcome, InitError> {
    if let Some(adopt) = &options.adopt {
        return adopting::run(&options, adopt).await;
    }
    let mut outcome = InitOutcome::default();
    match Store::<ClusterState>::open(&options.state_dir, options.store.clone()).await {
        Ok(store) => {
            outcome.created = initialise(&store, options.clock.as_ref()).await?;
            let changed = configure_storage(&store, &options.storage).await;
            outcome.cluster_id = store.read(|state| state.cluster_id().unwrap_or_default().to_owned());
            let authority = authority(&store, &options.state_dir, options.clock.as_ref());
            store.close().await;
            authority?;
            outcome.storage_changed = changed?;
        }
        Err(OpenError::InUse { .. }) => outcome.controller_running = true,
        Err(error) => return Err(ServeError::Open(error).into()),
    }
    let before = options.engine.inspect().await.map_err(InitError::Docker)?;
    outcome.swarm_created = match before.state {
        LocalState::Inactive => true,
        LocalState::Active if before.manager => false,
        LocalState::Active => return Err(InitError::Worker),
        LocalState::Pending => return Err(InitError::Pending),
        LocalState::Locked => return Err(InitError::Locked),
        LocalState::Error => return Err(InitError::Broken(before.error)),
    };
    let engine = if outcome.swarm_created { make_swarm(&options).await? } else { before };
    outcome.manager_address = engine.node_address;
    outcome.swarm_cluster_id = engine.cluster_id.unwrap_or_default();
    if !outcome.controller_running {
        let cluster_id = outcome.swarm_cluster_id.clone();
        let swarm = engine.ca_digest.map(|digest| SwarmRecord { cluster_id, ca_digest: digest.to_string() });
        record(&options, swarm, &mut outcome).await?;
    }
    Ok(outcome)
}

async fn make_swarm(options: &InitOptions) -> Result<Engine, InitError> {
    // An error may hide a success: what counts is what the engine says afterwards.
    let made = options.engine.init(options.advertise).await;
    let engine = options.engine.inspect().await.map_err(InitError::Docker)?;
    if engine.state == LocalState::Active && engine.manager {
        return Ok(engine);
    }
    made.map_err(InitError::SwarmInit)?;
    Err(InitError::NotActive(format!("{:?}", engine.state).to_lowercase()))
}

/// Records the Swarm and makes the first token, unless a controller has started meanwhile: it does so itself.
async fn record(options: &InitOptions, swarm: Option<SwarmRecord>, outcome: &mut InitOutcome) -> Result<(), InitError> {
    let store = match Store::<ClusterState>::open(&options.state_dir, options.store.clone()).await {
        Ok(store) => store,
        Err(OpenError::InUse { .. }) => {
            outcome.controller_running = true;
            return Ok(());
        }
        Err(error) => return Err(ServeError::Open(error).into()),
    };
    let first = outcome.created || outcome.swarm_created;
    let recorded = write_down(&store, options, swarm, first).await;
    store.close().await;
    outcome.token = recorded?;
    Ok(())
}

async fn write_down(
    store: &Store<ClusterState>,
    options: &InitOptions,
    swarm: Option<SwarmRecord>,
    first: bool,
) -> Result<Option<JoinToken>, InitError> {
    if let Some(swarm) = swarm {
        store.commit(Command::RecordSwarm { swarm }).await.map_err(ServeError::Commit)?;
    }
    if !first {
        return Ok(None);
    }
    let authority = authority(store, &options.state_dir, options.clock.as_ref())?;
    let mut random = [0; 21];
    getrandom::fill(&mut random).map_err(InitError::Random)?;
    let (grant, now) = (Grant { role: Some(Role::Worker), ..Grant::default() }, options.clock.now());
    let (token, command) =
        tokens::new_token(random, &grant, None, 0, SignedDuration::ZERO, authority.fingerprint(), now);
    store.commit(command).await.map_err(ServeError::Commit)?;
    Ok(Some(token))
}
