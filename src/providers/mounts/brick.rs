//! The directory of a brick: what is there, making it, and taking the mark of a volume off it.
//!
//! GlusterFS marks a brick with the id of its volume (`trusted.glusterfs.volume-id`) before it knows whether the volume
//! will come about, and refuses a marked brick ever after: a create that one server refused leaves marks on the
//! others. Such a mark may be taken off an empty brick, when the caller knows that it was ours. Everything walks the
//! path directory by directory and refuses symbolic links, so that no link can lead root elsewhere.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fgetxattr, fremovexattr, getxattr, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use super::table::MountTable;
use crate::cluster::BrickPath;

/// Where GlusterFS keeps the id of the volume that a brick belongs to: 16 bytes.
const VOLUME_ID: &str = "trusted.glusterfs.volume-id";

/// Where GlusterFS keeps the id of a file; the root of a brick has `...0001`.
const GFID: &str = "trusted.gfid";

/// GlusterFS's own directory in a brick.
const SKELETON: &str = ".glusterfs";

/// A directory that a started brick has beside it, followed by the volume's id.
const SKELETON_PREFIX: &str = ".glusterfs-anonymous-inode-";

/// A skeleton deeper than this is none of GlusterFS's.
const MAX_DEPTH: usize = 8;

/// What is where a brick shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrickFacts {
    pub exists: bool,
    pub is_dir: bool,
    /// The first part of the path that is a symbolic link.
    pub link: Option<PathBuf>,
    /// Whether it holds nothing but GlusterFS's own directories. True if it does not exist.
    pub empty: bool,
    /// The id of the volume whose mark it carries, in the form that GlusterFS prints.
    pub volume_id: Option<String>,
    /// Whether it lies, or would lie, on the root file system.
    pub on_root_fs: bool,
    /// Whether it is itself a mount point; GlusterFS wants a directory below one.
    pub is_mount_point: bool,
    /// The type of the file system that it lies, or would lie, on; empty if not known.
    pub fs_type: String,
    /// Whether that file system keeps the extended attributes that GlusterFS needs.
    pub supports_xattr: bool,
    /// How full that file system is for those who are not root, in percent and rounded up, as `df` shows it.
    pub used_percent: Option<u8>,
}

/// Why a brick's directory could not be made, read or cleared.
#[derive(Debug, thiserror::Error)]
pub enum BrickError {
    #[error("{} is a symbolic link", .0.display())]
    Link(PathBuf),
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// Nothing was changed.
    #[error("{} carries the mark {found}, not {expected}", .path.display())]
    OtherMark { path: PathBuf, found: String, expected: String },
    /// Nothing was changed.
    #[error("{} holds files ({found}); its mark stays", .path.display())]
    NotEmpty { path: PathBuf, found: String },
    #[error("{} cannot be used", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What can be done with bricks' directories.
#[async_trait::async_trait]
pub trait BrickDisk: Send + Sync {
    /// See [`inspect_brick`].
    async fn inspect(&self, path: &BrickPath) -> Result<BrickFacts, BrickError>;
    /// See [`prepare_brick`].
    async fn prepare(&self, path: &BrickPath) -> Result<(), BrickError>;
    /// See [`clear_brick_mark`].
    async fn clear_mark(&self, path: &BrickPath, volume_id: &str) -> Result<(), BrickError>;
}

/// This host's directories.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

#[async_trait::async_trait]
impl BrickDisk for LocalDisk {
    async fn inspect(&self, path: &BrickPath) -> Result<BrickFacts, BrickError> {
        aside(path, inspect_brick).await
    }

    async fn prepare(&self, path: &BrickPath) -> Result<(), BrickError> {
        aside(path, prepare_brick).await
    }

