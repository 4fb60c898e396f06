//! What a client says: one request, decoded from JSON in any letter case and then checked.
//!
//! Decoding is lenient about form (letter case, unknown fields, absent fields) because clients of the first
//! implementation and hand-written ones exist; checking is strict about values. The surprising part is the
//! hand-written `Deserialize`: serde matches field names exactly, and these must match whatever their case.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::cluster::{
    AddressError, Hostname, HostnameError, JoinToken, JoinTokenError, NodeAddress, NodeId, NodeIdError, ProfileName,
    ProfileNameError, Role, RoleError, ShortId, ShortIdError,
};

/// The version of this conversation that this program speaks. Clients that send none are of the first
/// implementation's kind, or written by hand.
pub const PROTOCOL: u32 = 1;

/// A request as it was sent: nothing in it is believed yet.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RawRequest {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    #[serde(rename = "OS", skip_serializing_if = "String::is_empty")]
    pub os: String,
    #[serde(rename = "CPU")]
    pub cpu: u32,
    /// In MiB.
    #[serde(rename = "MemoryMb")]
    pub memory_mb: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    pub gluster_capable: bool,
    /// The node can mount the volume but runs no glusterd, so that it can hold no brick.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gluster_client_only: bool,
    /// RFC 3339. Informational; never used for ordering.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timestamp: String,
    /// The sender's [`PROTOCOL`]; 0 for clients that do not know of it.
    pub protocol: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// Which installation sends this, and which boot of it, in the system's own words (hexadecimal): two hosts with one
    /// key are told apart by them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
    /// How long the reply may be held back until there is news, in ms.
    pub wait_ms: u64,
    /// The Swarm refused the token of an earlier reply: it may have been rotated since the controller read it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub token_refused: bool,
    /// What the client holds already (`report`, `check-status`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<RawReport>,
    /// Where a listing goes on, and how much of it is wanted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after: String,
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u32,
    /// `register`: the admission token, a secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Administration: which token, request or node; a node also by its host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Administration: the profiles that a token or an approval grants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// `token-create`: how many nodes it admits; 0 means the default.
    #[serde(skip_serializing_if = "is_default")]
    pub uses: u32,
    /// `token-create`: for how long it is valid, in seconds; 0 means the default.
    #[serde(skip_serializing_if = "is_default")]
    pub expires_s: u64,
    /// `request-reject`: why, for the node's operator.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// `admin-create`, `admin-revoke`: the administrator's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `admin-create`: the administrator's public key (SubjectPublicKeyInfo, DER), in base 64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// `remove`: also where it costs something.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Shows no token.
impl fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRequest")
            .field("action", &self.action)
            .field("hostname", &self.hostname)
            .field("node_id", &self.node_id)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What a node found on its host after converging.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RawReport {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub swarm_node_id: String,
    /// The brick directory exists and may be taken into the volume.
    pub brick_ready: bool,
    /// The volume id that the brick directory is marked with; empty if it is not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub brick_mark: String,
    /// The volume is mounted, and the mount was read from and written to.
    pub mounted: bool,
    /// Why something is not as it should be; empty if all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub finding: String,
    /// The host belongs to something else: to another Swarm, or to another storage pool.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// How many servers the host knows to mount from when it boots; 0 if it mounts nothing then.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_servers: u32,
}

macro_rules! any_case_struct {
    ($name:ident, $what:literal, { $($key:literal $(| $alias:literal)* => $field:ident),* $(,)? }) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct AnyCase;
                impl<'de> Visitor<'de> for AnyCase {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut value = $name::default();
                        let mut seen: Vec<&'static str> = Vec::new();
                        while let Some(key) = map.next_key::<FieldKey>()? {
                            match key.0.as_str() {
                                $($key $(| $alias)* => {
                                    if seen.contains(&$key) {
                                        return Err(de::Error::custom(concat!("the field `", $key, "` is there twice")));
                                    }
                                    seen.push($key);
                                    value.$field = NullAsDefault::deserialize_in(&mut map)?;
                                })*
                                _ => { map.next_value::<IgnoredAny>()?; }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(AnyCase)
            }
        }
    };
}

/// A field's name in lower case and without underscores, so that `memory_mb`, `memoryMb` and `MemoryMB` are one.
struct FieldKey(String);

impl<'de> Deserialize<'de> for FieldKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = FieldKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldKey, E> {
                Ok(FieldKey(text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()))
            }
        }
        deserializer.deserialize_identifier(Key)
    }
}

