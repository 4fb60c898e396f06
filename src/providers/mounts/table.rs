//! The kernel's list of mounts, `/proc/self/mountinfo`, as values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::cluster::VolumeName;

/// GlusterFS's mounts have this file system type.
pub(super) const GLUSTER_FS: &str = "fuse.glusterfs";

/// Hosts with many containers have thousands of mounts of some 200 bytes; more than this is not read.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Where.
    pub point: PathBuf,
    /// Such as `ext4` or `fuse.glusterfs`.
    pub fs_type: String,
    /// What: a device, or `10.0.0.1:/shared`.
    pub source: String,
    /// Device number of the file system, as in `st_dev`.
    pub dev: u64,
}

/// The mounts of a host, in the order in which the kernel lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable(Vec<MountEntry>);

impl MountTable {
    /// A table of these mounts, later ones on top of earlier ones.
    #[must_use]
    pub fn new(entries: Vec<MountEntry>) -> Self {
        Self(entries)
    }

    /// Parses the text of `/proc/self/mountinfo` (Linux 2.6.26 and later):
    ///
    /// ```text
    /// 261 257 0:55 / /mnt/shared rw,relatime shared:1 - fuse.glusterfs 10.203.77.11:/shared rw,user_id=0,...
    /// ```
    /// White space and backslashes in names are written as octal escapes (`\040`). Lines of another shape are left out.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|b| *b == b'\n').filter_map(parse_line).collect())
    }

    /// Reads this process's mounts. Never blocks on a mount that hangs.
    ///
    /// # Errors
    /// On input and output.
    pub fn read() -> std::io::Result<Self> {
        crate::providers::files::read_limited(Path::new("/proc/self/mountinfo"), MAX_TABLE)
            .map(|text| Self::parse(&text))
    }

    /// All mounts.
    #[must_use]
    pub fn entries(&self) -> &[MountEntry] {
        &self.0
    }

    /// The topmost mount at exactly `point`.
    #[must_use]
    pub fn at(&self, point: &Path) -> Option<&MountEntry> {
        self.0.iter().rfind(|entry| entry.point == point)
    }

    /// The mount that `path`, free of links, lies on.
    #[must_use]
    pub fn holding(&self, path: &Path) -> Option<&MountEntry> {
        path.ancestors().find_map(|ancestor| self.at(ancestor))
    }
}

/// Whether a mount is that volume. The server in the source says nothing: it is the first one that was named, also when
/// another one answered.
#[must_use]
pub fn is_ours(entry: &MountEntry, volume: &VolumeName) -> bool {
    let named = entry.source.rsplit_once(":/").map(|(server, volume)| (!server.is_empty(), volume));
    entry.fs_type == GLUSTER_FS && named == Some((true, volume.as_str()))
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let dev = parse_dev(fields.nth(2)?)?;
    let point = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    // Any number of optional fields, then a lone hyphen.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let (fs_type, source) = (text(fields.next()?), text(fields.next()?));
    Some(MountEntry { point, fs_type, source, dev })
}

fn parse_dev(field: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
        257 27 254:0 /h4/mnt /mnt rw,relatime shared:7 master:1 - ext4 /dev/vda rw\n\
        261 257 0:55 / /mnt/shared rw,relatime - fuse.glusterfs 10.203.77.11:/shared rw,user_id=0\n\
        262 257 0:56 / /mnt/with\\040space\\134x rw - tmpfs none rw\n\
        263 257 0:57 / /mnt/shared rw - tmpfs over rw\n\
        rubbish\n264 257 x / /mnt/a rw - tmpfs none rw\n265 257 0:1 / /mnt/b rw shared:1\n";

    fn gluster(source: &str, fs_type: &str) -> MountEntry {
        MountEntry { point: "/mnt/x".into(), fs_type: fs_type.into(), source: source.into(), dev: 0 }
    }

    #[test]
    fn parses_lines_and_leaves_others_out() {
        let table = MountTable::parse(TEXT);
        assert_eq!(table.entries().len(), 5);
        assert_eq!(
            table.entries()[2],
            MountEntry {
                point: "/mnt/shared".into(),
                fs_type: "fuse.glusterfs".into(),
                source: "10.203.77.11:/shared".into(),
                dev: rustix::fs::makedev(0, 55),
            }
        );
        assert_eq!(table.entries()[3].point, Path::new("/mnt/with space\\x"));
        assert_eq!(table.entries()[1].fs_type, "ext4");
    }

    #[test]
    fn the_topmost_mount_counts() {
        let table = MountTable::parse(TEXT);
        assert_eq!(table.at(Path::new("/mnt/shared")).unwrap().source, "over");
        assert!(table.at(Path::new("/mnt/none")).is_none());
        assert_eq!(table.holding(Path::new("/mnt/none/x")).unwrap().point, Path::new("/mnt"));
        assert_eq!(table.holding(Path::new("/etc")).unwrap().point, Path::new("/"));
    }

    #[test]
    fn ours_is_the_type_and_the_volume() {
        let volume = VolumeName::parse("shared").unwrap();
        assert!(is_ours(&gluster("10.0.0.1:/shared", "fuse.glusterfs"), &volume));
        for (source, fs_type) in [
            ("10.0.0.1:/shared", "nfs4"),
            ("10.0.0.1:/shared2", "fuse.glusterfs"),
            ("10.0.0.1:/x/shared", "fuse.glusterfs"),
            ("10.0.0.1:shared", "fuse.glusterfs"),
            (":/shared", "fuse.glusterfs"),
            ("shared", "fuse.glusterfs"),
        ] {
            assert!(!is_ours(&gluster(source, fs_type), &volume), "{source} {fs_type}");
        }
    }

    #[test]
    fn reads_this_host() {
        assert!(MountTable::read().unwrap().at(Path::new("/")).is_some());
    }
}
