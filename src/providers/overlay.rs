//! Overlay network providers.
