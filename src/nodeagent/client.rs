//! One exchange with the controller: find it, connect, ask, read the reply.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::net::TcpStream;

use crate::config::{MasterAddress, MasterHost};
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
        matches!(
            self,
            Self::Exchange { source: ExchangeError::Http | ExchangeError::NotJson | ExchangeError::Decode(_), .. }
        )
    }
}

/// Asks the controller at `master`.
///
/// # Errors
/// If it cannot be found, reached or understood.
pub async fn ask(master: &MasterAddress, request: &RawRequest) -> Result<Reply, ClientError> {
    let address = SocketAddr::new(resolve(master).await?, master.port);
    let deadlines = Deadlines::default();
    let mut stream = match tokio::time::timeout(deadlines.connect, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ClientError::Connect { address, source }),
        Err(_) => return Err(ClientError::Connect { address, source: std::io::ErrorKind::TimedOut.into() }),
    };
    // The request is one small segment; waiting for more only costs time.
    stream.set_nodelay(true).ok();
    let failed = |source| ClientError::Exchange { address, source };
    let bytes = exchange::call(&mut stream, request, &deadlines).await.map_err(failed)?;
    exchange::decode(&bytes).map_err(failed)
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
