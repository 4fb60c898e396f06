//! Whether the controller has gone back in time since this host last heard it. Pure.
//!
//! Revisions only grow within one history of the controller's state; a restored backup begins another one. A state that
//! is older than what this host has seen no longer knows who joined or was removed in between, which only people can put
//! right: so it is said, and what can be joined is joined.

use crate::protocol::reply::Reply;

/// How far a controller had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub cluster_id: String,
    pub incarnation: String,
    pub revision: u64,
}

/// The controller has gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "controller-rollback: the controller {how} (revision {found}, this host has seen {remembered}): who joined since then has to join again, who was removed has to be removed again; see `clusterctl node list`",
    how = if *restored { "was restored from a backup" } else { "has an older state than before: its disk was put back" }
)]
pub struct Rollback {
    pub remembered: u64,
    pub found: u64,
    pub restored: bool,
}

impl Heard {
    /// What a reply says; `None` if it says nothing of the state.
    #[must_use]
    pub fn in_reply(reply: &Reply) -> Option<Self> {
        let revision = reply.revision?;
        Some(Self { cluster_id: reply.cluster_id.clone(), incarnation: reply.incarnation.clone(), revision })
    }

    /// Whether `now` is an earlier state, or another history, of the same cluster.
    #[must_use]
    pub fn rolled_back(&self, now: &Self) -> Option<Rollback> {
        let restored = self.incarnation != now.incarnation;
        let back = self.cluster_id == now.cluster_id && (restored || now.revision < self.revision);
        back.then_some(Rollback { remembered: self.revision, found: now.revision, restored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(cluster_id: &str, incarnation: &str, revision: u64) -> Heard {
        Heard { cluster_id: cluster_id.into(), incarnation: incarnation.into(), revision }
    }

    /// P8.
    #[test]
    fn sees_a_controller_that_went_back() {
        let before = heard("c", "", 57);
        assert_eq!(before.rolled_back(&heard("c", "", 57)), None);
        assert_eq!(before.rolled_back(&heard("c", "", 58)), None);
        assert_eq!(before.rolled_back(&heard("another", "", 1)), None);
        let back = before.rolled_back(&heard("c", "", 41)).unwrap();
        assert!(!back.restored && back.to_string().contains("revision 41, this host has seen 57"), "{back}");
        // What a restored one has come to by now does not count.
        for revision in [41, 99] {
            let back = before.rolled_back(&heard("c", "i2", revision)).unwrap();
            assert!(back.restored && back.to_string().starts_with("controller-rollback: "), "{back}");
        }
    }
}
