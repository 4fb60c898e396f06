//! Which cryptography TLS and certificates use here: aws-lc-rs, TLS 1.3, elliptic curves.
//!
//! RSA is left out: no key of the cluster is one, and to verify somebody else's only costs time.
//!
//! The key exchange that comes first is the hybrid of X25519 and ML-KEM-768: what is recorded today is not read with a
//! quantum computer later, and join tokens and overlay keys are worth recording. It costs the controller some 25 us of
//! the 200 us that an exchange takes (`tests/it/tls/speed.rs` measures it); X25519 alone is taken from clients that
//! offer nothing else.

use std::sync::{Arc, LazyLock};

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P384_SHA384, ED25519};

/// The signatures that are accepted, in certificates and in handshakes.
pub(super) static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256, ECDSA_P384_SHA384, ED25519],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256]),
        (SignatureScheme::ED25519, &[ED25519]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[ECDSA_P384_SHA384]),
    ],
};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        signature_verification_algorithms: SIGNATURES,
        ..default_provider()
    })
});

/// What both sides are built with.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}
