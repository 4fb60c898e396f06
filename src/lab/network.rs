//! The network between a lab's hosts.
//!
//! The bridge lives in a network namespace of its own, held by a file in the lab's directory. The machine's firewall,
//! which often drops what it bridges or forwards once Docker is installed, therefore has no part in the traffic between
//! hosts, and nothing about it needs to be changed or undone. The machine has one interface into the lab; the hosts'
//! default route ends at the bridge, where everything beyond the lab is answered with "unreachable" at once.

use std::path::Path;

use ipnet::Ipv4Net;

use super::name::HostId;
use super::spec::HostSpec;
use super::subnet;
use crate::providers::command::{CommandError, Commander, Invocation};

/// The lab's bridge in its namespace.
const BRIDGE: &str = "lab0";

/// Why the network is not as asked for.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("`{line}` failed: {complaint}")]
    Refused { line: String, complaint: String },
    #[error("`ip` printed something unexpected")]
    Json(#[from] serde_json::Error),
    #[error("every network that a lab could take is in use on this machine")]
    NoSubnet,
}

async fn run(commander: &dyn Commander, invocation: Invocation) -> Result<String, NetworkError> {
    let line = invocation.describe();
    let output = commander.run(invocation).await?;
    if output.success() {
        Ok(output.stdout_text())
    } else {
        Err(NetworkError::Refused { line, complaint: output.complaint() })
    }
}

/// Runs lines of `ip -batch` in the namespace that the file `network` holds.
async fn batch(commander: &dyn Commander, network: &Path, lines: &str) -> Result<(), NetworkError> {
    let ip = Invocation::new("nsenter").arg(net_option(network)).args(["--", "ip", "-batch", "-"]).stdin(lines);
    run(commander, ip).await.map(drop)
}

fn net_option(network: &Path) -> String {
    format!("--net={}", network.display())
}

/// The networks in use on the machine.
///
/// # Errors
/// `ip` does not answer.
pub async fn used(commander: &dyn Commander) -> Result<Vec<Ipv4Net>, NetworkError> {
    let routes = run(commander, Invocation::new("ip").args(["-json", "-4", "route", "show", "table", "all"])).await?;
    let addresses = run(commander, Invocation::new("ip").args(["-json", "-4", "address"])).await?;
    // `ip` prints nothing at all where it has nothing to list.
    let or_none = |text: String| if text.trim().is_empty() { "[]".to_owned() } else { text };
    Ok(subnet::used(&or_none(routes), &or_none(addresses))?)
}

/// Makes the namespace with the bridge, and the machine's interface into it.
///
/// # Errors
/// What was made until then stays for [`super::leftovers`] to clear.
pub async fn create(commander: &dyn Commander, network: &Path, subnet: Ipv4Net) -> Result<(), NetworkError> {
    let holder = Invocation::new("unshare").arg(net_option(network)).args(["--", "sysctl", "-q", "-w"]);
    run(commander, holder.arg("net.ipv4.ip_forward=1")).await?;
    let bridge_side = Invocation::new("nsenter").arg(net_option(network)).args(["--", "ip", "-batch", "-"]);
    run(commander, bridge_side.stdin(bridge_lines(subnet))).await?;
    let machine_side = Invocation::new("ip").args(["-batch", "-"]).stdin(machine_lines(network, subnet));
    run(commander, machine_side).await?;
    batch(commander, network, &format!("link set machine master {BRIDGE} up\n")).await
}

fn bridge_lines(subnet: Ipv4Net) -> String {
    let (gateway, prefix) = (subnet::gateway(subnet), subnet.prefix_len());
    format!(
        "link set lo up\n\
         link add {BRIDGE} type bridge\n\
         addr add {gateway}/{prefix} dev {BRIDGE}\n\
         link set {BRIDGE} up\n\
         route add unreachable default\n"
    )
}

fn machine_lines(network: &Path, subnet: Ipv4Net) -> String {
    let (link, address, prefix) = (subnet::machine_link(subnet), subnet::machine(subnet), subnet.prefix_len());
    format!(
        "link add {link} type veth peer name machine netns {}\n\
         addr add {address}/{prefix} dev {link}\n\
         link set {link} up\n",
        network.display()
    )
}

