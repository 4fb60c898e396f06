//! Who somebody is: a key, as the handshake proves it, held against the state at every exchange.

use clusterctl::cluster::{Admission, Proof, Role, Validity};
use clusterctl::controller::listener::Peer;
use clusterctl::providers::swarm::{Member, SwarmEngine};

use super::door::*;
use super::*;

async fn door() -> Door {
    Door::open(Setup::new(Admission::Token)).await
}

fn assert_refused(reply: &Value, code: &str) {
    assert_eq!((&reply["Status"], &reply["Code"]), (&json!("error"), &json!(code)), "{reply}");
    assert!(!reply["Hint"].as_str().unwrap().is_empty() && reply.get("SwarmJoinToken").is_none(), "{reply}");
}

/// N19: a removed node is refused with the certificate that it still has, whatever it asks, also after a restart.
#[tokio::test]
async fn a_removed_node_stays_out() {
    let mut door = door().await;
    door.member("h2", 2).await;
    let h2 = || certified("h2", 2, Role::Worker, Validity::Valid);
    assert_eq!(door.ask(&status_of("h2"), h2()).await["Status"], "ready");
    let kept = door.token(json!({})).await;
    door.command("remove", json!({"Id": key("h2").node_id})).await;
    let leave = with(status_of("h2"), json!({"Action": "deregister"}));
    let thanks = with(status_of("h2"), json!({"Action": "gluster-ready"}));
    for round in 0..2 {
        let before = door.sequence();
        assert_refused(&door.ask(&registration("h2", 2), h2()).await, "node-removed");
        for request in [&status_of("h2"), &leave, &thanks] {
            assert_refused(&door.ask(request, h2()).await, "removed");
        }
        assert_eq!((door.sequence(), door.row("h2").await), (before, Value::Null), "round {round}");
        door.restart().await;
    }
    assert_refused(&door.register("h2", 2, json!({"Token": kept})).await, "node-removed");
    // The administrator can let it in again.
    door.pass(jiff::SignedDuration::from_secs(1));
    let token = door.token(json!({})).await;
    assert_eq!(door.register("h2", 2, json!({"Token": token})).await["Status"], "ready");
    assert_eq!(door.ask(&status_of("h2"), h2()).await["Status"], "ready");
}

/// N19: from the first moment of its removal on a node is answered no more, however long its tasks take to end; and
/// what broke off goes on, also after a restart.
#[tokio::test]
async fn a_node_on_its_way_out_is_answered_no_more() {
    let mut door = door().await;
    door.member("h2", 2).await;
    let (h2, engine) = (|| certified("h2", 2, Role::Worker, Validity::Valid), door.engine_of("h2", 2).await);
    let report = json!({"Report": {"SwarmNodeId": engine.inspect().await.unwrap().swarm_node_id}});
    assert_eq!(door.ask(&with(status_of("h2"), report), h2()).await["Status"], "ready");
    engine.run_tasks(1, true);
    let worker_token = door.secrets().await[0].clone();
    let remove = json!({"Action": "remove", "Hostname": "h2"});
    let checks = async {
        while !door.engine.members().await.unwrap().iter().any(Member::is_drained) {
            tokio::task::yield_now().await;
        }
        assert_refused(&door.ask(&registration("h2", 2), h2()).await, "node-removed");
        assert_refused(&door.ask(&status_of("h2"), h2()).await, "removed");
    };
    // The removal is cut short by whatever comes of the checks.
    tokio::select! {
        ended = door.ask(&remove, Peer::Local { uid: 0 }) => panic!("its tasks have not ended: {ended}"),
        () = checks => {}
    }
    door.restart().await;
    let row = door.row("h2").await;
    assert_eq!(row["Status"], "removing", "{row}");
    assert!(row["Finding"].as_str().unwrap().contains("clusterctl node remove h2"), "{row}");
    assert_refused(&door.ask(&registration("h2", 2), h2()).await, "node-removed");
    engine.run_tasks(0, false);
    assert_eq!(door.ask(&remove, Peer::Local { uid: 0 }).await["Status"], "ready");
    assert_eq!(door.row("h2").await, Value::Null);
    assert_ne!(door.secrets().await[0], worker_token);
    assert_refused(&door.ask(&status_of("h2"), h2()).await, "removed");
}

