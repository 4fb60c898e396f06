//! How often strangers and nodes may ask, and how often a token may be wrong. Pure: time is an argument, counted from
//! the controller's start.
//!
//! Every table is bounded, whoever fills it: one that is full forgets the half that was not asked about lately, and who
//! is forgotten begins anew. That is to the good of whoever floods, and costs him as many addresses as the table holds.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::cluster::{NodeId, ShortId};

/// What a table remembers at most, twice: what was asked about lately, and what was before.
pub const TABLE: usize = 8_192;
/// How long a block lasts.
pub const BLOCK: Duration = Duration::from_secs(60);
/// Over how long failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Of one kind of refusal at most one line in this time goes to the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The rates; settings of `master`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Requests from one address that nobody has vouched for.
    pub requests_per_second: u32,
    pub requests_burst: u32,
    /// Registrations of one node, and reports that change something.
    pub node_requests_per_second: u32,
    pub node_requests_burst: u32,
    /// Wrong tokens under one id from one address, in a minute.
    pub token_failures_per_minute: u32,
    /// The same for all ids together: many nodes may sit behind one address.
    pub token_failures_per_address: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            requests_per_second: 20,
            requests_burst: 100,
            node_requests_per_second: 1,
            node_requests_burst: 10,
            token_failures_per_minute: 20,
            token_failures_per_address: 200,
        }
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Requests,
    NodeRequests,
    TokenFailures,
}

impl Limit {
    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests of strangers",
            Self::NodeRequests => "registrations of one node",
            Self::TokenFailures => "wrong tokens",
        }
    }
}

/// A request that came too soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooSoon {
    pub limit: Limit,
    pub retry_after: Duration,
    /// How many there were since the last line in the log, this one included, if it is time for one.
    pub log: Option<u64>,
}

/// What was refused since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitCounters {
    pub requests: u64,
    pub node_requests: u64,
    pub token_failures: u64,
    pub blocks: u64,
}

/// A source of requests: an address, or for IPv6 the network that one host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// All limits with what they remember.
#[derive(Debug)]
pub struct Limits {
    requests: Buckets<Source>,
    node_requests: Buckets<NodeId>,
    failures: Failures<(Source, ShortId)>,
    failures_of_address: Failures<Source>,
    counters: LimitCounters,
    said: [Said; 3],
}

impl Limits {
    #[must_use]
    pub fn new(settings: &LimitSettings) -> Self {
        Self {
            requests: Buckets::new(settings.requests_per_second, settings.requests_burst),
            node_requests: Buckets::new(settings.node_requests_per_second, settings.node_requests_burst),
            failures: Failures::new(settings.token_failures_per_minute),
            failures_of_address: Failures::new(settings.token_failures_per_address),
            counters: LimitCounters::default(),
            said: Default::default(),
        }
    }

    /// A request that nobody has vouched for.
    ///
    /// # Errors
    /// There were too many from that address.
    pub fn stranger(&mut self, address: IpAddr, now: Duration) -> Result<(), TooSoon> {
        self.requests.take(address.into(), now).map_err(|retry_after| {
            self.counters.requests += 1;
            self.too_soon(Limit::Requests, retry_after, now)
        })
    }

    /// A registration of a member, or a report of one that changes something.
    ///
    /// # Errors
    /// There were too many of that node.
    pub fn node(&mut self, id: &NodeId, now: Duration) -> Result<(), TooSoon> {
        self.node_requests.take(id.clone(), now).map_err(|retry_after| {
            self.counters.node_requests += 1;
            self.too_soon(Limit::NodeRequests, retry_after, now)
        })
    }

    /// Whether tokens of that id from that address are looked at.
    ///
    /// # Errors
    /// Too many were wrong a moment ago.
    pub fn may_try_token(&mut self, address: IpAddr, id: &ShortId, now: Duration) -> Result<(), TooSoon> {
        let source = Source::from(address);
        let blocked = self.failures.blocked(&(source, id.clone()), now);
        match blocked.max(self.failures_of_address.blocked(&source, now)) {
            None => Ok(()),
            Some(retry_after) => {
                self.counters.token_failures += 1;
                Err(self.too_soon(Limit::TokenFailures, retry_after, now))
            }
        }
    }

    /// Notes a token that was refused.
    pub fn token_failed(&mut self, address: IpAddr, id: &ShortId, now: Duration) {
        let source = Source::from(address);
        let blocks = [self.failures.note((source, id.clone()), now), self.failures_of_address.note(source, now)];
        self.counters.blocks += blocks.into_iter().filter(|blocked| *blocked).count() as u64;
    }

