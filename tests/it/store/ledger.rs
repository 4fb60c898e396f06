//! A state machine as small as can be: numbers by name.

use std::collections::{BTreeMap, BTreeSet};

use clusterctl::controller::store::{Machine, RecordError, RowChange};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Set { key: String, value: u64 },
    Remove { key: String },
    Blob { key: String, bytes: usize },
    Clear,
    FromTheFuture,
}

impl Change {
    pub(crate) fn set(key: &str, value: u64) -> Self {
        Self::Set { key: key.to_owned(), value }
    }

    pub(crate) fn remove(key: &str) -> Self {
        Self::Remove { key: key.to_owned() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) values: BTreeMap<String, u64>,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    changed: BTreeSet<String>,
    newer: bool,
}

impl Machine for Ledger {
    type Command = Change;
    type Effect = Option<u64>;

    const VERSION: u8 = 1;

    fn encode(command: &Change) -> Vec<u8> {
        let mut record = vec![1];
        record.extend(serde_json::to_vec(command).unwrap());
        record
    }

    fn decode(record: &[u8]) -> Result<Change, RecordError> {
        match record {
            [1, json @ ..] => serde_json::from_slice(json).map_err(|error| RecordError::Malformed(error.to_string())),
            [version, ..] => Err(RecordError::Newer(*version)),
            [] => Err(RecordError::Malformed("empty".to_owned())),
        }
    }

    fn apply(&mut self, _sequence: u64, command: &Change) -> Option<u64> {
        match command {
            Change::Set { key, value } => {
                self.changed.insert(key.clone());
                self.values.insert(key.clone(), *value)
            }
            Change::Remove { key } => {
                self.changed.insert(key.clone());
                self.values.remove(key)
            }
            Change::Blob { key, bytes } => {
                self.changed.insert(key.clone());
                self.blobs.insert(key.clone(), vec![7; *bytes]);
                None
            }
            Change::Clear => {
                self.changed.extend(std::mem::take(&mut self.values).into_keys());
                self.changed.extend(std::mem::take(&mut self.blobs).into_keys());
                None
            }
            Change::FromTheFuture => {
                self.newer = true;
                self.changed.insert("future".to_owned());
                None
            }
        }
    }

    fn load(&mut self, key: &str, record: &[u8]) -> Result<(), RecordError> {
        match record {
            [1, value @ ..] if value.len() == 8 => {
                self.values.insert(key.to_owned(), u64::from_le_bytes(value.try_into().unwrap()));
            }
            [2, blob @ ..] => {
                self.blobs.insert(key.to_owned(), blob.to_vec());
            }
            [version, ..] => return Err(RecordError::Newer(*version)),
            [] => return Err(RecordError::Malformed("empty".to_owned())),
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<RowChange> {
        let row = |key: String| {
            let value = self.values.get(&key).map(|value| [&[1][..], &value.to_le_bytes()].concat());
            let blob = self.blobs.get(&key).map(|blob| [&[2][..], blob].concat());
            let future = (self.newer && key == "future").then(|| vec![200]);
            RowChange { record: value.or(blob).or(future), key }
        };
        std::mem::take(&mut self.changed).into_iter().map(row).collect()
    }
}
