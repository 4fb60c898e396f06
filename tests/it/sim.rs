//! A whole cluster in one thread, with a clock that passes only while nobody is busy: the real controller, the real
//! join, fake Docker and GlusterFS with the oddities that were measured, and a storm of faults that a seed decides.
//!
//! A seed that fails is printed as `SEED=N`; `CLUSTERCTL_SEED=N` runs that one alone with what happened in it, and
//! `CLUSTERCTL_SEEDS=N` so many of them. The same seed gives the same trace, which
//! [`the_same_seed_gives_the_same_trace`] holds it to: chance comes from the dice alone. It does not imitate the kernel
//! (sockets, disks), and where a test wants those it is on lab hosts.

pub(crate) mod agent;
pub(crate) mod chance;
pub(crate) mod cluster;
mod engine;
pub(crate) mod network;
mod plan;
mod pool;
mod run;
mod trace;

use run::run;

/// So many seeds unless the environment says otherwise.
const SEEDS: u64 = 200;

/// A number out of the environment, such as which seeds to run.
#[expect(clippy::disallowed_methods, reason = "what to run is asked of the environment, not of the product")]
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs seeds on every processor; prints those that fail.
fn sweep(seeds: &[u64]) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if std::panic::catch_unwind(|| run(seed)).is_err() {
                        eprintln!("SEED={seed}");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "SEED={failed:?}: run one with CLUSTERCTL_SEED=N and --no-capture");
}

/// S2-61, S2-63, S2-67, S2-68; I1 to I12: whatever happens while hosts join, they all get there once it is over, and
/// nothing is lost, done twice or done by force.
#[test]
fn every_storm_ends_in_a_cluster() {
    if let Some(seed) = setting("CLUSTERCTL_SEED") {
        println!("{}", run(seed));
        return;
    }
    let count = setting("CLUSTERCTL_SEEDS").unwrap_or(SEEDS);
    sweep(&(1..=count).collect::<Vec<_>>());
}

/// Seeds that once found something; `tests/ROBUSTNESS.md` says what.
#[test]
fn seeds_that_found_something() {
    sweep(&FOUND);
}

/// See [`seeds_that_found_something`].
const FOUND: [u64; 7] = [24, 30, 54, 120, 178, 187, 192];

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 14, 159] {
        let (first, second) = (run(seed).to_string(), run(seed).to_string());
        let differing = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        assert_eq!((differing, first.len()), (None, second.len()), "seed {seed}");
    }
}
