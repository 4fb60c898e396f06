//! Thousands of agents that come at once and wait for the last of them, and thousands that wait while nothing changes.
//!
//! An agent does as the program's own: it registers, is told to wait, and asks again with its reply held back, until it is
//! told how to join.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::{connect, fields};
use crate::peers::{self, Server, ask};
use crate::{Options, docker, strangers};

/// Over how long agents start.
const ARRIVAL: Duration = Duration::from_secs(1);

/// How long a reply is held back.
const HOLD: Duration = Duration::from_secs(20);

/// How long an agent waits after a connection that failed, times 1 to 2.
const AGAIN: Duration = Duration::from_millis(250);

/// How long a whole herd may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of a herd.
#[derive(Default)]
struct Herd {
    /// First replies, in ms.
    replies: RefCell<Vec<f64>>,
    /// When the last first reply came, and when each agent was through.
    registered: Cell<Option<Instant>>,
    through: Cell<usize>,
    last_through: Cell<Option<Instant>>,
    broken: Cell<u64>,
    asked: Cell<u64>,
    over: Cell<bool>,
}

/// Prints the table of herds: each registers at a gate that opens for all of them, and the controller is killed when half
/// of them have begun.
pub(crate) fn compare(options: &Options, scratch: &Path) {
    println!("\n### Herds at a gate that opens for the last one; the controller is killed at half and started again\n");
    println!(
        "| agents | first reply p50 | p99 | all registered after | all ready after that | lost | duplicate | broken connections | listen overflows | CPU per agent | RSS, more than idle |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let engine = scratch.join("herd-docker.sock");
    docker::start(&engine);
    for &agents in &options.herd {
        let gate = ["--wait-for-minimum", "--min-managers", "1", "--min-workers", &agents.to_string()];
        let mut server = Server::ours_beside(&engine, options, &scratch.join(format!("herd-{agents}")), &gate);
        let (idle, overflows) = (server.rss_kib(), listen_overflows());
        let herd = Rc::new(Herd::default());
        let (begun, address) = (Instant::now(), server.address());
        let mut cpu = 0.0;
        drive(
            &herd,
            agents,
            |n| agent(Rc::clone(&herd), address, n, ARRIVAL.mul_f64(n as f64 / agents as f64)),
            async {
                tokio::time::sleep(ARRIVAL / 2).await;
                cpu += server.cpu();
                server.restart_at_once();
                let waited = tokio::time::timeout(PATIENCE, async {
                    while herd.through.get() < agents {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
                // What is missing is in the table.
                waited.await.ok();
            },
        );
        cpu += server.cpu();
        let status = ask(&server, "status");
        let workers = status["Gate"]["Workers"].as_u64().unwrap_or_default() as usize;
        let replies = sorted(&herd);
        let at = |part: usize| replies.get((replies.len().max(1) - 1) * part / 100).copied().unwrap_or(f64::NAN);
        let registered = herd.registered.get().unwrap_or(begun);
        let through = herd.last_through.get().unwrap_or(begun);
        println!(
            "| {agents} | {:.1} ms | {:.1} ms | {:.2} s | {:.2} s | {} | {} | {} | {} | {:.0} us | {:.1} MiB |",
            at(50),
            at(99),
            (registered - begun).as_secs_f64(),
            through.saturating_duration_since(registered).as_secs_f64(),
            agents.saturating_sub(workers) + (agents - herd.through.get()),
            workers.saturating_sub(agents),
            herd.broken.get(),
            listen_overflows() - overflows,
            cpu * 1e6 / agents as f64,
            (server.peak_rss_kib().saturating_sub(idle)) as f64 / 1024.0,
        );
        std::io::stdout().flush().unwrap();
    }
    println!(
        "\nAgents start over {ARRIVAL:?}. A peer is **missing**: there is no client of etcd here that waits at a barrier as they do, and Nomad cannot be installed."
    );
}

/// Prints the table of those that wait: long polls, and the naive way of asking every second.
pub(crate) fn wait(options: &Options, scratch: &Path) {
    println!("\n### {} nodes that wait while nothing changes\n", options.waiting);
    println!("| | asked, per s | CPU of the controller, of one core | written | RSS |");
    println!("|---|---|---|---|---|");
    let nodes = options.waiting;
    let gate = ["--wait-for-minimum", "--min-managers", "1", "--min-workers", &(nodes + 1).to_string()];
    let engine = scratch.join("waiting-docker.sock");
    docker::start(&engine);
    let server = Server::ours_beside(&engine, options, &scratch.join("waiting"), &gate);
    let address = server.address();
    for (name, naive, over) in
        [("replies held back", false, options.waiting_for), ("asked every second", true, options.waiting_for / 4)]
    {
        let herd = Rc::new(Herd::default());
        let mut figures = (0.0, 0, 0.0);
        let spread = if naive { ARRIVAL } else { HOLD };
        drive(
            &herd,
            nodes,
            |n| {
                let (herd, delay) = (Rc::clone(&herd), spread.mul_f64(n as f64 / nodes as f64));
                async move { if naive { poll(herd, address, n, delay).await } else { agent(herd, address, n, delay).await } }
            },
            async {
                // All have come, and what they left behind is folded.
                tokio::time::sleep(spread + Duration::from_secs(1)).await;
                while ask(&server, "status")["Store"]["Journal"] != 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                let (cpu, written, asked, begun) = (server.cpu(), server.written(), herd.asked.get(), Instant::now());
                tokio::time::sleep(over).await;
                let seconds = begun.elapsed().as_secs_f64();
                figures = (
                    (server.cpu() - cpu) / seconds,
                    server.written() - written,
                    (herd.asked.get() - asked) as f64 / seconds,
                );
            },
        );
        println!(
            "| {name} | {:.0} | {:.1} % | {} B | {} MiB |",
            figures.2,
            figures.0 * 100.0,
            figures.1,
            server.rss_kib() / 1024
        );
        std::io::stdout().flush().unwrap();
    }
    println!(
        "\nOver {:?}, after everything was folded; replies are held back for {HOLD:?}, as the program's own client asks.",
        options.waiting_for
    );
}

/// Runs all agents and what `meanwhile` does, until that has ended.
fn drive<A: Future<Output = ()> + 'static>(
    herd: &Rc<Herd>,
    agents: usize,
    agent: impl Fn(usize) -> A,
    meanwhile: impl Future<Output = ()>,
) {
    let allowed = strangers::allowed(agents);
    assert!(allowed >= agents, "the limit on open files carries {allowed} agents");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    for n in 0..agents {
        local.spawn_local(agent(n));
    }
    runtime.block_on(local.run_until(meanwhile));
    herd.over.set(true);
}

/// One agent until it is through.
async fn agent(herd: Rc<Herd>, address: SocketAddr, n: usize, delay: Duration) {
    tokio::time::sleep(delay).await;
    let (mut registered, mut hold) = (false, Duration::ZERO);
    while !herd.over.get() {
        let asked = Instant::now();
        herd.asked.set(herd.asked.get() + 1);
        match exchange(address, n, &register(n, hold)).await {
            Ok(reply) => {
                if !registered {
                    registered = true;
                    herd.replies.borrow_mut().push(asked.elapsed().as_secs_f64() * 1e3);
                    herd.registered.set(Some(Instant::now()));
                }
                if reply["Status"] == "ready" {
                    herd.through.set(herd.through.get() + 1);
                    herd.last_through.set(Some(Instant::now()));
                    return;
                }
                match reply["Reason"].as_str() {
                    Some("overloaded" | "storage-unavailable") => tokio::time::sleep(AGAIN).await,
                    _ => hold = HOLD,
                }
            }
            Err(_) => {
                herd.broken.set(herd.broken.get() + 1);
                tokio::time::sleep(AGAIN.mul_f64(1.0 + n as f64 % 64.0 / 64.0)).await;
            }
        }
    }
}

/// One that asks every second.
async fn poll(herd: Rc<Herd>, address: SocketAddr, n: usize, delay: Duration) {
    tokio::time::sleep(delay).await;
    while !herd.over.get() {
        herd.asked.set(herd.asked.get() + 1);
        if exchange(address, n, &register(n, Duration::ZERO)).await.is_err() {
            herd.broken.set(herd.broken.get() + 1);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn register(n: usize, hold: Duration) -> String {
    format!(r#"{}"WaitMs":{}}}"#, fields(n as u64), hold.as_millis())
}

async fn exchange(address: SocketAddr, n: usize, request: &str) -> std::io::Result<Value> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = connect(address, n as u64).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::with_capacity(1024);
    while reply.last() != Some(&b'\n') {
        if stream.read_buf(&mut reply).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    serde_json::from_slice(&reply).map_err(std::io::Error::other)
}

fn sorted(herd: &Herd) -> Vec<f64> {
    let mut replies = herd.replies.borrow().clone();
    replies.sort_by(f64::total_cmp);
    replies
}

/// How often a connection was dropped for want of room among those not accepted yet, on this machine.
fn listen_overflows() -> u64 {
    peers::network_counter("TcpExt", "ListenOverflows")
}
