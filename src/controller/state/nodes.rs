//! Nodes: who is a member, as what, under which name and address.

use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::node_row;
use super::{ClusterState, Conflict, Denial, Effect, cutoff};
use crate::cluster::{Hostname, KeyFingerprint, NodeAddress, NodeId, ProfileName, Role};
use crate::controller::assignment;
use crate::controller::command::{AdmittedNode, StorageRole, Warrant};
use crate::protocol::registration::{Addendum, Facts, NodeReport};

/// For how long a host name may be taken by another key once an administrator has said so.
pub const REPLACEABLE_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A node as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    pub keyed: bool,
    pub hostname: Hostname,
    pub address: NodeAddress,
    pub role: Role,
    pub facts: Facts,
    pub storage: StorageRole,
    /// The sequence of its first registration: the order in which nodes are given bricks.
    pub ordinal: u64,
    pub registered_at: Timestamp,
    pub updated_at: Timestamp,
    /// The sequence of the last change.
    pub revision: u64,
    pub report: NodeReport,
    /// The most that it may be, without being granted more.
    pub granted: Role,
    pub profiles: Vec<ProfileName>,
    /// By what right it came in.
    pub admitted_by: Warrant,
    /// The key that it has proved. `None`: it has none, or came in before keys were proved, and gets its certificate
    /// when it comes again.
    pub key: Option<KeyFingerprint>,
    /// Since when another key may take its host name, for [`REPLACEABLE_FOR`].
    pub replaceable_since: Option<Timestamp>,
    /// The rest of its report. Beside the others, since version 2 of the row had no room for it.
    #[serde(skip)]
    pub more: Addendum,
}

impl NodeRecord {
    /// Until when another key may take its host name, if it still may.
    #[must_use]
    pub fn replaceable_until(&self, now: Timestamp) -> Option<Timestamp> {
        let since = self.replaceable_since.filter(|since| *since >= cutoff(REPLACEABLE_FOR, now))?;
        Some(since.checked_add(REPLACEABLE_FOR).unwrap_or(Timestamp::MAX))
    }
}

/// How many nodes there are by role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoleCounts {
    pub managers: u32,
    pub workers: u32,
}

impl RoleCounts {
    fn slot(&mut self, role: Role) -> &mut u32 {
        match role {
            Role::Manager => &mut self.managers,
            Role::Worker => &mut self.workers,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u32 {
        self.managers + self.workers
    }
}

/// What a node is granted as it comes in.
struct Grant {
    role: Role,
    profiles: Vec<ProfileName>,
    by: Warrant,
}

/// By which rules host names pass on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inheritance {
    /// Those of the first version's commands, which are applied again as they were.
    First,
    /// A freed name is for a node that comes in, and not for one that is in; what its client without a key was, a host
    /// is at the same address.
    Present,
}

/// Whose place a node takes.
enum Succession<'a> {
    /// Its own, or nobody's.
    Own,
    /// That of the same host's client of the first implementation, with ordinal and brick.
    Legacy(&'a NodeRecord),
    /// A host name that was freed for another key; nothing else of the old node passes on.
    Replaced(&'a NodeRecord),
}

impl ClusterState {
    #[must_use]
    pub fn counts(&self) -> RoleCounts {
        self.counts
    }

    /// A node by id.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(id).map(Box::as_ref)
    }

    /// The node of that name.
    #[must_use]
    pub fn node_named(&self, hostname: &Hostname) -> Option<&NodeRecord> {
        self.by_hostname.get(hostname).and_then(|id| self.node(id))
    }

    /// The node at that address.
    #[must_use]
    pub fn node_at(&self, address: NodeAddress) -> Option<&NodeRecord> {
        self.by_address.get(&address).and_then(|id| self.node(id))
    }

    /// The nodes by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values().map(Box::as_ref)
    }

    /// Those after an id; all of them if it is none.
    pub fn nodes_after(&self, id: &str) -> impl Iterator<Item = &NodeRecord> {
        let from = NodeId::parse(id).map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes.range((from, Bound::Unbounded)).map(|(_, node)| node.as_ref())
    }

