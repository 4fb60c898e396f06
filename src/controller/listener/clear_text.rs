//! Who is answered in clear text. Pure.

use std::net::{IpAddr, Ipv4Addr};

use crate::protocol::reply::ErrorReply;

/// What clients in clear text get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClearText {
    /// One error that names the way in.
    #[default]
    Refuse,
    /// An answer, if they come from loopback, RFC 1918 or 100.64.0.0/10; else that error.
    Private,
}

impl ClearText {
    /// Whether a client at this address is answered.
    #[must_use]
    pub fn allows(self, source: IpAddr) -> bool {
        match self {
            Self::Refuse => false,
            Self::Private => is_private(source.to_canonical()),
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || is_shared(address),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

/// 100.64.0.0/10, which carriers and overlay networks use.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// What the others are told.
pub(super) fn tls_required() -> ErrorReply {
    ErrorReply::new(
        "tls-required",
        "this controller does not answer in clear text",
        "run `clusterctl node join` on the host; `clusterctl token create` on the master makes the token for it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_sources_are_answered() {
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("127.255.1.2", true),
            ("::1", true),
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("192.169.1.1", false),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.63.255.255", false),
            ("100.128.0.0", false),
            ("::ffff:192.168.1.1", true),
            ("::ffff:8.8.8.8", false),
            ("169.254.1.1", false),
            ("8.8.8.8", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(ClearText::Private.allows(address), allowed, "{address}");
            assert!(!ClearText::Refuse.allows(address), "{address}");
        }
    }
}
