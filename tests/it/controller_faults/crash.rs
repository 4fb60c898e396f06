//! C1, C2: the process ends at each point of a write, fails there, or does not go on; and it is killed at any moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::history::History;
use super::*;

const POINTS: [&str; 5] = ["before-begin", "after-insert", "before-commit", "after-commit", "before-reply"];

/// A state on which the next write is a client's.
fn begun() -> Arc<TempDir> {
    let first = serve(Arc::new(tempfile::tempdir().unwrap()), "");
    let directory = first.directory();
    assert!(first.stop().success());
    directory
}

fn status(controller: &Served) -> Value {
    controller.asked(&["master", "status"])
}

/// Registers until it is acknowledged, as a client does that is told to wait.
fn insist(controller: &Served, request: &Value) -> Value {
    let since = Instant::now();
    loop {
        let reply = ask(controller.address(), request).unwrap_or_else(|| panic!("no answer: {}", controller.said()));
        if is_acknowledged(&reply) {
            return reply;
        }
        assert_eq!((&reply["Status"], &reply["Reason"]), (&json!("waiting"), &json!("storage-unavailable")), "{reply}");
        assert!(reply["RetryAfterMs"].as_u64().unwrap() > 0, "{reply}");
        assert!(since.elapsed() < PATIENCE, "{reply}: {}", controller.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// C1, C2: whatever happened at the point, the client that asks again is answered, and is on record once; asked a third
/// time, nothing is written.
#[test]
fn a_write_that_is_cut_short_is_there_whole_or_not_at_all() {
    for point in POINTS {
        for action in ["abort", "error", "hang"] {
            let what = format!("{point}:{action}");
            let controller = serve(begun(), &what);
            let directory = controller.directory();
            let request = registration(1, 1);
            let controller = match action {
                "abort" => {
                    assert_eq!(ask(controller.address(), &request), None, "{what}");
                    assert!(!controller.ended().success(), "{what}");
                    serve(directory, "")
                }
                "error" => {
                    let reply = ask(controller.address(), &request).unwrap();
                    assert_eq!(reply["Reason"], "storage-unavailable", "{what}: {reply}");
                    controller
                }
                _ => {
                    let (address, asked) = (controller.address(), request.clone());
                    let asking = std::thread::spawn(move || ask(address, &asked));
                    let since = Instant::now();
                    while !controller.said().contains("a failpoint is reached") {
                        assert!(since.elapsed() < PATIENCE, "{what}: {}", controller.said());
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    // Reading goes on while the writer stands.
                    status(&controller);
                    controller.kill();
                    assert_eq!(asking.join().unwrap(), None, "{what}");
                    serve(directory, "")
                }
            };
            // What became durable before is found again; what did not is not there by half.
            let survived = status(&controller)["NodesTotal"] == 2;
            let durable = matches!(point, "after-commit" | "before-reply");
            if action != "error" {
                assert_eq!(survived, durable, "{what}");
            }
            let first = insist(&controller, &request);
            let before = status(&controller);
            let again = insist(&controller, &request);
            let after = status(&controller);
            assert_eq!(first["Revision"], again["Revision"], "{what}: an unchanged registration writes nothing");
            assert_eq!(before["Store"]["Batches"], after["Store"]["Batches"], "{what}");
            assert_eq!((&after["NodesTotal"], &after["Gate"]["Workers"]), (&json!(2), &json!(1)), "{what}: {after}");
            assert!(controller.stop().success(), "{what}");
        }
    }
}

/// How many times the controller is killed; the environment asks for more.
#[expect(clippy::disallowed_methods, reason = "for long runs of the tests alone")]
fn kills() -> usize {
    std::env::var("CLUSTERCTL_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(30)
}

/// Registers its hosts over and over until the controller has gone.
fn client(lane: usize, address: SocketAddr, history: &Mutex<History>, over: &AtomicBool) {
    for round in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let n = lane * 10 + round % 10;
        let host = format!("n{n}");
        let version = history.lock().unwrap().next(&host);
        let sent = Instant::now();
        let Some(reply) = ask(address, &registration(n, version)) else { return };
        if is_acknowledged(&reply) {
            history.lock().unwrap().acknowledged(&host, sent, reply["Revision"].as_u64().unwrap());
        }
    }
}

/// C1, C2, I1 to I4: clients register while the controller is killed, again and again, at any moment.
#[test]
fn nothing_answered_is_lost_to_kills_at_any_moment() {
    let directory = begun();
    let seed = u64::from(std::process::id());
    let mut dice = seed | 1;
    let mut whole = History::default();
    for kill in 0..kills() {
        let controller = serve(Arc::clone(&directory), "");
        let address = controller.address();
        whole.check(&status(&controller));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // From the first answer on, or some hundred later.
        let enough = whole.acknowledgements() + (dice >> 33) as usize % 200;
        let (history, over) = (Mutex::new(std::mem::take(&mut whole)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let (history, over) = (&history, &over);
                scope.spawn(move || client(lane, address, history, over));
            }
            let since = Instant::now();
            while history.lock().unwrap().acknowledgements() <= enough {
                assert!(since.elapsed() < PATIENCE, "kill {kill}, seed {seed}: {}", controller.said());
                std::thread::yield_now();
            }
            controller.kill();
            over.store(true, Ordering::SeqCst);
        });
        whole = history.into_inner().unwrap();
    }
    let controller = serve(directory, "");
    whole.check(&status(&controller));
    assert!(controller.stop().success());
}
