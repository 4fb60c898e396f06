use std::collections::BTreeMap;

use super::*;
use crate::providers::swarm::Reachability;

const OWN: &str = "own";
const OTHER: &str = "other";

fn target() -> MemberTarget {
    MemberTarget {
        hostname: Hostname::parse("h2").unwrap(),
        address: NodeAddress::parse("10.0.0.2").unwrap(),
        swarm_node_id: Some(OTHER.to_owned()),
        own_host: false,
        brick_of: None,
    }
}

fn node(id: &str, hostname: &str, reachability: Option<Reachability>) -> Member {
    Member {
        swarm_node_id: id.to_owned(),
        hostname: hostname.to_owned(),
        role: if reachability.is_some() { Role::Manager } else { Role::Worker },
        state: "ready".to_owned(),
        availability: "active".to_owned(),
        address: if id == OTHER { "10.0.0.2" } else { "10.0.0.9" }.to_owned(),
        leader: id == OWN,
        reachability,
        updated_at: None,
    }
}

fn sight<'a>(members: &'a [Member], tasks: usize, tasks_wait: Wait, demotion_wait: Wait) -> Sight<'a> {
    Sight { own: OWN, members, tasks, tasks_wait, demotion_wait }
}

/// Every state that a member can be in, beside managers of which some answer.
fn every_case(mut judge: impl FnMut(&Member, Sight<'_>, bool)) -> usize {
    let reach = [None, Some(Reachability::Reachable), Some(Reachability::Unreachable)];
    let mut cases = 0;
    for others in [&[][..], &[true], &[false], &[true, true], &[true, false], &[false, false], &[true, true, false]] {
        for (role, reachability) in [Role::Manager, Role::Worker].into_iter().flat_map(|r| reach.map(|v| (r, v))) {
            for (state, availability) in ["ready", "down", "unknown", "disconnected"]
                .iter()
                .flat_map(|s| ["active", "pause", "drain"].map(|a| (*s, a)))
            {
                let mut members = vec![node(OWN, "h1", Some(Reachability::Reachable))];
                for (n, answers) in others.iter().enumerate() {
                    let seen = if *answers { Reachability::Reachable } else { Reachability::Unreachable };
                    members.push(node(&format!("m{n}"), &format!("m{n}"), Some(seen)));
                }
                members.push(Member {
                    role,
                    state: state.to_owned(),
                    availability: availability.to_owned(),
                    ..node(OTHER, "h2", reachability)
                });
                let waits = [Wait::GoesOn, Wait::Over];
                for (tasks, tasks_wait) in [0, 2].into_iter().flat_map(|t| waits.map(|w| (t, w))) {
                    for (demotion_wait, force) in waits.into_iter().flat_map(|w| [false, true].map(|f| (w, f))) {
                        let member = members.last().unwrap();
                        judge(member, sight(&members, tasks, tasks_wait, demotion_wait), force);
                        cases += 1;
                    }
                }
            }
        }
    }
    cases
}

/// Nobody with a vote goes while the managers need it, forced or not.
#[test]
fn the_quorum_is_kept_in_every_case() {
    let (mut refused, mut allowed) = (0, 0);
    let cases = every_case(|member, sight, force| {
        let decision = next(&target(), sight, force);
        match quorum::without(sight.members, &member.swarm_node_id) {
            Err(loss) => {
                assert_eq!(decision, Err(Refusal::Quorum { hostname: target().hostname, loss }));
                refused += 1;
            }
            Ok(()) => {
                assert!(!matches!(decision, Err(Refusal::Quorum { .. })), "{member:?}");
                allowed += 1;
            }
        }
    });
    assert!(refused > 100 && allowed > 100 && refused + allowed == cases, "{refused} {allowed} {cases}");
}

/// What must have happened before a member is taken off the list, in every case.
#[test]
fn a_member_is_removed_last() {
    let mut removals = BTreeMap::new();
    every_case(|member, sight, force| {
        let Ok(Some(Step::Remove { member: chosen, force: forced })) = next(&target(), sight, force) else { return };
        assert_eq!(chosen, member);
        assert_eq!(forced, !member.is_down());
        let overdue = |wait| force && wait == Wait::Over;
        assert!(member.is_down() || member.is_drained(), "{member:?}");
        assert!(member.is_down() || sight.tasks == 0 || overdue(sight.tasks_wait), "{member:?} {sight:?}");
        let demoted = member.reachability.is_none() || member.role == Role::Worker && overdue(sight.demotion_wait);
        assert!(demoted, "{member:?}");
        *removals.entry((member.is_down(), force)).or_insert(0) += 1;
    });
    assert_eq!(removals.len(), 4, "down and not, forced and not: {removals:?}");
}

/// As long as waiting may help, force changes nothing; without it, nobody with tasks or a vote goes.
#[test]
fn force_only_ends_waits() {
    every_case(|_, sight, force| {
        let patient = sight.tasks_wait == Wait::GoesOn && sight.demotion_wait == Wait::GoesOn;
        let (gentle, forced) = (next(&target(), sight, false), next(&target(), sight, true));
        if patient {
            assert_eq!(gentle, forced);
        }
        if let (Err(refusal), Ok(_)) = (&gentle, &forced) {
            assert!(matches!(refusal, Refusal::TasksRunning { .. } | Refusal::NotDemoted(_)), "{refusal}");
            assert!(!patient && !refusal.hint().is_empty() && refusal.hint().contains("--force"));
        }
        assert!(!(force && matches!(forced, Err(Refusal::TasksRunning { .. } | Refusal::NotDemoted(_)))));
    });
}

/// Whatever is done does what it is for, so that the removal comes to its end.
#[test]
fn every_way_ends() {
    every_case(|start, sight, force| {
        let mut members = sight.members.to_vec();
        let mut tasks = sight.tasks;
        for _ in 0..6 {
            let at = members.iter().position(|member| member.swarm_node_id == OTHER);
            let look = Sight { members: &members, tasks, ..sight };
            let Ok(step) = next(&target(), look, force) else { return };
            let mut after = members.clone();
            let Some(step) = step else { return };
            let at = at.unwrap();
            match step {
                Step::Drain(_) => after[at].availability = "drain".to_owned(),
                Step::AwaitTasks { .. } => tasks = 0,
                Step::Demote(_) => after[at].role = Role::Worker,
                Step::AwaitDemotion(_) => after[at].reachability = None,
                Step::Remove { .. } => {
                    after.remove(at);
                }
            }
            members = after;
        }
        panic!("no end: {start:?} {sight:?} {force}");
    });
}

/// The controller's host and hosts with a brick stay, whatever is asked for, and nothing is done to them.
#[test]
fn own_host_and_bricks_stay() {
    let members = [node(OWN, "h1", Some(Reachability::Reachable)), node(OTHER, "h2", None)];
    let look = |members| sight(members, 0, Wait::Over, Wait::Over);
    for force in [false, true] {
        let own = MemberTarget { own_host: true, ..target() };
        assert_eq!(next(&own, look(&[]), force).unwrap_err().code(), "own-host");
        let by_id = MemberTarget { swarm_node_id: Some(OWN.to_owned()), ..target() };
        assert_eq!(next(&by_id, look(&members), force).unwrap_err().code(), "own-host");
        let brick = MemberTarget { brick_of: Some(VolumeName::parse("shared").unwrap()), ..target() };
        let refusal = next(&brick, look(&members), force).unwrap_err();
        assert_eq!(refusal.to_string(), "`h2` holds a brick of the volume `shared`");
        assert!(refusal.hint().contains("replace-brick shared") && refusal.hint().contains("--force"));
    }
}

#[test]
fn finds_the_node_by_its_id_and_what_earlier_joins_left_behind() {
    let down = |id: &str| Member { state: "down".to_owned(), ..node(id, "h2", None) };
    let elsewhere = Member { address: "10.0.0.9".to_owned(), ..node("namesake", "h2", None) };
    let back = Member { address: "10.0.0.2".to_owned(), ..node("again", "h2", None) };
    let (known, unknown) = (target(), MemberTarget { swarm_node_id: None, ..target() });
    let found = |target: &MemberTarget, members: &[Member]| member(target, members).map(|m| m.swarm_node_id.clone());
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(found(&known, &[down("old"), node(OTHER, "renamed", None)]), id(OTHER));
    assert_eq!(found(&known, &[elsewhere.clone(), down("old")]), id("old"));
    assert_eq!(found(&known, &[elsewhere.clone(), back]), id("again"));
    assert_eq!(found(&known, std::slice::from_ref(&elsewhere)), None, "another host of that name is left alone");
    assert_eq!(found(&unknown, &[down("old"), elsewhere]), id("namesake"));
    assert_eq!(found(&unknown, &[node("x", "h3", None)]), None);
    let gone = sight(&[], 0, Wait::GoesOn, Wait::GoesOn);
    assert_eq!(next(&known, gone, false), Ok(None));
}

#[test]
fn says_what_stands_against_it() {
    let hostname = || target().hostname;
    let lost = QuorumError::Lost { left: 1, others: 2, needed: 2 };
    let lines: Vec<String> = [
        Refusal::OwnHost(hostname()),
        Refusal::Quorum { hostname: hostname(), loss: QuorumError::LastManager },
        Refusal::Quorum { hostname: hostname(), loss: lost },
        Refusal::TasksRunning { hostname: hostname(), tasks: 2 },
        Refusal::NotDemoted(hostname()),
    ]
    .iter()
    .map(|refusal| format!("{}: {refusal}", refusal.code()))
    .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    own-host: `h2` is the controller's own host
    last-manager: the Swarm's managers cannot do without `h2`: it is the last manager of the Swarm
    quorum: the Swarm's managers cannot do without `h2`: 1 of the other 2 managers answer, and the Swarm needs 2 of them to decide
    tasks-running: 2 tasks have not ended on `h2`
    not-demoted: the Swarm has not demoted `h2` yet
    ");
}
