//! Who comes in by what right, and what that uses up.

use super::*;

fn state(commands: &[Command]) -> ClusterState {
    let mut state = ClusterState::default();
    for (n, command) in commands.iter().enumerate() {
        assert_eq!(state.apply(n as u64 + 1, command), Effect::Changed, "{command:?}");
    }
    state
}

fn record(state: &ClusterState, key: u8) -> &NodeRecord {
    state.node(&NodeId::of_public_key(&[key])).unwrap()
}

fn worker(n: u8) -> AdmittedNode {
    node(n, Some(n), n, Role::Worker)
}

fn manager(n: u8) -> AdmittedNode {
    node(n, Some(n), n, Role::Manager)
}

#[test]
fn a_token_admits_as_often_as_it_may() {
    let mut state = state(&[create(token(1, Role::Worker, 1), 1)]);
    let by_token = |node| admit(node, Warrant::Token(short(1)), 10);
    assert_eq!(state.apply(2, &by_token(worker(1))), Effect::Changed);
    assert_eq!(state.apply(3, &by_token(worker(2))), Effect::Refused(Denial::Token));
    // The same node again uses nothing, also with other facts.
    assert_eq!(state.apply(4, &by_token(worker(1))), Effect::Unchanged);
    let changed = AdmittedNode { facts: Facts { cpus: 8, ..worker(1).facts }, ..worker(1) };
    assert_eq!(state.apply(5, &by_token(changed)), Effect::Changed);
    let token = state.token(&short(1)).unwrap();
    assert_eq!((token.used, token.status(at(10))), (1, TokenStatus::UsedUp));
    let node = record(&state, 1);
    assert_eq!((node.granted, &node.admitted_by), (Role::Worker, &Warrant::Token(short(1))));
    assert_eq!(node.profiles, [profile("core")]);
}

#[test]
fn a_use_is_counted_for_those_who_come_in_alone() {
    let mut state = state(&[create(token(1, Role::Worker, 1), 1), admit(worker(1), Warrant::Local, 1)]);
    // The name is taken: nothing is used up.
    let twin = node(1, Some(2), 2, Role::Worker);
    assert!(matches!(state.apply(3, &admit(twin, Warrant::Token(short(1)), 2)), Effect::Conflict(_)));
    assert_eq!(state.token(&short(1)).unwrap().used, 0);
}

#[test]
fn a_token_is_over_by_the_commands_time() {
    let mut state = state(&[create(token(1, Role::Worker, 0), 1), create(token(2, Role::Worker, 0), 1)]);
    let by = |id, second| admit(worker(1), Warrant::Token(short(id)), second);
    assert_eq!(state.apply(3, &Command::RevokeToken { id: short(2), at: at(3) }), Effect::Changed);
    assert_eq!(state.apply(4, &by(2, 4)), Effect::Refused(Denial::Token));
    assert_eq!(state.apply(5, &by(9, 4)), Effect::Refused(Denial::Token));
    assert_eq!(state.apply(6, &by(1, 3599)), Effect::Changed);
    let late = |second| admit(worker(2), Warrant::Token(short(1)), second);
    assert_eq!(state.apply(7, &late(3600)), Effect::Refused(Denial::Token));
    // C16: a clock that was set back does not bring it back.
    assert_eq!(state.apply(8, &late(3599)), Effect::Refused(Denial::Token));
    // A member needs it no more.
    assert_eq!(state.apply(9, &by(1, 9999)), Effect::Unchanged);
}

#[test]
fn a_token_for_one_host_is_for_that_host() {
    let bound = TokenTerms { node: Some(Hostname::parse("h1").unwrap()), ..token(1, Role::Worker, 0) };
    let mut state = state(&[create(bound, 1)]);
    assert_eq!(state.apply(2, &admit(worker(2), Warrant::Token(short(1)), 2)), Effect::Refused(Denial::Token));
    assert_eq!(state.apply(3, &admit(worker(1), Warrant::Token(short(1)), 2)), Effect::Changed);
}

