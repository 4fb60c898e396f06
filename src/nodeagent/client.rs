//! One exchange with the controller: find it, connect, see that it is the one, ask, read the reply, compare clocks.
//!
//! All of it is on TLS; there is no way back to clear text.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::identity::NodeIdentity;
use super::keyring::{Keyring, KeyringError};
use crate::clock::Clock;
use crate::cluster::KeyFingerprint;
use crate::config::{MasterAddress, MasterHost};
use crate::failpoint;
use crate::pki::{self, ChainError, ClientIdentity, ClockError, CredentialsError, TlsClientError, Trust};
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
    /// The controller has answered, and acted on the request.
    #[error("what the controller at {address} gave this host cannot be kept")]
    Keep {
        address: SocketAddr,
        #[source]
        source: KeyringError,
    },
    #[error("the certificate that the controller at {address} gave this host cannot be used")]
    Certificate {
        address: SocketAddr,
        #[source]
        source: CredentialsError,
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
            Self::Clock { .. } | Self::Keep { .. } | Self::Certificate { .. } => true,
            Self::Resolve(..) | Self::Connect { .. } => false,
        }
    }
}

/// A connection to the controller, whatever carries it.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// Makes connections.
#[async_trait::async_trait]
pub trait Dial: Send + Sync {
    /// Connects to `address`. Dropped when it takes too long.
    ///
    /// # Errors
    /// What the network says.
    async fn dial(&self, address: SocketAddr) -> std::io::Result<Box<dyn Connection>>;
}

/// The host's own network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait::async_trait]
impl Dial for Tcp {
    async fn dial(&self, address: SocketAddr) -> std::io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(address).await?;
        // The request is one small segment; waiting for more only costs time.
        stream.set_nodelay(true).ok();
        Ok(Box::new(stream))
    }
}

/// Everything that an exchange needs to know of the two sides, and what they learn of each other on the way: which CAs
/// are the controller's, and the certificate that this host is given.
pub struct Link {
    pub master: MasterAddress,
    sides: Mutex<Sides>,
    kept: Option<(Keyring, NodeIdentity)>,
    clock: Arc<dyn Clock>,
    skew_mentioned: AtomicBool,
    network: Arc<dyn Dial>,
}

/// A difference that is worth a word: certificates and logs are judged by these clocks.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(5);

#[derive(Clone)]
struct Sides {
    /// What this host shows of itself.
    identity: ClientIdentity,
    trust: Trust,
}

/// A reply and who gave it.
#[derive(Debug)]
pub struct Answer {
    pub reply: Reply,
    /// The CA of the controller.
    pub authority: KeyFingerprint,
}

impl Link {
    /// A link to the controller at `master` that keeps what it learns for as long as it lives.
    #[must_use]
    pub fn new(master: MasterAddress, trust: Trust, identity: ClientIdentity, clock: Arc<dyn Clock>) -> Self {
        Self {
            master,
            sides: Mutex::new(Sides { identity, trust }),
            kept: None,
            clock,
            skew_mentioned: AtomicBool::new(false),
            network: Arc::new(Tcp),
        }
    }

    /// Reaches the controller over another network than the host's.
    #[must_use]
    pub fn over(self, network: Arc<dyn Dial>) -> Self {
        Self { network, ..self }
    }

    /// Keeps in `keyring` what `node` learns.
    #[must_use]
    pub fn keeping(self, keyring: Keyring, node: NodeIdentity) -> Self {
        Self { kept: Some((keyring, node)), ..self }
    }

    /// Says once that the clocks differ, long before they differ by so much that nobody is let in.
    fn mention_skew(&self, ahead: SignedDuration) {
        if ahead.abs() > TOLERATED_SKEW && !self.skew_mentioned.swap(true, Ordering::Relaxed) {
            let direction = if ahead.is_negative() { "ahead of" } else { "behind" };
            tracing::warn!(
                "this host's clock is {} s {direction} the controller's; above 300 s nobody is let in: `timedatectl set-ntp true` on both",
                ahead.abs().as_secs()
            );
        }
    }

    /// The CA to ask for: one that is pinned, or the one that was met at the first use.
    #[must_use]
    pub fn authority(&self) -> Option<KeyFingerprint> {
        self.sides().trust.asks_for()
    }

    fn sides(&self) -> MutexGuard<'_, Sides> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whom the handshake was with. Of two first uses at the same moment, the later one has to meet the same CA.
    fn meet(&self, address: SocketAddr, authority: KeyFingerprint) -> Result<(), ClientError> {
        let mut sides = self.sides();
        if let Trust::Pinned(pinned) = &sides.trust {
            if pinned.contains(&authority) {
                return Ok(());
            }
            let error = ChainError::OtherAuthority { pinned: pinned.clone(), found: Some(authority) };
            return Err(ClientError::Tls { address, source: error.into() });
        }
        tracing::warn!(
            %authority,
            "first contact, and no token that names the cluster's CA: this one is trusted from now on; compare it with `clusterctl master cert show` on the master"
        );
        sides.trust = Trust::Pinned(vec![authority]);
        drop(sides);
        self.keep(address, |keyring| keyring.trust(&[authority]))
    }

