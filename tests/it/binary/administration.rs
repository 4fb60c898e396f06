//! The commands that administer a cluster, as a process, against a controller that only has words.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use clusterctl::cluster::{JoinToken, KeyFingerprint, ShortId, TokenSecret};
use serde_json::{Value, json};

use super::controller::Wordy;
use super::{binary, json as body, last_line, run, stderr, stdout, text, write};

fn ask(controller: &Wordy, arguments: &[&str]) -> Output {
    let socket = controller.socket();
    run(&[arguments, &["--socket", text(&socket)]].concat())
}

fn token() -> String {
    let token = JoinToken {
        pin: KeyFingerprint::of_public_key(b"ca"),
        id: ShortId::of_bytes([1, 2, 3, 4, 5]),
        secret: TokenSecret::of_bytes([7; 16]),
    };
    token.reveal()
}

/// Every command of this file with the words that it needs.
const COMMANDS: [&[&str]; 14] = [
    &["token", "create"],
    &["token", "list"],
    &["token", "revoke", "k3x5q7ab"],
    &["request", "list"],
    &["request", "approve", "k3x5q7ab"],
    &["request", "reject", "k3x5q7ab", "--reason", "x"],
    &["node", "list"],
    &["node", "show", "h3"],
    &["node", "remove", "h3"],
    &["node", "replace", "h3"],
    &["master", "cert", "show"],
    &["master", "cert", "rotate", "--yes"],
    &["master", "admin", "create", "alice", "--out", "/nonexistent/alice.json"],
    &["master", "status"],
];

#[test]
fn help_names_both_ways_to_the_controller() {
    for command in COMMANDS {
        let output =
            run(&[&command[..command.len().min(if command[0] == "master" { 3 } else { 2 })], &["--help"]].concat());
        let shown = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", stderr(&output));
        for words in ["Examples:", "--admin-cert", "--controller", "--socket"] {
            assert!(shown.contains(words), "{command:?}: {words}\n{shown}");
        }
    }
}

