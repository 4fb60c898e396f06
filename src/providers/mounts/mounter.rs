//! Mounting, unmounting and probing the shared volume.
//!
//! Unmounting is a system call of this process and no run of `umount`, which looks at the mount first and then hangs
//! with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::mount::UnmountFlags;

use super::brick::{BrickError, make_dirs};
use super::probe::ProbeResult;
use super::table::MountTable;
use crate::cluster::{Hostname, MountPoint, NodeAddress, VolumeName};
use crate::providers::command::{CommandError, Commander, Invocation};
use crate::providers::systemd::{self, SystemdError};

/// A mount takes 50 to 150 ms; servers that do not answer are tried one after the other.
const MOUNT_DEADLINE: Duration = Duration::from_secs(60);

/// A probe takes some milliseconds.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// The shared volume and where it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlusterMount {
    /// Addresses or names to fetch the volume's description from, the first one first.
    pub servers: Vec<String>,
    pub volume: VolumeName,
    pub point: MountPoint,
}

impl GlusterMount {
    /// The first server and `_netdev,backup-volfile-servers=b:c` with the others.
    ///
    /// # Errors
    /// If there is no server, or one that is neither an address nor a host name.
    pub fn source_and_options(&self) -> Result<(String, String), MountError> {
        let good = |server: &String| NodeAddress::parse(server).is_ok() || Hostname::parse(server).is_ok();
        if let Some(bad) = self.servers.iter().find(|server| !good(server)) {
            return Err(MountError::BadServer(bad.clone()));
        }
        let (first, others) = self.servers.split_first().ok_or(MountError::NoServer)?;
        let mut options = "_netdev".to_owned();
        if !others.is_empty() {
            options.push_str(",backup-volfile-servers=");
            options.push_str(&others.join(":"));
        }
        Ok((format!("{first}:/{}", self.volume), options))
    }
}

