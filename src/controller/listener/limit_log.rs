//! Counts how often each limit was reached, and says when to log it: at once, then at most every ten seconds for each,
//! with the number since the last line. A flood must not become a flood of lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often one limit is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A limit that a client can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Connections in all.
    Connections,
    /// Connections from one address.
    ConnectionsPerAddress,
    /// Replies held back in all.
    Held,
    /// Replies held back for one address whose clients have no certificate.
    HeldPerAddress,
    /// The time for handshake and request.
    ReceiveDeadline,
    /// The time for the reply.
    SendDeadline,
    /// The length of a request.
    RequestSize,
    /// File descriptors, or whatever else made accepting fail.
    Accept,
}

impl Limit {
    /// The word in the log and in the counters.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections-per-address",
            Self::Held => "held-replies",
            Self::HeldPerAddress => "held-replies-per-address",
            Self::ReceiveDeadline => "receive-deadline",
            Self::SendDeadline => "send-deadline",
            Self::RequestSize => "request-size",
            Self::Accept => "accept",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct LimitLog(BTreeMap<Limit, Reached>);

#[derive(Debug, Default)]
struct Reached {
    total: u64,
    since: u64,
    logged: Option<Instant>,
}

impl LimitLog {
    /// Counts; returns how often it was reached since the last line, if a line is due.
    pub(super) fn reached(&mut self, limit: Limit, now: Instant) -> Option<u64> {
        let reached = self.0.entry(limit).or_default();
        reached.total += 1;
        reached.since += 1;
        let due = reached.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_EVERY);
        due.then(|| {
            reached.logged = Some(now);
            std::mem::take(&mut reached.since)
        })
    }

    /// How often each was reached.
    pub(super) fn totals(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(limit, reached)| (limit.as_str().to_owned(), reached.total)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_limit_once_in_a_while() {
        let (mut log, start) = (LimitLog::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(log.reached(Limit::Held, at(0)), Some(1));
        assert_eq!(log.reached(Limit::Held, at(1)), None);
        assert_eq!(log.reached(Limit::Accept, at(2)), Some(1), "each by itself");
        assert_eq!(log.reached(Limit::Held, at(9_999)), None);
        assert_eq!(log.reached(Limit::Held, at(10_000)), Some(3));
        assert_eq!(log.reached(Limit::Held, at(10_001)), None);
        assert_eq!(log.totals(), BTreeMap::from([("held-replies".to_owned(), 5), ("accept".to_owned(), 1)]));
    }
}
