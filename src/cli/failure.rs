//! How a command ends: exit codes, the words for the operator, and the line for scripts.
//!
//! Errors below this layer say what happened; here is added what to do about it. The surprising part: exit codes are
//! an interface that scripts rely on, so a new kind of failure takes an existing code or a new number, and never
//! changes what a number means.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde_json::{Map, Value};

use crate::causes;
use crate::logging::escape;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done; the host is as it should be.
    Converged = 0,
    /// Asked whether things differ: they do. Nothing failed.
    Differs = 1,
    /// The command line is wrong. Nothing was done.
    Usage = 2,
    /// Not yet: something that passes stands in the way (a service that is down, a minimum not reached, a second
    /// controller or agent on this host). Running it again later is the right thing.
    Waiting = 10,
    /// Not admitted, or no longer a member.
    Auth = 11,
    /// An argument or a setting is invalid. Nothing was done.
    InvalidInput = 12,
    /// The host belongs to another Swarm. It was left there.
    ForeignSwarm = 13,
    /// The storage pool, a volume or a brick belongs to something else. It was left alone.
    ForeignStorage = 14,
    /// The Swarm is locked and wants its key.
    Locked = 15,
    /// Too few managers are left for the Swarm to decide anything.
    QuorumLost = 16,
    /// The state or the data cannot be kept safely. Nothing was written over.
    StorageUnsafe = 17,
    /// Program, state or protocol are of versions that do not go together.
    Incompatible = 18,
    /// A program or a service of the host that is needed is not there.
    MissingProgram = 19,
    /// clusterctl itself is wrong.
    Bug = 70,
    /// SIGINT.
    Interrupted = 130,
    /// Whoever read the output has gone, as with `| head`. Said by the code alone, as a shell's SIGPIPE would.
    PipeClosed = 141,
    /// SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word after `result=`.
    #[must_use]
    pub fn result(self) -> &'static str {
        match self {
            Self::Converged => "ok",
            Self::Differs => "differs",
            Self::Waiting => "waiting",
            Self::Interrupted | Self::Terminated | Self::PipeClosed => "interrupted",
            Self::Usage
            | Self::Auth
            | Self::InvalidInput
            | Self::ForeignSwarm
            | Self::ForeignStorage
            | Self::Locked
            | Self::QuorumLost
            | Self::StorageUnsafe
            | Self::Incompatible
            | Self::MissingProgram
            | Self::Bug => "failed",
        }
    }

    /// The word after `reason=` where nobody gives a better one.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Differs => "differs",
            Self::Usage => "usage",
            Self::Waiting => "not-yet",
            Self::Auth => "not-admitted",
            Self::InvalidInput => "invalid-input",
            Self::ForeignSwarm => "foreign-swarm",
            Self::ForeignStorage => "foreign-storage",
            Self::Locked => "swarm-locked",
            Self::QuorumLost => "quorum-lost",
            Self::StorageUnsafe => "storage-unsafe",
            Self::Incompatible => "incompatible-version",
            Self::MissingProgram => "program-missing",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
            Self::PipeClosed => "pipe-closed",
            Self::Terminated => "terminated",
        }
    }
}

/// What follows `result=`: the last line on stderr, and fields of the JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResultLine {
    pub(super) exit: Exit,
    /// In kebab case.
    pub(super) reason: Cow<'static, str>,
    /// The command to go on with.
    pub(super) next: Option<String>,
}

impl ResultLine {
    /// Adds the fields to `object`.
    pub(super) fn add_to(&self, object: &mut Map<String, Value>) {
        object.insert("result".to_owned(), self.exit.result().into());
        object.insert("reason".to_owned(), self.reason.as_ref().into());
        object.insert("next".to_owned(), self.next.clone().map_or(Value::Null, Value::String));
    }
}

impl Display for ResultLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.next.as_deref().map_or_else(|| "-".to_owned(), escape::value);
        write!(f, "result={} reason={} next={next}", self.exit.result(), escape::value(&self.reason))
    }
}

/// How a command ended that did not fail.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub(super) line: Option<ResultLine>,
    pub(super) body: Option<Value>,
}

impl Outcome {
    /// A command that only printed something; no `result=` line.
    #[must_use]
    pub fn printed() -> Self {
        Self { line: None, body: None }
    }

    /// A command that acted, or found that it need not; `reason` in kebab case (`converged`, `nothing-to-do`).
    #[must_use]
    pub fn done(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { line: Some(ResultLine { exit: Exit::Converged, reason: reason.into(), next: None }), body: None }
    }

    /// A comparison that found a difference.
    #[must_use]
    pub fn differs() -> Self {
        let line = ResultLine { exit: Exit::Differs, reason: Exit::Differs.reason().into(), next: None };
        Self { line: Some(line), body: None }
    }