    async fn clear_mark(&self, path: &BrickPath, volume_id: &str) -> Result<(), BrickError> {
        let volume_id = volume_id.to_owned();
        aside(path, move |path| clear_brick_mark(path, &volume_id)).await
    }
}

async fn aside<T: Send + 'static>(
    path: &BrickPath,
    work: impl FnOnce(&Path) -> Result<T, BrickError> + Send + 'static,
) -> Result<T, BrickError> {
    let path = path.as_path().to_owned();
    let lost = {
        let path = path.clone();
        move |error| BrickError::Io { path, source: io::Error::other(error) }
    };
    tokio::task::spawn_blocking(move || work(&path)).await.unwrap_or_else(|error| Err(lost(error)))
}

/// Looks at `path` and changes nothing.
///
/// # Errors
/// On input and output. A link or a file in the way is a fact, not an error.
pub fn inspect_brick(path: &Path) -> Result<BrickFacts, BrickError> {
    let io = |source: io::Error| BrickError::Io { path: path.to_owned(), source };
    let (link, brick) = match open_dirs(path, Missing::Leave) {
        Ok(brick) => (None, brick),
        Err(BrickError::Link(link)) => (Some(link), None),
        Err(BrickError::NotDirectory(_)) => (None, None),
        Err(error) => return Err(error),
    };
    let ancestor =
        path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or_else(|| Path::new("/"));
    let device = |path: &Path| path.symlink_metadata().map(|found| std::os::unix::fs::MetadataExt::dev(&found));
    let on_root_fs = device(ancestor).map_err(io)? == device(Path::new("/")).map_err(io)?;
    let table = MountTable::read().map_err(io)?;
    let (mut empty, mut volume_id) = (true, None);
    if let Some(brick) = &brick {
        empty = user_entries(brick, path)?.is_empty();
        volume_id = mark(brick).map_err(|error| io(error.into()))?;
    }
    Ok(BrickFacts {
        exists: ancestor == path,
        is_dir: brick.is_some(),
        link,
        empty: empty && (brick.is_some() || ancestor != path),
        volume_id,
        on_root_fs,
        is_mount_point: table.at(path).is_some(),
        fs_type: table.holding(ancestor).map(|entry| entry.fs_type.clone()).unwrap_or_default(),
        used_percent: rustix::fs::statvfs(ancestor).ok().and_then(|found| used_percent(&found)),
        supports_xattr: !matches!(getxattr(ancestor, VOLUME_ID, &mut [0; 16]), Err(Errno::OPNOTSUPP | Errno::NOSYS)),
    })
}

fn used_percent(found: &rustix::fs::StatVfs) -> Option<u8> {
    let used = found.f_blocks.checked_sub(found.f_bfree)?;
    let all = u128::from(used) + u128::from(found.f_bavail);
    u8::try_from((u128::from(used) * 100).div_ceil(all.max(1))).ok()
}

/// Makes the brick's directory and its parents (0755) where they are missing.
///
/// # Errors
/// If a part of the path is a link or no directory, or on input and output. Parents may have been made.
pub fn prepare_brick(path: &Path) -> Result<(), BrickError> {
    make_dirs(path)
}

/// Makes a directory and its parents (0755) where they are missing, and follows no symbolic link on the way.
///
/// # Errors
/// If a part of the path is a link or no directory, or on input and output. Parents may have been made.
pub fn make_dirs(path: &Path) -> Result<(), BrickError> {
    open_dirs(path, Missing::Make).map(drop)
}

