//! One connection from its acceptance to its close.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::counters::{Counters, ListenerStatus, count};
use super::open_files::Caps;
use super::slots::{Admission, Id, Slots};
use super::{Handler, ListenOptions, Peer};
use crate::protocol::exchange::{self, Limits, finish, receive, respond};
use crate::protocol::reply::{ErrorReply, Reason, Reply, Status};

/// Local administration has slots of its own, so that it gets in when strangers fill the others.
const LOCAL_CONNECTIONS: usize = 64;

/// After how long a client that was turned away for want of room should come back.
const RETRY_AFTER_MS: u64 = 1_000;

/// How long silent clients and held-back replies may go on when the controller stops: enough for bytes on their way
/// and for a handler that ends its wait by itself.
const GRACE: Duration = Duration::from_millis(300);

/// Told to every connection when the controller stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Requests come to their end.
    Draining,
    /// What has not, ends now.
    Ending,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    caps: Caps,
    limits: Limits,
    remote: Mutex<Slots<Arc<Notify>>>,
    local: Mutex<Slots<Arc<Notify>>>,
    held: Arc<Semaphore>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new(caps: Caps, options: &ListenOptions) -> Self {
        Self {
            caps,
            limits: options.limits,
            remote: Mutex::new(Slots::new(caps.connections, options.per_address)),
            local: Mutex::new(Slots::new(LOCAL_CONNECTIONS, LOCAL_CONNECTIONS)),
            held: Arc::new(Semaphore::new(caps.held)),
            counters: Counters::default(),
        }
    }

    fn slots(&self, peer: &Peer) -> MutexGuard<'_, Slots<Arc<Notify>>> {
        let slots = match peer {
            Peer::Remote(_) | Peer::Tls { .. } => &self.remote,
            Peer::Local { .. } => &self.local,
        };
        slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn status(&self) -> ListenerStatus {
        let local = Peer::Local { uid: 0 };
        let open = self.remote.lock().unwrap_or_else(PoisonError::into_inner).len() + self.slots(&local).len();
        ListenerStatus {
            open: open as u64,
            held: (self.caps.held - self.held.available_permits()) as u64,
            max_open: self.caps.connections as u64,
            max_held: self.caps.held as u64,
            ..self.counters.status()
        }
    }

    /// Gives a new connection its place, or says that there is none.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let address = match &peer {
            Peer::Remote(address) | Peer::Tls { address, .. } => address.ip().to_canonical(),
            Peer::Local { .. } => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let leave = Arc::new(Notify::new());
        let admission = self.slots(&peer).admit(address, Arc::clone(&leave));
        match admission {
            Admission::Admitted { id, instead_of } => {
                if let Some(other) = instead_of {
                    other.notify_one();
                }
                Some(Place { shared: Arc::clone(self), peer, id, leave })
            }
            Admission::Full | Admission::AddressFull => {
                self.counters.refused("overloaded");
                None
            }
        }
    }
}

/// A connection's place; dropped with it.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    peer: Peer,
    id: Id,
    leave: Arc<Notify>,
}

impl Place {
    /// Moves the connection among those whose reply is held back, if there is room.
    fn hold(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.shared.held).try_acquire_owned().ok()?;
        self.shared.slots(&self.peer).release(self.id);
        Some(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.slots(&self.peer).release(self.id);
    }
}

/// The answer to a client for which there is no room. It is `waiting` and not an error, since clients of the first
/// implementation give up on errors.
pub(super) fn busy_reply(message: &str) -> Vec<u8> {
    let reply = Reply {
        status: Status::Waiting,
        reason: Some(Reason::Overloaded),
        message: message.to_owned(),
        retry_after_ms: Some(RETRY_AFTER_MS),
        ..Reply::default()
    };
    encode(&reply)
}

pub(super) const NO_ROOM: &str = "the controller has too many connections";
const STOPPING: &str = "the controller is stopping";

