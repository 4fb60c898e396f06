//! Every rule, case by case: what is decided in the modes `token`, `approve` and `open`.

use super::*;

/// What each mode decides about a registration on TLS from 10.0.0.9, which is where the nodes of these tests are.
fn tls(cluster: &Cluster, registration: &Registration, proof: &Proof) -> [String; 3] {
    let address = registration.address.map_or([10, 0, 0, 9].into(), std::net::IpAddr::from);
    MODES.map(|mode| word(&cluster.judge(mode, registration, Caller::Tls(address, proof))))
}

fn clear(cluster: &Cluster, registration: &Registration, source: [u8; 4]) -> [String; 3] {
    MODES.map(|mode| word(&cluster.judge(mode, registration, Caller::Clear(source.into()))))
}

#[test]
fn strangers() {
    let cluster = Cluster::default();
    let asks = |role| Registration { role, ..registration("h9", 9) };
    assert_eq!(tls(&cluster, &asks(None), &proof("h9")), ["pending", "pending", "open worker"]);
    assert_eq!(tls(&cluster, &asks(Some(Role::Manager)), &proof("h9")), ["pending", "pending", "open manager"]);
    assert_eq!(clear(&cluster, &legacy("h9", 9), [10, 0, 0, 9]), ["pending", "pending", "open worker"]);
}

#[test]
fn holders_of_a_token() {
    let mut cluster = Cluster::default();
    let (worker, manager) = (cluster.token(1, Role::Worker), cluster.token(2, Role::Manager));
    let brings = |role, token: &JoinToken| Registration { role, token: presented(token), ..registration("h9", 9) };
    let judge = |role, token| tls(&cluster, &brings(role, token), &proof("h9"));
    assert_eq!(judge(None, &worker), ["token worker", "pending", "token worker"]);
    assert_eq!(judge(None, &manager), ["token manager", "pending", "token manager"], "asking for nothing takes it all");
    assert_eq!(judge(Some(Role::Worker), &manager), ["token worker", "pending", "token worker"], "less is fine");
    assert_eq!(judge(Some(Role::Manager), &worker), ["role-not-granted", "role-not-granted", "open manager"]);
    let wrong = JoinToken { secret: crate::cluster::TokenSecret::of_bytes([9; 16]), ..worker.clone() };
    assert_eq!(judge(None, &wrong), ["token-refused"; 3]);
}

/// One answer, byte for byte, whatever is wrong with a token.
#[test]
fn all_bad_tokens_are_refused_alike() {
    use crate::controller::tokens::TokenFault;
    let faults = [
        TokenFault::Unknown,
        TokenFault::WrongSecret,
        TokenFault::Revoked,
        TokenFault::Expired,
        TokenFault::UsedUp,
        TokenFault::OtherNode,
        TokenFault::AuthorityReplaced,
    ];
    let answers: std::collections::BTreeSet<(&str, String, String)> = faults
        .into_iter()
        .map(Refusal::Token)
        .map(|refusal| (refusal.code(), refusal.to_string(), refusal.hint()))
        .collect();
    assert_eq!(answers.len(), 1);
}

#[test]
fn approved_and_rejected() {
    let asks = |role| Registration { role, ..registration("h9", 9) };
    for mode in [Admission::Token, Admission::Approve] {
        let mut cluster = Cluster::default();
        let proof = proof("h9");
        let caller = Caller::Tls([10, 0, 0, 9].into(), &proof);
        assert_eq!(word(&cluster.register(mode, &asks(None), caller)), "pending");
        assert_eq!(word(&cluster.judge(mode, &asks(None), caller)), "still pending");
        // Another role is another request, under another id.
        assert_eq!(word(&cluster.judge(mode, &asks(Some(Role::Manager)), caller)), "pending");
        cluster.decide("h9", Decision::Reject { reason: "who are you?".to_owned() });
        let refused = cluster.judge(mode, &asks(None), caller);
        assert!(matches!(&refused, Verdict::Refuse(Refusal::Rejected { reason }) if reason == "who are you?"));
        cluster.decide("h9", approve(Role::Worker));
        assert_eq!(word(&cluster.judge(mode, &asks(None), caller)), "request worker");
        assert_eq!(word(&cluster.judge(mode, &asks(Some(Role::Manager)), caller)), "role-not-granted");
        // Another name than the one that was approved.
        let renamed = Registration { who: Identity { hostname: host("db1"), ..asks(None).who }, ..asks(None) };
        assert_eq!(word(&cluster.judge(mode, &renamed, caller)), "pending");
        // An approval counts more than a token that has gone bad meanwhile.
        let token = presented(&Cluster::default().token(7, Role::Worker));
        assert_eq!(word(&cluster.judge(mode, &Registration { token, ..asks(None) }, caller)), "request worker");
        cluster.decide("h9", approve(Role::Manager));
        assert_eq!(word(&cluster.register(mode, &asks(None), caller)), "request manager");
        assert_eq!(word(&cluster.judge(mode, &asks(None), caller)), "member manager");
    }
}

