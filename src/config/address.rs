//! Where the controller is, as a node is told: `10.0.0.1`, `master.example.org:7000`, `[fd00::1]:7000`.
//! Nothing is looked up here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::DEFAULT_PORT;
use crate::cluster::{Hostname, HostnameError};

/// The controller's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    pub host: MasterHost,
    pub port: u16,
}

/// The controller's host: an address is used as it is, a name is looked up first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterHost {
    Ip(IpAddr),
    Name(Hostname),
}

/// Why a text does not say where a controller is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterAddressError {
    #[error("a port is a number from 1 to 65535, not {0:?}")]
    Port(String),
    #[error("an IPv6 address with a port is written in brackets, `[fd00::1]:7000`: {0:?}")]
    Brackets(String),
    #[error("{0} is no address that a controller can be reached at")]
    Unreachable(IpAddr),
    #[error("neither an address nor a host name: {text:?}")]
    Host { text: String, source: HostnameError },
}

impl MasterAddress {
    /// Parses `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`; the port is 7000 where none is given.
    ///
    /// # Errors
    /// If a part breaks its rule.
    pub fn parse(text: &str) -> Result<Self, MasterAddressError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or_else(|| MasterAddressError::Brackets(short(text)))?;
            let ip: Ipv6Addr = inside.parse().map_err(|_| MasterAddressError::Brackets(short(text)))?;
            let port = match after.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if after.is_empty() => DEFAULT_PORT,
                None => return Err(MasterAddressError::Brackets(short(text))),
            };
            return Self::at_ip(IpAddr::V6(ip), port);
        }
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Self::at_ip(IpAddr::V6(ip), DEFAULT_PORT);
        }
        let (host, port) = match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(MasterAddressError::Brackets(short(text))),
            Some((host, port)) => (host, parse_port(port)?),
            None => (text, DEFAULT_PORT),
        };
        if host == "localhost" {
            return Self::at_ip(Ipv4Addr::LOCALHOST.into(), port);
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Self::at_ip(ip.into(), port);
        }
        match Hostname::parse(host) {
            Ok(name) => Ok(Self { host: MasterHost::Name(name), port }),
            Err(source) => Err(MasterAddressError::Host { text: short(host), source }),
        }
    }

    fn at_ip(ip: IpAddr, port: u16) -> Result<Self, MasterAddressError> {
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(MasterAddressError::Unreachable(ip));
        }
        Ok(Self { host: MasterHost::Ip(ip), port })
    }
}

fn parse_port(text: &str) -> Result<u16, MasterAddressError> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(MasterAddressError::Port(short(text))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

impl std::fmt::Display for MasterAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            MasterHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            MasterHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            MasterHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl std::str::FromStr for MasterAddress {
    type Err = MasterAddressError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2-46: with and without a port, by address and by name.
    #[test]
    fn accepts_addresses_and_names() {
        for (text, shown) in [
            ("10.0.0.1", "10.0.0.1:7000"),
            ("10.0.0.1:7001", "10.0.0.1:7001"),
            ("Master.Example.org", "master.example.org:7000"),
            ("h1:65535", "h1:65535"),
            ("localhost", "127.0.0.1:7000"),
            ("::1", "[::1]:7000"),
            ("[fd00::1]", "[fd00::1]:7000"),
            ("[fd00::1]:1", "[fd00::1]:1"),
        ] {
            assert_eq!(MasterAddress::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            ":7000",
            "h1:",
            "h1:0",
            "h1:65536",
            "h1:+1",
            "h1:x",
            "0.0.0.0",
            "224.0.0.1:7000",
            "255.255.255.255",
            "[fd00::1",
            "[fd00::1]7000",
            "[h1]:7000",
            "fd00::1:x",
            "-x",
            "a b",
            "http://h1:7000",
            "10.0.0.300",
        ] {
            assert!(MasterAddress::parse(text).is_err(), "{text:?}");
        }
    }
}
