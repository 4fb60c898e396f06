//! `master restore`: a state directory out of a backup.
//!
//! Everything is made in a directory beside the place, read back as a start would, and then renamed into the place: a
//! crash leaves the state whole or not there. The state gets a new incarnation, by which nodes see that it went back in
//! time. Nothing that holds a state is ever replaced.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::backup::{Backup, BackupError};
use super::command::{Command, Warrant};
use super::serve::AUTHORITY_DIR;
use super::state::ClusterState;
use super::store::{self, CommitError, OpenError, Store, StoreOptions};
use crate::clock::Clock;
use crate::cluster::NodeId;
use crate::pki::{Authority, AuthorityError};
use crate::providers::files;

/// The longest backup that is read: some millions of nodes.
const MAX_BACKUP: u64 = 4 << 30;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub cluster_id: String,
    pub made: Timestamp,
    pub revision: u64,
    pub nodes: usize,
}

/// Why nothing was restored. The place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the backup `{}` cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` cannot be restored", path.display())]
    Backup {
        path: PathBuf,
        #[source]
        source: BackupError,
    },
    #[error("there is a state in `{}` already", .0.display())]
    NotEmpty(PathBuf),
    #[error("cannot write in `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The rows are no state, or one of a newer program.
    #[error("the state in the backup cannot be used")]
    State(#[source] OpenError),
    #[error("the CA in the backup cannot be used")]
    Authority(#[source] AuthorityError),
    #[error("the state in the place cannot be looked at")]
    Place(#[source] OpenError),
    #[error("what was restored cannot be written")]
    Commit(#[source] CommitError),
}

/// Makes the controller's directory `place` out of the backup `file`. `own` is this host: where it is not the one on which
/// the backup was made, it may take that one's name.
///
/// # Errors
/// See [`RestoreError`].
pub async fn run(file: &Path, place: &Path, own: &NodeId, clock: &dyn Clock) -> Result<Restored, RestoreError> {
    let path = || file.to_owned();
    let bytes = files::read_limited(file, MAX_BACKUP).map_err(|source| RestoreError::Read { path: path(), source })?;
    let bytes = zeroize::Zeroizing::new(bytes);
    let backup = Backup::decode(&bytes).map_err(|source| RestoreError::Backup { path: path(), source })?;
    // Held until the place is taken, so that no controller starts there meanwhile.
    let held = hold_if_vacant(place).await?;
    let restored = build_and_move(backup, file, place, own, clock).await;
    if let Some(held) = held {
        held.close().await;
    }
    restored
}

async fn build_and_move(
    backup: Backup,
    file: &Path,
    place: &Path,
    own: &NodeId,
    clock: &dyn Clock,
) -> Result<Restored, RestoreError> {
    let draft = place.with_extension("restoring");
    let failed = |source| RestoreError::Write { path: draft.clone(), source };
    remove_directory(&draft).map_err(failed)?;
    let restored = build(backup, file, &draft, own, clock).await;
    let moved = restored.and_then(|restored| {
        remove_directory(place).map_err(failed)?;
        std::fs::rename(&draft, place).map_err(failed)?;
        place.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all()).map_err(failed)?;
        Ok(restored)
    });
    if moved.is_err() {
        // The error is the one to tell; what is left is removed by the next attempt.
        remove_directory(&draft).ok();
    }
    moved
}

/// Makes the directory `draft`, and opens it as a start would.
async fn build(
    backup: Backup,
    file: &Path,
    draft: &Path,
    own: &NodeId,
    clock: &dyn Clock,
) -> Result<Restored, RestoreError> {
    let Backup { made, cluster_id, sequence, authority, rows } = backup;
    store::recreate(draft, sequence, rows).map_err(RestoreError::State)?;
    let authority_dir = draft.join(AUTHORITY_DIR);
    Authority::put_back(&authority_dir, &authority).map_err(RestoreError::Authority)?;
    let opened = Store::<ClusterState>::open(draft, StoreOptions::default()).await;
    let store = opened.map_err(RestoreError::State)?;
    let (found, revision, nodes) =
        store.read(|state| (state.cluster_id().map(str::to_owned), state.revision(), state.nodes().count()));
    let kept = Authority::load(&authority_dir).map_err(RestoreError::Authority)?;
    let kept = kept.map(|authority| authority.cluster_id().to_owned());
    if found.as_deref() != Some(&cluster_id) || kept.as_deref() != Some(&cluster_id) {
        store.close().await;
        let source = BackupError::Damaged("its parts are not of one cluster".to_owned());
        return Err(RestoreError::Backup { path: file.to_owned(), source });
    }
    let mark = Command::MarkRestored { incarnation: uuid::Uuid::new_v4().to_string(), at: clock.now() };
    let mut marked = store.commit(mark).await;
    let before = store.read(|state| {
        let elsewhere = state.nodes().filter(|node| node.admitted_by == Warrant::Local && node.id != *own);
        elsewhere.map(|node| node.id.clone()).collect::<Vec<_>>()
    });
    for id in before {
        let replaceable = store.commit(Command::AllowReplacement { id, at: clock.now() }).await;
        marked = marked.and(replaceable);
    }
    store.close().await;
    marked.map_err(RestoreError::Commit)?;
    Ok(Restored { cluster_id, made, revision, nodes })
}

/// Sees that nothing is lost at `place`: it is not there, or a start that was refused made an empty state there. That
/// one is held.
async fn hold_if_vacant(place: &Path) -> Result<Option<Store<ClusterState>>, RestoreError> {
    let not_empty = || RestoreError::NotEmpty(place.to_owned());
    let entries = match std::fs::read_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|source| RestoreError::Write { path: place.to_owned(), source })?.count(),
    };
    if entries == 0 {
        return Ok(None);
    }
    if place.join(AUTHORITY_DIR).exists() || !store::holds_state(place) {
        return Err(not_empty());
    }
    match Store::<ClusterState>::open(place, StoreOptions::default()).await {
        Ok(store) if store.read(|state| state.cluster_id().is_none() && state.revision() == 0) => Ok(Some(store)),
        Ok(store) => {
            store.close().await;
            Err(not_empty())
        }
        Err(error @ OpenError::InUse { .. }) => Err(RestoreError::Place(error)),
        // It may be what is left of the state that is missed.
        Err(_) => Err(not_empty()),
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
