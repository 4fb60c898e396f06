//! Which addresses a lab takes: the first network of a fixed list that nothing on the machine uses. Decides only.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Networks that no part of the machine may share with a lab, from what `ip -json` prints for addresses and routes.
///
/// ```text
/// [{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"192.0.2.0/24","dev":"eth0"},{"type":"local","dst":"192.0.2.2",..}]
/// [{"ifname":"eth0","addr_info":[{"family":"inet","local":"192.0.2.2","prefixlen":24}]}]
/// ```
///
/// # Errors
/// The text is not the JSON that `ip` (iproute2 5.15 to 6.1) prints.
pub fn used(routes: &str, addresses: &str) -> Result<Vec<Ipv4Net>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Route {
        #[serde(default)]
        dst: String,
    }
    #[derive(serde::Deserialize)]
    struct Interface {
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(serde::Deserialize)]
    struct Address {
        #[serde(default)]
        local: String,
        #[serde(default)]
        prefixlen: u8,
    }
    let routes: Vec<Route> = serde_json::from_str(routes)?;
    let interfaces: Vec<Interface> = serde_json::from_str(addresses)?;
    let routed = routes.iter().filter_map(|route| match route.dst.parse::<Ipv4Addr>() {
        Ok(host) => Some(Ipv4Net::from(host)),
        // `default` and the networks of IPv6 are in nobody's way.
        Err(_) => route.dst.parse::<Ipv4Net>().ok(),
    });
    let assigned = interfaces
        .iter()
        .flat_map(|interface| &interface.addr_info)
        .filter_map(|address| Ipv4Net::new(address.local.parse().ok()?, address.prefixlen).ok());
    Ok(routed.chain(assigned).filter(|net| net.prefix_len() > 0).collect())
}

/// The first free /24 out of private ranges that Docker and home routers do not take by themselves.
#[must_use]
pub fn choose(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    let candidates = [[10, 88], [10, 188], [172, 29], [192, 168]];
    candidates
        .into_iter()
        .flat_map(|[a, b]| (0..=255).filter_map(move |c| Ipv4Net::new(Ipv4Addr::new(a, b, c, 0), 24).ok()))
        .find(|candidate| used.iter().all(|net| !net.contains(candidate) && !candidate.contains(net)))
}

/// The address of the lab's bridge, its hosts' gateway to nowhere.
#[must_use]
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.network().to_bits() + 1)
}

/// The machine's own address in the lab.
#[must_use]
pub fn machine(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.network().to_bits() + 254)
}

/// The machine's interface into the lab; the subnet makes it unique and short enough.
#[must_use]
pub fn machine_link(subnet: Ipv4Net) -> String {
    format!("lab-{:06x}", subnet.network().to_bits() >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn reads_what_ip_prints() {
        let routes = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
            {"dst":"192.0.2.0/24","dev":"eth0"},{"type":"local","dst":"10.88.3.1","dev":"lo"},{"dst":"fd00::/64"}]"#;
        let addresses = r#"[{"ifname":"eth1","addr_info":[{"family":"inet","local":"10.88.4.9","prefixlen":24},
            {"family":"inet6","local":"fd00::2","prefixlen":64}]},{}]"#;
        assert_eq!(used(routes, addresses).unwrap(), nets(&["192.0.2.0/24", "10.88.3.1/32", "10.88.4.9/24"]));
        assert!(used("", "[]").is_err());
    }

    #[test]
    fn takes_the_first_network_that_nothing_uses() {
        let chosen = |used: &[&str]| choose(&nets(used)).map(|net| net.to_string());
        assert_eq!(chosen(&["192.0.2.0/24"]).unwrap(), "10.88.0.0/24");
        assert_eq!(chosen(&["10.88.0.0/24", "10.88.1.77/32"]).unwrap(), "10.88.2.0/24");
        assert_eq!(chosen(&["10.0.0.0/8"]).unwrap(), "172.29.0.0/24");
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12"]).unwrap(), "192.168.0.0/24");
        assert_eq!(chosen(&["0.0.0.0/1", "128.0.0.0/1"]), None);
    }

    #[test]
    fn names_an_interface_after_its_subnet() {
        let subnet = "10.88.3.0/24".parse().unwrap();
        assert_eq!(machine_link(subnet), "lab-0a5803");
        assert_eq!(
            (gateway(subnet).to_string(), machine(subnet).to_string()),
            ("10.88.3.1".into(), "10.88.3.254".into())
        );
    }
}
