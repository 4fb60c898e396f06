//! Requests of nodes that want to be let in, until an administrator has decided and the node has come back.
//!
//! A node has one request; another one takes its place, and its id goes with it, so that nobody approves what he was not
//! shown. Strangers make requests, so they are few: where there is no room, the address that has the most of them gives
//! way, and an address that floods takes its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::request_row;
use super::{ClusterState, Denial, Effect, cutoff};
use crate::cluster::{NodeAddress, NodeId, ProfileName, Role, ShortId};
use crate::controller::command::{AdmittedNode, Decision, RequestTerms};

/// Requests kept at most, decided ones counted.
pub const MAX_REQUESTS: usize = 1_000;
/// Undecided requests from one address.
pub const MAX_REQUESTS_OF_ADDRESS: usize = 32;
/// How long a request is kept after it was made or decided; an approval that nobody came for ends with it.
pub const REQUESTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Who asks: a key; without one, a name at an address.
pub(super) type Asker = (NodeId, Option<NodeAddress>);

fn asker(terms: &RequestTerms) -> Asker {
    (terms.node_id.clone(), terms.key.is_none().then_some(terms.address))
}

/// A request as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    pub id: ShortId,
    pub terms: RequestTerms,
    pub requested_at: Timestamp,
    pub status: RequestStatus,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestStatus {
    Pending,
    Decided { decision: Decision, at: Timestamp },
}

impl RequestRecord {
    /// The word in listings.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.status {
            RequestStatus::Pending => "pending",
            RequestStatus::Decided { decision: Decision::Approve { .. }, .. } => "approved",
            RequestStatus::Decided { decision: Decision::Reject { .. }, .. } => "rejected",
        }
    }

    /// Whether a decision about it holds for a node that says `terms`: the same name; without a key, nothing but name
    /// and address tells who it is.
    #[must_use]
    pub fn is_about(&self, terms: &RequestTerms) -> bool {
        self.concerns(&terms.node_id, terms.key.is_some(), &terms.hostname, terms.address)
    }

    fn concerns(
        &self,
        node_id: &NodeId,
        has_key: bool,
        hostname: &crate::cluster::Hostname,
        address: crate::cluster::NodeAddress,
    ) -> bool {
        self.terms.node_id == *node_id && self.terms.hostname == *hostname && (has_key || self.terms.address == address)
    }

    /// Whether it counts no more, since nobody came or decided for too long.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.last_touched() < cutoff(REQUESTS_KEPT, now)
    }

    fn last_touched(&self) -> Timestamp {
        match &self.status {
            RequestStatus::Pending => self.requested_at,
            RequestStatus::Decided { at, .. } => *at,
        }
    }
}

impl ClusterState {
    /// A request by its id.
    #[must_use]
    pub fn request(&self, id: &ShortId) -> Option<&RequestRecord> {
        self.requests.get(id)
    }

    /// The request of whoever says `terms`.
    #[must_use]
    pub fn request_like(&self, terms: &RequestTerms) -> Option<&RequestRecord> {
        self.requests_of.get(&asker(terms)).and_then(|id| self.requests.get(id))
    }

