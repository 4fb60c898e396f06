//! The asking side: writes one request, reads one reply.
//!
//! It keeps its own half of the connection open until it has the reply: closing it early is how the other side would
//! notice that nobody waits any more.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::MAX_RESPONSE;
use super::framer::{Bad, Framer, Progress};
use crate::protocol::registration::RawRequest;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the connection; the caller, who makes it, applies this.
    pub connect: Duration,
    /// What the other side may take beside the time that the request allows it to hold the reply back.
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(10) }
    }
}

impl Deadlines {
    /// For connecting, asking and reading the reply to a request that may be held back for `wait_ms`.
    #[must_use]
    pub fn whole(&self, wait_ms: u64) -> Duration {
        self.connect.saturating_add(self.exchange(wait_ms))
    }

    /// For asking and reading the reply on a connection that stands.
    #[must_use]
    pub fn exchange(&self, wait_ms: u64) -> Duration {
        self.answer.saturating_add(Duration::from_millis(wait_ms))
    }
}

/// Why there is no reply. Whether the other side acted on the request is not known.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("the request could not be encoded")]
    Encode(#[source] serde_json::Error),
    #[error("the connection broke")]
    Io(#[source] io::Error),
    #[error("no answer came within {0:?}")]
    Timeout(Duration),
    #[error("the other side closed the connection without an answer")]
    NoAnswer,
    #[error("the answer broke off after {received} bytes")]
    Incomplete { received: usize },
    #[error("the answer is longer than {MAX_RESPONSE} bytes")]
    TooLarge,
    #[error("the answer comes from an HTTP server, not from a clusterctl controller")]
    Http,
    #[error("the answer is not a JSON object")]
    NotJson,
    #[error("the answer could not be decoded")]
    Decode(#[source] serde_json::Error),
}

/// Sends `request` and returns the bytes of the reply, one JSON object.
///
/// # Errors
/// See [`ExchangeError`]. A write that fails is only an error if no reply came either: a server that refuses early
/// may have answered before it read everything.
pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &RawRequest,
    deadlines: &Deadlines,
) -> Result<Vec<u8>, ExchangeError> {
    let mut line = serde_json::to_vec(request).map_err(ExchangeError::Encode)?;
    line.push(b'\n');
    let deadline = deadlines.exchange(request.wait_ms);
    let conversation = async {
        let sent = async {
            stream.write_all(&line).await?;
            stream.flush().await
        };
        let sent = sent.await;
        match (read_reply(stream).await, sent) {
            (Err(ExchangeError::NoAnswer | ExchangeError::Io(_)), Err(error)) => Err(ExchangeError::Io(error)),
            (outcome, _) => outcome,
        }
    };
    tokio::time::timeout(deadline, conversation).await.map_err(|_| ExchangeError::Timeout(deadline))?
}

/// Decodes a reply.
///
/// # Errors
/// [`ExchangeError::Decode`] if it is not a `T`.
pub fn decode<T: DeserializeOwned>(reply: &[u8]) -> Result<T, ExchangeError> {
    serde_json::from_slice(reply).map_err(ExchangeError::Decode)
}

async fn read_reply<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ExchangeError> {
    let mut framer = Framer::new(MAX_RESPONSE);
    let mut bytes = Vec::with_capacity(2048);
    loop {
        let known = bytes.len();
        if bytes.capacity() == known {
            bytes.reserve(known.max(2048));
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) if known == 0 => return Err(ExchangeError::NoAnswer),
            Ok(0) => return Err(ExchangeError::Incomplete { received: known }),
            Ok(_) => {}
            Err(error) => return Err(ExchangeError::Io(error)),
        }
        match framer.push(&bytes[known..]) {
            Progress::NeedMore => {}
            Progress::Complete { start, end } => {
                bytes.truncate(end);
                bytes.drain(..start);
                return Ok(bytes);
            }
            Progress::Bad(Bad::TooLarge) => return Err(ExchangeError::TooLarge),
            Progress::Bad(Bad::Http) => return Err(ExchangeError::Http),
            Progress::Bad(Bad::Tls | Bad::NotAnObject | Bad::Malformed { .. } | Bad::TooDeep) => {
                return Err(ExchangeError::NotJson);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, finish, receive, respond};
    use super::*;
    use crate::protocol::reply::{Reply, Status};

    async fn answered_with(reply: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let serving = async {
            let mut request = [0u8; 512];
            assert!(server.read(&mut request).await.unwrap() > 0);
            // The client stops reading at its limit.
            server.write_all(reply).await.ok();
            drop(server);
        };
        let (request, deadlines) = (RawRequest::default(), Deadlines::default());
        let (outcome, ()) = tokio::join!(
            async {
                let outcome = call(&mut client, &request, &deadlines).await;
                drop(client);
                outcome
            },
            serving
        );
        outcome
    }

    /// S2-05, S2-50: one request, one reply.
    #[tokio::test(start_paused = true)]
    async fn both_sides_understand_each_other() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let limits = Limits::default();
        let serving = async {
            let request = receive(&mut server, &limits).await.unwrap();
            let reply = Reply { status: Status::Waiting, node_id: request.hostname, ..Reply::default() };
            respond(&mut server, serde_json::to_vec(&reply).unwrap(), &limits).await.unwrap();
            finish(&mut server, &limits).await;
        };
        let asking = async {
            let request = RawRequest { hostname: "h1".into(), ..RawRequest::default() };
            let reply = call(&mut client, &request, &Deadlines::default()).await.unwrap();
            drop(client);
            decode::<Reply>(&reply).unwrap()
        };
        let (reply, ()) = tokio::join!(asking, serving);
        assert_eq!((reply.status, reply.node_id.as_str()), (Status::Waiting, "h1"));
    }

    #[tokio::test(start_paused = true)]
    async fn says_what_is_wrong_with_an_answer() {
        assert!(matches!(answered_with(b"").await, Err(ExchangeError::NoAnswer)));
        assert!(matches!(answered_with(b"{\"a").await, Err(ExchangeError::Incomplete { received: 3 })));
        assert!(matches!(answered_with(b"HTTP/1.1 400 Bad Request").await, Err(ExchangeError::Http)));
        assert!(matches!(answered_with(b"220 smtp").await, Err(ExchangeError::NotJson)));
        assert!(matches!(answered_with(&vec![b' '; MAX_RESPONSE + 1]).await, Err(ExchangeError::TooLarge)));
        assert_eq!(answered_with(b" {\"a\":1} {}").await.unwrap(), b"{\"a\":1}");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_no_longer_than_it_allowed() {
        let (mut client, _server) = tokio::io::duplex(1024);
        let request = RawRequest { wait_ms: 2_000, ..RawRequest::default() };
        let error = call(&mut client, &request, &Deadlines::default()).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Timeout(deadline) if deadline == Duration::from_secs(12)), "{error}");
    }
}
