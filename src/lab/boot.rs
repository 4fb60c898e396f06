//! The first process of a host, until systemd takes its place.
//!
//! Runs as process 1 of new namespaces, in two steps: [`enter`] moves into the host's control groups and starts anew in
//! a control group namespace that begins there; [`boot`] connects the network, puts the root together, pivots into it
//! and becomes systemd. Everything mounted here belongs to the host's mount namespace and goes with its last process.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::cgroups::{Kind, Layout};
use super::network;
use super::spec::HostSpec;
use crate::providers::command::{self, Commander, Invocation};

/// Where both Debian and Ubuntu have it.
pub const SYSTEMD: &str = "/lib/systemd/systemd";

/// A step that failed. The namespaces end with the process.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BootError {
    what: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> BootError {
    let what = what.into();
    move |source| BootError { what, source: Box::new(source) }
}

/// Reads the specification that the lab wrote.
///
/// # Errors
/// There is none, or it is from another version.
pub fn read_spec(path: &Path) -> Result<HostSpec, BootError> {
    let text = fs::read(path).map_err(failed(format!("cannot read {}", path.display())))?;
    serde_json::from_slice(&text).map_err(failed(format!("cannot read {}", path.display())))
}

/// Moves into the host's control groups and starts this program again, with `again`, in a namespace of them.
///
/// # Errors
/// Always an error: on success this program has been replaced.
pub fn enter(spec: &HostSpec, again: Vec<std::ffi::OsString>) -> BootError {
    if let Err(error) = spec.group.enter() {
        return failed("cannot move into the host's control groups")(error);
    }
    let unshare = Invocation::new("unshare").arg("--cgroup").arg("--").arg(&spec.program).args(again);
    failed("cannot start again")(command::replace_process(&unshare))
}

/// Becomes the host's systemd.
///
/// # Errors
/// Always an error: on success this program has been replaced.
pub async fn boot(spec: &HostSpec, commander: &dyn Commander) -> BootError {
    match assemble(spec, commander).await {
        Ok(()) => {
            let systemd = Invocation::new(SYSTEMD).arg("--system").env("container", "lab");
            failed("cannot become systemd")(command::replace_process(&systemd))
        }
        Err(error) => error,
    }
}

async fn assemble(spec: &HostSpec, commander: &dyn Commander) -> Result<(), BootError> {
    // Whatever the shell that started the lab had.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    network::connect_host(spec, commander).await.map_err(failed("cannot connect the host to the bridge"))?;
    rustix::system::sethostname(spec.host.to_string().as_bytes()).map_err(failed("cannot set the host's name"))?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("cannot keep mounts private"))?;
    let root = spec.root();
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    for (index, layer) in spec.layers.iter().enumerate() {
        let at = inside(&layer.to_string_lossy());
        let data = format!(
            "lowerdir={},upperdir={},workdir={},index=off",
            layer.display(),
            spec.upper(index).display(),
            spec.work(index).display()
        );
        mount("overlay", "overlay", &at, MountFlags::empty(), &data)?;
    }
    for (target, source) in &spec.binds {
        bind_dir(&spec.dir.join(source), &inside(&target.to_string_lossy()))?;
    }
    let labs = inside(&spec.labs.to_string_lossy());
    mount("tmpfs", "tmpfs", &labs, MountFlags::RDONLY, "size=4k,mode=755")?;
    let program = inside("/usr/local/bin/clusterctl");
    bind_file(&spec.program, &program)?;
    kernel_files(spec, &inside)?;
    devices(&inside)?;
    for (dir, options) in [("/run", "mode=755"), ("/tmp", "mode=1777")] {
        mount("tmpfs", "tmpfs", &inside(dir), MountFlags::NOSUID | MountFlags::NODEV, options)?;
    }
    pivot(&root)
}

