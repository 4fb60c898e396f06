//! The engine of a host, through its unix socket: the only file that names bollard.
//!
//! It decides nothing; what answers mean is said in [`super::answers`]. It keeps no connection: each call opens the
//! socket anew, so a Docker that starts later or restarts needs no reconnecting. Three surprises: bollard sends no API
//! version, which is what lets one binary talk to Docker 20.10 and to 29; its models refuse answers with words that
//! they do not know, so the raw answer that comes with that error is read instead; and it writes whole answers, join
//! tokens included, to the `log` crate at debug level, so no bridge from `log` to our log may ever be installed.

use std::collections::HashMap;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::models::{
    NodeSpec, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, SwarmInitRequest, SwarmJoinRequest, SwarmSpec,
};
use bollard::query_parameters::{
    DeleteNodeOptions, LeaveSwarmOptions, ListTasksOptions, UpdateNodeOptions, UpdateSwarmOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use serde_json::Value;

use super::answers::{self, Call};
use super::large_packets;
use super::{Availability, Engine, Join, JoinTokens, LocalState, Member, SwarmEngine, SwarmError};
use crate::cluster::{NodeAddress, Role};

/// The port that managers listen on.
const LISTEN: &str = "0.0.0.0:2377";

/// Where the root CA's certificate lies below Docker's data directory.
const ROOT_CA: &str = "swarm/certificates/swarm-root-ca.crt";

/// Where this node's own certificate lies, with the root CA's behind it.
const OWN_CERTIFICATE: &str = "swarm/certificates/swarm-node.crt";

/// A root CA certificate has some 550 bytes, twice that while it is rotated; a node's some 800.
const MAX_CERTIFICATE: u64 = 64 * 1024;

/// bollard's own time-out, in seconds: longer than any deadline of ours, which come first.
const BACKSTOP: u64 = 120;

/// How often an update of a node is tried that another update got ahead of.
const UPDATE_ATTEMPTS: u32 = 4;

/// Docker on this host, or on one whose file system is visible below a directory.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    socket: PathBuf,
    root: PathBuf,
}