#[test]
fn help_of_the_most_used_ones() {
    let own = |arguments: &[&str]| {
        let shown = stdout(&run(arguments));
        let (own, _) = shown.split_once("Options of every command:").unwrap();
        own.trim_end().to_owned()
    };
    insta::assert_snapshot!(own(&["token", "create", "-h"]), @r"
    Make a token and print the line that joins with it

    Usage: clusterctl token create [OPTIONS]

    Options:
          --role <ROLE>         What a host may be in the Swarm
          --profile <PROFILE>   A profile that a host gets; may be given several times
          --node <NAME>         Only the host of this name may use it
          --uses <N>            How many hosts it admits [default: workers any number, managers 1]
          --expires <DURATION>  For how long it is valid, such as 30m, 24h or 7d [default: workers 24h,
                                managers 15m]
      -h, --help                Print help (see more with '--help')

    From another host than the master:
          --admin-cert <FILE>         The administrator's file; without one, the controller on this host
                                      is asked
          --controller <HOST[:PORT]>  The controller to ask [default: the one in the administrator's
                                      file]
    ");
    insta::assert_snapshot!(own(&["request", "approve", "-h"]), @r"
    Let a host in

    Usage: clusterctl request approve [OPTIONS] <ID>

    Arguments:
      <ID>  The request's id, as `clusterctl request list` and the waiting host show it

    Options:
          --role <ROLE>        What a host may be in the Swarm
          --profile <PROFILE>  A profile that a host gets; may be given several times
      -h, --help               Print help (see more with '--help')

    From another host than the master:
          --admin-cert <FILE>         The administrator's file; without one, the controller on this host
                                      is asked
          --controller <HOST[:PORT]>  The controller to ask [default: the one in the administrator's
                                      file]
    ");
    insta::assert_snapshot!(own(&["node", "remove", "-h"]), @r"
    Take a host out of the cluster

    Usage: clusterctl node remove [OPTIONS] <ID|HOSTNAME>

    Arguments:
      <ID|HOSTNAME>  The host's id or name, as `clusterctl node list` shows it

    Options:
          --force  Go on where its tasks do not end, or it cannot be reached
      -y, --yes    Do not ask
      -h, --help   Print help (see more with '--help')

    From another host than the master:
          --admin-cert <FILE>         The administrator's file; without one, the controller on this host
                                      is asked
          --controller <HOST[:PORT]>  The controller to ask [default: the one in the administrator's
                                      file]
    ");
}

#[test]
fn without_a_controller_they_say_how_to_get_one() {
    for command in COMMANDS.into_iter().filter(|command| !command.contains(&"admin")) {
        let output = run(&[command, &["--socket", "/nonexistent/socket"]].concat());
        assert_eq!(output.status.code(), Some(10), "{command:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{command:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(stderr(&output), @r#"
            error: no controller answers at `/nonexistent/socket`: No such file or directory (os error 2)
            hint: start it with `clusterctl master serve`; on another host, run this on the master, or pass `--admin-cert FILE`; `--socket` names another socket
            result=waiting reason=no-controller next="clusterctl master serve"
            "#);
        }
    }
}

#[test]
fn an_address_alone_is_not_enough() {
    let mut command = binary(&["node", "list"]);
    let output = command.env("CLUSTERCTL_CONTROLLER", "10.0.0.1").output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    insta::assert_snapshot!(stderr(&output), @r"
    error: as whom is the controller at 10.0.0.1:7000 to be asked?
    hint: pass `--admin-cert FILE`, which `clusterctl master admin create NAME --out FILE` makes on the master; without `--controller`, the controller on this host is asked
    result=failed reason=no-admin-cert next=-
    ");
}

/// T15: what is wrong with an administrator's file is said without what is in it.
#[test]
fn administrators_files_are_judged_before_anything_is_contacted() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "alice.json", "{\"version\":1,\"private_key\":\"canary\"}");
    let output = run(&["node", "list", "--admin-cert", text(&path)]);
    assert_eq!(output.status.code(), Some(12));
    let shown = stderr(&output);
    assert!(shown.contains("not an administrator's file") && shown.contains("reason=admin-cert"), "{shown}");
    assert!(shown.contains("chmod 600") && !shown.contains("canary"), "{shown}");
    let mut command = binary(&["token", "list"]);
    let output = command.env("CLUSTERCTL_ADMIN_CERT", "/nonexistent/alice.json").output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    assert!(stderr(&output).contains("/nonexistent/alice.json"), "{}", stderr(&output));
}

/// A refusal keeps the controller's words, and its code decides the exit code.
#[test]
fn refusals_have_exit_codes() {
    for (code, exit) in [
        ("not-permitted", 11),
        ("token-refused", 11),
        ("role-not-granted", 11),
        ("unknown-node", 12),
        ("hostname-taken", 12),
        ("quorum", 16),
        ("holds-brick", 17),
        ("removed", 11),
        ("certificate-expired", 11),
        ("no-authority", 17),
        ("rotation-under-way", 10),
        ("tasks-running", 10),
    ] {
        let refusal = json!({"Status": "error", "Code": code, "Message": "no", "Hint": "look again"});
        let output = ask(&Wordy::saying(refusal), &["node", "remove", "h3", "--output", "json"]);
        assert_eq!(output.status.code(), Some(exit), "{code}: {}", stderr(&output));
        let value = body(&output);
        assert_eq!(
            (&value["reason"], &value["error"], &value["hint"]),
            (&code.into(), &"no".into(), &"look again".into())
        );
    }
    let waiting = json!({"Status": "waiting", "Reason": "overloaded", "Message": "too many at once"});
    let output = ask(&Wordy::saying(waiting), &["node", "remove", "h3"]);
    assert_eq!(output.status.code(), Some(10));
    assert!(last_line(&output).starts_with("result=waiting reason=overloaded"), "{}", stderr(&output));
}

#[test]
fn a_token_comes_with_the_line_that_uses_it() {
    let reply = json!({
        "Status": "ready", "Token": token(), "Id": "aebagbaf", "Role": "manager", "Profiles": ["core"], "Node": "h3",
        "Uses": 1, "Expires": "2999-01-01T00:00:00Z",
    });
    let controller = Wordy::saying(reply);
    let arguments =
        ["token", "create", "--role", "manager", "--profile", "core", "--node", "h3", "--uses", "1", "--expires", "2h"];
    let output = ask(&controller, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = format!("clusterctl node join --master 10.0.0.1:7000 --token {}", token());
    let shown = stdout(&output);
    assert!(shown.lines().next() == Some(&token()) && shown.contains(&line) && shown.contains("secret"), "{shown}");
    assert!(!stderr(&output).contains("CCTL1"), "{}", stderr(&output));
    let asked = controller.asked();
    assert_eq!(asked.len(), 1);
    let wanted = json!({"Action": "token-create", "Role": "manager", "Profiles": ["core"], "Hostname": "h3", "Uses": 1, "ExpiresS": 7200});
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&asked[0][field], value, "{field}");
    }
    let value = body(&ask(&controller, &["token", "create", "-o", "json"]));
    assert_eq!((&value["Join"], &value["result"]), (&line.into(), &"ok".into()));
}

/// Lists come page by page and are shown whole; times stay as they are for programs.
#[test]
fn lists_are_shown_whole() {
    let node = |id: &str| json!({"NodeId": id, "Hostname": id, "LastSeen": "2020-01-02T03:04:05Z", "Status": "ready"});
    let page = move |request: &Value| match request["After"].as_str() {
        None => json!({"Status": "ready", "Nodes": [node("a"), node("b")], "After": "b"}),
        Some("b") => json!({"Status": "ready", "Nodes": [node("c")], "After": null}),
        Some(other) => panic!("there is nothing after {other}"),
    };
    let controller = Wordy::answering(page);
    let value = body(&ask(&controller, &["node", "list", "--output", "json"]));
    let names: Vec<&str> =
        value["Nodes"].as_array().unwrap().iter().filter_map(|node| node["NodeId"].as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(value["Nodes"][0]["LastSeen"], "2020-01-02T03:04:05Z");
    let shown = stdout(&ask(&controller, &["node", "list"]));
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(
        shown.starts_with("NODE ID  HOSTNAME  ROLE  STATUS  ADDRESS  LAST SEEN\n") && shown.contains(" days ago"),
        "{shown}"
    );
    assert!(stdout(&ask(&controller, &["node", "list", "-o", "yaml"])).contains("NodeId: c"));
}

/// A status has the first nodes alone; the command shows all of them.
#[test]
fn the_status_of_many_nodes_is_shown_whole() {
    let controller = Wordy::answering(|request: &Value| match request["Action"].as_str() {
        Some("status") => json!({"Status": "ready", "Nodes": [{"Hostname": "h1"}], "NodesTotal": 2}),
        _ => json!({"Status": "ready", "Nodes": [{"Hostname": "h1"}, {"Hostname": "h2"}], "After": null}),
    });
    let shown = stdout(&ask(&controller, &["master", "status"]));
    assert!(shown.contains("\nh1 ") && shown.contains("\nh2 "), "{shown}");
    let value = body(&ask(&controller, &["master", "status", "--output", "json"]));
    assert_eq!(value["Nodes"].as_array().map(Vec::len), Some(2), "{value}");
}

#[test]
fn requests_are_decided_by_their_id() {
    let decided =
        json!({"Id": "k3x5q7ab", "Hostname": "h3", "Role": "manager", "Granted": "worker", "Status": "approved"});
    let controller = Wordy::saying(json!({"Status": "ready", "Id": "k3x5q7ab", "Request": decided}));
    let output = ask(&controller, &["request", "approve", "K3X5Q7AB", "--role", "worker"]);
    assert_eq!(stdout(&output), "`h3` is let in; as a worker it goes on by itself\n");
    assert_eq!(last_line(&output), "result=ok reason=approved next=\"clusterctl node list\"");
    let output = ask(&controller, &["request", "reject", "k3x5q7ab", "--reason", "not one of ours"]);
    assert_eq!(stdout(&output), "`h3` is turned away; its join ends with that reason\n");
    let asked = controller.asked();
    assert_eq!((&asked[0]["Id"], &asked[0]["Role"]), (&"k3x5q7ab".into(), &"worker".into()));
    assert_eq!((&asked[1]["Action"], &asked[1]["Reason"]), (&"request-reject".into(), &"not one of ours".into()));
}

/// Who asks to be a manager is not made one by an approval that does not say so: nothing is asked for that was not
/// said, and the controller's question comes through.
#[test]
fn an_approval_grants_what_it_says() {
    let refusal = json!({"Status": "error", "Code": "role-needed", "Message": "`h3` asked to be a manager", "Hint": "say `--role`"});
    let controller = Wordy::saying(refusal);
    let output = ask(&controller, &["request", "approve", "k3x5q7ab"]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    assert_eq!(last_line(&output), "result=failed reason=role-needed next=-");
    assert_eq!(controller.asked()[0].get("Role"), None);
}

/// What programs read is one value and nothing before it.
#[test]
fn structured_output_is_nothing_else() {
    let controller = Wordy::saying(json!({"Status": "ready", "Name": "alice"}));
    let value = body(&ask(&controller, &["master", "admin", "revoke", "alice", "--output", "json"]));
    assert_eq!((&value["name"], &value["reason"]), (&"alice".into(), &"revoked".into()));
    let shown = stdout(&ask(&controller, &["master", "admin", "revoke", "alice"]));
    assert_eq!(shown, "what was made for `alice` opens nothing any more\n");
    let directory = tempfile::tempdir().unwrap();
    for command in [&["node", "leave"][..], &["master", "reset", "--yes"]] {
        let output = run(&[command, &["--state-dir", text(directory.path()), "--output", "json"]].concat());
        assert_eq!(body(&output)["reason"], "nothing-to-do", "{command:?}");
    }
}

/// The controller's words about one node are shown, in the shape that it gives them.
#[test]
fn what_the_controller_knows_of_a_node_is_shown() {
    let node = json!({
        "NodeId": "abcdefghijklmnopqrstuvwxyz", "Hostname": "h3", "Address": "10.0.0.3", "Role": "worker",
        "Status": "registered", "LastSeen": null, "Profiles": [], "Swarm": "not joined", "SwarmRole": null,
        "SwarmNodeId": null, "Storage": "none", "Mounted": false, "Finding": "", "Registered": "2020-01-02T03:04:05Z",
        "Revision": 7, "Client": "legacy", "Key": null, "Granted": "worker", "AdmittedBy": "token aebagbaf",
        "Updated": "2020-01-02T03:04:05Z", "SeenFrom": "192.0.2.7", "ReplaceableUntil": "2999-01-01T00:00:00Z",
        "Advice": "its client has no key", "OS": "", "CPU": 1, "MemoryMb": 1, "DockerVersion": "", "BrickReady": false,
        "BrickMark": null,
    });
    let shown = stdout(&ask(&Wordy::saying(json!({"Status": "ready", "Node": node})), &["node", "show", "h3"]));
    for words in ["its client has no key", "192.0.2.7", "token aebagbaf", "role granted", "name is free until"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let reply = json!({
        "Status": "ready", "NodeId": "abcdefghijklmnopqrstuvwxyz", "Hostname": "h3", "Until": "2999-01-01T00:00:00Z",
        "Finding": "the volume has a brick at 10.0.0.3",
    });
    let shown = stdout(&ask(&Wordy::saying(reply), &["node", "replace", "h3"]));
    assert!(shown.contains("attention: the volume has a brick") && shown.contains("that ends in"), "{shown}");
}

/// A CA that ends at once costs more, and that is what is asked about.
#[test]
fn a_stolen_authority_ends_at_once() {
    let reply = json!({"Status": "ready", "Active": "bbbb", "Previous": null, "TrustedUntil": null});
    let controller = Wordy::saying(reply);
    let output = ask(&controller, &["master", "cert", "rotate", "--now"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("every node has to join again"), "{}", stderr(&output));
    assert_eq!(controller.asked(), [] as [Value; 0]);
    let output = ask(&controller, &["master", "cert", "rotate", "--now", "--yes"]);
    assert!(stdout(&output).contains("trusted no longer"), "{}", stdout(&output));
    ask(&controller, &["master", "cert", "rotate", "--yes"]);
    let asked = controller.asked();
    assert_eq!((&asked[0]["Force"], asked[1].get("Force")), (&true.into(), None));
    assert!(asked.iter().all(|request| request["Action"] == "authority-rotate"));
    let help = stdout(&run(&["master", "cert", "rotate", "--help"]));
    assert!(help.contains("--now") && help.contains("30 days"), "{help}");
}

/// X8: force is asked about before anything is sent.
#[test]
fn force_says_what_it_costs_and_asks() {
    let id = "abcdefghijklmnopqrstuvwxyz";
    let done = ["drained it: because"];
    let controller = Wordy::saying(json!({"Status": "ready", "NodeId": id, "Hostname": "h3", "Done": done}));
    let output = ask(&controller, &["node", "remove", "h3", "--force"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("docker swarm leave --force") && stderr(&output).contains("--yes"));
    assert_eq!(controller.asked(), [] as [Value; 0]);
    let output = ask(&controller, &["master", "cert", "rotate"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("every token made before"), "{}", stderr(&output));
    assert_eq!(controller.asked(), [] as [Value; 0]);

    let output = ask(&controller, &["node", "remove", "h3", "--force", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("done: drained it: because\n`h3` no longer belongs"), "{}", stdout(&output));
    ask(&controller, &["node", "remove", id]);
    let asked = controller.asked();
    assert_eq!((&asked[0]["Hostname"], &asked[0]["Force"]), (&"h3".into(), &true.into()));
    assert_eq!((&asked[1]["Id"], asked[1].get("Force")), (&id.into(), None));
}

/// T15: an administrator's key is in its file, for its owner alone, and nowhere else.
#[test]
fn an_administrators_file_is_made_once_and_kept_private() {
    let reply =
        json!({"Status": "ready", "Certificate": "cert", "Authorities": "cas", "NotAfter": "2999-01-01T00:00:00Z"});
    let controller = Wordy::saying(reply);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.json");
    let create = ["master", "admin", "create", "alice", "--out", text(&path)];
    let output = ask(&controller, &create);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(&path).unwrap();
    let record: Value = serde_json::from_str(&written).unwrap();
    assert_eq!((&record["name"], &record["controller"]), (&"alice".into(), &"10.0.0.1:7000".into()));
    let key = record["private_key"].as_str().unwrap().lines().nth(1).unwrap();
    let seen = format!("{}{}{}", stdout(&output), stderr(&output), controller.asked()[0]);
    assert!(key.len() > 40 && !seen.contains(key), "{seen}");

    let output = ask(&controller, &create);
    assert_eq!(
        (output.status.code(), last_line(&output).as_str()),
        (Some(12), "result=failed reason=file-exists next=-")
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    assert_eq!(controller.asked().len(), 1, "nobody was certified for a file that could not be made");

    let refusing = Wordy::saying(json!({"Status": "error", "Code": "not-permitted", "Message": "no", "Hint": ""}));
    let other = directory.path().join("bob.json");
    let output = ask(&refusing, &["master", "admin", "create", "bob", "--out", text(&other)]);
    assert_eq!(output.status.code(), Some(11));
    assert!(!other.exists(), "no empty file is left behind");
}

/// A token is judged before anything is contacted, and nothing repeats it.
#[test]
fn a_damaged_token_contacts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let master = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    master.set_nonblocking(true).unwrap();
    let address = master.local_addr().unwrap().to_string();
    let damaged = format!("{}canary", &token()[..80]);
    let file = write(&directory, "token", &damaged);
    let join = ["node", "join", "--master", &address, "--state-dir", text(directory.path())];
    for (arguments, warning) in [
        (&["--token", &damaged][..], Some("prefer `--token-file FILE`")),
        (&["--token-file", text(&file)], Some("chmod 600")),
        (&["--token-file", "/nonexistent/token"], None),
        // Nothing at all is no token.
        (&["--token-file", "-"], None),
    ] {
        let output = run(&[&join[..], arguments].concat());
        assert_eq!(output.status.code(), Some(12), "{arguments:?}: {}", stderr(&output));
        let shown = stderr(&output);
        assert!(!shown.contains("canary") && !shown.contains(&damaged[60..80]), "{shown}");
        assert!(warning.is_none_or(|words| shown.contains(words)), "{shown}");
    }
    let mut command = binary(&join);
    let output = command.env("CLUSTERCTL_TOKEN", &damaged).output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    insta::assert_snapshot!(stderr(&output), @r"
    error: the token is damaged: it has 94 characters, `CCTL1-` and three groups of a-z and 2-7
    hint: take it whole out of what `clusterctl token create` printed on the master, `CCTL1-` included
    result=failed reason=bad-token next=-
    ");
    assert_eq!(master.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// T15: the setting is a secret, and is a reason for no other command to fail.
#[test]
fn a_token_in_the_environment_is_not_shown() {
    let mut command = binary(&["config", "show"]);
    let output = command.env("CLUSTERCTL_TOKEN", "canary").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    let line = shown.lines().find(|line| line.starts_with("node.token ")).unwrap();
    assert!(line.contains("«redacted»") && line.contains("$CLUSTERCTL_TOKEN"), "{line}");
    assert!(!shown.contains("canary") && !stderr(&output).contains("canary"));
}
