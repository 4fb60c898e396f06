//! From when until when a certificate holds, and how that stands at a moment. Times are arguments.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::UnixTime;

use crate::cluster::Validity;

/// How long the cluster's CA holds.
pub const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// How long every other certificate holds.
pub const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How long before its making a certificate begins, for hosts whose clocks are behind.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// The first and the last moment of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Lifetime {
    /// The life of something that is made now, in whole seconds, since certificates know no smaller ones.
    #[must_use]
    pub fn beginning(now: Timestamp, life: SignedDuration) -> Self {
        let now = at_second(now.as_second());
        Self { not_before: later(now, -BACKDATED), not_after: later(now, life) }
    }

    /// The same, ending no later than `end`.
    #[must_use]
    pub fn until(self, end: Timestamp) -> Self {
        Self { not_after: self.not_after.min(end), ..self }
    }

    /// Whether it holds at that moment.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// From when on it should be replaced: two thirds of it have passed.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        later(self.not_before, SignedDuration::from_secs(life.as_secs() / 3 * 2))
    }

    /// How it stands at that moment. `replaced` says that the CA behind it is being replaced.
    #[must_use]
    pub fn validity(&self, now: Timestamp, replaced: bool) -> Validity {
        if now < self.not_before {
            Validity::Outside { limit: self.not_before }
        } else if now > self.not_after {
            Validity::Outside { limit: self.not_after }
        } else if replaced || now >= self.renewal() {
            Validity::RenewalDue
        } else {
            Validity::Valid
        }
    }
}

/// `at` and `by` together, or the end of time.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

fn at_second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// The moment as webpki has it; times before 1970 become 1970.
pub(super) fn to_unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().try_into().unwrap_or(0)))
}

/// The moment as the rest of the program has it.
pub(super) fn from_unix(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).map_or(Timestamp::MAX, at_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// One year, renewed at two thirds.
    #[test]
    fn stands_differently_as_time_passes() {
        let life = Lifetime::beginning(at("2026-01-01T00:00:00.5Z"), CERTIFICATE_LIFE);
        assert_eq!((life.not_before, life.not_after), (at("2025-12-31T23:00:00Z"), at("2027-01-01T00:00:00Z")));
        for (now, replaced, validity) in [
            ("2025-12-31T22:59:59Z", false, Validity::Outside { limit: life.not_before }),
            ("2025-12-31T23:00:00Z", false, Validity::Valid),
            ("2026-08-31T00:00:00Z", false, Validity::Valid),
            ("2026-03-01T00:00:00Z", true, Validity::RenewalDue),
            ("2026-09-02T00:00:00Z", false, Validity::RenewalDue),
            ("2027-01-01T00:00:00Z", false, Validity::RenewalDue),
            ("2027-01-01T00:00:01Z", true, Validity::Outside { limit: life.not_after }),
        ] {
            assert_eq!(life.validity(at(now), replaced), validity, "{now}");
            assert_eq!(life.holds(at(now)), !matches!(validity, Validity::Outside { .. }), "{now}");
        }
        assert_eq!(life.until(at("2026-02-01T00:00:00Z")).not_after, at("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        assert_eq!(from_unix(to_unix(Timestamp::MIN)), Timestamp::UNIX_EPOCH);
        assert_eq!(from_unix(UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX))), Timestamp::MAX);
        assert_eq!(Lifetime::beginning(Timestamp::MAX, AUTHORITY_LIFE).not_after, Timestamp::MAX);
        assert_eq!(Lifetime::beginning(Timestamp::MIN, AUTHORITY_LIFE).not_before, Timestamp::MIN);
    }
}
