//! What is wrong with the settings, for the person who wrote them: place, key, rule, and what else sets the key.

use super::keys::Key;
use super::layer::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The layer that it comes from.
    pub origin: Origin,
    /// The key in question; `None` if it is about a whole file.
    pub key: Option<String>,
    /// What is wrong. Never contains the value of a secret.
    pub message: String,
    /// How to put it right.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with the value of a known key; its hint names the ways to set it.
    #[must_use]
    pub fn with_key(key: &'static Key, origin: Origin, message: impl Into<String>) -> Self {
        let variable = key.variable();
        let ways = match key.flag {
            Some(flag) => format!("set by `{}` in the file, `{variable}` or `{flag}`", key.name),
            None => format!("set by `{}` in the file or `{variable}`", key.name),
        };
        Self { origin, key: Some(key.name.to_owned()), message: message.into(), hint: Some(ways) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with the settings, at once. Nothing was started or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} settings are wrong:", many.len())?;
                for problem in many {
                    write!(f, "\n  {problem}")?;
                }
                Ok(())
            }
        }
    }
}
