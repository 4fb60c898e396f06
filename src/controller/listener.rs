//! The controller's door: accepts connections on TCP and on a unix socket, reads one request from each, hands it to the
//! [`Handler`] and writes the one reply.
//!
//! It bounds everything that a stranger can use up: connections in all and for each address, bytes, time. It decides
//! nothing about what a request means. When it is full, the *oldest* connection that has not sent a whole request goes:
//! honest clients send at once, so the oldest silent one is the least likely to be honest.
//!
//! A connection on TCP begins with TLS or with clear text, by its first byte. On TLS it answers everybody and tells the
//! handler what the client has proved; in clear text it answers whom [`ClearText`] allows. To a connection that has not
//! begun in clear text nothing is said in clear text: a node that waits for TLS would take it for an attack.
//!
//! The surprising part is the reply that is held back (`WaitMs`): such a connection leaves the count of strangers and
//! enters a cap of its own, derived from the limit on open files. If that cap is full, the request's `WaitMs` becomes 0,
//! and the handler answers at once. A client whose reply is held back must keep its side open; when it closes, its
//! handler's future is dropped.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};

use crate::cluster::Proof;
use crate::pki::ServerTls;
use crate::protocol::exchange;
use crate::protocol::registration::RawRequest;

mod accept;
mod clear_text;
mod connection;
mod counters;
mod held;
mod limit_log;
mod open_files;
mod opening;
mod slots;
mod unix;

pub use clear_text::ClearText;
pub use counters::ListenerStatus;

use accept::Accepting;
use connection::{Phase, Shared};
use unix::BoundUnix;

/// How many connections the kernel may hold for us before we accept them.
const BACKLOG: u32 = 4096;

/// Answers requests. One call for each connection, many at once.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request with one JSON object.
    ///
    /// The future is dropped if the client of a held-back reply leaves, and at the end of a shutdown; it must leave no
    /// half-done work behind then. A panic is answered with `internal-error` and ends nothing else.
    async fn answer(&self, request: RawRequest, peer: Peer) -> Vec<u8>;
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A client in clear text on TCP. Being on loopback gives it nothing.
    Remote(SocketAddr),
    /// A client on TLS.
    Tls { address: SocketAddr, proof: Arc<Proof> },
    /// A client on the unix socket: root, or the user that the controller runs as.
    Local { uid: u32 },
}

impl Peer {
    /// Where the client is, unless it is on this host.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Remote(address) | Self::Tls { address, .. } => Some(*address),
            Self::Local { .. } => None,
        }
    }

    /// Whether it showed a certificate of the cluster, or is on this host.
    fn is_certified(&self) -> bool {
        match self {
            Self::Remote(_) => false,
            Self::Tls { proof, .. } => matches!(**proof, Proof::Certified { .. }),
            Self::Local { .. } => true,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Remote(address) | Self::Tls { address, .. } => address.fmt(f),
            Self::Local { uid } => write!(f, "the local user {uid}"),
        }
    }
}

/// Where to listen, and what strangers may use up.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Addresses for TCP; port 0 takes a free one.
    pub tcp: Vec<SocketAddr>,
    /// The path of the unix socket for local administration.
    pub unix: Option<PathBuf>,
    /// TLS; without it, it is refused.
    pub tls: Option<Arc<ServerTls>>,
    /// What clients in clear text get.
    pub clear_text: ClearText,
    /// Connections whose reply is not held back. Lowered if the limit on open files does not carry it.
    pub max_connections: usize,
    /// The same for one address.
    pub per_address: usize,
    /// Connections whose reply is held back; `None` derives it from the limit on open files.
    pub max_held: Option<usize>,
    /// The same for one address, of clients without a certificate of the cluster.
    pub held_per_address: usize,
    /// What one connection may use up.
    pub limits: exchange::Limits,
    /// How long requests may go on after the shutdown began.
    pub drain: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            tcp: Vec::new(),
            unix: None,
            tls: None,
            clear_text: ClearText::Refuse,
            max_connections: 2048,
            per_address: 64,
            max_held: None,
            held_per_address: 64,
            limits: exchange::Limits::default(),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why the controller cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen on the unix socket `{}`", path.display())]
    Unix {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another process answers on the unix socket `{}`", .0.display())]
    SocketInUse(PathBuf),
    #[error("`{}` is there and is not a socket", .0.display())]
    NotASocket(PathBuf),
}

/// A listener that is bound and does not serve yet.
#[derive(Debug)]
pub struct Listener {
    tcp: Vec<TcpListener>,
    unix: Option<BoundUnix>,
    shared: Arc<Shared>,
    drain: Duration,
}

/// Reads the listener's counters while it serves.
#[derive(Debug, Clone)]
pub struct ListenerMonitor(Arc<Shared>);

impl ListenerMonitor {
    /// The counters now.
    #[must_use]
    pub fn status(&self) -> ListenerStatus {
        self.0.status()
    }
}

impl Listener {
    /// Binds every address, or none. Raises the soft limit on open files.
    ///
    /// # Errors
    /// Names the address or path that cannot be had.
    pub async fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let mut tcp = Vec::new();
        for &address in &options.tcp {
            tcp.push(bind_tcp(address).map_err(|source| ListenError::Tcp { address, source })?);
        }
        let unix = match &options.unix {
            Some(path) => Some(BoundUnix::bind(path).await?),
            None => None,
        };
        let caps = open_files::caps(open_files::raise(), options);
        Ok(Self { tcp, unix, shared: Arc::new(Shared::new(caps, options)), drain: options.drain })
    }

    /// The addresses bound on TCP, with the ports that were taken for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// A view of the counters that outlives [`serve`](Self::serve).
    #[must_use]
    pub fn monitor(&self) -> ListenerMonitor {
        ListenerMonitor(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` is true or its sender is gone; then stops accepting, lets requests come to their end and
    /// returns after [`ListenOptions::drain`] at the latest.
    pub async fn serve<H: Handler>(self, handler: Arc<H>, mut shutdown: watch::Receiver<bool>) {
        let Self { tcp, unix, shared, drain } = self;
        let (phase, phases) = watch::channel(Phase::Running);
        // Every task holds a sender; the last one gone ends the wait below.
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        for listener in tcp {
            let accepting = Accepting::new(&shared, &handler, &phases, &alive);
            tokio::spawn(accepting.remote(listener));
        }
        if let Some(unix) = unix {
            let accepting = Accepting::new(&shared, &handler, &phases, &alive);
            tokio::spawn(accepting.local(unix));
        }
        drop((alive, phases));
        // A sender that is gone asks for the same as one that says so.
        shutdown.wait_for(|stop| *stop).await.ok();
        tracing::info!(open = shared.status().open, "stop accepting connections");
        phase.send_replace(Phase::Draining);
        if tokio::time::timeout(drain, all_gone.recv()).await.is_err() {
            phase.send_replace(Phase::Ending);
            tokio::time::timeout(Duration::from_millis(200), all_gone.recv()).await.ok();
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of its predecessor to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
