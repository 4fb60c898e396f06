//! What needs a process of its own: a limit on open files, another user.
//!
//! The process is this test binary again; tests below are its other side, and do nothing when run by themselves.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use super::*;

const SOCKET: &str = "CLUSTERCTL_TEST_SOCKET";

#[expect(clippy::disallowed_methods, reason = "the only channel from the test that started this process")]
fn told_socket() -> Option<std::ffi::OsString> {
    std::env::var_os(SOCKET)
}

fn start(test: &str, socket: &Path, change: impl FnOnce(&mut std::process::Command)) -> Child {
    #[expect(clippy::disallowed_methods, reason = "the process is this one again, as another user or with less")]
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("listener::process::{test}"), "--nocapture"])
        .env(SOCKET, socket)
        .stdout(Stdio::piped());
    change(&mut command);
    command.spawn().unwrap()
}

/// The other side of [`survives_without_file_descriptors`].
#[tokio::test]
async fn runs_out_of_file_descriptors() {
    if told_socket().is_none() {
        return;
    }
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let door = Door::open(ListenOptions::default()).await;
    assert_eq!(door.monitor.status().max_open, 16);
    // Whoever else uses descriptors in this process: everything but one, which a client needs.
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    let mut client = door.connect().await;
    client.write_all(br#"{"hostname":"patient"}"#).await.unwrap();
    until("accepting failed", || door.monitor.status().accept_failures > 1).await;
    drop(hoard);
    assert_eq!(reply(&mut client).await["Hostname"], "patient");
    door.close().await;
    println!("survived");
}

/// C11: without file descriptors accepting rests and goes on by itself; a client that connected meanwhile is answered.
#[test]
fn survives_without_file_descriptors() {
    let child = start("runs_out_of_file_descriptors", Path::new("-"), |_| {});
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("survived"), "{text}");
}

/// The other side of [`other_users_are_not_permitted`].
#[test]
fn asks_as_another_user() {
    let Some(socket) = told_socket() else { return };
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(br#"{"action":"status"}"#).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    println!("told {text}");
}

/// Even where the socket's mode would let them, other users get nothing from it.
#[tokio::test]
async fn other_users_are_not_permitted() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may become another user");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(scratch.path(), 0o755);
    let path = scratch.path().join("clusterctl.sock");
    let door = Door::open(ListenOptions { unix: Some(path.clone()), ..ListenOptions::default() }).await;
    open(&path, 0o666);
    let child = start("asks_as_another_user", &path, |command| {
        command.uid(65_534).gid(65_534).current_dir("/");
    });
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("told") && text.contains("not-permitted"), "{text}");
    assert_eq!(door.monitor.status().answered, 0);
    door.close().await;
}
