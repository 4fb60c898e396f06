//! Who gets in: by a token, by approval, and nobody else; and what a host is that was taken out.

use serde_json::Value;

use super::{Cluster, Ended, PATIENCE, exchange};
use crate::lab::{run, usable, wait_for};

/// One lab through the life of a cluster that asks everybody. h1 is the master. Covers T1, T6, T15 and N19.
#[test]
fn lab_only_those_who_belong() {
    if !usable("lab_only_those_who_belong") {
        return;
    }
    let cluster = Cluster::up("e2e-admit", 4);
    let init = cluster.init(&[]);
    let token = cluster.token.get().unwrap().clone();
    assert!(init.stdout.contains(&format!("clusterctl node join --master {} --token {token}", cluster.master())));
    assert!(!cluster.init(&[]).stdout.contains("CCTL1-"), "a second `master init` makes no token");
    cluster.serve("");

    the_masters_own_host_needs_no_token(&cluster);
    clear_text_gets_nothing(&cluster);
    a_host_joins_by_the_printed_line(&cluster, 2, &token);
    a_revoked_token_is_refused_like_an_unknown_one(&cluster, 3);
    a_name_that_is_taken_is_refused(&cluster, 3, &token);
    a_host_is_approved(&cluster, 3);
    a_host_is_rejected(&cluster, 4);
    one_token_admits_one(&cluster, 4);
    a_removed_host_stays_out(&cluster, 4, &token);
    an_administrator_elsewhere(&cluster, 2);
    the_authority_is_replaced(&cluster, &token);
}

fn the_masters_own_host_needs_no_token(cluster: &Cluster) {
    let join = cluster.clusterctl(1, &["node", "join", "--master", &cluster.master()]).succeeded();
    assert!(join.stdout.contains("is a manager of the cluster"), "{join:?}");
    assert_eq!(cluster.status()["NodesTotal"], 1);
}

/// T1: who does not speak TLS is told so, and gets nothing, from wherever it asks.
fn clear_text_gets_nothing(cluster: &Cluster) {
    let address = cluster.lab.host_ip(1);
    for action in ["register", "check-status", "status", "nodes", "token-create", "requests", "remove"] {
        let request = format!(r#"{{"hostname":"h1","action":"{action}","role":"manager"}}"#);
        let reply = exchange(address, request.as_bytes());
        assert_eq!((&reply["Status"], &reply["Code"]), (&"error".into(), &"tls-required".into()), "{action}: {reply}");
        let inside = cluster
            .lab
            .ok(1, &["bash", "-c", &format!("exec 3<>/dev/tcp/127.0.0.1/7000; printf '{request}' >&3; cat <&3")]);
        assert!(inside.contains("tls-required") && !inside.contains("SWMTKN"), "loopback has no privileges: {inside}");
    }
    assert_eq!(cluster.status()["NodesTotal"], 1);
}

/// The line that `master init` prints, as it stands there.
fn a_host_joins_by_the_printed_line(cluster: &Cluster, n: u8, token: &str) {
    let join = cluster.clusterctl(n, &["node", "join", "--master", &cluster.master(), "--token", token]).succeeded();
    join.did(&["join the Swarm"]);
    assert!(join.stderr.contains("--token-file"), "it is said that others can see the token: {join:?}");
    cluster.expect_ready(&[1, n]);
    // From now on the host is known by its key.
    let again = cluster.clusterctl(n, &["node", "join", "--master", &cluster.master()]).succeeded();
    assert!(again.stdout.starts_with("nothing to do\n"), "{again:?}");
    let again = cluster.clusterctl(n, &["node", "join"]).succeeded();
    assert!(again.stdout.starts_with("nothing to do\n"), "{again:?}");
}

/// A token made now, with its id.
fn new_token(cluster: &Cluster, options: &[&str]) -> (String, String) {
    let words: Vec<&str> = ["token", "create", "--output", "json"].into_iter().chain(options.iter().copied()).collect();
    let made: Value = serde_json::from_str(&cluster.clusterctl(1, &words).succeeded().stdout).unwrap();
    (made["Token"].as_str().unwrap().to_owned(), made["Id"].as_str().unwrap().to_owned())
}

fn join_with(cluster: &Cluster, n: u8, token: &str, options: &[&str]) -> Ended {
    let master = cluster.master();
    let words: Vec<&str> = ["node", "join", "--master", &master].into_iter().chain(options.iter().copied()).collect();
    cluster.with_token(n, &words, token)
}

fn a_revoked_token_is_refused_like_an_unknown_one(cluster: &Cluster, n: u8) {
    let (token, id) = new_token(cluster, &[]);
    cluster.clusterctl(1, &["token", "revoke", &id]).succeeded();
    let revoked = join_with(cluster, n, &token, &[]);
    revoked.refused(11, &["reason=token-refused"]);
    let unknown = token.replace(&id, if id == "aaaaaaaa" { "bbbbbbbb" } else { "aaaaaaaa" });
    let unknown = join_with(cluster, n, &unknown, &[]);
    unknown.refused(11, &["reason=token-refused"]);
    let last = |ended: &Ended| ended.stderr.lines().rev().take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(last(&revoked), last(&unknown));
    let list = cluster.clusterctl(1, &["token", "list"]).succeeded();
    let row = list.stdout.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{list:?}"));
    assert!(row.contains("revoked"), "{row}");
    assert!(cluster.row(&format!("h{n}")).is_null());
}

/// T6: a name belongs to a key.
fn a_name_that_is_taken_is_refused(cluster: &Cluster, n: u8, token: &str) {
    let twin = join_with(cluster, n, token, &["--hostname", "h2"]);
    twin.refused(12, &["h2", "node replace", "reason=hostname-taken"]);
    let manager = join_with(cluster, n, token, &["--role", "manager"]);
    manager.refused(11, &["manager", "reason=role-not-granted"]);
    assert_eq!(cluster.status()["NodesTotal"], 2);
}

/// A join without a token, beside other things; what it says lies in the host.
fn waiting_join(cluster: &Cluster, n: u8) -> impl FnOnce() -> Ended + Send + 'static {
    let command = format!("exec clusterctl node join --timeout 60s --master {} 2>/var/log/join", cluster.master());
    let join = cluster.lab.invocation(n, &["sh", "-c", &command]).deadline(PATIENCE);
    move || run(join).unwrap().into()
}

