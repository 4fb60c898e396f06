//! How often strangers and nodes may ask, and how often a token may be wrong. Pure: time is an argument, counted from
//! the controller's start.
//!
//! Every table is bounded, whoever fills it: one that is full forgets the half that was not asked about lately, and who
//! is forgotten begins anew. That is to the good of whoever floods, and costs him as many addresses as the table holds.

use std::collections::{BTreeMap, HashMap};
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
    /// Commands that wait to be written.
    Queue,
    /// Requests to join, where another one had to give way.
    JoinRequests,
    /// `max_nodes`.
    Nodes,
}

impl Limit {
    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests of strangers",
            Self::NodeRequests => "registrations of one node",
            Self::TokenFailures => "wrong tokens",
            Self::Queue => "changes that wait for the disk",
            Self::JoinRequests => "requests to join: the oldest gave way",
            Self::Nodes => "nodes",
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
    pub queue: u64,
    pub join_requests: u64,
    pub nodes: u64,
}

/// How many entries each table holds; none holds more than twice [`TABLE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitTables {
    pub requests: usize,
    pub node_requests: usize,
    pub token_failures: usize,
    pub token_failures_of_addresses: usize,
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
    said: [Said; 6],
    /// By the code of the refusal: there are few.
    refusals: BTreeMap<&'static str, Said>,
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
            refusals: BTreeMap::new(),
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

    /// Notes that a limit was reached that is held elsewhere. Returns how often it was since the last line in the log,
    /// if it is time for one.
    pub fn reached(&mut self, limit: Limit, now: Duration) -> Option<u64> {
        match limit {
            Limit::Queue => self.counters.queue += 1,
            Limit::JoinRequests => self.counters.join_requests += 1,
            Limit::Nodes => self.counters.nodes += 1,
            Limit::Requests | Limit::NodeRequests | Limit::TokenFailures => {}
        }
        self.said[limit as usize].note(now)
    }

    /// Notes a registration that was refused with that code. Returns how often it was since the last line in the log, if
    /// it is time for one.
    pub fn refused(&mut self, code: &'static str, now: Duration) -> Option<u64> {
        self.refusals.entry(code).or_default().note(now)
    }

    /// What was refused since the start.
    #[must_use]
    pub fn counters(&self) -> LimitCounters {
        self.counters
    }

    /// What is remembered now.
    #[must_use]
    pub fn tables(&self) -> LimitTables {
        LimitTables {
            requests: self.requests.buckets.len(),
            node_requests: self.node_requests.buckets.len(),
            token_failures: self.failures.tallies.len(),
            token_failures_of_addresses: self.failures_of_address.tallies.len(),
        }
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

    fn len(&self) -> usize {
        self.young.len() + self.old.len()
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
mod tests;