/// Who left by himself is a stranger, and may come back as one.
#[tokio::test]
async fn who_leaves_is_a_stranger() {
    let door = door().await;
    door.member("h2", 2).await;
    let leave = with(status_of("h2"), json!({"Action": "deregister"}));
    assert_eq!(door.ask(&leave, tls("h2", 2)).await["Status"], "ready");
    assert_eq!(door.ask(&leave, tls("h2", 2)).await["Status"], "ready", "leaving twice is leaving");
    assert_refused(&door.ask(&status_of("h2"), tls("h2", 2)).await, "unknown-node");
    assert_eq!(door.register("h2", 2, json!({})).await["Reason"], "pending-approval");
}

/// T6: a good token makes nobody somebody else.
#[tokio::test]
async fn nobody_is_somebody_else() {
    let door = door().await;
    door.member("h2", 2).await;
    let token = door.token(json!({})).await;
    let rogue = |fields: Value| with(with(registration("rogue", 66), json!({"Token": token})), fields);
    let before = door.sequence();
    let ask = async |fields: Value| door.ask(&rogue(fields), tls("rogue", 66)).await;
    let twin = ask(json!({"Hostname": "H2"})).await;
    assert_refused(&twin, "hostname-taken");
    assert!(twin["Hint"].as_str().unwrap().contains("clusterctl node replace h2"), "{twin}");
    assert_refused(&ask(json!({"IP": "10.0.0.2"})).await, "address-taken");
    assert_refused(&ask(json!({"IP": "127.0.0.1"})).await, "loopback-address");
    assert_refused(&ask(json!({"NodeId": key("h2").node_id})).await, "key-mismatch");
    assert_refused(&door.ask(&rogue(json!({})), proving(Proof::Nothing, 66)).await, "key-required");
    // Nor does it speak for somebody else.
    for action in ["check-status", "deregister", "gluster-ready"] {
        let request = with(status_of("h2"), json!({"Action": action}));
        assert_refused(&door.ask(&request, tls("rogue", 66)).await, "key-mismatch");
        assert_refused(&door.ask(&request, proving(Proof::Nothing, 66)).await, "key-required");
    }
    // A key without its id speaks for its own node alone.
    let nameless = json!({"Action": "check-status", "Hostname": "h2"});
    assert_refused(&door.ask(&nameless, tls("rogue", 66)).await, "unknown-node");
    assert_eq!(door.sequence(), before, "nothing is written down");
    // In clear text nobody says that he is a node with a key, where clear text is answered at all.
    assert_refused(&door.ask(&status_of("h2"), clear(2)).await, "tls-required");
}

#[tokio::test]
async fn clear_text_proves_nothing() {
    let mut door = door().await;
    door.member("h2", 2).await;
    for admission in [Admission::Token, Admission::Open] {
        door.restart_with(Setup { plaintext: true, ..Setup::new(admission) }).await;
        assert_refused(&door.ask(&registration("h2", 2), clear(2)).await, "key-required");
        assert_refused(&door.ask(&status_of("h2"), clear(2)).await, "key-required");
        let leave = with(status_of("h2"), json!({"Action": "deregister"}));
        assert_refused(&door.ask(&leave, clear(2)).await, "key-required");
    }
    assert_ne!(door.row("h2").await, Value::Null);
    // The internet is not answered in clear text.
    let outside = clusterctl::controller::listener::Peer::Remote(([8, 8, 8, 8], 1).into());
    assert_refused(&door.ask(&registration("x", 9), outside).await, "tls-required");
}

/// A certificate that is over renews itself and does nothing else; one that is due, or of another role, is replaced.
#[tokio::test]
async fn certificates_are_renewed_by_registering() {
    let door = door().await;
    door.member("h2", 2).await;
    let over = || certified("h2", 2, Role::Worker, Validity::Outside { limit: door.now() });
    assert_refused(&door.ask(&status_of("h2"), over()).await, "certificate-expired");
    for peer in [
        over(),
        certified("h2", 2, Role::Worker, Validity::RenewalDue),
        certified("h2", 2, Role::Manager, Validity::Valid),
        tls("h2", 2),
    ] {
        let reply = door.ask(&registration("h2", 2), peer).await;
        assert_eq!(reply["Certificate"], format!("CERTIFICATE node {} worker", key("h2").node_id), "{reply}");
        assert_eq!(reply["SwarmRole"], "worker", "what the certificate says changes nothing");
    }
    let fresh = door.ask(&registration("h2", 2), certified("h2", 2, Role::Worker, Validity::Valid)).await;
    assert_eq!(fresh.get("Certificate"), None);
    door.authority.set_failing(true);
    let reply = door.ask(&registration("h2", 2), tls("h2", 2)).await;
    assert_refused(&reply, "no-certificate");
}

