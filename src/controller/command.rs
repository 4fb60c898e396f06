//! Changes to the controller's state, as data. Time and ids travel inside a command, so that applying it again gives
//! the same state. Commands are journaled: a variant's meaning never changes, new ones are added at the end.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::{
    BrickPath, Hostname, KeyFingerprint, MountPoint, NodeAddress, NodeId, ProfileName, Role, ShortId, VolumeName,
};
use crate::protocol::registration::{Addendum, Facts, NodeReport};

/// One change to the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The cluster gets its id; a second one changes nothing.
    Initialise {
        cluster_id: String,
        at: Timestamp,
    },
    /// The Swarm that this cluster is.
    RecordSwarm {
        swarm: SwarmRecord,
    },
    /// What the shared volume is to be; `None` switches it off for nodes that come.
    ConfigureStorage {
        storage: Option<StorageRecord>,
    },
    /// An admitted node: new, or known and changed, as the first version wrote it. Admission was open then.
    Register {
        node: AdmittedNode,
        at: Timestamp,
    },
    /// A node left. It may come again as any other.
    Deregister {
        id: NodeId,
        at: Timestamp,
    },
    /// What a node found on its host.
    Report {
        id: NodeId,
        report: NodeReport,
    },
    /// The minimum was reached; the gate stays open for these thresholds.
    LatchGate {
        thresholds: Thresholds,
    },
    /// A change to the volume is about to be tried, so that its traces can be told from others' later.
    RecordIntent {
        intent: StorageIntent,
    },
    /// The change was seen to be complete.
    ClearIntent,
    /// A node comes in, or comes again and has changed. Whether the warrant holds is judged again when the command is
    /// applied, and a token's use is counted with it.
    Admit {
        node: AdmittedNode,
        warrant: Warrant,
        key: Option<KeyFingerprint>,
        at: Timestamp,
    },
    /// An administrator removed a node: its key opens nothing any more.
    Remove {
        id: NodeId,
        at: Timestamp,
    },
    /// The node's host name may be taken by another key, once.
    AllowReplacement {
        id: NodeId,
        at: Timestamp,
    },
    CreateToken {
        token: TokenTerms,
        at: Timestamp,
    },
    RevokeToken {
        id: ShortId,
        at: Timestamp,
    },
    /// A node asks to be let in. If it says something else than before, that takes the place of what it said, under the
    /// new id: an id stands for what an administrator was shown.
    FileRequest {
        id: ShortId,
        request: RequestTerms,
        at: Timestamp,
    },
    DecideRequest {
        id: ShortId,
        decision: Decision,
        at: Timestamp,
    },
    /// An administrator's key.
    CreateAdmin {
        name: String,
        key: KeyFingerprint,
        at: Timestamp,
    },
    RevokeAdmin {
        name: String,
        at: Timestamp,
    },
    /// A change to the volume is about to be tried. What was intended before, and was not seen to be complete, stays on
    /// record beside it.
    Intend {
        intent: StorageIntent,
        /// Whether the directory layout is to be spread over the volume's sets afterwards.
        layout: bool,
    },
    /// These bricks need no record any more: they were seen in the volume.
    ForgetBricks {
        bricks: Vec<String>,
    },
    /// The directory layout is spread over all sets.
    LayoutSpread,
    /// What a node found on its host, with what reports did not say when [`Report`](Self::Report) was written.
    Observe {
        id: NodeId,
        report: NodeReport,
        more: Addendum,
    },
    /// The state was made out of a backup: from here on it is another history than the one that nodes have seen.
    MarkRestored {
        incarnation: String,
        at: Timestamp,
    },
    /// A member of the Swarm is put on record as it is, if nobody of its name or at its address is.
    Adopt {
        node: AdmittedNode,
        storage: StorageRole,
        swarm_node_id: String,
        at: Timestamp,
    },
    /// A node is about to be removed: it is answered no more, and stays on record until it is out of the Swarm.
    Expel {
        id: NodeId,
        at: Timestamp,
    },
}

