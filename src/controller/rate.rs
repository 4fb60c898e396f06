//! How often something happens, over the last minute. Pure and of a fixed size: time is an argument, counted from when
//! the counting began.

use std::time::Duration;

/// Over how many seconds rates are taken.
const SECONDS: u64 = 60;

/// Counts by seconds; those of a minute ago give way.
#[derive(Debug, Clone)]
pub struct Rate {
    seconds: [Second; SECONDS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    /// Which second this is, and how often it happened in it.
    at: u64,
    count: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { seconds: [Second::default(); SECONDS as usize] }
    }
}

impl Rate {
    /// It happened `times` times.
    pub fn count(&mut self, now: Duration, times: u64) {
        let at = now.as_secs();
        let second = &mut self.seconds[slot(at)];
        if second.at != at {
            *second = Second { at, count: 0 };
        }
        second.count += times;
    }

    /// How often it happened in a second, on the average of the last minute, or of the time since the counting began if
    /// that is less. To a tenth.
    #[must_use]
    pub fn per_second(&self, now: Duration) -> f64 {
        let since = now.as_secs().saturating_sub(SECONDS - 1);
        let count: u64 = self.seconds.iter().filter(|second| second.at >= since).map(|second| second.count).sum();
        let span = now.as_secs_f64().clamp(1.0, SECONDS as f64);
        (count as f64 / span * 10.0).round() / 10.0
    }
}

fn slot(at: u64) -> usize {
    usize::try_from(at % SECONDS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_after_a_minute() {
        let mut rate = Rate::default();
        let at = |seconds: f64| Duration::from_secs_f64(seconds);
        assert_eq!(rate.per_second(at(0.0)), 0.0);
        rate.count(at(0.5), 10);
        assert_eq!(rate.per_second(at(0.6)), 10.0, "not a rate that one moment would give");
        rate.count(at(4.0), 10);
        assert_eq!(rate.per_second(at(5.0)), 4.0);
        assert_eq!(rate.per_second(at(59.0)), 0.3);
        assert_eq!(rate.per_second(at(60.5)), 0.2, "the first second is over");
        rate.count(at(64.0), 60);
        assert_eq!(rate.per_second(at(64.5)), 1.0, "the same slot, a minute later");
        assert_eq!(rate.per_second(at(300.0)), 0.0);
    }
}
