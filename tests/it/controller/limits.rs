//! How often one may ask, as the front door holds its callers to it.

use clusterctl::cluster::{Admission, JoinToken, Role, Validity};
use clusterctl::controller::limits::LimitSettings;

use super::door::*;
use super::*;
use crate::world::without_limits;

fn is_overloaded(reply: &Value) -> bool {
    let told = reply["RetryAfterMs"].as_u64().is_some_and(|ms| ms > 0);
    told && (&reply["Status"], &reply["Reason"]) == (&json!("waiting"), &json!("overloaded"))
}

async fn limited(limits: LimitSettings) -> Door {
    Door::open(Setup { limits, ..Setup::new(Admission::Token) }).await
}

/// T23: a node that hammers commits nothing, whether what it says changes or not, and disturbs nobody else.
#[tokio::test]
async fn hammering_one_node_id_commits_nothing() {
    let door =
        limited(LimitSettings { node_requests_burst: 10, node_requests_per_second: 1, ..without_limits() }).await;
    door.member("h2", 2).await;
    door.member("h3", 3).await;
    let h2 = || certified("h2", 2, Role::Worker, Validity::Valid);
    let before = door.sequence();
    for _ in 0..500 {
        door.ask(&registration("h2", 2), h2()).await;
    }
    assert_eq!(door.sequence(), before, "nothing changed, and nothing was written");
    let mut refused = 0;
    for n in 0..500 {
        let flips = with(registration("h2", 2), json!({"OS": format!("os {n}")}));
        refused += u32::from(is_overloaded(&door.ask(&flips, h2()).await));
        let report = with(status_of("h2"), json!({"Report": {"Finding": format!("finding {n}")}}));
        refused += u32::from(is_overloaded(&door.ask(&report, h2()).await));
    }
    let written = door.sequence() - before;
    assert!(written < 30 && refused > 950, "{written} written, {refused} refused");
    assert_eq!(door.register("h3", 3, json!({})).await["Status"], "ready");
    // Asking how things stand costs nothing and goes on.
    assert_eq!(door.ask(&status_of("h2"), h2()).await["Status"], "ready");
    let counted = door.command("status", json!({})).await["Limits"]["NodeRequestsRefused"].as_u64().unwrap();
    assert!(counted > 950, "{counted}");
}

/// A stranger's address has its rate, whatever is asked; members and root here do not share it.
#[tokio::test]
async fn strangers_have_a_rate() {
    let limits = LimitSettings { requests_per_second: 1, requests_burst: 20, ..without_limits() };
    let door = limited(limits).await;
    door.member("h2", 66).await;
    let shapes = [
        registration("rogue", 66),
        status_of("rogue"),
        json!({"Action": "status"}),
        json!({"Action": "nonsense", "Hostname": "x"}),
    ];
    let mut answers = Vec::new();
    for n in 0..200 {
        answers.push(door.ask(&shapes[n % shapes.len()], tls("rogue", 66)).await);
    }
    let refused = answers.iter().filter(|reply| is_overloaded(reply)).count();
    // One was the member's own, before it was one.
    assert!((150..=181).contains(&refused), "{refused}");
    assert!(!is_overloaded(&answers[10]) && is_overloaded(&answers[50]));
    assert_eq!(door.ask(&status_of("h2"), tls("h2", 66)).await["Status"], "ready", "a member behind the same router");
    assert!(!is_overloaded(&door.ask(&shapes[0], tls("rogue", 67)).await), "another address");
    assert!(door.command("status", json!({})).await["Limits"]["RequestsRefused"].as_u64().unwrap() >= 150);
}

/// T5: after twenty wrong tokens no more are tried for a minute, good or not; another token behind the same address is.
#[tokio::test]
async fn wrong_tokens_block() {
    let limits = LimitSettings { token_failures_per_minute: 20, token_failures_per_address: 200, ..without_limits() };
    let door = limited(limits).await;
    let (good, other) = (door.token(json!({})).await, door.token(json!({})).await);
    let wrong = format!("{}{}", &good[..68], "a".repeat(26));
    for n in 0..20 {
        assert_eq!(door.register("rogue", 66, json!({"Token": wrong})).await["Code"], "token-refused", "{n}");
    }
    let blocked = door.register("rogue", 66, json!({"Token": wrong})).await;
    assert_eq!(blocked["Code"], "too-many-failures", "{blocked}");
    assert!((1..=60_000).contains(&blocked["RetryAfterMs"].as_u64().unwrap()));
    let good_one = door.register("rogue", 66, json!({"Token": good})).await;
    assert_eq!(good_one["Code"], "too-many-failures", "nobody learns that he has guessed it");
    assert_eq!(
        door.register("rogue", 66, json!({"Token": good, "Role": "manager"})).await["Code"],
        "too-many-failures"
    );
    assert_eq!(door.register("h2", 66, json!({"Token": other, "IP": "10.0.0.2"})).await["Status"], "ready");
    assert_eq!(door.register("h3", 3, json!({"Token": good})).await["Status"], "ready", "from elsewhere");
    let counted = door.command("status", json!({})).await["Limits"].clone();
    assert_eq!((&counted["TokenBlocks"], &counted["TokensNotTried"]), (&json!(1), &json!(3)), "{counted}");
    assert_eq!(door.row("rogue").await, Value::Null);
    // A member that shows such a token is let in as the member that it is.
    let member = door.ask(&with(registration("h2", 2), json!({"Token": wrong})), tls("h2", 66)).await;
    assert_eq!(member["Status"], "ready", "{member}");
}

/// T5: who changes the id each time is stopped by his address.
#[tokio::test]
async fn many_ids_do_not_help() {
    let limits = LimitSettings { token_failures_per_minute: 20, token_failures_per_address: 50, ..without_limits() };
    let door = limited(limits).await;
    let good = door.token(json!({})).await;
    let id = JoinToken::parse(&good).unwrap().id;
    let mut tried = 0;
    for n in 0..100_u8 {
        let guess = good.replace(id.as_str(), clusterctl::cluster::ShortId::of_bytes([n; 5]).as_str());
        tried += u32::from(door.register("rogue", 66, json!({"Token": guess})).await["Code"] == "token-refused");
    }
    assert_eq!(tried, 50);
}

/// T23: also what changes nothing has the node's rate.
#[tokio::test]
async fn thanks_have_a_rate() {
    let door =
        limited(LimitSettings { node_requests_burst: 10, node_requests_per_second: 1, ..without_limits() }).await;
    door.member("h2", 2).await;
    let thanks = with(status_of("h2"), json!({"Action": "gluster-ready"}));
    let mut refused = 0;
    for _ in 0..100 {
        refused += u32::from(is_overloaded(&door.ask(&thanks, tls("h2", 2)).await));
    }
    assert!((50..100).contains(&refused), "{refused}");
}

/// Requests to join that had to give way are counted.
#[tokio::test]
async fn requests_that_give_way_are_counted() {
    let door = Door::open(Setup::new(Admission::Token)).await;
    for n in 0..34 {
        let name = format!("s{n}");
        let reply = door.ask(&registration(&name, 100 + n), tls(&name, 66)).await;
        assert_eq!(reply["Reason"], "pending-approval", "{reply}");
    }
    let status = door.command("status", json!({})).await;
    assert_eq!(
        (&status["Limits"]["JoinRequestsDropped"], &status["Admission"]["RequestsPending"]),
        (&json!(2), &json!(32))
    );
}
