//! The real binary as a process: help, exit codes, output formats, broken settings. Nothing here needs root, Docker
//! or a network.

#![expect(clippy::unwrap_used, reason = "test helpers outside of test functions")]

mod administration;
mod controller;
mod docker;
mod downgrade;
mod exit_codes;
mod idle;
mod restoring;
pub(crate) mod served;
mod supervised;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clusterctl::providers::mounts::ProbeResult;

/// The binary with a clean environment, away from this machine's own settings.
#[expect(clippy::disallowed_methods, reason = "the process itself is what is tested")]
fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clusterctl"));
    command.args(arguments).env_clear().env("CLUSTERCTL_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    binary(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn last_line(output: &Output) -> String {
    stderr(output).lines().last().unwrap_or_default().to_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// S2-01, S2-11 to S2-13: the modes are there, with help and examples.
#[test]
fn help_is_on_stdout_and_shows_examples() {
    for arguments in [
        &["--help"][..],
        &["master", "--help"],
        &["master", "init", "--help"],
        &["master", "serve", "--help"],
        &["node", "join", "--help"],
        &["config", "show", "--help"],
        &["ip", "-h"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(stdout(&output).contains("Examples:") && stderr(&output).is_empty(), "{arguments:?}");
    }
    let output = run(&["master", "serve", "--help"]);
    for flag in [
        "--listen",
        "--advertise-addr",
        "--admission",
        "--plaintext",
        "--min-managers",
        "--min-workers",
        "--wait-for-minimum",
        "--state-dir",
    ] {
        assert!(stdout(&output).contains(flag), "{flag}");
    }
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        &["frobnicate"][..],
        &["node", "join", "--frobnicate"],
        &["master", "init", "--enable-glusterfs", "--disable-glusterfs"],
        &["--output", "xml", "version"],
        &[],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(last_line(&output), "result=failed reason=usage next=\"clusterctl --help\"", "{arguments:?}");
        assert!(stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_in_every_format() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(stdout(&run(&["--version"])), format!("clusterctl {version}\n"));
    assert!(stdout(&run(&["version"])).starts_with(&format!("clusterctl {version} (protocol ")));
    assert_eq!(json(&run(&["version", "--output", "json"]))["version"], version);
    assert!(stdout(&run(&["version", "-o", "yaml"])).contains(&format!("version: {version}")));
}

/// S2-14: file < environment < flags, and where each value came from.
#[test]
fn config_show_names_origins() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(
        &directory,
        "c.yaml",
        "state_dir: /srv/state\nlog:\n  level: error\n  format: json\noverlay:\n  provider: netbird\n  config: canary\n",
    );
    let mut command = binary(&["config", "show", "--config", text(&path), "--state-dir", "/srv/flag"]);
    let output = command.env("CLUSTERCTL_LOG_FORMAT", "text").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    let row = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("state_dir "), "/srv/flag --state-dir");
    assert_eq!(row("log.level "), format!("error {}:3", path.display()));
    assert_eq!(row("log.format "), "text $CLUSTERCTL_LOG_FORMAT");
    assert_eq!(row("master.listen "), "0.0.0.0:7000 default");
    assert_eq!(row("overlay.config "), format!("«redacted» {}:7", path.display()));
    assert!(!shown.contains("canary") && !stderr(&output).contains("canary"));

    let output = run(&["config", "show", "--output", "json", "--quiet"]);
    let settings = json(&output)["settings"].as_array().unwrap().clone();
    let level = settings.iter().find(|setting| setting["key"] == "log.level").unwrap();
    assert_eq!((&level["value"], &level["origin"]), (&"warn".into(), &"--quiet".into()));
    assert_eq!(level["variable"], "CLUSTERCTL_LOG_LEVEL");
}

#[test]
fn broken_settings_are_all_named_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "c.yaml", "master:\n  listen: nowhere\ngluster:\n  replica: 2\n  volum: x\n");
    let mut command = binary(&["ip", "--config", text(&path)]);
    let output = command.env("CLUSTERCTL_NODE_TIMEOUT", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    let shown = stderr(&output);
    let place = path.display();
    for words in [
        "4 settings are wrong",
        &format!("{place}:2: `master.listen`"),
        "--listen",
        "CLUSTERCTL_MASTER_LISTEN",
        &format!("{place}:4: `gluster.replica`"),
        "split brain",
        &format!("{place}:5: `gluster.volum`: no such setting (did you mean `gluster.volume`?)"),
        "$CLUSTERCTL_NODE_TIMEOUT: `node.timeout`",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    assert_eq!(last_line(&output), "result=failed reason=invalid-settings next=-");

    let output = run(&["ip", "--config", "/no/such.yaml", "--output", "json"]);
    assert_eq!(output.status.code(), Some(12));
    let value = json(&output);
    assert_eq!((&value["result"], &value["exit"]), (&"failed".into(), &12.into()));
    assert!(value["error"].as_str().unwrap().contains("/no/such.yaml"));
    assert_eq!(last_line(&output), "result=failed reason=invalid-settings next=-");
}

/// S2-22, S2-23: file and level from the environment.
#[test]
fn logs_go_to_the_file_that_the_environment_names() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("x.log");
    // Settings that are hardly meant give a warning.
    let mut command = binary(&["config", "show"]);
    command.env("CLUSTERCTL_MASTER_MIN_WORKERS", "2").env("CLUSTERCTL_LOG_FILE", &log);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.contains("] - [WARN] - ") && written.starts_with("[20"), "{written}");
    assert_eq!(written, stderr(&output));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&log).unwrap().permissions());
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");

    let output = command.env("CLUSTERCTL_LOG_LEVEL", "error").output().unwrap();
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
    let output = command.env("CLUSTERCTL_LOG_FILE", "/no/such/directory/x.log").output().unwrap();
    assert_eq!(output.status.code(), Some(12));
    assert!(stderr(&output).contains("/no/such/directory/x.log"), "{}", stderr(&output));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("clusterctl") && stdout(&output).contains("wait-for-minimum"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn manual_pages_are_written() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", text(directory.path())]).status.code(), Some(0));
    for page in ["clusterctl.1", "clusterctl-master-init.1", "clusterctl-node-join.1"] {
        assert!(directory.path().join(page).is_file(), "{page}");
    }
    let output = run(&["man", "/no/such/directory"]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
}

/// S2-31: prints an address and nothing else; the ranking with `--explain`.
#[test]
fn ip_prints_the_address() {
    let output = run(&["ip"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let address: std::net::Ipv4Addr = stdout(&output).trim_end().parse().unwrap();
    assert!(stderr(&output).is_empty());
    let explained = stdout(&run(&["ip", "--explain"]));
    let mut lines = explained.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["RANK", "ADDRESS", "INTERFACE", "BECAUSE"]
    );
    assert!(lines.next().unwrap().starts_with("1 "));
    assert!(explained.contains("loopback, which reaches this host alone"), "{explained}");
    let value = json(&run(&["ip", "--explain", "--output", "json"]));
    assert_eq!(value["address"], address.to_string());
    assert_eq!(value["ranking"][0]["address"], address.to_string());
}

#[test]
fn nothing_piped_has_colour() {
    for arguments in
        [&["--help"][..], &["ip", "--explain"], &["config", "show"], &["frobnicate"], &["node", "join", "--role", "x"]]
    {
        let output = run(arguments);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    // More than a pipe holds, so that writing fails after the reader has gone.
    let mut child = binary(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let status = child.wait().unwrap();
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    // Where the pipe held it all, nothing was noticed.
    assert!(matches!(status.code(), Some(0 | 141)), "{status}");
    assert_eq!(complaint, "");
}

#[test]
fn reset_asks_before_it_erases() {
    let directory = tempfile::tempdir().unwrap();
    let reset = ["master", "reset", "--state-dir", text(directory.path())];
    let output = run(&reset);
    assert_eq!((output.status.code(), last_line(&output).as_str()), (Some(0), "result=ok reason=nothing-to-do next=-"));

    std::fs::create_dir(directory.path().join("controller")).unwrap();
    let output = run(&reset);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for words in ["--yes", "the cluster's CA, tokens and administrators", "join again with a new token"] {
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
    }
    assert_eq!(last_line(&output), "result=failed reason=not-confirmed next=-");
    assert!(directory.path().join("controller").exists());

    let output = run(&[&reset[..], &["--yes"]].concat());
    assert!(stdout(&output).contains("join every node again with a new token"), "{}", stdout(&output));
    assert!(!directory.path().join("controller").exists());
}

/// G12: the child that touches a mount in the parent's stead. Where nothing of ours is mounted it touches nothing.
#[test]
fn probe_mount_leaves_other_directories_alone() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), Path::new("/no/such/directory")] {
        let output = run(&["probe-mount", text(path)]);
        let judged = ProbeResult::of_exit(output.status.code(), &stderr(&output));
        assert_eq!(judged, ProbeResult::NotMounted);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
