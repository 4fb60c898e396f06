//! What Docker's answers mean: pure functions from JSON and error texts to our words.
//!
//! It knows neither bollard nor a socket. The surprising part is that it reads loose JSON although bollard has typed
//! models: those know every state word of their day and refuse a whole list over one new word. Here an unknown word is
//! passed on or skipped, never fatal.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::{CaDigest, Certified, Engine, JoinTokens, LocalState, Member, Reachability, SwarmError};
use crate::cluster::{Role, Secret};

/// An error text longer than this is cut: it goes to logs and to an operator.
const MAX_MESSAGE: usize = 500;

/// The calls that are made, by the names that errors show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Version,
    Info,
    Init,
    Join,
    Leave,
    Tokens,
    Members,
    SetRole,
    SetAvailability,
    RotateTokens,
    Tasks,
    Remove,
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Info => "info",
            Self::Init => "swarm init",
            Self::Join => "swarm join",
            Self::Leave => "swarm leave",
            Self::Tokens => "swarm inspect",
            Self::Members => "node list",
            Self::SetRole | Self::SetAvailability => "node update",
            Self::RotateTokens => "swarm update",
            Self::Tasks => "task list",
            Self::Remove => "node remove",
        }
    }

    /// How long the call may take. Docker itself gives up a join after 20 s and goes on in the background; leaving
    /// waits for that lock and, on managers, for the raft to let go.
    pub(crate) fn deadline(self) -> Duration {
        Duration::from_secs(match self {
            Self::Version | Self::Info => 5,
            Self::Tokens | Self::Members | Self::Tasks => 10,
            Self::SetRole | Self::SetAvailability | Self::RotateTokens | Self::Remove => 15,
            Self::Init | Self::Join | Self::Leave => 30,
        })
    }
}

/// What an error answer means. The text decides, since Docker uses 503 for nearly everything; the status only guards
/// what a text alone would leave open.
///
/// Texts of Docker 20.10.24, with the status that came along:
/// ```text
/// 400 rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster
/// 500 invalid join token
/// 500 remote CA does not match fingerprint. Expected: 4ion85q3...
/// 503 Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use ...
/// 503 rpc error: code = Unavailable desc = connection error: desc = "transport: ... connect: connection refused"
/// 500 ... could not connect to prospective new cluster member using its advertised address: rpc error: ...
/// 500 rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are ...
/// 503 This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.
/// 503 This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. ...
/// 503 Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" ...
/// ```
pub(crate) fn classify(call: Call, status: u16, message: &str) -> SwarmError {
    let text = message.to_ascii_lowercase();
    let says = |words: &str| text.contains(words);
    // A manager that is cut off from the leader first waits for it in vain; of a call that only reads, that says enough.
    let waited_in_vain = matches!(call, Call::Tokens | Call::Members | Call::Tasks) && says("code = deadlineexceeded");
    if says("does not have a leader") || waited_in_vain {
        SwarmError::NoLeader
    } else if says("valid join token is necessary") || says("invalid join token") {
        SwarmError::TokenRefused
    } else if says("remote ca does not match fingerprint") {
        SwarmError::CaMismatch
    } else if says("could not connect to prospective new cluster member") {
        SwarmError::AdvertisedAddressUnreachable
    } else if says("timeout was reached before node joined") || (call == Call::Join && says("connection error")) {
        SwarmError::ManagerUnreachable
    } else if says("already part of a swarm") {
        SwarmError::AlreadyPart
    } else if says("is not a swarm manager") {
        SwarmError::NotManager
    } else {
        let message = message.trim();
        let message = if message.is_empty() { format!("status {status}") } else { cut(message) };
        SwarmError::Refused { call: call.name(), message }
    }
}

fn cut(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}

/// Whether an update lost a race against another one and may be tried again with a fresh version.
pub(crate) fn is_stale_update(error: &SwarmError) -> bool {
    matches!(error, SwarmError::Refused { message, .. } if message.contains("update out of sequence"))
}

/// An answer that came whole and still cannot be used. It quotes nothing: the answer may hold join tokens.
pub(crate) fn unreadable(call: Call, what: &str) -> SwarmError {
    SwarmError::Refused { call: call.name(), message: format!("its answer could not be read: {what}") }
}

