//! One connection from its acceptance to its close.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::counters::{Counters, ListenerStatus, count};
use super::held::{HeldPlace, HeldPlaces};
use super::limit_log::Limit;
use super::open_files::Caps;
use super::slots::{Admission, Id, Slots};
use super::{ClearText, Handler, ListenOptions, Peer};
use crate::cluster::Proof;
use crate::pki::ServerTls;
use crate::protocol::exchange::{self, Bad, Limits, Refusal, finish, receive, respond};
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
    tls: Option<Arc<ServerTls>>,
    clear_text: ClearText,
    remote: Mutex<Slots<Arc<Notify>>>,
    local: Mutex<Slots<Arc<Notify>>>,
    held: Arc<HeldPlaces>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new(caps: Caps, options: &ListenOptions) -> Self {
        Self {
            caps,
            limits: options.limits,
            tls: options.tls.clone(),
            clear_text: options.clear_text,
            remote: Mutex::new(Slots::new(caps.connections, options.per_address)),
            local: Mutex::new(Slots::new(LOCAL_CONNECTIONS, LOCAL_CONNECTIONS)),
            held: Arc::new(HeldPlaces::new(caps.held, options.held_per_address)),
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

    pub(super) fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.tls.as_ref()
    }

    pub(super) fn clear_text(&self) -> ClearText {
        self.clear_text
    }

    pub(super) fn status(&self) -> ListenerStatus {
        let local = self.slots(&Peer::Local { uid: 0 }).len();
        let (remote, addresses, per_address) = {
            let slots = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
            (slots.len(), slots.addresses(), slots.per_address())
        };
        ListenerStatus {
            open: (remote + local) as u64,
            held: self.held.len() as u64,
            max_open: self.caps.connections as u64,
            max_held: self.caps.held as u64,
            max_open_per_address: per_address as u64,
            max_held_per_address: self.held.per_address() as u64,
            addresses: addresses as u64,
            local: local as u64,
            max_local: LOCAL_CONNECTIONS as u64,
            ..self.counters.status()
        }
    }

    /// Gives a new connection its place, or says that there is none.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let address = address_of(&peer);
        let leave = Arc::new(Notify::new());
        let (limit, admission) = {
            let mut slots = self.slots(&peer);
            (slots.limit_for(address), slots.admit(address, Arc::clone(&leave)))
        };
        if let Some(limit) = limit {
            self.counters.reached(limit, &peer);
        }
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

/// The address that a connection counts for.
fn address_of(peer: &Peer) -> IpAddr {
    peer.address().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical())
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
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the client has proved in its handshake.
    pub(super) fn proved(&mut self, proof: Proof) {
        if let Some(address) = self.peer.address() {
            self.peer = Peer::Tls { address, proof: Arc::new(proof) };
        }
    }

    /// Returns when the connection has to make room.
    pub(super) async fn leave(&self) {
        self.leave.notified().await;
    }

    /// Moves the connection among those whose reply is held back, if there is room.
    fn hold(&self) -> Option<HeldPlace> {
        let stranger = (!self.peer.is_certified()).then(|| address_of(&self.peer));
        match self.shared.held.take(stranger) {
            Ok(held) => {
                self.shared.slots(&self.peer).release(self.id);
                Some(held)
            }
            Err(limit) => {
                self.shared.counters.reached(limit, &self.peer);
                None
            }
        }
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

/// Carries on one conversation. `deadline` is for the whole request.
pub(super) async fn converse<S, H>(
    mut stream: S,
    place: Place,
    handler: Arc<H>,
    mut phase: watch::Receiver<Phase>,
    deadline: Instant,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let shared = Arc::clone(&place.shared);
    let limits = shared.limits;
    let left = Limits { receive: deadline.saturating_duration_since(Instant::now()), ..limits };
    let received = tokio::select! {
        biased;
        received = receive(&mut stream, &left) => received,
        () = place.leave() => return turn_away(&mut stream, &shared, "overloaded").await,
        () = stopping(&mut phase) => return turn_away(&mut stream, &shared, "shutting-down").await,
    };
    // A held-back reply keeps its place among those until the connection's end.
    let mut held = None;
    let reply = match received {
        Ok(mut request) => {
            if !shared.slots(&place.peer).busy(place.id) {
                return turn_away(&mut stream, &shared, "overloaded").await;
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
            if let Some(limit) = limit_behind(&refusal, deadline) {
                shared.counters.reached(limit, &place.peer);
            }
            let Some(error) = refusal.reply(limits.request) else { return };
            encode(&error)
        }
    };
    if let Err(error) = respond(&mut stream, reply, &limits).await {
        shared.counters.refused("reply-not-read");
        if error.kind() == std::io::ErrorKind::TimedOut {
            shared.counters.reached(Limit::SendDeadline, &place.peer);
        }
        return;
    }
    shared.slots(&place.peer).quiet(place.id);
    tokio::select! {
        biased;
        () = finish(&mut stream, &limits) => {}
        () = place.leave() => {}
        () = stopping(&mut phase) => {}
    }
    drop(held);
}

/// The limit that ended a request.
fn limit_behind(refusal: &Refusal, deadline: Instant) -> Option<Limit> {
    match refusal {
        Refusal::Framing(Bad::TooLarge) => Some(Limit::RequestSize),
        Refusal::Timeout | Refusal::Incomplete { .. } => (Instant::now() >= deadline).then_some(Limit::ReceiveDeadline),
        Refusal::Framing(_) | Refusal::Json(_) | Refusal::Io(_) => None,
    }
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
            tracing::error!(peer = %place.peer, "the handler of a request panicked");
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

pub(super) async fn stopping(phase: &mut watch::Receiver<Phase>) {
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
pub(super) async fn turn_away<S: AsyncWrite + Unpin>(stream: &mut S, shared: &Shared, code: &'static str) {
    shared.counters.refused(code);
    let limits = Limits { send: GRACE, ..shared.limits };
    let message = if code == "shutting-down" { STOPPING } else { NO_ROOM };
    respond(stream, busy_reply(message), &limits).await.ok();
}
