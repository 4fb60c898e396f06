//! A controller that only has words: it answers what a test tells it, on a unix socket, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Ends with the test's process.
pub(super) struct Wordy {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Wordy {
    /// Answers every request with what `answer` makes of it.
    pub(super) fn answering(answer: impl Fn(&Value) -> Value + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if let Some(request) = stream.as_ref().ok().and_then(request) {
                    let reply = answer(&request);
                    heard.lock().unwrap().push(request);
                    // Who has gone wants no answer.
                    stream.unwrap().write_all(format!("{reply}\n").as_bytes()).ok();
                }
            }
        });
        Self { directory, asked }
    }

    /// Answers every request with `reply`, and one for its status with where it is.
    pub(super) fn saying(reply: Value) -> Self {
        Self::answering(move |request| match request["Action"].as_str() {
            Some("status") => json!({"Status": "ready", "Swarm": {"Manager": "10.0.0.1:2377"}}),
            _ => reply.clone(),
        })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// What it was asked, without the questions for its status.
    pub(super) fn asked(&self) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| request["Action"] != "status").cloned().collect()
    }
}

fn request(stream: &UnixStream) -> Option<Value> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}
