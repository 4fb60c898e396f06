//! systemd units: the mount of the shared volume after a restart of the host.
//!
//! Texts and names are pure. Enabling a unit is a symbolic link, made here and not by `systemctl enable`, so that it
//! also works where systemd is not running yet. A mount unit is tried once at boot: when no server answers then, the
//! boot goes on without the mount after [`MOUNT_TIMEOUT_SECONDS`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{CommandError, Commander, Invocation};
use super::files::{Written, remove_file, write_if_different};
use super::mounts::{GlusterMount, MountError};
use crate::cluster::MountPoint;

/// Where units of the administrator lie.
pub const UNIT_DIR: &str = "/etc/systemd/system";

/// What pulls the mount in at boot: the target of network file systems, and the one of every boot, since a host whose
/// list of file systems names none may never start the first.
const TARGETS: [&str; 2] = ["multi-user.target", "remote-fs.target"];

/// How long the boot waits for the mount. systemd's own default is 90 s.
const MOUNT_TIMEOUT_SECONDS: u32 = 45;

/// `systemctl` talks to a daemon that answers at once, or is busy with another reload.
const SYSTEMCTL_DEADLINE: Duration = Duration::from_secs(30);

/// A start may last as long as the unit's own limit.
const START_DEADLINE: Duration = Duration::from_secs(MOUNT_TIMEOUT_SECONDS as u64 + 15);

/// Why systemd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    #[error("`{command}` failed: {message}")]
    Failed { command: String, message: String },
    #[error("`systemctl` could not be run")]
    Command(#[source] CommandError),
}

/// Whether systemd is the init of this host, as `sd_booted(3)` finds it out.
#[must_use]
pub fn running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The name of the unit for a mount point, as `systemd-escape --path --suffix=mount` (252) makes it:
///
/// ```text
/// /mnt/shared    -> mnt-shared.mount
/// /data/a-b/c.d  -> data-a\x2db-c.d.mount
/// ```
#[must_use]
pub fn mount_unit_name(point: &MountPoint) -> String {
    let mut name = String::new();
    for (at, byte) in point.as_str().trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name + ".mount"
}

/// The unit that mounts the shared volume at boot. Docker is started after it was tried, so that containers find the
/// volume, and also when it failed: a manager must not be lost to its storage.
///
/// # Errors
/// If the mount names no server, or none that can be one.
pub fn render_mount_unit(mount: &GlusterMount) -> Result<String, MountError> {
    let (source, options) = mount.source_and_options()?;
    let GlusterMount { volume, point, .. } = mount;
    // `%` would be a specifier here; neither volumes nor paths can have one.
    Ok(format!(
        "# Written by clusterctl; changes made here are lost when this host joins again.\n\
         [Unit]\n\
         Description=Shared volume {volume}\n\
         After=network-online.target glusterd.service\n\
         Wants=network-online.target\n\
         Before=docker.service\n\
         \n\
         [Mount]\n\
         What={source}\n\
         Where={point}\n\
         Type=glusterfs\n\
         Options={options}\n\
         TimeoutSec={MOUNT_TIMEOUT_SECONDS}\n\
         \n\
         [Install]\n\
         WantedBy={}\n",
        TARGETS.join(" ")
    ))
}

/// What has Docker wait for the mount of that unit also where it is started long after the boot. A mount that fails takes
/// Docker with it neither then nor later: `RequiresMountsFor=` would, and a manager must not be lost to its storage.
#[must_use]
pub fn render_docker_drop_in(unit: &str) -> String {
    format!(
        "# Written by clusterctl; changes made here are lost when this host joins again.\n\
         [Unit]\n\
         Wants={unit}\n\
         After={unit}\n"
    )
}

/// Where that lies below [`UNIT_DIR`].
pub const DOCKER_DROP_IN: &str = "docker.service.d/clusterctl-mount.conf";

/// Writes a unit below `dir` (normally [`UNIT_DIR`]) and enables it. Reload the daemon if it changed. Blocks.
///
/// # Errors
/// On input and output, or if something else than a unit of that name is in the way.
pub fn install_unit(dir: &Path, name: &str, text: &str) -> io::Result<Written> {
    let unit = dir.join(name);
    let written = write_if_different(&unit, text.as_bytes(), 0o644)?;
    let mut changed = written.changed;
    for link in wanted_by(dir, name) {
        changed |= enable(&unit, &link)?;
    }
    Ok(Written { changed })
}

/// Points `link` at `unit` if it does not yet.
fn enable(unit: &Path, link: &Path) -> io::Result<bool> {
    match std::fs::read_link(link) {
        // systemd goes by the link's own name; where it points may be spelled in several ways.
        Ok(target) if target.file_name() == unit.file_name() => return Ok(false),
        Ok(_) => std::fs::remove_file(link)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent)?;
        std::os::unix::fs::symlink(unit, link)?;
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(true)
}

/// Whether a unit below `dir` has exactly this text and is enabled.
///
/// # Errors
/// On input and output.
pub fn is_installed(dir: &Path, name: &str, text: &str) -> io::Result<bool> {
    let unit = dir.join(name);
    let found = match crate::providers::files::read_limited(&unit, 1024 * 1024) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let points = |link: &PathBuf| std::fs::read_link(link).is_ok_and(|target| target.file_name() == unit.file_name());
    Ok(found == text.as_bytes() && wanted_by(dir, name).iter().all(points))
}

