//! The controller's state, and the only place where it changes: [`ClusterState::apply`] is deterministic and total.
//!
//! The counts by role are kept, not recounted. Whatever two requests of the same moment could both be granted is
//! decided here, where commands meet one after the other: who gets a name or an address, who gets the last use of a
//! token. Admission has judged before, on a state that may have moved on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::command::{Command, StorageIntent, StorageRecord, SwarmRecord, Thresholds};
use crate::cluster::{Hostname, NodeAddress, NodeId, ShortId};
use crate::protocol::registration::Addendum;

mod admins;
mod intents;
mod nodes;
mod records;
mod removed;
mod requests;
mod tokens;

pub use super::command::StorageRole;
pub use admins::{AdminRecord, MAX_ADMINS};
pub use intents::MAX_INTENTS;
pub use nodes::{NodeRecord, REPLACEABLE_FOR, RoleCounts};
pub use removed::{MAX_TOMBSTONES, Tombstone};
pub use requests::{MAX_REQUESTS, MAX_REQUESTS_OF_ADDRESS, REQUESTS_KEPT, RequestRecord, RequestStatus};
pub use tokens::{EXPIRED_TOKENS_KEPT, MAX_TOKENS, TokenRecord, TokenStatus};

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The state changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// Another node holds the name or the address; nothing changed.
    Conflict(Conflict),
    /// It must not be, as the state is by now; nothing changed.
    Refused(Denial),
}

/// Why a registration cannot stand beside another node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    Hostname { holder: NodeId },
    Address { holder: Hostname },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The token is unknown, expired, used up or revoked, or is for another node.
    Token,
    /// The role is more than was granted.
    Role,
    /// The request is not approved, or not as it was.
    NotApproved,
    /// It is no member (any more).
    NotMember,
    /// It was removed.
    Removed,
    /// There is no token, request or administrator of that name.
    Unknown,
    /// The id or the name is taken.
    Taken,
    /// There are as many as there may be.
    Full,
}

/// Everything that the controller knows for good.
#[derive(Debug, Default)]
pub struct ClusterState {
    cluster_id: Option<String>,
    swarm: Option<SwarmRecord>,
    storage: Option<StorageRecord>,
    latch: Option<Thresholds>,
    /// Changes of the volume that were about to be tried and were not seen to be complete, the oldest first.
    intents: Vec<StorageIntent>,
    layout_due: bool,
    incarnation: Option<String>,
    newest: Option<Timestamp>,
    /// Boxed: the tree's own nodes are a third empty, which would be a third of all records.
    nodes: BTreeMap<NodeId, Box<NodeRecord>>,
    by_hostname: HashMap<Hostname, NodeId>,
    by_address: HashMap<NodeAddress, NodeId>,
    counts: RoleCounts,
    tombstones: BTreeMap<NodeId, Tombstone>,
    tokens: BTreeMap<ShortId, TokenRecord>,
    requests: BTreeMap<ShortId, RequestRecord>,
    requests_of: BTreeMap<requests::Asker, ShortId>,
    admins: BTreeMap<String, AdminRecord>,
    revision: u64,
    /// The sequence of the last change to what there is one of, since the start.
    settings_revision: u64,
    dirty: BTreeSet<String>,
}

impl ClusterState {
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    #[must_use]
    pub fn swarm(&self) -> Option<&SwarmRecord> {
        self.swarm.as_ref()
    }

    #[must_use]
    pub fn storage(&self) -> Option<&StorageRecord> {
        self.storage.as_ref()
    }

    /// The thresholds for which the gate has opened.
    #[must_use]
    pub fn latch(&self) -> Option<Thresholds> {
        self.latch
    }

    /// Which history this is; `None` as long as it was never restored from a backup.
    #[must_use]
    pub fn incarnation(&self) -> Option<&str> {
        self.incarnation.as_deref()
    }

    /// The later of `now` and the latest moment that a command was made at: a clock that was set back makes no token
    /// valid again.
    #[must_use]
    pub fn no_earlier(&self, now: Timestamp) -> Timestamp {
        self.newest.map_or(now, |newest| newest.max(now))
    }

