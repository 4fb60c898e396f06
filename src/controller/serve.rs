//! `master serve`: opens the state, registers this host, and runs listener and reconcile loop until told to stop.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::{Notify, watch};

use super::admission::{self, Policy, Rules};
use super::certificates::CertificateIssuer;
use super::command::{Command, StorageRecord, SwarmRecord, Thresholds, Warrant};
use super::front_door::{FrontDoor, Memory, remove_leftovers};
use super::limits::{LimitSettings, Limits};
use super::listener::{ClearText, ListenError, ListenOptions, Listener};
use super::overview::Counters;
use super::reconcile::Reconcile;
use super::reply::{StorageView, SwarmView};
use super::state::{ClusterState, StorageRole};
use super::store::{CommitError, Health, OpenError, Store, StoreOptions};
use super::swarm_view::SwarmWatch;
use crate::clock::Clock;
use crate::cluster::NodeAddress;
use crate::cluster::OverlayConfig;
use crate::pki::{Authority, AuthorityError, ServerTls};
use crate::protocol::registration::Registration;
use crate::providers::gluster::StoragePool;
use crate::providers::swarm::{LocalState, SwarmEngine};

/// What the operator says about the shared volume this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageChoice {
    /// Nothing: what is on record holds.
    AsRecorded,
    On(StorageRecord),
    Off,
}

/// What the controller works with.
pub struct ServeOptions {
    /// The controller's own directory.
    pub state_dir: PathBuf,
    pub listen: ListenOptions,
    pub policy: Policy,
    pub limits: LimitSettings,
    pub need: Option<Thresholds>,
    pub overlay: OverlayConfig,
    pub storage: StorageChoice,
    pub settle: SignedDuration,
    pub allowed_networks: Vec<ipnet::Ipv4Net>,
    /// Where nodes join the Swarm, if the operator named an address.
    pub advertise: Option<NodeAddress>,
    /// This host, which counts as a manager; `None` if it has no address that others could reach.
    pub own: Registration,
    pub engine: Arc<dyn SwarmEngine>,
    pub pool: Arc<dyn StoragePool>,
    pub clock: Arc<dyn Clock>,
    pub store: StoreOptions,
    /// For how long the state may refuse to be opened again after an error before the controller ends.
    pub storage_patience: Duration,
}

