//! A host's own part of every control group hierarchy, and the account of its processes.
//!
//! Hosts that share one tree stop each other's services, so each gets a subtree in every hierarchy, v1 and v2. The
//! subtree is also how a lab's processes are found when everything else is lost. Groups lie below the top of each
//! hierarchy, outside what the machine's own systemd manages.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// One mounted hierarchy of the machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hierarchy {
    pub mount: PathBuf,
    pub kind: Kind,
}

/// Which interface a hierarchy speaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// With the controllers as the mount option names them: `cpu,cpuacct`, `name=systemd`.
    V1(String),
    V2,
}

/// What a host's systemd finds in `/sys/fs/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Layout {
    /// Every hierarchy where the machine has it.
    AsMachine,
    /// cgroup2 alone, as on a machine of today.
    Unified,
}

/// The machine offers no control groups that systemd can run on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no cgroup2 file system is mounted below /sys/fs/cgroup, and no v1 hierarchy for systemd")]
pub struct NoHierarchy;

/// The hierarchies in `/proc/self/mountinfo`; `controllers` are the names in `/proc/cgroups`.
///
/// ```text
/// 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
/// 40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
/// 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
/// ```
#[must_use]
pub fn hierarchies(mountinfo: &str, controllers: &[String]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<_>, Vec<_>) = (left.split(' ').collect(), right.split(' ').collect());
        let (Some(root), Some(mount), Some(kind), Some(options)) =
            (left.get(3), left.get(4), right.first(), right.get(2))
        else {
            continue;
        };
        // A part of a hierarchy that is bound elsewhere says nothing about the whole.
        if *root != "/" || !mount.starts_with("/sys/fs/cgroup") {
            continue;
        }
        let kind = match *kind {
            "cgroup2" => Kind::V2,
            "cgroup" => {
                let known =
                    |option: &&str| option.starts_with("name=") || controllers.iter().any(|name| name == option);
                Kind::V1(options.split(',').filter(known).collect::<Vec<_>>().join(","))
            }
            _ => continue,
        };
        if found.iter().all(|other| other.kind != kind) {
            found.push(Hierarchy { mount: PathBuf::from(mount), kind });
        }
    }
    found
}

/// The names in `/proc/cgroups`, whose first line is a heading.
#[must_use]
pub fn controllers(proc_cgroups: &str) -> Vec<String> {
    let rows = proc_cgroups.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Chooses a host's layout: the machine's, unless only cgroup2 is wanted or systemd could not run on the machine's.
///
/// # Errors
/// Neither is there.
pub fn layout(hierarchies: &[Hierarchy], unified_wanted: bool) -> Result<Layout, NoHierarchy> {
    let has = |kind: &Kind| hierarchies.iter().any(|hierarchy| hierarchy.kind == *kind);
    let (v2, v1) = (has(&Kind::V2), has(&Kind::V1("name=systemd".to_owned())));
    match (v2, v1 && !unified_wanted) {
        (_, true) => Ok(Layout::AsMachine),
        (true, false) => Ok(Layout::Unified),
        (false, false) => Err(NoHierarchy),
    }
}

/// A group's directories, one in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    hierarchies: Vec<Hierarchy>,
    /// Relative to the top of each hierarchy: `clusterctl-lab/NAME/h1`.
    path: PathBuf,
}

impl Group {
    #[must_use]
    pub fn new(hierarchies: Vec<Hierarchy>, path: impl Into<PathBuf>) -> Self {
        Self { hierarchies, path: path.into() }
    }

