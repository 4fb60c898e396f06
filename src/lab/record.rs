//! What a lab remembers of itself, and whether that still holds.

use ipnet::Ipv4Net;

use super::cgroups::Layout;
use super::name::LabName;

/// What a lab must remember; stored as `lab.json` in its directory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) name: LabName,
    pub(super) subnet: Ipv4Net,
    pub(super) hosts: u8,
    pub(super) layout: Layout,
    pub(super) phase: Phase,
}

/// How far `up` came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Phase {
    Starting,
    Up,
}

/// What is known about a lab when a command begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A lab that came up; some of its hosts may be off.
    Lab(Record),
    /// Nothing, or the rest of one that did not come up, or that the machine's restart ended.
    Leftovers(Option<Record>),
}

/// A lab counts while its record says that it came up and its bridge is there; neither a killed `up` nor a machine that
/// was restarted leaves both.
pub(super) fn judge(record: Option<Record>, has_bridge: bool) -> Found {
    match record {
        Some(record) if record.phase == Phase::Up && has_bridge => Found::Lab(record),
        other => Found::Leftovers(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(phase: Phase) -> Record {
        Record {
            version: 1,
            name: LabName::parse("lab").unwrap(),
            subnet: "10.88.0.0/24".parse().unwrap(),
            hosts: 3,
            layout: Layout::Unified,
            phase,
        }
    }

    #[test]
    fn a_lab_counts_while_it_came_up_and_its_bridge_is_there() {
        assert_eq!(judge(Some(record(Phase::Up)), true), Found::Lab(record(Phase::Up)));
        assert_eq!(judge(Some(record(Phase::Up)), false), Found::Leftovers(Some(record(Phase::Up))));
        assert_eq!(judge(Some(record(Phase::Starting)), true), Found::Leftovers(Some(record(Phase::Starting))));
        assert_eq!(judge(None, true), Found::Leftovers(None));
    }
}
