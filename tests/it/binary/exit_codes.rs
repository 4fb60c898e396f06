//! The exit codes are an interface: the README's table and the program's own list are the same, and for each code there
//! is a test in which the built program ends with it.
//!
//! The surprise: that a named test shows its code is read off its source. It has the number, or the name of the
//! number, in the lines of the test, as what it expects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{ExitStatus, Stdio};

use super::docker::Engine;
use super::{binary, last_line, run, stderr, text};

/// Each code, and a test in which the program ends with it.
const REACHED: [(u8, &str, &str); 16] = [
    (0, "binary", "help_is_on_stdout_and_shows_examples"),
    (2, "binary", "usage_errors_exit_with_2"),
    (10, "binary::administration", "refusals_have_exit_codes"),
    (11, "binary::administration", "refusals_have_exit_codes"),
    (12, "binary::administration", "a_damaged_token_contacts_nobody"),
    (13, "cluster::refusals", "a_host_in_another_swarm"),
    (14, "cluster::refusals", "a_brick_of_another_volume"),
    (15, "cluster::refusals", "a_host_whose_swarm_is_locked"),
    (16, "cluster::refusals", "lab_the_last_manager_does_not_leave"),
    (17, "cluster::refusals", "a_mount_point_with_files"),
    (18, "binary::downgrade", "a_node_does_not_go_back"),
    (19, "cluster::empty_root", "the_program_runs_in_an_empty_root"),
    (70, "binary::exit_codes", "a_panic_is_a_bug"),
    (130, "binary::exit_codes", "signals_end_a_join_with_their_own_codes"),
    (141, "binary", "a_reader_that_goes_away_ends_it_quietly"),
    (143, "binary::exit_codes", "signals_end_a_join_with_their_own_codes"),
];

/// No command compares yet.
const UNREACHED: [u8; 1] = [1];

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The codes of `Exit`: lines such as `    Waiting = 10,`.
fn codes_of_the_program() -> Vec<u8> {
    let source = read("src/cli/failure.rs");
    let list = source.split("pub enum Exit {").nth(1).unwrap().split("\n}").next().unwrap();
    let code = |line: &str| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok();
    list.lines().filter_map(code).collect()
}

/// The codes of the README's table, with what it says of each.
fn codes_of_the_readme() -> BTreeMap<u8, String> {
    let readme = read("README.md");
    let table = readme.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let coded = rows.flat_map(|(codes, meaning)| {
        codes.split(", ").filter_map(|code| code.parse().ok()).map(move |code| (code, meaning.to_owned()))
    });
    coded.collect()
}

/// R5.
#[test]
fn every_code_is_documented_and_reached() {
    let mut program = codes_of_the_program();
    program.sort_unstable();
    let readme = codes_of_the_readme();
    assert_eq!(readme.keys().copied().collect::<Vec<_>>(), program, "README.md and src/cli/failure.rs");
    assert!(readme.values().all(|meaning| !meaning.is_empty()));
    let mut reached: Vec<u8> = REACHED.iter().map(|(code, _, _)| *code).chain(UNREACHED).collect();
    reached.sort_unstable();
    assert_eq!(reached, program);
    for (code, module, test) in REACHED {
        let source = read(&format!("tests/it/{}.rs", module.replace("::", "/")));
        let body = source.split(&format!("fn {test}(")).nth(1).unwrap_or_else(|| panic!("{code}: no test {test}"));
        let body = body.split("\n}\n").next().unwrap();
        let says = |number: &str| body.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == number);
        assert!(says(&code.to_string()), "`{module}::{test}` expects no {code}");
    }
}

/// Joins a controller that is not there until that signal comes; gives how it ended, and its last line.
fn stopped_by(signal: rustix::process::Signal) -> (ExitStatus, String) {
    let (engine, directory) = (Engine::start(), tempfile::tempdir().unwrap());
    let socket = engine.socket();
    let places = ["--state-dir", text(directory.path()), "--docker-socket", text(&socket)];
    let words = ["node", "join", "--master", "127.0.0.1:1", "--ip", "10.0.0.9", "--hostname", "h9"];
    let mut child = binary(&[&words[..], &places].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.contains("waiting: ")).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let last = lines.last().unwrap();
    (child.wait().unwrap(), last)
}

/// R5.
#[test]
fn signals_end_a_join_with_their_own_codes() {
    use rustix::process::Signal;
    for (signal, code, reason) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        let (status, last) = stopped_by(signal);
        assert_eq!((status.code(), last), (Some(code), format!("result=interrupted reason={reason} next=-")));
    }
}

/// R5: points that cannot be read are a mistake of this test's.
#[cfg(feature = "failpoints")]
#[test]
fn a_panic_is_a_bug() {
    let output = binary(&["ip"]).env("CLUSTERCTL_FAIL", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", stderr(&output));
    assert!(last_line(&output).starts_with("result=failed reason=bug"), "{}", stderr(&output));
    assert_eq!(run(&["ip"]).status.code(), Some(0));
}
