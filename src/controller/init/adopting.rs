//! `master init --adopt`: the registry comes back out of the Swarm that this host manages.
//!
//! Everything is looked at before anything is written. The cluster gets its id last: a run that breaks off leaves a
//! state that `master serve` still refuses, and the next run goes on from there. A CA that outlived the state is kept,
//! and with it the cluster's id, so that nodes go on to trust this controller.

use std::sync::Arc;

use super::{InitError, InitOptions, InitOutcome, write_down};
use crate::controller::adopt::{self, Adoption, OwnHost};
use crate::controller::command::{Command, StorageRecord, SwarmRecord};
use crate::controller::serve::{AUTHORITY_DIR, ServeError, StorageChoice, authority, configure_storage};
use crate::controller::state::{ClusterState, Effect};
use crate::controller::store::{OpenError, Store};
use crate::pki::Authority;
use crate::providers::gluster::{GlusterError, StoragePool, Volume};
use crate::providers::swarm::{Engine, LocalState};

/// What there may be beside the Swarm.
#[derive(Clone)]
pub struct AdoptOptions {
    pub pool: Arc<dyn StoragePool>,
    /// The volume's name, and what it does not say itself.
    pub wanted: StorageRecord,
}

pub(super) async fn run(options: &InitOptions, adopt: &AdoptOptions) -> Result<InitOutcome, InitError> {
    let engine = options.engine.inspect().await.map_err(InitError::Docker)?;
    match engine.state {
        LocalState::Active if engine.manager => {}
        LocalState::Locked => return Err(InitError::Locked),
        LocalState::Error => return Err(InitError::Broken(engine.error)),
        LocalState::Active | LocalState::Inactive | LocalState::Pending => return Err(InitError::NoSwarm),
    }
    let members = options.engine.members().await.map_err(InitError::Docker)?;
    let volume = existing_volume(options, adopt).await?;
    let store = match Store::<ClusterState>::open(&options.state_dir, options.store.clone()).await {
        Ok(store) => store,
        Err(OpenError::InUse { .. }) => return Err(InitError::Running),
        Err(error) => return Err(ServeError::Open(error).into()),
    };
    let own = OwnHost { swarm_node_id: &engine.swarm_node_id, address: options.advertise };
    let planned = store.read(|state| adopt::plan(state, &members, own, volume.as_ref(), &adopt.wanted));
    let adopted = match planned {
        Ok(adoption) => put_on_record(&store, options, &engine, adoption).await,
        Err(error) => Err(InitError::Volume(error)),
    };
    store.close().await;
    Ok(InitOutcome { manager_address: engine.node_address, ..adopted? })
}

/// The volume that there is. Where GlusterFS is not there, there is none, unless somebody said otherwise.
async fn existing_volume(options: &InitOptions, adopt: &AdoptOptions) -> Result<Option<Volume>, InitError> {
    if options.storage == StorageChoice::Off {
        return Ok(None);
    }
    match adopt.pool.volume(&adopt.wanted.volume).await {
        Ok(found) => Ok(found),
        Err(GlusterError::NotInstalled) if options.storage == StorageChoice::AsRecorded => Ok(None),
        Err(error) => Err(InitError::Gluster(error)),
    }
}

async fn put_on_record(
    store: &Store<ClusterState>,
    options: &InitOptions,
    engine: &Engine,
    adoption: Adoption,
) -> Result<InitOutcome, InitError> {
    let at = options.clock.now();
    let commit = async |command| store.commit(command).await.map_err(ServeError::Commit);
    let storage = adoption.storage.clone().map_or_else(|| options.storage.clone(), StorageChoice::On);
    let storage_changed = configure_storage(store, &storage).await?;
    let mut adopted = Adoption { nodes: Vec::new(), ..adoption.clone() };
    for one in adoption.nodes {
        let (node, swarm_node_id) = (one.node.clone(), one.swarm_node_id.clone());
        let done = commit(Command::Adopt { node, storage: one.storage, swarm_node_id, at }).await?;
        if done.effect == Effect::Changed {
            tracing::info!(hostname = %one.node.hostname, address = %one.node.address, role = %one.node.role, "adopted");
            adopted.nodes.push(one);
        }
    }
    let kept = Authority::load(&options.state_dir.join(AUTHORITY_DIR)).map_err(ServeError::Authority)?;
    let known = store.read(|state| state.cluster_id().map(str::to_owned));
    let cluster_id = match (&known, kept) {
        (Some(known), _) => known.clone(),
        (None, Some(kept)) => kept.cluster_id().to_owned(),
        (None, None) => uuid::Uuid::new_v4().to_string(),
    };
    commit(Command::Initialise { cluster_id: cluster_id.clone(), at }).await?;
    authority(store, &options.state_dir, options.clock.as_ref())?;
    let swarm_cluster_id = engine.cluster_id.clone().unwrap_or_default();
    let swarm = engine
        .ca_digest
        .as_ref()
        .map(|digest| SwarmRecord { cluster_id: swarm_cluster_id.clone(), ca_digest: digest.to_string() });
    let created = known.is_none();
    let token = write_down(store, options, swarm, created).await?;
    Ok(InitOutcome { created, storage_changed, token, cluster_id, swarm_cluster_id, adopted, ..InitOutcome::default() })
}
