//! `master backup` of a controller that serves, and `master restore` of what it wrote.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::json;

use super::served::Served;
use super::*;

const OPEN: [&str; 3] = ["--admission", "open", "--plaintext"];

fn serve(directory: &Arc<tempfile::TempDir>) -> Served {
    Served::again(Arc::clone(directory), Path::new("/none/docker.sock"), &[], &OPEN)
}

/// Registers a client without a key, and gives the answer.
fn register(controller: &Served, n: u8) -> serde_json::Value {
    use std::io::Write;
    let request =
        json!({"action": "register", "hostname": format!("n{n}"), "role": "worker", "ip": format!("10.0.0.{n}")});
    let mut stream = std::net::TcpStream::connect(controller.address()).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
    assert!(reply["Revision"].is_u64(), "{reply}");
    reply
}

fn restore(file: &Path, directory: &tempfile::TempDir) -> Output {
    let state = directory.path().join("state");
    run(&["master", "restore", text(file), "--state-dir", text(&state), "--output", "json"])
}

fn refused(output: &Output, exit: i32, reason: &str) {
    assert_eq!(output.status.code(), Some(exit), "{}", stderr(output));
    assert!(last_line(output).starts_with(&format!("result=failed reason={reason} ")), "{}", stderr(output));
}

/// C7: all that was acknowledged before the backup is in it, what came later is not; the CA is the same, the history another,
/// and nothing that is there is overwritten.
#[test]
fn a_backup_brings_the_cluster_back() {
    let first = Arc::new(tempfile::tempdir().unwrap());
    let controller = serve(&first);
    for n in 2..7 {
        register(&controller, n);
    }
    let token = controller.asked(&["token", "create"]);
    let file = first.path().join("cluster.backup");
    let output = controller.run(&["master", "backup", text(&file), "--output", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = json(&output);
    assert_eq!(said["nodes"], 6, "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The controller's own copy is gone, and a second backup does not take the first one's place.
    let names = std::fs::read_dir(first.path().join("state/controller")).unwrap();
    assert!(names.flatten().all(|entry| !entry.file_name().to_string_lossy().contains("backup")));
    let before = std::fs::read(&file).unwrap();
    refused(&controller.run(&["master", "backup", text(&file)]), 12, "file-exists");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    register(&controller, 7);
    let lost = controller.asked(&["master", "status"]);
    let authority = controller.asked(&["master", "cert", "show"])["Authorities"][0]["Fingerprint"].clone();
    refused(&restore(&file, &first), 12, "state-exists");
    controller.kill();
    refused(&restore(&file, &first), 12, "state-exists");

    let second = Arc::new(tempfile::tempdir().unwrap());
    let output = restore(&file, &second);
    assert!(output.status.success(), "{}", stderr(&output));
    let restored = json(&output);
    assert_eq!((&restored["revision"], &restored["nodes"]), (&said["revision"], &json!(6)), "{restored}");
    refused(&restore(&file, &second), 12, "state-exists");
    let controller = serve(&second);
    let status = controller.asked(&["master", "status"]);
    assert_eq!((&status["NodesTotal"], &status["ClusterId"]), (&json!(6), &lost["ClusterId"]), "{status}");
    assert_eq!(controller.asked(&["master", "cert", "show"])["Authorities"][0]["Fingerprint"], authority);
    let tokens = controller.asked(&["token", "list"]);
    assert!(tokens.to_string().contains(token["Id"].as_str().unwrap_or("no id")), "{tokens}");
    let reply = register(&controller, 2);
    assert!(reply["Incarnation"].as_str().is_some_and(|incarnation| incarnation.len() == 36), "{reply}");
    // Who joined since then is new.
    register(&controller, 7);
    assert_eq!(controller.asked(&["master", "status"])["NodesTotal"], 7);
    assert!(controller.stop().success());
}

/// What is no backup, or not whole, or of a later program, makes nothing.
#[test]
fn only_a_whole_backup_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let controller = Served::start(&[]);
    let whole = directory.path().join("whole");
    assert!(controller.run(&["master", "backup", text(&whole)]).status.success());
    let text_of = std::fs::read_to_string(&whole).unwrap();
    for (name, content, exit, reason) in [
        ("foreign", "hello\n".to_owned(), 12, "no-backup"),
        ("cut", text_of[..text_of.len() - 40].to_owned(), 12, "backup-damaged"),
        ("changed", text_of.replacen("cluster ", "clusteR ", 1), 12, "backup-damaged"),
        ("newer", text_of.replacen("\"Version\":1", "\"Version\":9", 1), 18, "newer-backup"),
    ] {
        let file = write(&directory, name, &content);
        refused(&restore(&file, &directory), exit, reason);
        assert!(!directory.path().join("state/controller").exists(), "{name}");
    }
    refused(&restore(Path::new("/no/such/file"), &directory), 12, "backup-unreadable");
}

/// A start that was refused leaves an empty state behind, which is no state to keep.
#[test]
fn an_empty_state_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let controller = Served::start(&[]);
    let file = directory.path().join("backup");
    assert!(controller.run(&["master", "backup", text(&file)]).status.success());
    controller.kill();
    let place = directory.path().join("state/controller");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use clusterctl::controller::{state::ClusterState, store::Store, store::StoreOptions};
        Store::<ClusterState>::open(&place, StoreOptions::default()).await.unwrap().close().await;
    });
    let output = restore(&file, &directory);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.join("authority/authority.json").exists());
    assert!(!directory.path().join("state/controller.restoring").exists());
}

/// C7: a CA whose state is gone is not served with another one.
#[test]
fn a_lost_state_is_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let controller = Served::start(&[]);
    let state = controller.directory();
    assert!(controller.stop().success());
    std::fs::remove_file(state.path().join("state/controller/state.redb")).unwrap();
    for _ in 0..2 {
        let output = run(&[
            "master",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--advertise-addr",
            "127.0.0.1",
            "--docker-socket",
            "/none",
            "--state-dir",
            text(&state.path().join("state")),
            "--socket",
            text(&directory.path().join("socket")),
        ]);
        refused(&output, 17, "state-lost");
        assert!(stderr(&output).contains("clusterctl master init --adopt"), "{}", stderr(&output));
    }
}

/// C6: a file that is not what was written is not served, and is left for whoever knows better.
#[test]
fn a_damaged_state_is_not_served() {
    let controller = Served::start(&[]);
    let directory = controller.directory();
    assert!(controller.stop().success());
    let file = directory.path().join("state/controller/state.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (state, socket) = (directory.path().join("state"), directory.path().join("other"));
    let output =
        run(&[
            &[
                "master",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--advertise-addr",
                "127.0.0.1",
                "--docker-socket",
                "/none",
            ][..],
            &["--state-dir", text(&state), "--socket", text(&socket)],
        ]
        .concat());
    refused(&output, 17, "state-damaged");
    for step in ["clusterctl master restore FILE", "clusterctl master init --adopt", "nothing was changed"] {
        assert!(stderr(&output).contains(step), "{step}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}
