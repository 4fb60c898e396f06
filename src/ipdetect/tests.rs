//! Hosts as they are met in the field, each with the address that its neighbours reach it at.

use proptest::prelude::*;

use super::*;

/// Parses `name address`, with `!` before the name of an interface that is down.
fn host(text: &str) -> Vec<Interface> {
    let parse = |item: &str| {
        let (name, address) = item.trim().split_once(' ').unwrap();
        let up = !name.starts_with('!');
        Interface { name: name.trim_start_matches('!').to_owned(), address: address.trim().parse().unwrap(), up }
    };
    text.split(',').filter(|item| !item.trim().is_empty()).map(parse).collect()
}

/// What the host is, its interfaces, its default route, the address to choose.
const HOSTS: &[(&str, &str, Option<&str>, &str)] = &[
    // One class each, and their order (S2-69, S2-70).
    ("loopback alone", "lo 127.0.0.1", None, "127.0.0.1"),
    ("one card", "lo 127.0.0.1, eth0 192.168.1.5", Some("eth0"), "192.168.1.5"),
    ("one card, 10/8", "lo 127.0.0.1, ens3 10.1.2.3", Some("ens3"), "10.1.2.3"),
    ("one card, 172.16/12", "lo 127.0.0.1, enp1s0 172.16.0.9", Some("enp1s0"), "172.16.0.9"),
    ("one card, end of 172.16/12", "lo 127.0.0.1, enp1s0 172.31.255.254", None, "172.31.255.254"),
    ("rented server", "lo 127.0.0.1, eth0 203.0.113.7", Some("eth0"), "203.0.113.7"),
    ("rented server with a private network", "eth0 203.0.113.7, eth1 10.0.0.2", Some("eth0"), "10.0.0.2"),
    ("172.32 is not private", "eth0 172.32.0.1, eth1 192.168.0.1", Some("eth0"), "192.168.0.1"),
    ("172.15 is not private", "eth0 172.15.0.1, eth1 10.0.0.1", Some("eth0"), "10.0.0.1"),
    ("192.169 is not private", "eth0 192.169.0.1, eth1 172.16.0.1", Some("eth0"), "172.16.0.1"),
    ("provider's CGNAT on the card", "ppp0 100.72.3.4, eth0 192.168.1.5", Some("ppp0"), "100.72.3.4"),
    ("beginning of 100.64/10", "eth0 10.0.0.1, x0 100.64.0.1", None, "100.64.0.1"),
    ("end of 100.64/10", "eth0 10.0.0.1, x0 100.127.255.254", None, "100.127.255.254"),
    ("100.63 is not CGNAT", "eth0 10.0.0.1, x0 100.63.255.255", None, "10.0.0.1"),
    ("100.128 is not CGNAT", "eth0 10.0.0.1, x0 100.128.0.1", None, "10.0.0.1"),
    // Overlays go first.
    ("tailscale", "eth0 192.168.1.5, tailscale0 100.101.102.103", Some("eth0"), "100.101.102.103"),
    ("netbird", "eth0 192.168.1.5, wt0 100.92.1.1", Some("eth0"), "100.92.1.1"),
    ("netbird over a provider's CGNAT", "eth0 100.64.0.1, wt0 100.92.1.1", Some("eth0"), "100.92.1.1"),
    ("tailscale over a provider's CGNAT", "eth0 100.64.0.1, tailscale0 100.99.1.1", Some("eth0"), "100.99.1.1"),
    ("two overlays, the lower address", "wt0 100.92.1.1, tailscale0 100.80.1.1", None, "100.80.1.1"),
    ("wireguard in 10/8", "eth0 10.0.0.5, wg0 10.200.0.2", Some("eth0"), "10.200.0.2"),
    ("wireguard in 192.168/16", "eth0 10.0.0.5, wg-home 192.168.77.2", Some("eth0"), "192.168.77.2"),
    ("wireguard with a public range", "eth0 10.0.0.5, wg0 203.0.113.9", Some("eth0"), "10.0.0.5"),
    ("overlay that is down", "eth0 192.168.1.5, !tailscale0 100.101.102.103", Some("eth0"), "192.168.1.5"),
    ("wt1 is not netbird's", "eth0 100.64.0.9, wt1 100.64.0.1", Some("eth0"), "100.64.0.9"),
    // Within a class the default route, then the lowest address.
    ("two cards, default route on the second", "eth0 10.0.0.1, eth1 10.9.0.1", Some("eth1"), "10.9.0.1"),
    ("two cards, no default route", "eth1 10.0.0.7, eth0 10.0.0.30", None, "10.0.0.7"),
    ("lowest by number, not by text", "eth0 10.0.0.100, eth1 10.0.0.9", None, "10.0.0.9"),
    ("10/8 and 192.168/16 are one class", "eth0 192.168.1.1, eth1 10.0.0.1", Some("eth0"), "192.168.1.1"),
    ("two addresses on one card", "eth0 10.0.0.9, eth0 10.0.0.8", Some("eth0"), "10.0.0.8"),
    ("an alias belongs to its card", "eth0:1 10.0.0.8, eth1 10.0.0.1", Some("eth0"), "10.0.0.8"),
    ("wifi and cable", "wlan0 192.168.1.20, eth0 192.168.1.10", Some("wlan0"), "192.168.1.20"),
    ("bond with VLANs", "bond0 10.0.0.2, bond0.20 10.20.0.2", Some("bond0.20"), "10.20.0.2"),
    ("default route of an interface without address", "eth0 10.0.0.2", Some("ppp0"), "10.0.0.2"),
    // An engine's interfaces go below every real address (N15).
    ("docker", "lo 127.0.0.1, eth0 192.168.1.5, docker0 172.17.0.1", Some("eth0"), "192.168.1.5"),
    ("docker on a rented server", "eth0 203.0.113.7, docker0 172.17.0.1", Some("eth0"), "203.0.113.7"),
    ("swarm", "eth0 203.0.113.7, docker0 172.17.0.1, docker_gwbridge 172.18.0.1", Some("eth0"), "203.0.113.7"),
    ("compose networks", "eth0 203.0.113.7, br-1a2b3c 172.19.0.1, veth12 169.254.7.7", None, "203.0.113.7"),
    ("k3s with flannel", "eth0 203.0.113.7, flannel.1 10.42.0.0, cni0 10.42.0.1", Some("eth0"), "203.0.113.7"),
    ("cilium", "eth0 203.0.113.7, cilium_host 10.0.1.5", Some("eth0"), "203.0.113.7"),
    ("cilium in CGNAT", "eth0 203.0.113.7, cilium_host 100.64.1.5", Some("eth0"), "203.0.113.7"),
    ("libvirt", "eth0 203.0.113.7, virbr0 192.168.122.1", Some("eth0"), "203.0.113.7"),
    ("lxc", "eth0 203.0.113.7, lxcbr0 10.0.3.1", Some("eth0"), "203.0.113.7"),
    ("podman", "eth0 203.0.113.7, podman0 10.88.0.1", Some("eth0"), "203.0.113.7"),
    ("nerdctl", "eth0 203.0.113.7, nerdctl0 10.4.0.1", Some("eth0"), "203.0.113.7"),
    ("lxd", "eth0 203.0.113.7, lxdbr0 10.153.7.1", Some("eth0"), "203.0.113.7"),
    ("incus", "eth0 203.0.113.7, incusbr0 10.60.1.1", Some("eth0"), "203.0.113.7"),
    ("calico", "eth0 203.0.113.7, tunl0 10.244.1.0, cali123 169.254.1.1", Some("eth0"), "203.0.113.7"),
    ("calico with VXLAN", "eth0 203.0.113.7, vxlan.calico 10.244.1.0", Some("eth0"), "203.0.113.7"),
    ("weave", "eth0 203.0.113.7, weave 10.32.0.1", Some("eth0"), "203.0.113.7"),
    ("kube-proxy's service addresses", "eth0 203.0.113.7, kube-ipvs0 10.96.0.1", Some("eth0"), "203.0.113.7"),
    ("virtualbox host-only", "wlan0 192.168.1.5, vboxnet0 192.168.56.1", None, "192.168.1.5"),
    ("vmware", "eth0 203.0.113.7, vmnet8 172.16.5.1", Some("eth0"), "203.0.113.7"),
    ("a VPN that is down", "eth0 203.0.113.7, !tun0 10.8.0.2", Some("eth0"), "203.0.113.7"),
    ("docker without a network", "lo 127.0.0.1, docker0 172.17.0.1", None, "172.17.0.1"),
    ("docker0 without containers or network", "lo 127.0.0.1, !docker0 172.17.0.1", None, "127.0.0.1"),
    ("an administrator's bridge is real", "br0 192.168.1.5, docker0 172.17.0.1", Some("br0"), "192.168.1.5"),
    ("proxmox", "vmbr0 192.168.1.5, eth1 203.0.113.7", Some("vmbr0"), "192.168.1.5"),
    ("default route over an engine's bridge", "eth0 203.0.113.7, br-1a 172.19.0.1", Some("br-1a"), "203.0.113.7"),
    // What no host can be reached at takes no part.
    ("link-local beside a real one", "eth0 169.254.10.1, eth1 203.0.113.7", Some("eth0"), "203.0.113.7"),
    ("link-local alone", "lo 127.0.0.1, eth0 169.254.10.1", Some("eth0"), "127.0.0.1"),
    ("unspecified", "lo 127.0.0.1, eth0 0.0.0.0", None, "127.0.0.1"),
    ("reserved", "lo 127.0.0.1, eth0 240.0.0.1", None, "127.0.0.1"),
    ("cable pulled", "!eth0 192.168.1.5, eth1 203.0.113.7", Some("eth0"), "203.0.113.7"),
    ("an anycast address on lo is no loopback", "lo 127.0.0.1, lo 10.255.0.1", None, "10.255.0.1"),
    ("another loopback address", "lo 127.0.1.1, lo 127.0.0.1", None, "127.0.0.1"),
    (
        "everything",
        "lo 127.0.0.1, eth0 203.0.113.7, eth1 10.0.0.2, docker0 172.17.0.1, wt0 100.92.1.1",
        Some("eth0"),
        "100.92.1.1",
    ),
];

