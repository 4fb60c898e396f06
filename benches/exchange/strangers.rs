//! Strangers who use up connections: thousands of them, from few addresses, in every manner that costs them little.
//!
//! The test of the flood and the benchmark share this file, so that both mean the same flood. It asserts nothing. Who is
//! sent away comes back a second later, so that the flood goes on for as long as it is held; it ends with [`Flood`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// How many strangers there are.
pub(crate) const STRANGERS: usize = 5_000;

/// How many addresses they come from.
pub(crate) const ADDRESSES: usize = 16;

/// Between two bytes, and before a stranger who was sent away comes back.
const TICK: Duration = Duration::from_secs(1);

/// Files that this process needs for other things.
const OTHER_FILES: u64 = 256;

/// What a stranger does with a connection, until the other side ends it.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Nothing.
    Silent,
    /// A request in clear text, a byte at a time.
    SlowRequest,
    /// Half of a TLS handshake's first message, then nothing.
    HalfHandshake,
    /// A TLS handshake, a byte at a time.
    SlowHandshake,
    /// Half of a handshake's first message, then the end of this side.
    HalfClosed,
    /// Half of a handshake's first message, then a reset.
    Reset,
}

const MANNERS: [Manner; 6] = [
    Manner::Silent,
    Manner::SlowRequest,
    Manner::HalfHandshake,
    Manner::SlowHandshake,
    Manner::HalfClosed,
    Manner::Reset,
];

/// For how many of so many this process may open connections at the same time. Raises the soft limit on open files.
pub(crate) fn allowed(strangers: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = strangers as u64 + OTHER_FILES;
    let most = maximum.unwrap_or(wanted);
    if current.is_some_and(|current| current < wanted) {
        // What could not be raised is fewer strangers, which the caller says.
        setrlimit(Resource::Nofile, Rlimit { current: Some(most.min(wanted)), maximum }).ok();
    }
    let holds = getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted);
    usize::try_from(holds.saturating_sub(OTHER_FILES)).unwrap_or(strangers)
}

/// A flood under way; it ends when this is dropped.
pub(crate) struct Flood {
    counts: Arc<Counts>,
    strangers: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    /// Strangers who were connected at least once.
    came: AtomicU64,
    /// Connections opened so far.
    opened: AtomicU64,
}

impl Flood {
    /// Lets them loose on `target`, from a thread of its own.
    pub(crate) fn start(target: SocketAddr, strangers: usize) -> Self {
        let (counts, (stop, stopped)) = (Arc::new(Counts::default()), oneshot::channel());
        let counted = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let hello: Arc<[u8]> = client_hello().into();
                for n in 0..strangers {
                    // One after the other over the first second, and so ever after: strangers know nothing of each other.
                    let first = tokio::time::Instant::now() + TICK.mul_f64(n as f64 / strangers as f64);
                    let (hello, counts) = (Arc::clone(&hello), Arc::clone(&counted));
                    tokio::spawn(async move {
                        tokio::time::sleep_until(first).await;
                        stranger(n, target, hello, counts).await;
                    });
                }
                // Whoever holds the flood says so, or is gone.
                stopped.await.ok();
            });
        });
        Self { counts, strangers, stop: Some(stop), thread: Some(thread) }
    }

    /// Whether every one of them has been connected.
    pub(crate) fn stands(&self) -> bool {
        self.counts.came.load(Ordering::Relaxed) == self.strangers as u64
    }

    /// How many connections they have opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.counts.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn stranger(n: usize, target: SocketAddr, hello: Arc<[u8]>, counts: Arc<Counts>) {
    let source = Ipv4Addr::new(127, 200, 0, u8::try_from(n % ADDRESSES).unwrap() + 1);
    let manner = MANNERS[n / ADDRESSES % MANNERS.len()];
    let mut came = false;
    loop {
        if let Ok(mut stream) = connect(source, target).await {
            counts.opened.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut came, true) {
                counts.came.fetch_add(1, Ordering::Relaxed);
            }
            // It is the other side's to end it; an error is such an end.
            behave(manner, &mut stream, &hello).await.ok();
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn connect(source: Ipv4Addr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(target).await?;
    // Closing sends a reset then: no port is kept in TIME_WAIT, of which a long flood would run out.
    stream.set_zero_linger()?;
    Ok(stream)
}

async fn behave(manner: Manner, stream: &mut TcpStream, hello: &[u8]) -> std::io::Result<()> {
    let half = &hello[..hello.len() / 2];
    match manner {
        Manner::Silent => {}
        Manner::SlowRequest => return trickle(stream, br#"{"Hostname":"stranger","Role":"manager","IP":"#).await,
        Manner::HalfHandshake => stream.write_all(half).await?,
        Manner::SlowHandshake => return trickle(stream, half).await,
        Manner::HalfClosed => {
            stream.write_all(half).await?;
            stream.shutdown().await?;
        }
        Manner::Reset => {
            stream.write_all(half).await?;
            tokio::time::sleep(TICK).await;
            return Ok(());
        }
    }
    ended(stream).await
}

/// Sends these bytes one by one, and waits when there are no more.
async fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let (mut reading, mut writing) = stream.split();
    let sending = async {
        for byte in bytes {
            writing.write_all(&[*byte]).await?;
            tokio::time::sleep(TICK).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = ended(&mut reading) => ended,
        failed = sending => failed,
    }
}

/// Reads whatever is said, until the other side ends it.
async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// The first message of a TLS handshake, as an honest client sends it.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("controller.invalid").unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}
