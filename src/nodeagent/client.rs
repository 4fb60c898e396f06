//! One exchange with the controller: find it, connect, see that it is the one, ask, read the reply, compare clocks.
//!
//! All of it is on TLS; there is no way back to clear text.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cluster::KeyFingerprint;
use crate::config::{MasterAddress, MasterHost};
use crate::pki::{self, ChainError, ClientIdentity, ClockError, Presented, TlsClientError, Trust};
use crate::protocol::exchange::{self, Deadlines, ExchangeError};
use crate::protocol::registration::RawRequest;
use crate::protocol::reply::Reply;

/// Why the controller did not answer. Asking again is safe: a request that was acted on is acted on once.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the name `{0}` cannot be resolved")]
    Resolve(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no connection to the controller at {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// Nothing of the request was sent.
    #[error("no trustworthy connection to the controller at {address}")]
    Tls {
        address: SocketAddr,
        #[source]
        source: TlsClientError,
    },
    #[error("the times of this host and of the controller at {address} do not go together")]
    Clock {
        address: SocketAddr,
        #[source]
        source: ClockError,
    },
    #[error("no answer from the controller at {address}")]
    Exchange {
        address: SocketAddr,
        #[source]
        source: ExchangeError,
    },
}

impl ClientError {
    /// Whether what answered is no controller of ours, so that asking again is pointless.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => {
                matches!(source, ExchangeError::Http | ExchangeError::NotJson | ExchangeError::Decode(_))
            }
            Self::Tls { source, .. } => source.is_final(),
            Self::Clock { .. } => true,
            Self::Resolve(..) | Self::Connect { .. } => false,
        }
    }
}

/// Everything that an exchange needs to know of the two sides.
pub struct Link {
    pub master: MasterAddress,
    /// What this host shows of itself.
    identity: ClientIdentity,
    trust: Trust,
    /// The CA of the first controller that answered.
    met: OnceLock<KeyFingerprint>,
    clock: Arc<dyn Clock>,
}

/// A reply and who gave it.
#[derive(Debug)]
pub struct Answer {
    pub reply: Reply,
    /// The CA of the controller.
    pub authority: KeyFingerprint,
}

impl Link {
    /// A link to the controller at `master`.
    #[must_use]
    pub fn new(master: MasterAddress, trust: Trust, identity: ClientIdentity, clock: Arc<dyn Clock>) -> Self {
        Self { master, identity, trust, met: OnceLock::new(), clock }
    }

    /// The CA of the first controller that answered: one that is pinned, or the one that was met at the first use.
    #[must_use]
    pub fn authority(&self) -> Option<KeyFingerprint> {
        self.met.get().copied()
    }

    /// Whom to trust now: after a first use without a pin, the one that was met and nobody else.
    fn trust(&self) -> Trust {
        match (&self.trust, self.met.get()) {
            (Trust::FirstUse, Some(met)) => Trust::Pinned(vec![*met]),
            (trust, _) => trust.clone(),
        }
    }

    /// Notes whom the handshake was with. Of two first uses at the same moment, the later one has to meet the same CA.
    fn meet(&self, presented: &Presented) -> Result<(), ChainError> {
        let met = *self.met.get_or_init(|| presented.authority);
        if self.trust == Trust::FirstUse && met != presented.authority {
            return Err(ChainError::OtherAuthority { pinned: vec![met], found: Some(presented.authority) });
        }
        Ok(())
    }
}

/// Asks the controller.
///
/// # Errors
/// If it cannot be found, reached or understood, or is not the one.
pub async fn ask(link: &Link, request: &RawRequest) -> Result<Answer, ClientError> {
    let address = SocketAddr::new(resolve(&link.master).await?, link.master.port);
    let deadlines = Deadlines::default();
    let stream = match tokio::time::timeout(deadlines.connect, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ClientError::Connect { address, source }),
        Err(_) => return Err(ClientError::Connect { address, source: std::io::ErrorKind::TimedOut.into() }),
    };
    // The request is one small segment; waiting for more only costs time.
    stream.set_nodelay(true).ok();
    let untrusted = |source| ClientError::Tls { address, source };
    let (trust, deadline) = (link.trust(), Instant::now() + deadlines.connect);
    let (mut stream, presented) = pki::connect(stream, &trust, &link.identity, deadline).await.map_err(untrusted)?;
    link.meet(&presented).map_err(|error| untrusted(error.into()))?;
    let failed = |source| ClientError::Exchange { address, source };
    let bytes = exchange::call(&mut stream, request, &deadlines).await.map_err(failed)?;
    let reply: Reply = exchange::decode(&bytes).map_err(failed)?;
    let server_time = reply.server_time.parse::<Timestamp>().ok();
    presented.judge(server_time, link.clock.now()).map_err(|source| ClientError::Clock { address, source })?;
    Ok(Answer { reply, authority: presented.authority })
}

/// The address behind a name. The C library's resolver is not asked: in a static binary it would load the host's
/// shared libraries.
async fn resolve(master: &MasterAddress) -> Result<IpAddr, ClientError> {
    let name = match &master.host {
        MasterHost::Ip(address) => return Ok(*address),
        MasterHost::Name(name) => name.to_string(),
    };
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Resolve(name.clone(), source);
    // Without a name server there is still the hosts file.
    let builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::debug!("no name server: {error}");
        let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
    });
    let resolver = builder.build().map_err(|error| failed(error.into()))?;
    let found = resolver.lookup_ip(name.as_str()).await.map_err(|error| failed(error.into()))?;
    found.iter().next().ok_or_else(|| failed("the name has no address".into()))
}
