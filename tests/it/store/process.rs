//! The store across the death of its process.
//!
//! The process is this test binary again: [`commits_for_ever`] is its other side and does nothing when run as a test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use clusterctl::controller::store::{OpenError, Store, StoreOptions};

use super::ledger::{Change, Ledger};
use super::unfolded;

const DIRECTORY: &str = "CLUSTERCTL_TEST_STORE";

/// The other side: commits k0, k1, ... from several tasks and prints each name after its acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_for_ever() {
    #[expect(clippy::disallowed_methods, reason = "the only channel from the test that started this process")]
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let options = StoreOptions { fold_records: 50, ..unfolded() };
    let store = Store::<Ledger>::open(std::path::Path::new(&dir), options).await.unwrap();
    let from = store.read(|ledger| ledger.values.len() as u64);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (from * 8 + lane..).step_by(8) {
                store.commit(Change::set(&format!("k{n}"), n)).await.unwrap();
                println!("ack k{n}");
            }
        });
    }
    tasks.join_all().await;
}

fn start(dir: &std::path::Path) -> Child {
    #[expect(clippy::disallowed_methods, reason = "the process is to be killed, which a commander does not offer")]
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "store::process::commits_for_ever", "--nocapture"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<&str> {
    line.rsplit_once("ack ").map(|(_, key)| key.trim())
}

/// C1, C2, I1, I2: what was acknowledged before a kill -9 is there after it, again and again; C8: meanwhile nobody else
/// gets in, and is told who holds it.
#[test]
fn acknowledged_commits_survive_kill() {
    let scratch = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut child = start(scratch.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < 100 + 37 * round {
            let line = lines.next().unwrap().unwrap();
            if let Some(key) = acknowledged(&line) {
                expected.push(key.to_owned());
                seen += 1;
            }
        }
        if round == 0 {
            let second = runtime.block_on(Store::<Ledger>::open(scratch.path(), unfolded()));
            assert!(matches!(second, Err(OpenError::InUse { pid, .. }) if pid == Some(child.id())));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was printed before the kill and not read yet was acknowledged too; a torn last line is not looked at.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        expected.extend(rest[..whole].iter().filter_map(|line| acknowledged(line)).map(str::to_owned));

        runtime.block_on(async {
            let store = Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap();
            store.read(|ledger| {
                for key in &expected {
                    assert_eq!(ledger.values.get(key).map(|n| format!("k{n}")), Some(key.clone()), "round {round}");
                }
                for (key, n) in &ledger.values {
                    assert_eq!(*key, format!("k{n}"), "invented");
                }
            });
            store.close().await;
        });
    }
}
