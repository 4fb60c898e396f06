//! Host names after RFC 1123, lower-cased. A name is a claim of its host, never an identity.

use super::text_newtype;

/// A host name: 1 to 253 characters, labels of letters, digits and inner hyphens, not all digits, not `localhost`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(String);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    #[error("a host name has 1 to 253 characters, this one has {0}")]
    Length(usize),
    #[error("a label of a host name has 1 to 63 characters out of a-z, 0-9 and inner hyphens: {0:?}")]
    Label(String),
    #[error("a host name is not all digits: {0:?}")]
    AllNumeric(String),
    #[error("`localhost` names every host and so none: set the host's name, or pass `--hostname`")]
    Localhost,
}

impl Hostname {
    /// Parses `text`; upper case is lowered, everything else outside the grammar is refused.
    ///
    /// # Errors
    /// Names the first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if text.is_empty() || text.len() > 253 {
            return Err(HostnameError::Length(text.len()));
        }
        let lower = text.to_ascii_lowercase();
        for label in lower.split('.') {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
            let bytes = label.as_bytes();
            let shaped = (1..=63).contains(&bytes.len())
                && bytes.iter().copied().all(inner)
                && edge(bytes.first())
                && edge(bytes.last());
            if !shaped {
                return Err(HostnameError::Label(label.to_owned()));
            }
        }
        if lower.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(HostnameError::AllNumeric(lower));
        }
        if lower == "localhost" || lower.starts_with("localhost.") {
            return Err(HostnameError::Localhost);
        }
        Ok(Self(lower))
    }
}

text_newtype!(Hostname, HostnameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_and_lowers_them() {
        for (text, expected) in [("h1", "h1"), ("Node-7.Example.ORG", "node-7.example.org"), ("1a", "1a")] {
            assert_eq!(Hostname::parse(text).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn refuses_what_could_be_an_option_a_path_or_a_trick() {
        for text in [
            "",
            "-x",
            "--help",
            "a b",
            "a/b",
            "a;b",
            "$(id)",
            "a_b",
            "a..b",
            "a.",
            "ü",
            "12",
            "10.0.0.1",
            "localhost",
            "LOCALHOST",
            "a\nb",
        ] {
            assert!(Hostname::parse(text).is_err(), "{text:?}");
        }
        assert!(Hostname::parse(&"a".repeat(64)).is_err());
        assert!(Hostname::parse(&["a"; 128].join(".")).is_err());
    }
}
