//! The state as it was before a newer program first wrote to it, so that there is a way back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::{OpenError, directory};

/// Keeps a copy of the database if all its records are of an older version than this program writes. It is there whole
/// or not at all, and takes the place of one of an earlier upgrade to the same version.
///
/// # Errors
/// If it cannot be written; then nothing of this version is written either.
pub(super) fn keep_copy(dir: &Path, database: &Path, written_by: Option<u8>, present: u8) -> Result<(), OpenError> {
    if written_by.is_none_or(|version| version >= present) {
        return Ok(());
    }
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".pre-v{present}"));
    let kept = PathBuf::from(name);
    let draft = kept.with_extension(format!("pre-v{present}.new"));
    let copied =
        copy(database, &draft).and_then(|()| std::fs::rename(&draft, &kept)).and_then(|()| directory::sync(dir));
    if let Err(source) = copied {
        // The error is the one to tell.
        std::fs::remove_file(&draft).ok();
        return Err(OpenError::Io { path: kept, source });
    }
    tracing::info!(path = %kept.display(), "the state is of an older version: a copy of it is kept");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}
