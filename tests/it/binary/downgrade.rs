//! T2, T4: whoever offers a node less than TLS 1.3 gets the opening of TLS and nothing of its request; a token of another
//! form is not tried.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use super::docker::Engine;
use super::*;

/// Long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

const TOKEN: &str = "CCTL1-qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq-aaaaaaaa-bbbbbbbbbbbbbbbbbbbbbbbbba";

/// Answers the first bytes of one client with these, and tells everything that it was sent.
fn answering(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 16 * 1024];
        let read = stream.read(&mut bytes).unwrap();
        bytes.truncate(read);
        // A client that has seen enough may be gone.
        if stream.write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Write)).is_ok() {
            stream.read_to_end(&mut bytes).ok();
        }
        told.send(bytes).unwrap();
    });
    (address, heard)
}

fn join(directory: &tempfile::TempDir, engine: &Engine, master: SocketAddr, token: &Path) -> Output {
    let (state, master, socket) = (directory.path().join("state"), master.to_string(), engine.socket());
    let fixed = ["node", "join", "--dry-run", "--hostname", "canary-host", "--ip", "10.0.0.9", "--timeout", "5s"];
    let places = ["--state-dir", text(&state), "--docker-socket", text(&socket), "--master", &master];
    binary(&[&fixed[..], &places, &["--token-file", text(token)]].concat()).output().unwrap()
}

/// That these bytes are records of the handshake and at most an alert: no record of data, which is where a request goes.
fn assert_only_an_opening(mut bytes: &[u8]) {
    assert_eq!(bytes.first(), Some(&0x16), "{}", bytes.escape_ascii());
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        assert!([0x14, 0x15, 0x16].contains(kind), "{}", bytes.escape_ascii());
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

/// The whole of what a version before TLS said, an answer that asks for clear text, a web server, and TLS 1.2 agreed to.
#[test]
fn a_node_does_not_go_back() {
    let ready = br#"{"Status":"ready","SwarmRole":"worker","SwarmJoinToken":"SWMTKN-1-x-y","SwarmManagerAddr":"10.0.0.1:2377"}"#;
    // A record of the handshake with a ServerHello of TLS 1.2: no extension names a later version.
    let mut hello = vec![0x16, 0x03, 0x03, 0x00, 0x2a, 0x02, 0x00, 0x00, 0x26, 0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([0x00, 0xc0, 0x2b, 0x00]);
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start();
    let token = write(&directory, "token", TOKEN);
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (answer, exit, reason) in [
        ([&ready[..], b"\n"].concat(), 12, "not-a-controller"),
        (
            br#"{"Status":"error","Code":"plaintext-required","Message":"use clear text"}"#.to_vec(),
            12,
            "not-a-controller",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 12, "not-a-controller"),
        (hello, 18, "tls-version"),
    ] {
        let (master, heard) = answering(answer);
        let output = join(&directory, &engine, master, &token);
        let shown = stderr(&output);
        assert_eq!(output.status.code(), Some(exit), "{reason}: {shown}");
        assert!(last_line(&output).contains(&format!("reason={reason} ")), "{shown}");
        let bytes = heard.recv_timeout(PATIENCE).unwrap();
        assert_only_an_opening(&bytes);
        for word in ["ostname", "canary-host", "CCTL1", "aaaaaaaa", "bbbbbbbb"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "`{word}` was sent: {}", bytes.escape_ascii());
        }
        assert!(!shown.contains("bbbbbbbb"), "{shown}");
    }
}

/// A token of a later version may ask for more than this program knows to give.
#[test]
fn a_token_of_another_version_contacts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start();
    let master = TcpListener::bind("127.0.0.1:0").unwrap();
    master.set_nonblocking(true).unwrap();
    for prefix in ["CCTL2", "CCTL0", "CCTL"] {
        let token = write(&directory, "token", &TOKEN.replace("CCTL1", prefix));
        let output = join(&directory, &engine, master.local_addr().unwrap(), &token);
        assert_eq!(output.status.code(), Some(12), "{prefix}: {}", stderr(&output));
        assert!(stderr(&output).contains("a form that this program does not know"), "{}", stderr(&output));
    }
    assert_eq!(master.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