/// Where Docker keeps its data, out of `GET /info`.
pub(crate) fn root_dir(info: &Value) -> Option<&str> {
    info.get("DockerRootDir").and_then(Value::as_str).filter(|dir| dir.starts_with('/'))
}

/// Reads `GET /info`. `root_ca` is the certificate file of this host; a manager's own answer stands in for it.
///
/// ```text
/// {"ServerVersion":"20.10.24","DockerRootDir":"/var/lib/docker","Swarm":{"NodeID":"7qcv...","NodeAddr":"10.0.0.2",
///  "LocalNodeState":"active","ControlAvailable":false,"Error":"","RemoteManagers":[{"NodeID":"wdax...",
///  "Addr":"10.0.0.1:2377"}]}}                      and on a manager "Cluster":{"ID":"3juf...","TLSInfo":{"TrustRoot":...}}
/// ```
pub(crate) fn engine(info: &Value, root_ca: Option<&[u8]>) -> Result<Engine, SwarmError> {
    let swarm = info.get("Swarm").filter(|swarm| swarm.is_object());
    let swarm = swarm.ok_or_else(|| unreadable(Call::Info, "it does not mention Swarm"))?;
    let state = match text(swarm, "LocalNodeState").as_str() {
        // Docker leaves the word out where there is nothing to say.
        "" | "inactive" => LocalState::Inactive,
        "pending" => LocalState::Pending,
        "active" => LocalState::Active,
        "locked" => LocalState::Locked,
        "error" => LocalState::Error,
        other => return Err(unreadable(Call::Info, &format!("unknown Swarm state `{}`", cut(other)))),
    };
    let cluster = swarm.get("Cluster").unwrap_or(&Value::Null);
    let trust_root = cluster.pointer("/TLSInfo/TrustRoot").and_then(Value::as_str).map(str::as_bytes);
    let ca_digest = match state {
        LocalState::Inactive => None,
        LocalState::Pending | LocalState::Active | LocalState::Locked | LocalState::Error => {
            root_ca.or(trust_root).filter(|pem| !pem.is_empty()).map(CaDigest::of_certificate)
        }
    };
    let mut managers: Vec<String> = list(swarm, "RemoteManagers").map(|peer| text(peer, "Addr")).collect();
    managers.retain(|address| !address.is_empty());
    managers.sort();
    Ok(Engine {
        version: text(info, "ServerVersion"),
        state,
        swarm_node_id: text(swarm, "NodeID"),
        manager: swarm.get("ControlAvailable").and_then(Value::as_bool).unwrap_or(false),
        node_address: text(swarm, "NodeAddr"),
        error: text(swarm, "Error"),
        ca_digest,
        cluster_id: Some(text(cluster, "ID")).filter(|id| !id.is_empty()),
        managers,
        certified: None,
    })
}

/// Reads whom a node's certificate names, out of the first certificate in `swarm-node.crt` (PEM). Its subject has the
/// node's id as its common name and the role as its unit; they come after the issuer's, and nothing like them follows.
///
/// ```text
/// Issuer: CN = swarm-ca
/// Subject: O = 3jufe..., OU = swarm-worker, CN = 7qcv...
/// ```
pub(crate) fn certified(pem: &[u8]) -> Option<Certified> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    const UNIT: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0b];
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let role = match last_named(&certificate, &UNIT)? {
        "swarm-manager" => Role::Manager,
        "swarm-worker" => Role::Worker,
        _ => return None,
    };
    Some(Certified { swarm_node_id: last_named(&certificate, &COMMON_NAME)?.to_owned(), role })
}

/// The short text after the last occurrence of a name's identifier.
fn last_named<'a>(der: &'a [u8], identifier: &[u8]) -> Option<&'a str> {
    let at = der.windows(identifier.len()).rposition(|window| window == identifier)?;
    // A tag for the kind of text, a length of one byte, the text.
    let [_, length, rest @ ..] = der.get(at + identifier.len()..)? else { return None };
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