/// T6: whatever is in the command, no role is more than what was granted.
#[test]
fn a_role_needs_its_grant() {
    let mut state = state(&[
        create(token(1, Role::Worker, 0), 1),
        create(token(2, Role::Manager, 1), 1),
        admit(worker(1), Warrant::Token(short(1)), 1),
    ]);
    assert_eq!(state.apply(4, &admit(manager(1), Warrant::Member, 2)), Effect::Refused(Denial::Role));
    assert_eq!(state.apply(5, &admit(manager(1), Warrant::Token(short(1)), 2)), Effect::Refused(Denial::Role));
    assert_eq!(state.apply(6, &admit(manager(1), Warrant::Token(short(2)), 2)), Effect::Changed);
    assert_eq!(state.token(&short(2)).unwrap().used, 1, "being more is a use");
    // Down and up again within what was granted.
    for (sequence, node) in [(7, worker(1)), (8, manager(1))] {
        assert_eq!(state.apply(sequence, &admit(node, Warrant::Member, 3)), Effect::Changed);
    }
    assert_eq!((record(&state, 1).role, record(&state, 1).granted), (Role::Manager, Role::Manager));
}

#[test]
fn members_are_those_on_record() {
    let mut state = ClusterState::default();
    assert_eq!(state.apply(1, &admit(worker(1), Warrant::Member, 1)), Effect::Refused(Denial::NotMember));
    assert_eq!(state.apply(2, &admit(worker(1), Warrant::Open, 1)), Effect::Changed);
    assert_eq!(state.apply(3, &admit(worker(1), Warrant::Member, 1)), Effect::Unchanged);
}

#[test]
fn a_proved_key_is_kept() {
    let mut state = state(&[admit(worker(1), Warrant::Local, 1)]);
    let proves = Command::Admit { node: worker(1), warrant: Warrant::Member, key: Some(print(1)), at: at(2) };
    assert_eq!((record(&state, 1).key, state.apply(2, &proves)), (None, Effect::Changed));
    assert_eq!(state.apply(3, &admit(worker(1), Warrant::Local, 3)), Effect::Unchanged);
    assert_eq!(record(&state, 1).key, Some(print(1)));
}

#[test]
fn an_approval_lets_in_whom_it_names_once() {
    let mut state = state(&[file(1, request(1, 1, 1), 1)]);
    let come = |name: u8, second| admit(node(name, Some(1), 2, Role::Worker), Warrant::Request(short(1)), second);
    assert_eq!(state.apply(2, &come(1, 2)), Effect::Refused(Denial::NotApproved));
    assert_eq!(state.apply(3, &approve(1, Role::Worker)), Effect::Changed);
    assert_eq!(state.apply(4, &come(7, 3)), Effect::Refused(Denial::NotApproved), "another name than was approved");
    let as_manager = admit(node(1, Some(1), 2, Role::Manager), Warrant::Request(short(1)), 3);
    assert_eq!(state.apply(5, &as_manager), Effect::Refused(Denial::Role));
    assert_eq!(state.apply(6, &come(1, 3)), Effect::Changed);
    assert!(state.request(&short(1)).is_none() && state.request_like(&request(1, 1, 1)).is_none());
    assert_eq!(record(&state, 1).profiles, [profile("edge")]);
    // The command twice, as after an answer that was lost.
    assert_eq!(state.apply(7, &come(1, 4)), Effect::Unchanged);
}

#[test]
fn a_decision_can_be_changed_until_the_node_comes() {
    let mut state = state(&[file(1, request(1, 1, 1), 1), reject(1), approve(1, Role::Manager), reject(1)]);
    assert_eq!(state.apply(5, &reject(1)), Effect::Unchanged);
    let come = admit(node(1, Some(1), 2, Role::Worker), Warrant::Request(short(1)), 9);
    assert_eq!(state.apply(6, &come), Effect::Refused(Denial::NotApproved));
    assert_eq!(state.apply(7, &approve(9, Role::Worker)), Effect::Refused(Denial::Unknown));
}

