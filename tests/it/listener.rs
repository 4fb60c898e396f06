//! The listener: one request and one reply for each connection, whatever strangers do.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod decoding;
mod floods;
mod process;
mod unix;
mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clusterctl::controller::listener::{ClearText, Handler, ListenOptions, Listener, ListenerMonitor, Peer};
use clusterctl::protocol::exchange::{self, Deadlines};
use clusterctl::protocol::registration::RawRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Answers with what it was asked. `panic` panics; `hold` and any request with `WaitMs` wait until released.
#[derive(Debug)]
struct Echo {
    release: Semaphore,
    waiting: AtomicUsize,
}

#[async_trait::async_trait]
impl Handler for Echo {
    async fn answer(&self, request: RawRequest, peer: Peer) -> Vec<u8> {
        assert!(request.action != "panic", "asked for");
        if request.wait_ms > 0 || request.action == "hold" {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.release.acquire().await.unwrap().forget();
        }
        let local = matches!(peer, Peer::Local { .. });
        json!({"Status": "ready", "Hostname": request.hostname, "WaitMs": request.wait_ms, "Local": local})
            .to_string()
            .into_bytes()
    }
}

/// A listener that serves until it is stopped.
struct Door {
    address: SocketAddr,
    monitor: ListenerMonitor,
    echo: Arc<Echo>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Door {
    async fn open(options: ListenOptions) -> Self {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let options = ListenOptions { tcp: vec![any], clear_text: ClearText::Private, ..options };
        let listener = Listener::bind(&options).await.unwrap();
        let address = (Ipv4Addr::LOCALHOST, listener.local_addrs()[0].port()).into();
        let monitor = listener.monitor();
        let echo = Arc::new(Echo { release: Semaphore::new(0), waiting: AtomicUsize::new(0) });
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listener.serve(Arc::clone(&echo), stopped));
        Self { address, monitor, echo, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects from a loopback address of one's choice.
    async fn connect_from(&self, source: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(source), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Asks as the program's own client does.
    async fn ask(&self, request: &RawRequest) -> Value {
        let mut stream = self.connect().await;
        let reply = exchange::call(&mut stream, request, &Deadlines::default()).await.unwrap();
        exchange::decode(&reply).unwrap()
    }

    async fn close(self) {
        self.stop.send(true).unwrap();
        within(self.serving).await.unwrap();
    }
}

fn named(hostname: &str) -> RawRequest {
    RawRequest { hostname: hostname.to_owned(), ..RawRequest::default() }
}

/// Bounds what a test waits for.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

/// Everything up to the end of the connection, which must end without a reset, as one JSON value on one line.
async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> Value {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes.last(), Some(&b'\n'), "{}", bytes.escape_ascii());
    serde_json::from_slice(&bytes).unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "never came: {what}");
}

/// S2-50: exactly one request, exactly one reply, then the end, in every manner of sending.
#[tokio::test]
async fn answers_one_request_and_closes() {
    let door = Door::open(ListenOptions::default()).await;

    assert_eq!(door.ask(&named("kept-open")).await["Hostname"], "kept-open");

    let mut stream = door.connect().await;
    for byte in br#" {"hostname":"bytes"}"# {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(reply(&mut stream).await["Hostname"], "bytes");

    let mut stream = door.connect().await;
    stream.write_all(b"{\"hostname\":\"half-closed\"}").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(reply(&mut stream).await["Hostname"], "half-closed");

    let mut stream = door.connect().await;
    stream.write_all(b"{\"hostname\":\"first\"}{\"hostname\":\"second\"}\nand more").await.unwrap();
    assert_eq!(reply(&mut stream).await["Hostname"], "first");
    door.close().await;
}

/// T8: garbage of every kind gets one error with a code, a message and a hint.
#[tokio::test]
async fn says_what_is_wrong() {
    let door = Door::open(ListenOptions::default()).await;
    for (bytes, code) in [
        (&b"\x16\x03\x01\x02\x00"[..], "tls-not-enabled"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not-json"),
        (b"\0\0\0\0", "not-json"),
        (b"\xef\xbb\xbf{}", "not-json"),
        (b"[1]", "not-json"),
        (b"{\"hostname\":\"a\",}", "bad-json"),
        (b"{\"hostname\":7}", "bad-json"),
        (b"{\"hostname\":\"a\",\"HostName\":\"b\"}", "bad-json"),
        (b"{\"hostname\":\"\xff\"}", "bad-json"),
        (b"{\"a\":[}", "bad-json"),
        (b"{\"cpu\":1e999}", "bad-json"),
    ] {
        let mut stream = door.connect().await;
        stream.write_all(bytes).await.unwrap();
        let error = reply(&mut stream).await;
        assert_eq!((&error["Status"], &error["Code"]), (&json!("error"), &json!(code)), "{}", bytes.escape_ascii());
        assert!(error["Message"].is_string() && error["Hint"].is_string(), "{error}");
    }
    let mut stream = door.connect().await;
    stream.write_all(b"{\"hostname\":").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(reply(&mut stream).await["Code"], "incomplete-request");
    assert_eq!(door.ask(&named("h1")).await["Hostname"], "h1");
    door.close().await;
}

/// T8: a request that is too large gets its error although more bytes are on their way: no reset destroys it.
#[tokio::test]
async fn a_request_that_is_too_large_gets_its_error() {
    let door = Door::open(ListenOptions::default()).await;
    let sized = |size: usize| format!("{{\"hostname\":\"a\",\"x\":\"{}\"}}", "x".repeat(size - 23)).into_bytes();
    for (size, field, value) in [
        (64 * 1024, "Hostname", "a"),
        (64 * 1024 + 1, "Code", "request-too-large"),
        (200 * 1024, "Code", "request-too-large"),
    ] {
        let bytes = sized(size);
        assert_eq!(bytes.len(), size);
        let mut stream = door.connect().await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(reply(&mut stream).await[field], value, "{size}");
    }
    let mut stream = door.connect().await;
    // The listener stops reading at some time; what matters is that it ends.
    drop(within(stream.write_all(format!("{{\"a\":{}", "[".repeat(10_000_000)).as_bytes())).await);
    drop(stream);
    door.close().await;
}

/// T7: the deadline is for the whole request, however it trickles in.
#[tokio::test]
async fn slow_senders_are_told() {
    let limits = exchange::Limits { receive: Duration::from_millis(100), ..exchange::Limits::default() };
    let door = Door::open(ListenOptions { limits, ..ListenOptions::default() }).await;
    let mut silent = door.connect().await;
    assert_eq!(reply(&mut silent).await["Code"], "request-timeout");
    let (mut reading, mut writing) = door.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        writing.write_all(b"{\"hostname\":\"").await.unwrap();
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(reply(&mut reading).await["Code"], "incomplete-request");
    drop(reading);
    within(trickle).await.unwrap();
    door.close().await;
}

/// A panic in one request ends nothing else.
#[tokio::test]
async fn a_panicking_handler_is_answered() {
    let door = Door::open(ListenOptions::default()).await;
    let request = RawRequest { action: "panic".into(), ..RawRequest::default() };
    assert_eq!(door.ask(&request).await["Code"], "internal-error");
    assert_eq!(door.ask(&named("h1")).await["Hostname"], "h1");
    assert_eq!(door.monitor.status().panics, 1);
    door.close().await;
}

/// A reply that is held back leaves the count of strangers, and its handler goes with its client.
#[tokio::test]
async fn held_replies_have_their_own_cap() {
    let door = Door::open(ListenOptions { max_held: Some(1), ..ListenOptions::default() }).await;
    let waiting = br#"{"hostname":"h1","waitMs":30000}"#;
    let mut held = door.connect().await;
    held.write_all(waiting).await.unwrap();
    until("the reply is held back", || door.monitor.status().held == 1).await;
    assert_eq!(door.monitor.status().open, 0);
    // The cap is full: this one is answered at once, as if it had not asked for waiting.
    let mut second = door.connect().await;
    second.write_all(waiting).await.unwrap();
    assert_eq!(reply(&mut second).await["WaitMs"], 0);
    drop(held);
    until("the client's leaving is noticed", || door.monitor.status().left == 1).await;
    until("its place is free", || door.monitor.status().held == 0).await;

    let mut held = door.connect().await;
    held.write_all(waiting).await.unwrap();
    until("the reply is held back", || door.monitor.status().held == 1).await;
    door.echo.release.add_permits(1);
    assert_eq!(reply(&mut held).await["WaitMs"], 30_000);
    door.close().await;
}

/// C20: a shutdown accepts nothing more, lets requests come to their end and ends those that would go on for long.
#[tokio::test]
async fn shutdown_drains() {
    let door = Door::open(ListenOptions::default()).await;
    let mut busy = door.connect().await;
    busy.write_all(br#"{"hostname":"busy","action":"hold"}"#).await.unwrap();
    let mut held = door.connect().await;
    held.write_all(br#"{"hostname":"held","waitMs":30000}"#).await.unwrap();
    let mut silent = door.connect().await;
    until("both are asked", || door.echo.waiting.load(Ordering::SeqCst) == 2).await;
    until("all are known", || door.monitor.status().open == 2 && door.monitor.status().held == 1).await;
    door.stop.send(true).unwrap();
    assert_eq!(reply(&mut held).await["Status"], "waiting");
    assert_eq!(reply(&mut silent).await["Reason"], "overloaded");
    until("nobody listens", || std::net::TcpStream::connect(door.address).is_err()).await;
    door.echo.release.add_permits(1);
    assert_eq!(reply(&mut busy).await["Hostname"], "busy");
    within(door.serving).await.unwrap();
    assert_eq!((door.monitor.status().open, door.monitor.status().held), (0, 0));
}

#[tokio::test]
async fn shutdown_has_a_deadline() {
    let door = Door::open(ListenOptions { drain: Duration::from_millis(50), ..ListenOptions::default() }).await;
    let mut busy = door.connect().await;
    busy.write_all(br#"{"hostname":"busy","action":"hold"}"#).await.unwrap();
    until("it is asked", || door.echo.waiting.load(Ordering::SeqCst) == 1).await;
    door.stop.send(true).unwrap();
    assert_eq!(reply(&mut busy).await["Reason"], "overloaded");
    within(door.serving).await.unwrap();
}
