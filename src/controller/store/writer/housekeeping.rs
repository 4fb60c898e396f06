//! What the writer does between batches: it folds the journal into the rows, and compacts the file.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::loading::take_changes;
use super::{Machine, Writer};

/// The file may be this much larger than twice what lives before it is compacted.
const COMPACT_SLACK: u64 = 16 * 1024 * 1024;

impl<M: Machine> Writer<M> {
    pub(super) fn keep_house(&mut self) {
        if self.disk.is_none() {
            if self.reopen.0 <= Instant::now() {
                self.take_up_again();
            }
            return;
        }
        let many = self.extent.last - self.extent.folded >= self.options.fold_records;
        let old = self.unfolded_since.is_some_and(|since| since.elapsed() >= self.options.fold_after);
        if many || old {
            self.fold();
            if self.shared.queued.load(Ordering::Relaxed) == 0 {
                self.compact();
            }
        }
    }

    pub(super) fn fold(&mut self) {
        let Some(disk) = &self.disk else { return };
        {
            let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
            self.unfolded.append(&mut take_changes(&mut *machine));
        }
        match disk.fold(&self.unfolded, self.extent) {
            Ok(extent) => {
                self.extent = extent;
                self.unfolded.clear();
                self.unfolded_since = None;
                self.prove();
                self.reserve.renew();
                self.shared.board().folds += 1;
                self.post();
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn compact(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let size = disk.file_bytes();
        if size <= (2 * self.extent.row_bytes).max(self.compacted_to) + COMPACT_SLACK {
            return;
        }
        match disk.compact() {
            Ok(()) => {
                self.compacted_to = disk.file_bytes();
                tracing::info!(before = size, after = self.compacted_to, "compacted the state");
                self.shared.board().compactions += 1;
                self.post();
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }
}
