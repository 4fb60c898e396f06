//! Tokens: made, used, used up, and refused without a word too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clusterctl::cluster::{Admission, JoinToken};
use jiff::{SignedDuration, Timestamp};

use super::door::*;
use super::*;

async fn door() -> Door {
    Door::open(Setup::new(Admission::Token)).await
}

/// A good token admits at once, and the reply carries all that a node needs: certificate, CAs, time, Swarm.
#[tokio::test]
async fn a_token_admits_at_once() {
    let door = door().await;
    let token = door.token(json!({"Profiles": ["core", "edge"]})).await;
    let reply = door.register("h2", 2, json!({"Token": token})).await;
    assert_eq!((&reply["Status"], &reply["SwarmRole"]), (&json!("ready"), &json!("worker")), "{reply}");
    assert!(reply["SwarmJoinToken"].as_str().unwrap().starts_with("SWMTKN-"));
    assert_eq!(reply["OverlayPayload"], OVERLAY_SECRET);
    assert_eq!(reply["Certificate"], format!("CERTIFICATE node {} worker", key("h2").node_id));
    assert!(reply["Authorities"].as_str().unwrap().starts_with("CA "));
    assert_eq!(reply["ServerTime"], door.now().to_string());
    let row = door.row("h2").await;
    assert_eq!((&row["Profiles"], &row["Key"]), (&json!(["core", "edge"]), &json!(key("h2").fingerprint)));
    assert_eq!(row["LastSeen"], door.now().to_string());
    // With its certificate it needs no token, gets no other certificate, and writes nothing.
    let before = door.sequence();
    let again = certified("h2", 2, clusterctl::cluster::Role::Worker, clusterctl::cluster::Validity::Valid);
    let reply = door.ask(&registration("h2", 2), again).await;
    assert_eq!((&reply["Status"], reply.get("Certificate")), (&json!("ready"), None));
    assert_eq!((door.sequence(), door.authority.issued().len()), (before, 1));
}

/// Of two that come with the last use of a token at the same moment, one is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_is_for_one() {
    let door = Arc::new(door().await);
    for round in 0..20_u8 {
        let token = door.token(json!({"Uses": 1})).await;
        let mut joins = tokio::task::JoinSet::new();
        for n in 0..3_u8 {
            let (door, token) = (Arc::clone(&door), token.clone());
            let last = 10 + round * 3 + n;
            joins.spawn(async move { door.register(&format!("n{last}"), last, json!({"Token": token})).await });
        }
        let replies = joins.join_all().await;
        let admitted = replies.iter().filter(|reply| reply["Status"] == "ready").count();
        let refused = replies.iter().filter(|reply| reply["Code"] == "token-refused").count();
        assert_eq!((admitted, refused), (1, 2), "round {round}: {replies:?}");
    }
    let status = door.command("status", json!({})).await;
    assert_eq!((&status["NodesTotal"], &status["Admission"]["TokensValid"]), (&json!(21), &json!(0)));
}

