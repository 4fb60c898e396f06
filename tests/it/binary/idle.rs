//! B5, B11: what a controller costs while nothing changes. Its state is on a disk here, so that the kernel counts what is
//! written.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::served::Served;

/// For how long nothing may happen.
const IDLE: Duration = Duration::from_secs(3);

fn exchange(address: SocketAddr, request: &Value) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.to_string().as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

fn registration(n: u32) -> Value {
    json!({"Hostname": format!("h{n}"), "Role": "worker", "IP": format!("10.0.0.{n}"), "OS": "linux", "CPU": 2})
}

/// What a process has caused so far.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    /// Bytes sent to disks.
    written: u64,
    /// Page faults of children that have ended: no program runs without some.
    faults_of_children: u64,
    children: String,
}

impl Traces {
    fn of(process: u32) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let written = read("io").lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap();
        // `4242 (clusterctl) S 4200 ...`: the ninth word after the name, which may hold blanks.
        let stat = read("stat");
        let words: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        Self {
            written,
            faults_of_children: words[8].parse().unwrap(),
            children: read(&format!("task/{process}/children")),
        }
    }
}

/// Nothing is written and no process is started while nodes are registered, come again as they were, wait, and are looked
/// at.
#[test]
fn nothing_is_written_while_nothing_changes() {
    let controller = Served::on_disk(&["--admission", "open", "--plaintext"]);
    let before = Traces::of(controller.process());
    for n in 1..=20 {
        exchange(controller.address(), &registration(n));
    }
    let registered = Traces::of(controller.process());
    assert!(registered.written > before.written, "what is to stand still can move: {registered:?}");

    let (address, deadline) = (controller.address(), Instant::now() + Duration::from_secs(120));
    let counts = |status: &Value| ["Batches", "Folds", "Compactions"].map(|name| status["Store"][name].clone());
    loop {
        let (at_first, traces) = (controller.asked(&["master", "status"]), Traces::of(controller.process()));
        let waiting = std::thread::spawn(move || {
            let hold = u64::try_from(IDLE.as_millis()).unwrap();
            exchange(address, &json!({"Action": "check-status", "Hostname": "h1", "WaitMs": hold}))
        });
        let begun = Instant::now();
        // Few enough that the rate of an address is not what answers.
        for n in (1..=20).cycle().take_while(|_| begun.elapsed() < IDLE) {
            exchange(address, &registration(n));
            controller.asked(&["node", "list"]);
        }
        assert_eq!(waiting.join().unwrap()["Status"], "waiting", "there is no Docker here");
        let (in_the_end, after) = (controller.asked(&["master", "status"]), Traces::of(controller.process()));
        if counts(&at_first) == counts(&in_the_end) {
            assert_eq!(after, traces, "{in_the_end}");
            return;
        }
        // What the registrations left behind was folded meanwhile, once.
        assert!(Instant::now() < deadline, "it does not come to rest: {in_the_end}");
    }
}

/// Every table, queue and cache says how large it is and how large it may become; what is measured is there.
#[test]
fn status_shows_bounds_and_figures() {
    let controller = Served::start(&["--admission", "open", "--plaintext"]);
    for n in 1..=3 {
        exchange(controller.address(), &registration(n));
    }
    let status = controller.asked(&["master", "status"]);
    let tables = status["Tables"].as_object().unwrap();
    for (name, table) in tables {
        let (size, max) = (table["Size"].as_u64().unwrap(), table["Max"].as_u64().unwrap());
        assert!(size <= max && max > 0, "{name}: {table}");
    }
    let size = |name: &str| tables[name]["Size"].as_u64().unwrap();
    assert_eq!((size("Nodes"), size("NodesHeard"), size("AddressRates")), (4, 3, 1), "{status}");
    let store = &status["Store"];
    for (value, bound) in [("Queued", "MaxQueued"), ("Journal", "MaxJournal")] {
        assert!(store[value].as_u64().unwrap() <= store[bound].as_u64().unwrap(), "{store}");
    }
    let commits = &store["Commits"];
    assert!(store["Commands"].as_u64() >= Some(4) && store["FileBytes"].as_u64() > Some(0), "{store}");
    assert!(commits["LatencyP99Us"].as_u64() >= commits["LatencyP50Us"].as_u64(), "{commits}");
    assert!(commits["LatencyP50Us"].as_u64() > Some(0) && commits["BatchMax"].as_u64() > Some(0), "{commits}");
    assert!(commits["CommandsPerSecond"].as_f64() > Some(0.0), "{commits}");
    assert_eq!(status["Counters"]["Registrations"], 3);
    assert!(status["Counters"]["RegistrationsPerSecond"].as_f64() > Some(0.0), "{status}");
    let listener = &status["Listener"];
    for (value, bound) in [("Open", "MaxOpen"), ("Held", "MaxHeld"), ("Local", "MaxLocal")] {
        assert!(listener[value].as_u64().unwrap() <= listener[bound].as_u64().unwrap(), "{listener}");
    }
}
