//! The signals that ask this process to end.

use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};

/// A request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, from Ctrl-C.
    Interrupt,
    /// SIGTERM, from `systemctl stop` and the like.
    Terminate,
}

impl Signal {
    /// The name in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The end of a client command: what was done so far stays, and running it again goes on from there.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let exit = match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        };
        Failure::message(exit, format_args!("stopped by {}", self.name())).hint("run the same command again to go on")
    }
}

/// Waits for the first such signal. If they cannot be listened for, waits for ever: the kernel then ends the process
/// as it would any other.
pub async fn shutdown() -> Signal {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        tracing::warn!("signals cannot be listened for; stopping will not be orderly");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    }
}
