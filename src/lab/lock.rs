//! One command at a time on a lab, and on the choice of addresses. The lock is the directory itself, so it leaves no
//! file behind; the kernel drops it with its holder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _dir: File,
}

/// Why the lock was not had. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another `clusterctl lab` has been at work in {0} for too long")]
    Held(String),
    #[error("cannot lock {dir}")]
    Io {
        dir: String,
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Makes `dir` if needed and locks it.
    ///
    /// # Errors
    /// Somebody holds it longer than `within`.
    pub async fn take(dir: &Path, within: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + within;
        let failed = |source| LockError::Io { dir: dir.display().to_string(), source };
        loop {
            fs::create_dir_all(dir).map_err(failed)?;
            match File::open(dir) {
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    // The previous holder may have removed the directory that we waited for.
                    Ok(()) if is_still(&file, dir).map_err(failed)? => return Ok(Self { _dir: file }),
                    Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => {}
                    Err(error) => return Err(failed(error.into())),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            if Instant::now() > deadline {
                return Err(LockError::Held(dir.display().to_string()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_still(file: &File, dir: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(dir) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = Lock::take(&path, Duration::ZERO).await.unwrap();
        assert!(matches!(Lock::take(&path, Duration::ZERO).await, Err(LockError::Held(_))));
        drop(held);
        drop(Lock::take(&path, Duration::ZERO).await.unwrap());
    }

    #[tokio::test]
    async fn a_directory_that_its_holder_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let first = Lock::take(&path, Duration::ZERO).await.unwrap();
        let (second, ()) = tokio::join!(Lock::take(&path, Duration::from_secs(10)), async {
            fs::remove_dir(&path).unwrap();
            drop(first);
        });
        second.unwrap();
        assert!(path.is_dir());
    }
}
