//! Who is let in: the operator's choice, the same word in settings, state and messages.

/// Who may become a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Who brings a valid token, at once; others once an administrator has approved their request.
    #[default]
    Token,
    /// Who an administrator has approved, with a token or without.
    Approve,
    /// Everybody, in the role that they ask for.
    Open,
}

/// Why a text is no such choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is `token`, `approve` or `open`, not {0:?}")]
pub struct AdmissionError(pub String);

impl Admission {
    /// The word in settings and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Approve => "approve",
            Self::Open => "open",
        }
    }
}

impl std::fmt::Display for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Admission {
    type Err = AdmissionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choices = [Self::Token, Self::Approve, Self::Open];
        let lower = text.to_ascii_lowercase();
        choices
            .into_iter()
            .find(|choice| choice.as_str() == lower)
            .ok_or_else(|| AdmissionError(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for choice in [Admission::Token, Admission::Approve, Admission::Open] {
            assert_eq!(choice.as_str().to_uppercase().parse(), Ok(choice));
        }
        assert!("closed".parse::<Admission>().is_err());
        assert_eq!(Admission::default(), Admission::Token);
    }
}