/// Nobody comes with an approval that is years old.
#[test]
fn an_approval_ends() {
    let mut state = state(&[file(1, request(1, 1, 1), 1), approve(1, Role::Worker)]);
    let kept = u64::try_from(REQUESTS_KEPT.as_secs()).unwrap();
    let come = |second| admit(node(1, Some(1), 2, Role::Worker), Warrant::Request(short(1)), second);
    assert_eq!(state.apply(3, &come(5 + kept + 1)), Effect::Refused(Denial::NotApproved));
    assert_eq!(state.apply(4, &file(2, request(1, 1, 1), 5 + kept + 1)), Effect::Changed);
    assert_eq!(state.request(&short(2)).unwrap().word(), "pending");
}

/// Without a key, name and address are all that tells who was approved.
#[test]
fn an_approval_without_a_key_is_for_the_address() {
    let legacy = node(1, None, 2, Role::Worker);
    let terms = RequestTerms { node_id: legacy.id.clone(), key: None, ..request(1, 1, 1) };
    let mut state = state(&[file(1, terms, 1), approve(1, Role::Worker)]);
    let elsewhere = node(1, None, 3, Role::Worker);
    assert_eq!(state.apply(3, &admit(elsewhere, Warrant::Request(short(1)), 2)), Effect::Refused(Denial::NotApproved));
    assert_eq!(state.apply(4, &admit(legacy, Warrant::Request(short(1)), 2)), Effect::Changed);
}

#[test]
fn a_removed_node_needs_to_be_let_in_anew() {
    let id = NodeId::of_public_key(&[1]);
    let mut state = state(&[
        create(token(1, Role::Worker, 0), 1),
        admit(worker(1), Warrant::Open, 1),
        file(1, request(1, 1, 1), 1),
        Command::Remove { id: id.clone(), at: at(2) },
    ]);
    assert_eq!(state.tombstone(&id).unwrap().hostname.as_str(), "h1");
    assert!(state.request_like(&request(1, 1, 1)).is_none(), "what it asked for before is over as well");
    assert_eq!(state.apply(5, &admit(worker(1), Warrant::Open, 3)), Effect::Refused(Denial::Removed));
    assert_eq!(state.apply(6, &admit(worker(1), Warrant::Member, 3)), Effect::Refused(Denial::NotMember));
    // What it has in hand does not bring it back; what was made for it afterwards does.
    assert_eq!(state.apply(7, &admit(worker(1), Warrant::Token(short(1)), 3)), Effect::Refused(Denial::Removed));
    assert_eq!(state.token(&short(1)).unwrap().used, 0);
    for (sequence, id, second) in [(8, 2, 2), (10, 3, 3)] {
        assert_eq!(state.apply(sequence, &create(token(id, Role::Worker, 0), second)), Effect::Changed);
    }
    assert_eq!(state.apply(11, &admit(worker(1), Warrant::Token(short(2)), 4)), Effect::Refused(Denial::Removed));
    assert_eq!(state.apply(12, &admit(worker(1), Warrant::Token(short(3)), 4)), Effect::Changed);
    assert!(state.tombstone(&id).is_none());
    // One that left by itself is a stranger.
    assert_eq!(state.apply(13, &Command::Deregister { id: id.clone(), at: at(4) }), Effect::Changed);
    assert!(state.tombstone(&id).is_none());
    // One without a key is its name, which is free again.
    assert_eq!(state.apply(14, &register(node(5, None, 5, Role::Worker))), Effect::Changed);
    let legacy = NodeId::of_legacy(&Hostname::parse("h5").unwrap());
    assert_eq!(state.apply(15, &Command::Remove { id: legacy.clone(), at: at(5) }), Effect::Changed);
    assert!(state.tombstone(&legacy).is_none() && state.node(&legacy).is_none());
}

