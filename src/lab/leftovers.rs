//! Removes a lab, whole or half made: what a killed command left is found by looking at the machine, not at a record.
//!
//! The order matters. Processes go first, because their namespaces hold mounts and interfaces; nothing is deleted
//! before no mount is left below the directory, because a deletion would go through it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroups::Group;
use super::host::END;
use super::network;
use super::processes::{self, Survivors};
use crate::providers::command::Commander;

/// What could not be removed; the rest before it is gone. Running `clusterctl lab down` again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    #[error(transparent)]
    Survivors(#[from] Survivors),
    #[error("cannot unmount {path}")]
    Unmount {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is still a mount point; nothing below it was deleted")]
    Mounted(String),
    #[error("cannot remove {what}")]
    Remove {
        what: String,
        #[source]
        source: io::Error,
    },
}

/// Ends everything that runs or is mounted in the lab at `dir`, and empties the directory. `subnet` if it is known.
///
/// # Errors
/// Names what would not go.
pub async fn clear(
    commander: &dyn Commander,
    dir: &Path,
    group: &Group,
    subnet: Option<ipnet::Ipv4Net>,
) -> Result<(), ClearError> {
    processes::kill(group, dir, END).await?;
    if let Some(subnet) = subnet {
        network::forget_machine(commander, subnet).await;
    }
    for mount in mounts_below(&mountinfo(), dir) {
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH)
            .map_err(|error| ClearError::Unmount { path: mount.display().to_string(), source: error.into() })?;
    }
    let removing = |what: String| move |source| ClearError::Remove { what, source };
    group.remove(END.min(Duration::from_secs(5))).await.map_err(removing("the control groups".to_owned()))?;
    if let Some(mount) = mounts_below(&mountinfo(), dir).first() {
        return Err(ClearError::Mounted(mount.display().to_string()));
    }
    empty(dir).map_err(removing(dir.display().to_string()))
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

fn empty(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The mount points at or below `dir`, the last mounted first.
fn mounts_below(mountinfo: &str, dir: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut found: Vec<_> = points.filter(|point| point.starts_with(dir)).collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_mounts_of_this_lab_only_and_innermost_first() {
        let mounts = "\
22 1 8:1 / / rw - ext4 /dev/vda rw
60 22 0:4 net:[1] /l/a/net rw shared:1 - nsfs nsfs rw
61 22 0:50 / /l/a/h1/root rw - overlay overlay rw
62 61 0:51 / /l/a/h1/root/proc rw - proc proc rw
63 22 0:4 net:[2] /l/ab/net rw - nsfs nsfs rw";
        let expected = ["/l/a/h1/root/proc", "/l/a/h1/root", "/l/a/net"].map(PathBuf::from);
        assert_eq!(mounts_below(mounts, Path::new("/l/a")), expected);
    }

    #[test]
    fn empties_a_directory_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("h1/upper0")).unwrap();
        fs::write(dir.path().join("lab.json"), "{}").unwrap();
        empty(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        empty(&dir.path().join("gone")).unwrap();
    }
}
