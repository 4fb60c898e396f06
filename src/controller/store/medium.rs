//! What a database file is kept on, as far as a test may want to replace it: a disk that fails its n-th operation, is
//! full, is slow, or loses what was not synced.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Opens what lies at a path, making it if it is not there.
pub type OpenMedium = Arc<dyn Fn(&Path) -> io::Result<Box<dyn Medium>> + Send + Sync>;

/// Random access to bytes that can be made durable.
pub trait Medium: Debug + Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing yet.
    ///
    /// # Errors
    /// What the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// What the disk says.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or extends with zeros.
    ///
    /// # Errors
    /// What the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the disk says; what was written is in doubt then.
    fn sync(&self) -> io::Result<()>;
}

/// A plain file, for a medium that adds something to one.
#[derive(Debug)]
pub struct FileMedium(File);

impl FileMedium {
    /// Opens the file at `path`, making it if it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Self)
    }
}

impl Medium for FileMedium {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|found| found.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
