//! Finds and ends the processes of a host.
//!
//! Two accounts that need no record on disk: the control groups, and the starter's own command line, which names the
//! host's specification as long as the host lives. A recorded number could by now be somebody else's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::cgroups::Group;
use crate::providers::command::Invocation;

/// Processes that did not die in time.
#[derive(Debug, thiserror::Error)]
#[error("processes {0:?} outlive SIGKILL; look at `cat /proc/PID/stack`")]
pub struct Survivors(BTreeSet<i32>);

/// The process with the host's namespaces, once systemd runs in it; `None` while the host boots or is off.
#[must_use]
pub fn init_of(spec_file: &Path) -> Option<i32> {
    let starters = starters_below(spec_file);
    let is_init = |pid: &i32| {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        parent_in(&file("stat")).is_some_and(|parent| starters.contains(&parent)) && file("comm").trim() == "systemd"
    };
    all().find(is_init)
}

/// The processes that were started with a specification at or below `path`: a host's starter, and for the moment before
/// it becomes systemd the host's first process.
#[must_use]
pub fn starters_below(path: &Path) -> BTreeSet<i32> {
    let named = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| spec_in(&line).is_some_and(|spec| spec.starts_with(path)))
    };
    all().filter(named).collect()
}

/// The value of `--spec` in a NUL-separated command line of `lab host-init`.
fn spec_in(cmdline: &[u8]) -> Option<PathBuf> {
    let words: Vec<_> = cmdline.split(|byte| *byte == 0).collect();
    let at = words.iter().position(|word| *word == b"host-init")?;
    let option = at + words.get(at..)?.iter().position(|word| *word == b"--spec")?;
    Some(PathBuf::from(String::from_utf8_lossy(words.get(option + 1)?).into_owned()))
}

/// ```text
/// 4711 (name (of) it) S 4700 4711 ...
/// ```
fn parent_in(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// How many inotify instances are open on the machine.
#[must_use]
pub fn inotify_instances() -> usize {
    let descriptors = all().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten());
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.as_os_str() == "anon_inode:inotify").count()
}

/// Kills every process of `group` and every starter below `spec`, and waits until they are gone.
///
/// # Errors
/// Names what is left at the deadline.
pub async fn kill(group: &Group, spec: &Path, within: Duration) -> Result<(), Survivors> {
    let deadline = Instant::now() + within;
    loop {
        let mut left = group.processes();
        left.extend(starters_below(spec));
        if left.is_empty() {
            return Ok(());
        }
        for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // It may have died since.
            kill_process(pid, Signal::KILL).ok();
        }
        group.thaw();
        if Instant::now() > deadline {
            return Err(Survivors(left));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A run of `argv` inside the host whose first process is `init`, in all its namespaces and with its root.
#[must_use]
pub fn inside<I: IntoIterator<Item = A>, A: Into<std::ffi::OsString>>(init: i32, argv: I) -> Invocation {
    let all = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"];
    // The working directory is that of the host's first process, which is `/`.
    Invocation::new("nsenter").arg(format!("--target={init}")).args(all).arg("--").args(argv).env("HOME", "/root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starter_is_known_by_its_command_line() {
        let line = b"unshare\0--fork\0--\0/l/a/bin/clusterctl\0lab\0host-init\0--spec\0/l/a/h1/spec.json\0";
        assert_eq!(spec_in(line).unwrap(), Path::new("/l/a/h1/spec.json"));
        assert_eq!(spec_in(b"grep\0--spec\0/l/a/h1/spec.json\0"), None);
        assert_eq!(spec_in(b"clusterctl\0lab\0host-init\0--spec"), None);
        assert_eq!(spec_in(b""), None);
        assert!(!Path::new("/l/ab/h1/spec.json").starts_with("/l/a"), "a lab is not its longer-named neighbour");
    }

    #[test]
    fn reads_the_parent_behind_any_name() {
        assert_eq!(parent_in("47 (a) b) c) S 12 47 1"), Some(12));
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn enters_every_namespace() {
        let words = inside(7, ["true", "--net"]).words().join(" ");
        assert_eq!(words, "--target=7 --mount --uts --ipc --net --pid --cgroup --root --wd -- true --net");
    }
}
