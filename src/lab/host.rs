//! One host of a lab seen from the machine: its directory, its start, its end, and whether its services answer.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::processes;
use super::spec::{self, HostSpec};
use crate::providers::command::{self, CommandError, Commander, Invocation};

/// How long a dead host's processes and groups may take to go.
pub(super) const END: Duration = Duration::from_secs(20);

/// What of a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Services {
    pub dockerd: bool,
    pub glusterd: bool,
}

impl HostSpec {
    /// The file that the host's first process reads.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join("spec.json")
    }

    /// The output of the host's starter and of everything before systemd.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The host's first process; `None` if it is off or not yet booted.
    #[must_use]
    pub fn init(&self) -> Option<i32> {
        processes::init_of(&self.file())
    }
}

/// Makes the host's disk: its directories, its own files, its units.
///
/// # Errors
/// What was made until then stays for [`super::leftovers`] to clear.
pub fn prepare(host: &HostSpec, files: &[(&str, String)]) -> io::Result<()> {
    for index in 0..host.layers.len() {
        fs::create_dir_all(host.upper(index))?;
        fs::create_dir_all(host.work(index))?;
    }
    fs::create_dir_all(host.root())?;
    for (at, place) in &host.binds {
        let own = host.dir.join(place);
        fs::create_dir_all(&own)?;
        copy_owner(at, &own)?;
    }
    for hidden in slow_helpers()? {
        hide(host, &hidden)?;
    }
    for (path, text) in files {
        let at = host.upper(0).join(path.trim_start_matches('/'));
        at.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(at, text)?;
    }
    let own = |path: &str| host.dir.join(spec::place_of(Path::new(path)));
    fs::create_dir_all(own("/var/log").join("glusterfs"))?;
    fs::write(own("/etc/docker").join("daemon.json"), "{}\n")?;
    // What the package ships there; never the identity, the peers or the volumes of the machine.
    for part in ["groups", "hooks"] {
        let from = Path::new("/var/lib/glusterd").join(part);
        if from.is_dir() {
            copy_tree(&from, &own("/var/lib/glusterd").join(part))?;
        }
    }
    let units = Path::new("/lib/systemd/system");
    for (link, target) in spec::unit_links(&packaged_units(units)?, units) {
        let link = own("/etc/systemd/system").join(link);
        link.parent().map_or(Ok(()), fs::create_dir_all)?;
        std::os::unix::fs::symlink(target, link)?;
    }
    // Generators turn the machine's mounts, consoles and init scripts into units.
    for name in names_in(Path::new("/lib/systemd/system-generators"))? {
        std::os::unix::fs::symlink("/dev/null", own("/etc/systemd/system-generators").join(name))?;
    }
    Ok(())
}

/// Gluster's geo-replication, which a lab does not use: every start of glusterd runs it twenty times, each a Python, and
/// so takes 2 to 10 s. Where it is not installed, glusterd says so in its log and goes on.
fn slow_helpers() -> io::Result<Vec<PathBuf>> {
    let libraries = names_in(Path::new("/usr/lib"))?.into_iter().map(|dir| Path::new("/usr/lib").join(dir));
    let places = libraries.chain([PathBuf::from("/usr/libexec")]);
    Ok(places.map(|dir| dir.join("glusterfs/gsyncd")).filter(|path| path.is_file()).collect())
}