    /// A group within this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self { hierarchies: self.hierarchies.clone(), path: self.path.join(name) }
    }

    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.mount.join(&self.path))
    }

    /// Makes the group in every hierarchy, ready to take processes.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn create(&self) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            let mut at = hierarchy.mount.clone();
            for part in &self.path {
                let parent = at.clone();
                at.push(part);
                fs::create_dir_all(&at)?;
                match &hierarchy.kind {
                    // An empty set takes no process.
                    Kind::V1(controllers) if controllers.split(',').any(|name| name == "cpuset") => {
                        for file in ["cpuset.cpus", "cpuset.mems"] {
                            fs::write(at.join(file), fs::read(parent.join(file))?)?;
                        }
                    }
                    Kind::V1(_) => {}
                    // A group that hands controllers on takes no process itself: not the last one.
                    Kind::V2 if at != hierarchy.mount.join(&self.path) => delegate(&at)?,
                    Kind::V2 => {}
                }
            }
        }
        Ok(())
    }

    /// Moves the calling process in.
    ///
    /// # Errors
    /// The group is not there, or the process may not move.
    pub fn enter(&self) -> io::Result<()> {
        self.directories().try_for_each(|dir| fs::write(dir.join("cgroup.procs"), "0"))
    }

    /// Every process in the group and in the groups below it, as the caller's process namespace numbers them.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for dir in self.directories().flat_map(|dir| subtree(&dir)) {
            // A group may vanish while we look.
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
        found
    }

    /// Lets frozen processes run: a paused container of a v1 machine cannot die otherwise.
    pub fn thaw(&self) {
        for dir in self.directories().flat_map(|dir| subtree(&dir)) {
            let state = dir.join("freezer.state");
            if fs::read_to_string(&state).is_ok_and(|state| state.trim() != "THAWED") {
                // It may have gone, or thawed, in between; the caller looks at the processes again.
                drop(fs::write(&state, "THAWED"));
            }
        }
    }

    /// The names of the groups directly below, in any hierarchy.
    #[must_use]
    pub fn children(&self) -> BTreeSet<String> {
        let entries = self.directories().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Whether any hierarchy still has the group.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directories().any(|dir| dir.is_dir())
    }

    /// Removes the group and the groups below it; waits a moment for the kernel to let go of dead processes.
    ///
    /// # Errors
    /// A group still holds a process at the deadline.
    pub async fn remove(&self, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        for dir in self.directories() {
            loop {
                let failure = subtree(&dir).iter().rev().find_map(|dir| match fs::remove_dir(dir) {
                    Ok(()) => None,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => Some(io::Error::new(error.kind(), format!("{}: {error}", dir.display()))),
                });
                match failure {
                    None => break,
                    Some(error) if Instant::now() > deadline => return Err(error),
                    Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
        Ok(())
    }

    /// Removes the group where it is empty; used for what several labs share.
    pub fn remove_if_empty(&self) {
        for dir in self.directories() {
            // Another lab may live in it.
            drop(fs::remove_dir(dir));
        }
    }
}

/// Hands every controller that `dir` has on to its children, so that a host's systemd can use it.
fn delegate(dir: &Path) -> io::Result<()> {
    for controller in fs::read_to_string(dir.join("cgroup.controllers"))?.split_whitespace() {
        // One that the kernel refuses here (cpu with real-time processes) is missing in the hosts, nothing more.
        drop(fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")));
    }
    Ok(())
}

/// `dir` and every directory below it, parents first; empty if it is not there.
fn subtree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if dir.is_dir() {
        found.push(dir.to_owned());
    }
    let mut next = 0;
    while let Some(dir) = found.get(next).cloned() {
        next += 1;
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        found.extend(
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
    }
    found
}

/// The directories of the groups that a process is in, from its `/proc/PID/cgroup`.
///
/// ```text
/// 9:name=systemd:/clusterctl-lab/lab/h1/init.scope
/// 1:cpu:/clusterctl-lab/lab/h1
/// 0::/clusterctl-lab/lab/h1/init.scope
/// ```
#[must_use]
pub fn groups_of(proc_cgroup: &str, hierarchies: &[Hierarchy]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in proc_cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let kind = if controllers.is_empty() { Kind::V2 } else { Kind::V1(controllers.to_owned()) };
        if let Some(hierarchy) = hierarchies.iter().find(|hierarchy| hierarchy.kind == kind) {
            found.push(hierarchy.mount.join(path.trim_start_matches('/')));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 31 0:29 /docker/1 /sys/fs/cgroup/other rw - cgroup cgroup rw,cpu,cpuacct
51 31 0:29 / /mnt/cgroup rw - cgroup cgroup rw,cpu,cpuacct";

    fn known() -> Vec<String> {
        controllers("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\ncpuacct\t2\t1\t1\n")
    }

    #[test]
    fn finds_each_hierarchy_once_with_its_controllers() {
        let found = hierarchies(HYBRID, &known());
        let kinds: Vec<_> = found.iter().map(|hierarchy| hierarchy.kind.clone()).collect();
        assert_eq!(kinds, [Kind::V1("cpu,cpuacct".into()), Kind::V1("name=systemd".into()), Kind::V2]);
        assert_eq!(found[0].mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    }

    #[test]
    fn chooses_the_machines_layout_or_cgroup2() {
        let hybrid = hierarchies(HYBRID, &known());
        assert_eq!(layout(&hybrid, false), Ok(Layout::AsMachine));
        assert_eq!(layout(&hybrid, true), Ok(Layout::Unified));
        let modern = hierarchies("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", &known());
        assert_eq!(layout(&modern, false), Ok(Layout::Unified));
        assert_eq!(layout(&hybrid[..1], false), Err(NoHierarchy));
        assert_eq!(layout(&[], true), Err(NoHierarchy));
    }

    #[test]
    fn tells_which_groups_a_process_is_in() {
        let text = "9:name=systemd:/l/h1/init.scope\n1:cpu,cpuacct:/l/h1\n5:pids:/x\n0::/l/h1/init.scope\n";
        let dirs = groups_of(text, &hierarchies(HYBRID, &known()));
        let expected = [
            "/sys/fs/cgroup/systemd/l/h1/init.scope",
            "/sys/fs/cgroup/cpu,cpuacct/l/h1",
            "/sys/fs/cgroup/unified/l/h1/init.scope",
        ];
        assert_eq!(dirs, expected.map(PathBuf::from));
    }
}
