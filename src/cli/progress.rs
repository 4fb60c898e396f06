//! What a person sees while a step takes its time: on a terminal a line on stderr with a spinner and the seconds,
//! otherwise a log line. Steps that are done within a second show nothing.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::{LogLevel, LogSettings};
use crate::logging::{self, escape};

/// A step that is done before this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// All spinners of this process; log lines make room for them.
fn display() -> &'static MultiProgress {
    static DISPLAY: OnceLock<MultiProgress> = OnceLock::new();
    DISPLAY.get_or_init(|| {
        logging::around_lines(|write| display().suspend(write));
        MultiProgress::with_draw_target(ProgressDrawTarget::stderr())
    })
}

/// Shows the steps of a command.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    terminal: bool,
}

impl Progress {
    /// Progress on stderr, in the way that fits what stderr is. Whoever wants only warnings logged (`--quiet`) gets
    /// no spinner either.
    #[must_use]
    pub fn new(log: &LogSettings) -> Self {
        Self { terminal: log.level <= LogLevel::Info && std::io::stderr().is_terminal() }
    }

    /// A step has begun. Call it within the runtime; it ends when the returned value is finished or dropped.
    pub fn step(self, text: impl Into<String>) -> Step {
        let text = text.into();
        let shown = Arc::new(Mutex::new(Shown { text, bar: None, announced: false }));
        let state = Arc::clone(&shown);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            lock(&state).announce(self.terminal);
        });
        Step { shown, timer: timer.abort_handle(), since: Instant::now(), terminal: self.terminal }
    }
}

#[derive(Debug)]
struct Shown {
    text: String,
    bar: Option<ProgressBar>,
    announced: bool,
}

impl Shown {
    fn announce(&mut self, terminal: bool) {
        self.announced = true;
        if !terminal {
            tracing::info!("{} …", self.text);
            return;
        }
        // The time before the spinner appeared counts too.
        let bar = ProgressBar::new_spinner().with_elapsed(PATIENCE).with_message(escape::line(&self.text));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        let bar = display().add(bar);
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }
}

/// A step under way.
#[must_use = "the step ends when this is dropped"]
#[derive(Debug)]
pub struct Step {
    shown: Arc<Mutex<Shown>>,
    timer: tokio::task::AbortHandle,
    since: Instant,
    terminal: bool,
}

impl Step {
    /// Says something else about the same step.
    pub fn say(&self, text: impl Into<String>) {
        let mut shown = lock(&self.shown);
        let text = text.into();
        if shown.text == text {
            return;
        }
        shown.text = text;
        match &shown.bar {
            Some(bar) => bar.set_message(escape::line(&shown.text)),
            None if shown.announced => tracing::info!("{} …", shown.text),
            None => {}
        }
    }

    /// The step is done: on a terminal it leaves a line with its time, if it was shown at all.
    pub fn done(self) {
        let mut shown = lock(&self.shown);
        if !shown.announced {
            return;
        }
        // The spinner goes first, so that the line takes its place.
        if let Some(bar) = shown.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = self.since.elapsed().as_secs_f64();
        if self.terminal {
            let line = format!("✓ {} ({seconds:.1} s)\n", escape::line(&shown.text));
            // A terminal that has gone away needs no more lines.
            display().suspend(|| std::io::stderr().lock().write_all(line.as_bytes()).ok());
        } else {
            tracing::info!(seconds = (seconds * 10.0).round() / 10.0, "{}: done", shown.text);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.timer.abort();
        if let Some(bar) = lock(&self.shown).bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Text and spinner are whole whatever happened to another holder.
fn lock(shown: &Mutex<Shown>) -> std::sync::MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn short_steps_show_nothing_and_long_ones_do() {
        let progress = Progress { terminal: false };
        let step = progress.step("short");
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(!lock(&step.shown).announced);
        step.done();
        let step = progress.step("long");
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(lock(&step.shown).announced);
        step.say("longer");
        assert_eq!(lock(&step.shown).text, "longer");
        step.done();
    }
}