    /// The requests by id.
    pub fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.values()
    }

    /// What was approved for exactly this node, if anything was.
    pub(super) fn approved_request(
        &self,
        id: &ShortId,
        node: &AdmittedNode,
        at: Timestamp,
    ) -> Option<(Role, &[ProfileName])> {
        let request = self.requests.get(id).filter(|request| !request.is_over(at))?;
        let asks = (node.id.clone(), (!node.keyed).then_some(node.address));
        let concerned = asker(&request.terms) == asks && request.terms.hostname == node.hostname;
        match &request.status {
            RequestStatus::Decided { decision: Decision::Approve { role, profiles }, .. } if concerned => {
                Some((*role, profiles))
            }
            RequestStatus::Decided { .. } | RequestStatus::Pending => None,
        }
    }

    pub(super) fn insert_request(&mut self, request: RequestRecord) {
        self.requests_of.insert(asker(&request.terms), request.id.clone());
        self.requests.insert(request.id.clone(), request);
    }

    pub(super) fn file_request(&mut self, sequence: u64, id: &ShortId, terms: &RequestTerms, at: Timestamp) -> Effect {
        if let Some(known) = self.request_like(terms).filter(|known| !known.is_over(at)) {
            let decided = known.status != RequestStatus::Pending;
            if known.terms == *terms || (decided && known.is_about(terms)) {
                return Effect::Unchanged;
            }
        }
        if self.requests.contains_key(id) {
            return Effect::Refused(Denial::Taken);
        }
        if let Some(known) = self.request_like(terms).map(|known| known.id.clone()) {
            self.drop_request(sequence, &known);
        }
        self.make_room(sequence, terms.source, at);
        let request =
            RequestRecord { id: id.clone(), terms: terms.clone(), requested_at: at, status: RequestStatus::Pending };
        self.insert_request(request);
        self.touch(sequence, request_row(id));
        Effect::Changed
    }

    /// Drops what is old, and then one more if a request from `source` would be one too many.
    fn make_room(&mut self, sequence: u64, source: IpAddr, at: Timestamp) {
        let old: Vec<ShortId> =
            self.requests.values().filter(|request| request.is_over(at)).map(|request| request.id.clone()).collect();
        for id in old {
            self.drop_request(sequence, &id);
        }
        if let Some(id) = self.gives_way(source, at) {
            self.drop_request(sequence, &id);
        }
    }

    /// Whether another request has to give way if this one is filed.
    #[must_use]
    pub fn crowds_out(&self, terms: &RequestTerms, at: Timestamp) -> bool {
        self.request_like(terms).is_none_or(|known| known.is_over(at)) && self.gives_way(terms.source, at).is_some()
    }

    /// The request that gives way to one from `source`, if one has to.
    fn gives_way(&self, source: IpAddr, at: Timestamp) -> Option<ShortId> {
        let present = || self.requests.values().filter(|request| !request.is_over(at));
        let mut undecided: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for request in present().filter(|request| request.status == RequestStatus::Pending) {
            *undecided.entry(request.terms.source).or_default() += 1;
        }
        if undecided.get(&source).is_some_and(|count| *count >= MAX_REQUESTS_OF_ADDRESS) {
            self.oldest_undecided(Some(source))
        } else if present().count() >= MAX_REQUESTS {
            let greatest = undecided.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > 1);
            // Everybody has one: the oldest of all goes, and only among decided ones if there are no others.
            self.oldest_undecided(greatest.map(|(address, _)| *address)).or_else(|| {
                let oldest = self.requests.values().min_by_key(|request| (request.last_touched(), request.id.clone()));
                oldest.map(|request| request.id.clone())
            })
        } else {
            None
        }
    }

    fn oldest_undecided(&self, source: Option<IpAddr>) -> Option<ShortId> {
        self.requests
            .values()
            .filter(|request| request.status == RequestStatus::Pending)
            .filter(|request| source.is_none_or(|source| request.terms.source == source))
            .min_by_key(|request| (request.requested_at, request.id.clone()))
            .map(|request| request.id.clone())
    }

    pub(super) fn decide_request(&mut self, sequence: u64, id: &ShortId, decision: &Decision, at: Timestamp) -> Effect {
        let Some(request) = self.requests.get_mut(id) else { return Effect::Refused(Denial::Unknown) };
        if matches!(&request.status, RequestStatus::Decided { decision: known, .. } if known == decision) {
            return Effect::Unchanged;
        }
        request.status = RequestStatus::Decided { decision: decision.clone(), at };
        self.touch(sequence, request_row(id));
        Effect::Changed
    }

    pub(super) fn drop_requests_of(&mut self, sequence: u64, node: &NodeId) {
        let of_node = self.requests_of.range((node.clone(), None)..).take_while(|((asker, _), _)| asker == node);
        let ids: Vec<ShortId> = of_node.map(|(_, id)| id.clone()).collect();
        for id in ids {
            self.drop_request(sequence, &id);
        }
    }

    fn drop_request(&mut self, sequence: u64, id: &ShortId) {
        if let Some(request) = self.requests.remove(id) {
            self.requests_of.remove(&asker(&request.terms));
            self.touch(sequence, request_row(id));
        }
    }
}
