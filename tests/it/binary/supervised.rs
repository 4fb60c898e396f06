//! C20: the controller under systemd, which is played here: told when it is ready, that it gets on, and when it stops.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use super::served::Served;
use super::*;

/// Longer than a controller that gets on is ever silent here.
const SILENCE: Duration = Duration::from_secs(3);

/// Starts a controller that has to tell every 300 ms that it gets on.
fn supervised(directory: &Arc<tempfile::TempDir>, fail: &str) -> (Served, UnixDatagram) {
    let path = directory.path().join(format!("notify-{}", fail.len()));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let variables = [("NOTIFY_SOCKET", text(&path)), ("WATCHDOG_USEC", "300000"), ("CLUSTERCTL_FAIL", fail)];
    let arguments = ["--admission", "open", "--plaintext"];
    (Served::again(Arc::clone(directory), Path::new("/none/docker.sock"), &variables, &arguments), socket)
}

/// What it tells next; `None` if it is silent.
fn told(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 256];
    match socket.recv(&mut buffer) {
        Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).trim().to_owned()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            None
        }
    }
}

fn wait_for(socket: &UnixDatagram, word: &str) {
    while told(socket).unwrap_or_else(|| panic!("it never said {word}")) != word {}
}

/// As long as the writer gets on it says so, with nothing to write as well; when it hangs it is silent, and a stop ends
/// it all the same.
#[test]
fn the_watchdog_is_fed_by_the_writer() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let (controller, socket) = supervised(&directory, "");
    wait_for(&socket, "READY=1");
    for _ in 0..5 {
        wait_for(&socket, "WATCHDOG=1");
    }
    assert_eq!(controller.stop().code(), Some(0));
    wait_for(&socket, "STOPPING=1");

    let (controller, socket) = supervised(&directory, "before-commit:hang");
    wait_for(&socket, "READY=1");
    let mut client = std::net::TcpStream::connect(controller.address()).unwrap();
    std::io::Write::write_all(&mut client, b"{\"action\":\"register\",\"hostname\":\"n1\",\"ip\":\"10.0.0.9\"}\n")
        .unwrap();
    while !controller.said().contains("a failpoint is reached") {
        std::thread::sleep(Duration::from_millis(2));
    }
    while told(&socket).is_some() {}
    assert_eq!(controller.stop().code(), Some(17));
}
