//! Which address of a host is its primary one: the one that the other hosts reach it at.
//!
//! Values in, values out; `interfaces` lists the host's own. Only IPv4, as the specification says. The surprising
//! part: 100.64.0.0/10 goes before everything else, since overlay networks live there and overlays connect hosts that
//! nothing else connects; and the bridges of container engines go last, though their addresses look like a LAN's.

pub mod interfaces;

use std::cmp::Reverse;
use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use crate::cluster::{NodeAddress, is_shared};

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Interface {
    /// As the kernel lists it; an alias has a colon in it (`eth0:1`).
    pub name: String,
    pub address: Ipv4Addr,
    /// Up, with a carrier.
    pub up: bool,
}

/// Kinds of addresses, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// 100.64.0.0/10, where overlay networks live.
    Cgnat,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16.
    Private,
    /// What is left.
    Other,
    /// On a bridge or tunnel of a container engine: no other host can reach it.
    ContainerBridge,
    /// 127.0.0.0/8: reaches the host itself alone.
    Loopback,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgnat => "in 100.64.0.0/10, where overlay networks live",
            Self::Private => "a private address",
            Self::Other => "an address that is neither private nor an overlay's",
            Self::ContainerBridge => "on a container engine's own interface, which no other host can reach",
            Self::Loopback => "loopback, which reaches this host alone",
        })
    }
}

/// What decides between addresses of one class, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// On an interface of a known overlay network.
    OverlayInterface,
    /// What the host is registered with, or the way to the master leads from: see [`choose_towards`].
    Preferred,
    /// On the interface of the default route.
    DefaultRoute,
    /// Nothing sets it apart; the lowest address goes first.
    Plain,
}

/// Why an address stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Reason {
    pub class: Class,
    pub within: Within,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.class.fmt(f)?;
        match self.within {
            Within::OverlayInterface => f.write_str("; on an overlay network's interface"),
            Within::Preferred => f.write_str("; the one that the master knows or sees this host by"),
            Within::DefaultRoute => f.write_str("; on the default route's interface"),
            Within::Plain => Ok(()),
        }
    }
}

/// An address with its place in the ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    pub interface: String,
    pub address: NodeAddress,
    pub class: Class,
    pub because: Reason,
}

/// The address that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub interface: String,
    pub address: NodeAddress,
    pub because: Reason,
}

/// An address that takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    pub interface: String,
    pub address: Ipv4Addr,
    pub because: String,
}

/// No address will do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no interface that is up has a usable IPv4 address ({} passed over)", passed_over.len())]
pub struct NoAddress {
    pub passed_over: Vec<PassedOver>,
}

/// Chooses the primary address. `default_route` is the interface of the default route, if there is one.
///
/// # Errors
/// If no interface is up with an address that a host can have.
pub fn choose(interfaces: &[Interface], default_route: Option<&str>) -> Result<Choice, NoAddress> {
    match rank(interfaces, default_route).into_iter().next() {
        Some(Ranked { interface, address, class: _, because }) => Ok(Choice { interface, address, because }),
        None => Err(NoAddress { passed_over: passed_over(interfaces) }),
    }
}

/// The same for a host that joins: of addresses of the best one's class, the first of `preferred` that the host has. On
/// an overlay network the best one stays, since overlays connect hosts that nothing else connects.
///
/// # Errors
/// As [`choose`].
pub fn choose_towards(
    interfaces: &[Interface],
    default_route: Option<&str>,
    preferred: &[Ipv4Addr],
) -> Result<Choice, NoAddress> {
    let best = choose(interfaces, default_route)?;
    if best.because.within == Within::OverlayInterface {
        return Ok(best);
    }
    let ranked = rank(interfaces, default_route);
    let of = |wanted: &Ipv4Addr| {
        ranked.iter().find(|ranked| ranked.address.ip() == *wanted && ranked.class == best.because.class)
    };
    let found = preferred.iter().find_map(of).filter(|found| found.address != best.address);
    Ok(found.map_or(best.clone(), |found| Choice {
        interface: found.interface.clone(),
        address: found.address,
        because: Reason { class: found.class, within: Within::Preferred },
    }))
}