    /// What was refused since the start.
    #[must_use]
    pub fn counters(&self) -> LimitCounters {
        self.counters
    }

    fn too_soon(&mut self, limit: Limit, retry_after: Duration, now: Duration) -> TooSoon {
        TooSoon { limit, retry_after, log: self.said[limit as usize].note(now) }
    }
}

/// When a line was last logged, and what has happened since.
#[derive(Debug, Default)]
struct Said {
    at: Option<Duration>,
    since: u64,
}

impl Said {
    fn note(&mut self, now: Duration) -> Option<u64> {
        self.since += 1;
        let due = self.at.is_none_or(|at| now.saturating_sub(at) >= LOG_EVERY);
        due.then(|| {
            self.at = Some(now);
            std::mem::take(&mut self.since)
        })
    }
}

/// A table that never holds more than twice [`TABLE`] entries.
#[derive(Debug)]
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    fn new() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&key) && self.young.len() >= TABLE {
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.old.remove(&key);
        self.young.entry(key).or_insert_with(|| before.unwrap_or_else(new))
    }
}

/// Token buckets of one size: each fills at a steady rate up to a burst, and every request takes one out.
#[derive(Debug)]
struct Buckets<K> {
    per_second: f64,
    burst: f64,
    buckets: Recent<K, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    at: Duration,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.max(1).into(), burst: burst.max(1).into(), buckets: Recent::new() }
    }

    /// Takes one, or says how long it is until there is one.
    fn take(&mut self, key: K, now: Duration) -> Result<(), Duration> {
        let (per_second, burst) = (self.per_second, self.burst);
        let bucket = self.buckets.entry(key, || Bucket { level: burst, at: now });
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.level = (bucket.level + passed * per_second).min(burst);
        bucket.at = bucket.at.max(now);
        if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.level) / per_second))
    }
}

/// Failures counted over a minute; too many block for [`BLOCK`].
#[derive(Debug)]
struct Failures<K> {
    limit: u32,
    tallies: Recent<K, Tally>,
}

#[derive(Debug)]
struct Tally {
    since: Duration,
    count: u32,
    blocked_until: Duration,
}