/// On its way out a node is nobody's member, and is on record until it is gone.
#[test]
fn an_expelled_node_is_known_and_no_member() {
    let id = NodeId::of_public_key(&[1]);
    let mut state = state(&[
        create(token(1, Role::Worker, 0), 1),
        admit(manager(1), Warrant::Local, 1),
        file(1, request(1, 1, 1), 1),
        Command::Expel { id: id.clone(), at: at(2) },
    ]);
    assert!(state.node(&id).is_some() && state.member(&id).is_none() && state.is_leaving(&id));
    assert_eq!(state.apply(5, &Command::Expel { id: id.clone(), at: at(3) }), Effect::Unchanged);
    assert_eq!(state.tombstone(&id).unwrap().removed_at, at(2), "a token of meanwhile counts as made afterwards");
    assert!(state.request_like(&request(1, 1, 1)).is_none(), "what it asked for is over");
    assert_eq!(state.apply(6, &admit(manager(1), Warrant::Member, 3)), Effect::Refused(Denial::NotMember));
    assert_eq!(state.apply(7, &admit(manager(1), Warrant::Open, 3)), Effect::Refused(Denial::Removed));
    assert_eq!(state.apply(8, &admit(worker(1), Warrant::Token(short(1)), 3)), Effect::Refused(Denial::Removed));
    // Whoever changes his mind lets it in anew, as what he says now.
    assert_eq!(state.apply(9, &create(token(2, Role::Worker, 0), 3)), Effect::Changed);
    assert_eq!(state.apply(10, &admit(manager(1), Warrant::Token(short(2)), 4)), Effect::Refused(Denial::Role));
    assert_eq!(state.apply(11, &admit(worker(1), Warrant::Token(short(2)), 4)), Effect::Changed);
    assert_eq!(state.member(&id).unwrap().granted, Role::Worker, "what it was granted before is over");
    assert!(!state.is_leaving(&id));
    // In the end it is gone like any other.
    state.apply(12, &Command::Expel { id: id.clone(), at: at(5) });
    assert_eq!(state.apply(13, &Command::Remove { id: id.clone(), at: at(6) }), Effect::Changed);
    assert!(state.node(&id).is_none() && state.tombstone(&id).unwrap().removed_at == at(6));
    // One without a key leaves no trace.
    let legacy = NodeId::of_legacy(&Hostname::parse("h5").unwrap());
    state.apply(14, &register(node(5, None, 5, Role::Worker)));
    assert_eq!(state.apply(15, &Command::Expel { id: legacy.clone(), at: at(7) }), Effect::Changed);
    assert!(state.is_leaving(&legacy));
    state.apply(16, &Command::Remove { id: legacy.clone(), at: at(8) });
    assert!(state.tombstone(&legacy).is_none() && state.node(&legacy).is_none());
}

/// A host name gets a new key, and nothing else passes on.
#[test]
fn a_replaced_node_leaves_its_name_alone() {
    let (old, other) = (NodeId::of_public_key(&[1]), node(1, Some(2), 1, Role::Worker));
    let mut state = state(&[
        Command::ConfigureStorage { storage: Some(storage_record()) },
        create(TokenTerms { expires_at: at(1_000_000), ..token(1, Role::Worker, 0) }, 1),
        admit(manager(1), Warrant::Local, 1),
    ]);
    let come = admit(other, Warrant::Token(short(1)), 5);
    assert!(matches!(state.apply(4, &come), Effect::Conflict(Conflict::Hostname { .. })));
    assert_eq!(state.apply(5, &Command::AllowReplacement { id: old.clone(), at: at(2) }), Effect::Changed);
    assert_eq!(state.apply(6, &Command::AllowReplacement { id: old.clone(), at: at(3) }), Effect::Unchanged);
    let day = u64::try_from(REPLACEABLE_FOR.as_secs()).unwrap();
    let late = admit(node(1, Some(2), 1, Role::Worker), Warrant::Open, 3 + day);
    assert!(matches!(state.apply(6, &late), Effect::Conflict(_)), "it was said for a day");
    // The old node may come again until then.
    let again = AdmittedNode { facts: Facts { cpus: 2, ..manager(1).facts }, ..manager(1) };
    assert_eq!(state.apply(7, &admit(again, Warrant::Member, 4)), Effect::Changed);
    assert_eq!(state.apply(8, &come), Effect::Changed);
    let new = record(&state, 2);
    assert_eq!((new.role, new.granted, new.ordinal, new.registered_at), (Role::Worker, Role::Worker, 8, at(5)));
    assert!(state.node(&old).is_none() && state.tombstone(&old).is_some() && new.replaceable_since.is_none());
    assert_eq!(state.counts(), RoleCounts { managers: 0, workers: 1 });
    // Once, and not for whoever comes next.
    let third = node(1, Some(3), 1, Role::Worker);
    assert!(matches!(state.apply(9, &admit(third, Warrant::Token(short(1)), 6)), Effect::Conflict(_)));
}

