//! The database file. The only file that names redb.
//!
//! Every transaction is durable and two-phase: what it says is on the disk before the header points to it. Three tables:
//! `meta` (numbers by name), `journal` (commands by ascending sequence; ascending keys cost a fifth of random ones) and
//! `rows` (the folded state).
//!
//! Only a fold writes down which pages are free (`quick_repair`). An append that did would write a third more and take
//! twice the CPU time; after a crash between two folds the next start finds the free pages by a walk over the file,
//! which takes a few microseconds for each node on record.
//!
//! After any error but `InUse`, the caller must drop this and open it anew: redb refuses to go on after an I/O error,
//! and what its cache holds is in doubt.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ::redb::{
    Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError, WriteTransaction,
};

use super::medium::Medium;
use super::{FORMAT, OpenMedium, seal};
use crate::failpoint;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const JOURNAL: TableDefinition<u64, &[u8]> = TableDefinition::new("journal");
const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("rows");

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("another process has it open")]
    InUse,
    #[error("its format is {found}; this program knows formats up to {FORMAT}")]
    NewerFormat { found: u64 },
    #[error("{0}")]
    Corrupt(String),
    #[error("{0}")]
    Failed(String),
}

fn failed(error: impl Into<::redb::Error>) -> DiskError {
    match error.into() {
        ::redb::Error::DatabaseAlreadyOpen => DiskError::InUse,
        ::redb::Error::Corrupted(what) => DiskError::Corrupt(what),
        // This is how a file that is no database, or only a part of one, is reported.
        ::redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            DiskError::Corrupt(error.to_string())
        }
        other => DiskError::Failed(other.to_string()),
    }
}

/// How far the file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The last command that is in the rows.
    pub(super) folded: u64,
    /// The last command in the file.
    pub(super) last: u64,
    pub(super) rows: u64,
    /// Bytes of keys and values in the rows.
    pub(super) row_bytes: u64,
}

/// How the start after a crash knows which pages are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Free {
    /// It is written down.
    Recorded,
    /// By a walk over the file.
    Found,
}

/// An open database file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
}

