//! The forms of values that are no words of the cluster: numbers, durations, switches. The texts of the errors follow
//! the key's name: "`master.max_nodes`: is a number from 1 to …".

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::{LogFormat, LogLevel};
use crate::cluster::AbsolutePath;
use crate::cluster::OverlayKind;

/// Written as YAML, systemd or a shell would.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("is `true` or `false`, not {text:?}")),
    }
}

pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("is a number from {least} to {most}, not {text:?}")),
    }
}

/// More copies than this are a slip of the pen.
const MAX_REPLICA: u32 = 16;

pub(super) fn replica(text: &str) -> Result<u32, String> {
    match number(text, 1, MAX_REPLICA)? {
        2 => Err("2 copies cannot tell a dead host from a lost connection, and after one both hold their own truth \
                  (split brain); use 3, 3 with an arbiter, or 1"
            .to_owned()),
        copies => Ok(copies),
    }
}

pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    match parsed {
        Some(duration) if (least..=most).contains(&duration) => Ok(duration),
        Some(_) => Err(format!("is from {}s to {}s, not {text:?}", least.as_secs(), most.as_secs())),
        None => Err(format!("is a duration with its unit, such as `90s` or `10m`, not {text:?}")),
    }
}

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("is an address and a port, such as `0.0.0.0:7000`, not {text:?}"))
}

/// The kernel's limit on the path of a unix socket, without the closing zero.
const MAX_SOCKET_PATH: usize = 107;

pub(super) fn socket_path(text: &str) -> Result<AbsolutePath, String> {
    if text.len() > MAX_SOCKET_PATH {
        return Err(format!("the path of a socket has at most {MAX_SOCKET_PATH} characters: {text:?}"));
    }
    AbsolutePath::parse(text).map_err(|error| error.to_string())
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" | "warning" => Ok(LogLevel::Warn),
        "error" => Ok(LogLevel::Error),
        _ => Err(format!("is `debug`, `info`, `warn` or `error`, not {text:?}")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("is `text` or `json`, not {text:?}")),
    }
}

pub(super) fn overlay_provider(text: &str) -> Result<OverlayKind, String> {
    text.parse().map_err(|error: crate::cluster::OverlayKindError| error.to_string())
}

/// More networks than this belong into fewer, wider ones: they all go into one volume option.
const MAX_NETWORKS: usize = 64;

pub(super) fn networks(text: &str) -> Result<Vec<Ipv4Net>, String> {
    let mut networks = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let network: Ipv4Net =
            part.parse().map_err(|_| format!("is a list of networks such as `10.0.0.0/8`, not {part:?}"))?;
        if network != network.trunc() {
            return Err(format!("{part} has bits beyond its prefix; the network is {}", network.trunc()));
        }
        networks.push(network);
    }
    networks.sort();
    networks.dedup();
    if networks.len() > MAX_NETWORKS {
        return Err(format!("has at most {MAX_NETWORKS} networks, not {}", networks.len()));
    }
    Ok(networks)
}