/// All usable addresses, the best first. The order of `interfaces` does not matter.
#[must_use]
pub fn rank(interfaces: &[Interface], default_route: Option<&str>) -> Vec<Ranked> {
    let judge = |interface: &Interface| {
        let address = NodeAddress::new(interface.address).ok().filter(|_| interface.up)?;
        let class = classify(&interface.name, interface.address);
        let within = within(&interface.name, default_route);
        let because = Reason { class, within };
        Some(Ranked { interface: interface.name.clone(), address, class, because })
    };
    let mut ranked: Vec<Ranked> = interfaces.iter().filter_map(judge).collect();
    ranked.sort_by(|a, b| (a.because, a.address, &a.interface).cmp(&(b.because, b.address, &b.interface)));
    ranked.dedup();
    ranked
}

/// The addresses that [`rank`] leaves out, and why.
#[must_use]
pub fn passed_over(interfaces: &[Interface]) -> Vec<PassedOver> {
    let judge = |interface: &Interface| {
        let because = match NodeAddress::new(interface.address) {
            _ if !interface.up => "the interface is down".to_owned(),
            Err(error) => error.to_string(),
            Ok(_) => return None,
        };
        Some(PassedOver { interface: interface.name.clone(), address: interface.address, because })
    };
    let mut left: Vec<PassedOver> = interfaces.iter().filter_map(judge).collect();
    left.sort_by(|a, b| (&a.interface, a.address, &a.because).cmp(&(&b.interface, b.address, &b.because)));
    left.dedup();
    left
}

fn classify(interface: &str, address: Ipv4Addr) -> Class {
    if address.is_loopback() {
        Class::Loopback
    } else if is_container_bridge(interface) {
        Class::ContainerBridge
    } else if is_shared(address) {
        Class::Cgnat
    } else if address.is_private() {
        Class::Private
    } else {
        Class::Other
    }
}

fn within(interface: &str, default_route: Option<&str>) -> Within {
    let device = device_of(interface);
    if is_overlay(interface) {
        Within::OverlayInterface
    } else if default_route.is_some_and(|route| device_of(route) == device) {
        Within::DefaultRoute
    } else {
        Within::Plain
    }
}

/// The device under an alias: `eth0` for `eth0:1`.
fn device_of(interface: &str) -> &str {
    interface.split_once(':').map_or(interface, |(device, _)| device)
}

/// What Docker, Podman, Kubernetes' network plug-ins, libvirt, LXD, Incus, VirtualBox and VMware make on a host. A bridge
/// that an administrator made (`br0`, `vmbr0`) is none of them.
fn is_container_bridge(interface: &str) -> bool {
    const NAMES: [&str; 4] = ["docker0", "docker_gwbridge", "tunl0", "vxlan.calico"];
    const BEGINNINGS: [&str; 16] = [
        "br-", "veth", "cni", "flannel", "cilium", "virbr", "lxc", "lxdbr", "incusbr", "podman", "nerdctl", "cali",
        "weave", "kube-", "vboxnet", "vmnet",
    ];
    let device = device_of(interface);
    NAMES.contains(&device) || BEGINNINGS.iter().any(|beginning| device.starts_with(beginning))
}

/// The interfaces of Netbird (`wt0`), Tailscale and WireGuard.
fn is_overlay(interface: &str) -> bool {
    let device = device_of(interface);
    device == "wt0" || device.starts_with("tailscale") || device.starts_with("wg")
}

/// The interface of the default route in the text of `/proc/net/route`; of several, the one with the lowest metric.
///
/// ```text
/// Iface   Destination  Gateway   Flags  RefCnt  Use  Metric  Mask      MTU  Window  IRTT
/// eth0    00000000     0158A8C0  0003   0       0    100     00000000  0    0       0
/// eth0    0058A8C0     00000000  0001   0       0    100     00FFFFFF  0    0       0
/// ```
#[must_use]
pub fn default_route(proc_net_route: &str) -> Option<String> {
    const UP: u32 = 1;
    const REJECT: u32 = 0x200;
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [interface, destination, _, flags, _, _, metric, mask, ..] = columns.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let metric: u32 = metric.parse().ok()?;
        let usable = flags & UP != 0 && flags & REJECT == 0;
        let default = u32::from_str_radix(destination, 16).ok()? == 0 && u32::from_str_radix(mask, 16).ok()? == 0;
        (usable && default).then(|| (Reverse(metric), (*interface).to_owned()))
    };
    // Of equal metrics the first line is the one that the kernel uses; `max_by_key` would take the last.
    let mut best: Option<(Reverse<u32>, String)> = None;
    for candidate in proc_net_route.lines().skip(1).filter_map(parse) {
        if best.as_ref().is_none_or(|best| candidate.0 > best.0) {
            best = Some(candidate);
        }
    }
    best.map(|(_, interface)| interface)
}

#[cfg(test)]
mod tests;
