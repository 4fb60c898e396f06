//! Asks a controller: the one on this host through its unix socket, or one elsewhere as an administrator.
//!
//! Commands do not know which of the two it is. The surprising part: an answer `waiting` is a failure here, since
//! nothing was done and nobody waits for it; running the command again is how it goes on.

mod remote;

use std::future::Future;
use std::io::ErrorKind;

use serde_json::Value;
use tokio::net::UnixStream;

use super::admin_file::{self, AdminFile};
use super::{Exit, Failure, explain};
use crate::cluster::AbsolutePath;
use crate::config::{MasterAddress, Settings};
use crate::protocol::exchange::{self, Deadlines};
use crate::protocol::registration::RawRequest;

pub(super) use remote::RemoteError;

/// Which controller is asked, and as whom.
#[derive(Debug)]
pub(super) enum Access {
    /// The one on this host, as root.
    Socket(AbsolutePath),
    /// The one at an address, as an administrator.
    Remote { controller: MasterAddress, admin: Box<AdminFile> },
}

impl Access {
    /// The way that the settings name.
    ///
    /// # Errors
    /// If the administrator's file is missing or unusable. Nothing was contacted.
    pub(super) fn of(settings: &Settings) -> Result<Self, Failure> {
        let Some(file) = &settings.admin.cert else {
            return match &settings.admin.controller {
                None => Ok(Self::Socket(settings.common.socket.clone())),
                Some(controller) => {
                    Err(Failure::message(Exit::InvalidInput, format_args!("as whom is the controller at {controller} to be asked?"))
                        .reason("no-admin-cert")
                        .hint("pass `--admin-cert FILE`, which `clusterctl master admin create NAME --out FILE` makes on the master; without `--controller`, the controller on this host is asked"))
                }
            };
        };
        let admin = admin_file::read(file).map_err(|error| {
            Failure::new(Exit::InvalidInput, error)
                .reason("admin-cert")
                .hint("`clusterctl master admin create NAME --out FILE` on the master makes one")
        })?;
        let controller = settings.admin.controller.clone().unwrap_or_else(|| admin.controller.clone());
        Ok(Self::Remote { controller, admin: Box::new(admin) })
    }

    /// Sends `request`, and gives the answer to it.
    ///
    /// # Errors
    /// If the controller cannot be reached, refuses, or has to be asked again later.
    pub(super) async fn ask(&self, request: &RawRequest) -> Result<Value, Failure> {
        let reply = match self {
            Self::Socket(socket) => ask_socket(socket, request).await?,
            Self::Remote { controller, admin } => {
                remote::ask(controller, admin, request).await.map_err(explain::remote)?
            }
        };
        judge(reply)
    }

    /// All entries of a listing: `action` answers with a page of them under `name`.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(super) async fn list(&self, action: &str, name: &str) -> Result<Vec<Value>, Failure> {
        let page = async |after: String| {
            let request = RawRequest { action: action.to_owned(), after, ..RawRequest::default() };
            self.ask(&request).await
        };
        every_page(name, page).await
    }
}

async fn ask_socket(socket: &AbsolutePath, request: &RawRequest) -> Result<Value, Failure> {
    let mut stream = UnixStream::connect(socket.as_path()).await.map_err(|error| unreachable_here(socket, error))?;
    let failed =
        |error| Failure::new(Exit::Waiting, error).reason("no-answer").hint("see the controller's log, then try again");
    let reply = exchange::call(&mut stream, request, &Deadlines::default()).await.map_err(failed)?;
    exchange::decode(&reply).map_err(failed)
}

/// A socket that cannot be connected to.
fn unreachable_here(socket: &AbsolutePath, error: std::io::Error) -> Failure {
    let kind = error.kind();
    let because = |words: String| anyhow::Error::new(error).context(words);
    if kind == ErrorKind::PermissionDenied {
        return Failure::new(Exit::Auth, because(format!("the controller at `{socket}` answers root alone")))
            .reason("not-permitted")
            .hint("run this as root, or as an administrator with `--admin-cert FILE`");
    }
    let hint = match kind {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "start it with `clusterctl master serve`; on another host, run this on the master, or pass `--admin-cert FILE`; `--socket` names another socket"
        }
        _ => "see whether `clusterctl master serve` is running",
    };
    Failure::new(Exit::Waiting, because(format!("no controller answers at `{socket}`")))
        .reason("no-controller")
        .hint(hint)
        .next("clusterctl master serve")
}

/// Tells an answer from a refusal.
fn judge(reply: Value) -> Result<Value, Failure> {
    let text = |key: &str| reply[key].as_str().unwrap_or_default().to_owned();
    match reply["Status"].as_str() {
        Some("ready") => Ok(reply),
        Some("error") => {
            let code = text("Code");
            let failure = Failure::message(explain::refusal(&code), text("Message")).reason(code);
            Err(match text("Hint") {
                hint if hint.is_empty() => failure,
                hint => failure.hint(hint),
            })
        }
        Some("waiting") => {
            let (reason, message) = (text("Reason"), text("Message"));
            let message =
                if message.is_empty() { format!("the controller cannot do it now: {reason}") } else { message };
            Err(Failure::message(Exit::Waiting, message)
                .reason(if reason.is_empty() { "not-yet".to_owned() } else { reason })
                .hint("run this again in a moment; see the controller's log if it stays so"))
        }
        _ => Err(unusable("it has no status that this program knows")),
    }
}