/// Makes `path` absent in the host, the way that the overlay itself records a deletion.
fn hide(host: &HostSpec, path: &Path) -> io::Result<()> {
    let layers =
        host.layers.iter().enumerate().filter_map(|(index, layer)| Some((index, path.strip_prefix(layer).ok()?)));
    let Some((index, inner)) = layers.min_by_key(|(_, inner)| inner.as_os_str().len()) else { return Ok(()) };
    let at = host.upper(index).join(inner);
    at.parent().map_or(Ok(()), fs::create_dir_all)?;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    Ok(mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
}

fn copy_owner(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(model) = fs::metadata(from) else { return Ok(()) };
    std::os::unix::fs::chown(to, Some(model.uid()), Some(model.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(model.mode() & 0o7777))
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, at) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &at)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), at)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, at)?;
        }
    }
    Ok(())
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The units that packages have systemd start without anybody's `systemctl enable`.
fn packaged_units(units: &Path) -> io::Result<Vec<String>> {
    let wants = names_in(units)?.into_iter().filter(|name| name.ends_with(".wants"));
    let mut found = Vec::new();
    for dir in wants {
        found.extend(names_in(&units.join(dir))?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Why a host did not boot.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("cannot write {path}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Powers the host on and returns at once; `boot_id` is new for every boot.
///
/// # Errors
/// The host is off.
pub fn start(host: &HostSpec, boot_id: &str) -> Result<(), StartError> {
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| StartError::Io { path, source }
    };
    host.group.create().map_err(io(&host.dir))?;
    fs::write(host.boot_id(), format!("{boot_id}\n")).map_err(io(&host.boot_id()))?;
    let text = serde_json::to_vec_pretty(host).map_err(|error| io(&host.file())(error.into()))?;
    fs::write(host.file(), text).map_err(io(&host.file()))?;
    let log = fs::OpenOptions::new().create(true).append(true).open(host.log()).map_err(io(&host.log()))?;
    // With the starter dies the host: `--kill-child`. It stays outside the host's control groups, because a group with
    // a process of its own hands no controllers on to the services below.
    let starter = Invocation::new("unshare")
        .args(["--fork", "--kill-child=KILL", "--net", "--pid", "--mount", "--uts", "--ipc", "--"])
        .arg(&host.program)
        .args(["lab", "host-init", "--spec"])
        .arg(host.file());
    command::spawn_detached(&starter, &log)?;
    Ok(())
}

/// What of the host answers now.
pub async fn services(host: &HostSpec) -> Services {
    let Some(init) = host.init() else { return Services::default() };
    // The way through /proc leads into the host's own files; `/run` because `/var/run` is an absolute link.
    let socket = |name: &str| PathBuf::from(format!("/proc/{init}/root/run/{name}"));
    let (docker, gluster) = (socket("docker.sock"), socket("glusterd.socket"));
    let patience = Duration::from_secs(5);
    let dockerd = tokio::time::timeout(patience, ping(&docker));
    let glusterd = tokio::time::timeout(patience, UnixStream::connect(&gluster));
    let (dockerd, glusterd) = tokio::join!(dockerd, glusterd);
    Services { dockerd: matches!(dockerd, Ok(Ok(true))), glusterd: matches!(glusterd, Ok(Ok(_))) }
}

async fn ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).await?;
    Ok(answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
}

/// The host's services did not come up.
#[derive(Debug, thiserror::Error)]
#[error("host {host} is not ready: {missing}\n{evidence}")]
pub struct NotReady {
    host: String,
    missing: String,
    /// What the host itself says.
    evidence: String,
}

/// Waits until Docker and Gluster answer in the host.
///
/// # Errors
/// Shows what the host says about itself.
pub async fn wait_ready(host: &HostSpec, commander: &dyn Commander, within: Duration) -> Result<(), NotReady> {
    let deadline = Instant::now() + within;
    let starting = Instant::now() + Duration::from_secs(2);
    loop {
        let answered = services(host).await;
        let mut missing = match answered {
            Services { dockerd: true, glusterd: true } => return Ok(()),
            Services { dockerd: false, glusterd: true } => "dockerd does not answer".to_owned(),
            Services { dockerd: true, glusterd: false } => "glusterd does not answer".to_owned(),
            Services { dockerd: false, glusterd: false } => "neither dockerd nor glusterd answers".to_owned(),
        };
        let is_off = Instant::now() > starting && processes::starters_below(&host.file()).is_empty();
        if is_off {
            "it stopped while it booted".clone_into(&mut missing);
        }
        if is_off || Instant::now() > deadline {
            let evidence = evidence(host, answered, commander).await;
            return Err(NotReady { host: host.host.to_string(), missing, evidence });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the host's systemd says about itself and about the services that do not answer; before there is one, what the
/// starter printed.
async fn evidence(host: &HostSpec, answered: Services, commander: &dyn Commander) -> String {
    let mut text = fs::read_to_string(host.log()).unwrap_or_default();
    if let Some(init) = host.init() {
        let units = [(answered.dockerd, "docker.service"), (answered.glusterd, "glusterd.service")];
        let silent = || units.into_iter().filter(|(answers, _)| !answers).map(|(_, unit)| unit);
        let plain = ["--no-pager", "--full"];
        let asks = [
            processes::inside(init, ["systemctl", "list-jobs", "--no-legend"].into_iter().chain(plain)),
            processes::inside(init, ["systemctl", "--failed", "--no-legend"].into_iter().chain(plain)),
            processes::inside(init, ["systemctl", "status", "--lines=0"].into_iter().chain(plain).chain(silent())),
            processes::inside(init, ["journalctl", "--no-pager", "--lines=25"])
                .args(silent().map(|unit| format!("--unit={unit}"))),
        ];
        for ask in asks {
            match commander.run(ask.deadline(Duration::from_secs(5))).await {
                Ok(output) => text.push_str(&output.stdout_text()),
                Err(error) => text.push_str(&format!("{error}\n")),
            }
        }
    }
    let short = |line: &str| line.chars().take(LINE).collect::<String>();
    text.lines().map(|line| format!("  {}\n", short(line))).collect()
}

/// Some daemons log their whole configuration in one line.
const LINE: usize = 300;