/// [`ServeOptions::storage_patience`], unless a test has less.
pub const STORAGE_PATIENCE: Duration = Duration::from_secs(300);
/// How often the state is looked at while it cannot be opened again, at most.
const STORAGE_LOOK: Duration = Duration::from_secs(5);
/// How long the writer may take for what waits when the controller ends: it may hang with its disk.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Why the controller does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the controller's state cannot be opened")]
    Open(#[source] OpenError),
    #[error("the controller's state cannot be written")]
    Commit(#[source] CommitError),
    #[error("the controller cannot listen")]
    Listen(#[source] ListenError),
    #[error("the cluster's CA cannot be used")]
    Authority(#[source] AuthorityError),
    #[error("the cluster's CA is gone: nothing is in {}", .directory.display())]
    AuthorityLost { directory: PathBuf },
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("this host cannot be registered")]
    OwnHost(#[source] admission::Refusal),
    #[error("`{field}` is on record as `{recorded}`, and nodes hold bricks for it; it cannot become `{asked}`")]
    StorageDiffers { field: &'static str, recorded: String, asked: String },
    /// What was answered is on disk; a restart goes on from there.
    #[error("the loop that looks after storage has ended: {0}")]
    LoopEnded(String),
    /// What was answered is on disk, as far as the disk is believed.
    #[error("the controller's state could not be opened again for {seconds} s: {reason}")]
    StorageGone { seconds: u64, reason: String },
    /// What was answered is on disk.
    #[error("the writer of the controller's state did not end within {CLOSE_PATIENCE:?}: its disk hangs")]
    WriterHangs,
    /// The cluster's CA is there, and the state that belongs to it is not.
    #[error("the controller's state is empty, but the CA of the cluster {cluster_id} is in {}", .directory.display())]
    StateLost { cluster_id: String, directory: PathBuf },
    /// The state is empty although this host manages a Swarm with other nodes: answering from it would be wrong.
    #[error("the controller's state is empty, but this host manages a Swarm of {members} nodes")]
    EmptyState { members: usize },
}

/// A controller that has everything but its doors.
pub struct Controller {
    pub store: Store<ClusterState>,
    pub door: Arc<FrontDoor>,
    pub tls: Arc<ServerTls>,
    reconcile: Reconcile,
    storage_patience: Duration,
}

/// Opens the state, makes what is missing in it, and registers this host.
///
/// # Errors
/// If the controller cannot start.
pub async fn open(options: ServeOptions) -> Result<Controller, ServeError> {
    let store: Store<ClusterState> =
        Store::open(&options.state_dir, options.store.clone()).await.map_err(ServeError::Open)?;
    if let Err(refusal) = refuse_empty_state(&store, &options).await {
        // Whoever takes the way out that the refusal names finds the state free.
        store.close().await;
        return Err(refusal);
    }
    remove_leftovers(&options.state_dir);
    initialise(&store, options.clock.as_ref()).await?;
    let authority = Arc::new(authority(&store, &options.state_dir, options.clock.as_ref())?);
    configure_storage(&store, &options.storage).await?;
    let own_address = register_own_host(&store, &options).await?;

    let swarm = Arc::new(SwarmWatch::new(Arc::clone(&options.engine), options.advertise));
    let wake = Arc::new(Notify::new());
    let look_again = Arc::new(AtomicBool::new(false));
    let (publish, storage) = watch::channel(Arc::new(StorageView::default()));
    let reconcile = Reconcile {
        store: store.clone(),
        pool: options.pool,
        own_address,
        settle: options.settle,
        allowed_networks: options.allowed_networks,
        wake: Arc::clone(&wake),
        look_again: Arc::clone(&look_again),
        publish,
        clock: Arc::clone(&options.clock),
    };
    let door = Arc::new(FrontDoor {
        store: store.clone(),
        state_dir: options.state_dir,
        policy: options.policy,
        certificates: Some(Arc::clone(&authority) as Arc<dyn CertificateIssuer>),
        engine: Arc::clone(&options.engine),
        own: SocketAddrV4::new(own_address.ip(), options.listen.tcp.first().map_or(0, SocketAddr::port)),
        need: options.need,
        overlay: options.overlay,
        swarm,
        storage,
        wake,
        look_again,
        clock: options.clock,
        counters: Arc::new(Counters::default()),
        listener: std::sync::OnceLock::new(),
        limits: std::sync::Mutex::new(Limits::new(&options.limits)),
        started: tokio::time::Instant::now(),
        memory: Memory::default(),
    });
    let tls = ServerTls::new(authority, Arc::clone(&door.clock)).map_err(ServeError::Tls)?;
    Ok(Controller { store, door, tls: Arc::new(tls), reconcile, storage_patience: options.storage_patience })
}

impl Controller {
    /// Looks after storage and the Swarm's record while `serving` answers requests; ends with it.
    ///
    /// # Errors
    /// If the loop that looks after storage ends by itself, or the state cannot be written any more.
    pub async fn run(self, serving: impl Future<Output = ()>) -> Result<(), ServeError> {
        let mut storage = Loop(tokio::spawn(self.reconcile.run()));
        let _recorder = Loop(tokio::spawn(record_swarm(self.store.clone(), Arc::clone(&self.door.swarm))));
        // A controller that answers but no longer looks after the volume would be worse than none.
        tokio::select! {
            biased;
            () = serving => Ok(()),
            ended = &mut storage.0 => {
                Err(ServeError::LoopEnded(ended.err().map(|error| error.to_string()).unwrap_or_default()))
            }
            gone = storage_gone(&self.store, self.storage_patience) => Err(gone),
        }
    }
}

/// A task that ends with whoever holds this.
struct Loop(tokio::task::JoinHandle<()>);

impl Drop for Loop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the controller until `shutdown` turns true; `ready` is called once the port is open.
///
/// # Errors
/// If it cannot start. Once started it keeps running.
pub async fn run(
    options: ServeOptions,
    shutdown: watch::Receiver<bool>,
    ready: impl FnOnce(&Listener) + Send,
) -> Result<(), ServeError> {
    let (policy, listen) = (options.policy, options.listen.clone());
    let controller = open(options).await?;
    let clear_text = if policy.plaintext { ClearText::Private } else { ClearText::Refuse };
    let listen = ListenOptions { tls: Some(Arc::clone(&controller.tls)), clear_text, ..listen };
    let listener = Listener::bind(&listen).await.map_err(ServeError::Listen)?;
    if let Some(warning) = policy.warning() {
        tracing::warn!("{warning}");
    }
    let (store, door) = (controller.store.clone(), Arc::clone(&controller.door));
    // Set once, here.
    door.listener.set(listener.monitor()).ok();
    ready(&listener);
    let ended = controller.run(listener.serve(door, shutdown)).await;
    match tokio::time::timeout(CLOSE_PATIENCE, store.close()).await {
        Ok(()) => ended,
        Err(_) => ended.and(Err(ServeError::WriterHangs)),
    }
}

/// Ends when the state could not be opened again for so long.
async fn storage_gone(store: &Store<ClusterState>, patience: Duration) -> ServeError {
    loop {
        tokio::time::sleep(STORAGE_LOOK.min(patience / 4)).await;
        if let Health::Failing { seconds, reason } = store.status().health
            && seconds >= patience.as_secs()
        {
            return ServeError::StorageGone { seconds, reason };
        }
    }
}

async fn commit(store: &Store<ClusterState>, command: Command) -> Result<(), ServeError> {
    store.commit(command).await.map(drop).map_err(ServeError::Commit)
}

async fn refuse_empty_state(store: &Store<ClusterState>, options: &ServeOptions) -> Result<(), ServeError> {
    if store.read(|state| state.cluster_id().is_some()) {
        return Ok(());
    }
    // A state is made before its CA.
    let directory = options.state_dir.join(AUTHORITY_DIR);
    if let Some(authority) = Authority::load(&directory).map_err(ServeError::Authority)? {
        return Err(ServeError::StateLost { cluster_id: authority.cluster_id().to_owned(), directory });
    }
    let managed =
        options.engine.inspect().await.is_ok_and(|engine| engine.state == LocalState::Active && engine.manager);
    if managed {
        let members = options.engine.members().await.unwrap_or_default().len();
        if members > 1 {
            return Err(ServeError::EmptyState { members });
        }
    }
    Ok(())
}

/// Gives the cluster its id, once.
pub(super) async fn initialise(store: &Store<ClusterState>, clock: &dyn Clock) -> Result<bool, ServeError> {
    if store.read(|state| state.cluster_id().is_some()) {
        return Ok(false);
    }
    let cluster_id = uuid::Uuid::new_v4().to_string();
    tracing::info!(cluster = cluster_id, "a new cluster");
    commit(store, Command::Initialise { cluster_id, at: clock.now() }).await?;
    Ok(true)
}

/// Where the CA lies, below the controller's own directory.
pub const AUTHORITY_DIR: &str = "authority";

/// The cluster's CA, made now if there is none.
pub(super) fn authority(
    store: &Store<ClusterState>,
    state_dir: &Path,
    clock: &dyn Clock,
) -> Result<Authority, ServeError> {
    let (cluster_id, had_one) =
        store.read(|state| (state.cluster_id().unwrap_or_default().to_owned(), speaks_of_authority(state)));
    let directory = state_dir.join(AUTHORITY_DIR);
    match Authority::load(&directory).map_err(ServeError::Authority)? {
        Some(authority) if authority.cluster_id() == cluster_id => Ok(authority),
        Some(authority) => Err(ServeError::Authority(AuthorityError::OtherCluster {
            path: directory,
            found: authority.cluster_id().to_owned(),
            expected: cluster_id,
        })),
        // Another one would shut out every node that has met the first.
        None if had_one => Err(ServeError::AuthorityLost { directory }),
        None => {
            let authority = Authority::create(&directory, &cluster_id, clock.now()).map_err(ServeError::Authority)?;
            tracing::info!(authority = %authority.fingerprint(), "a new CA: nodes know this controller by it");
            Ok(authority)
        }
    }
}

/// Whether something is on record that there is only where there was a CA. Nodes of the first version are not: they
/// have proved no key.
fn speaks_of_authority(state: &ClusterState) -> bool {
    state.tokens().next().is_some()
        || state.admins().next().is_some()
        || state.tombstones().next().is_some()
        || state.nodes().any(|node| node.key.is_some())
}

/// Records what the operator says about storage; says whether that was news.
pub(super) async fn configure_storage(store: &Store<ClusterState>, choice: &StorageChoice) -> Result<bool, ServeError> {
    let storage = match choice {
        StorageChoice::AsRecorded => return Ok(false),
        StorageChoice::Off => None,
        StorageChoice::On(storage) => Some(storage.clone()),
    };
    let differs = store.read(|state| {
        let bricks = state.nodes().any(|node| node.storage == StorageRole::Brick);
        match (state.storage(), &storage) {
            (Some(recorded), Some(asked)) if bricks => difference(recorded, asked),
            _ => None,
        }
    });
    if let Some((field, recorded, asked)) = differs {
        return Err(ServeError::StorageDiffers { field, recorded, asked });
    }
    if store.read(|state| state.storage() == storage.as_ref()) {
        return Ok(false);
    }
    commit(store, Command::ConfigureStorage { storage }).await?;
    Ok(true)
}

/// The first setting in which two volumes differ that cannot change once bricks exist.
fn difference(recorded: &StorageRecord, asked: &StorageRecord) -> Option<(&'static str, String, String)> {
    let pairs = [
        ("gluster.volume", recorded.volume.to_string(), asked.volume.to_string()),
        ("gluster.brick", recorded.brick.to_string(), asked.brick.to_string()),
        ("gluster.mount", recorded.mount.to_string(), asked.mount.to_string()),
        ("gluster.replica", recorded.replica.to_string(), asked.replica.to_string()),
        ("gluster.arbiter", recorded.arbiter.to_string(), asked.arbiter.to_string()),
    ];
    pairs.into_iter().find(|(_, recorded, asked)| recorded != asked)
}

/// Registers the controller's own host, so that it counts.
async fn register_own_host(store: &Store<ClusterState>, options: &ServeOptions) -> Result<NodeAddress, ServeError> {
    let now = options.clock.now();
    let rules = Rules { policy: options.policy, authorities: &[], now };
    let (unchanged, node) = store
        .read(|state| {
            admission::admit_locally(state, &rules, &options.own)
                .map(|node| (state.is_registered_as(&node, None), node))
        })
        .map_err(ServeError::OwnHost)?;
    let address = node.address;
    if !unchanged {
        tracing::info!(hostname = %node.hostname, address = %node.address, role = %node.role, "this host registers itself");
        commit(store, Command::Admit { node, warrant: Warrant::Local, key: None, at: now }).await?;
    }
    Ok(address)
}

/// Records which Swarm this cluster is, as soon as there is one.
async fn record_swarm(store: Store<ClusterState>, swarm: Arc<SwarmWatch>) {
    while store.read(|state| state.swarm().is_none()) {
        if let SwarmView::Ready(access) = swarm.view().await {
            let record = SwarmRecord { cluster_id: access.cluster_id, ca_digest: access.ca_digest.to_string() };
            tracing::info!(swarm = record.cluster_id, "this cluster's Swarm is on record");
            if store.commit(Command::RecordSwarm { swarm: record }).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[cfg(test)]
mod tests;