/// Reads the tokens out of `GET /swarm`: `{"JoinTokens":{"Worker":"SWMTKN-1-...","Manager":"SWMTKN-1-..."}}`.
pub(crate) fn join_tokens(swarm: &Value) -> Result<JoinTokens, SwarmError> {
    let tokens = swarm.get("JoinTokens").unwrap_or(&Value::Null);
    let token = |name| match tokens.get(name).and_then(Value::as_str) {
        Some(token) if !token.is_empty() => Ok(Secret::new(token)),
        _ => Err(unreadable(Call::Tokens, "it holds no join tokens")),
    };
    Ok(JoinTokens { worker: token("Worker")?, manager: token("Manager")? })
}

/// Reads `GET /nodes`, in the order of host names. An entry without an id or a known role is left out.
///
/// ```text
/// [{"ID":"wdax...","UpdatedAt":"2026-01-02T03:04:05.678901234Z","Spec":{"Role":"manager","Availability":"active"},
///   "Description":{"Hostname":"h1"},
///   "Status":{"State":"ready","Addr":"10.0.0.1"},"ManagerStatus":{"Leader":true,"Reachability":"reachable"}}]
/// ```
pub(crate) fn members(nodes: &Value) -> Result<Vec<Member>, SwarmError> {
    let nodes = nodes.as_array().ok_or_else(|| unreadable(Call::Members, "it is no list"))?;
    let mut members: Vec<Member> = nodes.iter().filter_map(member).collect();
    members.sort_by(|a, b| (&a.hostname, &a.swarm_node_id).cmp(&(&b.hostname, &b.swarm_node_id)));
    Ok(members)
}

fn member(node: &Value) -> Option<Member> {
    let part = |name: &str| node.get(name).unwrap_or(&Value::Null);
    // There as long as the node is in the managers' raft, whatever its role is to be.
    let reachability = node.get("ManagerStatus").filter(|status| status.is_object()).map(|status| {
        if text(status, "Reachability") == "reachable" { Reachability::Reachable } else { Reachability::Unreachable }
    });
    Some(Member {
        swarm_node_id: Some(text(node, "ID")).filter(|id| !id.is_empty())?,
        hostname: text(part("Description"), "Hostname"),
        role: text(part("Spec"), "Role").parse::<Role>().ok()?,
        state: text(part("Status"), "State"),
        availability: text(part("Spec"), "Availability"),
        address: text(part("Status"), "Addr"),
        leader: part("ManagerStatus").get("Leader").and_then(Value::as_bool).unwrap_or(false),
        reachability,
        updated_at: text(node, "UpdatedAt").parse().ok(),
    })
}

/// The engine's version out of `GET /version`: `{"Version":"20.10.24+dfsg1",...}`.
pub(crate) fn version(answer: &Value) -> String {
    text(answer, "Version")
}

/// The states of a task that is on a node and has not ended there.
const LIVE_TASK: [&str; 6] = ["assigned", "accepted", "preparing", "ready", "starting", "running"];

