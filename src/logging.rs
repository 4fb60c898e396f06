//! Log lines in the form `[2026-01-02T03:04:05Z] - [INFO] - message key=value`, to stderr and to a file if one is set.
//!
//! `line` makes the text and is pure; this file has the sinks. stderr is written at once, so that a command's last
//! lines come out in order; the file is written by a thread of its own, which never drops a line and is waited for
//! when the [`Guard`] is dropped. Never logged: [`crate::cluster::Secret`], which cannot be printed.

pub mod escape;
mod line;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::clock::{Clock, SystemClock};
use crate::config::{LogFormat, LogLevel, LogSettings};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("cannot open the log file {path}")]
    Open { path: String, source: std::io::Error },
    #[error("logging was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the log file's thread alive; dropping it writes what is still waiting.
#[must_use = "dropping it ends the log file"]
#[derive(Debug)]
pub struct Guard {
    _file: Option<WorkerGuard>,
}

/// Sets up logging for this process.
///
/// # Errors
/// If the log file cannot be opened. Logging to stderr is not set up then either.
pub fn init(settings: &LogSettings) -> Result<Guard, LoggingError> {
    let (file, guard) = match &settings.file {
        Some(path) => {
            let opened = std::fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path.as_path());
            let file = opened.map_err(|source| LoggingError::Open { path: path.to_string(), source })?;
            // Waiting for a slow disk is better than a hole in the log, which the default would leave.
            let (writer, guard) = NonBlockingBuilder::default().lossy(false).thread_name("log").finish(file);
            (Some(writer), Some(guard))
        }
        None => (None, None),
    };
    let lines = Lines { format: settings.format, file, clock: SystemClock };
    let layer = lines.with_filter(filter(settings.level));
    tracing_subscriber::registry().with(layer).try_init().map_err(LoggingError::Twice)?;
    Ok(Guard { _file: guard })
}

/// Our own lines from the level on; those of the libraries only when they warn.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target("clusterctl", own)
}

/// What is done around a line to stderr, so that a progress display makes room for it.
type AroundLine = fn(&mut dyn FnMut());

static AROUND_LINE: OnceLock<AroundLine> = OnceLock::new();

/// Has `around` called for each line that goes to stderr; it must call what it is given. Only the first call counts.
pub fn around_lines(around: AroundLine) {
    // A second one can only be the same: the display registers itself when it is made.
    AROUND_LINE.get_or_init(|| around);
}

/// The layer that turns events into lines.
struct Lines<C> {
    format: LogFormat,
    file: Option<NonBlocking>,
    clock: C,
}

impl<S, C> Layer<S> for Lines<C>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    C: Clock + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = line::Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let text = match self.format {
            LogFormat::Text => line::text(self.clock.now(), level, &fields),
            LogFormat::Json => line::json(self.clock.now(), level, &fields),
        };
        // Where stderr or the file cannot be written there is nobody left to tell.
        let mut write = || {
            std::io::stderr().lock().write_all(text.as_bytes()).ok();
        };
        match AROUND_LINE.get() {
            Some(around) => around(&mut write),
            None => write(),
        }
        if let Some(file) = &self.file {
            file.clone().write_all(text.as_bytes()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> jiff::Timestamp {
            "2026-01-02T03:04:05.678Z".parse().unwrap()
        }
    }

    fn written(format: LogFormat, level: LogLevel, log: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(file.reopen().unwrap());
        let lines = Lines { format, file: Some(writer), clock: Fixed };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(level)));
        tracing::subscriber::with_default(subscriber, log);
        drop(guard);
        std::fs::read_to_string(file.path()).unwrap()
    }

    /// S2-21, S2-22, S2-78: the specification's form.
    #[test]
    fn writes_lines_of_the_specified_form() {
        let text = written(LogFormat::Text, LogLevel::Info, || {
            tracing::info!(node = "h2", managers = 1_u32, ready = false, "node registered");
            tracing::debug!("not at this level");
            tracing::warn!(error = %"two words", "odd");
        });
        assert_eq!(
            text,
            "[2026-01-02T03:04:05Z] - [INFO] - node registered node=h2 managers=1 ready=false\n\
             [2026-01-02T03:04:05Z] - [WARN] - odd error=\"two words\"\n"
        );
    }

    /// S2-23: the level, and the libraries' chatter.
    #[test]
    fn levels_filter() {
        let all = || {
            tracing::debug!("d");
            tracing::info!("i");
            tracing::warn!("w");
            tracing::error!("e");
            tracing::info!(target: "bollard", "chatter");
            tracing::warn!(target: "bollard", "trouble");
        };
        for (level, lines) in [(LogLevel::Debug, 5), (LogLevel::Info, 4), (LogLevel::Warn, 3), (LogLevel::Error, 1)] {
            assert_eq!(written(LogFormat::Text, level, all).lines().count(), lines, "{level:?}");
        }
    }

    #[test]
    fn writes_json() {
        let text = written(LogFormat::Json, LogLevel::Info, || tracing::info!(node = "h2", managers = 1_u32, "hello"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "time": "2026-01-02T03:04:05Z", "level": "INFO", "message": "hello", "node": "h2", "managers": 1,
        });
        assert_eq!(value, expected);
    }

    /// T15: a secret given to a field by mistake does not come out.
    #[test]
    fn secrets_stay_redacted() {
        let secret = crate::cluster::Secret::new("SWMTKN-1-canary");
        let text = written(LogFormat::Text, LogLevel::Info, || tracing::info!(%secret, again = ?secret, "join"));
        assert!(text.contains("redacted") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let file = crate::cluster::AbsolutePath::parse("/no/such/directory/x.log").unwrap();
        let settings = LogSettings { level: LogLevel::Info, file: Some(file), format: LogFormat::Text };
        assert!(init(&settings).unwrap_err().to_string().contains("/no/such/directory/x.log"));
    }
}
