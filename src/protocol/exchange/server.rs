//! The answering side: reads one request, writes one reply, ends the connection gently.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::framer::{Framer, Progress};
use super::refusal::Refusal;
use super::{MAX_REQUEST, RECEIVE_DEADLINE, SEND_DEADLINE};
use crate::protocol::registration::RawRequest;

/// What one connection may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest request, in bytes from the start of the connection.
    pub request: usize,
    /// From the first wait for bytes to the last byte of the request.
    pub receive: Duration,
    /// For the whole reply.
    pub send: Duration,
    /// How long the client may take to close after the reply.
    pub linger: Duration,
    /// How much it may still send meanwhile.
    pub linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: MAX_REQUEST,
            receive: RECEIVE_DEADLINE,
            send: SEND_DEADLINE,
            linger: Duration::from_secs(1),
            linger_bytes: 4 * MAX_REQUEST,
        }
    }
}

/// The first read; most requests fit. More is allocated only as more arrives.
const FIRST_READ: usize = 2048;

/// Reads the one request of a connection.
///
/// # Errors
/// Says why there is none; [`Refusal::reply`] is what the client should be told.
pub async fn receive<S: AsyncRead + Unpin>(stream: &mut S, limits: &Limits) -> Result<RawRequest, Refusal> {
    let mut framer = Framer::new(limits.request);
    let mut bytes = Vec::with_capacity(FIRST_READ);
    let reading = read_object(stream, &mut framer, &mut bytes);
    match tokio::time::timeout(limits.receive, reading).await {
        Ok(Ok((start, end))) => serde_json::from_slice(&bytes[start..end]).map_err(Refusal::Json),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) if framer.has_begun() => Err(Refusal::Incomplete { received: bytes.len() }),
        Err(_) => Err(Refusal::Timeout),
    }
}

async fn read_object<S: AsyncRead + Unpin>(
    stream: &mut S,
    framer: &mut Framer,
    bytes: &mut Vec<u8>,
) -> Result<(usize, usize), Refusal> {
    loop {
        let known = bytes.len();
        if bytes.capacity() == known {
            bytes.reserve(known.max(FIRST_READ));
        }
        match stream.read_buf(bytes).await {
            Ok(0) => return Err(Refusal::Incomplete { received: known }),
            Ok(_) => {}
            Err(error) => return Err(Refusal::Io(error)),
        }
        match framer.push(&bytes[known..]) {
            Progress::NeedMore => {}
            Progress::Complete { start, end } => return Ok((start, end)),
            Progress::Bad(bad) => return Err(Refusal::Framing(bad)),
        }
    }
}

/// Writes the one reply, as one line, and ends this side's half of the connection.
///
/// # Errors
/// The client is gone or does not read; `TimedOut` after the deadline.
pub async fn respond<S: AsyncWrite + Unpin>(stream: &mut S, mut reply: Vec<u8>, limits: &Limits) -> io::Result<()> {
    if reply.last() != Some(&b'\n') {
        reply.push(b'\n');
    }
    let writing = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await
    };
    tokio::time::timeout(limits.send, writing).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Waits, within bounds, until the client has closed, so that what it still sends does not turn the close into a reset.
pub async fn finish<S: AsyncRead + Unpin>(stream: &mut S, limits: &Limits) {
    let drain = async {
        // On the heap: an array would make the task of every connection that much larger.
        let mut sink = Vec::with_capacity(512);
        let mut left = limits.linger_bytes;
        while let Ok(read @ 1..) = stream.read_buf(&mut sink).await {
            sink.clear();
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // Running out of time is as good an end as the client's.
    tokio::time::timeout(limits.linger, drain).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = br#"{"hostname":"h1","cpu":2}"#;

    async fn refusal_code(bytes: &[u8], close: bool) -> &'static str {
        let (mut client, mut server) = tokio::io::duplex(128 * 1024);
        client.write_all(bytes).await.unwrap();
        if close {
            client.shutdown().await.unwrap();
        }
        receive(&mut server, &Limits::default()).await.unwrap_err().code()
    }

    /// S2-50: byte by byte, no newline, the client's side stays open.
    #[tokio::test(start_paused = true)]
    async fn reads_a_request_in_pieces() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let sending = async {
            for byte in REQUEST {
                client.write_all(&[*byte]).await.unwrap();
            }
        };
        let limits = Limits::default();
        let (request, ()) = tokio::join!(receive(&mut server, &limits), sending);
        assert_eq!(request.unwrap().hostname, "h1");
    }

    #[tokio::test(start_paused = true)]
    async fn names_what_is_wrong() {
        for (bytes, close, code) in [
            (&b"\x16\x03\x01"[..], false, "tls-not-enabled"),
            (b"GET / HTTP/1.1\r\n\r\n", false, "not-json"),
            (b"hello", false, "not-json"),
            (b"{\"a\":}", false, "bad-json"),
            (b"{\"hostname\":7}", false, "bad-json"),
            (b"{\"hostname\":\"\xff\"}", false, "bad-json"),
            (b"{]", false, "bad-json"),
            (b"{\"hostname\"", true, "incomplete-request"),
            (b"", true, "incomplete-request"),
            (b"{\"hostname\"", false, "incomplete-request"),
            (b"  ", false, "request-timeout"),
        ] {
            assert_eq!(refusal_code(bytes, close).await, code, "{}", bytes.escape_ascii());
        }
        assert_eq!(refusal_code(&vec![b' '; MAX_REQUEST + 1], false).await, "request-too-large");
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(refusal_code(deep.as_bytes(), false).await, "bad-json");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_for_the_whole_request() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let slow = async {
            loop {
                if client.write_all(b" ").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let limits = Limits::default();
        tokio::select! {
            outcome = receive(&mut server, &limits) => assert_eq!(outcome.unwrap_err().code(), "request-timeout"),
            () = slow => unreachable!("the server holds its end"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_left() {
        let (_client, mut server) = tokio::io::duplex(8);
        let error = respond(&mut server, vec![b'x'; 100], &Limits::default()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn every_refusal_but_a_broken_connection_has_an_answer() {
        let json = serde_json::from_str::<RawRequest>(&format!("{{\"cpu\":\"{}\"}}", "x".repeat(9000))).unwrap_err();
        let reply = Refusal::Json(json).reply(1).unwrap();
        assert!(reply.message.len() <= 200 && !reply.hint.is_empty(), "{reply:?}");
        assert_eq!(Refusal::Io(io::ErrorKind::ConnectionReset.into()).reply(1), None);
    }
}
