//! Registrations per second, beside a peer and the floors, measured in one run and printed as Markdown.
//!
//! `cargo bench --bench exchange -- [--rounds 7] [--seconds 3] [--clients 1,64,256] [--prefill 0] [--floors-only]
//! [--binary PATH] [--serve-arg ARG]... [--tls] [--flood] [--growth 10000,100000] [--herd 1000,5000] [--waiting 10000]`
//!
//! With `--tls` every registration is a full TLS 1.3 handshake with a key of its own and an admission token, and the floor
//! speaks TLS too. With `--flood` it is ours alone on TLS, without and with 5,000 strangers who use up connections. With
//! `--growth`, `--herd` and `--waiting` it is what grows with the nodes on record, thousands of agents that come at once, and
//! thousands that wait. With `--binary` a real `clusterctl master serve` is measured (`--serve-arg` adds to its arguments), else this program itself
//! with the real listener and store and a small state machine. Rounds are interleaved: every contender has its turn in
//! each, so that a machine that slows down slows all of them. Compare ratios, not rates. Servers run on the first CPU,
//! clients on the last.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

#[path = "exchange/docker.rs"]
mod docker;
#[path = "exchange/flood.rs"]
mod flood;
#[path = "exchange/growth.rs"]
mod growth;
#[path = "exchange/herd.rs"]
mod herd;
#[path = "exchange/identities.rs"]
mod identities;
#[path = "exchange/load.rs"]
mod load;
#[path = "exchange/peers.rs"]
mod peers;
#[path = "exchange/servers.rs"]
mod servers;
#[path = "exchange/strangers.rs"]
mod strangers;

use std::time::Duration;

use load::{Outcome, Shape};
use peers::Server;

pub(crate) struct Options {
    rounds: usize,
    seconds: Duration,
    clients: Vec<usize>,
    prefill: u64,
    floors_only: bool,
    binary: Option<String>,
    serve_args: Vec<String>,
    tls: bool,
    flood: bool,
    /// How many nodes are on record when it is looked at what grows.
    growth: Vec<u64>,
    /// How many agents come at once.
    herd: Vec<usize>,
    /// How many nodes wait, and for how long.
    waiting: usize,
    waiting_for: Duration,
}

fn options() -> Options {
    let mut options = Options {
        rounds: 7,
        seconds: Duration::from_secs(3),
        clients: vec![1, 64, 256],
        prefill: 0,
        floors_only: false,
        binary: None,
        serve_args: Vec::new(),
        tls: false,
        flood: false,
        growth: Vec::new(),
        herd: Vec::new(),
        waiting: 0,
        waiting_for: Duration::from_secs(60),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        match arg.as_str() {
            "--rounds" => options.rounds = value().parse().unwrap(),
            "--seconds" => options.seconds = Duration::from_secs_f64(value().parse().unwrap()),
            "--clients" => options.clients = value().split(',').map(|n| n.parse().unwrap()).collect(),
            "--prefill" => options.prefill = value().parse().unwrap(),
            "--binary" => options.binary = Some(value()),
            "--serve-arg" => {
                let arg = value();
                options.serve_args.push(arg);
            }
            "--tls" => options.tls = true,
            "--flood" => (options.tls, options.flood) = (true, true),
            "--growth" => options.growth = value().split(',').map(|n| n.parse().unwrap()).collect(),
            "--herd" => options.herd = value().split(',').map(|n| n.parse().unwrap()).collect(),
            "--waiting" => options.waiting = value().parse().unwrap(),
            "--waiting-seconds" => options.waiting_for = Duration::from_secs(value().parse().unwrap()),
            "--floors-only" => options.floors_only = true,
            // Cargo says it.
            "--bench" => {}
            other => panic!("unknown option {other}"),
        }
    }
    options
}

