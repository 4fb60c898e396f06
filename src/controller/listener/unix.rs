//! The unix socket for local administration: made with mode 0600 before anybody can see it, and only put in the place
//! of another socket if nobody answers there.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::ListenError;

/// A bound socket, whose file goes with it.
#[derive(Debug)]
pub(super) struct BoundUnix {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl BoundUnix {
    pub(super) async fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
            std::fs::set_permissions(parent, Permissions::from_mode(0o755)).map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => return Err(ListenError::SocketInUse(path.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Bound under another name and renamed, it never stands there with a wrong mode.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(name);
        std::fs::remove_file(&draft).ok();
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        let placed = std::fs::set_permissions(&draft, Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&draft, path))
            .and_then(|()| inode(path));
        match placed {
            Ok(inode) => Ok(Self { listener, path: path.to_owned(), inode }),
            Err(error) => {
                std::fs::remove_file(&draft).ok();
                Err(failed(error))
            }
        }
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for BoundUnix {
    fn drop(&mut self) {
        // Another controller may have put its own socket there.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