/// Takes the mark of the volume with that id off a brick that holds nothing: no file of a user, and none of GlusterFS's,
/// whose directories of a brick that served are not empty. That the mark was ours, and that there is no such volume, is
/// the caller's to know. A brick without a mark is cleared already.
///
/// # Errors
/// If the brick carries another mark or holds anything, or on input and output.
pub fn clear_brick_mark(path: &Path, volume_id: &str) -> Result<(), BrickError> {
    let Some(brick) = open_dirs(path, Missing::Leave)? else { return Ok(()) };
    let not_empty = |found: String| BrickError::NotEmpty { path: path.to_owned(), found };
    let io = |error: Errno| BrickError::Io { path: path.to_owned(), source: error.into() };
    match mark(&brick).map_err(io)? {
        None => return Ok(()),
        Some(found) if found == volume_id => {}
        Some(found) => {
            return Err(BrickError::OtherMark { path: path.to_owned(), found, expected: volume_id.to_owned() });
        }
    }
    if let Some(name) = user_entries(&brick, path)?.into_iter().next() {
        return Err(not_empty(name));
    }
    // Looked at in whole before the first directory goes.
    let mut doomed = Vec::new();
    let mut left = VecDeque::from([PathBuf::new()]);
    while let Some(below) = left.pop_front() {
        let dir = if below.as_os_str().is_empty() { reopen(&brick) } else { open_dir(&brick, &below) }.map_err(io)?;
        for (name, kind) in entries(&dir).map_err(io)? {
            let entry = below.join(&name);
            if kind != FileType::Directory || entry.components().count() > MAX_DEPTH {
                return Err(not_empty(entry.display().to_string()));
            }
            left.push_back(entry.clone());
            doomed.push(entry);
        }
    }
    for entry in doomed.iter().rev() {
        unlinkat(&brick, entry, AtFlags::REMOVEDIR).map_err(io)?;
    }
    for name in [GFID, VOLUME_ID] {
        match fremovexattr(&brick, name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => return Err(io(error)),
        }
    }
    rustix::fs::fsync(&brick).map_err(io)
}

/// What to do about a directory that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens an absolute path, part by part; `None` if one is missing and stays so.
fn open_dirs(path: &Path, missing: Missing) -> Result<Option<OwnedFd>, BrickError> {
    let io = |at: &Path, error: Errno| BrickError::Io { path: at.to_owned(), source: error.into() };
    let mut at = PathBuf::from("/");
    let mut dir = rustix::fs::open(&at, DIRECTORY, Mode::empty()).map_err(|error| io(&at, error))?;
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            Component::Prefix(_) | Component::CurDir | Component::ParentDir => return Err(io(path, Errno::INVAL)),
        };
        at.push(name);
        if missing == Missing::Make {
            match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io(&at, error)),
            }
        }
        dir = match open_dir(&dir, Path::new(name)) {
            Ok(next) => next,
            Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let is_link = at.symlink_metadata().is_ok_and(|found| found.is_symlink());
                return Err(if is_link { BrickError::Link(at) } else { BrickError::NotDirectory(at) });
            }
            Err(error) => return Err(io(&at, error)),
        };
    }
    Ok(Some(dir))
}

fn open_dir(dir: &OwnedFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    openat(dir, name, DIRECTORY, Mode::empty())
}

/// A second handle with a reading position of its own.
fn reopen(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    open_dir(dir, Path::new("."))
}

fn entries(dir: &OwnedFd) -> rustix::io::Result<Vec<(std::ffi::OsString, FileType)>> {
    use std::os::unix::ffi::OsStrExt;
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => {
                FileType::from_raw_mode(rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        found.push((name, kind));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// What is in a brick beside GlusterFS's own directories.
fn user_entries(brick: &OwnedFd, path: &Path) -> Result<Vec<String>, BrickError> {
    let found = entries(brick).map_err(|error| BrickError::Io { path: path.to_owned(), source: error.into() })?;
    let names = found.into_iter().map(|(name, _)| name.to_string_lossy().into_owned());
    Ok(names.filter(|name| name != SKELETON && !name.starts_with(SKELETON_PREFIX)).collect())
}

fn mark(brick: &OwnedFd) -> rustix::io::Result<Option<String>> {
    let mut value = [0_u8; 64];
    match fgetxattr(brick, VOLUME_ID, &mut value) {
        Ok(16) => Ok(uuid::Uuid::from_slice(&value[..16]).ok().map(|id| id.to_string())),
        // Not GlusterFS's, but a mark all the same.
        Ok(length) => Ok(Some(data_encoding::HEXLOWER.encode(&value[..length]))),
        Err(Errno::RANGE) => Ok(Some("unreadable".to_owned())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
