//! The state directory: where it may lie, its modes, and the lock that keeps a second controller out.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::OpenError;

/// Why a directory cannot hold the state. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("`{}` lies on a {kind} file system, where locks and syncs cannot be relied on", path.display())]
    Foreign { path: PathBuf, kind: &'static str },
    #[error("cannot use `{}` as the state directory", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// File systems that are served by another process or another host, by the magic number of `statfs(2)`. Locks there
/// may be local, and what was synced may be lost or seen late; the shared volume is one of them.
const FOREIGN: [(u64, &str); 15] = [
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x4750_4653, "GPFS"),
];

/// Says whether the state may lie in `path`, which need not exist yet.
///
/// # Errors
/// [`DirectoryError::Foreign`] on FUSE and network file systems.
pub fn check_directory(path: &Path) -> Result<(), DirectoryError> {
    let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let found = rustix::fs::statfs(existing).map_err(|errno| failed(errno.into()))?;
    match kind(found.f_type.cast_unsigned()) {
        Some(kind) => Err(DirectoryError::Foreign { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The foreign file system with this magic number; some are stored sign-extended.
fn kind(magic: u64) -> Option<&'static str> {
    let magic = magic & 0xffff_ffff;
    FOREIGN.iter().find(|(number, _)| *number == magic).map(|(_, kind)| *kind)
}

/// Where the database lies in a state directory.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("state.redb")
}

/// Makes the directory with mode 0700, or takes others' rights away from it.
pub(super) fn prepare(dir: &Path) -> Result<(), DirectoryError> {
    let failed = |source| DirectoryError::Io { path: dir.to_owned(), source };
    check_directory(dir)?;
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        // It was there, or another process made it at the same moment.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let found = std::fs::metadata(dir).map_err(failed)?;
    if !found.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    if found.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Makes the names in `dir` durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Holds the directory for this process; the kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("state.lock");
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::InUse { path: dir.to_owned(), pid: holder(dir) });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The process that says it holds the directory.
pub(super) fn holder(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(dir.join("state.lock")).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_file_systems_by_their_magic_number() {
        assert_eq!(kind(0x6573_5546), Some("FUSE"));
        assert_eq!(kind(0x6969), Some("NFS"));
        assert_eq!(kind(0xffff_ffff_ff53_4d42), Some("CIFS"));
        assert_eq!(kind(0xef53), None);
    }

    #[test]
    fn makes_private_directories_and_holds_them() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("a/b");
        prepare(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let lock = Lock::take(&dir).unwrap();
        let error = Lock::take(&dir).unwrap_err();
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(lock);
        Lock::take(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        prepare(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    /// `master init` and `master serve` may be started at the same moment on a bare host.
    #[test]
    fn takes_a_directory_that_is_made_meanwhile() {
        for _ in 0..50 {
            let scratch = tempfile::tempdir().unwrap();
            let dir = scratch.path().join("a/b");
            std::thread::scope(|scope| {
                let makers: Vec<_> = (0..4).map(|_| scope.spawn(|| prepare(&dir))).collect();
                for maker in makers {
                    maker.join().unwrap().unwrap();
                }
            });
        }
    }

    #[test]
    fn refuses_a_fuse_file_system() {
        check_directory(Path::new("/")).unwrap();
        assert!(matches!(prepare(Path::new("/dev/null")), Err(DirectoryError::Io { .. })));
    }
}
