//! The state as rows and the commands as records: one row for each entity, each record with its version first.
//!
//! Version 3 is what this program writes. Version 2 knew of one intended change of the volume and of the first half of
//! nodes' reports, and nothing of restored states; in version 1 the node's row had fewer fields yet. Everything else is
//! the same, and commands of earlier versions are the first of those of later ones. Rows' keys begin with a word that
//! sorts after `cluster`, so that this row's version is the first that is seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::nodes::NodeRecord;
use super::{ClusterState, Effect};
use crate::cluster::{Hostname, NodeAddress, NodeId, Role, ShortId};
use crate::controller::command::{
    Command, StorageIntent, StorageRecord, StorageRole, SwarmRecord, Thresholds, Warrant,
};
use crate::controller::store::{Machine, RecordError, RowChange};
use crate::protocol::registration::{Addendum, Facts, NodeReport};

/// The version of every record that this program writes.
const RECORD_VERSION: u8 = 3;
/// The version with one intended change and the first half of reports.
const SECOND_VERSION: u8 = 2;
/// The version without tokens, requests and administrators.
const FIRST_VERSION: u8 = 1;

pub(super) const CLUSTER: &str = "cluster";
const NODE: &str = "node/";
const ADMIN: &str = "remote-admin/";
const REQUEST: &str = "request/";
const TOKEN: &str = "token/";
const TOMBSTONE: &str = "tombstone/";

pub(super) fn node_row(id: &NodeId) -> String {
    format!("{NODE}{id}")
}

pub(super) fn admin_row(name: &str) -> String {
    format!("{ADMIN}{name}")
}

pub(super) fn request_row(id: &ShortId) -> String {
    format!("{REQUEST}{id}")
}

pub(super) fn token_row(id: &ShortId) -> String {
    format!("{TOKEN}{id}")
}

pub(super) fn tombstone_row(id: &NodeId) -> String {
    format!("{TOMBSTONE}{id}")
}

/// The row for everything that there is one of.
#[derive(Debug, Serialize, Deserialize)]
struct ClusterRow {
    cluster_id: Option<String>,
    swarm: Option<SwarmRecord>,
    storage: Option<StorageRecord>,
    latch: Option<Thresholds>,
    intents: Vec<StorageIntent>,
    layout_due: bool,
    revision: u64,
    incarnation: Option<String>,
    newest: Option<Timestamp>,
}

/// The same in versions 1 and 2.
#[derive(Debug, Serialize, Deserialize)]
struct SecondClusterRow {
    cluster_id: Option<String>,
    swarm: Option<SwarmRecord>,
    storage: Option<StorageRecord>,
    latch: Option<Thresholds>,
    intent: Option<StorageIntent>,
    revision: u64,
}

impl From<SecondClusterRow> for ClusterRow {
    fn from(row: SecondClusterRow) -> Self {
        Self {
            cluster_id: row.cluster_id,
            swarm: row.swarm,
            storage: row.storage,
            latch: row.latch,
            intents: row.intent.into_iter().collect(),
            layout_due: false,
            revision: row.revision,
            incarnation: None,
            newest: None,
        }
    }
}

/// A node's row: that of version 2, and the rest of the node's report.
type NodeRow<Node> = (Node, Addendum);

/// A node's row in version 1.
#[derive(Debug, Serialize, Deserialize)]
struct FirstNodeRow {
    id: NodeId,
    keyed: bool,
    hostname: Hostname,
    address: NodeAddress,
    role: Role,
    facts: Facts,
    storage: StorageRole,
    ordinal: u64,
    registered_at: Timestamp,
    updated_at: Timestamp,
    revision: u64,
    report: NodeReport,
}

