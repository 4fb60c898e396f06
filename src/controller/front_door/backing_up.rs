//! Backups, made while everything else goes on.
//!
//! The rows are of one moment: whatever was acknowledged before it is in them. The file is made in the controller's own
//! directory, for root to take away; those that nobody took go when the controller starts again.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::administration::Answer;
use super::{FrontDoor, Outcome};
use crate::controller::backup::Backup;
use crate::controller::serve::AUTHORITY_DIR;
use crate::pki::Authority;
use crate::protocol::reply::ErrorReply;
use crate::providers::files;

/// How a backup in the controller's directory ends.
const SUFFIX: &str = ".backup";

impl FrontDoor {
    pub(super) async fn back_up(&self, by: &str) -> Answer {
        let (cluster_id, revision, rows, nodes) = self.store.read(|state| {
            let cluster_id = state.cluster_id().unwrap_or_default().to_owned();
            (cluster_id, state.revision(), state.rows(), state.counts().total())
        });
        // That or a later one: a restored state counts on from there.
        let sequence = self.store.status().sequence.max(revision);
        let made = self.clock.now();
        let name: [u8; 8] = super::administration::random()?;
        let path = self.state_dir.join(format!("{}{SUFFIX}", data_encoding::HEXLOWER.encode(&name)));
        let (authority_dir, to, cluster) = (self.state_dir.join(AUTHORITY_DIR), path.clone(), cluster_id.clone());
        let writing = tokio::task::spawn_blocking(move || {
            // After the rows: a CA that is newer than they are does no harm.
            let authority = Authority::copy_out(&authority_dir).map_err(|error| crate::causes::chain(&error))?;
            let backup = Backup { made, cluster_id: cluster, sequence, authority, rows };
            files::create_new(&to, &backup.encode(), 0o600).map_err(|error| error.to_string())
        });
        match writing.await.map_err(|error| error.to_string()).and_then(|written| written) {
            Ok(true) => {
                tracing::warn!(by, revision, "a backup is made: it holds the CA's keys");
                Ok(json!({
                    "Status": "ready",
                    "Path": path,
                    "ClusterId": cluster_id,
                    "Revision": revision,
                    "Nodes": nodes,
                }))
            }
            Ok(false) => Err(not_made("the name is taken")),
            Err(error) => Err(not_made(&error)),
        }
    }
}

fn not_made(because: &str) -> Outcome {
    tracing::error!("no backup is made: {because}");
    let hint = "see whether the disk of the controller's state directory is full (`df -h`), and the controller's log";
    Outcome::error(ErrorReply::new("backup-failed", format!("the backup cannot be made: {because}"), hint))
}

/// Removes backups that nobody took away.
pub fn remove_leftovers(state_dir: &Path) {
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    let left: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(SUFFIX)).collect();
    for path in left {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "a backup that nobody took away is removed"),
            Err(error) => tracing::warn!(path = %path.display(), "a backup cannot be removed: {error}"),
        }
    }
}