/// T1, T5: whatever is wrong with a token, the answer is the same to the byte, and holds nothing secret.
#[tokio::test]
async fn bad_tokens_are_refused_alike() {
    let door = door().await;
    let good = door.token(json!({})).await;
    let parsed = JoinToken::parse(&good).unwrap();
    let unknown = good.replace(parsed.id.as_str(), "aaaaaaaa");
    let wrong = format!("{}{}", &good[..68], "a".repeat(26));
    let revoked = door.token(json!({})).await;
    door.command("token-revoke", json!({"Id": JoinToken::parse(&revoked).unwrap().id})).await;
    let used_up = door.token(json!({"Uses": 1})).await;
    door.register("h2", 2, json!({"Token": used_up})).await;
    let bound = door.token(json!({"Hostname": "h8"})).await;
    let expired = door.token(json!({"ExpiresS": 60})).await;
    door.pass(SignedDuration::from_secs(60));
    let before = door.sequence();
    let mut answers = std::collections::BTreeSet::new();
    for token in [&unknown, &wrong, &revoked, &used_up, &bound, &expired] {
        answers.insert(door.answer(&with(registration("h9", 9), json!({"Token": token})), tls("h9", 9)).await);
    }
    assert_eq!(answers.len(), 1);
    let answer = String::from_utf8(answers.into_iter().next().unwrap()).unwrap();
    assert!(answer.contains(r#""Code":"token-refused""#), "{answer}");
    for secret in door.secrets().await {
        assert!(!answer.contains(&secret), "{secret}");
    }
    assert_eq!(door.sequence(), before, "nothing is written down");
    assert_eq!(door.register("h9", 9, json!({"Token": good})).await["Status"], "ready");
}

/// T5: an id that does not exist takes as long as a secret that is wrong. (The medians of answers in between each
/// other; what a network adds hides far more than is allowed here.)
#[tokio::test]
async fn bad_tokens_take_as_long() {
    let door = door().await;
    let good = door.token(json!({})).await;
    let id = JoinToken::parse(&good).unwrap().id;
    let shapes = [
        good.replace(id.as_str(), "aaaaaaaa"),
        format!("{}{}", &good[..68], "a".repeat(26)),
        format!("{}{}", &good[..93], if good.ends_with('a') { "e" } else { "a" }),
    ];
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..2_000 {
        for (token, times) in shapes.iter().zip(&mut times) {
            let request = with(registration("h9", 9), json!({"Token": token}));
            let since = Instant::now();
            let answer = door.answer(&request, tls("h9", 9)).await;
            times.push(since.elapsed());
            assert!(answer.starts_with(br#"{"Status":"error","Code":"token-refused""#));
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos()
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most < least * 3, "{medians:?} ns");
}

/// What a token does not say is not granted, and says nothing about the Swarm.
#[tokio::test]
async fn a_workers_token_makes_no_managers() {
    let door = door().await;
    let worker = door.token(json!({})).await;
    let refused = door.register("h2", 2, json!({"Token": worker, "Role": "manager"})).await;
    assert_eq!((&refused["Code"], refused.get("SwarmJoinToken")), (&json!("role-not-granted"), None), "{refused}");
    let manager = door.token(json!({"Role": "manager"})).await;
    let reply = door.register("h2", 2, json!({"Token": manager})).await;
    assert_eq!((&reply["Status"], &reply["SwarmRole"]), (&json!("ready"), &json!("manager")));
    let refused = door.register("h3", 3, json!({"Token": manager})).await;
    assert_eq!(refused["Code"], "token-refused", "a manager's token is for one");
    // A worker that is to become a manager needs a token for it, and its certificate says so then.
    door.register("h4", 4, json!({"Token": worker})).await;
    assert_eq!(door.register("h4", 4, json!({"Role": "manager"})).await["Code"], "role-not-granted");
    let manager = door.token(json!({"Role": "manager"})).await;
    let raised = door.register("h4", 4, json!({"Role": "manager", "Token": manager})).await;
    assert_eq!(raised["Certificate"], format!("CERTIFICATE node {} manager", key("h4").node_id));
}

/// A member comes again with whatever join line it was given once.
#[tokio::test]
async fn a_member_uses_nothing() {
    let door = door().await;
    let token = door.token(json!({"Uses": 1})).await;
    for _ in 0..3 {
        assert_eq!(door.register("h2", 2, json!({"Token": token})).await["Status"], "ready");
    }
    let listed = door.command("tokens", json!({})).await["Tokens"][0].clone();
    assert_eq!((&listed["Used"], &listed["Status"]), (&json!(1), &json!("used-up")));
    door.pass(SignedDuration::from_hours(48));
    assert_eq!(door.register("h2", 2, json!({"Token": token})).await["Status"], "ready");
}

#[tokio::test]
async fn tokens_are_listed_as_they_are() {
    let mut door = door().await;
    let made = door.command("token-create", json!({"Role": "manager", "Hostname": "h7", "Profiles": ["core"]})).await;
    let expires: Timestamp = made["Expires"].as_str().unwrap().parse().unwrap();
    assert_eq!((&made["Uses"], expires.duration_since(door.now()).as_mins()), (&json!(1), 15));
    let worker = door.command("token-create", json!({"ExpiresS": 7200})).await;
    let old = door.token(json!({})).await;
    let find = |listed: &Value, id: &Value| {
        let found = listed["Tokens"].as_array().unwrap().iter().find(|token| token["Id"] == *id);
        found.cloned().unwrap_or(Value::Null)
    };
    let listed = door.command("tokens", json!({})).await;
    let row = find(&listed, &made["Id"]);
    assert_eq!(
        (&row["Role"], &row["Node"], &row["Profiles"], &row["Used"], &row["Status"]),
        (&json!("manager"), &json!("h7"), &json!(["core"]), &json!(0), &json!("valid"))
    );
    assert!(!listed.to_string().contains(made["Token"].as_str().unwrap().rsplit('-').next().unwrap()));
    // Pages, in the order of the ids.
    let first = door.command("tokens", json!({"Limit": 2})).await;
    let rest = door.command("tokens", json!({"Limit": 2, "After": first["After"]})).await;
    assert_eq!((first["Tokens"].as_array().unwrap().len(), rest["Tokens"].as_array().unwrap().len()), (2, 1));
    assert_eq!(rest["After"], Value::Null);
    // They are there after a restart. Their end comes with the clock, and with the CA that they pin.
    door.restart().await;
    door.pass(SignedDuration::from_mins(15));
    door.command("authority-rotate", json!({})).await;
    let status = |listed: &Value, id: &Value| find(listed, id)["Status"].clone();
    let listed = door.command("tokens", json!({})).await;
    assert_eq!((status(&listed, &made["Id"]), status(&listed, &worker["Id"])), (json!("expired"), json!("valid")));
    let long = door.command("token-create", json!({"ExpiresS": 90 * 24 * 3600})).await;
    door.pass(SignedDuration::from_hours(24 * 31));
    door.command("authority-rotate", json!({})).await;
    door.pass(SignedDuration::from_hours(24 * 31));
    let listed = door.command("tokens", json!({})).await;
    assert_eq!(status(&listed, &long["Id"]), "ca-replaced");
    let refused = door.register("h9", 9, json!({"Token": long["Token"]})).await;
    assert_eq!(refused["Code"], "token-refused");
    assert_eq!(door.register("h9", 9, json!({"Token": old})).await["Code"], "token-refused");
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let door = door().await;
    let ten_years = json!({"ExpiresS": 10 * 366 * 24 * 3600_u64});
    assert_eq!(door.administer("token-create", ten_years).await["Code"], "invalid-request");
    assert_eq!(door.administer("token-create", json!({"ExpiresS": u64::MAX})).await["Code"], "invalid-request");
    assert_eq!(door.administer("token-create", json!({"Role": "king"})).await["Code"], "invalid-request");
    assert_eq!(door.administer("token-create", json!({"Profiles": ["a b"]})).await["Code"], "invalid-request");
    let unknown = door.administer("token-revoke", json!({"Id": "aaaaaaaa"})).await;
    assert_eq!((&unknown["Status"], &unknown["Code"]), (&json!("error"), &json!("unknown-token")));
    let damaged = door.register("h2", 2, json!({"Token": "CCTL1-x"})).await;
    assert_eq!(damaged["Code"], "invalid-request");
    assert!(!damaged.to_string().contains("CCTL1-x"), "a secret with a typing error is one still: {damaged}");
}

/// C16: a clock that is set back makes no expired token good again, also after a restart; new tokens and members are not
/// troubled, and revisions go on as they did.
#[tokio::test]
async fn an_expired_token_stays_expired_when_the_clock_goes_back() {
    for back in [SignedDuration::from_hours(2), SignedDuration::from_hours(366 * 24)] {
        let mut door = door().await;
        let token = door.token(json!({"ExpiresS": 3600})).await;
        assert_eq!(door.register("h2", 2, json!({"Token": token})).await["Status"], "ready");
        door.pass(SignedDuration::from_mins(90));
        assert_eq!(door.register("h3", 3, json!({"Token": token})).await["Code"], "token-refused");
        // Something is written down at that time.
        door.member("h4", 4).await;
        let revision = door.command("status", json!({})).await["Revision"].as_u64().unwrap();
        door.pass(-back);
        for _ in 0..2 {
            assert_eq!(door.register("h3", 3, json!({"Token": token})).await["Code"], "token-refused", "{back}");
            let members = door.register("h2", 2, json!({})).await;
            assert_eq!(members["Status"], "ready", "{members}");
            door.restart().await;
        }
        door.member("h5", 5).await;
        let status = door.command("status", json!({})).await;
        assert!(status["Revision"].as_u64().unwrap() > revision, "{status}");
        // A year forward everything of now has expired, and members are members.
        door.pass(SignedDuration::from_hours(2 * 366 * 24));
        assert_eq!(door.register("h2", 2, json!({})).await["Status"], "ready");
    }
}

/// A backup holds the CA's keys: it is for root on the controller's host.
#[tokio::test]
async fn no_administrator_elsewhere_gets_a_backup() {
    let door = door().await;
    let made = door.command("admin-create", json!({"Name": "ann", "PublicKey": "AAAA"})).await;
    assert_eq!(made["Name"], "ann");
    for peer in [administrator("ann", clusterctl::cluster::Validity::Valid), tls("h2", 2), clear(2)] {
        let reply = door.ask(&json!({"Action": "backup"}), peer).await;
        assert_eq!(reply["Status"], "error", "{reply}");
        assert!(reply["Path"].is_null(), "{reply}");
    }
}