/// Every answer on TLS tells the time and the CAs, whatever it is about.
#[tokio::test]
async fn tls_answers_tell_the_time() {
    let door = door().await;
    let (time, key) = (json!(door.now().to_string()), || tls("h9", 9));
    for request in [
        registration("h9", 9),
        status_of("h9"),
        json!({"Action": "status"}),
        json!({"Action": "explode", "Hostname": "h9"}),
        with(registration("h9", 9), json!({"Hostname": "h1"})),
    ] {
        let reply = door.ask(&request, key()).await;
        assert_eq!(reply["ServerTime"], time, "{reply}");
        assert!(reply["Authorities"].as_str().unwrap().starts_with("CA "), "{reply}");
    }
}

/// A host that was set up anew gets its name with a new key, if the administrator says so and lets it in.
#[tokio::test]
async fn a_host_name_gets_a_new_key() {
    let door = door().await;
    door.member("h2", 2).await;
    let new = |fields: Value| with(with(registration("h2-new", 2), json!({"Hostname": "h2"})), fields);
    let token = json!({"Token": door.token(json!({})).await});
    let ask = async |fields: Value| door.ask(&new(fields), tls("h2-new", 2)).await;
    assert_refused(&ask(token.clone()).await, "hostname-taken");
    assert_eq!(door.administer("replace", json!({"Hostname": "nobody"})).await["Code"], "unknown-node");
    let allowed = door.command("replace", json!({"Hostname": "h2"})).await;
    assert_eq!((&allowed["NodeId"], &allowed["Finding"]), (&json!(key("h2").node_id), &Value::Null));
    assert_eq!(ask(json!({})).await["Reason"], "pending-approval", "it still has to be let in");
    assert_eq!(door.ask(&status_of("h2"), tls("h2", 2)).await["Status"], "ready", "and until then nothing changes");
    assert_eq!(ask(token.clone()).await["Status"], "ready");
    assert_eq!(door.row("h2").await["NodeId"], json!(key("h2-new").node_id));
    assert_refused(&door.ask(&status_of("h2"), tls("h2", 2)).await, "removed");
    // Once.
    let third = with(with(registration("third", 3), json!({"Hostname": "h2"})), token);
    assert_refused(&door.ask(&third, tls("third", 3)).await, "hostname-taken");
}

