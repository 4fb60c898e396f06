//! How the shared volume's mount comes back after a reboot: a systemd mount unit where systemd runs, else a line in
//! fstab. Both wait for the network and neither holds up the boot; where systemd runs, Docker starts after the mount was
//! tried.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::command::Commander;
use super::files;
use super::mounts::GlusterMount;
use super::mounts::fstab::{fstab_line, with_entry, without_entry};
use super::systemd::{self, UNIT_DIR};
use crate::cluster::MountPoint;

/// Sets what is mounted at boot.
#[async_trait::async_trait]
pub trait Persistence: Send + Sync {
    /// Whether exactly this mount comes back at boot.
    fn is_set(&self, mount: &GlusterMount) -> io::Result<bool>;
    /// Makes it so.
    async fn set(&self, mount: &GlusterMount) -> io::Result<()>;
    /// Takes the mount at `point` off the list; says whether it was on it.
    async fn clear(&self, point: &MountPoint) -> io::Result<bool>;
}

/// The real one.
pub struct SystemPersistence {
    commander: Arc<dyn Commander>,
    unit_dir: PathBuf,
    fstab: PathBuf,
    systemd: bool,
}

/// Far more than an fstab or a unit takes.
const MAX_BYTES: u64 = 1024 * 1024;

impl SystemPersistence {
    /// Works on this host; `commander` tells systemd of new units.
    #[must_use]
    pub fn new(commander: Arc<dyn Commander>) -> Self {
        Self {
            commander,
            unit_dir: PathBuf::from(UNIT_DIR),
            fstab: PathBuf::from("/etc/fstab"),
            systemd: systemd::running(),
        }
    }

    fn read(path: &std::path::Path) -> io::Result<String> {
        match files::read_limited(path, MAX_BYTES) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    fn write_fstab(&self, text: &str) -> io::Result<()> {
        files::write_if_different(&self.fstab, text.as_bytes(), 0o644).map(drop)
    }

    fn docker_drop_in(&self) -> PathBuf {
        self.unit_dir.join(systemd::DOCKER_DROP_IN)
    }

    async fn reload(&self) -> io::Result<()> {
        systemd::daemon_reload(self.commander.as_ref()).await.map_err(io::Error::other)
    }
}

#[async_trait::async_trait]
impl Persistence for SystemPersistence {
    fn is_set(&self, mount: &GlusterMount) -> io::Result<bool> {
        if mount.servers.is_empty() {
            // Nothing to compare with yet.
            return Ok(false);
        }
        if self.systemd {
            let text = systemd::render_mount_unit(mount).map_err(io::Error::other)?;
            let name = systemd::mount_unit_name(&mount.point);
            let docker_waits = Self::read(&self.docker_drop_in())? == systemd::render_docker_drop_in(&name);
            return Ok(docker_waits && systemd::is_installed(&self.unit_dir, &name, &text)?);
        }
        let line = fstab_line(mount).map_err(io::Error::other)?;
        Ok(with_entry(&Self::read(&self.fstab)?, &mount.point, &line).map_err(io::Error::other)?.is_none())
    }

    async fn set(&self, mount: &GlusterMount) -> io::Result<()> {
        if self.systemd {
            let text = systemd::render_mount_unit(mount).map_err(io::Error::other)?;
            let name = systemd::mount_unit_name(&mount.point);
            // For the next start of Docker, which is that of the next boot or comes after another reload.
            let drop_in = self.docker_drop_in();
            if let Some(directory) = drop_in.parent() {
                std::fs::create_dir_all(directory)?;
            }
            files::write_if_different(&drop_in, systemd::render_docker_drop_in(&name).as_bytes(), 0o644)?;
            // A unit that systemd has not read yet is read when it is started; an older form has to be forgotten.
            let known = self.unit_dir.join(&name).exists();
            if systemd::install_unit(&self.unit_dir, &name, &text)?.changed && known {
                self.reload().await?;
            }
            return Ok(());
        }
        let line = fstab_line(mount).map_err(io::Error::other)?;
        match with_entry(&Self::read(&self.fstab)?, &mount.point, &line).map_err(io::Error::other)? {
            Some(text) => self.write_fstab(&text),
            None => Ok(()),
        }
    }

    async fn clear(&self, point: &MountPoint) -> io::Result<bool> {
        if self.systemd {
            files::remove_file(&self.docker_drop_in())?;
            let removed = systemd::remove_unit(&self.unit_dir, &systemd::mount_unit_name(point))?.changed;
            if removed {
                self.reload().await?;
            }
            return Ok(removed);
        }
        match without_entry(&Self::read(&self.fstab)?, point) {
            Some(text) => self.write_fstab(&text).map(|()| true),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::VolumeName;
    use crate::providers::command::Processes;

    fn mount(servers: &[&str]) -> GlusterMount {
        GlusterMount {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            volume: VolumeName::parse("shared").unwrap(),
            point: MountPoint::parse("/mnt/shared").unwrap(),
        }
    }

    /// Covers FAULTS G14: the mount and what has Docker wait for it are one thing, set and cleared together.
    #[tokio::test]
    async fn the_mount_comes_back_before_docker() {
        let dir = tempfile::tempdir().unwrap();
        let (commander, fstab) = (Arc::new(Processes), dir.path().join("fstab"));
        let boot = SystemPersistence { commander, unit_dir: dir.path().to_owned(), fstab, systemd: true };
        let wanted = mount(&["10.0.0.1", "10.0.0.2"]);
        assert!(!boot.is_set(&wanted).unwrap());
        boot.set(&wanted).await.unwrap();
        assert!(boot.is_set(&wanted).unwrap() && !boot.is_set(&mount(&["10.0.0.1"])).unwrap());
        let drop_in = dir.path().join("docker.service.d/clusterctl-mount.conf");
        std::fs::write(&drop_in, "[Unit]\n").unwrap();
        assert!(!boot.is_set(&wanted).unwrap());
        boot.set(&wanted).await.unwrap();
        assert!(boot.is_set(&wanted).unwrap());
        let unit = dir.path().join("mnt-shared.mount");
        std::fs::remove_file(&drop_in).unwrap();
        assert!(unit.exists() && !boot.is_set(&wanted).unwrap());
    }
}