/// The pending request of a host, once it is there.
fn pending(cluster: &Cluster, hostname: &str) -> Value {
    let mut found = Value::Null;
    wait_for(&format!("a request of {hostname}"), PATIENCE, || {
        let list = cluster.clusterctl(1, &["request", "list", "--output", "json"]).succeeded();
        let list: Value = serde_json::from_str(&list.stdout).unwrap();
        let mut rows = list["Requests"].as_array().unwrap().iter();
        found = rows.find(|row| row["Hostname"] == hostname && row["Status"] == "pending").cloned().unwrap_or_default();
        !found.is_null()
    });
    found
}

fn a_host_is_approved(cluster: &Cluster, n: u8) {
    std::thread::scope(|scope| {
        let join = scope.spawn(waiting_join(cluster, n));
        let request = pending(cluster, &format!("h{n}"));
        let (id, key) = (request["Id"].as_str().unwrap(), request["Key"].as_str().unwrap());
        // The host shows the same, so that the two can be compared.
        let said = || cluster.lab.ok(n, &["cat", "/var/log/join"]);
        wait_for("the host says what it waits for", PATIENCE, || said().contains("reason=pending-approval"));
        for word in [id, key, "clusterctl request approve"] {
            assert!(said().contains(word), "`{word}` is missing in {}", said());
        }
        assert!(cluster.row(&format!("h{n}")).is_null(), "not registered before the approval");
        assert_eq!(cluster.lab.ok(n, &["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]), "inactive");
        cluster.clusterctl(1, &["request", "approve", id]).succeeded();
        join.join().unwrap().succeeded().did(&["join the Swarm"]);
    });
    cluster.expect_ready(&[1, 2, n]);
}

fn a_host_is_rejected(cluster: &Cluster, n: u8) {
    std::thread::scope(|scope| {
        let join = scope.spawn(waiting_join(cluster, n));
        let request = pending(cluster, &format!("h{n}"));
        let id = request["Id"].as_str().unwrap();
        // It has never met this controller, and says whom it trusts from now on.
        let shown = cluster.clusterctl(1, &["master", "cert", "show", "--output", "json"]).succeeded();
        let authorities: Value = serde_json::from_str(&shown.stdout).unwrap();
        let authority = authorities["Authorities"][0]["Fingerprint"].as_str().unwrap();
        let said = cluster.lab.ok(n, &["cat", "/var/log/join"]);
        assert!(said.contains(authority) && said.contains("first contact"), "{said}");
        cluster.clusterctl(1, &["request", "reject", id, "--reason", "not ours"]).succeeded();
        let ended = join.join().unwrap();
        assert_eq!(ended.code, Some(11), "{ended:?}");
    });
    let said = cluster.lab.ok(n, &["cat", "/var/log/join"]);
    assert!(said.contains("not ours") && said.contains("reason=request-rejected"), "{said}");
}

/// Two hosts with a token for one, at the same moment: exactly one is admitted.
fn one_token_admits_one(cluster: &Cluster, n: u8) {
    let before = cluster.status()["NodesTotal"].as_u64().unwrap();
    let (token, id) = new_token(cluster, &["--uses", "1"]);
    let other = "--state-dir=/var/lib/second";
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        let joins = [
            scope.spawn(|| join_with(cluster, n, &token, &[])),
            scope.spawn(|| join_with(cluster, n, &token, &["--hostname", "second", "--dry-run", other])),
        ];
        joins.into_iter().map(|join| join.join().unwrap()).collect()
    });
    let mut codes: Vec<Option<i32>> = ended.iter().map(|ended| ended.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(11)], "{ended:?}");
    assert_eq!(cluster.status()["NodesTotal"], before + 1);
    let list = cluster.clusterctl(1, &["token", "list"]).succeeded();
    assert!(list.stdout.lines().any(|line| line.contains(&id) && line.contains("used-up")), "{list:?}");
    // Whoever it was: the host itself is in the cluster afterwards.
    if ended[0].code != Some(0) {
        cluster.clusterctl(1, &["node", "remove", "second", "--yes"]).succeeded();
        cluster.join(n, &[]).succeeded();
    }
    cluster.expect_ready(&[1, 2, 3, n]);
}