/// Reads a value, taking `null` for the default.
struct NullAsDefault;

impl NullAsDefault {
    fn deserialize_in<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(map: &mut A) -> Result<T, A::Error> {
        Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
    }
}

any_case_struct!(RawRequest, "a JSON object with the request", {
    "action" => action, "hostname" => hostname, "role" => role, "ip" => ip, "os" => os, "cpu" => cpu,
    "memorymb" | "memory" => memory_mb, "dockerversion" => docker_version, "glustercapable" => gluster_capable,
    "glusterclientonly" => gluster_client_only,
    "timestamp" => timestamp, "protocol" => protocol, "nodeid" => node_id, "machineid" => machine_id, "bootid" => boot_id, "waitms" => wait_ms, "tokenrefused" => token_refused, "report" => report,
    "after" => after, "limit" => limit,
    "token" => token, "id" => id, "profiles" => profiles, "uses" => uses, "expiress" => expires_s, "reason" => reason,
    "name" => name, "publickey" => public_key, "force" => force,
});

any_case_struct!(RawReport, "a JSON object with the report", {
    "swarmnodeid" => swarm_node_id, "brickready" => brick_ready, "brickmark" => brick_mark, "mounted" => mounted, "finding" => finding,
    "refused" => refused, "bootservers" => boot_servers,
});

/// A request whose values have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A node wants in, or says again who it is.
    Register(Registration),
    /// A node asks whether there is news; changes nothing but what it reports.
    CheckStatus { who: Identity, report: Option<(NodeReport, Addendum)>, wait_ms: u64 },
    /// A client of the first implementation says that it created the volume, which ours never does.
    GlusterReady { who: Identity },
    /// A node leaves.
    Deregister { who: Identity },
    /// For administrators only: on the unix socket, or with an administrator's certificate.
    Administer(Administer),
}

/// What an administrator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administer {
    /// The state of the cluster.
    Status,
    /// Takes entries off the Swarm's list that stand for no node.
    PruneGhosts,
    /// The nodes, a page of them.
    Nodes {
        after: String,
        limit: u32,
    },
    /// One node with all that is known of it.
    ShowNode {
        node: NodeName,
    },
    /// Takes a node out of the cluster and its Swarm.
    Remove {
        node: NodeName,
        force: bool,
    },
    /// Lets another key have a host name.
    Replace {
        hostname: Hostname,
    },
    /// Makes a token.
    CreateToken {
        grant: Grant,
        node: Option<Hostname>,
        uses: u32,
        expires_s: u64,
    },
    /// The tokens, a page of them.
    Tokens {
        after: String,
        limit: u32,
    },
    RevokeToken {
        id: ShortId,
    },
    /// The requests to join, a page of them.
    Requests {
        after: String,
        limit: u32,
    },
    Approve {
        id: ShortId,
        grant: Grant,
    },
    Reject {
        id: ShortId,
        reason: String,
    },
    /// The cluster's CAs and the controller's certificate.
    ShowAuthorities,
    /// Puts a new CA in the place of the one in use, which is trusted for a while, or, `at_once`, no longer.
    RotateAuthority {
        at_once: bool,
    },
    /// Certifies an administrator's key.
    CreateAdmin {
        name: String,
        spki: Vec<u8>,
    },
    /// The administrators, a page of them.
    Admins {
        after: String,
        limit: u32,
    },
    /// Ends an administrator's rights.
    RevokeAdmin {
        name: String,
    },
    /// Makes a copy of all that the controller knows, on its host.
    Backup,
}

/// What a token or an approval grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// `None`: a worker's. An approval of who asks to be a manager has to say one.
    pub role: Option<Role>,
    pub profiles: Vec<ProfileName>,
}

/// How an administrator names a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeName {
    Id(NodeId),
    Host(Hostname),
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Host(hostname) => hostname.fmt(f),
        }
    }
}

/// A token as a node presents it: of its secret the digest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedToken {
    pub id: ShortId,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Claimed by the node; `None` for clients without a key.
    pub node_id: Option<NodeId>,
    pub hostname: Hostname,
}

impl Identity {
    /// The id under which the sender is filed.
    #[must_use]
    pub fn key(&self) -> NodeId {
        self.node_id.clone().unwrap_or_else(|| NodeId::of_legacy(&self.hostname))
    }
}