    /// The sequence of the last command that changed something.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Increases with each change to what there is one of: the Swarm's record, the volume's, the gate.
    #[must_use]
    pub fn settings_revision(&self) -> u64 {
        self.settings_revision
    }

    fn initialise(&mut self, sequence: u64, cluster_id: &str) -> Effect {
        if self.cluster_id.is_some() {
            return Effect::Unchanged;
        }
        self.set(sequence, |state| &mut state.cluster_id, Some(cluster_id.to_owned()))
    }

    /// What [`Machine::apply`](super::store::Machine::apply) does.
    fn carry_out(&mut self, sequence: u64, command: &Command) -> Effect {
        if command.at() > self.newest {
            self.newest = command.at();
            self.dirty.insert(records::CLUSTER.to_owned());
        }
        match command {
            Command::Initialise { cluster_id, at: _ } => self.initialise(sequence, cluster_id),
            Command::RecordSwarm { swarm } => self.set(sequence, |state| &mut state.swarm, Some(swarm.clone())),
            Command::ConfigureStorage { storage } => self.set(sequence, |state| &mut state.storage, storage.clone()),
            Command::Register { node, at } => self.register(sequence, node, *at),
            Command::Deregister { id, at: _ } => self.drop_node(id, sequence),
            Command::Report { id, report } => self.report(sequence, id, report, Addendum::default()),
            Command::LatchGate { thresholds } => self.set(sequence, |state| &mut state.latch, Some(*thresholds)),
            Command::RecordIntent { intent } => self.set(sequence, |state| &mut state.intents, vec![intent.clone()]),
            Command::ClearIntent => self.set(sequence, |state| &mut state.intents, Vec::new()),
            Command::Admit { node, warrant, key, at } => self.admit(sequence, node, warrant, *key, *at),
            Command::Remove { id, at } => self.remove(sequence, id, *at),
            Command::AllowReplacement { id, at } => self.allow_replacement(sequence, id, *at),
            Command::CreateToken { token, at } => self.create_token(sequence, token, *at),
            Command::RevokeToken { id, at } => self.revoke_token(sequence, id, *at),
            Command::FileRequest { id, request, at } => self.file_request(sequence, id, request, *at),
            Command::DecideRequest { id, decision, at } => self.decide_request(sequence, id, decision, *at),
            Command::CreateAdmin { name, key, at } => self.create_admin(sequence, name, *key, *at),
            Command::RevokeAdmin { name, at } => self.revoke_admin(sequence, name, *at),
            Command::Intend { intent, layout } => self.intend(sequence, intent, *layout),
            Command::ForgetBricks { bricks } => self.forget_bricks(sequence, bricks),
            Command::LayoutSpread => self.set(sequence, |state| &mut state.layout_due, false),
            Command::Observe { id, report, more } => self.report(sequence, id, report, *more),
            Command::MarkRestored { incarnation, at: _ } => {
                self.set(sequence, |state| &mut state.incarnation, Some(incarnation.clone()))
            }
            Command::Adopt { node, storage, swarm_node_id, at } => {
                self.adopt(sequence, node, *storage, swarm_node_id, *at)
            }
            Command::Expel { id, at } => self.expel(sequence, id, *at),
        }
    }

    /// Notes that a row changed with this command.
    fn touch(&mut self, sequence: u64, row: String) {
        self.revision = sequence;
        self.dirty.insert(row);
        // It holds the revision. It is also the first row that is read, so that a program that does not know the
        // present version says so before it finds rows that it has never heard of.
        if !self.dirty.contains(records::CLUSTER) {
            self.dirty.insert(records::CLUSTER.to_owned());
        }
    }

    fn set<T: PartialEq>(&mut self, sequence: u64, field: fn(&mut Self) -> &mut T, value: T) -> Effect {
        if *field(self) == value {
            return Effect::Unchanged;
        }
        *field(self) = value;
        self.settings_revision = sequence;
        self.touch(sequence, records::CLUSTER.to_owned());
        Effect::Changed
    }
}

/// The moment before which everything is older than `kept`, as of `now`.
fn cutoff(kept: jiff::SignedDuration, now: Timestamp) -> Timestamp {
    now.checked_sub(kept).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
