//! What a handshake costs the controller, by key exchange and by what the client shows. Run by hand, alone:
//! `cargo nextest run --run-ignored only --no-capture -E 'test(tls::speed)'`.
//!
//! No sockets: the two sides hand each other their bytes, and only the controller's part is timed. What is printed is
//! the processor time for one handshake and the request, the reply and the end of TLS that follow.

use std::io::{Read, Write};
use std::time::Instant;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;

const ROUNDS: u32 = 2_000;

/// What a client shows.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Nothing,
    Key,
    Certificate,
}

fn client(authority: &Authority, groups: &[&'static dyn SupportedKxGroup], shown: Shown) -> Arc<ClientConfig> {
    let provider = CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.bundle_pem(start()).as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let pair = KeyPair::generate().unwrap();
    let proven = ProvenKey::new(pair.subject_public_key_info());
    let pem = match shown {
        Shown::Nothing => None,
        Shown::Key => Some(rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem()),
        Shown::Certificate => Some(authority.issue_node(&proven, Role::Worker, start()).unwrap().pem),
    };
    let mut config = match pem {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Times the controller's part of one conversation: handshake, proof, request, reply, end.
fn converse(tls: &ServerTls, client: &Arc<ClientConfig>, name: &ServerName<'static>) -> (Duration, Duration) {
    let mut node = ClientConnection::new(Arc::clone(client), name.clone()).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let (mut spent, mut judging) = (Duration::ZERO, Duration::ZERO);
    let begun = Instant::now();
    let mut server = ServerConnection::new(tls.config()).unwrap();
    spent += begun.elapsed();
    let (mut asked, mut answered) = (false, false);
    while !answered || server.wants_write() {
        while node.wants_write() {
            node.write_tls(&mut to_server).unwrap();
        }
        let begun = Instant::now();
        let mut arrived = to_server.as_slice();
        while !arrived.is_empty() {
            server.read_tls(&mut arrived).unwrap();
            server.process_new_packets().unwrap();
        }
        if !server.is_handshaking() && !answered {
            let mut request = [0; 256];
            if server.reader().read(&mut request).is_ok_and(|read| read > 0) {
                let proving = Instant::now();
                assert!(matches!(tls.proof_of(&server), Proof::Nothing | Proof::Key(_) | Proof::Certified { .. }));
                judging = proving.elapsed();
                server.writer().write_all(&[b'x'; 600]).unwrap();
                server.send_close_notify();
                answered = true;
            }
        }
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        spent += begun.elapsed();
        to_server.clear();
        let mut arrived = to_client.as_slice();
        while !arrived.is_empty() {
            node.read_tls(&mut arrived).unwrap();
            node.process_new_packets().unwrap();
        }
        to_client.clear();
        if !node.is_handshaking() && !asked {
            node.writer().write_all(&[b'y'; 200]).unwrap();
            asked = true;
        }
    }
    (spent, judging)
}

#[test]
#[ignore = "a measurement: its numbers mean something on an idle machine only"]
fn cost_of_a_handshake() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::create(scratch.path(), "c1", clusterctl::clock::SystemClock.now()).unwrap());
    let tls = ServerTls::new(Arc::clone(&authority), Arc::new(clusterctl::clock::SystemClock)).unwrap();
    let name = format!("{}.ca.clusterctl.internal", authority.fingerprint());
    let name = ServerName::try_from(name).unwrap();
    println!("{:<16} {:<12} {:>10} {:>10} {:>10}", "key exchange", "shown", "p10 us", "median us", "proof us");
    let groups: [(&str, &[&'static dyn SupportedKxGroup]); 2] =
        [("X25519", &[kx_group::X25519]), ("X25519MLKEM768", &[kx_group::X25519MLKEM768, kx_group::X25519])];
    for shown in [Shown::Nothing, Shown::Key, Shown::Certificate] {
        let configs = groups.map(|(_, kx)| client(&authority, kx, shown));
        let mut times = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for _ in 0..ROUNDS {
            // In turns, so that what else the machine does hits both alike.
            for (config, (spent, judging)) in configs.iter().zip(&mut times) {
                let (all, proof) = converse(&tls, config, &name);
                spent.push(all);
                judging.push(proof);
            }
        }
        for ((group, _), (mut spent, mut judging)) in groups.iter().zip(times) {
            spent.sort_unstable();
            judging.sort_unstable();
            let at = |times: &[Duration], share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
            let (low, median, proof) = (at(&spent, 10), at(&spent, 50), at(&judging, 50));
            println!("{group:<16} {:<12} {low:>10.1} {median:>10.1} {proof:>10.1}", format!("{shown:?}"));
        }
    }
}

/// Nanoseconds on a processor of this thread.
fn on_cpu(thread: u64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Runs a server on a thread of its own until it is told to stop; its address and its thread's id.
fn serve_alone<F: Future<Output = ()>>(
    server: impl FnOnce(std::sync::mpsc::Sender<SocketAddr>, watch::Receiver<bool>) -> F + Send + 'static,
) -> (SocketAddr, u64, watch::Sender<bool>, std::thread::JoinHandle<()>) {
    let (told, heard) = std::sync::mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let (id, known) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        id.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server(told, stopped));
    });
    (heard.recv().unwrap(), known.recv().unwrap().into(), stop, thread)
}

/// The least that a TLS server does: accept, read, decode, write, end.
async fn echo(tls: Arc<ServerTls>, told: std::sync::mpsc::Sender<SocketAddr>, mut stopped: watch::Receiver<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    told.send(listener.local_addr().unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.config());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = stopped.changed() => return,
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true).unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut bytes = Vec::with_capacity(2048);
            while !bytes.ends_with(b"}") && !bytes.ends_with(b"}\n") {
                stream.read_buf(&mut bytes).await.unwrap();
            }
            serde_json::from_slice::<RawRequest>(&bytes).unwrap();
            let mut line = serde_json::to_vec(&Reply { status: Status::Ready, ..Reply::default() }).unwrap();
            line.push(b'\n');
            stream.write_all(&line).await.unwrap();
            stream.shutdown().await.unwrap();
            stream.read_buf(&mut bytes).await.ok();
        });
    }
}