/// Asks page after page, each with where the last one ended.
async fn every_page<F: Future<Output = Result<Value, Failure>>>(
    name: &str,
    page: impl Fn(String) -> F,
) -> Result<Vec<Value>, Failure> {
    let mut entries = Vec::new();
    let mut after = String::new();
    loop {
        let mut reply = page(after.clone()).await?;
        let Value::Array(rows) = reply[name].take() else {
            return Err(unusable(&format!("it has no list `{name}`")));
        };
        let grew = !rows.is_empty();
        entries.extend(rows);
        match reply["After"].as_str() {
            None | Some("") => return Ok(entries),
            // It would never end.
            Some(next) if next == after || !grew => return Err(unusable("its pages do not come to an end")),
            Some(next) => next.clone_into(&mut after),
        }
    }
}

fn unusable(why: &str) -> Failure {
    Failure::message(Exit::Incompatible, format_args!("the controller's answer cannot be used: {why}"))
        .reason("bad-reply")
        .hint("see that the controller runs the same version as this program (`clusterctl version`)")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    /// N19: what removes a node ends its join for good, whether it asks or registers.
    #[test]
    fn refusals_keep_their_words_and_get_their_exit_code() {
        let refusal = |code: &str| json!({"Status": "error", "Code": code, "Message": "no `h3` here", "Hint": "look"});
        for (code, exit) in [
            ("not-permitted", Exit::Auth),
            ("token-refused", Exit::Auth),
            ("node-removed", Exit::Auth),
            ("removed", Exit::Auth),
            ("request-rejected", Exit::Auth),
            ("role-not-granted", Exit::Auth),
            ("removed", Exit::Auth),
            ("certificate-expired", Exit::Auth),
            ("no-authority", Exit::StorageUnsafe),
            ("no-certificate", Exit::StorageUnsafe),
            ("rotation-under-way", Exit::Waiting),
            ("role-needed", Exit::InvalidInput),
            ("hostname-taken", Exit::InvalidInput),
            ("unknown-node", Exit::InvalidInput),
            ("quorum", Exit::QuorumLost),
            ("last-manager", Exit::QuorumLost),
            ("holds-brick", Exit::StorageUnsafe),
            ("tasks-running", Exit::Waiting),
            ("too-many-failures", Exit::Waiting),
        ] {
            let failure = judge(refusal(code)).unwrap_err();
            assert_eq!(failure.exit(), exit, "{code}");
            assert!(failure.report().starts_with("error: no `h3` here\nhint: look\n"), "{}", failure.report());
            assert_eq!(failure.to_json()["reason"], code);
        }
        assert_eq!(judge(json!({"Status": "ready", "Id": 1})).unwrap()["Id"], 1);
    }

    #[test]
    fn who_may_not_use_the_socket_is_not_told_to_start_a_controller() {
        let socket = AbsolutePath::parse("/run/x.sock").unwrap();
        let failure = unreachable_here(&socket, ErrorKind::PermissionDenied.into());
        assert_eq!(failure.exit(), Exit::Auth);
        let shown = failure.to_json();
        assert_eq!((&shown["reason"], &shown["next"]), (&"not-permitted".into(), &Value::Null));
        let failure = unreachable_here(&socket, ErrorKind::NotFound.into());
        assert_eq!((failure.exit(), &failure.to_json()["next"]), (Exit::Waiting, &"clusterctl master serve".into()));
    }

    #[test]
    fn waiting_is_no_success() {
        let waiting = json!({"Status": "waiting", "Reason": "storage-unavailable", "Message": "the disk is full"});
        let failure = judge(waiting).unwrap_err();
        assert_eq!(
            (failure.exit(), failure.to_json()["reason"].clone()),
            (Exit::Waiting, "storage-unavailable".into())
        );
        assert_eq!(judge(json!({"Status": "splendid"})).unwrap_err().exit(), Exit::Incompatible);
        assert_eq!(judge(json!([])).unwrap_err().exit(), Exit::Incompatible);
    }

    async fn pages(replies: Vec<Value>) -> (Result<Vec<Value>, Failure>, Vec<String>) {
        let replies = RefCell::new(replies.into_iter());
        let asked = RefCell::new(Vec::new());
        let page = async |after: String| {
            asked.borrow_mut().push(after);
            replies.borrow_mut().next().ok_or_else(|| Failure::message(Exit::Bug, "asked too often"))
        };
        let ended = every_page("Rows", page).await;
        (ended, asked.into_inner())
    }

    #[tokio::test]
    async fn lists_are_asked_for_until_they_are_complete() {
        let replies = vec![
            json!({"Rows": ["a", "b"], "After": "b"}),
            json!({"Rows": ["c"], "After": "c"}),
            json!({"Rows": [], "After": null}),
        ];
        let (rows, asked) = pages(replies).await;
        assert_eq!(
            (rows.unwrap(), asked),
            (vec![json!("a"), json!("b"), json!("c")], vec!["".into(), "b".into(), "c".into()])
        );
        let (rows, asked) = pages(vec![json!({"Rows": []})]).await;
        assert_eq!((rows.unwrap().len(), asked.len()), (0, 1));
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_given_up() {
        for replies in [
            vec![json!({"Rows": ["a"], "After": "a"}), json!({"Rows": ["a"], "After": "a"})],
            vec![json!({"Rows": ["a"], "After": "a"}), json!({"Rows": [], "After": "b"})],
            vec![json!({"Other": []})],
        ] {
            let (ended, _) = pages(replies).await;
            assert_eq!(ended.unwrap_err().exit(), Exit::Incompatible);
        }
    }
}