    /// Takes over what a reply says of CAs and certificate. The reply comes from a controller that was trusted before it.
    fn learn(&self, address: SocketAddr, authority: KeyFingerprint, reply: &Reply) -> Result<(), ClientError> {
        let authorities = pki::authorities_in(&reply.authorities);
        // A list without the one that gives it would shut the controller out.
        if authorities.contains(&authority) {
            let news = Trust::Pinned(authorities.clone());
            if std::mem::replace(&mut self.sides().trust, news.clone()) != news || self.kept.is_some() {
                self.keep(address, |keyring| keyring.trust(&authorities))?;
            }
        }
        if let (false, Some((_, node))) = (reply.certificate.is_empty(), &self.kept) {
            let shown = node.credentials(Some(&reply.certificate));
            self.sides().identity = shown.map_err(|source| ClientError::Certificate { address, source })?;
            self.keep(address, |keyring| keyring.keep_certificate(&reply.certificate))?;
        }
        Ok(())
    }

    fn keep(
        &self,
        address: SocketAddr,
        change: impl FnOnce(&Keyring) -> Result<(), KeyringError>,
    ) -> Result<(), ClientError> {
        let Some((keyring, _)) = &self.kept else { return Ok(()) };
        change(keyring).map_err(|source| ClientError::Keep { address, source })
    }
}

/// How far ahead the controller's clock is of this host's, as far as that is certain: it answered between the two moments
/// here, however long it held its answer back.
fn skew(sent: Timestamp, received: Timestamp, server: Timestamp) -> SignedDuration {
    if server < sent { server.duration_since(sent) } else { server.duration_since(received).max(SignedDuration::ZERO) }
}

/// Asks the controller, as a node.
///
/// # Errors
/// If it cannot be found, reached or understood, or is not the one.
pub async fn ask(link: &Link, request: &RawRequest) -> Result<Answer, ClientError> {
    let (address, authority, bytes) = exchange(link, request).await?;
    let reply: Reply = exchange::decode(&bytes).map_err(|source| ClientError::Exchange { address, source })?;
    failpoint::pass("J4").await.map_err(|source| ClientError::Connect { address, source })?;
    link.learn(address, authority, &reply)?;
    failpoint::pass("J5").await.map_err(|source| ClientError::Connect { address, source })?;
    Ok(Answer { reply, authority })
}

/// Asks the controller, as an administrator: the answer is whatever was asked for.
///
/// # Errors
/// As [`ask`].
pub async fn ask_value(link: &Link, request: &RawRequest) -> Result<serde_json::Value, ClientError> {
    let (address, _, bytes) = exchange(link, request).await?;
    exchange::decode(&bytes).map_err(|source| ClientError::Exchange { address, source })
}

/// What every reply on TLS brings.
#[derive(serde::Deserialize)]
struct Timed {
    #[serde(rename = "ServerTime", default)]
    server_time: String,
}

async fn exchange(link: &Link, request: &RawRequest) -> Result<(SocketAddr, KeyFingerprint, Vec<u8>), ClientError> {
    let address = SocketAddr::new(resolve(&link.master).await?, link.master.port);
    let deadlines = Deadlines::default();
    let stream = match tokio::time::timeout(deadlines.connect, link.network.dial(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ClientError::Connect { address, source }),
        Err(_) => return Err(ClientError::Connect { address, source: std::io::ErrorKind::TimedOut.into() }),
    };
    let (Sides { identity, trust }, deadline) = (link.sides().clone(), Instant::now() + deadlines.connect);
    let connected = pki::connect(stream, &trust, &identity, deadline).await;
    let (mut stream, presented) = connected.map_err(|source| ClientError::Tls { address, source })?;
    failpoint::pass("J3").await.map_err(|source| ClientError::Connect { address, source })?;
    link.meet(address, presented.authority)?;
    let failed = |source| ClientError::Exchange { address, source };
    let sent = link.clock.now();
    let bytes = exchange::call(&mut stream, request, &deadlines).await.map_err(failed)?;
    let received = link.clock.now();
    let Timed { server_time } = exchange::decode(&bytes).map_err(failed)?;
    let server_time = server_time.parse::<Timestamp>().ok();
    if let Some(server_time) = server_time {
        link.mention_skew(skew(sent, received, server_time));
    }
    presented.judge(server_time, received).map_err(|source| ClientError::Clock { address, source })?;
    Ok((address, presented.authority, bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// N16: what the way may have taken does not count.
    #[test]
    fn only_a_certain_difference_counts() {
        let at = |second: i64| Timestamp::from_second(1_767_323_045 + second).unwrap();
        let ahead = |sent, received, server| skew(at(sent), at(received), at(server)).as_secs();
        assert_eq!([ahead(0, 1, 0), ahead(0, 1, 1), ahead(0, 20, 20), ahead(0, 20, 3)], [0; 4]);
        assert_eq!([ahead(0, 2, 9), ahead(0, 2, -9)], [7, -9]);
    }
}
