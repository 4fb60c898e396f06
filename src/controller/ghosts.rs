//! Entries of the Swarm's list that stand for no node: what a join that failed half-way, or one that was made anew, left
//! behind. Pure.
//!
//! A host that was joined by hand and is off for a while looks the same, so that nothing is ever taken off the list
//! without being asked for.

use jiff::{SignedDuration, Timestamp};

use super::state::NodeRecord;
use crate::providers::swarm::Member;

/// How long an entry has been down before it counts: longer than a reboot.
pub const DOWN_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The entries that may go: down for long enough, of no node on record (a node that joined anew has another id since),
/// and without a vote, since a manager that is down still counts.
#[must_use]
pub fn ghosts<'a>(nodes: &[&NodeRecord], members: &'a [Member], now: Timestamp) -> Vec<&'a Member> {
    let is_somebodys = |member: &Member| {
        nodes.iter().any(|node| {
            let reported = &node.report.swarm_node_id;
            // Of a node that never said which entry is its own, none of that name is touched.
            *reported == member.swarm_node_id || (reported.is_empty() && node.hostname.as_str() == member.hostname)
        })
    };
    let long_down = |member: &Member| {
        member.is_down() && member.updated_at.is_some_and(|since| now.duration_since(since) > DOWN_FOR)
    };
    members
        .iter()
        .filter(|member| long_down(member) && member.reachability.is_none() && !is_somebodys(member))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Hostname, NodeAddress, NodeId, Role};
    use crate::controller::command::Warrant;
    use crate::controller::state::StorageRole;
    use crate::protocol::registration::{Facts, NodeReport};
    use crate::providers::swarm::Reachability;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_767_323_045 + minute * 60).unwrap()
    }

    fn node(hostname: &str, reported: &str) -> NodeRecord {
        NodeRecord {
            id: NodeId::of_public_key(hostname.as_bytes()),
            keyed: true,
            hostname: Hostname::parse(hostname).unwrap(),
            address: NodeAddress::parse("10.0.0.2").unwrap(),
            role: Role::Worker,
            facts: Facts::default(),
            storage: StorageRole::None,
            ordinal: 1,
            registered_at: at(0),
            updated_at: at(0),
            revision: 1,
            report: NodeReport { swarm_node_id: reported.to_owned(), ..NodeReport::default() },
            more: Default::default(),
            granted: Role::Worker,
            profiles: Vec::new(),
            admitted_by: Warrant::Open,
            key: None,
            replaceable_since: None,
        }
    }

    fn member(id: &str, hostname: &str, state: &str) -> Member {
        Member {
            swarm_node_id: id.to_owned(),
            hostname: hostname.to_owned(),
            role: Role::Worker,
            state: state.to_owned(),
            availability: "active".to_owned(),
            address: "10.0.0.2".to_owned(),
            leader: false,
            reachability: None,
            updated_at: Some(at(0)),
        }
    }

    /// N11: each condition alone keeps an entry on the list.
    #[test]
    fn only_what_is_nobodys_and_long_down_goes() {
        let (present, silent) = (node("h2", "now"), node("h3", ""));
        let nodes = [&present, &silent];
        let ghost = member("before", "h2", "down");
        let kept = [
            member("now", "h2", "down"),
            member("before", "h2", "ready"),
            member("any", "h3", "down"),
            Member { updated_at: Some(at(15)), ..ghost.clone() },
            Member { updated_at: None, ..ghost.clone() },
            Member { reachability: Some(Reachability::Unreachable), ..ghost.clone() },
        ];
        let found = |member: &Member| ghosts(&nodes, std::slice::from_ref(member), at(20)).len();
        assert_eq!((found(&ghost), found(&member("stranger", "h9", "down"))), (1, 1));
        assert_eq!(kept.iter().map(found).collect::<Vec<_>>(), vec![0; kept.len()]);
        assert!(ghosts(&nodes, std::slice::from_ref(&ghost), at(10)).is_empty(), "not yet");
    }
}
