//! What this host says about itself when it registers (S2-51).

use std::path::Path;

use crate::protocol::registration::Facts;
use crate::providers::command::find_program;

/// Whether this host takes part in the shared volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlusterAbility {
    /// It can mount volumes.
    pub client: bool,
    /// It runs glusterd.
    pub server: bool,
}

/// Looks which GlusterFS programs are installed.
#[must_use]
pub fn gluster_ability() -> GlusterAbility {
    let installed = |program: &str| find_program(Path::new(program)).is_some();
    GlusterAbility { client: installed("mount.glusterfs"), server: installed("glusterd") && installed("gluster") }
}

/// Gathers the facts; `opted_out` keeps the host out of the shared volume.
#[must_use]
pub fn gather(docker_version: &str, ability: GlusterAbility, opted_out: bool) -> Facts {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Facts {
        os: os_name(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
        cpus: std::thread::available_parallelism().map_or(0, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_mb: total_memory_mb(&meminfo),
        docker_version: docker_version.to_owned(),
        gluster_capable: ability.client && !opted_out,
        gluster_client_only: ability.client && !opted_out && !ability.server,
    }
}

/// Which installation this is, and which boot of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningSystem {
    pub machine_id: String,
    pub boot_id: String,
}

/// Reads both; one that the system does not tell is left empty.
#[must_use]
pub fn running_system() -> RunningSystem {
    let id = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Some(text.trim())
            .filter(|id| id.len() <= 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
            .map(str::to_owned)
    };
    RunningSystem {
        machine_id: id("/etc/machine-id").unwrap_or_default(),
        boot_id: id("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
    }
}

/// The system's name out of os-release: `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"`.
fn os_name(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let name: String = name.unwrap_or("linux").trim_matches('"').chars().filter(printable).take(128).collect();
    if name.is_empty() { "linux".to_owned() } else { name }
}

/// All memory in MiB out of meminfo: `MemTotal:       24684084 kB`.
fn total_memory_mb(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_systems_files() {
        assert_eq!(
            os_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
        assert_eq!(os_name(""), "linux");
        assert_eq!(total_memory_mb("MemTotal:       24684084 kB\nMemFree: 1 kB\n"), 24105);
        assert_eq!(total_memory_mb("x"), 0);
    }
}