/// N15.
#[test]
fn chooses_what_the_neighbours_reach() {
    assert!(HOSTS.len() >= 50);
    for (what, interfaces, default_route, expected) in HOSTS {
        let choice = choose(&host(interfaces), *default_route).unwrap();
        assert_eq!(choice.address.to_string(), *expected, "{what}: {choice:?}");
    }
}

/// N15: what the host has, what is preferred, what is chosen.
#[test]
fn of_equal_classes_the_masters_side_is_chosen() {
    let two = "eth0 10.0.0.5, eth1 10.9.0.5";
    for (what, interfaces, preferred, expected) in [
        ("nothing is preferred", two, &[][..], "10.0.0.5"),
        ("the way to the master", two, &["10.9.0.5"], "10.9.0.5"),
        ("it is registered already", two, &["10.0.0.5", "10.9.0.5"], "10.0.0.5"),
        ("what it is registered with is gone", two, &["10.7.0.7", "10.9.0.5"], "10.9.0.5"),
        ("a rented server's private network", "eth0 203.0.113.7, eth1 10.0.0.2", &["203.0.113.7"], "10.0.0.2"),
        ("docker's bridge", "eth0 10.0.0.5, docker0 172.17.0.1", &["172.17.0.1"], "10.0.0.5"),
        ("the master on the same host", "lo 127.0.0.1, eth0 10.0.0.5", &["127.0.0.1"], "10.0.0.5"),
        ("an overlay", "eth0 100.64.0.9, wt0 100.92.1.1", &["100.64.0.9"], "100.92.1.1"),
    ] {
        let preferred: Vec<Ipv4Addr> = preferred.iter().map(|address| address.parse().unwrap()).collect();
        let choice = choose_towards(&host(interfaces), Some("eth0"), &preferred).unwrap();
        assert_eq!(choice.address.to_string(), expected, "{what}: {choice:?}");
    }
}