impl Disk {
    /// Makes a new database with its format and no rows. `path` must not be there yet.
    pub(super) fn create(path: &Path, medium: Option<&OpenMedium>, cache: usize) -> Result<(), DiskError> {
        let io = |error: io::Error| DiskError::Failed(error.to_string());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let database = match medium {
            Some(open) => builder(cache).create_with_backend(Backend(open(path).map_err(io)?)),
            None => builder(cache).create(path),
        };
        let disk = Self { database: database.map_err(failed)?, path: path.to_owned() };
        disk.write(Free::Recorded, |transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            for name in ["folded", "rows", "row-bytes"] {
                meta.insert(name, 0)?;
            }
            transaction.open_table(JOURNAL)?;
            transaction.open_table(ROWS)?;
            Ok(())
        })
    }

    /// Opens a database that is there.
    pub(super) fn open(path: &Path, medium: Option<&OpenMedium>, cache: usize) -> Result<Self, DiskError> {
        let io = |error: io::Error| DiskError::Failed(error.to_string());
        let found = std::fs::metadata(path).map_err(io)?;
        if found.len() == 0 {
            return Err(DiskError::Corrupt("it is empty".to_owned()));
        }
        // The database asserts what a damaged file breaks.
        let opening = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match medium {
            Some(open) => Ok(builder(cache).create_with_backend(Backend(open(path)?))),
            None => Ok(builder(cache).open(path)),
        }));
        let panicked = |_| DiskError::Corrupt("the database cannot make sense of it".to_owned());
        let database = opening.map_err(panicked)?.map_err(io)?.map_err(failed)?;
        let disk = Self { database, path: path.to_owned() };
        let transaction = disk.database.begin_read().map_err(failed)?;
        let format = match transaction.open_table(META) {
            Ok(meta) => meta.get("format").map_err(failed)?.map(|row| row.value()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        drop(transaction);
        match format {
            Some(FORMAT) => Ok(disk),
            Some(found) if found > FORMAT => Err(DiskError::NewerFormat { found }),
            Some(_) | None => Err(DiskError::Corrupt("it does not say its format".to_owned())),
        }
    }

    /// How far the file goes.
    pub(super) fn extent(&self) -> Result<Extent, DiskError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let meta = transaction.open_table(META).map_err(failed)?;
        let number = |name: &str| match meta.get(name).map_err(failed)? {
            Some(row) => Ok(row.value()),
            None => Err(DiskError::Corrupt(format!("the number `{name}` is missing"))),
        };
        let folded = number("folded")?;
        let journal = transaction.open_table(JOURNAL).map_err(failed)?;
        let last = journal.last().map_err(failed)?.map_or(folded, |(key, _)| key.value());
        Ok(Extent { folded, last, rows: number("rows")?, row_bytes: number("row-bytes")? })
    }

    /// Hands out every row, in the order of the keys.
    pub(super) fn each_row<E: From<DiskError>>(
        &self,
        mut take: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let rows = transaction.open_table(ROWS).map_err(failed)?;
        for row in rows.iter().map_err(failed)? {
            let (key, sealed) = row.map_err(failed)?;
            let key = key.value();
            let record = seal::unseal(key, sealed.value());
            let record = record.ok_or_else(|| DiskError::Corrupt(format!("the row `{}`", key.escape_debug())))?;
            take(key, record)?;
        }
        Ok(())
    }

    /// Hands out every journal record after `sequence`, in order and without a gap.
    pub(super) fn each_record<E: From<DiskError>>(
        &self,
        after: u64,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let journal = transaction.open_table(JOURNAL).map_err(failed)?;
        let entries = journal.range(after + 1..).map_err(failed)?;
        for (expected, entry) in (after + 1..).zip(entries) {
            let (key, sealed) = entry.map_err(failed)?;
            let record = seal::unseal("", sealed.value()).filter(|_| key.value() == expected);
            let record = record.ok_or_else(|| DiskError::Corrupt(format!("the journal at {expected}")))?;
            take(expected, record)?;
        }
        Ok(())
    }

    /// Adds sealed records under ascending numbers from `first` on, durably.
    pub(super) fn append<'a>(&self, first: u64, records: impl Iterator<Item = &'a [u8]>) -> Result<(), DiskError> {
        self.write(Free::Found, |transaction| {
            let mut journal = transaction.open_table(JOURNAL)?;
            for (key, record) in (first..).zip(records) {
                journal.insert(key, record)?;
            }
            Ok(failpoint::pass_blocking("after-insert")?)
        })
    }

    /// Writes the rows that changed and empties the journal, all of which they contain, durably.
    pub(super) fn fold(
        &self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        extent: Extent,
    ) -> Result<Extent, DiskError> {
        let mut folded = Extent { folded: extent.last, ..extent };
        self.write(Free::Recorded, |transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            for (key, record) in changes {
                let before = match record {
                    Some(record) => {
                        let sealed = seal::seal(key, record);
                        folded.rows += 1;
                        folded.row_bytes += (key.len() + sealed.len()) as u64;
                        rows.insert(key.as_str(), sealed.as_slice())?
                    }
                    None => rows.remove(key.as_str())?,
                };
                if let Some(before) = before {
                    folded.rows -= 1;
                    folded.row_bytes -= (key.len() + before.value().len()) as u64;
                }
            }
            transaction.delete_table(JOURNAL)?;
            transaction.open_table(JOURNAL)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert("folded", folded.folded)?;
            meta.insert("rows", folded.rows)?;
            meta.insert("row-bytes", folded.row_bytes)?;
            Ok(())
        })?;
        Ok(folded)
    }

    /// Gives free pages back to the file system. Takes as long as a rewrite of what lives.
    pub(super) fn compact(&mut self) -> Result<(), DiskError> {
        self.database.compact().map(drop).map_err(failed)
    }

    /// The size of the file; 0 if it cannot be told.
    pub(super) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    fn write(
        &self,
        free: Free,
        change: impl FnOnce(&WriteTransaction) -> Result<(), ::redb::Error>,
    ) -> Result<(), DiskError> {
        let reach = |point| failpoint::pass_blocking(point).map_err(failed);
        reach("before-begin")?;
        let mut transaction = self.database.begin_write().map_err(failed)?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(free == Free::Recorded);
        change(&transaction).map_err(failed)?;
        reach("before-commit")?;
        transaction.commit().map_err(failed)?;
        reach("after-commit")
    }
}

fn builder(cache: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    builder
}

/// Lets a [`Medium`] be a database's storage. It takes no lock; the directory's lock holds as well.
#[derive(Debug)]
struct Backend(Box<dyn Medium>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
