//! Whether the Swarm's managers could still decide without one of them. Pure: it judges the managers' own list.
//!
//! The surprising part: managers that are down count against the rest, so that taking a live one away can be refused
//! where taking the dead one away is not.

use super::{Member, Reachability};

/// Why the managers cannot do without one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    #[error("it is the last manager of the Swarm")]
    LastManager,
    #[error("{left} of the other {others} managers answer, and the Swarm needs {needed} of them to decide")]
    Lost { left: usize, others: usize, needed: usize },
}

/// Judges the managers without the member `leaving`. A member without a vote can always go.
///
/// # Errors
/// If none would be left, or fewer than half of the rest and one answer.
pub fn without(members: &[Member], leaving: &str) -> Result<(), QuorumError> {
    let (own, rest): (Vec<&Member>, Vec<&Member>) = members
        .iter()
        .filter(|member| member.reachability.is_some())
        .partition(|member| member.swarm_node_id == leaving);
    let others = rest.len();
    if own.is_empty() {
        return Ok(());
    }
    if others == 0 {
        return Err(QuorumError::LastManager);
    }
    let left = rest.iter().filter(|member| member.reachability == Some(Reachability::Reachable)).count();
    let needed = others / 2 + 1;
    if left < needed {
        return Err(QuorumError::Lost { left, others, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;

    /// Members by letters: `M` a manager that answers, `x` one that does not, `w` a worker. The first one leaves.
    fn members(letters: &str) -> Vec<Member> {
        let member = |(n, letter): (usize, char)| Member {
            swarm_node_id: format!("n{n}"),
            hostname: format!("h{n}"),
            role: if letter == 'w' { Role::Worker } else { Role::Manager },
            state: if letter == 'x' { "down" } else { "ready" }.to_owned(),
            availability: "active".to_owned(),
            address: format!("10.0.0.{n}"),
            leader: false,
            reachability: match letter {
                'M' => Some(Reachability::Reachable),
                'x' => Some(Reachability::Unreachable),
                _ => None,
            },
            updated_at: None,
        };
        letters.chars().enumerate().map(member).collect()
    }

    #[test]
    fn counts_the_others() {
        let lost = |left, others, needed| Err(QuorumError::Lost { left, others, needed });
        for (letters, verdict) in [
            ("M", Err(QuorumError::LastManager)),
            ("Mww", Err(QuorumError::LastManager)),
            ("x", Err(QuorumError::LastManager)),
            ("MM", Ok(())),
            ("xM", Ok(())),
            ("Mx", lost(0, 1, 1)),
            ("MMM", Ok(())),
            ("xMM", Ok(())),
            ("MMx", lost(1, 2, 2)),
            ("xMx", lost(1, 2, 2)),
            ("MMMx", Ok(())),
            ("MMMMx", Ok(())),
            ("MMMxx", lost(2, 4, 3)),
            ("xMMMx", Ok(())),
            ("w", Ok(())),
            ("wMx", Ok(())),
        ] {
            assert_eq!(without(&members(letters), "n0"), verdict, "{letters}");
        }
        assert_eq!(without(&members("M"), "nobody"), Ok(()), "who is not there can go");
    }

    /// Whatever the rule lets go leaves more than half of the rest answering.
    #[test]
    fn never_leaves_too_few() {
        for managers in 1..=7_u32 {
            for answering in 0..1_u32 << managers {
                let letters: String =
                    (0..managers).map(|n| if answering & (1 << n) == 0 { 'x' } else { 'M' }).collect();
                let left = (answering >> 1).count_ones();
                let enough = managers > 1 && left * 2 > managers - 1;
                assert_eq!(without(&members(&letters), "n0").is_ok(), enough, "{letters}");
            }
        }
    }
}
