//! What the machine must have before a lab is touched, and the command that installs what is missing.

use std::path::Path;

use super::boot::SYSTEMD;
use crate::providers::command::find_program;

/// Programs and the Debian and Ubuntu packages that they are from.
const PROGRAMS: [(&str, &str); 12] = [
    ("dockerd", "docker.io"),
    ("containerd", "docker.io"),
    ("docker", "docker.io"),
    ("glusterd", "glusterfs-server"),
    ("gluster", "glusterfs-server"),
    ("mount.glusterfs", "glusterfs-client"),
    (SYSTEMD, "systemd"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("sysctl", "procps"),
];

/// Why no lab can run here. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a lab needs root: it makes namespaces, mounts and control groups")]
    NotRoot,
    #[error("a lab needs {programs}, missing here: `apt-get install --no-install-recommends {packages}`")]
    Packages { programs: String, packages: String },
    #[error("this kernel offers no {feature}: `modprobe {module}`, or use another kernel")]
    Kernel { feature: &'static str, module: &'static str },
    #[error("{0} lies on an overlay, which carries no disks for hosts: use `--dir` with one on ext4, xfs or btrfs")]
    Overlay(String),
    #[error(
        "{hosts} hosts need {needed} inotify instances, of which {limit} are allowed and {used} in use: \
         `sysctl fs.inotify.max_user_instances=1024`, or fewer hosts"
    )]
    Watches { hosts: u8, needed: usize, limit: usize, used: usize },
}

/// Looks at this machine.
///
/// # Errors
/// Says the first thing that is missing and how to get it.
pub fn check() -> Result<(), Unfit> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unfit::NotRoot);
    }
    packages(|program| find_program(Path::new(program)).is_some())?;
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    kernel(&filesystems, |device| Path::new(device).exists())
}

/// Whether `dir` lies on a file system that can carry the hosts' disks.
///
/// # Errors
/// It is an overlay, as in a container.
pub fn disk(dir: &Path) -> Result<(), Unfit> {
    /// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
    const OVERLAY: i64 = 0x794c_7630;
    match rustix::fs::statfs(dir) {
        Ok(found) if found.f_type == OVERLAY => Err(Unfit::Overlay(dir.display().to_string())),
        // What cannot be asked will say so itself when it is used.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What systemd, Docker and Gluster of one host take; without, they fail with "too many open files".
const WATCHES_PER_HOST: usize = 14;

/// Whether the machine's root may have as many inotify instances as `hosts` take, when `used` are in use.
///
/// # Errors
/// Says how to raise the limit, which is the machine's and so not raised by a lab.
pub fn watches(hosts: u8, used: usize) -> Result<(), Unfit> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    // No limit that can be read is none to heed.
    fits(hosts, used, limit.trim().parse().unwrap_or(usize::MAX))
}

fn fits(hosts: u8, used: usize, limit: usize) -> Result<(), Unfit> {
    let needed = usize::from(hosts) * WATCHES_PER_HOST;
    if used.saturating_add(needed) <= limit { Ok(()) } else { Err(Unfit::Watches { hosts, needed, limit, used }) }
}

fn packages(is_installed: impl Fn(&str) -> bool) -> Result<(), Unfit> {
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|(program, _)| !is_installed(program)).collect();
    let programs: Vec<_> = missing.iter().map(|(program, _)| format!("`{program}`")).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unfit::Packages { programs: programs.join(", "), packages: packages.join(" ") })
}

fn kernel(filesystems: &str, exists: impl Fn(&str) -> bool) -> Result<(), Unfit> {
    let knows = |name: &str| filesystems.lines().any(|line| line.split_whitespace().last() == Some(name));
    let features = [
        (knows("overlay"), "overlay file system", "overlay"),
        (exists("/dev/fuse"), "/dev/fuse", "fuse"),
        (exists("/dev/net/tun"), "/dev/net/tun", "tun"),
    ];
    match features.into_iter().find(|(is_there, ..)| !is_there) {
        Some((_, feature, module)) => Err(Unfit::Kernel { feature, module }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_packages_once_and_in_order() {
        let error = packages(|program| !program.contains("gluster") && program != "dockerd").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a lab needs `dockerd`, `glusterd`, `gluster`, `mount.glusterfs`, missing here: \
             `apt-get install --no-install-recommends docker.io glusterfs-client glusterfs-server`"
        );
        assert_eq!(packages(|_| true), Ok(()));
    }

    #[test]
    fn says_when_the_machine_carries_no_more_hosts() {
        assert_eq!(fits(3, 80, 128), Ok(()));
        let error = fits(5, 80, 128).unwrap_err().to_string();
        assert!(error.starts_with("5 hosts need 70 inotify instances, of which 128 are allowed and 80"), "{error}");
    }

    #[test]
    fn names_the_kernel_module() {
        assert_eq!(kernel("nodev\toverlay\n\text4\n", |_| true), Ok(()));
        let error = kernel("nodev\toverlay\n", |device| device != "/dev/fuse").unwrap_err();
        assert_eq!(error.to_string(), "this kernel offers no /dev/fuse: `modprobe fuse`, or use another kernel");
        assert!(kernel("nodev\toverlayfs\n", |_| true).is_err());
    }
}