impl From<FirstNodeRow> for NodeRecord {
    /// Admission was open: what it was is what it was granted.
    fn from(row: FirstNodeRow) -> Self {
        Self {
            id: row.id,
            keyed: row.keyed,
            hostname: row.hostname,
            address: row.address,
            role: row.role,
            facts: row.facts,
            storage: row.storage,
            ordinal: row.ordinal,
            registered_at: row.registered_at,
            updated_at: row.updated_at,
            revision: row.revision,
            report: row.report,
            granted: row.role,
            profiles: Vec::new(),
            admitted_by: Warrant::Open,
            key: None,
            replaceable_since: None,
            more: Addendum::default(),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Most fit, and need not grow step by step.
    let mut record = Vec::with_capacity(256);
    record.push(RECORD_VERSION);
    // Serialising these plain structs into memory cannot fail; an empty record would be refused on reading.
    postcard::to_extend(value, record).unwrap_or_default()
}

/// A record's version, which this program knows, and its body.
fn split(record: &[u8]) -> Result<(u8, &[u8]), RecordError> {
    match record.split_first() {
        Some((version @ (&FIRST_VERSION | &SECOND_VERSION | &RECORD_VERSION), body)) => Ok((*version, body)),
        Some((version, _)) => Err(RecordError::Newer(*version)),
        None => Err(RecordError::Malformed("it is empty".to_owned())),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, RecordError> {
    postcard::from_bytes(body).map_err(|error| RecordError::Malformed(error.to_string()))
}

/// Reads what is the same in every version.
fn decode<T: for<'de> Deserialize<'de>>(record: &[u8]) -> Result<T, RecordError> {
    split(record).and_then(|(_, body)| parse(body))
}

fn decode_node(record: &[u8]) -> Result<NodeRecord, RecordError> {
    let (version, body) = split(record)?;
    match version {
        FIRST_VERSION => parse::<FirstNodeRow>(body).map(NodeRecord::from),
        SECOND_VERSION => parse(body),
        _ => parse(body).map(|(node, more): NodeRow<NodeRecord>| NodeRecord { more, ..node }),
    }
}

fn decode_cluster(record: &[u8]) -> Result<ClusterRow, RecordError> {
    let (version, body) = split(record)?;
    if version < RECORD_VERSION { parse::<SecondClusterRow>(body).map(ClusterRow::from) } else { parse(body) }
}

fn encode_node(node: &NodeRecord) -> Vec<u8> {
    let row: NodeRow<&NodeRecord> = (node, node.more);
    encode(&row)
}

impl ClusterState {
    /// All rows, as they would be folded now.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let keys = std::iter::once(CLUSTER.to_owned())
            .chain(self.nodes.keys().map(node_row))
            .chain(self.admins.keys().map(|name| admin_row(name)))
            .chain(self.requests.keys().map(request_row))
            .chain(self.tokens.keys().map(token_row))
            .chain(self.tombstones.keys().map(tombstone_row));
        keys.filter_map(|key| self.row(&key).map(|record| (key, record))).collect()
    }

    /// A row as it is to be written; `None` if what it was about is gone.
    fn row(&self, key: &str) -> Option<Vec<u8>> {
        if let Some(id) = key.strip_prefix(NODE) {
            NodeId::parse(id).ok().and_then(|id| self.node(&id)).map(encode_node)
        } else if let Some(name) = key.strip_prefix(ADMIN) {
            self.admins.get(name).map(encode)
        } else if let Some(id) = key.strip_prefix(REQUEST) {
            ShortId::parse(id).ok().and_then(|id| self.requests.get(&id)).map(encode)
        } else if let Some(id) = key.strip_prefix(TOKEN) {
            ShortId::parse(id).ok().and_then(|id| self.tokens.get(&id)).map(encode)
        } else if let Some(id) = key.strip_prefix(TOMBSTONE) {
            NodeId::parse(id).ok().and_then(|id| self.tombstones.get(&id)).map(encode)
        } else {
            Some(encode(&ClusterRow {
                cluster_id: self.cluster_id.clone(),
                swarm: self.swarm.clone(),
                storage: self.storage.clone(),
                latch: self.latch,
                intents: self.intents.clone(),
                layout_due: self.layout_due,
                revision: self.revision,
                incarnation: self.incarnation.clone(),
                newest: self.newest,
            }))
        }
    }
}

impl Machine for ClusterState {
    type Command = Command;
    type Effect = Effect;

    const VERSION: u8 = RECORD_VERSION;

    fn encode(command: &Command) -> Vec<u8> {
        encode(command)
    }

    fn decode(record: &[u8]) -> Result<Command, RecordError> {
        decode(record)
    }

    fn apply(&mut self, sequence: u64, command: &Command) -> Effect {
        self.carry_out(sequence, command)
    }

    fn load(&mut self, key: &str, record: &[u8]) -> Result<(), RecordError> {
        if key == CLUSTER {
            let row = decode_cluster(record)?;
            self.cluster_id = row.cluster_id;
            self.swarm = row.swarm;
            self.storage = row.storage;
            self.latch = row.latch;
            self.intents = row.intents;
            self.layout_due = row.layout_due;
            self.revision = row.revision;
            self.incarnation = row.incarnation;
            self.newest = row.newest;
        } else if key.starts_with(NODE) {
            self.insert(decode_node(record)?);
        } else if key.starts_with(ADMIN) {
            let admin: super::AdminRecord = decode(record)?;
            self.admins.insert(admin.name.clone(), admin);
        } else if key.starts_with(REQUEST) {
            self.insert_request(decode(record)?);
        } else if key.starts_with(TOKEN) {
            let token: super::TokenRecord = decode(record)?;
            self.tokens.insert(token.terms.id.clone(), token);
        } else if key.starts_with(TOMBSTONE) {
            let tombstone: super::Tombstone = decode(record)?;
            self.tombstones.insert(tombstone.id.clone(), tombstone);
        } else {
            return Err(RecordError::Malformed(format!("unknown row {key:?}")));
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<RowChange> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|key| RowChange { record: self.row(&key), key }).collect()
    }
}
