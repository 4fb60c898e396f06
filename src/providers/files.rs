//! Files that are written only if they differ, atomically, with their mode.
//!
//! A file is written beside its target, synced, renamed over it, and the directory is synced: after a crash there is
//! the old content or the new one. A symbolic link at the target is refused, never followed and never replaced: these
//! files are written by root, and the link may be somebody else's. Parents are the caller's business.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How the name of a half-written file ends.
const TMP_SUFFIX: &str = ".clusterctl.tmp";

/// What a write did, so that a service is restarted only if its file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Whether content or mode was different.
    pub changed: bool,
}

/// Makes `path` a regular file with these bytes and this mode (`0o600`). Blocks; a leftover of an interrupted write is
/// removed.
///
/// # Errors
/// If something other than a regular file is there, or on input and output; the old content is then untouched.
pub fn write_if_different(path: &Path, bytes: &[u8], mode: u32) -> io::Result<Written> {
    let tmp = beside(path)?;
    remove_if_there(&tmp)?;
    if is_there(path)? && same(path, bytes, mode)? {
        return Ok(Written { changed: false });
    }
    let result = write_new(&tmp, bytes, mode).and_then(|()| std::fs::rename(&tmp, path));
    if let Err(error) = result {
        // The first error is the one to tell; what is left is removed by the next write.
        std::fs::remove_file(&tmp).ok();
        return Err(error);
    }
    sync_parent(path)?;
    Ok(Written { changed: true })
}

/// Makes a regular file with these bytes and this mode, whole, unless something of that name is there already; says
/// whether it did. Of several that try at the same moment exactly one does. Blocks.
///
/// # Errors
/// On input and output.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let (beside, mut file) = open_beside(path, mode)?;
    let linked = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        // A link fails where the name is taken, which a rename would not.
        .and_then(|()| std::fs::hard_link(&beside, path));
    std::fs::remove_file(&beside)?;
    match linked {
        Ok(()) => {
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A new file beside `path` that no other writer has. Counted rather than random: an empty root gives no randomness.
fn open_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    for count in 0..u32::MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{count}{TMP_SUFFIX}", std::process::id()));
        let beside = PathBuf::from(name);
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside) {
            Ok(file) => return Ok((beside, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes a regular file, durably; one that is not there is no error.
///
/// # Errors
/// If something other than a regular file is there, or on input and output.
pub fn remove_file(path: &Path) -> io::Result<Written> {
    if !is_there(path)? {
        return Ok(Written { changed: false });
    }
    std::fs::remove_file(path)?;
    sync_parent(path)?;
    Ok(Written { changed: true })
}

/// Makes `path` a directory that only its owner may enter (0700); its parents get 0755. A directory that is there keeps
/// its owner and loses what others may do.
///
/// # Errors
/// If something other than a directory is there, or on input and output.
pub fn create_dir_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(unexpected(path, "is not a directory"));
    }
    if found.mode() & 0o7777 != 0o700 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// If it is longer (`FileTooLarge`), or on input and output.
pub fn read_limited(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{} is longer than {max} bytes", path.display()),
        ));
    }
    Ok(bytes)
}

/// `name` -> `.name.clusterctl.tmp`: hidden, since some programs read every file of a directory.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| unexpected(path, "has no file name"))?;
    let mut tmp = std::ffi::OsString::from(".");
    tmp.push(name);
    tmp.push(TMP_SUFFIX);
    Ok(path.with_file_name(tmp))
}

/// Whether a regular file is there; anything else is refused.
fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) if found.is_symlink() => Err(unexpected(path, "is a symbolic link")),
        Ok(_) => Err(unexpected(path, "is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn same(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let mut file = no_follow().read(true).open(path)?;
    let found = file.metadata()?;
    if found.len() != bytes.len() as u64 || found.mode() & 0o7777 != mode {
        return Ok(false);
    }
    let mut old = Vec::with_capacity(bytes.len());
    file.read_to_end(&mut old)?;
    Ok(old == bytes)
}

fn write_new(tmp: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = no_follow().write(true).create_new(true).mode(mode & 0o700).open(tmp)?;
    file.write_all(bytes)?;
    // Not left to `open`, which the umask narrows.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn no_follow() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent)?.sync_all()
}

fn unexpected(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_only_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        std::fs::write(dir.path().join(".a.conf.clusterctl.tmp"), "left by a crash").unwrap();
        let write = |bytes: &[u8], mode| write_if_different(&path, bytes, mode).unwrap().changed;
        assert!(write(b"one", 0o640));
        let inode = std::fs::metadata(&path).unwrap().ino();
        assert!(!write(b"one", 0o640));
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        assert!(write(b"one", 0o600));
        assert!(write(b"two", 0o600));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["a.conf"]);
        assert!(remove_file(&path).unwrap().changed);
        assert!(!remove_file(&path).unwrap().changed);
    }

    /// T10.
    #[test]
    fn refuses_links_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write_if_different(&link, b"ours", 0o600).is_err());
        assert!(remove_file(&link).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        assert!(write_if_different(dir.path(), b"ours", 0o600).is_err());
        assert!(write_if_different(Path::new("/"), b"ours", 0o600).is_err());
        assert_eq!(names(dir.path()), ["link", "target"]);
    }

    #[test]
    fn private_directories_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/y");
        create_dir_private(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        create_dir_private(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(create_dir_private(&link).is_err());
    }

    #[test]
    fn reads_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert_eq!(read_limited(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
