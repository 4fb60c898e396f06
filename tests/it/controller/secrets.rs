//! What is given to whom: every shape of a request that nobody has vouched for, and what comes of frames sent again.

use clusterctl::cluster::{Admission, JoinToken, Proof, Role, Validity};
use clusterctl::controller::listener::Peer;
use clusterctl::providers::swarm::SwarmEngine;

use super::door::*;
use super::*;

/// Everything that a stranger can send, with tokens that are no good.
async fn shapes(door: &Door) -> Vec<Value> {
    let good = door.token(json!({})).await;
    let revoked = door.token(json!({})).await;
    door.command("token-revoke", json!({"Id": JoinToken::parse(&revoked).unwrap().id})).await;
    let bad = [
        good.replace(JoinToken::parse(&good).unwrap().id.as_str(), "aaaaaaaa"),
        format!("{}{}", &good[..68], "a".repeat(26)),
        revoked,
        "CCTL1-x".to_owned(),
        "SWMTKN-1-x-y".to_owned(),
    ];
    let mut shapes = Vec::new();
    for name in ["rogue", "h1", "h2", "gone"] {
        for action in
            ["", "register", "check-status", "deregister", "gluster-ready", "status", "nodes", "tokens", "node-show"]
        {
            for role in ["", "manager"] {
                let fields = json!({"Action": action, "Hostname": name, "Role": role, "TokenRefused": true});
                shapes.push(with(registration("rogue", 66), fields.clone()));
                shapes.push(with(registration(name, 66), fields.clone()));
                shapes.push(with(json!({"IP": "10.0.0.66"}), fields));
            }
        }
    }
    shapes.extend(bad.iter().map(|token| with(registration("rogue", 66), json!({"Token": token}))));
    shapes
}

fn strangers(door: &Door) -> Vec<Peer> {
    let limit = door.now();
    vec![
        clear(66),
        clear(2),
        Peer::Remote(([127, 0, 0, 1], 5).into()),
        proving(Proof::Nothing, 66),
        tls("rogue", 66),
        tls("rogue", 2),
        // A certificate that was good once, and one that a CA of ours never made for a member.
        certified("gone", 66, Role::Manager, Validity::Valid),
        certified("rogue", 66, Role::Manager, Validity::Valid),
        certified("rogue", 66, Role::Manager, Validity::Outside { limit }),
        administrator("nobody", Validity::Valid),
    ]
}

/// T1: nobody gets a Swarm token, an overlay key or a certificate without having been let in, whatever he sends; and
/// nobody becomes a node.
#[tokio::test]
async fn strangers_are_given_nothing() {
    for admission in [Admission::Token, Admission::Approve] {
        for plaintext in [false, true] {
            let mut door = Door::open(Setup::new(Admission::Token)).await;
            door.member("h2", 2).await;
            door.member("gone", 3).await;
            door.command("remove", json!({"Hostname": "gone"})).await;
            door.restart_with(Setup { plaintext, ..Setup::new(admission) }).await;
            let (secrets, certificates) = (door.secrets().await, door.authority.issued().len());
            let members = door.engine.members().await.unwrap().len();
            let mut shapes = shapes(&door).await;
            shapes.push(json!({}));
            for request in &shapes {
                for peer in strangers(&door) {
                    let who = format!("{admission} {plaintext} {request} {peer:?}");
                    let answer = String::from_utf8(door.answer(request, peer).await).unwrap();
                    for secret in &secrets {
                        assert!(!answer.contains(secret.as_str()), "{who}: {answer}");
                    }
                    assert!(!answer.contains("CERTIFICATE"), "{who}: {answer}");
                    let reply: Value = serde_json::from_str(&answer).unwrap();
                    // Who is no member has left, if he says so.
                    let leaves = request["Action"] == "deregister" && reply.get("SwarmRole").is_some();
                    assert!(reply["Status"] != "ready" || leaves, "{who}: {answer}");
                }
            }
            assert_eq!(door.authority.issued().len(), certificates);
            assert_eq!(door.engine.members().await.unwrap().len(), members);
            let status = door.command("status", json!({})).await;
            assert_eq!(status["NodesTotal"], 2, "{status}");
        }
    }
}

/// T3: frames that were captured in clear text and are sent again change nothing, and raise nobody.
#[tokio::test]
async fn frames_sent_again_change_nothing() {
    let mut door = Door::open(Setup { plaintext: true, ..Setup::new(Admission::Open) }).await;
    let register = json!({"hostname": "old", "role": "worker", "ip": "10.0.0.7", "os": "linux", "cpu": 2});
    let report = json!({"action": "check-status", "hostname": "old", "report": {"finding": "none"}});
    let first = door.ask(&register, clear(7)).await;
    door.ask(&report, clear(7)).await;
    for _ in 0..2 {
        let before = door.sequence();
        for _ in 0..5 {
            let again = door.ask(&register, clear(7)).await;
            assert_eq!((&again["NodeId"], &again["SwarmRole"]), (&first["NodeId"], &json!("worker")));
            door.ask(&report, clear(7)).await;
        }
        assert_eq!(door.sequence(), before, "written once");
        // Whoever changes a frame raises nobody either, once not everybody is let in as he likes.
        door.restart_with(Setup { plaintext: true, ..Setup::new(Admission::Token) }).await;
    }
    let raised = door.ask(&with(register.clone(), json!({"role": "manager"})), clear(7)).await;
    assert_eq!(raised["Code"], "role-not-granted", "{raised}");
    let elsewhere = door.ask(&register, clear(66)).await;
    assert_eq!(elsewhere["Code"], "address-mismatch", "{elsewhere}");
    assert_eq!(door.row("old").await["Role"], "worker");
}

/// A member's reply has what it needs, and asking how things stand has none of it.
#[tokio::test]
async fn members_are_given_what_they_need_once() {
    let door = Door::open(Setup::new(Admission::Token)).await;
    door.member("h2", 2).await;
    let secrets = door.secrets().await;
    let registered = door.register("h2", 2, json!({})).await.to_string();
    let manager = &secrets[1];
    assert!(registered.contains(&secrets[0]) && registered.contains(OVERLAY_SECRET) && !registered.contains(manager));
    let asked = door.ask(&status_of("h2"), tls("h2", 2)).await.to_string();
    let listed = [
        door.command("status", json!({})).await.to_string(),
        door.command("nodes", json!({})).await.to_string(),
        door.command("node-show", json!({"Hostname": "h2"})).await.to_string(),
        asked,
    ];
    for answer in listed {
        assert!(secrets.iter().all(|secret| !answer.contains(secret)), "{answer}");
    }
}
