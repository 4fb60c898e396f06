//! Lists this host's interfaces and finds its default route. Decides nothing.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use super::{Choice, Interface, NoAddress};
use crate::failpoint;

/// The kernel's table of IPv4 routes in this network namespace.
const ROUTES: &str = "/proc/self/net/route";

/// What the ranking needs to know about this host.
#[derive(Debug, Clone)]
pub struct HostInterfaces {
    pub interfaces: Vec<Interface>,
    pub default_route: Option<String>,
}

/// Why this host has no primary address.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error("cannot list this host's network interfaces")]
    List(#[source] std::io::Error),
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
}

/// Lists the IPv4 addresses of this host. A route table that cannot be read counts as no default route: the choice
/// is then between addresses alone.
///
/// # Errors
/// If the kernel does not answer.
pub fn list() -> Result<HostInterfaces, DetectError> {
    failpoint::pass_blocking("J2").map_err(DetectError::List)?;
    let addresses = if_addrs::get_if_addrs().map_err(DetectError::List)?;
    let interfaces = addresses.into_iter().filter_map(|found| match found.ip() {
        // "Running" is what counts: up, and with a carrier. A `docker0` without containers is up without one.
        IpAddr::V4(address) => {
            let up = found.is_oper_up();
            Some(Interface { name: found.name, address, up })
        }
        IpAddr::V6(_) => None,
    });
    let routes = std::fs::read_to_string(ROUTES).unwrap_or_default();
    Ok(HostInterfaces { interfaces: interfaces.collect(), default_route: super::default_route(&routes) })
}

/// The address that this host would speak to `there` from. Nothing is sent: the kernel only looks up the way.
#[must_use]
pub fn source_towards(there: IpAddr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Any port will do.
    socket.connect((there, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(source) => Some(source),
        IpAddr::V6(_) => None,
    }
}

/// Lists this host's interfaces and chooses its primary address.
///
/// # Errors
/// If they cannot be listed or none has a usable address.
pub fn detect() -> Result<Choice, DetectError> {
    let host = list()?;
    Ok(super::choose(&host.interfaces, host.default_route.as_deref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_itself_leads_from_itself() {
        assert_eq!(source_towards(Ipv4Addr::LOCALHOST.into()), Some(Ipv4Addr::LOCALHOST));
    }

    /// S2-31, S2-62: works on the machine that runs the tests, whatever it has; loopback at least.
    #[test]
    fn lists_this_host() {
        let host = list().unwrap();
        assert!(host.interfaces.iter().any(|interface| interface.address.is_loopback()));
        detect().unwrap();
    }
}
