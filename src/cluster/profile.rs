//! The name of a profile: a named set of services that a node runs.

use super::text_newtype;

/// 1 to 32 lower-case letters, digits and hyphens, beginning with a letter: `core`, `control-plane`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileName(String);

/// Why a text is not the name of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a profile's name has 1 to 32 characters out of a-z, 0-9 and `-`, beginning with a letter")]
pub struct ProfileNameError;

impl ProfileName {
    /// Parses a name.
    ///
    /// # Errors
    /// If it breaks the rule above.
    pub fn parse(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let shaped =
            text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(allowed);
        if shaped { Ok(Self(text.to_owned())) } else { Err(ProfileNameError) }
    }
}

text_newtype!(ProfileName, ProfileNameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_its_rule() {
        assert_eq!(ProfileName::parse("control-plane").unwrap().as_str(), "control-plane");
        for bad in ["", "Core", "1a", "-a", "a b", "a\n", &"a".repeat(33)] {
            assert!(ProfileName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