fn host_lines(spec: &HostSpec) -> String {
    format!(
        "link set lo up\n\
         link add eth0 type veth peer name {} netns {}\n\
         addr add {} dev eth0\n\
         link set eth0 up\n\
         route add default via {}\n",
        spec.host,
        spec.network.display(),
        spec.address,
        spec.gateway
    )
}

/// Connects the calling host to the bridge; runs in the host's network namespace.
///
/// # Errors
/// The host has no network then.
pub async fn connect_host(spec: &HostSpec, commander: &dyn Commander) -> Result<(), NetworkError> {
    run(commander, Invocation::new("ip").args(["-batch", "-"]).stdin(host_lines(spec))).await?;
    batch(commander, &spec.network, &format!("link set {} master {BRIDGE} up\n", spec.host)).await
}

/// Takes a host off the bridge.
///
/// # Errors
/// The host is not there, or is off.
pub async fn cut(commander: &dyn Commander, network: &Path, host: HostId) -> Result<(), NetworkError> {
    batch(commander, network, &format!("link set {host} nomaster\n")).await
}

/// Puts a host back on the bridge.
///
/// # Errors
/// The host is not there, or is off.
pub async fn heal(commander: &dyn Commander, network: &Path, host: HostId) -> Result<(), NetworkError> {
    batch(commander, network, &format!("link set {host} master {BRIDGE}\n")).await
}

/// The hosts that are on the bridge.
///
/// # Errors
/// The lab's namespace is gone.
pub async fn connected(commander: &dyn Commander, network: &Path) -> Result<Vec<HostId>, NetworkError> {
    let ip = Invocation::new("nsenter").arg(net_option(network));
    let text = run(commander, ip.args(["--", "ip", "-json", "link", "show", "master", BRIDGE])).await?;
    parse_ports(&text)
}

/// ```text
/// [{"ifindex":4,"link_index":2,"ifname":"h1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"master":"lab0"}]
/// ```
fn parse_ports(text: &str) -> Result<Vec<HostId>, NetworkError> {
    #[derive(serde::Deserialize)]
    struct Link {
        #[serde(default)]
        ifname: String,
    }
    let links: Vec<Link> = if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(text)? };
    Ok(links.iter().filter_map(|link| HostId::parse(&link.ifname).ok()).collect())
}

/// Removes what the bridge still has of a host that died: its end goes a moment after the host's last process.
pub async fn forget_host(commander: &dyn Commander, network: &Path, host: HostId) {
    // Mostly it has gone already.
    drop(batch(commander, network, &format!("link del {host}\n")).await);
}

/// Removes the machine's interface into the lab; the namespace's own end goes with it.
pub async fn forget_machine(commander: &dyn Commander, subnet: Ipv4Net) {
    let link = subnet::machine_link(subnet);
    // Mostly it has gone with the namespace.
    drop(run(commander, Invocation::new("ip").args(["link", "del", &link])).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_gateway_answers_that_there_is_nothing_beyond() {
        let subnet = "10.88.3.0/24".parse().unwrap();
        let lines = bridge_lines(subnet);
        assert!(
            lines.contains("addr add 10.88.3.1/24 dev lab0\n") && lines.contains("route add unreachable default\n")
        );
        let lines = machine_lines(Path::new("/l/net"), subnet);
        assert!(lines.starts_with("link add lab-0a5803 type veth peer name machine netns /l/net\n"), "{lines}");
        assert!(!lines.contains("route"), "the machine's routes are not touched: {lines}");
    }

    #[test]
    fn reads_which_hosts_are_connected() {
        let text = r#"[{"ifname":"machine","master":"lab0"},{"ifname":"h1"},{"ifname":"h3"},{}]"#;
        let hosts: Vec<String> = parse_ports(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["h1", "h3"]);
        assert!(parse_ports("").unwrap().is_empty());
    }
}
