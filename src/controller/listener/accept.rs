//! The loops that accept connections. They never end because of an error: without file descriptors they pause.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::{NO_ROOM, Phase, Shared, busy_reply, converse, encode};
use super::counters::count;
use super::limit_log::Limit;
use super::opening::converse_on_tcp;
use super::unix::BoundUnix;
use super::{Handler, Peer};
use crate::protocol::exchange::{finish, respond};
use crate::protocol::reply::ErrorReply;

/// How long accepting rests after a failure; the kernel keeps the connections meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// What a loop needs; dropped when it ends.
pub(super) struct Accepting<H> {
    shared: Arc<Shared>,
    handler: Arc<H>,
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
}

impl<H: Handler> Accepting<H> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        handler: &Arc<H>,
        phase: &watch::Receiver<Phase>,
        alive: &mpsc::Sender<()>,
    ) -> Self {
        Self { shared: Arc::clone(shared), handler: Arc::clone(handler), phase: phase.clone(), alive: alive.clone() }
    }

    pub(super) async fn remote(self, listener: TcpListener) {
        let mut phase = self.phase.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = draining(&mut phase) => return,
            };
            match accepted {
                Ok((stream, address)) => {
                    count(&self.shared.counters.accepted);
                    let peer = Peer::Remote(address);
                    match self.shared.admit(peer) {
                        Some(place) => {
                            self.spawn(converse_on_tcp(stream, place, Arc::clone(&self.handler), self.phase.clone()))
                        }
                        // There is room in a fresh socket's buffer for this; nothing is waited for.
                        None if self.may_say_so(&stream) => drop(stream.try_write(&busy_reply(NO_ROOM))),
                        None => {}
                    }
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    pub(super) async fn local(self, socket: BoundUnix) {
        let mut phase = self.phase.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = socket.listener().accept() => accepted,
                () = draining(&mut phase) => return,
            };
            match accepted {
                Ok((mut stream, _)) => {
                    count(&self.shared.counters.accepted);
                    let uid = match stream.peer_cred() {
                        Ok(credentials) if is_permitted(credentials.uid()) => credentials.uid(),
                        Ok(_) | Err(_) => {
                            self.shared.counters.refused("not-permitted");
                            let limits = *self.shared.limits();
                            let refusal = not_permitted();
                            self.spawn(async move {
                                if respond(&mut stream, refusal, &limits).await.is_ok() {
                                    finish(&mut stream, &limits).await;
                                }
                            });
                            continue;
                        }
                    };
                    match self.shared.admit(Peer::Local { uid }) {
                        Some(place) => {
                            let deadline = Instant::now() + self.shared.limits().receive;
                            let handler = Arc::clone(&self.handler);
                            self.spawn(converse(stream, place, handler, self.phase.clone(), deadline))
                        }
                        None => drop(stream.try_write(&busy_reply(NO_ROOM))),
                    }
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    fn spawn(&self, conversation: impl Future<Output = ()> + Send + 'static) {
        let alive = self.alive.clone();
        tokio::spawn(async move {
            conversation.await;
            drop(alive);
        });
    }

    /// Whether a client that gets no place can be told so in clear text: where TLS is spoken, only if it began so.
    fn may_say_so(&self, stream: &TcpStream) -> bool {
        let mut first = [0];
        self.shared.tls().is_none()
            || rustix::net::recv(stream, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT)
                .is_ok_and(|(read, _)| read == 1 && first != [0x16])
    }

    async fn rest(&self, error: &io::Error) {
        if Errno::from_io_error(error) == Some(Errno::CONNABORTED) {
            return;
        }
        count(&self.shared.counters.accept_failures);
        self.shared.counters.reached(Limit::Accept, error);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn draining(phase: &mut watch::Receiver<Phase>) {
    phase.wait_for(|phase| *phase >= Phase::Draining).await.ok();
}

/// The socket's mode keeps others out already; this holds even if somebody changes the mode.
fn is_permitted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn not_permitted() -> Vec<u8> {
    let hint = "run the command as root, or as the user that the controller runs as";
    encode(&ErrorReply::new("not-permitted", "this socket is for the controller's administrator", hint))
}
