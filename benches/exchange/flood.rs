//! What a flood costs honest nodes: their registrations on TLS, in turns without and with thousands of strangers.
//!
//! The strangers are this program again, as a process of its own on the clients' CPU with the lowest priority: what is
//! asked is what they cost the server, not what they cost the clients that share a CPU with them. How many connections
//! they came to open is in the table, since a flood that gets no CPU is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::{self, Outcome, Shape};
use crate::peers::Server;
use crate::strangers::{ADDRESSES, Flood, STRANGERS, allowed};
use crate::{Options, quartiles};

/// The name of the role in which this program is the strangers.
pub(crate) const ROLE: &str = "--flood-clients";

/// How long the strangers may take to connect once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The strangers: says how many there are once all of them were connected; when its input ends, how many connections
/// they have opened each second since then.
pub(crate) fn strangers(address: &str) {
    rustix::process::nice(19).unwrap();
    let strangers = allowed(STRANGERS);
    let flood = Flood::start(address.parse().unwrap(), strangers);
    let begun = Instant::now();
    while !flood.stands() {
        assert!(begun.elapsed() < PATIENCE, "only {} connections were opened", flood.opened());
        std::thread::sleep(Duration::from_millis(10));
    }
    let (begun, before) = (Instant::now(), flood.opened());
    println!("{strangers}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    println!("{}", (flood.opened() - before) as f64 / begun.elapsed().as_secs_f64());
}

/// The strangers as a process.
struct Siege {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    strangers: usize,
}

impl Siege {
    fn lay(address: SocketAddr) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this program again")]
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args([ROLE, &address.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut siege = Self { child, said, strangers: 0 };
        siege.strangers = siege.line().parse().expect("the strangers come");
        siege
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Connections opened each second.
    fn lift(mut self) -> f64 {
        drop(self.child.stdin.take());
        let rate = self.line().parse().unwrap();
        assert!(self.child.wait().unwrap().success());
        rate
    }
}

/// Both sides of one number of clients.
#[derive(Default)]
struct Sides {
    quiet: Vec<Outcome>,
    flooded: Vec<Outcome>,
    /// The strangers' connections each second.
    strangers: Vec<f64>,
}

/// Prints the table: each number of clients without and with the flood.
pub(crate) fn compare(ours: &Server, options: &Options) {
    let mut strangers = STRANGERS;
    let mut sides: Vec<Sides> = options.clients.iter().map(|_| Sides::default()).collect();
    for _ in 0..options.rounds {
        for (clients, sides) in options.clients.iter().zip(&mut sides) {
            sides.quiet.push(load::run(ours, Shape::Tls, *clients, options.seconds));
            let siege = Siege::lay(ours.address());
            strangers = strangers.min(siege.strangers);
            sides.flooded.push(load::run(ours, Shape::Tls, *clients, options.seconds));
            sides.strangers.push(siege.lift());
        }
    }
    println!("\n### {strangers} strangers from {ADDRESSES} addresses\n");
    if strangers < STRANGERS {
        println!("The limit on open files carries {strangers} of {STRANGERS} strangers.\n");
    }
    println!(
        "| clients | p50 quiet | p50 flooded | p99 quiet | p99 flooded | p99 flooded/quiet | per s quiet | per s flooded | not answered | strangers' connections per s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (clients, sides) in options.clients.iter().zip(&sides) {
        let median =
            |outcomes: &[Outcome], field: fn(&Outcome) -> f64| quartiles(outcomes.iter().map(field).collect()).1;
        let both = |field| (median(&sides.quiet, field), median(&sides.flooded, field));
        let ((p50, p50_flooded), (p99, p99_flooded)) = (both(|outcome| outcome.p50), both(|outcome| outcome.p99));
        let (rate, rate_flooded) = both(|outcome| outcome.rate);
        let pairs = sides.flooded.iter().zip(&sides.quiet);
        let (low, ratio, high) = quartiles(pairs.map(|(flooded, quiet)| flooded.p99 / quiet.p99).collect());
        let failures: u64 = sides.quiet.iter().chain(&sides.flooded).map(|outcome| outcome.failures).sum();
        println!(
            "| {clients} | {p50:.2} ms | {p50_flooded:.2} ms | {p99:.2} ms | {p99_flooded:.2} ms | {ratio:.2} ({low:.2}-{high:.2}) | {rate:.0} | {rate_flooded:.0} | {failures} | {:.0} |",
            quartiles(sides.strangers.clone()).1,
        );
    }
    println!(
        "\n{} rounds of {:?}, quiet and flooded in turns; the strangers share the clients' CPU with the lowest priority.",
        options.rounds, options.seconds,
    );
    // A table of minutes is seen row by row.
    std::io::stdout().flush().unwrap();
}
