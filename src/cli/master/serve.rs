//! `master serve`.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;

use super::setup::storage_choice;
use crate::cli::{Exit, Failure, Outcome, explain, signals, this_host};
use crate::clock::{Clock, SystemClock};
use crate::cluster::OverlayConfig;
use crate::config::Settings;
use crate::controller::admission::Policy;
use crate::controller::command::Thresholds;
use crate::controller::limits::LimitSettings;
use crate::controller::listener::{ListenOptions, Listener};
use crate::controller::serve::{self, ServeError, ServeOptions};
use crate::controller::store::{OpenError, StoreOptions};
use crate::nodeagent::facts::{self, gluster_ability};
use crate::protocol::registration::{Identity, PROTOCOL, Registration};
use crate::providers::gluster::cli::GlusterCli;

/// How long a state in use is waited for: `master init` may be about to finish.
const STATE_PATIENCE: Duration = Duration::from_secs(5);

/// `clusterctl master serve`.
pub(super) async fn run(settings: &Settings) -> Result<Outcome, Failure> {
    let (stop, stopping) = watch::channel(false);
    let serving = serve_when_free(settings, stopping);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => ended?,
        signal = signals::shutdown() => {
            tracing::info!(signal = signal.name(), "stopping: no new connections, the open ones are finished");
            // A supervisor that does not listen loses nothing.
            sd_notify::notify(&[sd_notify::NotifyState::Stopping]).ok();
            stop.send_replace(true);
            serving.await?;
        }
    }
    Ok(Outcome::done("stopped"))
}

async fn serve_when_free(settings: &Settings, stopping: watch::Receiver<bool>) -> Result<(), Failure> {
    let since = tokio::time::Instant::now();
    loop {
        match serve::run(options(settings).await?, stopping.clone(), ready).await {
            Err(ServeError::Open(OpenError::InUse { .. })) if since.elapsed() < STATE_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            ended => return ended.map_err(explain::serve),
        }
    }
}

fn ready(listener: &Listener) {
    for address in listener.local_addrs() {
        tracing::info!(%address, "listening for nodes");
    }
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
}

async fn options(settings: &Settings) -> Result<ServeOptions, Failure> {
    let clock = Arc::new(SystemClock);
    let engine = this_host::engine(settings);
    let found = engine.inspect().await;
    let master = &settings.master;
    let chosen = master.advertise_addr.or_else(|| {
        // What the Swarm is told already is what nodes should be told.
        found.as_ref().ok().and_then(|engine| engine.node_address.parse().ok())
    });
    let address = this_host::address(chosen, "--advertise-addr")?;
    let version = found.map(|engine| engine.version).unwrap_or_default();
    let own = Registration {
        who: Identity {
            node_id: Some(this_host::identity(settings)?.node_id),
            hostname: this_host::hostname(settings)?,
        },
        role: Some(crate::cluster::Role::Manager),
        address: Some(address),
        facts: facts::gather(&version, gluster_ability(), false),
        sent_at: Some(clock.now()),
        protocol: PROTOCOL,
        wait_ms: 0,
        token_refused: false,
        token: None,
    };
    let overlay = OverlayConfig { kind: settings.overlay.provider, payload: settings.overlay.config.clone() };
    overlay.validate().map_err(|error| {
        Failure::new(Exit::InvalidInput, error)
            .reason("overlay-settings")
            .hint("`--overlay-config` takes a file, env:NAME, or the value itself")
    })?;
    let settle = SignedDuration::try_from(settings.gluster.settle)
        .map_err(|error| Failure::new(Exit::InvalidInput, error).reason("settle"))?;
    Ok(ServeOptions {
        state_dir: this_host::controller_dir(settings),
        listen: ListenOptions {
            tcp: vec![master.listen],
            unix: Some(settings.common.socket.as_path().to_owned()),
            max_connections: master.max_connections as usize,
            per_address: master.max_connections_per_address as usize,
            ..ListenOptions::default()
        },
        policy: Policy { admission: master.admission, plaintext: master.plaintext, max_nodes: master.max_nodes },
        limits: LimitSettings {
            requests_per_second: master.limits.requests_per_second,
            requests_burst: master.limits.requests_burst,
            node_requests_per_second: master.limits.node_requests_per_second,
            node_requests_burst: master.limits.node_requests_burst,
            token_failures_per_minute: master.limits.token_failures_per_minute,
            token_failures_per_address: master.limits.token_failures_per_address,
        },
        need: master
            .wait_for_minimum
            .then_some(Thresholds { managers: master.min_managers, workers: master.min_workers }),
        overlay,
        storage: storage_choice(settings),
        settle,
        allowed_networks: settings.gluster.auth_allow_cidrs.clone(),
        advertise: master.advertise_addr,
        own,
        engine,
        pool: Arc::new(GlusterCli::new(this_host::commander())),
        clock,
        store: StoreOptions { pulse: watchdog(), ..StoreOptions::default() },
        storage_patience: serve::STORAGE_PATIENCE,
    })
}

/// Tells the supervisor that the writer of the state gets on, if it wants to know: a controller that cannot write its
/// state any more, because its disk hangs, is started again.
fn watchdog() -> Option<(Duration, Arc<dyn Fn() + Send + Sync>)> {
    let allowed = sd_notify::watchdog_enabled()?;
    let tell = || {
        // A supervisor that does not listen loses nothing.
        sd_notify::notify(&[sd_notify::NotifyState::Watchdog]).ok();
    };
    Some((allowed / 3, Arc::new(tell)))
}
