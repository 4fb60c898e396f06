//! Whether the cluster is large enough to start (S2-43 to S2-45, S2-58 to S2-60). Pure.
//!
//! Once open for given thresholds, the gate stays open for them and lower ones, also when nodes leave and after a
//! restart; asking for more of either arms it again, and what it opens for then takes the place of what it opened for.

use super::command::Thresholds;
use super::state::RoleCounts;

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `newly` is set when this has to be recorded first.
    Open {
        newly: bool,
    },
    Waiting {
        have: RoleCounts,
        need: Thresholds,
    },
}

/// Judges `have` against `need` (`None`: there is no minimum), given what it has opened for before.
#[must_use]
pub fn evaluate(need: Option<Thresholds>, have: RoleCounts, latch: Option<Thresholds>) -> Gate {
    let Some(need) = need else { return Gate::Open { newly: false } };
    let covers = |managers: u32, workers: u32| managers >= need.managers && workers >= need.workers;
    if latch.is_some_and(|latch| covers(latch.managers, latch.workers)) {
        return Gate::Open { newly: false };
    }
    if covers(have.managers, have.workers) { Gate::Open { newly: true } } else { Gate::Waiting { have, need } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(managers: u32, workers: u32) -> Option<Thresholds> {
        Some(Thresholds { managers, workers })
    }

    fn have(managers: u32, workers: u32) -> RoleCounts {
        RoleCounts { managers, workers }
    }

    /// S2-58, S2-59, S2-60.
    #[test]
    fn opens_at_the_minimum_of_both() {
        assert_eq!(evaluate(None, have(0, 0), None), Gate::Open { newly: false });
        assert_eq!(
            evaluate(need(1, 2), have(5, 1), None),
            Gate::Waiting { have: have(5, 1), need: Thresholds { managers: 1, workers: 2 } }
        );
        assert_eq!(evaluate(need(1, 2), have(1, 2), None), Gate::Open { newly: true });
    }

    /// S2-61: decisions remain stable.
    #[test]
    fn stays_open_until_more_is_asked_for() {
        assert_eq!(evaluate(need(1, 2), have(0, 0), need(1, 2)), Gate::Open { newly: false });
        assert_eq!(evaluate(need(1, 1), have(0, 0), need(1, 2)), Gate::Open { newly: false });
        assert!(matches!(evaluate(need(1, 3), have(1, 2), need(1, 2)), Gate::Waiting { .. }));
        assert_eq!(evaluate(need(1, 3), have(1, 3), need(1, 2)), Gate::Open { newly: true });
    }
}
