//! What the listener counts, for `master status` and for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::limit_log::{Limit, LimitLog};

/// The listener's counters at one moment; all but `open` and `held` since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListenerStatus {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered by the handler, the reply written whole.
    pub answered: u64,
    /// Connections that got no answer of the handler's, by the code that they were told or would have been told.
    pub refused: BTreeMap<String, u64>,
    /// How often each limit was reached.
    pub limits: BTreeMap<String, u64>,
    /// Connections on which TLS came to stand.
    pub handshakes: u64,
    /// Clients that left while their reply was held back.
    pub left: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Times that accepting failed, mostly for want of file descriptors.
    pub accept_failures: u64,
    /// Connections now, without those held back.
    pub open: u64,
    /// Connections now whose reply is held back.
    pub held: u64,
    /// The caps that hold for the two.
    pub max_open: u64,
    pub max_held: u64,
    /// The same for one address, if its clients have no certificate in the case of `held`.
    pub max_open_per_address: u64,
    pub max_held_per_address: u64,
    /// Addresses that those connections come from now.
    pub addresses: u64,
    /// How many of `open` are on the unix socket, which has a cap of its own.
    pub local: u64,
    pub max_local: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) accept_failures: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    limits: Mutex<LimitLog>,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn refused(&self, code: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Counts that a limit was reached, and logs it once in a while. `by` is who or what reached it last.
    pub(super) fn reached(&self, limit: Limit, by: &dyn std::fmt::Display) {
        let due = self.limits.lock().unwrap_or_else(PoisonError::into_inner).reached(limit, Instant::now());
        if let Some(times) = due {
            tracing::warn!(limit = limit.as_str(), times, "a limit of the listener is reached, last by {by}");
        }
    }

    /// Everything but what the caller knows.
    pub(super) fn status(&self) -> ListenerStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        ListenerStatus {
            accepted: read(&self.accepted),
            handshakes: read(&self.handshakes),
            limits: self.limits.lock().unwrap_or_else(PoisonError::into_inner).totals(),
            answered: read(&self.answered),
            refused: refused.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect(),
            left: read(&self.left),
            panics: read(&self.panics),
            accept_failures: read(&self.accept_failures),
            ..ListenerStatus::default()
        }
    }
}