impl DockerEngine {
    /// The engine behind `socket`. Nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), root: PathBuf::from("/") }
    }

    /// Says that Docker's files lie below `root`, as `/proc/<pid>/root` for an engine with a file system of its own.
    #[must_use]
    pub fn with_root(mut self, root: &Path) -> Self {
        root.clone_into(&mut self.root);
        self
    }

    /// A client for one call. The socket is looked for here, so this fails while Docker is not there.
    fn client(&self) -> Result<Docker, SwarmError> {
        let path = self.socket.to_str().ok_or_else(|| self.unavailable(Unreachable::Path))?;
        Docker::connect_with_unix(path, BACKSTOP, API_DEFAULT_VERSION).map_err(|error| match error {
            // It only asked whether the path exists, and takes a forbidden directory for a missing file.
            Error::SocketNotFoundError(_) => match std::fs::symlink_metadata(&self.socket) {
                Err(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                    self.unavailable(Unreachable::Denied(Box::new(source)))
                }
                _ => self.unavailable(Unreachable::Missing),
            },
            other => self.unavailable(Unreachable::Other(Box::new(other))),
        })
    }

    /// Makes one call within its deadline.
    async fn call<T>(&self, call: Call, future: impl Future<Output = Result<T, Error>>) -> Result<T, SwarmError> {
        within(call, async { future.await.map_err(|error| self.explain(call, error)) }).await
    }

    /// Makes one call and gives its answer as loose JSON, whether or not bollard's models know all its words.
    async fn read<T: serde::Serialize>(
        &self,
        call: Call,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<Value, SwarmError> {
        let loose = async {
            match future.await {
                Ok(answer) => {
                    serde_json::to_value(answer).map_err(|_| answers::unreadable(call, "it does not convert"))
                }
                Err(Error::JsonDataError { contents, column, .. }) => {
                    tracing::debug!(call = call.name(), column, "Docker's answer has words that bollard does not know");
                    serde_json::from_str(&contents).map_err(|_| answers::unreadable(call, "it is no JSON"))
                }
                Err(error) => Err(self.explain(call, error)),
            }
        };
        within(call, loose).await
    }

    /// Changes what a member is to be. `change` says whether it changed anything.
    async fn update_node(
        &self,
        call: Call,
        swarm_node_id: &str,
        change: impl Fn(&mut NodeSpec) -> bool,
    ) -> Result<(), SwarmError> {
        let docker = self.client()?;
        let mut attempt = 1;
        loop {
            // The whole specification goes back, or labels and availability would be lost.
            let node = self.call(call, docker.inspect_node(swarm_node_id)).await?;
            let version = node.version.and_then(|version| version.index);
            let version = version.ok_or_else(|| answers::unreadable(call, "it has no version"))?;
            let mut spec = node.spec.unwrap_or_default();
            if !change(&mut spec) {
                return Ok(());
            }
            let options = UpdateNodeOptions { version: version.cast_signed() };
            match self.call(call, docker.update_node(swarm_node_id, spec, options)).await {
                Err(error) if answers::is_stale_update(&error) && attempt < UPDATE_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn unavailable(&self, source: Unreachable) -> SwarmError {
        SwarmError::Unavailable { socket: self.socket.display().to_string(), source: Box::new(source) }
    }

    fn explain(&self, call: Call, error: Error) -> SwarmError {
        match error {
            Error::DockerResponseServerError { status_code, message } => answers::classify(call, status_code, &message),
            Error::RequestTimeoutError => SwarmError::TimedOut { call: call.name(), deadline: call.deadline() },
            // Its text may quote what it could not read.
            Error::JsonDataError { column, .. } => answers::unreadable(call, &format!("wrong at character {column}")),
            Error::JsonSerdeError { .. } => answers::unreadable(call, "it ends early"),
            other => self.unavailable(Unreachable::of(other)),
        }
    }

    /// The root CA's certificate, or this node's, which Docker lets root read; `None` outside a Swarm. One that is there
    /// and cannot be read is an error, or a member would be taken for a stranger.
    fn certificate(&self, root_dir: &str, name: &str) -> Result<Option<Vec<u8>>, SwarmError> {
        let path = self.root.join(root_dir.trim_start_matches('/')).join(name);
        let read = || {
            let mut pem = Vec::new();
            std::fs::File::open(&path)?.take(MAX_CERTIFICATE).read_to_end(&mut pem).map(|_| pem)
        };
        match read() {
            Ok(pem) => Ok(Some(pem)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SwarmError::Refused {
                call: "info",
                message: format!("the Swarm's certificate {} cannot be read: {source}", path.display()),
            }),
        }
    }
}

/// Bounds `future` by the deadline of `call`.
async fn within<T>(call: Call, future: impl Future<Output = Result<T, SwarmError>>) -> Result<T, SwarmError> {
    let deadline = call.deadline();
    match tokio::time::timeout(deadline, future).await {
        Ok(result) => result,
        Err(_) => Err(SwarmError::TimedOut { call: call.name(), deadline }),
    }
}

/// Why the socket gave no answer, and the way out.
#[derive(Debug, thiserror::Error)]
enum Unreachable {
    #[error("there is no such socket; is Docker installed and running? (`systemctl enable --now docker`)")]
    Missing,
    #[error("nobody listens on the socket; start Docker with `systemctl start docker`")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("access to the socket is denied; run this as root")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the socket's path is not UTF-8")]
    Path,
    #[error("the connection broke; see `journalctl -u docker`")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Unreachable {
    fn of(error: Error) -> Self {
        let kind = io_kind(&error);
        match kind {
            Some(std::io::ErrorKind::NotFound) => Self::Missing,
            Some(std::io::ErrorKind::ConnectionRefused) => Self::Refused(Box::new(error)),
            Some(std::io::ErrorKind::PermissionDenied) => Self::Denied(Box::new(error)),
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// The kind of the I/O error at the bottom of `error`, if there is one.
fn io_kind(error: &Error) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

#[async_trait::async_trait]
impl SwarmEngine for DockerEngine {
    async fn version(&self) -> Result<String, SwarmError> {
        let docker = self.client()?;
        Ok(answers::version(&self.read(Call::Version, docker.version()).await?))
    }

    async fn inspect(&self) -> Result<Engine, SwarmError> {
        let docker = self.client()?;
        let info = self.read(Call::Info, docker.info()).await?;
        let dir = answers::root_dir(&info);
        let root_ca = dir.map_or(Ok(None), |dir| self.certificate(dir, ROOT_CA))?;
        let mut engine = answers::engine(&info, root_ca.as_deref())?;
        if engine.state == LocalState::Error {
            let own = dir.map_or(Ok(None), |dir| self.certificate(dir, OWN_CERTIFICATE))?;
            engine.certified = own.as_deref().and_then(answers::certified);
        }
        Ok(engine)
    }

    async fn init(&self, advertise: NodeAddress) -> Result<(), SwarmError> {
        let request = SwarmInitRequest {
            listen_addr: Some(LISTEN.to_owned()),
            advertise_addr: Some(advertise.to_string()),
            ..Default::default()
        };
        let docker = self.client()?;
        self.call(Call::Init, docker.init_swarm(request)).await.map(drop)
    }

    async fn join(&self, join: &Join) -> Result<(), SwarmError> {
        let request = SwarmJoinRequest {
            listen_addr: Some(LISTEN.to_owned()),
            advertise_addr: Some(join.advertise.to_string()),
            remote_addrs: Some(join.managers.clone()),
            join_token: Some(join.token.reveal().to_owned()),
            ..Default::default()
        };
        let docker = self.client()?;
        let joined = self.call(Call::Join, docker.join_swarm(request)).await;
        match (joined, join.managers.first()) {
            (Err(SwarmError::ManagerUnreachable), Some(manager)) if large_packets::are_lost_to(manager).await => {
                Err(SwarmError::LargePacketsLost { manager: manager.clone() })
            }
            (joined, _) => joined,
        }
    }

    async fn leave(&self, force: bool) -> Result<(), SwarmError> {
        let docker = self.client()?;
        self.call(Call::Leave, docker.leave_swarm(Some(LeaveSwarmOptions { force }))).await
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        let docker = self.client()?;
        answers::join_tokens(&self.read(Call::Tokens, docker.inspect_swarm()).await?)
    }

    async fn rotate_join_tokens(&self) -> Result<(), SwarmError> {
        let call = Call::RotateTokens;
        let docker = self.client()?;
        let mut attempt = 1;
        loop {
            // The whole specification goes back, or what the operator has set would be lost.
            let swarm: Value = self.read(call, docker.inspect_swarm()).await?;
            let version = swarm.pointer("/Version/Index").and_then(Value::as_i64);
            let version = version.ok_or_else(|| answers::unreadable(call, "it has no version"))?;
            let spec = swarm.get("Spec").cloned().unwrap_or_default();
            let spec: SwarmSpec =
                serde_json::from_value(spec).map_err(|_| answers::unreadable(call, "its specification is another"))?;
            let options = UpdateSwarmOptions {
                version,
                rotate_worker_token: true,
                rotate_manager_token: true,
                rotate_manager_unlock_key: false,
            };
            match self.call(call, docker.update_swarm(spec, options)).await {
                Err(error) if answers::is_stale_update(&error) && attempt < UPDATE_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn members(&self) -> Result<Vec<Member>, SwarmError> {
        let docker = self.client()?;
        answers::members(&self.read(Call::Members, docker.list_nodes(None)).await?)
    }

    async fn set_role(&self, swarm_node_id: &str, role: Role) -> Result<(), SwarmError> {
        let wanted = match role {
            Role::Manager => NodeSpecRoleEnum::MANAGER,
            Role::Worker => NodeSpecRoleEnum::WORKER,
        };
        self.update_node(Call::SetRole, swarm_node_id, |spec| spec.role.replace(wanted) != Some(wanted)).await
    }

    async fn set_availability(&self, swarm_node_id: &str, availability: Availability) -> Result<(), SwarmError> {
        let wanted = match availability {
            Availability::Active => NodeSpecAvailabilityEnum::ACTIVE,
            Availability::Drain => NodeSpecAvailabilityEnum::DRAIN,
        };
        let change = |spec: &mut NodeSpec| spec.availability.replace(wanted) != Some(wanted);
        self.update_node(Call::SetAvailability, swarm_node_id, change).await
    }

    async fn running_tasks(&self, swarm_node_id: &str) -> Result<usize, SwarmError> {
        let filters = HashMap::from([("node".to_owned(), vec![swarm_node_id.to_owned()])]);
        let docker = self.client()?;
        let tasks = docker.list_tasks(Some(ListTasksOptions { filters: Some(filters) }));
        answers::running_tasks(&self.read(Call::Tasks, tasks).await?)
    }

    async fn remove_member(&self, swarm_node_id: &str, force: bool) -> Result<(), SwarmError> {
        let docker = self.client()?;
        self.call(Call::Remove, docker.delete_node(swarm_node_id, Some(DeleteNodeOptions { force }))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// A Docker that gives every connection the same answer, or none at all.
    fn answering(status: &'static str, body: &'static str) -> (tempfile::TempDir, DockerEngine) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _read = stream.read(&mut request).await;
                    if status.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.ok();
                });
            }
        });
        let engine = DockerEngine::new(&socket).with_root(dir.path());
        (dir, engine)
    }

    fn chain(error: &SwarmError) -> String {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// S2-25, N1: no Docker is an error with the way out.
    #[tokio::test]
    async fn a_missing_socket_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = DockerEngine::new(&dir.path().join("none")).inspect().await.unwrap_err();
        assert!(matches!(error, SwarmError::Unavailable { .. }));
        assert!(chain(&error).contains("systemctl enable --now docker"), "{}", chain(&error));
    }

    /// N1
    #[tokio::test]
    async fn a_stale_socket_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let error = DockerEngine::new(&socket).inspect().await.unwrap_err();
        assert!(chain(&error).contains("systemctl start docker"), "{}", chain(&error));
    }

    /// N2: a Docker that hangs ends at the call's deadline.
    #[tokio::test(start_paused = true)]
    async fn a_hanging_docker_times_out() {
        let (_dir, engine) = answering("", "");
        let error = engine.inspect().await.unwrap_err();
        assert_eq!(error.to_string(), "Docker did not answer info within 5s");
        let error = engine.leave(true).await.unwrap_err();
        assert_eq!(error.to_string(), "Docker did not answer swarm leave within 30s");
    }

    #[tokio::test]
    async fn reads_the_root_ca_below_the_given_root() {
        let info = r#"{"ServerVersion":"20.10.24","DockerRootDir":"/var/lib/docker",
            "Swarm":{"NodeID":"x","LocalNodeState":"active","ControlAvailable":false}}"#;
        let (dir, engine) = answering("200 OK", info);
        assert_eq!(engine.inspect().await.unwrap().ca_digest, None);
        let file = dir.path().join("var/lib/docker").join(ROOT_CA);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "pem").unwrap();
        let digest = super::super::CaDigest::of_certificate(b"pem");
        assert_eq!(engine.inspect().await.unwrap().ca_digest, Some(digest));
    }

    /// A word that bollard's models do not know must not make the whole answer unreadable.
    #[tokio::test]
    async fn survives_words_that_the_models_do_not_know() {
        let nodes = r#"[{"ID":"w","Spec":{"Role":"worker"},"Status":{"State":"hibernating"}}]"#;
        let (_dir, engine) = answering("200 OK", nodes);
        assert_eq!(engine.members().await.unwrap()[0].state, "hibernating");
        let info = r#"{"CgroupVersion":"3","Swarm":{"LocalNodeState":"inactive"}}"#;
        let (_dir, engine) = answering("200 OK", info);
        assert_eq!(engine.inspect().await.unwrap().state, super::super::LocalState::Inactive);
    }

    #[tokio::test]
    async fn an_unreadable_answer_is_never_quoted() {
        for body in [
            r#"{"JoinTokens":{"Worker":"SWMTKN-1-hush"}}"#,
            r#"{"JoinTokens":{"Worker":7,"x":"SWMTKN-1-hush"}}"#,
            r#"{"JoinTokens":{"Worker":"SWMTKN-1-hush"#,
            r#"["SWMTKN-1-hush"]"#,
        ] {
            let (_dir, engine) = answering("200 OK", body);
            let error = engine.join_tokens().await.unwrap_err();
            assert!(!format!("{error:?} {}", chain(&error)).contains("hush"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_error_answer_is_classified() {
        let (_dir, engine) =
            answering("503 Service Unavailable", r#"{"message":"This node is not a swarm manager. Use"}"#);
        assert!(matches!(engine.join_tokens().await, Err(SwarmError::NotManager)));
    }
}