fn kernel_files(spec: &HostSpec, inside: &dyn Fn(&str) -> PathBuf) -> Result<(), BootError> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "proc", &inside("/proc"), safe, "")?;
    bind_file(&spec.boot_id(), &inside("/proc/sys/kernel/random/boot_id"))?;
    // The one file with which a host could stop the whole machine by accident.
    let trigger = inside("/proc/sysrq-trigger");
    if trigger.exists() {
        bind_file(Path::new("/dev/null"), &trigger)?;
    }
    mount("sysfs", "sysfs", &inside("/sys"), safe, "")?;
    let top = inside("/sys/fs/cgroup");
    match spec.layout {
        Layout::Unified => mount("cgroup2", "cgroup2", &top, safe, ""),
        Layout::AsMachine => {
            mount("tmpfs", "tmpfs", &top, safe, "mode=755")?;
            for hierarchy in spec.group.hierarchies() {
                let at = inside(&hierarchy.mount.to_string_lossy());
                match &hierarchy.kind {
                    Kind::V2 => mount("cgroup2", "cgroup2", &at, safe, "")?,
                    Kind::V1(controllers) => {
                        let named = if controllers.starts_with("name=") { "none," } else { "" };
                        mount("cgroup", "cgroup", &at, safe, &format!("{named}{controllers}"))?;
                        aliases(&top, &at, controllers)?;
                    }
                }
            }
            Ok(())
        }
    }
}

/// Tools look for `cpu` where `cpu,cpuacct` is mounted.
fn aliases(top: &Path, at: &Path, controllers: &str) -> Result<(), BootError> {
    for controller in controllers.split(',').filter(|name| !name.contains('=')) {
        let alias = top.join(controller);
        if let (false, Some(name)) = (alias.exists(), at.file_name()) {
            std::os::unix::fs::symlink(name, &alias).map_err(failed(format!("cannot link {}", alias.display())))?;
        }
    }
    Ok(())
}

fn devices(inside: &dyn Fn(&str) -> PathBuf) -> Result<(), BootError> {
    mount("tmpfs", "tmpfs", &inside("/dev"), MountFlags::NOSUID, "mode=755,size=4m")?;
    let nodes = [
        ("null", 1, 3, 0o666),
        ("zero", 1, 5, 0o666),
        ("full", 1, 7, 0o666),
        ("random", 1, 8, 0o666),
        ("urandom", 1, 9, 0o666),
        ("tty", 5, 0, 0o666),
        ("fuse", 10, 229, 0o666),
        ("net/tun", 10, 200, 0o666),
    ];
    fs::create_dir(inside("/dev/net")).map_err(failed("cannot make /dev/net"))?;
    for (name, major, minor, mode) in nodes {
        let at = inside(&format!("/dev/{name}"));
        rustix::fs::mknodat(CWD, &at, FileType::CharacterDevice, Mode::from_raw_mode(mode), makedev(major, minor))
            .and_then(|()| rustix::fs::chmod(&at, Mode::from_raw_mode(mode)))
            .map_err(failed(format!("cannot make {}", at.display())))?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        let at = inside(&format!("/dev/{name}"));
        std::os::unix::fs::symlink(target, &at).map_err(failed(format!("cannot link {}", at.display())))?;
    }
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", "devpts", &inside("/dev/pts"), quiet, "newinstance,ptmxmode=0666,mode=620,gid=5")?;
    mount("tmpfs", "tmpfs", &inside("/dev/shm"), quiet, "mode=1777")?;
    mount("mqueue", "mqueue", &inside("/dev/mqueue"), quiet, "")
}

/// Makes `root` the root and forgets the machine's.
fn pivot(root: &Path) -> Result<(), BootError> {
    std::env::set_current_dir(root).map_err(failed("cannot enter the new root"))?;
    // Both at the same place: the old root ends up over the new one, from where it is taken off.
    rustix::process::pivot_root(".", ".").map_err(failed("cannot pivot into the new root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("cannot leave the machine's root"))?;
    std::env::set_current_dir("/").map_err(failed("cannot enter the new root"))
}

fn mount(source: &str, kind: &str, at: &Path, flags: MountFlags, data: &str) -> Result<(), BootError> {
    let what = || format!("cannot mount {kind} at {}", at.display());
    fs::create_dir_all(at).map_err(failed(what()))?;
    let data = CString::new(data).map_err(failed(what()))?;
    rustix::mount::mount(source, at, kind, flags, data.as_c_str()).map_err(failed(what()))
}

fn bind_dir(from: &Path, at: &Path) -> Result<(), BootError> {
    let what = || format!("cannot bind {} to {}", from.display(), at.display());
    fs::create_dir_all(at).map_err(failed(what()))?;
    rustix::mount::mount_bind(from, at).map_err(failed(what()))
}

fn bind_file(from: &Path, at: &Path) -> Result<(), BootError> {
    let what = || format!("cannot bind {} to {}", from.display(), at.display());
    if !at.exists() {
        let made: io::Result<()> = at.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(at, ""));
        made.map_err(failed(what()))?;
    }
    rustix::mount::mount_bind(from, at).map_err(failed(what()))
}
