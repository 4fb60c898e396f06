//! The tables that are bounded: what goes when they are full or old.

use super::*;

/// The n-th of many ids.
fn id(n: usize) -> ShortId {
    let [.., a, b, c, d] = n.to_be_bytes();
    ShortId::of_bytes([0, a, b, c, d])
}

#[test]
fn old_tokens_go_with_the_next_command_about_tokens() {
    let mut state = ClusterState::default();
    state.apply(1, &create(token(1, Role::Worker, 0), 1));
    state.apply(2, &create(token(2, Role::Worker, 0), 1));
    let kept = u64::try_from(EXPIRED_TOKENS_KEPT.as_secs()).unwrap();
    let later = |second| Command::RevokeToken { id: short(2), at: at(second) };
    state.apply(3, &later(3600 + kept));
    assert!(state.token(&short(1)).is_some());
    let fresh = TokenTerms { expires_at: at(9_999_999), ..token(3, Role::Worker, 0) };
    assert_eq!(state.apply(4, &create(fresh, 3600 + kept + 1)), Effect::Changed);
    assert_eq!(state.tokens().map(|token| token.terms.id.clone()).collect::<Vec<_>>(), [short(3)]);
    let rows: Vec<bool> =
        state.changes().iter().filter(|row| row.key.starts_with("token/")).map(|row| row.record.is_some()).collect();
    assert_eq!(rows, [false, false, true]);
}

#[test]
fn a_token_id_is_used_once() {
    let mut state = ClusterState::default();
    let first = create(token(1, Role::Worker, 0), 1);
    assert_eq!(state.apply(1, &first), Effect::Changed);
    assert_eq!(state.apply(2, &first), Effect::Unchanged, "the same command twice");
    assert_eq!(state.apply(3, &create(token(1, Role::Manager, 0), 1)), Effect::Refused(Denial::Taken));
    assert_eq!(state.apply(4, &Command::RevokeToken { id: short(9), at: at(1) }), Effect::Refused(Denial::Unknown));
}

#[test]
fn there_are_no_more_tokens_than_may_be() {
    let mut state = ClusterState::default();
    for n in 0..MAX_TOKENS {
        let token = TokenTerms { id: id(n), ..token(1, Role::Worker, 0) };
        assert_eq!(state.apply(n as u64 + 1, &create(token, n as u64 / 10)), Effect::Changed);
    }
    let one_more = |n: usize| create(TokenTerms { id: id(n), ..token(1, Role::Worker, 0) }, 3_000);
    assert_eq!(state.apply(20_000, &one_more(MAX_TOKENS)), Effect::Refused(Denial::Full));
    state.apply(20_001, &Command::RevokeToken { id: id(70), at: at(2_000) });
    state.apply(20_002, &Command::RevokeToken { id: id(50), at: at(2_001) });
    assert_eq!(state.apply(20_003, &one_more(MAX_TOKENS)), Effect::Changed);
    assert!(state.token(&id(50)).is_none() && state.token(&id(70)).is_some(), "the older of the dead ones goes");
    assert_eq!(state.tokens().count(), MAX_TOKENS);
}

#[test]
fn a_node_has_one_request_and_an_id_is_for_what_was_shown() {
    let mut state = ClusterState::default();
    assert_eq!(state.apply(1, &file(1, request(1, 1, 1), 1)), Effect::Changed);
    assert_eq!(state.apply(2, &file(2, request(1, 1, 1), 2)), Effect::Unchanged);
    let as_manager = RequestTerms { role: Some(Role::Manager), ..request(1, 1, 1) };
    assert_eq!(state.apply(3, &file(3, as_manager, 3)), Effect::Changed);
    let only = state.requests().next().unwrap();
    assert_eq!((&only.id, only.terms.role, only.requested_at), (&short(3), Some(Role::Manager), at(3)));
    // Who approves what he saw before approves nothing.
    assert_eq!(state.apply(4, &approve(1, Role::Manager)), Effect::Refused(Denial::Unknown));
    assert_eq!(state.apply(5, &file(3, request(3, 3, 1), 3)), Effect::Refused(Denial::Taken));
    assert_eq!(state.requests().count(), 1);
    // What was decided holds for that name, and for no other.
    state.apply(6, &reject(3));
    assert_eq!(state.apply(7, &file(4, request(1, 1, 1), 4)), Effect::Unchanged);
    assert_eq!(state.apply(8, &file(4, request(2, 1, 1), 9)), Effect::Changed);
    let only = state.requests().next().unwrap();
    assert_eq!((only.word(), &only.id, state.requests().count()), ("pending", &short(4), 1));
}

/// Without a key a name at an address asks, so that nobody takes another's place by saying his name.
#[test]
fn without_keys_addresses_ask() {
    let mut state = ClusterState::default();
    let legacy = |name: u8| {
        let node = node(1, None, name, Role::Worker);
        RequestTerms { node_id: node.id, address: node.address, key: None, ..request(1, 1, 1) }
    };
    state.apply(1, &file(1, legacy(1), 1));
    state.apply(2, &file(2, legacy(2), 2));
    assert_eq!(state.requests().count(), 2);
    state.apply(3, &reject(2));
    state.apply(4, &approve(1, Role::Worker));
    let come = |address| admit(node(1, None, address, Role::Worker), Warrant::Request(short(1)), 5);
    assert_eq!(state.apply(5, &come(2)), Effect::Refused(Denial::NotApproved));
    assert_eq!(state.apply(6, &come(1)), Effect::Changed);
    assert_eq!(state.requests().count(), 0, "with the name all requests for it are settled");
}