/// Counts the tasks in `GET /tasks` that have not ended: `[{"NodeID":"wdax...","Status":{"State":"running"}}]`.
pub(crate) fn running_tasks(tasks: &Value) -> Result<usize, SwarmError> {
    let tasks = tasks.as_array().ok_or_else(|| unreadable(Call::Tasks, "it is no list"))?;
    let live = |task: &&Value| {
        let state = task.pointer("/Status/State").and_then(Value::as_str).unwrap_or_default();
        LIVE_TASK.contains(&state)
    };
    Ok(tasks.iter().filter(live).count())
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// S2-17: every text that Docker was seen to answer, with its status.
    #[test]
    fn tells_errors_apart_by_their_text() {
        use Call::{Init, Join, Leave, Members, Remove, SetRole, Tasks, Tokens};
        let table = [
            (
                Join,
                400,
                "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster",
                "TokenRefused",
            ),
            (Join, 500, "invalid join token", "TokenRefused"),
            (Join, 500, "remote CA does not match fingerprint. Expected: 4ion85q38b3sx4", "CaMismatch"),
            (
                Join,
                503,
                "Timeout was reached before node joined. The attempt to join the swarm will continue in the \
                 background. Use the \"docker info\" command to see the current swarm status of your node.",
                "ManagerUnreachable",
            ),
            (
                Join,
                503,
                "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial \
                 tcp 10.0.0.9:2377: connect: connection refused\"",
                "ManagerUnreachable",
            ),
            (
                Join,
                500,
                "manager stopped: can't initialize raft node: rpc error: code = Unknown desc = could not connect to \
                 prospective new cluster member using its advertised address: rpc error: code = Unavailable desc = \
                 connection error: desc = \"transport: Error while dialing dial tcp 10.0.0.9:2377: connect: no \
                 route to host\"",
                "AdvertisedAddressUnreachable",
            ),
            (
                Join,
                500,
                "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few \
                 managers are online. Make sure more than half of the managers are online.",
                "NoLeader",
            ),
            (Members, 500, "rpc error: code = Unknown desc = The swarm does not have a leader.", "NoLeader"),
            (Members, 500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "NoLeader"),
            (SetRole, 500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "Refused"),
            (
                Join,
                503,
                "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join \
                 another one.",
                "AlreadyPart",
            ),
            (Init, 503, "This node is already part of a swarm. Use \"docker swarm leave\"", "AlreadyPart"),
            (
                Tokens,
                503,
                "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state.",
                "NotManager",
            ),
            (Tokens, 503, "This node is not a swarm manager. Use \"docker swarm init\"", "NotManager"),
            (Tokens, 503, "Swarm is encrypted and needs to be unlocked before it can be used.", "Refused"),
            (Leave, 503, "This node is not part of a swarm", "Refused"),
            (Leave, 503, "You are attempting to leave the swarm on a node that is participating as", "Refused"),
            (SetRole, 500, "rpc error: code = Unknown desc = update out of sequence", "Refused"),
            (SetRole, 404, "node nosuch not found", "Refused"),
            (Tasks, 500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "NoLeader"),
            (
                Remove,
                400,
                "rpc error: code = FailedPrecondition desc = node x is not down and can't be removed",
                "Refused",
            ),
            (
                Remove,
                400,
                "rpc error: code = FailedPrecondition desc = node x is a cluster manager and is a member of the raft \
                 cluster. It must be demoted to worker before removal",
                "Refused",
            ),
            (Join, 500, "", "Refused"),
        ];
        for (call, status, message, expected) in table {
            let error = classify(call, status, message);
            let name = format!("{error:?}");
            assert!(name.starts_with(expected), "{message}: {name}");
        }
    }

    #[test]
    fn quotes_a_refusal_and_bounds_it() {
        let error = classify(Call::Leave, 503, " This node is not part of a swarm\n");
        assert_eq!(error.to_string(), "Docker refused swarm leave: This node is not part of a swarm");
        assert_eq!(classify(Call::Init, 500, "").to_string(), "Docker refused swarm init: status 500");
        assert!(classify(Call::Init, 500, &"x".repeat(100_000)).to_string().len() < 600);
        assert!(is_stale_update(&classify(Call::SetRole, 500, "desc = update out of sequence")));
    }

    fn active(extra: Value) -> Value {
        let mut swarm = json!({"NodeID": "7qcv", "NodeAddr": "10.0.0.2", "LocalNodeState": "active",
            "ControlAvailable": false, "Error": "",
            "RemoteManagers": [{"NodeID": "b", "Addr": "10.0.0.3:2377"}, {"NodeID": "a", "Addr": "10.0.0.1:2377"}]});
        if let (Some(swarm), Value::Object(extra)) = (swarm.as_object_mut(), extra) {
            swarm.extend(extra);
        }
        json!({"ServerVersion": "20.10.24", "DockerRootDir": "/var/lib/docker", "Swarm": swarm})
    }

    #[test]
    fn reads_a_worker() {
        let info = active(json!({}));
        let engine = engine(&info, Some(b"pem")).unwrap();
        assert_eq!(root_dir(&info), Some("/var/lib/docker"));
        assert_eq!((engine.state, engine.manager), (LocalState::Active, false));
        assert_eq!(engine.managers, ["10.0.0.1:2377", "10.0.0.3:2377"]);
        assert_eq!(engine.ca_digest, Some(CaDigest::of_certificate(b"pem")));
        assert_eq!(engine.cluster_id, None);
        assert_eq!(engine.version, "20.10.24");
    }

    #[test]
    fn reads_a_manager_without_the_file() {
        let cluster = json!({"ControlAvailable": true, "Error": "The swarm does not have a leader",
            "Cluster": {"ID": "3juf", "TLSInfo": {"TrustRoot": "pem"}}});
        let engine = engine(&active(cluster), None).unwrap();
        assert!(engine.manager);
        assert_eq!(engine.cluster_id.as_deref(), Some("3juf"));
        assert_eq!(engine.ca_digest, Some(CaDigest::of_certificate(b"pem")));
        assert_eq!(engine.error, "The swarm does not have a leader");
    }

    /// A certificate that an earlier Swarm left behind proves nothing.
    #[test]
    fn outside_a_swarm_there_is_no_digest() {
        for state in ["inactive", ""] {
            let info = active(json!({"LocalNodeState": state, "RemoteManagers": null}));
            let engine = engine(&info, Some(b"pem")).unwrap();
            assert_eq!((engine.state, engine.ca_digest), (LocalState::Inactive, None));
        }
    }

    #[test]
    fn tells_the_other_states_apart() {
        let state = |word: &str| engine(&active(json!({"LocalNodeState": word})), None).map(|engine| engine.state);
        assert_eq!(state("pending").unwrap(), LocalState::Pending);
        assert_eq!(state("locked").unwrap(), LocalState::Locked);
        assert_eq!(state("error").unwrap(), LocalState::Error);
        assert!(state("enchanted").unwrap_err().to_string().contains("unknown Swarm state `enchanted`"));
        assert!(engine(&json!({}), None).is_err());
    }

    #[test]
    fn reads_members_and_survives_new_words() {
        let nodes = json!([
            {"ID": "w", "Spec": {"Role": "worker", "Availability": "active"}, "Description": {"Hostname": "h2"},
             "Status": {"State": "hibernating", "Addr": "10.0.0.2"}},
            {"ID": "m", "Spec": {"Role": "manager", "Availability": "drain"}, "Description": {"Hostname": "h1"},
             "Status": {"State": "ready", "Addr": "10.0.0.1"},
             "ManagerStatus": {"Leader": true, "Reachability": "reachable"}},
            {"ID": "n", "Spec": {"Role": "worker"}, "Description": {"Hostname": "h3"},
             "ManagerStatus": {"Reachability": "unknown"}},
            {"ID": "x", "Spec": {"Role": "witness"}},
            {"ID": "g", "Spec": {"Role": "worker"}},
            {},
        ]);
        let members = members(&nodes).unwrap();
        let seen: Vec<_> = members.iter().map(|m| (m.swarm_node_id.as_str(), m.state.as_str(), m.leader)).collect();
        assert_eq!(seen, [("g", "", false), ("m", "ready", true), ("w", "hibernating", false), ("n", "", false)]);
        let votes: Vec<_> = members.iter().map(|m| m.reachability).collect();
        assert_eq!(votes, [None, Some(Reachability::Reachable), None, Some(Reachability::Unreachable)]);
        assert!(members[1].is_drained() && !members[1].is_down());
    }

    #[test]
    fn counts_tasks_that_have_not_ended() {
        let task = |state: &str| json!({"NodeID": "w", "Status": {"State": state}});
        let states = ["running", "shutdown", "starting", "complete", "failed", "orphaned", "hibernating", "assigned"];
        let tasks: Value = states.into_iter().map(task).collect();
        assert_eq!(running_tasks(&tasks).unwrap(), 3);
        assert_eq!(running_tasks(&json!([{}])).unwrap(), 0);
        assert!(running_tasks(&json!({})).is_err());
    }

    #[test]
    fn an_answer_without_tokens_is_not_quoted() {
        let error = join_tokens(&json!({"JoinTokens": {"Worker": "SWMTKN-1-secret"}})).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let tokens = join_tokens(&json!({"JoinTokens": {"Worker": "w", "Manager": "m"}})).unwrap();
        assert_eq!((tokens.worker.reveal(), tokens.manager.reveal()), ("w", "m"));
    }
}