/// A good token is stronger than a rejection where tokens are enough, and no weaker where they are not.
#[test]
fn a_token_after_a_rejection() {
    for (mode, expected) in [(Admission::Token, "token worker"), (Admission::Approve, "request-rejected")] {
        let mut cluster = Cluster::default();
        let token = cluster.token(1, Role::Worker);
        let proof = proof("h9");
        let caller = Caller::Tls([10, 0, 0, 9].into(), &proof);
        cluster.register(mode, &registration("h9", 9), caller);
        cluster.decide("h9", Decision::Reject { reason: String::new() });
        let brings = Registration { token: presented(&token), ..registration("h9", 9) };
        assert_eq!(word(&cluster.judge(mode, &brings, caller)), expected);
    }
}

#[test]
fn members() {
    let mut cluster = Cluster::default();
    let manager_token = cluster.token(1, Role::Manager);
    cluster.member("w1", 1, Role::Worker);
    cluster.member("m2", 2, Role::Manager);
    let asks = |name, last, role| Registration { role, ..registration(name, last) };
    let judge = |name, last, role| tls(&cluster, &asks(name, last, role), &proof(name));
    assert_eq!(judge("w1", 1, None), ["member worker"; 3]);
    assert_eq!(judge("m2", 2, None), ["member manager"; 3]);
    assert_eq!(judge("m2", 2, Some(Role::Worker)), ["member worker"; 3]);
    assert_eq!(judge("w1", 1, Some(Role::Manager)), ["role-not-granted", "role-not-granted", "open manager"]);
    // A certificate that is over, or of another role, is as good as the key that it is for.
    let over = Validity::Outside { limit: now() };
    assert_eq!(tls(&cluster, &asks("w1", 1, None), &certified("w1", Role::Worker, over)), ["member worker"; 3]);
    let valid = certified("w1", Role::Manager, Validity::Valid);
    assert_eq!(tls(&cluster, &asks("w1", 1, Some(Role::Manager)), &valid)[0], "role-not-granted");
    // Whatever token a member shows is not looked at, unless it needs one.
    let brings = |role, token| Registration { token, ..asks("w1", 1, role) };
    let bad = presented(&Cluster::default().token(9, Role::Worker));
    assert_eq!(tls(&cluster, &brings(None, bad.clone()), &proof("w1")), ["member worker"; 3]);
    assert_eq!(tls(&cluster, &brings(Some(Role::Manager), bad), &proof("w1")), ["token-refused"; 3]);
    let good = presented(&manager_token);
    let raised = tls(&cluster, &brings(Some(Role::Manager), good), &proof("w1"));
    assert_eq!(raised, ["token manager", "pending", "token manager"]);
}

