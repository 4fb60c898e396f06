//! How long to wait before asking again: doubling, with jitter, so that nodes started together spread out. Pure;
//! chance comes in as an argument.

use std::sync::Arc;
use std::time::Duration;

/// Where chance comes from: a number between 0 and 1.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// A doubling wait between a first and a longest one.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// For a controller that said "waiting" without saying how long: 1 s doubling to 30 s.
    #[must_use]
    pub fn waiting() -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// For a controller that cannot be reached: it may be about to start.
    #[must_use]
    pub fn unreachable() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(30))
    }

    fn between(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait: between half and the whole of the step, as `chance` (0 to 1) says.
    pub fn next(&mut self, chance: f64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// Starts over: something has changed.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A chance between 0 and 1 out of random bytes.
#[must_use]
pub fn chance(random: [u8; 4]) -> f64 {
    f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2-63: back off and retry, 1 s doubling to 30 s, jittered.
    #[test]
    fn doubles_up_to_its_limit_and_starts_over() {
        let mut backoff = Backoff::waiting();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    }

    #[test]
    fn chance_is_between_zero_and_one() {
        assert!((chance([0; 4]) - 0.0).abs() < f64::EPSILON && (chance([0xff; 4]) - 1.0).abs() < f64::EPSILON);
    }
}
