//! Times as people say them: "2 min ago", "in 23 h". Pure. Programs get RFC 3339 instead.

use jiff::Timestamp;
use serde_json::Value;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How far `at` is from `now`, in one unit and rounded down; hours up to two days.
#[must_use]
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let span = span(seconds.unsigned_abs());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {span}"),
        _ => format!("{span} ago"),
    }
}

/// A span of time in words.
#[must_use]
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        _ if seconds < MINUTE => format!("{seconds} s"),
        _ if seconds < HOUR => format!("{} min", seconds / MINUTE),
        _ if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    }
}

/// A time out of the controller's answer as a table shows it; what is no time stays as it is.
#[must_use]
pub(super) fn cell(value: &Value, now: Timestamp) -> String {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_or_else(|_| text.to_owned(), |at| relative(at, now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_767_323_045).unwrap()
    }

    #[test]
    fn says_how_far_away_it_is() {
        for (seconds, future, past) in [
            (1, "in 1 s", "1 s ago"),
            (59, "in 59 s", "59 s ago"),
            (60, "in 1 min", "1 min ago"),
            (150, "in 2 min", "2 min ago"),
            (3_599, "in 59 min", "59 min ago"),
            (3_600, "in 1 h", "1 h ago"),
            (24 * 3_600 - 1, "in 23 h", "23 h ago"),
            (24 * 3_600, "in 24 h", "24 h ago"),
            (48 * 3_600 - 1, "in 47 h", "47 h ago"),
            (48 * 3_600, "in 2 days", "2 days ago"),
            (365 * 24 * 3_600, "in 365 days", "365 days ago"),
        ] {
            let span = jiff::SignedDuration::from_secs(seconds);
            assert_eq!(relative(now() + span, now()), future);
            assert_eq!(relative(now() - span, now()), past);
        }
        assert_eq!(relative(now(), now()), "now");
        // The ends of time do not overflow.
        assert!(relative(Timestamp::MAX, Timestamp::MIN).starts_with("in "));
        assert!(relative(Timestamp::MIN, Timestamp::MAX).ends_with(" ago"));
    }

    #[test]
    fn cells_show_what_is_no_time_as_it_is() {
        assert_eq!(cell(&json!((now() - jiff::SignedDuration::from_secs(120)).to_string()), now()), "2 min ago");
        assert_eq!(cell(&json!("never"), now()), "never");
        assert_eq!(cell(&Value::Null, now()), "");
    }
}