/// A registration whose values have been checked (S2-51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub who: Identity,
    /// The role asked for; `None` leaves it to the controller.
    pub role: Option<Role>,
    /// The address asked for; `None` means the one that the request comes from.
    pub address: Option<NodeAddress>,
    pub facts: Facts,
    /// When the client sent it, if it says so and is of our protocol.
    pub sent_at: Option<jiff::Timestamp>,
    pub protocol: u32,
    /// How long the reply may be held back while the node would have to wait anyway, in ms.
    pub wait_ms: u64,
    /// The Swarm refused the token of an earlier reply.
    pub token_refused: bool,
    /// The admission token.
    pub token: Option<PresentedToken>,
}

/// What a node says about its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub os: String,
    pub cpus: u32,
    pub memory_mb: u64,
    pub docker_version: String,
    /// The host can mount GlusterFS volumes.
    pub gluster_capable: bool,
    /// It can, but has no glusterd of its own to serve a brick.
    pub gluster_client_only: bool,
}

impl Facts {
    /// Whether the two say the same of a host; free memory does not count.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { os, cpus, memory_mb: _, docker_version, gluster_capable, gluster_client_only } = self;
        (os, docker_version) == (&other.os, &other.docker_version)
            && (*cpus, *gluster_capable, *gluster_client_only)
                == (other.cpus, other.gluster_capable, other.gluster_client_only)
    }
}

/// What a node reports about its host after converging.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub swarm_node_id: String,
    pub brick_ready: bool,
    pub brick_mark: String,
    pub mounted: bool,
    pub finding: String,
}

/// What reports say since there is more to say than [`NodeReport`] has room for, whose form is that of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addendum {
    /// The host belongs to another Swarm, or to another storage pool: it is not served until that is settled.
    pub refused: bool,
    /// How many servers it knows to mount from when it boots; 0 if it does not say, or mounts nothing.
    pub boot_servers: u32,
}

