//! Text that must not be seen. It prints as `«redacted»`; whoever needs the value says so with [`Secret::reveal`].

use zeroize::Zeroizing;

/// A secret text: Swarm join tokens, overlay payloads.
///
/// It implements neither `Serialize` nor a revealing `Display`, so that it cannot slip into a log, an error or a
/// record; the wire types reveal it by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself. Every call is a place to look at in a review.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("«redacted»")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("«redacted»")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_itself() {
        let secret = Secret::new("SWMTKN-1-x");
        assert_eq!(format!("{secret} {secret:?}"), "«redacted» «redacted»");
        assert_eq!(secret.reveal(), "SWMTKN-1-x");
    }
}
