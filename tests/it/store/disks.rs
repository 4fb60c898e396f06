//! Disks that misbehave. None of them syncs the real disk: the machine does not fail during a test, and a test that
//! simulates it need not wait for it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clusterctl::controller::store::{FileMedium, Medium, OpenMedium};

/// What is to go wrong; shared by every opening of the disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Operations that change the disk or make changes durable, so far.
    operations: AtomicU64,
    /// The one that fails; 0 for none.
    fail_at: AtomicU64,
    /// From the failure on everything that changes the disk fails, reads do not.
    pub(crate) broken: AtomicBool,
    /// Each sync takes this long, in ms.
    pub(crate) sync_ms: AtomicU64,
    /// While set, syncs wait.
    pub(crate) stuck: AtomicBool,
    /// Whether one does.
    pub(crate) standing: AtomicBool,
}

impl Faults {
    /// The `n`-th operation from now on fails, and everything after it until [`repair`](Self::repair).
    pub(crate) fn fail_at(&self, n: u64) {
        self.fail_at.store(self.operations.load(Ordering::SeqCst) + n, Ordering::SeqCst);
    }

    /// Whether the operation that was to fail has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Whether the operation that is to fail has yet to come.
    pub(crate) fn is_armed(&self) -> bool {
        self.operations.load(Ordering::SeqCst) < self.fail_at.load(Ordering::SeqCst)
    }

    pub(crate) fn repair(&self) {
        self.fail_at.store(0, Ordering::SeqCst);
        self.broken.store(false, Ordering::SeqCst);
    }

    fn next(&self) -> io::Result<()> {
        let n = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        if n == self.fail_at.load(Ordering::SeqCst) {
            self.broken.store(true, Ordering::SeqCst);
        }
        if self.broken.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileMedium,
    faults: Arc<Faults>,
}

/// A disk on which `faults` happen.
pub(crate) fn faulty(faults: &Arc<Faults>) -> OpenMedium {
    let faults = Arc::clone(faults);
    Arc::new(move |path: &Path| {
        Ok(Box::new(Faulty { file: FileMedium::open(path)?, faults: Arc::clone(&faults) }) as Box<dyn Medium>)
    })
}

impl Medium for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.next()?;
        self.file.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.next()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.next()?;
        while self.faults.stuck.load(Ordering::SeqCst) {
            self.faults.standing.store(true, Ordering::SeqCst);
            std::thread::yield_now();
        }
        self.faults.standing.store(false, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(self.faults.sync_ms.load(Ordering::SeqCst)));
        Ok(())
    }
}

/// A disk that only fails to be slow.
pub(crate) fn quick() -> OpenMedium {
    faulty(&Arc::default())
}
