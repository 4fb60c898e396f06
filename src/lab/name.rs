//! The names of labs and of their hosts, and where they lie. A name becomes a directory, a control group and a bridge
//! port, so its grammar is narrower than a host name's.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

/// The name of a lab: 1 to 20 characters out of a-z, 0-9 and inner hyphens, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

/// One host of a lab, counted from 1; written `h1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(u8);

/// A directory for labs: absolute, without `..`, and free of what has a meaning in mount options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// Why a text is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a lab's name has 1 to 20 characters out of a-z, 0-9 and inner hyphens and begins with a letter: {0:?}")]
    Lab(String),
    #[error("a host of a lab is called h1, h2 and so on up to h{max}: {0:?}", max = MAX_HOSTS)]
    Host(String),
    #[error("a directory for labs is an absolute path out of letters, digits and `/._-`, without `..`: {0:?}")]
    Dir(String),
}

/// More hosts than one machine carries; keeps the addresses below `.200`.
pub const MAX_HOSTS: u8 = 100;

impl LabName {
    /// Parses `text`.
    ///
    /// # Errors
    /// Quotes a text outside the grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let shaped = (1..=20).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last().is_some_and(|b| *b != b'-');
        if shaped { Ok(Self(text.to_owned())) } else { Err(NameError::Lab(text.to_owned())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostId {
    /// Parses `h1` to `h100`.
    ///
    /// # Errors
    /// Quotes a text outside the grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        text.strip_prefix('h')
            .filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse().ok())
            .filter(|number| (1..=MAX_HOSTS).contains(number))
            .map(Self)
            .ok_or_else(|| NameError::Host(text.to_owned()))
    }

    /// The first `count` hosts in order; never more than [`MAX_HOSTS`].
    pub fn first(count: u8) -> impl Iterator<Item = Self> {
        (1..=count.min(MAX_HOSTS)).map(Self)
    }

    /// Which one it is, from 1.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its address in `subnet`: `.11` for the first.
    #[must_use]
    pub fn address(self, subnet: Ipv4Net) -> Ipv4Addr {
        Ipv4Addr::from_bits(subnet.network().to_bits() + 10 + u32::from(self.0))
    }
}

impl StateDir {
    /// Parses `text`; trailing slashes go.
    ///
    /// # Errors
    /// Quotes a text outside the grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim_end_matches('/');
        let shaped = trimmed.starts_with('/')
            && trimmed.len() <= 200
            && trimmed.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
            && trimmed[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
        if shaped { Ok(Self(PathBuf::from(trimmed))) } else { Err(NameError::Dir(text.to_owned())) }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

impl std::str::FromStr for LabName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl std::str::FromStr for HostId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl std::str::FromStr for StateDir {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for LabName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for HostId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl From<HostId> for String {
    fn from(host: HostId) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_name_is_narrow() {
        for good in ["lab", "a", "e2e-join-3", "abcdefghijklmnopqrst"] {
            assert_eq!(LabName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "1a", "A", "a/b", "..", "a b", "abcdefghijklmnopqrstu", "--all"] {
            assert!(LabName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_are_counted_from_one() {
        assert_eq!(HostId::parse("h12").unwrap().number(), 12);
        for bad in ["h0", "h01", "h+1", "h101", "h", "1", "H1", "h1 ", "h-1"] {
            assert!(HostId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(HostId::first(3).map(|host| host.to_string()).collect::<Vec<_>>(), ["h1", "h2", "h3"]);
        let subnet = "10.88.7.0/24".parse().unwrap();
        assert_eq!(HostId::parse("h2").unwrap().address(subnet).to_string(), "10.88.7.12");
    }

    #[test]
    fn a_directory_cannot_smuggle_mount_options() {
        assert_eq!(StateDir::parse("/var/lib/labs/").unwrap().path().to_str(), Some("/var/lib/labs"));
        for bad in ["", "/", "lab", "/a/../b", "/a,b", "/a:b", "/a b", "//a", "/a//b"] {
            assert!(StateDir::parse(bad).is_err(), "{bad:?}");
        }
    }
}
