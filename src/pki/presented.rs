//! What a controller has shown of itself, and whether the two clocks and its certificate go together.
//!
//! Time is judged after the reply, which brings the controller's time: inside the handshake a wrong clock could only be
//! called a bad certificate, and the operator would look in the wrong place.

use jiff::{SignedDuration, Timestamp};

use super::lifetime::Lifetime;
use crate::cluster::KeyFingerprint;

/// How far the clocks of host and controller may lie apart; the controller judges registrations by the same limit.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_secs(300);

/// What the other side has proved in a handshake: that it holds a certificate of this CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The CA that signed the controller's certificate.
    pub authority: KeyFingerprint,
    /// From when until when that certificate holds.
    pub lifetime: Lifetime,
}

/// Why times do not go together. The exchange itself may have taken place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    #[error("the clock of this host is {}: it shows {local}, the controller's {server}{}", away(.server, .local), suspicion(*.suspect))]
    Differs { server: Timestamp, local: Timestamp, suspect: Suspect },
    #[error("the controller's certificate {}: the time there is {now}", outside(.lifetime, .now))]
    Outside { lifetime: Lifetime, now: Timestamp },
}

/// Which clock does not fit the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspect {
    Host,
    Controller,
    Unknown,
}

impl Presented {
    /// Judges clocks and certificate by the times that came with the reply. A reply without the controller's time is
    /// judged by this host's clock: leaving it out gains nothing.
    ///
    /// # Errors
    /// Names the difference.
    pub fn judge(&self, server: Option<Timestamp>, local: Timestamp) -> Result<(), ClockError> {
        let now = server.unwrap_or(local);
        if now.duration_since(local).abs() > MAX_SKEW {
            let suspect = match (self.lifetime.holds(now), self.lifetime.holds(local)) {
                (true, false) => Suspect::Host,
                (false, true) => Suspect::Controller,
                (true, true) | (false, false) => Suspect::Unknown,
            };
            return Err(ClockError::Differs { server: now, local, suspect });
        }
        if self.lifetime.holds(now) { Ok(()) } else { Err(ClockError::Outside { lifetime: self.lifetime, now }) }
    }
}

fn away(server: &Timestamp, local: &Timestamp) -> String {
    let by = local.duration_since(*server);
    format!("{} {} the controller's", in_words(by), if by.is_negative() { "behind" } else { "ahead of" })
}

fn suspicion(suspect: Suspect) -> &'static str {
    match suspect {
        Suspect::Host => "; by the controller's certificate, it is this host's that is wrong",
        Suspect::Controller => "; by the controller's certificate, it is the controller's that is wrong",
        Suspect::Unknown => "",
    }
}

fn outside(lifetime: &Lifetime, now: &Timestamp) -> String {
    if *now > lifetime.not_after {
        format!("ended {} ago, at {}", in_words(now.duration_since(lifetime.not_after)), lifetime.not_after)
    } else {
        format!("begins in {}, at {}", in_words(lifetime.not_before.duration_since(*now)), lifetime.not_before)
    }
}

/// `3 years and 12 days`: the two largest units that are not zero. A year has 365 days.
fn in_words(duration: SignedDuration) -> String {
    const UNITS: [(u64, &str); 5] =
        [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let mut left = duration.as_secs().unsigned_abs();
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let count = left / unit;
        left %= unit;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if parts.is_empty() { "less than a second".to_owned() } else { parts.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::super::lifetime::CERTIFICATE_LIFE;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn judged(server: Option<&str>, local: &str) -> Result<(), String> {
        let lifetime = Lifetime::beginning(at("2026-01-01T00:00:00Z"), CERTIFICATE_LIFE);
        let presented = Presented { authority: KeyFingerprint::of_public_key(b"ca"), lifetime };
        presented.judge(server.map(at), at(local)).map_err(|error| error.to_string())
    }

    #[test]
    fn clocks_that_go_together_are_no_trouble() {
        assert_eq!(judged(Some("2026-06-01T00:00:00Z"), "2026-06-01T00:05:00Z"), Ok(()));
        assert_eq!(judged(Some("2026-06-01T00:05:00Z"), "2026-06-01T00:00:00Z"), Ok(()));
        assert_eq!(judged(None, "2026-06-01T00:00:00Z"), Ok(()));
    }

    /// A wrong clock is called that, with the difference and, where the certificate tells, whose it is.
    #[test]
    fn wrong_clocks_are_named() {
        insta::assert_snapshot!(judged(Some("2026-06-01T00:00:00Z"), "1970-01-01T00:00:10Z").unwrap_err(), @"the clock of this host is 56 years and 164 days behind the controller's: it shows 1970-01-01T00:00:10Z, the controller's 2026-06-01T00:00:00Z; by the controller's certificate, it is this host's that is wrong");
        insta::assert_snapshot!(judged(Some("2031-06-01T00:00:00Z"), "2026-06-01T00:00:00Z").unwrap_err(), @"the clock of this host is 5 years and 1 day behind the controller's: it shows 2026-06-01T00:00:00Z, the controller's 2031-06-01T00:00:00Z; by the controller's certificate, it is the controller's that is wrong");
        insta::assert_snapshot!(judged(Some("2026-06-01T00:00:00Z"), "2026-06-01T00:07:30Z").unwrap_err(), @"the clock of this host is 7 minutes and 30 seconds ahead of the controller's: it shows 2026-06-01T00:07:30Z, the controller's 2026-06-01T00:00:00Z");
    }

    /// Also a controller that keeps its time to itself is held to its certificate.
    #[test]
    fn certificates_that_do_not_hold_are_named() {
        insta::assert_snapshot!(judged(Some("2027-01-04T00:00:00Z"), "2027-01-04T00:01:00Z").unwrap_err(), @"the controller's certificate ended 3 days ago, at 2027-01-01T00:00:00Z: the time there is 2027-01-04T00:00:00Z");
        insta::assert_snapshot!(judged(None, "2029-01-01T06:00:00Z").unwrap_err(), @"the controller's certificate ended 2 years and 1 day ago, at 2027-01-01T00:00:00Z: the time there is 2029-01-01T06:00:00Z");
        insta::assert_snapshot!(judged(None, "2025-12-31T22:59:59Z").unwrap_err(), @"the controller's certificate begins in 1 second, at 2025-12-31T23:00:00Z: the time there is 2025-12-31T22:59:59Z");
    }

    #[test]
    fn durations_are_read_like_a_person_would() {
        for (seconds, words) in [
            (0, "less than a second"),
            (1, "1 second"),
            (-61, "1 minute and 1 second"),
            (7_200, "2 hours"),
            (366 * 86_400, "1 year and 1 day"),
            (365 * 86_400 + 59, "1 year and 59 seconds"),
        ] {
            assert_eq!(in_words(SignedDuration::from_secs(seconds)), words);
        }
    }
}