#[test]
fn an_address_that_floods_takes_its_own() {
    let mut state = ClusterState::default();
    state.apply(1, &file(0, request(0, 0, 7), 1));
    for n in 1..=u8::try_from(MAX_REQUESTS_OF_ADDRESS).unwrap() + 5 {
        state.apply(1 + u64::from(n), &file(n, request(n, n, 8), 10 + u64::from(n)));
    }
    assert!(state.request(&short(0)).is_some(), "nobody else's");
    assert!((1..=5).all(|n| state.request(&short(n)).is_none()) && state.request(&short(6)).is_some());
    assert_eq!(state.requests().count(), 1 + MAX_REQUESTS_OF_ADDRESS);
    assert!(state.requests().all(|request| state.request_like(&request.terms) == Some(request)));
}

#[test]
fn the_address_with_the_most_requests_gives_way() {
    let mut state = ClusterState::default();
    let many = |n: usize, source: [u8; 4]| {
        let key = KeyFingerprint::of_public_key(&n.to_be_bytes());
        let node_id = NodeId::of_public_key(&n.to_be_bytes());
        RequestTerms { node_id, key: Some(key), source: source.into(), ..request(1, 1, 1) }
    };
    let mut sequence = 0;
    let mut file = |state: &mut ClusterState, n: usize, source| {
        sequence += 1;
        let command = Command::FileRequest { id: id(n), request: many(n, source), at: at(sequence) };
        assert_eq!(state.apply(sequence, &command), Effect::Changed);
    };
    // The honest one came first, and is the oldest.
    file(&mut state, 0, [10, 0, 0, 1]);
    for n in 1..MAX_REQUESTS {
        file(&mut state, n, [10, 1, 0, u8::try_from(n / MAX_REQUESTS_OF_ADDRESS).unwrap()]);
    }
    file(&mut state, MAX_REQUESTS, [10, 0, 0, 2]);
    assert_eq!(state.requests().count(), MAX_REQUESTS);
    assert!(state.request(&id(0)).is_some() && state.request(&id(MAX_REQUESTS)).is_some());
}

#[test]
fn requests_grow_old() {
    let mut state = ClusterState::default();
    let kept = u64::try_from(REQUESTS_KEPT.as_secs()).unwrap();
    state.apply(1, &file(1, request(1, 1, 1), 0));
    state.apply(2, &file(2, request(2, 2, 1), 0));
    let late = Command::DecideRequest {
        id: short(2),
        decision: Decision::Approve { role: Role::Worker, profiles: Vec::new() },
        at: at(kept),
    };
    state.apply(3, &late);
    state.apply(4, &file(3, request(3, 3, 1), kept + 1));
    let left: Vec<ShortId> = state.requests().map(|request| request.id.clone()).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&short(2)) && left.contains(&short(3)), "what was decided is kept from then on");
}

#[test]
fn there_are_no_more_tombstones_than_may_be() {
    let mut state = ClusterState::default();
    for n in 0..=MAX_TOMBSTONES {
        let id = NodeId::of_public_key(&n.to_be_bytes());
        let node = AdmittedNode { id: id.clone(), ..node(1, Some(1), 1, Role::Worker) };
        let (sequence, second) = (n as u64 * 2, n as u64);
        assert_eq!(state.apply(sequence + 1, &admit(node, Warrant::Local, second)), Effect::Changed);
        assert_eq!(state.apply(sequence + 2, &Command::Remove { id, at: at(second) }), Effect::Changed);
    }
    let stone = |n: usize| state.tombstone(&NodeId::of_public_key(&n.to_be_bytes()));
    assert_eq!(state.tombstones().count(), MAX_TOMBSTONES);
    assert!(stone(0).is_none() && stone(1).is_some() && stone(MAX_TOMBSTONES).is_some());
}

#[test]
fn administrators_are_their_keys() {
    let mut state = ClusterState::default();
    let make = |name: &str, key| Command::CreateAdmin { name: name.into(), key: print(key), at: at(1) };
    let revoke = |name: &str, second| Command::RevokeAdmin { name: name.into(), at: at(second) };
    assert_eq!(state.apply(1, &make("ann", 1)), Effect::Changed);
    assert_eq!(state.apply(2, &make("ann", 1)), Effect::Unchanged, "a renewal");
    assert_eq!(state.apply(3, &make("ann", 2)), Effect::Refused(Denial::Taken));
    assert!(state.administers("ann", &print(1)) && !state.administers("ann", &print(2)));
    assert!(!state.administers("bob", &print(1)), "the key of another name");
    assert_eq!(state.apply(4, &revoke("ann", 2)), Effect::Changed);
    assert_eq!(state.apply(5, &revoke("ann", 3)), Effect::Unchanged);
    assert_eq!(state.apply(6, &revoke("bob", 3)), Effect::Refused(Denial::Unknown));
    assert!(!state.administers("ann", &print(1)));
    assert_eq!(state.apply(7, &make("ann", 2)), Effect::Changed);
    assert!(state.administers("ann", &print(2)) && !state.administers("ann", &print(1)));
    for n in 1..MAX_ADMINS {
        assert_eq!(state.apply(10 + n as u64, &make(&format!("a{n}"), 3)), Effect::Changed);
    }
    assert_eq!(state.apply(500, &make("new", 4)), Effect::Refused(Denial::Full));
    state.apply(501, &revoke("a7", 9));
    state.apply(502, &revoke("a5", 8));
    assert_eq!(state.apply(503, &make("new", 4)), Effect::Changed);
    assert!(state.admin("a5").is_none() && state.admin("a7").is_some());
}