/// N19: a host that was taken out gets nothing for its old certificate, for the token that it came with, or for the Swarm's
/// token that it was given; a token that is made now lets it in anew.
fn a_removed_host_stays_out(cluster: &Cluster, n: u8, token: &str) {
    let swarm_token = || cluster.lab.ok(1, &["docker", "swarm", "join-token", "--quiet", "worker"]);
    let known = swarm_token();
    let removed = cluster.clusterctl(1, &["node", "remove", &format!("h{n}"), "--yes"]).succeeded();
    assert!(removed.stdout.contains("removed") || removed.stdout.contains("took"), "{removed:?}");
    cluster.expect_ready(&[1, 2, 3]);
    assert!(
        !cluster.swarm_nodes().iter().any(|node| node.starts_with(&format!("h{n} "))),
        "{:?}",
        cluster.swarm_nodes()
    );
    let back = cluster.clusterctl(n, &["node", "join", "--master", &cluster.master()]);
    assert_eq!(back.code, Some(11), "{back:?}");
    assert!(back.stderr.contains("reason=node-removed") || back.stderr.contains("reason=removed"), "{back:?}");
    assert_eq!(join_with(cluster, n, token, &[]).code, Some(11));
    assert_ne!(swarm_token(), known);
    cluster.lab.ok(n, &["docker", "swarm", "leave", "--force"]);
    let (token, _) = new_token(cluster, &[]);
    join_with(cluster, n, &token, &[]).succeeded().did(&["join the Swarm"]);
    cluster.expect_ready(&[1, 2, 3, n]);
}

