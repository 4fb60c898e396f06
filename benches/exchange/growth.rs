//! What grows with the nodes on record: the cost of a registration, memory, the file, and a restart after kill -9; each
//! beside etcd with as many keys.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{self, Outcome, Shape};
use crate::peers::{Server, ask};
use crate::{Options, quartiles};

/// How many clients register at the same time.
const CLIENTS: usize = 64;

/// How often each server is killed and started again.
const RESTARTS: usize = 5;

/// From the last registration until everything is folded: the store folds what is a minute old.
const FOLDED_WITHIN: Duration = Duration::from_secs(150);

/// How long memory and file are left alone before they are looked at.
const SETTLED: Duration = Duration::from_secs(5);

/// Prints the tables for each of these numbers of nodes.
pub(crate) fn compare(options: &Options, scratch: &Path) {
    let mut ours = Server::ours(options, &scratch.join("full"));
    let mut etcd = Server::etcd(&scratch.join("etcd-full"));
    if let Err(why) = &etcd {
        println!("* etcd is **missing** from this run: {why}");
    }
    let (empty_rss, empty_file) = (ours.rss_kib(), ours.state_kib());
    println!("\n### With nodes on record, {CLIENTS} clients\n");
    println!(
        "| nodes | per s, empty | per s, filled | ratio | CPU per op, empty | filled | RSS after a fold | more than empty, each | file | each | etcd: RSS | its file | kill -9 to the first registration | etcd: to the first put |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut present = 0;
    for &nodes in &options.growth {
        load::prefill(&ours, Shape::Exchange, nodes - present);
        if let Ok(etcd) = &etcd {
            load::prefill(etcd, Shape::HttpKept, nodes - present);
        }
        present = nodes;
        // Before anything else is registered, so that the number of nodes is the one in the table.
        let (folded, sizes) = at_rest(&ours);
        let (rss, file) = sizes;
        let etcd_sizes = etcd.as_ref().ok().map(|etcd| (etcd.rss_kib(), etcd.state_kib()));
        let each = |kib: u64, empty: u64| kib.saturating_sub(empty) as f64 * 1024.0 / nodes as f64;

        let (mut empties, mut filled) = (Vec::<Outcome>::new(), Vec::<Outcome>::new());
        for round in 0..options.rounds {
            let empty = Server::ours(options, &scratch.join(format!("empty-{nodes}-{round}")));
            empties.push(load::run(&empty, Shape::Exchange, CLIENTS, options.seconds));
            filled.push(load::run(&ours, Shape::Exchange, CLIENTS, options.seconds));
        }
        let ratio = quartiles(filled.iter().zip(&empties).map(|(filled, empty)| filled.rate / empty.rate).collect());
        let median =
            |outcomes: &[Outcome], field: fn(&Outcome) -> f64| quartiles(outcomes.iter().map(field).collect()).1;
        let rate = |outcomes: &[Outcome]| median(outcomes, |one| one.rate);
        let cpu = |outcomes: &[Outcome]| median(outcomes, |one| one.cpu_us);

        let restarts = |server: &mut Server, shape| {
            let times = (0..RESTARTS).map(|_| {
                // Something that is not folded: what a crash meets in practice.
                load::prefill(server, shape, 1_000);
                server.kill_and_restart(shape).as_secs_f64() * 1e3
            });
            let (low, median, high) = quartiles(times.collect());
            format!("{median:.0} ms ({low:.0}-{high:.0})")
        };
        let restart = restarts(&mut ours, Shape::Exchange);
        let etcd_restart = etcd.as_mut().map_or_else(|_| "missing".to_owned(), |etcd| restarts(etcd, Shape::HttpKept));
        println!(
            "| {nodes} | {:.0} | {:.0} | {:.2} ({:.2}-{:.2}) | {:.1} us | {:.1} us | {} MiB | {:.0} B | {} MiB | {:.0} B | {} | {} | {restart} | {etcd_restart} |",
            rate(&empties),
            rate(&filled),
            ratio.1,
            ratio.0,
            ratio.2,
            cpu(&empties),
            cpu(&filled),
            rss / 1024,
            each(rss, empty_rss),
            file / 1024,
            each(file, empty_file),
            etcd_sizes.map_or_else(|| "missing".to_owned(), |(rss, _)| format!("{} MiB", rss / 1024)),
            etcd_sizes.map_or_else(|| "missing".to_owned(), |(_, file)| format!("{} MiB", file / 1024)),
        );
        // A table of minutes is seen row by row.
        std::io::stdout().flush().unwrap();
        assert!(folded, "{nodes} nodes were not folded within {FOLDED_WITHIN:?}");
        // The nodes of the rounds and of the restarts are on record as well.
        present += filled.iter().map(|outcome| outcome.requests).sum::<u64>() + RESTARTS as u64 * 1_000;
    }
    println!(
        "\n{} rounds of {:?}, an empty controller and the filled one in turns; {RESTARTS} restarts, each after 1,000 more; RSS of the empty one {} MiB. The empty one is too young to fold its journal, which the filled one does every 10,000 registrations: whether CPU grows with the nodes, the rows tell. A peer for memory per node is missing: etcd keeps keys, not nodes.",
        options.rounds,
        options.seconds,
        empty_rss / 1024,
    );
}

/// Waits until everything is folded; RSS and file in KiB then.
fn at_rest(ours: &Server) -> (bool, (u64, u64)) {
    let begun = Instant::now();
    loop {
        std::thread::sleep(SETTLED);
        let sizes = (ours.rss_kib(), ours.state_kib());
        let status = ask(ours, "status");
        if status["Store"]["Journal"] == 0 {
            return (true, sizes);
        }
        if begun.elapsed() > FOLDED_WITHIN {
            return (false, sizes);
        }
    }
}
