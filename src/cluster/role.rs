//! The two roles that Docker Swarm knows.

use serde::{Deserialize, Serialize};

/// What a node is in the Swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Manager,
    Worker,
}

/// Why a text is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is `manager` or `worker`, not {0:?}")]
pub struct RoleError(pub String);

impl Role {
    /// The word on the wire, in logs and in commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        }
    }

    /// Whether who may be this may also be `other`: a manager may be a worker.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self == other || self == Self::Manager
    }

    /// The greater of the two.
    #[must_use]
    pub fn or_greater(self, other: Self) -> Self {
        if self.covers(other) { self } else { other }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "manager" => Ok(Self::Manager),
            "worker" => Ok(Self::Worker),
            _ => Err(RoleError(text.chars().take(32).collect())),
        }
    }
}
