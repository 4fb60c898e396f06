//! How a connection on TCP begins: its first byte says TLS or clear text. All of it, handshake and request, has one
//! deadline, so that a client cannot take its time twice.

use std::sync::Arc;

use rustls::ServerConnection;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::clear_text::tls_required;
use super::connection::{Phase, Place, Shared, converse, encode, stopping, turn_away};
use super::counters::count;
use super::limit_log::Limit;
use super::{Handler, Peer};
use crate::pki::ServerTls;
use crate::protocol::exchange::{finish, respond};

/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;

/// What a connection begins with.
enum Opening {
    Tls(Arc<ServerTls>),
    ClearText,
    /// Clear text, which is not answered.
    NotAllowed,
    /// Nothing: the client has closed its side.
    Nothing,
}

/// Carries on one conversation on TCP.
pub(super) async fn converse_on_tcp<H: Handler>(
    mut stream: TcpStream,
    mut place: Place,
    handler: Arc<H>,
    mut phase: watch::Receiver<Phase>,
) {
    let shared = place.shared();
    let deadline = Instant::now() + shared.limits().receive;
    let opening = if shared.tls().is_none() && allows_clear_text(&shared, place.peer()) {
        Some(Opening::ClearText)
    } else {
        tokio::select! {
            biased;
            opening = tokio::time::timeout_at(deadline, look(&stream, &shared, place.peer())) => opening.ok().flatten(),
            () = place.leave() => return silently(&mut stream, &shared, "overloaded").await,
            () = stopping(&mut phase) => return silently(&mut stream, &shared, "shutting-down").await,
        }
    };
    match opening {
        Some(Opening::ClearText) => converse(stream, place, handler, phase, deadline).await,
        Some(Opening::Tls(tls)) => {
            // On the heap, so that the tasks of other connections are not made for the largest.
            let Some(stream) = Box::pin(handshake(stream, &tls, &place, &mut phase, deadline)).await else { return };
            let proof = tls.proof_of(session(&stream));
            place.proved(proof);
            Box::pin(converse(stream, place, handler, phase, deadline)).await;
        }
        Some(Opening::NotAllowed) => {
            shared.counters.refused("tls-required");
            if respond(&mut stream, encode(&tls_required()), shared.limits()).await.is_ok() {
                part(&mut stream, &shared, &place, &mut phase).await;
            }
        }
        Some(Opening::Nothing) => shared.counters.refused("incomplete-request"),
        None => {
            shared.counters.reached(Limit::ReceiveDeadline, place.peer());
            silently(&mut stream, &shared, "request-timeout").await;
        }
    }
}

/// Looks at the first byte and leaves it there. `None` if the connection broke.
async fn look(stream: &TcpStream, shared: &Shared, peer: &Peer) -> Option<Opening> {
    let mut first = [0];
    let opening = match (stream.peek(&mut first).await.ok()?, first[0], shared.tls()) {
        (0, _, _) => Opening::Nothing,
        (_, HANDSHAKE, Some(tls)) => Opening::Tls(Arc::clone(tls)),
        (_, b'{' | b' ' | b'\t' | b'\r' | b'\n', _) if !allows_clear_text(shared, peer) => Opening::NotAllowed,
        // Whatever is no request gets its error from the one who reads it.
        _ => Opening::ClearText,
    };
    Some(opening)
}

fn allows_clear_text(shared: &Shared, peer: &Peer) -> bool {
    peer.address().is_some_and(|address| shared.clear_text().allows(address.ip()))
}

async fn handshake(
    stream: TcpStream,
    tls: &ServerTls,
    place: &Place,
    phase: &mut watch::Receiver<Phase>,
    deadline: Instant,
) -> Option<TlsStream<TcpStream>> {
    let shared = place.shared();
    // The reply and the end of TLS are two small writes; the second must not wait for the first one's acknowledgement.
    stream.set_nodelay(true).ok();
    let accepting = TlsAcceptor::from(tls.config()).accept(stream).into_fallible();
    let outcome = tokio::select! {
        biased;
        outcome = tokio::time::timeout_at(deadline, accepting) => outcome,
        // There is no way yet to say why.
        () = place.leave() => {
            shared.counters.refused("overloaded");
            return None;
        }
        () = stopping(phase) => {
            shared.counters.refused("shutting-down");
            return None;
        }
    };
    match outcome {
        Ok(Ok(stream)) => {
            count(&shared.counters.handshakes);
            Some(stream)
        }
        Ok(Err((error, mut stream))) => {
            shared.counters.refused("tls-handshake-failed");
            tracing::debug!(peer = %place.peer(), "no TLS: {error}");
            // The library has said why; a reset must not destroy it.
            stream.shutdown().await.ok();
            part(&mut stream, &shared, place, phase).await;
            None
        }
        Err(_) => {
            shared.counters.refused("tls-handshake-timeout");
            shared.counters.reached(Limit::ReceiveDeadline, place.peer());
            None
        }
    }
}

fn session(stream: &TlsStream<TcpStream>) -> &ServerConnection {
    stream.get_ref().1
}

/// Ends a connection after its last word.
async fn part(stream: &mut TcpStream, shared: &Shared, place: &Place, phase: &mut watch::Receiver<Phase>) {
    tokio::select! {
        biased;
        () = finish(stream, shared.limits()) => {}
        () = place.leave() => {}
        () = stopping(phase) => {}
    }
}

/// Ends a connection that has sent nothing. Where TLS is spoken nothing is said either: the client may be about to.
async fn silently(stream: &mut TcpStream, shared: &Shared, code: &'static str) {
    if shared.tls().is_none() {
        turn_away(stream, shared, code).await;
    } else {
        shared.counters.refused(code);
    }
}