impl Command {
    /// When it was made, as far as it says so.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Initialise { at, .. }
            | Self::Register { at, .. }
            | Self::Deregister { at, .. }
            | Self::Admit { at, .. }
            | Self::Remove { at, .. }
            | Self::AllowReplacement { at, .. }
            | Self::CreateToken { at, .. }
            | Self::RevokeToken { at, .. }
            | Self::FileRequest { at, .. }
            | Self::DecideRequest { at, .. }
            | Self::CreateAdmin { at, .. }
            | Self::RevokeAdmin { at, .. }
            | Self::MarkRestored { at, .. }
            | Self::Adopt { at, .. }
            | Self::Expel { at, .. } => Some(*at),
            Self::RecordSwarm { .. }
            | Self::ConfigureStorage { .. }
            | Self::Report { .. }
            | Self::LatchGate { .. }
            | Self::RecordIntent { .. }
            | Self::ClearIntent
            | Self::Intend { .. }
            | Self::ForgetBricks { .. }
            | Self::LayoutSpread
            | Self::Observe { .. } => None,
        }
    }
}

/// By what right a node comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warrant {
    /// It is a member, and keeps what it was granted.
    Member,
    /// Everybody is let in.
    Open,
    /// It is the controller's own host, or was registered there by root.
    Local,
    Token(ShortId),
    /// An approved request.
    Request(ShortId),
    /// It was a member of the Swarm that was put on record. Nobody comes in by this.
    Adopted,
}

/// A token as it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTerms {
    pub id: ShortId,
    /// SHA-256 of its secret.
    pub digest: [u8; 32],
    /// The most that its bearer may be.
    pub role: Role,
    pub profiles: Vec<ProfileName>,
    /// The only host name that it admits.
    pub node: Option<Hostname>,
    /// How many nodes it admits; 0 means any number.
    pub uses: u32,
    pub expires_at: Timestamp,
    /// The CA that its bearers pin.
    pub pin: KeyFingerprint,
}

/// What a node that asks to be let in says and has proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTerms {
    pub node_id: NodeId,
    pub hostname: Hostname,
    pub address: NodeAddress,
    /// Where the request came from.
    pub source: IpAddr,
    /// The key that it proved; clients of the first implementation have none.
    pub key: Option<KeyFingerprint>,
    /// What it asks to be.
    pub role: Option<Role>,
    /// What the token grants that it brought.
    pub profiles: Vec<ProfileName>,
}

/// What an administrator decided about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    Approve { role: Role, profiles: Vec<ProfileName> },
    Reject { reason: String },
}

/// A node as admission let it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmittedNode {
    pub id: NodeId,
    /// Whether the node proved, or will prove, its id with a key. Clients of the first implementation have none.
    pub keyed: bool,
    pub hostname: Hostname,
    pub address: NodeAddress,
    pub role: Role,
    pub facts: Facts,
}

/// What a node is to the shared volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRole {
    /// Takes no part: storage is off, or the host cannot mount.
    None,
    /// Mounts the volume.
    Client,
    /// Mounts the volume and keeps a brick ready for it, which is taken in when a whole set is there.
    Brick,
}

impl StorageRole {
    /// The word in tables and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Brick => "brick",
        }
    }
}

/// How many managers and workers the gate asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    pub managers: u32,
    pub workers: u32,
}

/// The identity of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmRecord {
    pub cluster_id: String,
    /// SHA-256 of the root CA in base 36, as join tokens carry it.
    pub ca_digest: String,
}

/// What the shared volume is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageRecord {
    pub volume: VolumeName,
    pub brick: BrickPath,
    pub mount: MountPoint,
    /// Bricks in one set: copies of each file, an arbiter counted.
    pub replica: u32,
    pub arbiter: bool,
    pub allow_root_brick: bool,
}

/// A change to the volume that was about to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageIntent {
    pub volume: VolumeName,
    /// Bricks as `address:path`.
    pub bricks: Vec<String>,
    pub at: Timestamp,
}