fn main() {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--serve-store"), Some(address), Some(dir)) => return servers::store(&address, dir.as_ref()),
        (Some("--serve-echo"), Some(address), _) => return servers::echo(&address),
        (Some("--serve-tls-echo"), Some(address), _) => return servers::tls_echo(&address),
        (Some(flood::ROLE), Some(address), _) => return flood::strangers(&address),
        _ => {}
    }
    let options = options();
    let scratch = scratch();
    print_machine(&options, scratch.path());

    assert!(!options.tls || options.floors_only || options.binary.is_some(), "--tls and --flood take --binary");
    if options.flood {
        let ours = Server::ours(&options, &scratch.path().join("ours"));
        peers::stay_on_cpu(peers::last_cpu());
        return flood::compare(&ours, &options);
    }
    if !options.growth.is_empty() || !options.herd.is_empty() || options.waiting > 0 {
        assert!(options.binary.is_some() && !options.tls, "--growth, --herd and --waiting take --binary, and no --tls");
        peers::stay_on_cpu(peers::last_cpu());
        if !options.growth.is_empty() {
            growth::compare(&options, scratch.path());
        }
        if !options.herd.is_empty() {
            herd::compare(&options, scratch.path());
        }
        if options.waiting > 0 {
            herd::wait(&options, scratch.path());
        }
        return;
    }
    let mut servers = vec![if options.tls { Server::tls_echo() } else { Server::echo() }];
    if !options.floors_only {
        servers.push(Server::ours(&options, &scratch.path().join("ours")));
        match Server::etcd(&scratch.path().join("etcd")) {
            Ok(etcd) => servers.push(etcd),
            Err(why) => println!("* etcd is **missing** from this run: {why}"),
        }
    }
    if let (Some(binary), Some(ours)) = (&options.binary, servers.get_mut(1)) {
        let size = std::fs::metadata(binary).unwrap().len() as f64 / 1024.0 / 1024.0;
        let idle = ours.rss_kib() as f64 / 1024.0;
        let mut starts: Vec<Duration> = (0..11).map(|_| ours.time_to_listening()).collect();
        starts.sort();
        println!(
            "* B17: the binary has {size:.1} MiB, the idle controller {idle:.1} MiB; {:.1?} from its start to listening (median of 11)",
            starts[starts.len() / 2]
        );
    }
    peers::stay_on_cpu(peers::last_cpu());
    if options.prefill > 0 && !options.floors_only {
        let begun = load::prefill(&servers[1], Shape::Exchange, options.prefill);
        println!("* {} nodes registered beforehand in {begun:.1?}", options.prefill);
    }
    println!();
    floor_of_the_disk(scratch.path());
    for &clients in &options.clients {
        compare(&servers, clients, &options);
    }
    if let Some(ours) = servers.get_mut(1).filter(|_| !options.tls) {
        println!("RSS of ours after all of this: {} MiB; on disk {} KiB.", ours.rss_kib() / 1024, ours.state_kib());
        let restarted = ours.kill_and_restart(Shape::Exchange);
        println!("kill -9 and restart with that state, to the first registration: {restarted:.1?}.");
    }
}

/// State is measured where it would lie, on a disk: a temporary directory may be memory.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn compare(servers: &[Server], clients: usize, options: &Options) {
    let contenders: Vec<(&Server, Shape)> =
        servers.iter().flat_map(|server| server.shapes().iter().map(move |shape| (server, *shape))).collect();
    let mut outcomes: Vec<Vec<Outcome>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let at = (turn + round) % contenders.len();
            let (server, shape) = contenders[at];
            outcomes[at].push(load::run(server, shape, clients, options.seconds));
        }
    }
    println!("\n### {clients} client{}\n", if clients == 1 { "" } else { "s" });
    println!("| | per s | spread | ratio ours/this | p50 | p99 | p99.9 | server CPU per op | written per op |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let ours = contenders.iter().position(|(server, _)| server.is_ours());
    for (at, (server, shape)) in contenders.iter().enumerate() {
        let of = |field: fn(&Outcome) -> f64| quartiles(outcomes[at].iter().map(field).collect());
        let (low, rate, high) = of(|outcome| outcome.rate);
        let ratio = ours.map_or_else(String::new, |ours| {
            let pairs = outcomes[ours].iter().zip(&outcomes[at]);
            let (low, median, high) = quartiles(pairs.map(|(ours, other)| ours.rate / other.rate).collect());
            format!("{median:.2} ({low:.2}-{high:.2})")
        });
        println!(
            "| {} | {rate:.0} | {low:.0}-{high:.0} | {ratio} | {:.2} ms | {:.2} ms | {:.2} ms | {:.1} us | {:.0} B |",
            server.label(*shape),
            of(|outcome| outcome.p50).1,
            of(|outcome| outcome.p99).1,
            of(|outcome| outcome.p999).1,
            of(|outcome| outcome.cpu_us).1,
            of(|outcome| outcome.written).1,
        );
    }
    let failures: u64 = outcomes.iter().flatten().map(|outcome| outcome.failures).sum();
    let disturbed = outcomes.iter().flatten().filter(|outcome| outcome.foreign > 0.1).count();
    println!(
        "\n{} rounds of {:?}; failed requests: {failures}; turns in which others used more than 10 % of the CPUs: {disturbed} of {}.",
        options.rounds,
        options.seconds,
        outcomes.iter().map(Vec::len).sum::<usize>(),
    );
}

/// Lower quartile, median, upper quartile.
fn quartiles(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() - 1) * part / 4];
    (at(1), at(2), at(3))
}

fn floor_of_the_disk(dir: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join("fdatasync")).unwrap();
    let mut times = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let start = std::time::Instant::now();
        file.write_all(&[7; 1024]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "Floor of the disk: {:.0} appends of 1 KiB with fdatasync per s; p50 {:.3} ms, p99 {:.3} ms.",
        times.len() as f64 / begun.elapsed().as_secs_f64(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
}

fn print_machine(options: &Options, dir: &std::path::Path) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let magic = rustix::fs::statfs(dir).map_or(0, |found| found.f_type);
    println!(
        "* {cpus} x {}; kernel {}",
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim()
    );
    println!("* state on a file system of type {magic:#x}; server on CPU 0, clients on CPU {}", peers::last_cpu());
    println!("* a new TCP connection for each registration, from changing 127.x.y.z; 1 KiB of JSON; unique nodes");
    match &options.binary {
        Some(binary) => println!("* ours is `{binary} master serve {}`", options.serve_args.join(" ")),
        None => println!("* ours is the listener and the store with a small state machine"),
    }
}