/// Why a request was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the action {0:?} does not exist")]
    UnknownAction(String),
    #[error("field `Hostname`: {0}")]
    Hostname(#[from] HostnameError),
    #[error("field `Role`: {0}")]
    Role(#[from] RoleError),
    #[error("field `IP`: {0}")]
    Address(#[from] AddressError),
    #[error("field `NodeId`: {0}")]
    NodeId(#[from] NodeIdError),
    #[error("field `Token`: {0}")]
    Token(#[from] JoinTokenError),
    #[error("field `Id`: {0}")]
    Id(#[from] ShortIdError),
    #[error("field `Profiles`: {0}")]
    Profile(#[from] ProfileNameError),
    #[error("field `{field}`: {rule}")]
    Field { field: &'static str, rule: &'static str },
}

const MAX_CPUS: u32 = 65_536;
const MAX_MEMORY_MB: u64 = 1 << 30;
/// The most elements of any list in a request.
const MAX_PROFILES: usize = 64;
/// The longest that a reply is held back.
pub const MAX_WAIT_MS: u64 = 30_000;

impl RawRequest {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first field that breaks its rule.
    pub fn check(self) -> Result<Request, RequestError> {
        for (field, id) in [("MachineId", &self.machine_id), ("BootId", &self.boot_id)] {
            if id.len() > 36 || !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                return Err(RequestError::Field { field, rule: "at most 36 hexadecimal digits and hyphens" });
            }
        }
        match self.action.to_ascii_lowercase().as_str() {
            "" | "register" => self.check_registration().map(Request::Register),
            "check-status" => {
                let report = self.report.as_ref().map(RawReport::check).transpose()?;
                Ok(Request::CheckStatus { who: self.identity()?, report, wait_ms: self.wait_ms.min(MAX_WAIT_MS) })
            }
            "gluster-ready" => Ok(Request::GlusterReady { who: self.identity()? }),
            "deregister" => Ok(Request::Deregister { who: self.identity()? }),
            action => self.check_administration(action).map(Request::Administer),
        }
    }

    fn check_administration(&self, action: &str) -> Result<Administer, RequestError> {
        let page = || free_text("After", &self.after).map(|()| (self.after.clone(), self.limit));
        match action {
            "status" => Ok(Administer::Status),
            "prune-ghosts" => Ok(Administer::PruneGhosts),
            "nodes" => page().map(|(after, limit)| Administer::Nodes { after, limit }),
            "node-show" => Ok(Administer::ShowNode { node: self.node_name()? }),
            "remove" => Ok(Administer::Remove { node: self.node_name()?, force: self.force }),
            "replace" => Ok(Administer::Replace { hostname: Hostname::parse(&self.hostname)? }),
            "token-create" => Ok(Administer::CreateToken {
                grant: self.grant()?,
                node: if self.hostname.is_empty() { None } else { Some(Hostname::parse(&self.hostname)?) },
                uses: self.uses,
                expires_s: self.expires_s,
            }),
            "tokens" => page().map(|(after, limit)| Administer::Tokens { after, limit }),
            "token-revoke" => Ok(Administer::RevokeToken { id: ShortId::parse(&self.id)? }),
            "requests" => page().map(|(after, limit)| Administer::Requests { after, limit }),
            "request-approve" => Ok(Administer::Approve { id: ShortId::parse(&self.id)?, grant: self.grant()? }),
            "request-reject" => {
                free_text("Reason", &self.reason)?;
                Ok(Administer::Reject { id: ShortId::parse(&self.id)?, reason: self.reason.clone() })
            }
            "authorities" => Ok(Administer::ShowAuthorities),
            "authority-rotate" => Ok(Administer::RotateAuthority { at_once: self.force }),
            "admins" => page().map(|(after, limit)| Administer::Admins { after, limit }),
            "admin-create" => {
                let name = self.admin_name()?;
                let spki = data_encoding::BASE64.decode(self.public_key.as_bytes()).unwrap_or_default();
                if spki.is_empty() {
                    return Err(RequestError::Field { field: "PublicKey", rule: "a public key in base 64" });
                }
                Ok(Administer::CreateAdmin { name, spki })
            }
            "backup" => Ok(Administer::Backup),
            "admin-revoke" => Ok(Administer::RevokeAdmin { name: self.admin_name()? }),
            _ => Err(RequestError::UnknownAction(self.action.chars().take(64).collect())),
        }
    }

    fn grant(&self) -> Result<Grant, RequestError> {
        if self.profiles.len() > MAX_PROFILES {
            return Err(RequestError::Field { field: "Profiles", rule: "at most 64 profiles" });
        }
        let role = if self.role.is_empty() { None } else { Some(self.role.parse::<Role>()?) };
        let profiles = self.profiles.iter().map(|name| ProfileName::parse(name)).collect::<Result<_, _>>()?;
        Ok(Grant { role, profiles })
    }

    /// The name ends up in a certificate, as a part of a URI.
    fn admin_name(&self) -> Result<String, RequestError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let begins_well = self.name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && self.name.len() <= 64 && self.name.bytes().all(allowed) {
            return Ok(self.name.clone());
        }
        let rule = "1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit";
        Err(RequestError::Field { field: "Name", rule })
    }

    fn node_name(&self) -> Result<NodeName, RequestError> {
        if self.id.is_empty() {
            return Ok(NodeName::Host(Hostname::parse(&self.hostname)?));
        }
        Ok(NodeName::Id(NodeId::parse(&self.id)?))
    }

    fn identity(&self) -> Result<Identity, RequestError> {
        let node_id = if self.node_id.is_empty() { None } else { Some(NodeId::parse(&self.node_id)?) };
        Ok(Identity { node_id, hostname: Hostname::parse(&self.hostname)? })
    }

    fn check_registration(self) -> Result<Registration, RequestError> {
        let who = self.identity()?;
        let role = if self.role.is_empty() { None } else { Some(self.role.parse::<Role>()?) };
        let address = if self.ip.is_empty() { None } else { Some(NodeAddress::parse(&self.ip)?) };
        free_text("OS", &self.os)?;
        free_text("DockerVersion", &self.docker_version)?;
        free_text("Timestamp", &self.timestamp)?;
        if self.cpu > MAX_CPUS {
            return Err(RequestError::Field { field: "CPU", rule: "more than 65536 processors" });
        }
        if self.memory_mb > MAX_MEMORY_MB {
            return Err(RequestError::Field { field: "MemoryMb", rule: "more than 1 PiB" });
        }
        let token = if self.token.is_empty() {
            None
        } else {
            let token = JoinToken::parse(&self.token)?;
            Some(PresentedToken { digest: token.secret.digest(), id: token.id })
        };
        let sent_at = if self.protocol == 0 { None } else { self.timestamp.parse().ok() };
        let facts = Facts {
            os: self.os,
            cpus: self.cpu,
            memory_mb: self.memory_mb,
            docker_version: self.docker_version,
            gluster_capable: self.gluster_capable,
            gluster_client_only: self.gluster_client_only,
        };
        Ok(Registration {
            who,
            role,
            address,
            facts,
            sent_at,
            protocol: self.protocol,
            wait_ms: self.wait_ms.min(MAX_WAIT_MS),
            token_refused: self.token_refused,
            token,
        })
    }
}

impl RawReport {
    fn check(&self) -> Result<(NodeReport, Addendum), RequestError> {
        let word = |b: u8| b.is_ascii_alphanumeric();
        if self.swarm_node_id.len() > 64 || !self.swarm_node_id.bytes().all(word) {
            return Err(RequestError::Field { field: "SwarmNodeId", rule: "at most 64 letters and digits" });
        }
        if self.brick_mark.len() > 36 || !self.brick_mark.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Err(RequestError::Field {
                field: "BrickMark",
                rule: "a volume id: hexadecimal digits and hyphens",
            });
        }
        let finding = self.finding.chars().filter(|c| !c.is_control()).take(256).collect();
        let report = NodeReport {
            swarm_node_id: self.swarm_node_id.clone(),
            brick_ready: self.brick_ready,
            brick_mark: self.brick_mark.clone(),
            mounted: self.mounted,
            finding,
        };
        Ok((report, Addendum { refused: self.refused, boot_servers: self.boot_servers }))
    }
}

fn free_text(field: &'static str, text: &str) -> Result<(), RequestError> {
    let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    if text.len() > 128 || !text.bytes().all(printable) {
        return Err(RequestError::Field { field, rule: "at most 128 printable ASCII characters" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> RawRequest {
        serde_json::from_str(json).unwrap()
    }

    /// S2-05, S2-51: a registration as the first implementation sends it, in its letter case and in others.
    #[test]
    fn reads_field_names_in_any_letter_case() {
        let expected = parse(
            r#"{"hostname":"h2","role":"worker","ip":"10.88.0.2","os":"linux","cpu":2,"memoryMb":24105,"dockerVersion":"","glusterCapable":true,"timestamp":"0001-01-01T00:00:00Z"}"#,
        );
        for json in [
            r#"{"Hostname":"h2","Role":"worker","IP":"10.88.0.2","OS":"linux","CPU":2,"Memory":24105,"DockerVersion":"","GlusterCapable":true,"Timestamp":"0001-01-01T00:00:00Z"}"#,
            r#"{"HOSTNAME":"h2","ROLE":"worker","Ip":"10.88.0.2","Os":"linux","Cpu":2,"MEMORY_MB":24105,"gluster_capable":true,"TIMESTAMP":"0001-01-01T00:00:00Z","Unknown":{"a":[1]},"DockerVersion":null}"#,
        ] {
            assert_eq!(parse(json), expected, "{json}");
        }
        let Request::Register(registration) = expected.check().unwrap() else { panic!("a registration") };
        assert_eq!(registration.role, Some(Role::Worker));
        assert_eq!(registration.facts.memory_mb, 24105);
        assert_eq!(registration.who.key(), NodeId::of_legacy(&Hostname::parse("h2").unwrap()));
    }

    #[test]
    fn what_is_sent_reads_back() {
        let request = RawRequest {
            action: "check-status".into(),
            hostname: "h1".into(),
            node_id: "a".repeat(26),
            wait_ms: 5,
            report: Some(RawReport { mounted: true, ..RawReport::default() }),
            ..RawRequest::default()
        };
        assert_eq!(parse(&serde_json::to_string(&request).unwrap()), request);
    }

    #[test]
    fn refuses_repeated_fields_and_wrong_types() {
        for json in
            [r#"{"hostname":"a","Hostname":"b"}"#, r#"{"cpu":-1}"#, r#"{"cpu":"2"}"#, r#"{"hostname":7}"#, "[]", "7"]
        {
            assert!(serde_json::from_str::<RawRequest>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn names_the_field_that_breaks_its_rule() {
        for (json, words) in [
            (r#"{"hostname":"-x"}"#, "`Hostname`"),
            (r#"{"hostname":"h","role":"boss"}"#, "`Role`"),
            (r#"{"hostname":"h","ip":"0.0.0.0"}"#, "`IP`"),
            (r#"{"hostname":"h","os":"a\nb"}"#, "`OS`"),
            (r#"{"hostname":"h","cpu":4000000}"#, "`CPU`"),
            (r#"{"action":"explode"}"#, "\"explode\""),
            (r#"{"hostname":"h","nodeId":"x"}"#, "`NodeId`"),
        ] {
            let error = parse(json).check().unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
}
