//! From the file to the state: making the file, loading its rows, and applying the journal that follows them.
//!
//! A file that cannot be read in whole is an error, never a reason to begin anew.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{OpenError, RecordError, directory};
use super::{Disk, DiskError, Extent, Machine, StoreOptions};

/// Why a file cannot be loaded or taken up again.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{place}: {source}")]
    Record { place: String, source: RecordError },
}

/// Makes the database beside its place and renames it there, so that an empty file in its place is never ours.
pub(super) fn create(dir: &Path, path: &Path, options: &StoreOptions) -> Result<(), OpenError> {
    let draft = path.with_extension("redb.new");
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    Disk::create(&draft, options.medium.as_ref(), options.cache)
        .map_err(|error| open_error(dir, &draft, error.into()))?;
    std::fs::rename(&draft, path).map_err(io)?;
    directory::sync(dir).map_err(io)
}

/// Loads everything; says how far the file goes, and the greatest version among its records, if there are any.
pub(super) fn load<M: Machine>(disk: &Disk, machine: &mut M) -> Result<(Extent, Option<u8>), LoadError> {
    let mut extent = disk.extent()?;
    let mut written_by = None;
    let mut rows = 0;
    disk.each_row(|key, record| {
        rows += 1;
        written_by = written_by.max(record.first().copied());
        machine.load(key, record).map_err(|source| LoadError::Record { place: format!("the row `{key}`"), source })
    })?;
    if rows != extent.rows {
        let what = format!("it should have {} rows and has {rows}", extent.rows);
        return Err(DiskError::Corrupt(what).into());
    }
    // What was loaded is what the rows say, whether or not the machine marks it.
    drop(machine.changes());
    let last = extent.last;
    extent.last = extent.folded;
    disk.each_record(extent.folded, |sequence, record| {
        let command = decode::<M>(sequence, record)?;
        written_by = written_by.max(record.first().copied());
        machine.apply(sequence, &command);
        extent.last = sequence;
        Ok::<_, LoadError>(())
    })?;
    if extent.last != last {
        return Err(DiskError::Corrupt(format!("the journal ends at {last}, after {}", extent.last)).into());
    }
    Ok((extent, written_by))
}

pub(super) fn decode<M: Machine>(sequence: u64, record: &[u8]) -> Result<M::Command, LoadError> {
    M::decode(record).map_err(|source| LoadError::Record { place: format!("the journal at {sequence}"), source })
}

pub(super) fn take_changes<M: Machine>(machine: &mut M) -> BTreeMap<String, Option<Vec<u8>>> {
    machine.changes().into_iter().map(|change| (change.key, change.record)).collect()
}

pub(super) fn open_error(dir: &Path, path: &Path, error: LoadError) -> OpenError {
    let path = path.to_owned();
    match error {
        LoadError::Disk(DiskError::InUse) => OpenError::InUse { path, pid: directory::holder(dir) },
        LoadError::Disk(error @ DiskError::NewerFormat { .. }) => {
            OpenError::NewerFormat { path, what: error.to_string() }
        }
        LoadError::Record { source: RecordError::Newer(_), .. } => {
            OpenError::NewerFormat { path, what: error.to_string() }
        }
        LoadError::Disk(DiskError::Corrupt(what)) => OpenError::Corrupt { path, what },
        LoadError::Record { source: RecordError::Malformed(_), .. } => {
            OpenError::Corrupt { path, what: error.to_string() }
        }
        LoadError::Disk(DiskError::Failed(what)) => OpenError::Io { path, source: std::io::Error::other(what) },
    }
}
