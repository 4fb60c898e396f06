//! The line for the shared volume in `/etc/fstab`, for hosts without systemd. Pure: text in, text out.
//!
//! A line of ours stands below a comment that says so, and only such a line is ever changed or taken out. A line of the
//! administrator for the same mount point is left alone and reported.

use super::{GlusterMount, MountError};
use crate::cluster::MountPoint;

/// Stands above each line of ours.
const MARK: &str = "# Written by clusterctl: the shared volume.";

/// Somebody else's line for the same mount point, for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`/etc/fstab` has another line for {point}: {line}")]
pub struct FstabConflict {
    pub point: MountPoint,
    pub line: String,
}

/// The line for a mount.
///
/// # Errors
/// If the mount names no server, or none that can be one.
pub fn fstab_line(mount: &GlusterMount) -> Result<String, MountError> {
    let (source, options) = mount.source_and_options()?;
    // `nofail`: a boot must not stop at it.
    Ok(format!("{source} {} glusterfs {options},nofail 0 0", mount.point))
}

/// `text` with `line` for `point` in it, once; `None` if that is so already. A line that somebody else wrote for the
/// same volume is right already.
///
/// # Errors
/// If somebody else's line mounts something else there.
pub fn with_entry(text: &str, point: &MountPoint, line: &str) -> Result<Option<String>, FstabConflict> {
    let rest = strip(text, point);
    if let Some(theirs) = rest.lines().find(|line| field(line, 1) == Some(point.as_str())) {
        if is_same_volume(theirs, line) {
            return Ok((rest != text).then_some(rest));
        }
        return Err(FstabConflict { point: point.clone(), line: theirs.to_owned() });
    }
    if ours(text, point) == [line] {
        return Ok(None);
    }
    let gap = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
    Ok(Some(format!("{rest}{gap}{MARK}\n{line}\n")))
}

/// `text` without our line for `point`; `None` if there is none.
#[must_use]
pub fn without_entry(text: &str, point: &MountPoint) -> Option<String> {
    let rest = strip(text, point);
    (rest != text).then_some(rest)
}

/// Our lines for `point`, without their comments.
fn ours<'a>(text: &'a str, point: &MountPoint) -> Vec<&'a str> {
    let pairs = text.lines().zip(text.lines().skip(1));
    pairs.filter(|(mark, line)| is_ours(mark, line, point)).map(|(_, line)| line).collect()
}

fn strip(text: &str, point: &MountPoint) -> String {
    let mut rest = String::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        if lines.next_if(|next| is_ours(line, next, point)).is_none() {
            rest.push_str(line);
        }
    }
    rest
}

fn is_ours(mark: &str, line: &str, point: &MountPoint) -> bool {
    mark.trim_end() == MARK && field(line, 1) == Some(point.as_str())
}

/// A field of a line that is no comment.
fn field(line: &str, at: usize) -> Option<&str> {
    line.split_whitespace().nth(at).filter(|_| !line.trim_start().starts_with('#'))
}

fn is_same_volume(a: &str, b: &str) -> bool {
    let volume = |line| field(line, 0).and_then(|source| source.rsplit_once(":/")).map(|(_, volume)| volume.to_owned());
    field(a, 2) == field(b, 2) && volume(a).is_some() && volume(a) == volume(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::VolumeName;

    const THEIRS: &str = "UUID=1 / ext4 defaults 0 1\n# a comment\nproc /proc proc defaults 0 0\n";

    fn point() -> MountPoint {
        MountPoint::parse("/mnt/shared").unwrap()
    }

    fn line(servers: &[&str]) -> String {
        let servers = servers.iter().map(|server| (*server).to_owned()).collect();
        fstab_line(&GlusterMount { servers, volume: VolumeName::parse("shared").unwrap(), point: point() }).unwrap()
    }

    fn with(text: &str, line: &str) -> Option<String> {
        with_entry(text, &point(), line).unwrap()
    }

    /// Covers S2-74.
    #[test]
    fn adds_once_replaces_and_removes() {
        let one = line(&["10.0.0.1"]);
        let text = with(THEIRS, &one).unwrap();
        assert_eq!(
            text,
            format!(
                "{THEIRS}# Written by clusterctl: the shared volume.\n\
                 10.0.0.1:/shared /mnt/shared glusterfs _netdev,nofail 0 0\n"
            )
        );
        assert_eq!(with(&text, &one), None);
        let two = line(&["10.0.0.2", "10.0.0.1"]);
        let text = with(&text, &two).unwrap();
        assert!(text.contains(&two) && !text.contains(&one) && text.starts_with(THEIRS));
        assert_eq!(with(&format!("{text}{MARK}\n{two}\n"), &two), Some(text.clone()));
        assert_eq!(without_entry(&text, &point()).as_deref(), Some(THEIRS));
        assert_eq!(without_entry(THEIRS, &point()), None);
    }

    #[test]
    fn keeps_what_others_wrote() {
        let ours = line(&["10.0.0.1"]);
        assert_eq!(with("/dev/sda1 / ext4 defaults 0 1", &ours).unwrap().lines().count(), 3);
        assert_eq!(with("", &ours).unwrap().lines().count(), 2);
        let same = "h9:/shared\t/mnt/shared\tglusterfs\tdefaults\t0 0\n";
        assert_eq!(with(same, &ours), None);
        let other = "/dev/sdb1 /mnt/shared ext4 defaults 0 0\n";
        assert!(with_entry(other, &point(), &ours).unwrap_err().to_string().contains("/dev/sdb1"));
        assert_eq!(with(&format!("#{other}"), &ours).unwrap().lines().count(), 3);
    }
}