#[test]
fn removed_nodes() {
    let mut cluster = Cluster::default();
    let second = SignedDuration::from_secs(1);
    let old = [cluster.token_made(1, Role::Worker, now() - second), cluster.token_made(2, Role::Manager, now())];
    cluster.member("h9", 9, Role::Worker);
    cluster.apply(&Command::Remove { id: key("h9").node_id, at: now() });
    let certificate = certified("h9", Role::Worker, Validity::Valid);
    assert_eq!(tls(&cluster, &registration("h9", 9), &certificate), ["node-removed"; 3]);
    let removed = Refusal::Removed { hostname: host("h9") };
    assert!(removed.hint().contains("a new token") && removed.hint().contains("token from before"));
    // It has the token that it came with, and may have others that were there then.
    for token in &old {
        let brings = Registration { token: presented(token), ..registration("h9", 9) };
        assert_eq!(tls(&cluster, &brings, &certificate), ["node-removed"; 3]);
        assert_eq!(
            tls(&cluster, &Registration { who: registration("x", 9).who, ..brings }, &proof("x"))[2].split(' ').next(),
            Some("token"),
            "for others it is as good as before"
        );
    }
    let token = cluster.token_made(3, Role::Worker, now() + second);
    let brings = Registration { token: presented(&token), ..registration("h9", 9) };
    assert_eq!(tls(&cluster, &brings, &certificate), ["token worker", "pending", "token worker"]);
    // Its name and its address are free.
    assert_eq!(
        tls(&cluster, &Registration { who: registration("x", 9).who, ..brings }, &proof("x"))[0],
        "token worker"
    );
}

/// T6: who one is follows from the key.
#[test]
fn identity_is_the_key() {
    let mut cluster = Cluster::default();
    let token = cluster.token(1, Role::Worker);
    cluster.member("h1", 1, Role::Worker);
    let own = Registration { token: presented(&token), ..registration("h9", 9) };
    let claims_other = Registration { who: registration("h1", 1).who, ..own.clone() };
    assert_eq!(tls(&cluster, &claims_other, &proof("h9")), ["key-mismatch"; 3]);
    assert_eq!(tls(&cluster, &own, &Proof::Nothing), ["key-required"; 3]);
    let twin = Registration { who: Identity { hostname: host("h1"), ..own.who.clone() }, ..own.clone() };
    assert_eq!(tls(&cluster, &twin, &proof("h9")), ["hostname-taken"; 3]);
    let twin = Registration { address: Some(address(1)), ..own.clone() };
    assert_eq!(tls(&cluster, &twin, &proof("h9")), ["address-taken"; 3]);
    let silent = Registration { who: Identity { node_id: None, ..own.who.clone() }, ..own };
    let Verdict::Admit { node, key, .. } =
        cluster.judge(Admission::Token, &silent, Caller::Tls([10, 0, 0, 9].into(), &proof("h9")))
    else {
        panic!("it need not say what its key says")
    };
    assert_eq!((node.id, node.keyed, key), (self::key("h9").node_id, true, Some(self::key("h9").fingerprint)));
}

/// In clear text nobody proves a key, so that nobody may say that he has one, except where everybody is let in anyway.
#[test]
fn clear_text() {
    let mut cluster = Cluster::default();
    cluster.member("h1", 1, Role::Worker);
    let from = |last| [10, 0, 0, last];
    assert_eq!(clear(&cluster, &registration("h1", 1), from(1)), ["key-required"; 3], "its key is on record");
    let claims = ["key-required", "key-required", "open worker"];
    assert_eq!(clear(&cluster, &registration("h9", 9), from(9)), claims);
    assert_eq!(clear(&cluster, &legacy("h1", 9), from(9)), ["hostname-taken"; 3]);
    let elsewhere = ["address-mismatch"; 3];
    assert_eq!(clear(&cluster, &legacy("h9", 9), from(8)), elsewhere);
    // Every user of the controller's host speaks from loopback.
    let local = ["address-mismatch", "address-mismatch", "open worker"];
    assert_eq!(clear(&cluster, &legacy("h9", 9), [127, 0, 0, 1]), local);
}

