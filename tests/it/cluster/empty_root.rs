//! The program needs nothing of the system that it runs on: no interpreter, no library, no file.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use clusterctl::providers::command::{Invocation, Output};

use crate::lab::run;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clusterctl");

/// A number of `width` bytes at `at`, in the byte order of the machines that we build for.
fn number(file: &[u8], at: usize, width: usize) -> usize {
    file[at..at + width].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// Covers S2-83: no program header asks for an interpreter (3), and nothing is linked at run time.
#[test]
fn the_program_asks_for_no_interpreter() {
    let file = std::fs::read(PROGRAM).unwrap();
    // Magic, 64 bits, little-endian.
    assert_eq!(&file[..6], b"\x7fELF\x02\x01");
    let (table, size, count) = (number(&file, 32, 8), number(&file, 54, 2), number(&file, 56, 2));
    let headers: Vec<usize> = (0..count).map(|n| table + n * size).collect();
    assert!(headers.iter().any(|header| number(&file, *header, 4) == 1), "nothing to load?");
    assert!(headers.iter().all(|header| number(&file, *header, 4) != 3), "it asks for an interpreter");
    // In the dynamic section of a static program that can be placed anywhere, no entry needs (1) a library.
    for header in headers.iter().filter(|header| number(&file, **header, 4) == 2) {
        let (start, length) = (number(&file, header + 8, 8), number(&file, header + 32, 8));
        let tags: Vec<usize> = (start..start + length).step_by(16).map(|entry| number(&file, entry, 8)).collect();
        assert!(!tags.contains(&1), "it needs a library");
    }
}

/// Runs the program with `words` in a root directory that holds nothing else.
fn in_empty_root(words: &[&str]) -> Output {
    let root = tempfile::tempdir().unwrap();
    let program = root.path().join("clusterctl");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let invocation = Invocation::new("chroot").arg(root.path()).arg("/clusterctl").args(words.iter().copied());
    run(invocation.deadline(Duration::from_secs(60))).unwrap()
}

/// Covers S2-83: it runs there, and says in its own words what is missing.
#[test]
fn the_program_runs_in_an_empty_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("*** SKIPPED the_program_runs_in_an_empty_root: only root can change the root directory");
        return;
    }
    let version = in_empty_root(&["version"]);
    assert!(version.success() && version.stdout_text().contains(env!("CARGO_PKG_VERSION")), "{version:?}");

    let address = in_empty_root(&["ip"]);
    let text = address.stdout_text().trim().to_owned();
    assert!(address.success() && text.parse::<std::net::Ipv4Addr>().is_ok(), "{address:?}");

    let join = in_empty_root(&["node", "join", "--master", "127.0.0.1:1", "--timeout", "1s"]);
    let said = String::from_utf8_lossy(&join.stderr).into_owned();
    assert_eq!(join.code, Some(19), "{said}");
    for word in ["error: ", "hint: ", "result="] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}
