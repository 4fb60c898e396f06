//! Why a connection got no further than its request, and what its client is told.

use super::framer::Bad;
use crate::protocol::reply::ErrorReply;

/// A request that could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the bytes were rejected: {0:?}")]
    Framing(Bad),
    #[error("the request could not be decoded")]
    Json(#[source] serde_json::Error),
    /// Nothing came within the deadline.
    #[error("no request came in time")]
    Timeout,
    /// The client stopped, or the deadline passed, in the middle of the request.
    #[error("the request broke off after {received} bytes")]
    Incomplete { received: usize },
    /// The connection broke; there is nobody to answer.
    #[error("the connection failed")]
    Io(#[source] std::io::Error),
}

impl Refusal {
    /// The code that the client sees and that the counters use.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Framing(Bad::Tls) => "tls-not-enabled",
            Self::Framing(Bad::Http | Bad::NotAnObject) => "not-json",
            Self::Framing(Bad::Malformed { .. } | Bad::TooDeep) | Self::Json(_) => "bad-json",
            Self::Framing(Bad::TooLarge) => "request-too-large",
            Self::Timeout => "request-timeout",
            Self::Incomplete { .. } => "incomplete-request",
            Self::Io(_) => "connection-failed",
        }
    }

    /// The one answer, or `None` if there is nobody to answer. `limit` is the longest request in bytes.
    #[must_use]
    pub fn reply(&self, limit: usize) -> Option<ErrorReply> {
        let (message, hint) = match self {
            Self::Framing(Bad::Tls) => {
                ("this port does not speak TLS".to_owned(), "send the request in clear text".to_owned())
            }
            Self::Framing(Bad::Http) => (
                "this port does not speak HTTP".to_owned(),
                "send one JSON object, for example with `clusterctl node join`".to_owned(),
            ),
            Self::Framing(Bad::NotAnObject) => (
                "the request does not begin with `{`".to_owned(),
                "send one JSON object, in UTF-8 without a byte order mark".to_owned(),
            ),
            Self::Framing(Bad::Malformed { offset }) => (
                format!("the byte at offset {offset} cannot stand there in JSON"),
                "send one valid JSON object".to_owned(),
            ),
            Self::Framing(Bad::TooDeep) => (
                format!("the request nests deeper than {} levels", super::MAX_DEPTH),
                "send a flat JSON object".to_owned(),
            ),
            Self::Framing(Bad::TooLarge) => (
                format!("the request is longer than {limit} bytes"),
                "send one JSON object within that size".to_owned(),
            ),
            // The decoder quotes values of a wrong type, however long they are.
            Self::Json(error) => (
                error.to_string().chars().filter(|c| !c.is_control()).take(200).collect(),
                "send one valid JSON object with the documented fields".to_owned(),
            ),
            Self::Timeout => {
                ("no request came in time".to_owned(), "send the request right after connecting".to_owned())
            }
            Self::Incomplete { received } => (
                format!("the request broke off after {received} bytes"),
                "send the whole JSON object at once".to_owned(),
            ),
            Self::Io(_) => return None,
        };
        Some(ErrorReply::new(self.code(), message, hint))
    }
}