struct Plain;

#[async_trait::async_trait]
impl Handler for Plain {
    async fn answer(&self, _: RawRequest, _: Peer) -> Vec<u8> {
        serde_json::to_vec(&Reply { status: Status::Ready, ..Reply::default() }).unwrap()
    }
}

/// Exchanges of a few clients at once; processor time of the server's thread for each, and how many there were a second.
async fn load(address: SocketAddr, thread: u64, trust: &Trust, identity: &ClientIdentity) -> (f64, f64) {
    const EACH: u32 = 400;
    const CLIENTS: u32 = 6;
    let (cpu, begun) = (on_cpu(thread), Instant::now());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (trust, identity) = (trust.clone(), identity.clone());
        clients.spawn(async move {
            for _ in 0..EACH {
                let stream = TcpStream::connect(address).await.unwrap();
                // As our client does: else the request waits for the acknowledgement of the handshake's last bytes.
                stream.set_nodelay(true).unwrap();
                let deadline = tokio::time::Instant::now() + PATIENCE;
                let (mut stream, _) = clusterctl::pki::connect(stream, &trust, &identity, deadline).await.unwrap();
                let deadlines = clusterctl::protocol::exchange::Deadlines::default();
                clusterctl::protocol::exchange::call(&mut stream, &canary(), &deadlines).await.unwrap();
            }
        });
    }
    clients.join_all().await;
    let exchanges = f64::from(EACH * CLIENTS);
    let spent = on_cpu(thread) - cpu;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
    let spent = spent as f64;
    (spent / exchanges / 1e3, exchanges / begun.elapsed().as_secs_f64())
}

/// The listener beside the least that a TLS server of the same configuration does.
#[test]
#[ignore = "a measurement: its numbers mean something on an idle machine only"]
fn cost_of_an_exchange() {
    let scratch = tempfile::tempdir().unwrap();
    let now = clusterctl::clock::SystemClock.now();
    let authority = Arc::new(Authority::create(scratch.path(), "c1", now).unwrap());
    let tls = Arc::new(ServerTls::new(Arc::clone(&authority), Arc::new(clusterctl::clock::SystemClock)).unwrap());
    let trust = Trust::Pinned(vec![authority.fingerprint()]);
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bare = Arc::clone(&tls);
    let (echo_at, echo_thread, stop_echo, echo) = serve_alone(move |told, stopped| echo(bare, told, stopped));
    let (ours_at, ours_thread, stop_ours, ours) = serve_alone(move |told, stopped| async move {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = ListenOptions { tcp: vec![any], tls: Some(tls), ..ListenOptions::default() };
        let listener = Listener::bind(&options).await.unwrap();
        told.send(listener.local_addrs()[0]).unwrap();
        listener.serve(Arc::new(Plain), stopped).await;
    });
    println!("{:<12} {:<10} {:>14} {:>14}", "shown", "server", "CPU us each", "exchanges/s");
    for (word, node) in [("key", Node::new()), ("certificate", Node::new().certified(&authority, Role::Worker, now))] {
        for _ in 0..3 {
            for (server, at, thread) in [("bare", echo_at, echo_thread), ("listener", ours_at, ours_thread)] {
                let (cpu, rate) = clients.block_on(load(at, thread, &trust, &node.shows()));
                println!("{word:<12} {server:<10} {cpu:>14.1} {rate:>14.0}");
            }
        }
    }
    stop_echo.send(true).unwrap();
    stop_ours.send(true).unwrap();
    echo.join().unwrap();
    ours.join().unwrap();
}
