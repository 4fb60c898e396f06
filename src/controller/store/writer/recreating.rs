//! A state out of rows that were kept elsewhere.

use std::path::Path;

use super::super::{OpenError, StoreOptions, directory};
use super::loading::{create, open_error};
use super::{Disk, Extent, Lock};

/// Makes the state in `dir`, which must hold none, out of rows; `sequence` is the last command that they contain.
/// Whether the rows are a state is seen when it is opened. Blocks.
///
/// # Errors
/// See [`OpenError`]; what was made so far is left.
pub fn recreate(dir: &Path, sequence: u64, rows: Vec<(String, Vec<u8>)>) -> Result<(), OpenError> {
    directory::prepare(dir)?;
    let _lock = Lock::take(dir)?;
    let (path, options) = (directory::database(dir), StoreOptions::default());
    let failed = |error: super::DiskError| open_error(dir, &path, error.into());
    create(dir, &path, &options)?;
    let disk = Disk::open(&path, None, options.cache).map_err(failed)?;
    let rows = rows.into_iter().map(|(key, record)| (key, Some(record))).collect();
    let nothing = Extent { folded: 0, last: sequence, rows: 0, row_bytes: 0 };
    disk.fold(&rows, nothing).map(drop).map_err(failed)
}

/// Whether there is a state in `dir`, in whatever condition.
#[must_use]
pub fn holds_state(dir: &Path) -> bool {
    directory::database(dir).exists()
}