/// A client without a key is its name at its address, once it is let in.
#[test]
fn legacy_members() {
    let mut cluster = Cluster::default();
    let (mode, at) = (Admission::Token, |last| Caller::Clear([10, 0, 0, last].into()));
    cluster.register(mode, &legacy("old", 9), at(9));
    let id = NodeId::of_legacy(&host("old"));
    let request = cluster.request_of(&id);
    let decision = approve(Role::Worker);
    cluster.apply(&Command::DecideRequest { id: request, decision, at: now() });
    assert_eq!(word(&cluster.judge(mode, &legacy("old", 8), at(8))), "pending", "somebody else says the name");
    assert_eq!(word(&cluster.register(mode, &legacy("old", 9), at(9))), "request worker");
    assert_eq!(word(&cluster.judge(mode, &legacy("old", 9), at(9))), "member worker");
    assert_eq!(word(&cluster.judge(mode, &legacy("old", 8), at(8))), "pending");
    let asks = Registration { role: Some(Role::Manager), ..legacy("old", 9) };
    assert_eq!(word(&cluster.judge(mode, &asks, at(9))), "role-not-granted");
    // The host moves over to a client with a key, which has to be let in like any other.
    let moved = Registration {
        who: Identity { hostname: host("old"), ..registration("new", 9).who },
        ..registration("new", 9)
    };
    assert_eq!(tls(&cluster, &moved, &proof("new")), ["pending", "pending", "open worker"]);
}

#[test]
fn the_controllers_own_host() {
    let mut cluster = Cluster::default();
    let own = Registration { role: Some(Role::Manager), ..registration("h1", 1) };
    for mode in MODES {
        assert_eq!(word(&cluster.judge(mode, &own, Caller::Local)), "local manager");
    }
    let loopback = NodeAddress::parse("127.0.0.1").ok();
    let alone = Registration { address: loopback, ..own.clone() };
    assert_eq!(tls(&cluster, &alone, &proof("h1")), ["loopback-address"; 3]);
    cluster.register(Admission::Token, &alone, Caller::Local);
    let caller_proof = proof("h1");
    let joins = cluster.judge(
        Admission::Token,
        &Registration { role: None, ..alone },
        Caller::Tls([127, 0, 0, 1].into(), &caller_proof),
    );
    assert_eq!(word(&joins), "member manager", "it was registered so by root");
    // A removed one is let in again: root said so.
    cluster.apply(&Command::Remove { id: key("h1").node_id, at: now() });
    assert_eq!(word(&cluster.register(Admission::Token, &own, Caller::Local)), "local manager");
}

/// T12: a proved node may sit behind a router; with open admission nothing vouches for an address but the connection,
/// and nothing else ever does for one that a container has on every host.
#[test]
fn addresses() {
    let mut cluster = Cluster::default();
    let token = cluster.token(1, Role::Worker);
    let brings = Registration { token: presented(&token), ..registration("h9", 9) };
    let proof = proof("h9");
    let judge = |claimed: Option<&str>, source: &str| {
        let address = claimed.map(|claimed| NodeAddress::parse(claimed).unwrap());
        let registration = Registration { address, ..brings.clone() };
        [Admission::Token, Admission::Open].map(|mode| {
            match cluster.judge(mode, &registration, Caller::Tls(source.parse().unwrap(), &proof)) {
                Verdict::Admit { node, .. } => node.address.to_string(),
                other => word(&other),
            }
        })
    };
    assert_eq!(judge(Some("10.0.0.9"), "192.168.7.1"), ["10.0.0.9", "address-mismatch"]);
    assert_eq!(judge(Some("10.0.0.9"), "::ffff:10.0.0.9"), ["10.0.0.9", "10.0.0.9"]);
    assert_eq!(judge(Some("10.0.0.9"), "127.0.0.1"), ["10.0.0.9", "10.0.0.9"]);
    assert_eq!(judge(None, "10.0.0.7"), ["10.0.0.7", "10.0.0.7"]);
    assert_eq!(judge(None, "127.0.0.1"), ["bad-address", "bad-address"]);
    assert_eq!(judge(Some("127.0.0.1"), "10.0.0.7"), ["loopback-address", "loopback-address"]);
    assert_eq!(judge(Some("172.17.0.2"), "10.0.0.7"), ["address-mismatch", "address-mismatch"]);
    assert_eq!(judge(Some("172.17.0.2"), "172.17.0.2"), ["172.17.0.2", "172.17.0.2"]);
    assert_eq!(judge(Some("172.18.0.2"), "10.0.0.7"), ["172.18.0.2", "address-mismatch"], "anybody's network");
}

