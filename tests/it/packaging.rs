//! What lies in `packaging/`: the units are ones that systemd accepts.

use std::path::Path;
use std::time::Duration;

use clusterctl::providers::command::{Commander, Invocation, Processes};

/// Every unit, with the binary under test in the place of the installed one. Skipped, and said so, where there is no
/// `systemd-analyze`.
#[tokio::test]
async fn systemd_accepts_the_units() {
    if !["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].iter().any(|path| Path::new(path).exists()) {
        eprintln!("SKIPPED: no systemd-analyze on this machine");
        return;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let scratch = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(units).unwrap() {
        let entry = entry.unwrap();
        let unit = std::fs::read_to_string(entry.path()).unwrap();
        assert!(unit.contains("ExecStart=/usr/local/bin/clusterctl "), "{:?}", entry.path());
        let copy = scratch.path().join(entry.file_name());
        std::fs::write(&copy, unit.replace("/usr/local/bin/clusterctl", env!("CARGO_BIN_EXE_clusterctl"))).unwrap();
        copies.push(copy);
    }
    assert_eq!(copies.len(), 2, "a unit came or went: {copies:?}");
    let verify = Invocation::new("systemd-analyze")
        .args(["verify", "--recursive-errors=no", "--man=no"])
        .args(copies)
        .deadline(Duration::from_secs(60));
    let output = Processes.run(verify).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.success() && said.trim().is_empty(), "{said}");
}
