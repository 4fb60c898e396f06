//! GlusterFS volume names, narrower than GlusterFS's own rule: a leading hyphen would reach its option parser.

use super::text_newtype;

/// A volume name: a letter, digit or underscore, then up to 62 letters, digits, underscores and hyphens; not `all`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VolumeName(String);

/// A brick on a file system that is fuller than this is warned of, and none is put onto such a one.
pub const BRICK_FULL_PERCENT: u8 = 90;

/// Why a text is not a volume name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a volume name starts with a letter, digit or underscore, goes on with at most 62 of those and hyphens, and is not `all`: {0:?}"
)]
pub struct VolumeNameError(String);

impl VolumeName {
    /// Parses `text`.
    ///
    /// # Errors
    /// If `text` is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, VolumeNameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        let shaped = (1..=63).contains(&bytes.len())
            && bytes.first().copied().is_some_and(word)
            && bytes.iter().all(|b| word(*b) || *b == b'-')
            && text != "all";
        if shaped { Ok(Self(text.to_owned())) } else { Err(VolumeNameError(text.chars().take(64).collect())) }
    }
}

text_newtype!(VolumeName, VolumeNameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses() {
        for text in ["shared", "0001", "_x", "a-b"] {
            assert!(VolumeName::parse(text).is_ok(), "{text:?}");
        }
        for text in ["", "-x", "../x", "a/b", "a;b", "a b", "$(id)", "é", "all", &"a".repeat(64)] {
            assert!(VolumeName::parse(text).is_err(), "{text:?}");
        }
    }
}
