//! Time as an argument. Deciding code takes a [`jiff::Timestamp`]; the loops ask a [`Clock`], which tests replace.
//! Deadlines use the runtime's monotonic time instead, which a stepped wall clock does not disturb.

use jiff::Timestamp;

/// The source of wall-clock time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