    /// The node whose host name `node` takes from it, if it may.
    #[must_use]
    pub fn succeeded_by(&self, node: &AdmittedNode, now: Timestamp) -> Option<&NodeRecord> {
        match self.succession(node, Inheritance::Present, now) {
            Ok(Succession::Legacy(old) | Succession::Replaced(old)) => Some(old),
            Ok(Succession::Own) | Err(_) => None,
        }
    }

    fn succession(&self, node: &AdmittedNode, by: Inheritance, now: Timestamp) -> Result<Succession<'_>, Conflict> {
        let Some(held) = self.node_named(&node.hostname).filter(|held| held.id != node.id) else {
            return Ok(Succession::Own);
        };
        let first = by == Inheritance::First;
        let comes_in = first || !self.nodes.contains_key(&node.id);
        let moves_over = node.keyed && !held.keyed && (first || held.address == node.address);
        if comes_in && held.replaceable_until(now).is_some() {
            Ok(Succession::Replaced(held))
        } else if comes_in && moves_over {
            Ok(Succession::Legacy(held))
        } else {
            Err(Conflict::Hostname { holder: held.id.clone() })
        }
    }

    /// Whether another present node holds this one's name or address.
    #[must_use]
    pub fn conflict(&self, node: &AdmittedNode, now: Timestamp) -> Option<Conflict> {
        self.conflict_of(node, &self.succession(node, Inheritance::Present, now))
    }

    fn conflict_of(&self, node: &AdmittedNode, succession: &Result<Succession<'_>, Conflict>) -> Option<Conflict> {
        let old = match succession {
            Ok(Succession::Own) => None,
            Ok(Succession::Legacy(old) | Succession::Replaced(old)) => Some(&old.id),
            Err(conflict) => return Some(conflict.clone()),
        };
        self.node_at(node.address)
            .filter(|held| held.id != node.id && old != Some(&held.id))
            .map(|held| Conflict::Address { holder: held.hostname.clone() })
    }

    /// Whether a member may come again under that name without being let in anew: not if it was let in by a token for
    /// one host name. A token that is no longer on record may have been one.
    #[must_use]
    pub fn may_be_called(&self, known: &NodeRecord, hostname: &Hostname) -> bool {
        known.hostname == *hostname
            || match &known.admitted_by {
                Warrant::Token(id) => self.token(id).is_some_and(|token| token.terms.node.is_none()),
                Warrant::Member | Warrant::Open | Warrant::Local | Warrant::Request(_) | Warrant::Adopted => true,
            }
    }

    /// Whether registering `node` would change nothing: then nothing is written (free memory does not count).
    #[must_use]
    pub fn is_registered_as(&self, node: &AdmittedNode, key: Option<KeyFingerprint>) -> bool {
        self.member(&node.id).is_some_and(|known| {
            known.hostname == node.hostname
                && known.address == node.address
                && known.role == node.role
                && known.keyed == node.keyed
                && (key.is_none() || known.key == key)
                && known.facts.is_like(&node.facts)
                && assignment::assign(self, node) == known.storage
        })
    }

    /// As the first version let nodes in: everybody, as asked.
    pub(super) fn register(&mut self, sequence: u64, node: &AdmittedNode, at: Timestamp) -> Effect {
        let known = self.nodes.get(&node.id);
        let grant = Grant {
            role: known.map_or(node.role, |known| known.granted.or_greater(node.role)),
            profiles: known.map(|known| known.profiles.clone()).unwrap_or_default(),
            by: Warrant::Open,
        };
        self.enrol(sequence, node, grant, Inheritance::First, None, at)
    }

    /// Lets a node in if its warrant still holds, and uses the warrant up.
    pub(super) fn admit(
        &mut self,
        sequence: u64,
        node: &AdmittedNode,
        warrant: &Warrant,
        key: Option<KeyFingerprint>,
        at: Timestamp,
    ) -> Effect {
        let grant = match self.grant(node, warrant, at) {
            Ok(grant) => grant,
            Err(denial) => return Effect::Refused(denial),
        };
        if !grant.role.covers(node.role) {
            return Effect::Refused(Denial::Role);
        }
        let (new, by) = (self.member(&node.id).is_none(), grant.by.clone());
        let effect = self.enrol(sequence, node, grant, Inheritance::Present, key, at);
        if effect != Effect::Changed {
            return effect;
        }
        if let Warrant::Token(id) = &by {
            self.use_token(sequence, id);
        }
        if new || matches!(by, Warrant::Request(_)) {
            self.drop_requests_of(sequence, &node.id);
        }
        effect
    }

    /// What `warrant` grants as the state is now. A member that sends the same again is one already: it uses nothing.
    fn grant(&self, node: &AdmittedNode, warrant: &Warrant, at: Timestamp) -> Result<Grant, Denial> {
        // Who is on its way out comes in anew: it keeps nothing of what it was granted.
        let known = self.member(&node.id);
        let profiles = || known.map(|known| known.profiles.clone()).unwrap_or_default();
        let at_least = |role: Role| known.map_or(role, |known| known.granted.or_greater(role));
        let same = known.filter(|known| self.may_be_called(known, &node.hostname));
        let kept = same.map(|known| Grant { role: known.granted, profiles: profiles(), by: Warrant::Member });
        let suffices = |grant: &Grant| grant.role.covers(node.role);
        match warrant {
            Warrant::Member | Warrant::Adopted => kept.ok_or(Denial::NotMember),
            Warrant::Open if self.tombstones.contains_key(&node.id) => Err(Denial::Removed),
            Warrant::Open | Warrant::Local => {
                Ok(Grant { role: at_least(node.role), profiles: profiles(), by: warrant.clone() })
            }
            Warrant::Token(id) => {
                if let Some(kept) = kept.filter(suffices) {
                    return Ok(kept);
                }
                let token = self.usable_token(id, &node.hostname, at).ok_or(Denial::Token)?;
                if self.tombstone(&node.id).is_some_and(|stone| !stone.yields_to(token)) {
                    return Err(Denial::Removed);
                }
                let profiles = union(profiles(), &token.terms.profiles);
                Ok(Grant { role: at_least(token.terms.role), profiles, by: warrant.clone() })
            }
            Warrant::Request(id) => {
                let approved = self.approved_request(id, node, at);
                let Some((role, granted)) = approved else { return kept.filter(suffices).ok_or(Denial::NotApproved) };
                Ok(Grant { role: at_least(role), profiles: union(profiles(), granted), by: warrant.clone() })
            }
        }
    }

    fn enrol(
        &mut self,
        sequence: u64,
        node: &AdmittedNode,
        grant: Grant,
        inheritance: Inheritance,
        key: Option<KeyFingerprint>,
        at: Timestamp,
    ) -> Effect {
        if self.is_registered_as(node, key) {
            return Effect::Unchanged;
        }
        let succession = self.succession(node, inheritance, at);
        if let Some(conflict) = self.conflict_of(node, &succession) {
            return Effect::Conflict(conflict);
        }
        let (replaced, legacy) = match succession {
            Ok(Succession::Replaced(old)) => (Some(old.id.clone()), None),
            Ok(Succession::Legacy(old)) => (None, Some(old.clone())),
            Ok(Succession::Own) | Err(_) => (None, None),
        };
        if let Some(old) = replaced {
            self.remove(sequence, &old, at);
        }
        let storage = assignment::assign(self, node);
        if let Some(old) = &legacy {
            self.drop_node(&old.id, sequence);
            self.drop_tombstone(sequence, &old.id);
        }
        let own = self.node(&node.id).cloned();
        self.forget_indexes(&node.id);
        let admitted_by = match (grant.by, &own) {
            (Warrant::Member, Some(known)) => known.admitted_by.clone(),
            (by, _) => by,
        };
        let key = key.or(own.as_ref().and_then(|known| known.key));
        let same_name = own.as_ref().filter(|known| known.hostname == node.hostname);
        let replaceable_since = same_name.and_then(|known| known.replaceable_since);
        // A host that moves over from the first implementation's client keeps its place.
        let before = legacy.or(own);
        let record = NodeRecord {
            id: node.id.clone(),
            keyed: node.keyed,
            hostname: node.hostname.clone(),
            address: node.address,
            role: node.role,
            facts: node.facts.clone(),
            storage,
            ordinal: before.as_ref().map_or(sequence, |known| known.ordinal),
            registered_at: before.as_ref().map_or(at, |known| known.registered_at),
            updated_at: at,
            revision: sequence,
            granted: grant.role,
            profiles: grant.profiles,
            admitted_by,
            key,
            replaceable_since,
            more: before.as_ref().map(|known| known.more).unwrap_or_default(),
            report: before.map(|known| known.report).unwrap_or_default(),
        };
        self.insert(record);
        self.touch(sequence, node_row(&node.id));
        self.drop_tombstone(sequence, &node.id);
        Effect::Changed
    }

    /// Puts a member of the Swarm on record that holds no key yet.
    pub(super) fn adopt(
        &mut self,
        sequence: u64,
        node: &AdmittedNode,
        storage: StorageRole,
        swarm_node_id: &str,
        at: Timestamp,
    ) -> Effect {
        if self.nodes.contains_key(&node.id) {
            return Effect::Unchanged;
        }
        if let Some(conflict) = self.conflict_of(node, &self.succession(node, Inheritance::Present, at)) {
            return Effect::Conflict(conflict);
        }
        self.insert(NodeRecord {
            id: node.id.clone(),
            keyed: false,
            hostname: node.hostname.clone(),
            address: node.address,
            role: node.role,
            facts: node.facts.clone(),
            storage,
            ordinal: sequence,
            registered_at: at,
            updated_at: at,
            revision: sequence,
            report: NodeReport { swarm_node_id: swarm_node_id.to_owned(), ..NodeReport::default() },
            granted: node.role,
            profiles: Vec::new(),
            admitted_by: Warrant::Adopted,
            key: None,
            replaceable_since: None,
            more: Addendum::default(),
        });
        self.touch(sequence, node_row(&node.id));
        Effect::Changed
    }

    pub(super) fn insert(&mut self, record: NodeRecord) {
        *self.counts.slot(record.role) += 1;
        self.by_hostname.insert(record.hostname.clone(), record.id.clone());
        self.by_address.insert(record.address, record.id.clone());
        self.nodes.insert(record.id.clone(), Box::new(record));
    }

    /// Takes a present node out of the indexes and counts, for it to be inserted anew.
    fn forget_indexes(&mut self, id: &NodeId) {
        if let Some(known) = self.nodes.get(id) {
            *self.counts.slot(known.role) -= 1;
            self.by_hostname.remove(&known.hostname);
            self.by_address.remove(&known.address);
        }
    }

    pub(super) fn drop_node(&mut self, id: &NodeId, sequence: u64) -> Effect {
        self.forget_indexes(id);
        if self.nodes.remove(id).is_none() {
            return Effect::Unchanged;
        }
        self.drop_requests_of(sequence, id);
        self.touch(sequence, node_row(id));
        Effect::Changed
    }

    pub(super) fn report(&mut self, sequence: u64, id: &NodeId, report: &NodeReport, more: Addendum) -> Effect {
        let news = |known: &&mut Box<NodeRecord>| known.report != *report || known.more != more;
        let Some(known) = self.nodes.get_mut(id).filter(news) else {
            return Effect::Unchanged;
        };
        (known.report, known.more) = (report.clone(), more);
        known.revision = sequence;
        self.touch(sequence, node_row(id));
        Effect::Changed
    }

    pub(super) fn allow_replacement(&mut self, sequence: u64, id: &NodeId, at: Timestamp) -> Effect {
        let Some(known) = self.nodes.get_mut(id) else { return Effect::Refused(Denial::NotMember) };
        if known.replaceable_until(at).is_some() {
            return Effect::Unchanged;
        }
        known.replaceable_since = Some(at);
        known.revision = sequence;
        self.touch(sequence, node_row(id));
        Effect::Changed
    }
}

fn union(mut profiles: Vec<ProfileName>, more: &[ProfileName]) -> Vec<ProfileName> {
    profiles.extend_from_slice(more);
    profiles.sort();
    profiles.dedup();
    profiles
}