/// A freed name is for a host that is let in, and for no member.
#[test]
fn a_member_takes_no_freed_name() {
    let old = NodeId::of_public_key(&[1]);
    let mut state = state(&[
        create(token(1, Role::Worker, 0), 1),
        admit(manager(1), Warrant::Local, 1),
        admit(worker(2), Warrant::Open, 1),
        register(node(5, None, 5, Role::Worker)),
        Command::AllowReplacement { id: old.clone(), at: at(2) },
    ]);
    let as_first = node(1, Some(2), 2, Role::Worker);
    let as_legacy = node(5, Some(2), 5, Role::Worker);
    for (sequence, warrant) in [(6, Warrant::Member), (8, Warrant::Open), (10, Warrant::Token(short(1)))] {
        for (offset, node) in [&as_first, &as_legacy].into_iter().enumerate() {
            let effect = state.apply(sequence + offset as u64, &admit(node.clone(), warrant.clone(), 3));
            assert!(matches!(effect, Effect::Conflict(Conflict::Hostname { .. })), "{warrant:?} {effect:?}");
        }
    }
    assert!(state.node(&old).is_some() && state.node(&NodeId::of_legacy(&as_legacy.hostname)).is_some());
    // A name that nobody holds is free for members too.
    assert_eq!(state.apply(12, &admit(node(7, Some(2), 2, Role::Worker), Warrant::Member, 3)), Effect::Changed);
}

/// A host that moves over to a client with a key is where it was.
#[test]
fn a_host_moves_over_at_its_address() {
    let mut state = state(&[register(node(5, None, 5, Role::Worker))]);
    let elsewhere = admit(node(5, Some(6), 6, Role::Worker), Warrant::Open, 2);
    assert!(matches!(state.apply(2, &elsewhere), Effect::Conflict(Conflict::Hostname { .. })));
    assert_eq!(state.apply(3, &admit(node(5, Some(6), 5, Role::Worker), Warrant::Open, 2)), Effect::Changed);
    // Commands of the first version are what they were.
    assert_eq!(state.apply(4, &register(node(7, None, 7, Role::Worker))), Effect::Changed);
    assert_eq!(state.apply(5, &register(node(7, Some(8), 8, Role::Worker))), Effect::Changed);
}

/// A token for one host name is for no other name, now or later.
#[test]
fn a_name_that_was_granted_stays() {
    let bound = TokenTerms { node: Some(Hostname::parse("h1").unwrap()), ..token(1, Role::Worker, 0) };
    let mut state =
        state(&[create(bound, 1), create(token(2, Role::Worker, 0), 1), admit(worker(1), Warrant::Token(short(1)), 1)]);
    let renamed = || node(9, Some(1), 1, Role::Worker);
    assert_eq!(state.apply(4, &admit(renamed(), Warrant::Member, 2)), Effect::Refused(Denial::NotMember));
    assert_eq!(state.apply(5, &admit(renamed(), Warrant::Token(short(1)), 2)), Effect::Refused(Denial::Token));
    assert_eq!(state.apply(6, &admit(renamed(), Warrant::Token(short(2)), 2)), Effect::Changed);
    assert_eq!(state.token(&short(2)).unwrap().used, 1);
    // By a token for any name, it may have another one.
    assert_eq!(state.apply(7, &admit(worker(1), Warrant::Member, 2)), Effect::Changed);
}
