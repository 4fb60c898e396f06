//! Whether a mount works: a small hidden file is written, read back and removed.
//!
//! [`probe_here`] may block for ever and is only called in a child process made for it. What it found is the exit code
//! of that process. GlusterFS (10.3) says "Transport endpoint is not connected" both when its client process died and
//! when too few bricks answer; the difference is whether the process is there, and it decides whether mounting again
//! can help.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::table::{GLUSTER_FS, MountTable};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// A file could be written, read back and removed.
    ReadWrite,
    /// Mounted read-only.
    ReadOnly,
    /// The client runs and refuses, since too few bricks answer. Mounting again does not help.
    NoQuorum,
    /// No space, or no quota, for a small file.
    Full,
    /// The client process is gone: unmount lazily and mount again.
    Disconnected,
    /// No answer in time.
    Hung,
    /// No GlusterFS mount is there.
    NotMounted,
    /// Anything else, in the system's words.
    Failed(String),
}

impl ProbeResult {
    /// The exit code that stands for it; 0 for [`ReadWrite`](Self::ReadWrite) alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ReadWrite => 0,
            Self::ReadOnly => 61,
            Self::NoQuorum => 62,
            Self::Full => 63,
            Self::Disconnected => 64,
            Self::NotMounted => 65,
            Self::Hung => 66,
            Self::Failed(_) => 67,
        }
    }

    /// What an exit code stands for; `complaint` is what the process printed.
    #[must_use]
    pub fn of_exit(code: Option<i32>, complaint: &str) -> Self {
        let known = [
            Self::ReadWrite,
            Self::ReadOnly,
            Self::NoQuorum,
            Self::Full,
            Self::Disconnected,
            Self::NotMounted,
            Self::Hung,
        ];
        let found = known.into_iter().find(|result| code == Some(i32::from(result.exit_code())));
        found.unwrap_or_else(|| Self::Failed(complaint.to_owned()))
    }
}

impl std::fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "can be read and written",
            Self::ReadOnly => "is mounted read-only",
            Self::NoQuorum => "does not work since too few bricks answer",
            Self::Full => "is full",
            Self::Disconnected => "has lost its client process",
            Self::Hung => "does not answer",
            Self::NotMounted => "is not mounted",
            Self::Failed(message) => message,
        })
    }
}

/// Probes the mount at `point` from this process, which may never come back from it.
#[must_use]
pub fn probe_here(point: &Path) -> ProbeResult {
    match MountTable::read() {
        Ok(table) if table.at(point).is_some_and(|entry| entry.fs_type == GLUSTER_FS) => {}
        Ok(_) => return ProbeResult::NotMounted,
        Err(error) => return ProbeResult::Failed(format!("the mounts cannot be read: {error}")),
    }
    match exercise(point) {
        Ok(result) => result,
        Err(error) => judge(&error, || client_runs(point)),
    }
}

fn exercise(point: &Path) -> io::Result<ProbeResult> {
    std::fs::symlink_metadata(point)?;
    if rustix::fs::statvfs(point)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(ProbeResult::ReadOnly);
    }
    // One name per host and process, so that what hung probes leave behind stays bounded.
    let host = rustix::system::uname().nodename().to_string_lossy().replace(['/', '\0'], "_");
    let path = point.join(format!(".clusterctl-probe-{host}-{}", std::process::id()));
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)?;
    let mut exchange = || {
        let sent = path.as_os_str().as_encoded_bytes();
        file.write_all(sent)?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let mut back = Vec::new();
        file.read_to_end(&mut back)?;
        Ok(if back == sent {
            ProbeResult::ReadWrite
        } else {
            ProbeResult::Failed("a file reads back other than it was written".to_owned())
        })
    };
    let result = exchange();
    let removed = std::fs::remove_file(&path);
    result.and_then(|result| removed.map(|()| result))
}

/// What an error says about the mount. A read-only volume showed in the flags already, so "read-only" here is how older
/// versions refuse without a quorum.
fn judge(error: &io::Error, client_runs: impl FnOnce() -> bool) -> ProbeResult {
    match Errno::from_io_error(error) {
        Some(Errno::NOTCONN | Errno::CONNABORTED) => {
            if client_runs() {
                ProbeResult::NoQuorum
            } else {
                ProbeResult::Disconnected
            }
        }
        Some(Errno::ROFS) => ProbeResult::NoQuorum,
        Some(Errno::NOSPC | Errno::DQUOT) => ProbeResult::Full,
        _ => ProbeResult::Failed(error.to_string()),
    }
}

/// Whether a GlusterFS client for `point` is among the processes:
///
/// ```text
/// /usr/sbin/glusterfs --process-name fuse --volfile-server=10.0.0.1 --volfile-id=/shared /mnt/shared
/// ```
fn client_runs(point: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let arguments = |entry: io::Result<std::fs::DirEntry>| std::fs::read(entry.ok()?.path().join("cmdline")).ok();
    processes.filter_map(arguments).any(|arguments| is_client(&arguments, point))
}

fn is_client(arguments: &[u8], point: &Path) -> bool {
    let mut words = arguments.split(|b| *b == 0).filter(|word| !word.is_empty());
    let program = words.next().is_some_and(|word| word == b"glusterfs" || word.ends_with(b"/glusterfs"));
    program && words.next_back() == Some(point.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_stand_for_results() {
        for code in 0..=255 {
            let result = ProbeResult::of_exit(Some(code), "x");
            if result != ProbeResult::Failed("x".into()) {
                assert_eq!(i32::from(result.exit_code()), code);
            }
        }
        assert_eq!(ProbeResult::of_exit(Some(0), ""), ProbeResult::ReadWrite);
        assert_eq!(ProbeResult::of_exit(None, "killed"), ProbeResult::Failed("killed".into()));
        assert_eq!(ProbeResult::of_exit(Some(2), "usage"), ProbeResult::Failed("usage".into()));
    }

    /// Covers FAULTS G12 and G16.
    #[test]
    fn the_client_process_makes_the_difference() {
        let error = io::Error::from(Errno::NOTCONN);
        assert_eq!(judge(&error, || true), ProbeResult::NoQuorum);
        assert_eq!(judge(&error, || false), ProbeResult::Disconnected);
        assert_eq!(judge(&io::Error::from(Errno::ROFS), || false), ProbeResult::NoQuorum);
        assert_eq!(judge(&io::Error::from(Errno::NOSPC), || true), ProbeResult::Full);
        assert!(matches!(judge(&io::Error::from(Errno::IO), || true), ProbeResult::Failed(_)));
    }

    #[test]
    fn knows_the_client_by_its_arguments() {
        let arguments = b"/usr/sbin/glusterfs\0--process-name\0fuse\0--volfile-id=/shared\0/mnt/shared\0";
        assert!(is_client(arguments, Path::new("/mnt/shared")));
        assert!(!is_client(arguments, Path::new("/mnt/share")));
        assert!(!is_client(b"vi\0/mnt/shared\0", Path::new("/mnt/shared")));
        assert!(!is_client(b"", Path::new("/mnt/shared")));
    }

    #[test]
    fn a_plain_directory_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(probe_here(dir.path()), ProbeResult::NotMounted);
        assert_eq!(exercise(dir.path()).unwrap(), ProbeResult::ReadWrite);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
