//! A file that keeps some of the disk back for the day when it is full: given up then, it lets the state be written a
//! while longer, until somebody makes room. It holds nothing.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// It is made only where so many times its size is free: it must not be what fills the disk.
const ROOM: u64 = 4;

/// The reserve beside a state.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// Makes sure of the reserve in `dir`, if there is room for it; 0 bytes are none.
    pub(super) fn keep(dir: &Path, bytes: u64) -> Self {
        let mut reserve = Self { path: dir.join("state.reserve"), bytes, held: false };
        reserve.renew();
        reserve
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Gives it to whoever writes next.
    pub(super) fn release(&mut self) {
        if !std::mem::take(&mut self.held) {
            return;
        }
        match std::fs::remove_file(&self.path) {
            Ok(()) => tracing::error!(
                bytes = self.bytes,
                "the reserve of the state's disk is given up: make room there, or registrations stop"
            ),
            Err(error) => tracing::warn!(path = %self.path.display(), "the reserve cannot be given up: {error}"),
        }
    }

    /// Makes it (again), if there is room. That it cannot be made is no reason not to serve.
    pub(super) fn renew(&mut self) {
        if self.held || self.bytes == 0 {
            return;
        }
        match self.make() {
            Ok(held) => self.held = held,
            Err(error) => {
                std::fs::remove_file(&self.path).ok();
                tracing::debug!(path = %self.path.display(), "no reserve is kept: {error}");
            }
        }
    }

    fn make(&self) -> io::Result<bool> {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.len() == self.bytes) {
            return Ok(true);
        }
        let parent = self.path.parent().unwrap_or(Path::new("."));
        let found = rustix::fs::statvfs(parent)?;
        if found.f_bavail.saturating_mul(found.f_frsize) < self.bytes.saturating_mul(ROOM) {
            return Ok(false);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        Ok(true)
    }
}