/// The same commands from another host, with an administrator's certificate and with nothing else.
fn an_administrator_elsewhere(cluster: &Cluster, n: u8) {
    cluster.clusterctl(1, &["master", "admin", "create", "ops", "--out", "/root/ops.pem"]).succeeded();
    assert_eq!(cluster.lab.ok(1, &["stat", "-c", "%a", "/root/ops.pem"]), "600");
    let file = cluster.lab.ok(1, &["cat", "/root/ops.pem"]);
    cluster.write(n, "/root/ops.pem", &file);
    cluster.lab.ok(n, &["chmod", "600", "/root/ops.pem"]);
    let controller = cluster.master();
    let list = cluster.clusterctl(n, &["node", "list", "--controller", &controller, "--admin-cert", "/root/ops.pem"]);
    let list = list.succeeded();
    assert!(list.stdout.contains("NODE ID") && list.stdout.contains("h3"), "{list:?}");
    let made = ["token", "create", "--controller", &controller, "--admin-cert", "/root/ops.pem"];
    assert!(cluster.clusterctl(n, &made).succeeded().stdout.contains("CCTL1-"));
    cluster.clusterctl(1, &["master", "admin", "revoke", "ops"]).succeeded();
    let revoked = cluster.clusterctl(n, &["node", "list", "--admin-cert", "/root/ops.pem"]);
    revoked.refused(11, &["reason=not-permitted"]);
    // A host's own certificate administers nothing, and a host without any does not either.
    let without = cluster.clusterctl(n, &["node", "list"]);
    assert_ne!(without.code, Some(0), "{without:?}");
}

/// The CA is replaced under a running cluster: nobody loses its connection, and new tokens pin the new one.
fn the_authority_is_replaced(cluster: &Cluster, old: &str) {
    cluster.clusterctl(1, &["master", "cert", "rotate", "--yes"]).succeeded();
    let (new, _) = new_token(cluster, &[]);
    assert_ne!(new.split('-').nth(1), old.split('-').nth(1), "the new token pins the new CA");
    for n in 2..=4 {
        let again = cluster.clusterctl(n, &["node", "join"]).succeeded();
        assert!(again.stdout.starts_with("nothing to do\n"), "h{n}: {again:?}");
    }
    for token in [old, new.as_str()] {
        join_with(cluster, 3, token, &[]).succeeded().did(&[]);
    }
    cluster.lab.ok(1, &["systemctl", "restart", "clusterctl-master.service"]);
    cluster.clusterctl(2, &["node", "join"]).succeeded().did(&[]);
}

/// The commands as the specification spells them, word by word: with an approval on the master's socket.
#[test]
fn lab_the_literal_commands_with_an_approval() {
    if !usable("lab_the_literal_commands_with_an_approval") {
        return;
    }
    let cluster = Cluster::up("e2e-word", 2);
    cluster.clusterctl(1, &["master", "init"]).succeeded();
    let serve =
        "nohup clusterctl master serve --wait-for-minimum --min-managers 1 --min-workers 1 >/var/log/serve 2>&1 &";
    cluster.lab.ok(1, &["sh", "-c", serve]);
    wait_for("the controller listens", PATIENCE, || cluster.clusterctl(1, &["master", "status"]).code == Some(0));
    std::thread::scope(|scope| {
        let join = scope.spawn(waiting_join(&cluster, 2));
        let request = pending(&cluster, "h2");
        assert_eq!(cluster.status()["Gate"]["State"], "waiting", "a request does not count");
        cluster.clusterctl(1, &["request", "approve", request["Id"].as_str().unwrap()]).succeeded();
        join.join().unwrap().succeeded().did(&["join the Swarm"]);
    });
    cluster.expect_ready(&[1, 2]);
}

/// The same with the controller that the specification describes: open, and in clear text besides TLS.
#[test]
fn lab_the_literal_commands_with_open_admission() {
    if !usable("lab_the_literal_commands_with_open_admission") {
        return;
    }
    let cluster = Cluster::up("e2e-open", 2);
    cluster.clusterctl(1, &["master", "init"]).succeeded();
    let serve = "nohup clusterctl master serve --admission open --plaintext --wait-for-minimum --min-managers 1 --min-workers 1 >/var/log/serve 2>&1 &";
    cluster.lab.ok(1, &["sh", "-c", serve]);
    wait_for("the controller listens", PATIENCE, || cluster.clusterctl(1, &["master", "status"]).code == Some(0));
    let join = cluster.clusterctl(2, &["node", "join", "--master", &cluster.master()]).succeeded();
    join.did(&["join the Swarm"]);
    cluster.expect_ready(&[1, 2]);
    let warned = cluster.lab.ok(1, &["cat", "/var/log/serve"]);
    assert!(warned.contains("[WARN]") && warned.contains("whoever reaches"), "{warned}");
}
