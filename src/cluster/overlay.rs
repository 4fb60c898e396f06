//! Which overlay network a cluster uses, and the settings that its provider needs. Pure: nothing is contacted here.

use serde::{Deserialize, Serialize};

use super::Secret;

/// Settings of a provider are a key or a short document; the request that carries them is bounded as well.
const MAX_PAYLOAD: usize = 16 * 1024;

/// Who provides the overlay network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayKind {
    /// The hosts reach each other as they are.
    #[default]
    None,
    Netbird,
    Tailscale,
    Wireguard,
}

/// Why a text is not an overlay provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an overlay provider is `netbird`, `tailscale`, `wireguard` or `none`, not {0:?}")]
pub struct OverlayKindError(pub String);

impl OverlayKind {
    /// Every provider, in the order of the help text.
    pub const ALL: [Self; 4] = [Self::Netbird, Self::Tailscale, Self::Wireguard, Self::None];

    /// The word on the wire, in logs and in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Netbird => "netbird",
            Self::Tailscale => "tailscale",
            Self::Wireguard => "wireguard",
        }
    }

    /// How a person brings this provider up; `None` where there is nothing to bring up.
    #[must_use]
    pub fn by_hand(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Netbird => Some("netbird up"),
            Self::Tailscale => Some("tailscale up"),
            Self::Wireguard => Some("wg-quick up wg0"),
        }
    }
}

impl std::fmt::Display for OverlayKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for OverlayKind {
    type Err = OverlayKindError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.to_ascii_lowercase();
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        kind.ok_or_else(|| OverlayKindError(text.chars().take(32).collect()))
    }
}

/// Which overlay the cluster uses, and what its provider needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverlayConfig {
    pub kind: OverlayKind,
    /// Keys and settings in the provider's own form; the whole of it is secret.
    pub payload: Option<Secret>,
}

/// What is wrong with an overlay's settings. No message quotes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayConfigError {
    #[error("overlay provider `{0}` needs settings")]
    Missing(OverlayKind),
    #[error("overlay provider `none` takes no settings")]
    Unwanted,
    #[error("overlay settings of {0} bytes are larger than {MAX_PAYLOAD} bytes")]
    TooLarge(usize),
    #[error("overlay settings hold a NUL character")]
    Nul,
    #[error(
        "overlay settings of `{kind}` are neither a key in one line nor a JSON object (wrong at line {line}, column {column})"
    )]
    NotJson { kind: OverlayKind, line: usize, column: usize },
    #[error("overlay settings of `{0}` are JSON, but no object")]
    NotAnObject(OverlayKind),
    #[error("overlay settings of `wireguard` are neither a JSON object nor a file with an `[Interface]` section")]
    NotWireguard,
}

impl OverlayConfig {
    /// Checks the settings as far as their form is known: a set-up key in one line or a JSON object for Netbird and
    /// Tailscale, a `wg-quick` file or a JSON object for WireGuard. Nothing is contacted.
    ///
    /// # Errors
    /// If the provider could not use them.
    pub fn validate(&self) -> Result<(), OverlayConfigError> {
        let text = self.payload.as_ref().map_or("", Secret::reveal);
        if text.len() > MAX_PAYLOAD {
            return Err(OverlayConfigError::TooLarge(text.len()));
        }
        if text.contains('\0') {
            return Err(OverlayConfigError::Nul);
        }
        let text = text.trim();
        match (self.kind, text.is_empty()) {
            (OverlayKind::None, true) => Ok(()),
            (OverlayKind::None, false) => Err(OverlayConfigError::Unwanted),
            (kind, true) => Err(OverlayConfigError::Missing(kind)),
            (kind @ (OverlayKind::Netbird | OverlayKind::Tailscale), false) => {
                // A key has no spaces and no punctuation that opens JSON.
                if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)) {
                    Ok(())
                } else {
                    json_object(kind, text)
                }
            }
            (OverlayKind::Wireguard, false) => {
                if text.starts_with('{') {
                    json_object(OverlayKind::Wireguard, text)
                } else if text.lines().any(|line| line.trim().eq_ignore_ascii_case("[interface]")) {
                    Ok(())
                } else {
                    Err(OverlayConfigError::NotWireguard)
                }
            }
        }
    }
}

fn json_object(kind: OverlayKind, text: &str) -> Result<(), OverlayConfigError> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(OverlayConfigError::NotAnObject(kind)),
        // serde_json's own text may quote what it read.
        Err(error) => Err(OverlayConfigError::NotJson { kind, line: error.line(), column: error.column() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: OverlayKind, payload: &str) -> Result<(), OverlayConfigError> {
        OverlayConfig { kind, payload: Some(Secret::new(payload)) }.validate()
    }

    /// S2-37
    #[test]
    fn providers_are_words() {
        for kind in OverlayKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.to_string().to_uppercase().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert_eq!(OverlayKind::default(), OverlayKind::None);
        let error = "zerotier".parse::<OverlayKind>().unwrap_err();
        assert!(error.to_string().ends_with("not \"zerotier\""), "{error}");
        assert!("".parse::<OverlayKind>().is_err());
    }

    /// S2-16, S2-38
    #[test]
    fn settings_are_checked_by_provider() {
        use OverlayKind::{Netbird, None, Tailscale, Wireguard};
        assert_eq!(OverlayConfig::default().validate(), Ok(()));
        assert_eq!(check(None, " \n"), Ok(()));
        assert_eq!(check(None, "{}"), Err(OverlayConfigError::Unwanted));
        for kind in [Netbird, Tailscale, Wireguard] {
            let without = OverlayConfig { kind, payload: Option::None };
            assert_eq!(without.validate(), Err(OverlayConfigError::Missing(kind)));
            assert_eq!(check(kind, "  "), Err(OverlayConfigError::Missing(kind)));
            assert_eq!(check(kind, "{\"a\": 1}\n"), Ok(()));
            assert!(matches!(check(kind, "{\"a\": "), Err(OverlayConfigError::NotJson { .. })), "{kind}");
        }
        assert_eq!(check(Netbird, "A1B2C3D4-0000-1111-2222-333344445555\n"), Ok(()));
        assert_eq!(check(Tailscale, "tskey-auth-kABC_1CNTRL-xyz"), Ok(()));
        assert_eq!(check(Tailscale, "[\"a\"]"), Err(OverlayConfigError::NotAnObject(Tailscale)));
        assert!(matches!(check(Netbird, "two words"), Err(OverlayConfigError::NotJson { .. })));
        assert_eq!(check(Wireguard, "[Interface]\nPrivateKey = x\n"), Ok(()));
        assert_eq!(check(Wireguard, "PrivateKey = x\n"), Err(OverlayConfigError::NotWireguard));
    }

    #[test]
    fn settings_are_bounded_and_clean() {
        let long = "k".repeat(MAX_PAYLOAD + 1);
        assert_eq!(check(OverlayKind::Netbird, &long), Err(OverlayConfigError::TooLarge(MAX_PAYLOAD + 1)));
        assert_eq!(check(OverlayKind::Netbird, &long[1..]), Ok(()));
        assert_eq!(check(OverlayKind::Netbird, "a\0b"), Err(OverlayConfigError::Nul));
    }

    #[test]
    fn no_error_quotes_the_settings() {
        for kind in OverlayKind::ALL {
            for payload in ["{\"hush\": hush", "hush hush", "[hush]", "{\"a\":1} hush"] {
                let config = OverlayConfig { kind, payload: Some(Secret::new(payload)) };
                let error = config.validate().unwrap_err();
                assert!(!format!("{error} {error:?} {config:?}").contains("hush"), "{error:?}");
            }
        }
    }
}
