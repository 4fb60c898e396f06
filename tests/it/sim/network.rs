//! The network between hosts and controller, in memory: connections are pipes, and what becomes of one is decided when
//! it is made.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clusterctl::nodeagent::client::{Connection, Dial};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::chance::Dice;
use crate::world::address;

/// What one connection holds on its way: more than a request or a reply, so that nobody waits for the other's reading.
const PIPE: usize = 512 * 1024;

/// What becomes of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// The connection breaks before the controller has read the request.
    RequestLost,
    /// It breaks after the request was carried out.
    ReplyLost,
    ReplyLate(Duration),
    /// The controller dies after the request was carried out, before it answers.
    ControllerDies,
}

/// A connection that the controller is to take.
pub(crate) struct Arrival {
    pub(crate) stream: DuplexStream,
    pub(crate) from: SocketAddr,
    pub(crate) host: usize,
    pub(crate) fate: Fate,
}

struct State {
    door: Option<mpsc::UnboundedSender<Arrival>>,
    /// Hosts that the controller does not reach, nor they it: everything between them vanishes.
    cut: BTreeSet<usize>,
    stormy: bool,
    connections: u16,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let state = State { door: None, cut: BTreeSet::new(), stormy: true, connections: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Opens the controller's door; it is closed when what is returned is dropped.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Arrival> {
        let (door, arrivals) = mpsc::unbounded_channel();
        self.lock().door = Some(door);
        arrivals
    }

    pub(crate) fn set_cut(&self, host: usize, cut: bool) {
        let state = &mut *self.lock();
        if cut {
            state.cut.insert(host)
        } else {
            state.cut.remove(&host)
        };
    }

    pub(crate) fn is_cut(&self, host: usize) -> bool {
        self.lock().cut.contains(&host)
    }

    /// From now on every connection is fine.
    pub(crate) fn calm(&self) {
        let state = &mut *self.lock();
        state.stormy = false;
        state.cut.clear();
    }

    fn fate(&self, dice: &Dice) -> Fate {
        if !self.lock().stormy {
            return Fate::Fine;
        }
        match dice.below(40) {
            0 | 1 => Fate::RequestLost,
            2 | 3 => Fate::ReplyLost,
            4..=6 => Fate::ReplyLate(dice.millis(10..=12_000)),
            7 => Fate::ControllerDies,
            _ => Fate::Fine,
        }
    }
}

/// One host's way into the network.
pub(crate) struct Wire {
    pub(crate) network: Network,
    pub(crate) host: usize,
    pub(crate) dice: Dice,
}

#[async_trait::async_trait]
impl Dial for Wire {
    async fn dial(&self, _door: SocketAddr) -> io::Result<Box<dyn Connection>> {
        tokio::time::sleep(self.dice.millis(1..=5)).await;
        if self.network.is_cut(self.host) {
            // Nobody says no.
            std::future::pending::<()>().await;
        }
        let fate = self.network.fate(&self.dice);
        let (stream, theirs) = tokio::io::duplex(PIPE);
        let mut state = self.network.lock();
        state.connections = state.connections.wrapping_add(1);
        let from = SocketAddr::from((address(self.host).ip(), state.connections.max(1024)));
        let arrival = Arrival { stream: theirs, from, host: self.host, fate };
        let taken = state.door.as_ref().is_some_and(|door| door.send(arrival).is_ok());
        if taken { Ok(Box::new(stream)) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }
}
