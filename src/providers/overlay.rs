//! The overlay network between hosts that cannot reach each other directly: what is asked of a provider.
//!
//! It must not choose an address: that is address detection's work, which prefers the overlay's. The surprising part is
//! that this version brings no provider up: it carries the settings to every node and checks there that the overlay is
//! up, and a node whose overlay is not is told how, never joined to the Swarm over the network below.

use crate::cluster::{OverlayConfig, OverlayConfigError, OverlayKind};
use crate::ipdetect::Interface;
use crate::ipdetect::interfaces::{self, DetectError};

pub mod none;

/// What a provider found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connected {
    /// The hosts reach each other without an overlay.
    NotNeeded,
    /// It was up before.
    Already,
    /// It is up now.
    Established,
}

/// Why there is no overlay connection. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error("the overlay network `{kind}` is not up on this host")]
    NotUp { kind: OverlayKind, by_hand: &'static str },
    #[error("the overlay's settings cannot be used")]
    Config(#[from] OverlayConfigError),
    #[error("this host's interfaces cannot be listed")]
    Interfaces(#[from] DetectError),
}

/// Makes this host part of the overlay network.
#[async_trait::async_trait]
pub trait OverlayProvider: Send + Sync {
    /// Checks that the host is connected, and connects it if it is not. A second call changes nothing.
    async fn ensure_connected(&self, config: &OverlayConfig) -> Result<Connected, OverlayError>;
}

/// The provider for `kind`.
#[must_use]
pub fn provider(kind: OverlayKind) -> Box<dyn OverlayProvider> {
    match kind.by_hand() {
        None => Box::new(none::NoOverlay),
        Some(by_hand) => Box::new(ByHand { kind, by_hand }),
    }
}

/// An overlay that the operator brings up: it is looked for, by the name that its provider gives its interface.
struct ByHand {
    kind: OverlayKind,
    by_hand: &'static str,
}

#[async_trait::async_trait]
impl OverlayProvider for ByHand {
    async fn ensure_connected(&self, config: &OverlayConfig) -> Result<Connected, OverlayError> {
        config.validate()?;
        if is_up(self.kind, &interfaces::list()?.interfaces) {
            return Ok(Connected::Already);
        }
        Err(OverlayError::NotUp { kind: self.kind, by_hand: self.by_hand })
    }
}

/// Whether one of the interfaces is that overlay's, and up.
fn is_up(kind: OverlayKind, interfaces: &[Interface]) -> bool {
    let prefix = match kind {
        OverlayKind::None => return true,
        OverlayKind::Netbird => "wt",
        OverlayKind::Tailscale => "tailscale",
        OverlayKind::Wireguard => "wg",
    };
    interfaces.iter().any(|interface| interface.up && interface.name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Secret;

    /// S2-71: an overlay that is up is found by its interface; one that is down is not.
    #[test]
    fn an_overlay_is_known_by_its_interface() {
        let interface = |name: &str, up| Interface { name: name.to_owned(), address: [100, 64, 0, 1].into(), up };
        for (kind, name) in
            [(OverlayKind::Netbird, "wt0"), (OverlayKind::Tailscale, "tailscale0"), (OverlayKind::Wireguard, "wg0")]
        {
            assert!(is_up(kind, &[interface("eth0", true), interface(name, true)]));
            assert!(!is_up(kind, &[interface("eth0", true), interface(name, false)]));
        }
        assert!(is_up(OverlayKind::None, &[]));
    }

    /// S2-16, S2-64: settings are judged before anything else, and the answer says what to do.
    #[tokio::test]
    async fn a_provider_says_what_is_wrong() {
        assert_eq!(
            provider(OverlayKind::None).ensure_connected(&OverlayConfig::default()).await.unwrap(),
            Connected::NotNeeded
        );
        let config = OverlayConfig { kind: OverlayKind::Netbird, payload: None };
        assert!(matches!(provider(OverlayKind::Netbird).ensure_connected(&config).await, Err(OverlayError::Config(_))));
        let config = OverlayConfig { kind: OverlayKind::Netbird, payload: Some(Secret::new("key")) };
        if let Err(error) = provider(OverlayKind::Netbird).ensure_connected(&config).await {
            assert!(error.to_string().contains("`netbird` is not up"), "{error}");
        }
    }
}
