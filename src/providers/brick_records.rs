//! Which bricks this node made: recorded before the directory is, so that what is found there later can be told from
//! somebody else's data.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::cluster::{BrickPath, VolumeName};

/// The records in one directory, the node's own.
#[derive(Debug, Clone)]
pub struct BrickRecords {
    directory: PathBuf,
}

/// The file's form; the version comes first in every later one too.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Records {
    version: u32,
    bricks: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    path: BrickPath,
    volume: VolumeName,
}

const FILE: &str = "bricks.json";
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 1024 * 1024;

impl BrickRecords {
    /// The records kept in `directory`.
    #[must_use]
    pub fn below(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether this node made the brick for that volume.
    ///
    /// # Errors
    /// If the records cannot be read; they are never taken for empty then.
    pub fn contains(&self, path: &BrickPath, volume: &VolumeName) -> io::Result<bool> {
        let record = Record { path: path.clone(), volume: volume.clone() };
        Ok(self.read()?.bricks.contains(&record))
    }

    /// Records that this node is about to make the brick.
    ///
    /// # Errors
    /// If the records cannot be read or written.
    pub fn add(&self, path: &BrickPath, volume: &VolumeName) -> io::Result<()> {
        let mut records = self.read()?;
        let record = Record { path: path.clone(), volume: volume.clone() };
        if records.bricks.contains(&record) {
            return Ok(());
        }
        records.version = VERSION;
        records.bricks.push(record);
        files::create_dir_private(&self.directory)?;
        let bytes = serde_json::to_vec_pretty(&records).map_err(io::Error::other)?;
        files::write_if_different(&self.file(), &bytes, 0o600).map(drop)
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn read(&self) -> io::Result<Records> {
        let bytes = match files::read_limited(&self.file(), MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Records::default()),
            Err(error) => return Err(error),
        };
        let damaged =
            |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", self.file().display()));
        let records: Records = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if records.version > VERSION {
            return Err(damaged(format!("version {} is newer than this program", records.version)));
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_bricks_and_never_takes_damage_for_emptiness() {
        let dir = tempfile::tempdir().unwrap();
        let records = BrickRecords::below(&dir.path().join("node"));
        let path = BrickPath::parse("/data/x").unwrap();
        let (one, two) = (VolumeName::parse("one").unwrap(), VolumeName::parse("two").unwrap());
        assert!(!records.contains(&path, &one).unwrap());
        records.add(&path, &one).unwrap();
        records.add(&path, &one).unwrap();
        assert!(records.contains(&path, &one).unwrap() && !records.contains(&path, &two).unwrap());
        std::fs::write(records.file(), "rubbish").unwrap();
        assert!(records.contains(&path, &one).is_err());
        std::fs::write(records.file(), r#"{"version":9,"bricks":[]}"#).unwrap();
        assert!(records.contains(&path, &one).unwrap_err().to_string().contains("newer"));
    }
}
