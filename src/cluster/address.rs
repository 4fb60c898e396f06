//! Addresses under which nodes reach each other, and which of them are private.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// An IPv4 address that can belong to a host of the cluster: not unspecified, multicast, broadcast or link-local.
/// Loopback parses (the master's own host may be alone) and is judged where it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Ipv4Addr", into = "Ipv4Addr")]
pub struct NodeAddress(Ipv4Addr);

/// Why an address cannot be a node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("not an IPv4 address: {0:?}")]
    NotIpv4(String),
    #[error("{0} is {1}, which no host can be reached at")]
    Class(Ipv4Addr, &'static str),
}

impl NodeAddress {
    /// Checks the class of `address`.
    ///
    /// # Errors
    /// If no host can have it.
    pub fn new(address: Ipv4Addr) -> Result<Self, AddressError> {
        let class = if address.is_unspecified() || address.octets()[0] == 0 {
            "unspecified"
        } else if address.is_multicast() {
            "multicast"
        } else if address.is_broadcast() || address.octets()[0] >= 240 {
            "broadcast or reserved"
        } else if address.is_link_local() {
            "link-local"
        } else {
            return Ok(Self(address));
        };
        Err(AddressError::Class(address, class))
    }

    /// Parses the dotted form.
    ///
    /// # Errors
    /// If `text` is no IPv4 address, or one that no host can have.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let address: Ipv4Addr = text.parse().map_err(|_| AddressError::NotIpv4(text.chars().take(64).collect()))?;
        Self::new(address)
    }

    /// The address itself.
    #[must_use]
    pub fn ip(self) -> Ipv4Addr {
        self.0
    }

    /// Whether it names the host itself and no other.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// Whether it is in 172.17.0.0/16, which Docker gives to its bridge on every host unless it is told otherwise: the
    /// same address then is a container on each of them.
    #[must_use]
    pub fn is_on_docker_bridge(self) -> bool {
        matches!(self.0.octets(), [172, 17, _, _])
    }
}

/// Whether an address is of a private network: loopback, RFC 1918 or [shared](is_shared). Of IPv6 loopback alone.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || is_shared(address),
        IpAddr::V6(address) => address.is_loopback(),
    }
}

/// 100.64.0.0/10 (RFC 6598), which carriers and overlay networks hand out.
#[must_use]
pub fn is_shared(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, _, _])
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for NodeAddress {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<Ipv4Addr> for NodeAddress {
    type Error = AddressError;
    fn try_from(address: Ipv4Addr) -> Result<Self, Self::Error> {
        Self::new(address)
    }
}

impl From<NodeAddress> for Ipv4Addr {
    fn from(address: NodeAddress) -> Self {
        address.0
    }
}

impl From<NodeAddress> for IpAddr {
    fn from(address: NodeAddress) -> Self {
        Self::V4(address.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T12: nobody is made to connect where no host of a cluster is.
    #[test]
    fn accepts_and_refuses() {
        for text in ["10.0.0.1", "100.64.0.9", "127.0.0.1", "8.8.8.8"] {
            assert!(NodeAddress::parse(text).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:10.0.0.1",
            "h1",
            "",
            "10.0.0.1 ",
        ] {
            assert!(NodeAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn private_networks_end_where_they_end() {
        for (address, private) in [
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
            ("0.0.0.0", false),
            ("8.8.8.8", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), private, "{address}");
        }
    }
}
