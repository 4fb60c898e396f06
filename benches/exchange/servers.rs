//! This program as a server: the real listener and store with a small state machine, and the floor without either.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use clusterctl::clock::{Clock, SystemClock};
use clusterctl::controller::listener::{ClearText, Handler, ListenOptions, Listener, Peer};
use clusterctl::controller::store::{Machine, RecordError, RowChange, Store, StoreOptions};
use clusterctl::pki::{Authority, ServerTls};
use clusterctl::protocol::registration::{RawRequest, Request};
use clusterctl::protocol::reply::{Reply, Status};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

#[derive(Serialize, Deserialize, Clone)]
struct Node {
    hostname: String,
    address: String,
    os: String,
    cpus: u32,
    memory_mb: u64,
    docker_version: String,
}

#[derive(Default)]
struct Nodes {
    by_name: HashMap<String, Node>,
    changed: BTreeSet<String>,
}

impl Machine for Nodes {
    type Command = Node;
    type Effect = ();

    const VERSION: u8 = 1;

    fn encode(command: &Node) -> Vec<u8> {
        postcard::to_extend(command, vec![1]).unwrap()
    }

    fn decode(record: &[u8]) -> Result<Node, RecordError> {
        postcard::from_bytes(&record[1..]).map_err(|error| RecordError::Malformed(error.to_string()))
    }

    fn apply(&mut self, _sequence: u64, node: &Node) {
        self.changed.insert(node.hostname.clone());
        self.by_name.insert(node.hostname.clone(), node.clone());
    }

    fn load(&mut self, key: &str, record: &[u8]) -> Result<(), RecordError> {
        self.by_name.insert(key.to_owned(), Self::decode(record)?);
        Ok(())
    }

    fn changes(&mut self) -> Vec<RowChange> {
        let row = |key: String| RowChange { record: self.by_name.get(&key).map(Self::encode), key };
        std::mem::take(&mut self.changed).into_iter().map(row).collect()
    }
}

fn reply() -> Vec<u8> {
    serde_json::to_vec(&Reply { status: Status::Waiting, ..Reply::default() }).unwrap()
}

struct Registry(Store<Nodes>);

#[async_trait::async_trait]
impl Handler for Registry {
    async fn answer(&self, request: RawRequest, _peer: Peer) -> Vec<u8> {
        let Ok(Request::Register(registration)) = request.check() else { return b"{\"Status\":\"error\"}".to_vec() };
        let node = Node {
            hostname: registration.who.hostname.to_string(),
            address: registration.address.map(|address| address.to_string()).unwrap_or_default(),
            os: registration.facts.os,
            cpus: registration.facts.cpus,
            memory_mb: registration.facts.memory_mb,
            docker_version: registration.facts.docker_version,
        };
        match self.0.commit(node).await {
            Ok(_) => reply(),
            Err(_) => b"{\"Status\":\"error\"}".to_vec(),
        }
    }
}

#[tokio::main]
pub(crate) async fn store(address: &str, dir: &Path) {
    let store = Store::open(dir, StoreOptions::default()).await.unwrap();
    let options = ListenOptions {
        tcp: vec![address.parse().unwrap()],
        clear_text: ClearText::Private,
        ..ListenOptions::default()
    };
    let listener = Listener::bind(&options).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    listener.serve(Arc::new(Registry(store)), stopped).await;
}

/// The least that such a server does: accept, read, decode, encode, write, close.
#[tokio::main]
pub(crate) async fn echo(address: &str) {
    let listener = listener(address);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(answer(stream));
    }
}

/// The same after a handshake of the same configuration as ours.
#[tokio::main]
pub(crate) async fn tls_echo(address: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "echo", SystemClock.now()).unwrap();
    let tls = ServerTls::new(Arc::new(authority), Arc::new(SystemClock)).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.config());
    let listener = listener(address);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let accepting = acceptor.accept(stream);
        tokio::spawn(async move {
            if let Ok(stream) = accepting.await {
                answer(stream).await;
            }
        });
    }
}

fn listener(address: &str) -> tokio::net::TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    socket.listen(4096).unwrap()
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut bytes = Vec::with_capacity(2048);
    while !bytes.ends_with(b"}") {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
    if serde_json::from_slice::<RawRequest>(&bytes).is_ok() {
        let mut line = reply();
        line.push(b'\n');
        // A client that is gone has had its turn.
        stream.write_all(&line).await.ok();
        stream.shutdown().await.ok();
    }
}
