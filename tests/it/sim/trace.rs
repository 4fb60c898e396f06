//! What happened in a simulation, line by line with its time. Nothing in it is random: ids and secrets stay out, and the
//! lines of one moment are in alphabetical order.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// The lines of one simulation. Clones write to the same one.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    began: Instant,
    lines: Arc<Mutex<Vec<(u128, String)>>>,
}

impl Trace {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }

    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    pub(crate) fn say(&self, what: impl fmt::Display) {
        self.lines.lock().unwrap().push((self.began.elapsed().as_micros(), what.to_string()));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.sort();
        for (at, line) in lines {
            writeln!(f, "{:>5}.{:06} {line}", at / 1_000_000, at % 1_000_000)?;
        }
        Ok(())
    }
}
