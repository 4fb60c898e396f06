//! What the writer measures of its transactions. Bounded, whatever the load: the last [`WINDOW`] of them, and sums for
//! each of the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::controller::rate::Rate;

/// How many transactions are looked back on: a few seconds under load, and what matters is what happens lately.
const WINDOW: usize = 1_024;

/// The transactions that carried commands, of late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CommitFigures {
    /// How many transactions the latencies and the sizes are about; [`max_window`](Self::max_window) at most.
    pub window: u64,
    pub max_window: u64,
    /// From the begin of the transaction until it was durable.
    pub latency_p50_us: u64,
    pub latency_p99_us: u64,
    pub latency_max_us: u64,
    /// Commands in one transaction.
    pub batch_p50: u64,
    pub batch_p99: u64,
    pub batch_max: u64,
    /// Over the last minute.
    pub commands_per_second: f64,
    pub transactions_per_second: f64,
}

/// Keeps the measurements.
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    recent: VecDeque<Transaction>,
    commands: Rate,
    transactions: Rate,
}

#[derive(Debug, Clone, Copy)]
struct Transaction {
    micros: u64,
    commands: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { begun: now, recent: VecDeque::new(), commands: Rate::default(), transactions: Rate::default() }
    }

    /// Notes a transaction that has just become durable.
    pub(super) fn note(&mut self, now: Instant, took: Duration, commands: u64) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.recent.push_back(Transaction { micros, commands });
        let at = now.saturating_duration_since(self.begun);
        self.commands.count(at, commands);
        self.transactions.count(at, 1);
    }

    pub(super) fn figures(&self, now: Instant) -> CommitFigures {
        let sorted = |of: fn(&Transaction) -> u64| {
            let mut values: Vec<u64> = self.recent.iter().map(of).collect();
            values.sort_unstable();
            move |percent: usize| values.len().checked_sub(1).map_or(0, |last| values[last * percent / 100])
        };
        let (latency, batch) = (sorted(|one| one.micros), sorted(|one| one.commands));
        let at = now.saturating_duration_since(self.begun);
        CommitFigures {
            window: self.recent.len() as u64,
            max_window: WINDOW as u64,
            latency_p50_us: latency(50),
            latency_p99_us: latency(99),
            latency_max_us: latency(100),
            batch_p50: batch(50),
            batch_p99: batch(99),
            batch_max: batch(100),
            commands_per_second: self.commands.per_second(at),
            transactions_per_second: self.transactions.per_second(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_back_on_the_last_ones() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert_eq!(meter.figures(start), CommitFigures { max_window: WINDOW as u64, ..CommitFigures::default() });
        for n in 1..=2 * WINDOW as u64 {
            meter.note(start + Duration::from_millis(n), Duration::from_micros(n), n % 4 + 1);
        }
        let figures = meter.figures(start + Duration::from_secs(3));
        assert_eq!((figures.window, figures.latency_max_us, figures.latency_p50_us), (1_024, 2_048, 1_536));
        assert_eq!((figures.latency_p99_us, figures.batch_p50, figures.batch_max), (2_037, 2, 4));
        assert!(figures.transactions_per_second > 500.0, "{figures:?}");
        assert!(meter.recent.capacity() < 2 * WINDOW, "it does not grow with what it has seen");
    }
}