/// Disables a unit below `dir` and removes it. Blocks.
///
/// # Errors
/// On input and output, or if something else than a unit is in the way.
pub fn remove_unit(dir: &Path, name: &str) -> io::Result<Written> {
    let mut changed = false;
    for link in wanted_by(dir, name) {
        match std::fs::remove_file(link) {
            Ok(()) => changed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let removed = remove_file(&dir.join(name))?;
    Ok(Written { changed: changed || removed.changed })
}

fn wanted_by(dir: &Path, name: &str) -> [PathBuf; 2] {
    TARGETS.map(|target| dir.join(format!("{target}.wants")).join(name))
}

/// Makes systemd read its units again.
///
/// # Errors
/// If `systemctl` cannot be run, or refuses.
pub async fn daemon_reload(commander: &dyn Commander) -> Result<(), SystemdError> {
    systemctl(commander, &["daemon-reload"], SYSTEMCTL_DEADLINE).await
}

/// Starts a unit and waits for it. For a mount this is better than `mount` wherever systemd runs: the client process
/// belongs to the unit then, and not to the service that happened to mount, with which systemd would kill it.
///
/// # Errors
/// If `systemctl` cannot be run, or the unit fails.
pub async fn start_unit(commander: &dyn Commander, name: &str) -> Result<(), SystemdError> {
    systemctl(commander, &["start", "--", name], START_DEADLINE).await
}

async fn systemctl(commander: &dyn Commander, words: &[&str], deadline: Duration) -> Result<(), SystemdError> {
    let invocation =
        Invocation::new("systemctl").args(["--no-ask-password", "--no-pager"]).args(words).deadline(deadline);
    let command = invocation.describe();
    let output = commander.run(invocation).await.map_err(SystemdError::Command)?;
    if output.success() {
        return Ok(());
    }
    Err(SystemdError::Failed { command, message: output.complaint() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::VolumeName;
    use crate::providers::command::Processes;

    fn point(text: &str) -> MountPoint {
        MountPoint::parse(text).unwrap()
    }

    fn mount() -> GlusterMount {
        GlusterMount {
            servers: vec!["10.0.0.1".into(), "10.0.0.2".into(), "10.0.0.3".into()],
            volume: VolumeName::parse("shared").unwrap(),
            point: point("/mnt/shared"),
        }
    }

    const POINTS: [(&str, &str); 5] = [
        ("/mnt/shared", "mnt-shared.mount"),
        ("/data/a-b/c.d", "data-a\\x2db-c.d.mount"),
        ("/mnt/.x", "mnt-.x.mount"),
        ("/data/x@y", "data-x\\x40y.mount"),
        ("/srv/a_b", "srv-a_b.mount"),
    ];

    #[tokio::test]
    async fn names_are_those_of_systemd() {
        for (path, name) in POINTS {
            assert_eq!(mount_unit_name(&point(path)), name);
            let escape = Invocation::new("systemd-escape").args(["--path", "--suffix=mount", path]);
            if let Ok(output) = Processes.run(escape).await {
                assert_eq!(output.stdout_text().trim_end(), name);
            }
        }
    }

    /// Covers S2-74 and FAULTS G14.
    #[test]
    fn the_unit_as_it_is_written() {
        insta::assert_snapshot!(render_mount_unit(&mount()).unwrap(), @r"
        # Written by clusterctl; changes made here are lost when this host joins again.
        [Unit]
        Description=Shared volume shared
        After=network-online.target glusterd.service
        Wants=network-online.target
        Before=docker.service

        [Mount]
        What=10.0.0.1:/shared
        Where=/mnt/shared
        Type=glusterfs
        Options=_netdev,backup-volfile-servers=10.0.0.2:10.0.0.3
        TimeoutSec=45

        [Install]
        WantedBy=multi-user.target remote-fs.target
        ");
    }

    /// Covers FAULTS G14.
    #[test]
    fn docker_waits_for_the_mount_and_does_not_fall_with_it() {
        let text = render_docker_drop_in(&mount_unit_name(&mount().point));
        assert!(text.ends_with("[Unit]\nWants=mnt-shared.mount\nAfter=mnt-shared.mount\n"), "{text}");
    }

    #[tokio::test]
    async fn systemd_accepts_the_unit() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join(mount_unit_name(&mount().point));
        std::fs::write(&unit, render_mount_unit(&mount()).unwrap()).unwrap();
        let verify = Invocation::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit);
        // Where it is not installed there is nothing to ask.
        if let Ok(output) = Processes.run(verify).await {
            assert_eq!((output.code, String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
        }
    }

    #[test]
    fn installs_enables_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("remote-fs.target.wants/mnt-shared.mount");
        let install = |text| install_unit(dir.path(), "mnt-shared.mount", text).unwrap().changed;
        assert!(install("one"));
        assert!(!install("one"));
        let installed = |text| is_installed(dir.path(), "mnt-shared.mount", text).unwrap();
        assert!(installed("one") && !installed("two"));
        assert!(dir.path().join("multi-user.target.wants/mnt-shared.mount").exists());
        assert!(install("two"));
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "two");
        std::fs::remove_file(&link).unwrap();
        assert!(!installed("two"));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(install("two"));
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "two");
        assert!(remove_unit(dir.path(), "mnt-shared.mount").unwrap().changed);
        assert!(!remove_unit(dir.path(), "mnt-shared.mount").unwrap().changed);
        assert!(link.symlink_metadata().is_err());
    }
}