impl<K: Eq + Hash> Failures<K> {
    fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), tallies: Recent::new() }
    }

    /// For how long still, if it is.
    fn blocked(&self, key: &K, now: Duration) -> Option<Duration> {
        self.tallies.get(key).and_then(|tally| tally.blocked_until.checked_sub(now)).filter(|left| !left.is_zero())
    }

    /// Counts one more; says whether it began a block.
    fn note(&mut self, key: K, now: Duration) -> bool {
        let tally = self.tallies.entry(key, || Tally { since: now, count: 0, blocked_until: Duration::ZERO });
        if now.saturating_sub(tally.since) >= WINDOW {
            (tally.since, tally.count) = (now, 0);
        }
        tally.count += 1;
        let begins = tally.count >= self.limit;
        if begins {
            *tally = Tally { since: now, count: 0, blocked_until: now + BLOCK };
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits::new(&LimitSettings::default())
    }

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn id(n: u8) -> ShortId {
        ShortId::of_bytes([n; 5])
    }

    /// T23: a burst, then the rate, and each node for itself.
    #[test]
    fn a_node_has_ten_and_then_one_a_second() {
        let mut limits = limits();
        let (node, other) = (NodeId::of_public_key(b"a"), NodeId::of_public_key(b"b"));
        let mut allowed = 0;
        for ms in 0..10_000 {
            allowed += u32::from(limits.node(&node, millis(ms)).is_ok());
        }
        assert_eq!(allowed, 10 + 9);
        assert_eq!(limits.counters().node_requests, 10_000 - 19);
        assert!(limits.node(&other, millis(10_000)).is_ok());
        let too_soon = limits.node(&node, millis(9_999)).unwrap_err();
        assert!(too_soon.retry_after <= Duration::from_secs(1) && !too_soon.retry_after.is_zero(), "{too_soon:?}");
        // Who waits as long as he is told is let through.
        assert!(limits.node(&node, millis(9_999) + too_soon.retry_after + millis(1)).is_ok());
    }

    #[test]
    fn an_address_has_a_hundred_and_then_twenty_a_second() {
        let mut limits = limits();
        let allowed = (0..5_000).filter(|ms| limits.stranger(address(1), millis(*ms)).is_ok()).count();
        assert!((199..=200).contains(&allowed), "{allowed}");
        assert!(limits.stranger(address(2), millis(5_000)).is_ok());
    }

    /// T5: the twentieth wrong token blocks its id from that address, and nobody else.
    #[test]
    fn wrong_tokens_block_for_a_minute() {
        let mut limits = limits();
        for n in 0..20 {
            assert!(limits.may_try_token(address(1), &id(1), millis(n)).is_ok(), "{n}");
            limits.token_failed(address(1), &id(1), millis(n));
        }
        let blocked = limits.may_try_token(address(1), &id(1), millis(20)).unwrap_err();
        assert_eq!((blocked.limit, blocked.log), (Limit::TokenFailures, Some(1)));
        assert!(blocked.retry_after > Duration::from_secs(59));
        assert!(limits.may_try_token(address(1), &id(2), millis(20)).is_ok(), "another token behind the same router");
        assert!(limits.may_try_token(address(2), &id(1), millis(20)).is_ok(), "the token from elsewhere");
        assert!(limits.may_try_token(address(1), &id(1), Duration::from_secs(61)).is_ok());
        assert_eq!((limits.counters().token_failures, limits.counters().blocks), (1, 1));
    }

    /// T5: who tries many ids is stopped by his address.
    #[test]
    fn many_ids_do_not_help() {
        let mut limits = limits();
        let mut tried = 0;
        for n in 0..=255 {
            if limits.may_try_token(address(1), &id(n), millis(u64::from(n))).is_ok() {
                tried += 1;
                limits.token_failed(address(1), &id(n), millis(u64::from(n)));
            }
        }
        assert_eq!(tried, 200);
    }

    #[test]
    fn slow_failures_do_not_add_up() {
        let mut limits = limits();
        for n in 0..100 {
            let now = Duration::from_secs(n * 4);
            assert!(limits.may_try_token(address(1), &id(1), now).is_ok());
            limits.token_failed(address(1), &id(1), now);
        }
    }

    #[test]
    fn a_line_for_many() {
        let mut limits = limits();
        let lines: Vec<u64> = (0..25_000)
            .filter_map(|ms| limits.stranger(address(1), millis(ms)).err())
            .filter_map(|too_soon| too_soon.log)
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], 1);
        assert!(lines[1] > 9_000, "{lines:?}");
    }

    #[test]
    fn one_ipv6_host_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("fd00:1:2:3::1"), source("fd00:1:2:3:ffff::2"));
        assert_ne!(source("fd00:1:2:3::1"), source("fd00:1:2:4::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    }

    /// However many there are, the tables stay as they are meant to.
    #[test]
    fn tables_are_bounded() {
        let mut limits = limits();
        let many = u32::try_from(TABLE * 3).unwrap();
        for n in 0..many {
            assert!(limits.stranger(address(n), millis(1)).is_ok());
            limits.token_failed(address(n), &id(1), millis(1));
        }
        for held in [
            limits.requests.buckets.young.len() + limits.requests.buckets.old.len(),
            limits.failures.tallies.young.len() + limits.failures.tallies.old.len(),
            limits.failures_of_address.tallies.young.len() + limits.failures_of_address.tallies.old.len(),
        ] {
            assert!(held <= 2 * TABLE, "{held}");
        }
        // Who asks all the while is not forgotten.
        let node = NodeId::of_public_key(b"a");
        for n in 0..many {
            drop(limits.node(&NodeId::of_public_key(&n.to_be_bytes()), millis(1)));
            if n % 1_000 == 0 {
                drop(limits.node(&node, millis(1)));
            }
        }
        assert!(limits.node(&node, millis(1)).is_err());
    }

    proptest! {
        /// In no stretch of time does more get through than burst and rate allow, whatever the order of arrivals.
        #[test]
        fn no_stretch_lets_more_through(mut arrivals in proptest::collection::vec(0..20_000_u64, 1..300)) {
            arrivals.sort_unstable();
            let mut buckets = Buckets::new(2, 5);
            let through: Vec<u64> = arrivals.into_iter().filter(|ms| buckets.take((), millis(*ms)).is_ok()).collect();
            for (n, from) in through.iter().enumerate() {
                for (m, to) in through.iter().enumerate().skip(n) {
                    let most = 5.0 + 2.0 * (millis(to - from).as_secs_f64()) + 1e-6;
                    prop_assert!((m - n + 1) as f64 <= most, "{} in {} ms", m - n + 1, to - from);
                }
            }
        }
    }
}
