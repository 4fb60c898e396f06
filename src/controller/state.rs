//! The controller's state, and the only place where it changes: [`ClusterState::apply`] is deterministic and total.
//!
//! The counts by role are kept, not recounted. Uniqueness of names and addresses is decided here as well, since
//! commands of nodes that register at the same moment meet here first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::assignment;
use super::command::{AdmittedNode, Command, StorageIntent, StorageRecord, SwarmRecord, Thresholds};
use super::store::{Machine, RecordError, RowChange};
use crate::cluster::{Hostname, NodeAddress, NodeId, Role};
use crate::protocol::registration::{Facts, NodeReport};

/// What a node is to the shared volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRole {
    /// Takes no part: storage is off, or the host cannot mount.
    None,
    /// Mounts the volume.
    Client,
    /// Mounts the volume and keeps a brick ready for it, which is taken in when a whole set is there.
    Brick,
}

impl StorageRole {
    /// The word in tables and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Brick => "brick",
        }
    }
}

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
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The state changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// Another node holds the name or the address; nothing changed.
    Conflict(Conflict),
}

/// Why a registration cannot stand beside another node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    Hostname { holder: NodeId },
    Address { holder: Hostname },
}

/// Everything that the controller knows for good.
#[derive(Debug, Default)]
pub struct ClusterState {
    cluster_id: Option<String>,
    swarm: Option<SwarmRecord>,
    storage: Option<StorageRecord>,
    latch: Option<Thresholds>,
    intent: Option<StorageIntent>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    by_hostname: HashMap<Hostname, NodeId>,
    by_address: HashMap<NodeAddress, NodeId>,
    counts: RoleCounts,
    revision: u64,
    dirty: BTreeSet<String>,
}

const ROW_CLUSTER: &str = "cluster";

/// The row for everything that is not a node.
#[derive(Debug, Serialize, Deserialize)]
struct ClusterRow {
    cluster_id: Option<String>,
    swarm: Option<SwarmRecord>,
    storage: Option<StorageRecord>,
    latch: Option<Thresholds>,
    intent: Option<StorageIntent>,
    revision: u64,
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

    #[must_use]
    pub fn intent(&self) -> Option<&StorageIntent> {
        self.intent.as_ref()
    }

    #[must_use]
    pub fn counts(&self) -> RoleCounts {
        self.counts
    }

    /// The sequence of the last command that changed something.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A node by id.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(id)
    }

    /// The node of that name.
    #[must_use]
    pub fn node_named(&self, hostname: &Hostname) -> Option<&NodeRecord> {
        self.by_hostname.get(hostname).and_then(|id| self.nodes.get(id))
    }

    /// The node at that address.
    #[must_use]
    pub fn node_at(&self, address: NodeAddress) -> Option<&NodeRecord> {
        self.by_address.get(&address).and_then(|id| self.nodes.get(id))
    }

    /// The nodes by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// Whether registering `node` would change nothing: then nothing is written (free memory does not count).
    #[must_use]
    pub fn is_registered_as(&self, node: &AdmittedNode) -> bool {
        self.nodes.get(&node.id).is_some_and(|known| {
            known.hostname == node.hostname
                && known.address == node.address
                && known.role == node.role
                && known.keyed == node.keyed
                && Facts { memory_mb: 0, ..known.facts.clone() } == Facts { memory_mb: 0, ..node.facts.clone() }
                && assignment::assign(self, node) == known.storage
        })
    }

    fn register(&mut self, sequence: u64, node: &AdmittedNode, at: Timestamp) -> Effect {
        if self.is_registered_as(node) {
            return Effect::Unchanged;
        }
        if let Some(conflict) = self.conflict(node) {
            return Effect::Conflict(conflict);
        }
        // A host that moves over from the first implementation's client keeps its place.
        let superseded = self.node_named(&node.hostname).filter(|held| held.id != node.id).map(|held| held.id.clone());
        let storage = assignment::assign(self, node);
        let before = self.nodes.get(superseded.as_ref().unwrap_or(&node.id)).cloned();
        if let Some(old) = superseded {
            self.drop_node(&old, sequence);
        }
        self.forget_indexes(&node.id);
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
            report: before.map(|known| known.report).unwrap_or_default(),
        };
        self.insert(record);
        self.touch_node(&node.id, sequence);
        Effect::Changed
    }

    /// Whether another present node holds this one's name or address.
    #[must_use]
    pub fn conflict(&self, node: &AdmittedNode) -> Option<Conflict> {
        let named = self.node_named(&node.hostname).filter(|held| held.id != node.id);
        // A keyed node may take over from a client without a key; nothing else may.
        let superseded = named.filter(|held| node.keyed && !held.keyed);
        if let Some(held) = named
            && superseded.is_none()
        {
            return Some(Conflict::Hostname { holder: held.id.clone() });
        }
        self.node_at(node.address)
            .filter(|held| held.id != node.id && superseded.is_none_or(|old| old.id != held.id))
            .map(|held| Conflict::Address { holder: held.hostname.clone() })
    }

    fn insert(&mut self, record: NodeRecord) {
        *self.counts.slot(record.role) += 1;
        self.by_hostname.insert(record.hostname.clone(), record.id.clone());
        self.by_address.insert(record.address, record.id.clone());
        self.nodes.insert(record.id.clone(), record);
    }

    /// Takes a present node out of the indexes and counts, for it to be inserted anew.
    fn forget_indexes(&mut self, id: &NodeId) {
        if let Some(known) = self.nodes.get(id) {
            *self.counts.slot(known.role) -= 1;
            self.by_hostname.remove(&known.hostname);
            self.by_address.remove(&known.address);
        }
    }

    fn drop_node(&mut self, id: &NodeId, sequence: u64) -> Effect {
        self.forget_indexes(id);
        if self.nodes.remove(id).is_none() {
            return Effect::Unchanged;
        }
        self.touch_node(id, sequence);
        Effect::Changed
    }

    fn report(&mut self, sequence: u64, id: &NodeId, report: &NodeReport) -> Effect {
        let Some(known) = self.nodes.get_mut(id).filter(|known| known.report != *report) else {
            return Effect::Unchanged;
        };
        known.report = report.clone();
        known.revision = sequence;
        self.touch_node(id, sequence);
        Effect::Changed
    }

    fn touch_node(&mut self, id: &NodeId, sequence: u64) {
        self.revision = sequence;
        self.dirty.insert(node_row(id));
        self.dirty.insert(ROW_CLUSTER.to_owned());
    }

    fn set<T: PartialEq>(&mut self, sequence: u64, field: fn(&mut Self) -> &mut T, value: T) -> Effect {
        if *field(self) == value {
            return Effect::Unchanged;
        }
        *field(self) = value;
        self.revision = sequence;
        self.dirty.insert(ROW_CLUSTER.to_owned());
        Effect::Changed
    }
}

