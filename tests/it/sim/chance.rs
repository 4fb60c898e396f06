//! All chance of a simulation: numbers that follow from its seed.
//!
//! Everything that goes its own way throws its own dice, so that it does not matter who comes first of those who act at
//! the same moment: the runtime wakes them in an order of its own.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The dice of one simulation. Clones throw the same dice.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// Dice of their own for somebody.
    pub(crate) fn own(&self, who: u64) -> Self {
        let seed = *self.0.lock().unwrap();
        let own = Self::of(seed ^ who.wrapping_mul(0xd6e8_feb8_6659_fd93));
        own.next();
        own
    }

    /// The next number: SplitMix64.
    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// Whether something happens that happens so often in a hundred times.
    pub(crate) fn percent(&self, often: usize) -> bool {
        self.below(100) < often
    }

    /// A time between so many milliseconds, to the microsecond.
    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        let (least, most) = (range.start() * 1_000, range.end() * 1_000);
        Duration::from_micros(least + self.next() % (most - least + 1))
    }

    /// Between 0 and 1.
    pub(crate) fn fraction(&self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}