/// Why a mount was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("no server to mount from")]
    NoServer,
    #[error("a server to mount from is neither an address nor a host name: {0:?}")]
    BadServer(String),
    /// Nothing was changed: a mount would hide these.
    #[error("{point} is not empty ({entries}); a mount would hide what is in it")]
    NotEmpty { point: MountPoint, entries: String },
    #[error("`{command}` failed: {message} (GlusterFS logs to `{log}`)")]
    Failed { command: String, message: String, log: String },
    #[error("systemd could not start the mount")]
    Unit(#[source] SystemdError),
    #[error("the mount command could not be run")]
    Command(#[source] CommandError),
    #[error("{point} cannot be made")]
    Point {
        point: MountPoint,
        #[source]
        source: BrickError,
    },
    #[error("{point} cannot be unmounted")]
    Unmount {
        point: MountPoint,
        #[source]
        source: std::io::Error,
    },
    #[error("the mounts of this host cannot be read")]
    Table(#[source] std::io::Error),
}

/// What can be done with mounts.
#[async_trait::async_trait]
pub trait Mounter: Send + Sync {
    /// The mounts of this host.
    async fn mounts(&self) -> Result<MountTable, MountError>;
    /// Makes the directory, if it is missing, and mounts the volume there. Refuses a directory that is not empty.
    async fn mount_gluster(&self, mount: &GlusterMount) -> Result<(), MountError>;
    /// Takes the topmost mount off the tree at once; it ends when nobody uses it any more. Nothing mounted is no error.
    async fn unmount_lazy(&self, point: &MountPoint) -> Result<(), MountError>;
    /// Whether the mount works, within 5 seconds.
    async fn probe(&self, point: &MountPoint) -> ProbeResult;
}

/// This host's mounts.
///
/// Where the mount has a systemd unit it is started through it: the client's process then belongs to the unit, and
/// not to the session or service that happened to mount, with which systemd would kill it.
pub struct SystemMounter {
    commander: Arc<dyn Commander>,
    /// Where units are, if systemd runs.
    unit_dir: Option<PathBuf>,
}

impl SystemMounter {
    /// Runs `mount` and the probe with `commander`.
    #[must_use]
    pub fn new(commander: Arc<dyn Commander>) -> Self {
        Self { commander, unit_dir: systemd::running().then(|| PathBuf::from(systemd::UNIT_DIR)) }
    }

    /// The unit for this mount, if there is one with exactly its text.
    fn unit_of(&self, mount: &GlusterMount) -> Result<Option<String>, MountError> {
        let Some(dir) = &self.unit_dir else { return Ok(None) };
        let name = systemd::mount_unit_name(&mount.point);
        let text = systemd::render_mount_unit(mount)?;
        Ok(systemd::is_installed(dir, &name, &text).unwrap_or(false).then_some(name))
    }
}

#[async_trait::async_trait]
impl Mounter for SystemMounter {
    async fn mounts(&self) -> Result<MountTable, MountError> {
        MountTable::read().map_err(MountError::Table)
    }

    async fn mount_gluster(&self, mount: &GlusterMount) -> Result<(), MountError> {
        let (source, options) = mount.source_and_options()?;
        if self.mounts().await?.at(mount.point.as_path()).is_none() {
            make_point(&mount.point)?;
        }
        if let Some(unit) = self.unit_of(mount)? {
            let commander = self.commander.as_ref();
            if systemd::start_unit(commander, &unit).await.is_ok() {
                return Ok(());
            }
            // systemd may know an older form of the unit, if it was written and not announced.
            systemd::daemon_reload(commander).await.map_err(MountError::Unit)?;
            return systemd::start_unit(commander, &unit).await.map_err(MountError::Unit);
        }
        let invocation = Invocation::new("mount")
            .args(["-t", "glusterfs", "-o", &options, "--", &source, mount.point.as_str()])
            .deadline(MOUNT_DEADLINE);
        let command = invocation.describe();
        let output = self.commander.run(invocation).await.map_err(MountError::Command)?;
        if output.success() {
            return Ok(());
        }
        let log = format!("/var/log/glusterfs/{}.log", mount.point.as_str().trim_start_matches('/').replace('/', "-"));
        Err(MountError::Failed { command, message: output.complaint(), log })
    }

    async fn unmount_lazy(&self, point: &MountPoint) -> Result<(), MountError> {
        let failed = |source| MountError::Unmount { point: point.clone(), source };
        let path = point.as_path().to_owned();
        let detach = move || rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        match tokio::task::spawn_blocking(detach).await {
            // EINVAL: no mount is there.
            Ok(Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT)) => Ok(()),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(error) => Err(failed(std::io::Error::other(error))),
        }
    }

    async fn probe(&self, point: &MountPoint) -> ProbeResult {
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => return ProbeResult::Failed(format!("this program's own file is not known: {error}")),
        };
        let invocation = Invocation::new(program).args(["probe-mount", point.as_str()]).deadline(PROBE_DEADLINE);
        match self.commander.run(invocation).await {
            Ok(output) => ProbeResult::of_exit(output.code, &output.complaint()),
            Err(CommandError::TimedOut { .. }) => ProbeResult::Hung,
            Err(error @ (CommandError::NotFound(_) | CommandError::Unsafe { .. } | CommandError::Io { .. })) => {
                ProbeResult::Failed(error.to_string())
            }
        }
    }
}

/// Makes the directory to mount on, and refuses one that holds something. Not for a path that is mounted already.
fn make_point(point: &MountPoint) -> Result<(), MountError> {
    let failed = |source| MountError::Point { point: point.clone(), source };
    make_dirs(point.as_path()).map_err(failed)?;
    let io = |source| failed(BrickError::Io { path: point.as_path().to_owned(), source });
    let mut names = Vec::new();
    for entry in std::fs::read_dir(point.as_path()).map_err(io)?.take(4) {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    Err(MountError::NotEmpty { point: point.clone(), entries: names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(servers: &[&str]) -> GlusterMount {
        GlusterMount {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            volume: VolumeName::parse("shared").unwrap(),
            point: MountPoint::parse("/mnt/shared").unwrap(),
        }
    }

    /// Covers S2-74.
    #[test]
    fn the_other_servers_are_the_backups() {
        let of = |servers: &[&str]| mount(servers).source_and_options();
        assert_eq!(of(&["10.0.0.1"]).unwrap(), ("10.0.0.1:/shared".into(), "_netdev".into()));
        let (source, options) = of(&["10.0.0.1", "h2", "10.0.0.3"]).unwrap();
        assert_eq!(
            (source.as_str(), options.as_str()),
            ("10.0.0.1:/shared", "_netdev,backup-volfile-servers=h2:10.0.0.3")
        );
        assert!(matches!(of(&[]), Err(MountError::NoServer)));
        assert!(matches!(of(&["10.0.0.1", "a,b"]), Err(MountError::BadServer(server)) if server == "a,b"));
        assert!(matches!(of(&["-o"]), Err(MountError::BadServer(_))));
    }
}