fn node_row(id: &NodeId) -> String {
    format!("node/{id}")
}

/// The version of every record that this program writes.
const RECORD_VERSION: u8 = 1;

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising these plain structs into memory cannot fail; an empty record would be refused on reading.
    postcard::to_extend(value, vec![RECORD_VERSION]).unwrap_or_default()
}

fn decode<T: for<'de> Deserialize<'de>>(record: &[u8]) -> Result<T, RecordError> {
    match record.split_first() {
        Some((&RECORD_VERSION, body)) => {
            postcard::from_bytes(body).map_err(|error| RecordError::Malformed(error.to_string()))
        }
        Some((version, _)) => Err(RecordError::Newer(*version)),
        None => Err(RecordError::Malformed("it is empty".to_owned())),
    }
}

impl Machine for ClusterState {
    type Command = Command;
    type Effect = Effect;

    fn encode(command: &Command) -> Vec<u8> {
        encode(command)
    }

    fn decode(record: &[u8]) -> Result<Command, RecordError> {
        decode(record)
    }

    fn apply(&mut self, sequence: u64, command: &Command) -> Effect {
        match command {
            Command::Initialise { cluster_id, at: _ } => {
                if self.cluster_id.is_some() {
                    return Effect::Unchanged;
                }
                self.set(sequence, |state| &mut state.cluster_id, Some(cluster_id.clone()))
            }
            Command::RecordSwarm { swarm } => self.set(sequence, |state| &mut state.swarm, Some(swarm.clone())),
            Command::ConfigureStorage { storage } => self.set(sequence, |state| &mut state.storage, storage.clone()),
            Command::Register { node, at } => self.register(sequence, node, *at),
            Command::Deregister { id, at: _ } => self.drop_node(id, sequence),
            Command::Report { id, report } => self.report(sequence, id, report),
            Command::LatchGate { thresholds } => self.set(sequence, |state| &mut state.latch, Some(*thresholds)),
            Command::RecordIntent { intent } => self.set(sequence, |state| &mut state.intent, Some(intent.clone())),
            Command::ClearIntent => self.set(sequence, |state| &mut state.intent, None),
        }
    }

    fn load(&mut self, key: &str, record: &[u8]) -> Result<(), RecordError> {
        if key == ROW_CLUSTER {
            let row: ClusterRow = decode(record)?;
            self.cluster_id = row.cluster_id;
            self.swarm = row.swarm;
            self.storage = row.storage;
            self.latch = row.latch;
            self.intent = row.intent;
            self.revision = row.revision;
            return Ok(());
        }
        if !key.starts_with("node/") {
            return Err(RecordError::Malformed(format!("unknown row {key:?}")));
        }
        self.insert(decode(record)?);
        Ok(())
    }

    fn changes(&mut self) -> Vec<RowChange> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .map(|key| {
                let record = match key.strip_prefix("node/").and_then(|id| NodeId::parse(id).ok()) {
                    Some(id) => self.nodes.get(&id).map(encode),
                    None => Some(encode(&ClusterRow {
                        cluster_id: self.cluster_id.clone(),
                        swarm: self.swarm.clone(),
                        storage: self.storage.clone(),
                        latch: self.latch,
                        intent: self.intent.clone(),
                        revision: self.revision,
                    })),
                };
                RowChange { key, record }
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
