//! No overlay network: the hosts reach each other as they are.
//!
//! It does nothing and checks only that nobody gave it settings, which would mean that the wrong provider was named.

use super::{Connected, OverlayError, OverlayProvider};
use crate::cluster::OverlayConfig;

/// The provider that has nothing to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOverlay;

#[async_trait::async_trait]
impl OverlayProvider for NoOverlay {
    async fn ensure_connected(&self, config: &OverlayConfig) -> Result<Connected, OverlayError> {
        config.validate()?;
        Ok(Connected::NotNeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::provider;
    use super::*;
    use crate::cluster::{OverlayConfigError, OverlayKind, Secret};

    /// S2-16, S2-71
    #[tokio::test]
    async fn has_nothing_to_do() {
        let none = provider(OverlayKind::None);
        let mut config = OverlayConfig::default();
        assert_eq!(none.ensure_connected(&config).await.unwrap(), Connected::NotNeeded);
        config.payload = Some(Secret::new("key"));
        let error = none.ensure_connected(&config).await.unwrap_err();
        assert!(matches!(error, OverlayError::Config(OverlayConfigError::Unwanted)));
    }
}
