//! Where the labs of a directory are: the directory as the kernel names it, and their control groups.

use std::fs;
use std::path::{Path, PathBuf};

use super::DEFAULT_DIR;
use super::cgroups::{self, Group};

/// `path` as namespaces, mounts and command lines show it, also while its last parts do not exist yet.
pub(super) fn without_links(path: &Path) -> PathBuf {
    let resolve = |there: &Path| Some(fs::canonicalize(there).ok()?.join(path.strip_prefix(there).ok()?));
    // Joining an empty rest adds a slash.
    path.ancestors().find_map(resolve).map_or_else(|| path.to_owned(), |path| path.components().collect())
}

/// The group that all labs of a directory share.
pub(super) fn labs_group(labs: &Path) -> Group {
    let hierarchies = cgroups::hierarchies(
        &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        &cgroups::controllers(&fs::read_to_string("/proc/cgroups").unwrap_or_default()),
    );
    Group::new(hierarchies, group_name(labs))
}

/// Control groups know no directories: labs of the same name in two directories are told apart by a digest.
fn group_name(labs: &Path) -> String {
    use sha2::Digest;
    if labs == Path::new(DEFAULT_DIR) {
        return "clusterctl-lab".to_owned();
    }
    let digest = sha2::Sha256::digest(labs.as_os_str().as_encoded_bytes());
    format!("clusterctl-lab-{}", data_encoding::HEXLOWER.encode(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_same_before_and_after_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        let named = real.join("link/a/b");
        assert_eq!(without_links(&named), real.join("a/b"));
        fs::create_dir_all(&named).unwrap();
        assert_eq!(without_links(&named), real.join("a/b"));
        assert!(!without_links(&named).to_string_lossy().ends_with('/'));
    }

    #[test]
    fn labs_in_other_directories_have_groups_of_their_own() {
        assert_eq!(group_name(Path::new(DEFAULT_DIR)), "clusterctl-lab");
        let other = group_name(Path::new("/tmp/labs"));
        assert!(other.starts_with("clusterctl-lab-") && other.len() == 23, "{other}");
    }
}
