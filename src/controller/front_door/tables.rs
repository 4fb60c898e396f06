//! Every table that grows with what others do, with its size and its bound, for `master status`. Pure.
//!
//! A table that is full either refuses or lets the oldest give way; how often is counted beside the other limits. What
//! has no row here is of a fixed size, or is of one request and goes with it; queue, journal and cache of the store, and
//! the listener's connections, are shown by those two.

use serde_json::{Value, json};

use crate::controller::certificates::AuthoritiesView;
use crate::controller::limits::{LimitTables, TABLE};
use crate::controller::state::{ClusterState, MAX_ADMINS, MAX_REQUESTS, MAX_TOKENS, MAX_TOMBSTONES};

/// What is looked at.
pub(super) struct Tables<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) max_nodes: u32,
    /// What the front door remembers: nodes' last lines, nodes' last words, nodes' boots, nodes that wait for an
    /// administrator.
    pub(super) memory: [usize; 4],
    pub(super) limits: LimitTables,
    pub(super) authorities: Option<&'a AuthoritiesView>,
}

impl Tables<'_> {
    pub(super) fn show(&self) -> Value {
        let (nodes, max) = (self.state.counts().total() as usize, self.max_nodes as usize);
        let [said, seen, boots, waiting] = self.memory;
        let certificates = self.authorities.map_or((0, 0), |view| (view.verified, view.max_verified));
        let row = |(size, max): (usize, usize)| json!({ "Size": size, "Max": max });
        json!({
            "Nodes": row((nodes, max)),
            "Tombstones": row((self.state.tombstones().count(), MAX_TOMBSTONES)),
            "Tokens": row((self.state.tokens().count(), MAX_TOKENS)),
            "Requests": row((self.state.requests().count(), MAX_REQUESTS)),
            "Admins": row((self.state.admins().count(), MAX_ADMINS)),
            // Of nodes on record alone, and forgotten with them.
            "NodesAnswered": row((said, max)),
            "NodesHeard": row((seen, max)),
            "NodesBooted": row((boots, max)),
            "WaitingForApproval": row((waiting, MAX_REQUESTS)),
            "AddressRates": row((self.limits.requests, 2 * TABLE)),
            "NodeRates": row((self.limits.node_requests, 2 * TABLE)),
            "TokenFailures": row((self.limits.token_failures, 2 * TABLE)),
            "TokenFailuresOfAddresses": row((self.limits.token_failures_of_addresses, 2 * TABLE)),
            "VerifiedCertificates": row(certificates),
        })
    }
}
