//! The clients: closed loops in one thread, so that they fit on one CPU.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::identities::{self, Identities};
use crate::peers::{self, Server};

/// How a client talks to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One JSON object each way on a connection of its own.
    Exchange,
    /// The same over TLS 1.3: a full handshake in which both sides show a certificate, each client its own.
    Tls,
    /// An HTTP request on a connection of its own.
    HttpEach,
    /// HTTP requests on one connection for each client.
    HttpKept,
}

/// What one turn measured.
pub(crate) struct Outcome {
    /// Requests that were answered.
    pub(crate) requests: u64,
    pub(crate) rate: f64,
    /// In ms.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// CPU time of the server for each request.
    pub(crate) cpu_us: f64,
    /// Bytes that the server caused to be written for each request.
    pub(crate) written: f64,
    pub(crate) failures: u64,
    /// The part of the machine's CPU time that neither server nor clients used.
    pub(crate) foreign: f64,
}

/// Numbers nodes and source addresses across all turns.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Lets `clients` ask for `time`.
pub(crate) fn run(server: &Server, shape: Shape, clients: usize, time: Duration) -> Outcome {
    // Made beforehand: a host makes its key once.
    let identities = match shape {
        Shape::Tls => Identities::make(clients, time),
        Shape::Exchange | Shape::HttpEach | Shape::HttpKept => Identities::default(),
    };
    let before = (server.cpu(), server.written(), peers::cpu_of_self(), peers::busy_cpu());
    let begun = Instant::now();
    let target = Target { address: server.address(), token: server.token().to_owned(), identities };
    let (mut times, failures) = drive(target, shape, clients, move |_| begun.elapsed() < time);
    let elapsed = begun.elapsed().as_secs_f64();
    let after = (server.cpu(), server.written(), peers::cpu_of_self(), peers::busy_cpu());
    assert!(!times.is_empty(), "{} does not answer", server.label(shape));
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000] as f64 / 1e3;
    let ours = (after.0 - before.0) + (after.2 - before.2);
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count();
    Outcome {
        requests: times.len() as u64,
        rate: times.len() as f64 / elapsed,
        p50: at(500),
        p99: at(990),
        p999: at(999),
        cpu_us: (after.0 - before.0) * 1e6 / times.len() as f64,
        written: (after.1 - before.1) as f64 / times.len() as f64,
        failures,
        foreign: ((after.3 - before.3 - ours) / (elapsed * cpus as f64)).max(0.0),
    }
}

/// Registers `count` nodes as fast as it goes.
pub(crate) fn prefill(server: &Server, shape: Shape, count: u64) -> Duration {
    let begun = Instant::now();
    drive(plain(server), shape, 64, move |done| done < count);
    begun.elapsed()
}

/// Registers one node, as often as it takes.
pub(crate) fn first(server: &Server, shape: Shape) {
    while drive(plain(server), shape, 1, |done| done < 1).0.is_empty() {}
}

/// A server that is asked in clear text.
fn plain(server: &Server) -> Target {
    Target { address: server.address(), token: String::new(), identities: Identities::default() }
}

/// Whom the clients ask, and as whom.
struct Target {
    address: SocketAddr,
    /// The admission token that registrations carry; none if it is empty.
    token: String,
    identities: Identities,
}

fn drive(
    target: Target,
    shape: Shape,
    clients: usize,
    more: impl Fn(u64) -> bool + 'static + Clone,
) -> (Vec<u32>, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let target = Rc::new(target);
    let times = Rc::new(RefCell::new(Vec::<u32>::new()));
    let (started, failures) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..clients {
        let (times, started, failures, more) = (times.clone(), started.clone(), failures.clone(), more.clone());
        let target = Rc::clone(&target);
        local.spawn_local(async move {
            let address = target.address;
            let mut kept = None;
            let mut buffer = Vec::with_capacity(4096);
            while more(started.get()) {
                started.set(started.get() + 1);
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                let identity = (shape == Shape::Tls).then(|| target.identities.take());
                let begun = Instant::now();
                let asked = async {
                    match shape {
                        Shape::Exchange => {
                            let stream = connect(address, n).await?;
                            exchange(stream, &registration(n, "", ""), &mut buffer).await
                        }
                        Shape::Tls => {
                            let Some(identity) = &identity else { unreachable!("taken above") };
                            let stream = identities::handshake(connect(address, n).await?, identity).await?;
                            exchange(stream, &registration(n, &target.token, &identity.node_id), &mut buffer).await
                        }
                        Shape::HttpEach => http(&mut connect(address, n).await?, n, &mut buffer).await,
                        Shape::HttpKept => {
                            let stream = match &mut kept {
                                Some(stream) => stream,
                                None => kept.insert(connect(address, n).await?),
                            };
                            http(stream, n, &mut buffer).await
                        }
                    }
                };
                match asked.await {
                    Ok(()) => {
                        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                        times.borrow_mut().push(micros);
                    }
                    Err(_) => {
                        kept = None;
                        failures.set(failures.get() + 1);
                    }
                }
            }
        });
    }
    runtime.block_on(local);
    (times.take(), failures.get())
}

pub(crate) async fn connect(address: SocketAddr, n: u64) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let [.., b, c, d] = n.to_be_bytes();
    socket.bind(([127, 1 + b % 64, c, d.max(1)], 0).into())?;
    // As the program's own client does: the request follows the handshake's last message, and must not wait for its
    // acknowledgement, which the server delays.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// The fields of a registration, without the closing brace.
pub(crate) fn fields(n: u64) -> String {
    format!(
        r#"{{"Hostname":"node-{n}","Role":"worker","IP":"10.{}.{}.{}","OS":"linux","CPU":8,"MemoryMb":16384,"DockerVersion":"20.10.24","GlusterCapable":true,"Timestamp":"2026-01-01T00:00:00Z","#,
        (n >> 16) % 256,
        (n >> 8) % 256,
        n % 256
    )
}

/// A registration of 1 KiB, with a token and a node id where they are not empty.
fn registration(n: u64, token: &str, node_id: &str) -> String {
    let mut text = fields(n);
    for (name, value) in [("Token", token), ("NodeId", node_id)] {
        if !value.is_empty() {
            text.push_str(&format!(r#""{name}":"{value}","#));
        }
    }
    let rest = 1024 - text.len() - r#""Labels":""}"#.len();
    text.push_str(&format!(r#""Labels":"{}"}}"#, "x".repeat(rest)));
    text
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &str,
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    buffer.clear();
    // The reply ends with its line; the connection's end is the server's to bring about.
    while buffer.last() != Some(&b'\n') {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let refused = [&br#""Status":"error""#[..], br#""Reason":"overloaded""#, br#""storage-unavailable""#];
    if refused.iter().any(|words| buffer.windows(words.len()).any(|window| window == *words)) {
        return Err(std::io::Error::other(String::from_utf8_lossy(buffer).into_owned()));
    }
    Ok(())
}

async fn http(stream: &mut TcpStream, n: u64, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    // Without the padding: what a registration leaves on the disk.
    let body = format!(
        r#"{{"key":"{}","value":"{}"}}"#,
        base64(format!("/nodes/node-{n}").as_bytes()),
        base64(fields(n).as_bytes())
    );
    let request = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(buffer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if length.is_some_and(|length| body.len() >= length) {
            return if head.starts_with("HTTP/1.1 200") {
                Ok(())
            } else {
                Err(std::io::Error::other(text.into_owned()))
            };
        }
    }
}
