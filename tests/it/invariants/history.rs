//! I1, I2, I4, I10: what the controller has answered, in the order of time.
//!
//! Every reply carries the revision of the state that it speaks of. One controller answers at a time, so that a reply
//! that was asked for after another one had come must not speak of an older state, whatever happened in between.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::time::Instant;

/// One answer and when it was asked for.
#[derive(Debug, Clone)]
struct Exchange {
    asked: Instant,
    answered: Instant,
    revision: Option<u64>,
    gate_closed: bool,
    gate_open: bool,
    /// The node that is on record for it.
    node: Option<String>,
}

/// The answers of one controller, also across its restarts.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Vec<Exchange>>);

impl History {
    /// Notes an answer that has come now.
    pub(crate) fn note(&self, asked: Instant, reply: &Value) {
        let (is_node, reason) = (reply.get("SwarmRole").is_some(), reply["Reason"].as_str().unwrap_or_default());
        let exchange = Exchange {
            asked,
            answered: Instant::now(),
            revision: reply["Revision"].as_u64(),
            gate_closed: reason == "below-minimum",
            gate_open: is_node
                && reply["Status"] == "ready"
                && !reply["SwarmRole"].as_str().unwrap_or_default().is_empty(),
            node: reply["NodeId"].as_str().filter(|id| is_node && !id.is_empty()).map(str::to_owned),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// # Panics
    /// An answer spoke of an older state than one that had come before it was asked for, or closed an open gate; or the
    /// state now is older than what was answered.
    pub(crate) fn check(&self, revision: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ended = all.clone();
        all.sort_by_key(|exchange| exchange.asked);
        ended.sort_by_key(|exchange| exchange.answered);
        let mut ended = ended.into_iter().peekable();
        let (mut newest, mut open) = (0, false);
        for exchange in all {
            while let Some(before) = ended.next_if(|before| before.answered < exchange.asked) {
                newest = newest.max(before.revision.unwrap_or_default());
                open |= before.gate_open;
            }
            if let Some(seen) = exchange.revision {
                assert!(seen >= newest, "I4: revision {seen} after {newest}: {exchange:?}");
                assert!(seen <= revision, "I1: revision {seen} was answered, and the state is at {revision}");
            }
            assert!(!(open && exchange.gate_closed), "I10: the gate closed again: {exchange:?}");
        }
    }

    /// The nodes that were told that they are on record.
    pub(crate) fn acknowledged(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(|it| it.node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn is_fine(history: &History, revision: u64) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.check(revision))).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn finds_what_it_is_for() {
        let history = History::default();
        let first = Instant::now();
        tokio::time::advance(Duration::from_millis(5)).await;
        history.note(first, &json!({"Revision": 7, "SwarmRole": "worker", "Status": "ready", "NodeId": "a"}));
        // Asked before the other one had come: either order is right.
        history.note(first, &json!({"Revision": 6}));
        assert!(is_fine(&history, 7) && !is_fine(&history, 6));
        assert_eq!(history.acknowledged(), BTreeSet::from(["a".to_owned()]));
        tokio::time::advance(Duration::from_millis(5)).await;
        history.note(Instant::now(), &json!({"Revision": 7, "Reason": "below-minimum", "SwarmRole": ""}));
        assert!(!is_fine(&history, 7), "the gate closed");
        let other = History::default();
        other.note(first, &json!({"Revision": 7}));
        tokio::time::advance(Duration::from_millis(5)).await;
        other.note(Instant::now(), &json!({"Revision": 6}));
        assert!(!is_fine(&other, 7), "an older state");
    }
}
