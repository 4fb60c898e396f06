//! One JSON value in, one JSON value out, over any byte stream.
//!
//! The request is the first JSON object on the connection and ends where that object ends: a client may keep its side
//! open, send no newline, or send byte by byte. What follows the object is ignored. Nothing here knows of sockets, TLS
//! or what a request means.
//!
//! The surprising part is the end of a conversation: closing a socket that holds unread bytes makes the kernel send a
//! reset, and a reset can destroy the reply on its way. So the side that answers shuts down writing, reads on for a
//! bounded while, and only then closes.

use std::time::Duration;

mod client;
mod framer;
mod refusal;
mod server;

pub use client::{Deadlines, ExchangeError, call, decode};
pub use framer::{Bad, Framer, Progress};
pub use refusal::Refusal;
pub use server::{Limits, finish, receive, respond};

/// The longest request. A registration is under 1 KiB; a report with findings a few.
pub const MAX_REQUEST: usize = 64 * 1024;

/// The longest reply: a page of a listing is the largest.
pub const MAX_RESPONSE: usize = 256 * 1024;

/// How long a client may take from its connection to the last byte of its request, however many bytes it sends.
pub const RECEIVE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client may take to accept the reply.
pub const SEND_DEADLINE: Duration = Duration::from_secs(5);

/// How deep arrays and objects may nest; the JSON decoder has the same limit, but not in what it skips.
pub const MAX_DEPTH: usize = 128;
