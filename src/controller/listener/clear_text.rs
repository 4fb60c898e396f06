//! Who is answered in clear text. Pure.

use std::net::IpAddr;

use crate::cluster::is_private;
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
            Self::Private => is_private(source),
        }
    }
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
        for (address, allowed) in [("127.0.0.1", true), ("::ffff:192.168.1.1", true), ("8.8.8.8", false)] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(ClearText::Private.allows(address), allowed, "{address}");
            assert!(!ClearText::Refuse.allows(address), "{address}");
        }
    }
}