/// Administration is for root here, and for administrators whom the state knows, for as long as it does.
#[tokio::test]
async fn administrators_are_known_by_their_keys() {
    let mut door = door().await;
    door.member("h2", 2).await;
    let spki = |name: &str| data_encoding::BASE64.encode(&key(name).spki);
    let made = door.command("admin-create", json!({"Name": "ann", "PublicKey": spki("ann")})).await;
    assert_eq!(made["Certificate"], "CERTIFICATE admin ann");
    assert!(made["Authorities"].as_str().unwrap().starts_with("CA ") && made["NotAfter"].is_string(), "{made}");
    let ann = || administrator("ann", Validity::Valid);
    door.restart().await;
    let nodes = door.ask(&json!({"Action": "nodes"}), ann()).await;
    assert_eq!((&nodes["Status"], nodes["Nodes"].as_array().unwrap().len()), (&json!("ready"), 2));
    let limit = door.now();
    for stranger in [
        tls("h2", 2),
        certified("h2", 2, Role::Manager, Validity::Valid),
        tls("ann", 200),
        proving(Proof::Nothing, 200),
        administrator("bob", Validity::Valid),
        administrator("ann", Validity::Outside { limit }),
    ] {
        for action in
            ["status", "nodes", "tokens", "token-create", "requests", "authorities", "authority-rotate", "admins"]
        {
            assert_refused(&door.ask(&json!({"Action": action}), stranger.clone()).await, "not-permitted");
        }
        let remove = json!({"Action": "remove", "Hostname": "h2"});
        assert_refused(&door.ask(&remove, stranger.clone()).await, "not-permitted");
        let admin = json!({"Action": "admin-create", "Name": "eve", "PublicKey": spki("eve")});
        assert_refused(&door.ask(&admin, stranger).await, "not-permitted");
    }
    // Another key under a name that is in use is refused; a renewal of the same key is not.
    let taken = door.administer("admin-create", json!({"Name": "ann", "PublicKey": spki("eve")})).await;
    assert_eq!(taken["Code"], "administrator-exists");
    door.command("admin-create", json!({"Name": "ann", "PublicKey": spki("ann")})).await;
    door.command("admin-revoke", json!({"Name": "ann"})).await;
    assert_refused(&door.ask(&json!({"Action": "nodes"}), ann()).await, "not-permitted");
    assert_eq!(door.command("admins", json!({})).await["Admins"][0]["Status"], "revoked");
    for bad in ["", "a/b", "%41", "-x", "a b"] {
        let refused = door.administer("admin-create", json!({"Name": bad, "PublicKey": spki("ann")})).await;
        assert_eq!(refused["Code"], "invalid-request", "{bad:?}");
    }
}

#[tokio::test]
async fn authorities_are_shown_and_rotated() {
    let door = door().await;
    let shown = door.command("authorities", json!({})).await;
    let first = shown["Authorities"][0].clone();
    assert_eq!((&first["State"], &first["TrustedUntil"]), (&json!("active"), &Value::Null));
    assert!(shown["ServerCertificate"]["NotAfter"].is_string());
    let rotated = door.command("authority-rotate", json!({})).await;
    assert_eq!(rotated["Previous"], first["Fingerprint"]);
    assert!(rotated["TrustedUntil"].is_string() && rotated["Active"] != rotated["Previous"]);
    let shown = door.command("authorities", json!({})).await;
    assert_eq!(shown["Authorities"].as_array().unwrap().len(), 2);
    let again = door.administer("authority-rotate", json!({})).await;
    assert_eq!(again["Code"], "rotation-under-way");
    assert!(again["Message"].as_str().unwrap().contains(rotated["TrustedUntil"].as_str().unwrap()), "{again}");
    // New tokens pin the new one.
    let token = door.token(json!({})).await;
    assert!(token.contains(rotated["Active"].as_str().unwrap()));
    // After a theft nothing of before is good for anything.
    let forced = door.command("authority-rotate", json!({"Force": true})).await;
    assert_eq!((&forced["Previous"], &forced["TrustedUntil"]), (&Value::Null, &Value::Null));
    assert_eq!(door.register("h9", 9, json!({"Token": token})).await["Code"], "token-refused");
    let shown = door.command("authorities", json!({})).await;
    assert_eq!(shown["Authorities"].as_array().unwrap().len(), 1);
    door.authority.set_failing(true);
    assert_eq!(door.administer("authority-rotate", json!({})).await["Code"], "no-certificate");
}

/// Nodes of the first version are members: those with a key prove it and get a certificate.
#[tokio::test]
async fn nodes_from_before_keys_were_proved_get_certificates() {
    let mut door = Door::open(Setup { plaintext: true, ..Setup::new(Admission::Open) }).await;
    assert_eq!(door.ask(&registration("h2", 2), clear(2)).await["Status"], "ready");
    let shown = door.command("node-show", json!({"Hostname": "h2"})).await;
    assert!(shown["Node"]["Advice"].as_str().unwrap().contains("node join"), "{shown}");
    door.restart_with(Setup::new(Admission::Token)).await;
    let reply = door.register("h2", 2, json!({})).await;
    assert_eq!(reply["Certificate"], format!("CERTIFICATE node {} worker", key("h2").node_id), "{reply}");
    let shown = door.command("node-show", json!({"Id": key("h2").node_id})).await;
    assert_eq!((&shown["Node"]["Advice"], &shown["Node"]["Key"]), (&json!(""), &json!(key("h2").fingerprint)));
}