#[test]
fn says_what_it_passed_over() {
    let error = choose(&host("!eth0 10.0.0.1, eth1 169.254.0.1"), None).unwrap_err();
    let shown: Vec<String> = error.passed_over.iter().map(|p| format!("{} {}", p.interface, p.because)).collect();
    assert_eq!(
        shown,
        ["eth0 the interface is down", "eth1 169.254.0.1 is link-local, which no host can be reached at"]
    );
    assert!(choose(&[], None).is_err());
}

/// S2-15: the whole ranking with its reasons.
#[test]
fn ranks_everything() {
    let interfaces = host(
        "lo 127.0.0.1, docker0 172.17.0.1, eth0 203.0.113.7, eth1 192.168.1.5, eth2 10.0.0.9, wg0 10.9.0.1, wt0 100.92.1.1, eth3 100.64.0.1",
    );
    let shown: Vec<String> = rank(&interfaces, Some("eth1"))
        .into_iter()
        .map(|ranked| format!("{} {}: {}", ranked.interface, ranked.address, ranked.because))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    wt0 100.92.1.1: in 100.64.0.0/10, where overlay networks live; on an overlay network's interface
    eth3 100.64.0.1: in 100.64.0.0/10, where overlay networks live
    wg0 10.9.0.1: a private address; on an overlay network's interface
    eth1 192.168.1.5: a private address; on the default route's interface
    eth2 10.0.0.9: a private address
    eth0 203.0.113.7: an address that is neither private nor an overlay's
    docker0 172.17.0.1: on a container engine's own interface, which no other host can reach
    lo 127.0.0.1: loopback, which reaches this host alone
    ");
}

