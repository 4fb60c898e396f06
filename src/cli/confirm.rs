//! Asks the operator to type a word before something is lost.

use std::io::{BufRead, IsTerminal, Write};

use super::{Exit, Failure};

/// Asks for `word` on a terminal, after saying what will happen. Without a terminal nobody can answer, and `--yes`
/// is the way.
///
/// # Errors
/// [`Exit::Usage`] if anything else was typed, or there is no terminal. Nothing was done.
pub async fn confirm(consequence: &str, word: &str) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::message(Exit::Usage, format_args!("this needs a confirmation: {consequence}"))
            .reason("not-confirmed")
            .hint("there is no terminal to ask on; pass `--yes`"));
    }
    // A prompt that cannot be shown is answered by nobody; reading then fails or ends.
    write!(std::io::stderr(), "{consequence}\nType `{word}` to go on: ").ok();
    // On a thread of its own: a signal must end the command while it waits for the answer.
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer).map(|_| answer)
    });
    match read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(answer) if answer.trim() == word => Ok(()),
        Ok(_) => Err(Failure::message(Exit::Usage, "not confirmed; nothing was done").reason("not-confirmed")),
        Err(error) => Err(Failure::new(Exit::Usage, error).reason("not-confirmed")),
    }
}
