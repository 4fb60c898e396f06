//! An error and what caused it, in one line: for logs, for replies, and for the last words of a command. Errors say
//! their own part alone (`Display` without the source); whoever prints walks down, and walks down here.
//!
//! The surprise: an error that repeats its cause all the same, as foreign ones do, says it once.

use std::error::Error;

/// `error: cause: its cause`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let words = cause.to_string();
        if !line.ends_with(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Self>>);

    fn line(links: &[&'static str]) -> String {
        let error = links.iter().rev().fold(None, |cause, words| Some(Box::new(Link(words, cause))));
        chain(&*error.unwrap())
    }

    #[test]
    fn names_the_causes_one_after_the_other() {
        assert_eq!(line(&["cannot write"]), "cannot write");
        assert_eq!(line(&["cannot write", "cannot open", "no such file"]), "cannot write: cannot open: no such file");
    }

    #[test]
    fn a_cause_that_is_repeated_is_said_once() {
        assert_eq!(line(&["cannot write: disk full", "disk full"]), "cannot write: disk full");
        assert_eq!(line(&["same", "same", "other"]), "same: other");
    }
}
