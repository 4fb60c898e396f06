//! Paths that clusterctl may create things under. They go into `gluster` arguments, mount options and unit files, so
//! the characters that mean something there (white space, `:`, `,`, `=`, control characters) are refused.

use super::text_newtype;

/// Why a text is not a usable path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path starts with `/`, has no empty, `.` or `..` component and at most 255 characters: {0:?}")]
    Shape(String),
    #[error("a path has no white space, control or non-ASCII character and none of `: , = % \\ \" '`: {0:?}")]
    Character(String),
    #[error("{path:?} is not below one of the allowed roots ({roots})")]
    Root { path: String, roots: &'static str },
}

fn check_shape(text: &str) -> Result<(), PathError> {
    let short: String = text.chars().take(255).collect();
    let rest = text.strip_prefix('/').ok_or_else(|| PathError::Shape(short.clone()))?;
    if text.len() > 255 || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(PathError::Shape(short));
    }
    let allowed = |b: u8| b.is_ascii_graphic() && !b":,=%\\\"'`$;&|<>*?".contains(&b);
    if !text.bytes().all(allowed) || text.contains("/-") {
        return Err(PathError::Character(short));
    }
    Ok(())
}

const ROOTS: [&str; 4] = ["/data", "/srv", "/bricks", "/mnt"];
const ROOTS_TEXT: &str = "/data, /srv, /bricks, /mnt";

fn check_below_roots(text: &str) -> Result<(), PathError> {
    let below = |root: &&str| text.strip_prefix(*root).is_some_and(|rest| rest.starts_with('/'));
    if ROOTS.iter().any(below) {
        return Ok(());
    }
    Err(PathError::Root { path: text.to_owned(), roots: ROOTS_TEXT })
}

/// An absolute path without tricks, for state directories, sockets and the like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// Parses `text`.
    ///
    /// # Errors
    /// If it is relative, not normal, or has a refused character.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_shape(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The value as a path.
    #[must_use]
    pub fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}
text_newtype!(AbsolutePath, PathError);

/// The directory of a brick: below `/data`, `/srv`, `/bricks` or `/mnt`, at least two components deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrickPath(String);

impl BrickPath {
    /// Parses `text`.
    ///
    /// # Errors
    /// If it is not a clean absolute path below an allowed root.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_shape(text)?;
        check_below_roots(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The value as a path.
    #[must_use]
    pub fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}
text_newtype!(BrickPath, PathError);

/// Where the shared volume is mounted: below `/data`, `/srv`, `/bricks` or `/mnt`, at least two components deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountPoint(String);

impl MountPoint {
    /// Parses `text`.
    ///
    /// # Errors
    /// If it is not a clean absolute path below an allowed root.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_shape(text)?;
        check_below_roots(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The value as a path.
    #[must_use]
    pub fn as_path(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}
text_newtype!(MountPoint, PathError);

#[cfg(test)]
mod tests {
    use super::*;

    /// T10: no path leads out of the roots by its text alone.
    #[test]
    fn bricks_lie_below_the_roots() {
        for text in ["/data/clusterctl/bricks/shared", "/srv/gfs/0001/brick", "/mnt/x"] {
            assert!(BrickPath::parse(text).is_ok(), "{text}");
        }
        for text in [
            "/",
            "/data",
            "/etc/x",
            "/database/x",
            "/data/../etc",
            "/data//x",
            "/data/x/",
            "data/x",
            "/data/a b",
            "/data/a:b",
            "/data/a,b",
            "/data/a=b",
            "/data/\u{e9}",
            "/data/-x",
            "/data/a\nb",
            "/var/lib/docker/x",
            "/proc/self/root/data/x",
            "/data/./x",
            "/data/x/..",
            "//data/x",
            "/data/x\0",
        ] {
            assert!(BrickPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn absolute_paths_are_clean() {
        assert!(AbsolutePath::parse("/var/lib/clusterctl").is_ok());
        assert!(AbsolutePath::parse("/proc/self/../x").is_err());
        assert!(AbsolutePath::parse("relative").is_err());
    }
}