#[test]
fn clocks_and_numbers() {
    let mut cluster = Cluster::default();
    cluster.member("h1", 1, Role::Worker);
    let late =
        |seconds| Registration { sent_at: Some(now() + SignedDuration::from_secs(seconds)), ..registration("h9", 9) };
    for seconds in [301, -301, 100_000_000] {
        assert_eq!(tls(&cluster, &late(seconds), &proof("h9")), ["clock-skew"; 3]);
    }
    assert_eq!(tls(&cluster, &late(-300), &proof("h9"))[2], "open worker");
    let policy = Policy { admission: Admission::Token, plaintext: false, max_nodes: 1 };
    let full = |name: &str, last: u8| {
        let (proof, rules) = (proof(name), Rules { policy, authorities: &[], now: now() });
        word(&admit(&cluster.state, &rules, &registration(name, last), Caller::Tls([10, 0, 0, last].into(), &proof)))
    };
    assert_eq!((full("h1", 1), full("h9", 9)), ("member worker".to_owned(), "too-many-nodes".to_owned()));
}

#[test]
fn host_names_that_may_be_taken_over() {
    let mut cluster = Cluster::default();
    let token = cluster.token(1, Role::Worker);
    cluster.member("h1", 1, Role::Manager);
    cluster.apply(&Command::AllowReplacement { id: key("h1").node_id, at: now() });
    let new =
        Registration { who: Identity { hostname: host("h1"), ..registration("new", 1).who }, ..registration("new", 1) };
    assert_eq!(tls(&cluster, &new, &proof("new")), ["pending", "pending", "open worker"], "it still has to be let in");
    let brings = Registration { token: presented(&token), ..new };
    let proof = proof("new");
    let caller = Caller::Tls([10, 0, 0, 1].into(), &proof);
    assert_eq!(word(&cluster.register(Admission::Token, &brings, caller)), "token worker");
    assert_eq!(tls(&cluster, &registration("h1", 1), &self::proof("h1"))[0], "node-removed");
}

/// Whom a caller speaks for that says it is the node of that name.
fn ask(cluster: &Cluster, admission: Admission, name: &str, caller: Caller<'_>) -> String {
    let policy = Policy { admission, plaintext: true, max_nodes: 50 };
    match speaks_for(&cluster.state, policy, &registration(name, 1).who, caller) {
        Ok(Standing::Member(id)) => format!("member {}", id == key(name).node_id),
        Ok(Standing::Stranger(_)) => "stranger".to_owned(),
        Err(refusal) => refusal.code().to_owned(),
    }
}

/// Who speaks for whom when it asks or leaves.
#[test]
fn questions() {
    let mut cluster = Cluster::default();
    cluster.member("h1", 1, Role::Worker);
    cluster.member("gone", 2, Role::Worker);
    cluster.apply(&Command::Remove { id: key("gone").node_id, at: now() });
    let elsewhere = [192, 168, 1, 1].into();
    for mode in MODES {
        let with = |name, proof: &Proof| ask(&cluster, mode, name, Caller::Tls(elsewhere, proof));
        assert_eq!(with("h1", &certified("h1", Role::Worker, Validity::Valid)), "member true", "wherever it is");
        assert_eq!(with("h1", &proof("h1")), "member true");
        assert_eq!(
            with("h1", &certified("h1", Role::Worker, Validity::Outside { limit: now() })),
            "certificate-expired"
        );
        assert_eq!(with("h1", &proof("other")), "key-mismatch");
        assert_eq!(with("h1", &Proof::Nothing), "key-required");
        assert_eq!(with("gone", &certified("gone", Role::Worker, Validity::Valid)), "node-removed");
        assert_eq!(with("new", &proof("new")), "stranger");
        assert_eq!(ask(&cluster, mode, "h1", Caller::Local), "member true");
        assert_eq!(ask(&cluster, mode, "h1", Caller::Clear([10, 0, 0, 1].into())), "key-required");
    }
}