#[test]
fn reads_the_default_route() {
    let header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    let lan = "eth0\t0058A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0";
    let cable = "eth0\t00000000\t0158A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0";
    let wifi = "wlan0\t00000000\t0158A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0";
    let second = "eth9\t00000000\t0158A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0";
    let down = "eth1\t00000000\t0158A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0";
    let reject = "eth2\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0";
    let half = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0";
    for (lines, expected) in [
        (&[][..], None),
        (&[header][..], None),
        (&[header, lan][..], None),
        (&[header, lan, cable][..], Some("eth0")),
        (&[header, wifi, cable][..], Some("eth0")),
        (&[header, cable, wifi][..], Some("eth0")),
        (&[header, cable, second][..], Some("eth0")),
        (&[header, down, reject, half, wifi][..], Some("wlan0")),
        (&[header, "short line", "x\ty\tz\tq\t0\t0\tm\tn\t0\t0\t0"][..], None),
    ] {
        assert_eq!(default_route(&lines.join("\n")).as_deref(), expected, "{lines:?}");
    }
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let names = prop::sample::select(vec![
        "lo",
        "eth0",
        "eth0:1",
        "eth1",
        "docker0",
        "br-12ab",
        "br0",
        "veth7",
        "wt0",
        "wg0",
        "tailscale0",
        "virbr0",
    ]);
    let address = prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from),
        any::<[u8; 2]>().prop_map(|[a, b]| Ipv4Addr::new(100, 64 + a % 64, b, 1)),
        any::<[u8; 2]>().prop_map(|[a, b]| Ipv4Addr::new(10, a, b, 1)),
        any::<u8>().prop_map(|a| Ipv4Addr::new(127, 0, 0, a)),
        any::<u8>().prop_map(|a| Ipv4Addr::new(169, 254, 0, a)),
    ];
    let one = (names, address, prop::bool::weighted(0.8));
    prop::collection::vec(one.prop_map(|(name, address, up)| Interface { name: name.to_owned(), address, up }), 0..12)
}

proptest! {
    #[test]
    fn the_order_of_the_input_does_not_matter(
        (left, right) in interfaces().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        route in prop::option::of(prop::sample::select(vec!["eth0", "eth1", "docker0"])),
    ) {
        prop_assert_eq!(rank(&left, route), rank(&right, route));
        prop_assert_eq!(passed_over(&left), passed_over(&right));
        prop_assert_eq!(choose(&left, route), choose(&right, route));
    }

    #[test]
    fn every_address_is_ranked_or_passed_over_and_the_choice_is_the_first(list in interfaces()) {
        let ranked = rank(&list, None);
        let left = passed_over(&list);
        for interface in &list {
            let is_ranked = ranked.iter().any(|r| r.interface == interface.name && r.address.ip() == interface.address);
            let is_left = left.iter().any(|p| p.interface == interface.name && p.address == interface.address);
            prop_assert!(is_ranked || is_left);
        }
        prop_assert!(ranked.is_sorted_by_key(|r| r.class));
        prop_assert_eq!(choose(&list, None).ok().map(|c| c.address), ranked.first().map(|r| r.address));
        // Nothing that is down is ever chosen.
        if let Ok(choice) = choose(&list, None) {
            prop_assert!(list.iter().any(|i| i.up && i.address == choice.address.ip() && i.name == choice.interface));
        }
    }
}