    /// Names the command to go on with.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        if let Some(line) = &mut self.line {
            line.next = Some(command.into());
        }
        self
    }

    /// What is printed with `--output json` or `yaml`, together with the fields of the `result=` line. With
    /// `--output table` the command prints for itself.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.line.as_ref().map_or(Exit::Converged, |line| line.exit)
    }
}

/// How a command failed: an error with what the operator needs besides.
#[derive(Debug)]
pub struct Failure {
    pub(super) line: ResultLine,
    pub(super) error: anyhow::Error,
    pub(super) hint: Option<String>,
}

impl Failure {
    /// A failure because of `error`, whose causes are shown after it.
    #[must_use]
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        let line = ResultLine { exit, reason: exit.reason().into(), next: None };
        Self { line, error: error.into(), hint: None }
    }

    /// A failure in words: lower case, no full stop, backticks round commands and paths, the value last.
    #[must_use]
    pub fn message(exit: Exit, message: impl Display) -> Self {
        Self::new(exit, anyhow::Error::msg(message.to_string()))
    }

    /// A more exact reason, in kebab case.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.line.reason = reason.into();
        self
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The command to go on with.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.line.next = Some(command.into());
        self
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.line.exit
    }

    /// The failure in an error that passed through anyhow, or one with `exit` and the error's words.
    #[must_use]
    pub fn from_anyhow(error: anyhow::Error, exit: Exit) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| Self::new(exit, error))
    }

    /// The error and its causes, one after the other.
    #[must_use]
    pub fn chain(&self) -> String {
        causes::chain(self.error.as_ref())
    }

    /// The lines for stderr: `error:`, `hint:`, and the `result=` line.
    #[must_use]
    pub fn report(&self) -> String {
        if self.line.exit == Exit::PipeClosed {
            return String::new();
        }
        let mut text = paragraph("error: ", &self.chain());
        if let Some(hint) = &self.hint {
            text.push_str(&paragraph("hint: ", hint));
        }
        format!("{text}{}\n", self.line)
    }

    /// The same as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        self.line.add_to(&mut object);
        object.insert("exit".to_owned(), self.line.exit.code().into());
        object.insert("error".to_owned(), self.chain().into());
        object.insert("hint".to_owned(), self.hint.clone().map_or(Value::Null, Value::String));
        Value::Object(object)
    }
}

/// `text` after `label`, harmless for a terminal; its own line breaks stay.
fn paragraph(label: &str, text: &str) -> String {
    let lines: Vec<String> = text.lines().map(escape::line).collect();
    format!("{label}{}\n", lines.join("\n"))
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Exit::InvalidInput, error).reason("invalid-settings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot join the Swarm")]
    struct Outer(#[source] std::io::Error);

    fn failure() -> Failure {
        Failure::new(Exit::ForeignSwarm, Outer(std::io::Error::other("this node is in another\u{1b}[31m")))
            .hint("leave it first")
            .next("docker swarm leave")
    }

    /// The exit codes are an interface; their numbers never change.
    #[test]
    fn exit_codes() {
        use Exit::*;
        for (exit, code) in [
            (Converged, 0),
            (Differs, 1),
            (Usage, 2),
            (Waiting, 10),
            (Auth, 11),
            (InvalidInput, 12),
            (ForeignSwarm, 13),
            (ForeignStorage, 14),
            (Locked, 15),
            (QuorumLost, 16),
            (StorageUnsafe, 17),
            (Incompatible, 18),
            (MissingProgram, 19),
            (Bug, 70),
            (Interrupted, 130),
            (PipeClosed, 141),
            (Terminated, 143),
        ] {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn reports_error_hint_and_result() {
        insta::assert_snapshot!(failure().report(), @r#"
        error: cannot join the Swarm: this node is in another\e[31m
        hint: leave it first
        result=failed reason=foreign-swarm next="docker swarm leave"
        "#);
        let json = failure().to_json();
        assert_eq!((&json["exit"], &json["reason"]), (&13.into(), &"foreign-swarm".into()));
    }

    #[test]
    fn failures_survive_anyhow() {
        let error = anyhow::Error::new(failure());
        assert_eq!(Failure::from_anyhow(error, Exit::Bug).exit(), Exit::ForeignSwarm);
        assert_eq!(Failure::from_anyhow(anyhow::anyhow!("x"), Exit::Waiting).exit(), Exit::Waiting);
    }

    #[test]
    fn an_error_that_repeats_its_cause_says_it_once() {
        let error = anyhow::anyhow!("disk full").context("cannot write: disk full");
        assert_eq!(Failure::new(Exit::StorageUnsafe, error).chain(), "cannot write: disk full");
    }

    #[test]
    fn outcomes_have_lines_only_where_something_was_done() {
        assert!(Outcome::printed().next("x").line.is_none());
        let line = Outcome::done("nothing-to-do").next("clusterctl node status").line.unwrap();
        assert_eq!(line.to_string(), "result=ok reason=nothing-to-do next=\"clusterctl node status\"");
        assert_eq!(Outcome::differs().exit(), Exit::Differs);
    }
}