#[test]
fn clear_text_is_for_private_networks() {
    let answered = |plaintext, source: &str| {
        let policy = Policy { admission: Admission::Open, plaintext, max_nodes: 1 };
        answers_clear_text(policy, source.parse().unwrap())
    };
    for source in ["127.0.0.1", "10.1.2.3", "100.64.0.1", "::ffff:10.0.0.1", "::1"] {
        assert!(answered(true, source) && !answered(false, source), "{source}");
    }
    for source in ["8.8.8.8", "172.32.0.1", "169.254.1.1", "2001:db8::1"] {
        assert!(!answered(true, source), "{source}");
    }
}

#[test]
fn certificates_that_are_due() {
    let id = key("h1").node_id;
    let due = |proof: &Proof| needs_certificate(proof, &id, Role::Worker);
    assert!(!due(&certified("h1", Role::Worker, Validity::Valid)));
    assert!(due(&certified("h1", Role::Manager, Validity::Valid)), "its role has changed");
    assert!(due(&certified("h1", Role::Worker, Validity::RenewalDue)));
    assert!(due(&certified("h1", Role::Worker, Validity::Outside { limit: now() })));
    assert!(due(&proof("h1")) && due(&Proof::Nothing));
    let admin = Subject::Admin { name: "ann".to_owned() };
    assert!(due(&Proof::Certified { key: key("h1"), subject: admin, validity: Validity::Valid }));
}

#[test]
fn what_lets_in_more_is_said() {
    let warning = |admission, plaintext| Policy { admission, plaintext, max_nodes: 1 }.warning();
    assert_eq!((warning(Admission::Token, false), warning(Admission::Approve, false)), (None, None));
    let lines = [warning(Admission::Open, false), warning(Admission::Open, true), warning(Admission::Token, true)];
    assert!(lines.iter().all(|line| line.is_some_and(|line| line.contains("Swarm"))), "{lines:?}");
}

/// Nobody takes the name of another who has not been let in for it.
#[test]
fn members_and_other_names() {
    let mut cluster = Cluster::default();
    let bound = {
        let grant = Grant { role: Some(Role::Worker), profiles: Vec::new() };
        let pin = KeyFingerprint::of_public_key(b"ca");
        let (token, command) = new_token([5; 21], &grant, Some(host("w1")), 0, SignedDuration::ZERO, pin, now());
        cluster.apply(&command);
        token
    };
    let free = cluster.token(6, Role::Worker);
    cluster.member("m1", 1, Role::Manager);
    cluster.member("x3", 3, Role::Worker);
    let brings = Registration { token: presented(&bound), ..registration("w1", 2) };
    let proof = proof("w1");
    let caller = Caller::Tls([10, 0, 0, 2].into(), &proof);
    assert_eq!(word(&cluster.register(Admission::Token, &brings, caller)), "token worker");
    cluster.apply(&Command::AllowReplacement { id: key("m1").node_id, at: now() });
    let called = |name: &str, own: &str, last, token: Option<&JoinToken>| Registration {
        who: Identity { hostname: host(name), ..registration(own, last).who },
        token: token.and_then(presented),
        role: Some(Role::Worker),
        ..registration(own, last)
    };
    for token in [None, Some(&free)] {
        let verdicts = tls(&cluster, &called("m1", "x3", 3, token), &self::proof("x3"));
        assert_eq!(verdicts, ["hostname-taken"; 3]);
    }
    assert_eq!(tls(&cluster, &called("y", "x3", 3, None), &self::proof("x3")), ["member worker"; 3]);
    // One that was let in as `w1` asks again to be let in as another.
    assert_eq!(tls(&cluster, &called("y", "w1", 2, None), &proof), ["pending", "pending", "open worker"]);
    assert_eq!(tls(&cluster, &called("y", "w1", 2, Some(&bound)), &proof), ["token-refused"; 3]);
    assert_eq!(tls(&cluster, &called("y", "w1", 2, Some(&free)), &proof), ["token worker", "pending", "token worker"]);
}