pub(super) fn encode<T: serde::Serialize>(reply: &T) -> Vec<u8> {
    // Strings and numbers alone: encoding them cannot fail.
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Carries on one conversation.
pub(super) async fn converse<S, H>(mut stream: S, place: Place, handler: Arc<H>, mut phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let shared = Arc::clone(&place.shared);
    let limits = shared.limits;
    let received = tokio::select! {
        biased;
        received = receive(&mut stream, &limits) => received,
        () = place.leave.notified() => return turn_away(&mut stream, &shared, "overloaded", NO_ROOM).await,
        () = stopping(&mut phase) => return turn_away(&mut stream, &shared, "shutting-down", STOPPING).await,
    };
    // A held-back reply keeps its place among those until the connection's end.
    let mut held = None;
    let reply = match received {
        Ok(mut request) => {
            if !shared.slots(&place.peer).busy(place.id) {
                return turn_away(&mut stream, &shared, "overloaded", NO_ROOM).await;
            }
            if request.wait_ms > 0 {
                held = place.hold();
            }
            if held.is_none() {
                request.wait_ms = 0;
            }
            let answering = handler.answer(request, place.peer.clone());
            let Some(reply) = answer(&mut stream, answering, &place, held.is_some(), &mut phase).await else { return };
            reply
        }
        Err(refusal) => {
            shared.counters.refused(refusal.code());
            let Some(error) = refusal.reply(limits.request) else { return };
            encode(&error)
        }
    };
    if respond(&mut stream, reply, &limits).await.is_err() {
        shared.counters.refused("reply-not-read");
        return;
    }
    shared.slots(&place.peer).quiet(place.id);
    tokio::select! {
        biased;
        () = finish(&mut stream, &limits) => {}
        () = place.leave.notified() => {}
        () = stopping(&mut phase) => {}
    }
    drop(held);
}

/// The handler's reply, or `None` if nobody waits for it any more.
async fn answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    answering: impl Future<Output = Vec<u8>>,
    place: &Place,
    held: bool,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Vec<u8>> {
    let counters = &place.shared.counters;
    let outcome = tokio::select! {
        biased;
        outcome = AssertUnwindSafe(answering).catch_unwind() => outcome,
        () = gone(stream), if held => {
            count(&counters.left);
            return None;
        }
        () = ending(phase, held) => {
            counters.refused("shutting-down");
            return Some(busy_reply(STOPPING));
        }
    };
    Some(match outcome {
        Ok(reply) => {
            count(&counters.answered);
            reply
        }
        Err(_) => {
            count(&counters.panics);
            tracing::error!(peer = ?place.peer, "the handler of a request panicked");
            let hint = "see the controller's log; this is a bug";
            encode(&ErrorReply::new("internal-error", "the controller failed to answer", hint))
        }
    })
}

/// Returns when the client has closed its side, or the connection broke.
async fn gone<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut sink = Vec::with_capacity(256);
    let mut left = exchange::MAX_REQUEST;
    // A client that goes on sending is not read for ever; the deadline of its wait ends it.
    while left > 0 {
        sink.clear();
        match stream.read_buf(&mut sink).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
    std::future::pending().await
}

async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // A closed channel is the end as well.
    phase.wait_for(|phase| *phase >= Phase::Draining).await.ok();
    tokio::time::sleep(GRACE).await;
}

async fn ending(phase: &mut watch::Receiver<Phase>, held: bool) {
    if held {
        stopping(phase).await;
    } else {
        phase.wait_for(|phase| *phase == Phase::Ending).await.ok();
    }
}

/// Says why and leaves, without waiting for a client that may not read.
async fn turn_away<S: AsyncWrite + Unpin>(stream: &mut S, shared: &Shared, code: &'static str, message: &str) {
    shared.counters.refused(code);
    let limits = Limits { send: GRACE, ..shared.limits };
    respond(stream, busy_reply(message), &limits).await.ok();
}
