//! After an I/O error: nothing that the database says is believed until it has been opened again, and what turned out to
//! be durable is applied then.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::loading::{LoadError, decode};
use super::{Disk, DiskError, Extent, Machine, Writer};

impl<M: Machine> Writer<M> {
    /// Stops believing the database.
    pub(super) fn fail(&mut self, reason: &str) {
        if self.disk.take().is_some() {
            // A full disk lets itself be opened and refuses the next write: until one goes through, the wait grows.
            let wait = if self.proved { self.options.reopen.0 } else { (self.reopen.1 * 2).min(self.options.reopen.1) };
            if self.proved {
                tracing::error!(path = %self.path.display(), reason, "the state cannot be written");
            }
            self.proved = false;
            self.reserve.release();
            // What is to be folded is in the journal; trying that again at once would fail again.
            self.unfolded_since = self.unfolded_since.map(|_| Instant::now());
            self.shared.board().failing = Some((Instant::now(), reason.to_owned()));
            self.shared.failing.store(true, Ordering::Release);
            self.reopen = (Instant::now() + wait, wait);
        }
    }

    /// Something was written.
    pub(super) fn prove(&mut self) {
        if !self.proved {
            self.proved = true;
            tracing::info!(path = %self.path.display(), sequence = self.extent.last, "the state can be written again");
        }
    }

    pub(super) fn failure(&self) -> String {
        self.shared.board().failing.as_ref().map(|(_, reason)| reason.clone()).unwrap_or_default()
    }

    /// Opens the database again and applies what turned out to be durable.
    pub(super) fn take_up_again(&mut self) {
        match self.reopened() {
            Ok(disk) => {
                tracing::debug!(path = %self.path.display(), "the state is open again");
                self.disk = Some(disk);
                self.shared.board().failing = None;
                self.post();
                self.shared.failing.store(false, Ordering::Release);
                self.changed.send_replace(self.extent.last);
            }
            Err(error) => {
                if let Some((_, reason)) = &mut self.shared.board().failing {
                    *reason = error.to_string();
                }
                let wait = (self.reopen.1 * 2).min(self.options.reopen.1);
                self.reopen = (Instant::now() + wait, wait);
            }
        }
    }

    fn reopened(&mut self) -> Result<Disk, LoadError> {
        forget_cached(&self.path);
        let disk = Disk::open(&self.path, self.options.medium.as_ref(), self.options.cache)?;
        let found = disk.extent()?;
        if found.last < self.extent.last {
            let what = format!("it ends at {}, but {} was acknowledged", found.last, self.extent.last);
            return Err(DiskError::Corrupt(what).into());
        }
        let known = self.extent.last;
        self.extent = Extent { last: known, ..found };
        let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        disk.each_record(known, |sequence, record| {
            let command = decode::<M>(sequence, record)?;
            machine.apply(sequence, &command);
            self.extent.last = sequence;
            Ok::<_, LoadError>(())
        })?;
        if self.extent.last > self.extent.folded {
            self.unfolded_since.get_or_insert_with(Instant::now);
        }
        Ok(disk)
    }
}

/// After a failed sync the kernel may hold pages that never reached the disk as if they had; what is read next must
/// come from the disk.
fn forget_cached(path: &Path) {
    if let Ok(file) = std::fs::File::open(path) {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).ok();
    }
}
