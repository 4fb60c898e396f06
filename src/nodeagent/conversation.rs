//! Asking the controller until its answer is good enough: waits as it says, backs off when it says nothing, and logs
//! only what changes (S2-63).
//!
//! The first question that gets through is answered at once, so that the reason for waiting is known, and what can be
//! begun meanwhile; the following ones may be held back by the controller until there is news.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, Chance, chance};
use super::client::{self, ClientError, Link};
use crate::causes::chain;
use crate::protocol::registration::RawRequest;
use crate::protocol::reply::{Reason, Reply, Status};

/// How long a reply may be held back until there is news.
const HOLD: Duration = Duration::from_secs(20);

/// A conversation with one controller, until a deadline.
#[derive(Clone)]
pub struct Conversation {
    pub link: Arc<Link>,
    pub deadline: Instant,
    /// What the deadline was made from, for the message.
    pub timeout: Duration,
    pub chance: Chance,
}

/// Why there is no answer that is good enough.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    #[error("the controller cannot be reached")]
    Unreachable(#[source] ClientError),
    #[error("the controller refused: {message}")]
    Refused { code: String, message: String, hint: String },
    #[error("still waiting after {after:?}: {message}")]
    TimedOut { reason: String, message: String, after: Duration },
}

/// Why the last answer was not enough.
struct Shortfall {
    line: String,
    reason: String,
    pause: Duration,
    error: Option<ClientError>,
}

impl Conversation {
    /// How long it has gone on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.timeout.saturating_sub(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Asks until `enough`. `said` is the last line that was logged.
    ///
    /// # Errors
    /// See [`ConversationError`].
    pub async fn until(
        &self,
        enough: impl Fn(&Reply) -> bool,
        request: impl Fn() -> RawRequest,
        said: &mut String,
    ) -> Result<Reply, ConversationError> {
        let (mut waiting, mut unreachable) = (Backoff::waiting(), Backoff::unreachable());
        let mut hold = Duration::ZERO;
        loop {
            let asked = Instant::now();
            let request = RawRequest { wait_ms: millis(hold), ..request() };
            let short = match client::ask(&self.link, &request).await.map(|answer| answer.reply) {
                Ok(reply) if reply.status == Status::Error => {
                    return Err(ConversationError::Refused {
                        code: reply.code,
                        message: reply.message,
                        hint: reply.hint,
                    });
                }
                Ok(reply) if enough(&reply) => return Ok(reply),
                Ok(reply) => {
                    unreachable.reset();
                    let pause = if hold.is_zero() || asked.elapsed() >= hold / 2 {
                        // The next question is held back, or this one was: that paces enough.
                        Duration::ZERO
                    } else {
                        reply.retry_after_ms.map_or_else(|| waiting.next((self.chance)()), Duration::from_millis)
                    };
                    let (line, reason) = why_waiting(&reply);
                    Shortfall { line, reason, pause, error: None }
                }
                Err(error) if error.is_final() => return Err(ConversationError::Unreachable(error)),
                Err(error) => Shortfall {
                    line: chain(&error),
                    reason: "controller-unreachable".to_owned(),
                    pause: unreachable.next((self.chance)()),
                    error: Some(error),
                },
            };
            if *said != short.line {
                say(&short.reason, &short.line);
                said.clone_from(&short.line);
                waiting.reset();
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left <= short.pause {
                return Err(match short.error {
                    Some(error) => ConversationError::Unreachable(error),
                    None => {
                        ConversationError::TimedOut { reason: short.reason, message: short.line, after: self.timeout }
                    }
                });
            }
            tokio::time::sleep(short.pause).await;
            // Who has heard nothing yet has nothing to begin with.
            hold = if short.error.is_some() { Duration::ZERO } else { HOLD.min(left - short.pause) };
        }
    }
}

/// Why it waits. That an administrator has to decide is said where only warnings are seen, too: nobody can let this host
/// in who does not know its request and its key.
fn say(reason: &str, line: &str) {
    if reason == Reason::PendingApproval.as_str() {
        tracing::warn!(reason, "waiting: {line}");
    } else {
        tracing::info!(reason, "waiting: {line}");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The line and the word for why a reply is not enough.
fn why_waiting(reply: &Reply) -> (String, String) {
    match reply.reason {
        Some(reason) if reply.hint.is_empty() => (reply.message.clone(), reason.to_string()),
        Some(reason) => (format!("{}; {}", reply.message, reply.hint), reason.to_string()),
        None => (reply.gluster_message.clone(), Reason::StorageDegraded.to_string()),
    }
}

/// Chance as the kernel gives it.
#[must_use]
pub fn kernel_chance() -> Chance {
    Arc::new(|| {
        let mut bytes = [0; 4];
        // Without randomness every node waits the same time, which is worse but not wrong.
        getrandom::fill(&mut bytes).ok();
        chance(bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_asks_to_be_let_in_is_seen_where_only_warnings_are() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            say("below-minimum", "one worker is missing");
            say("pending-approval", "approve the request k3x5q7ab, key 2kew");
        });
        let seen = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(seen.contains("k3x5q7ab, key 2kew") && seen.contains("pending-approval"), "{seen}");
        assert!(!seen.contains("one worker"), "{seen}");
    }
}
