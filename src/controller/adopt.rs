//! What `master init --adopt` puts on record: the Swarm that this host manages, and the volume that its hosts serve,
//! as they are. Pure.
//!
//! An adopted node has no key yet. It gets in again by its next `node join` with a token, and takes its row over, with
//! its brick and without counting twice, by its host name and address: both must be as the Swarm has them.

use std::collections::BTreeSet;

use super::command::{AdmittedNode, StorageRecord};
use super::state::{ClusterState, StorageRole};
use crate::cluster::{BrickPath, Hostname, NodeAddress, NodeId};
use crate::protocol::registration::Facts;
use crate::providers::gluster::Volume;
use crate::providers::swarm::Member;

/// This host, which registers itself when the controller starts.
#[derive(Debug, Clone, Copy)]
pub struct OwnHost<'a> {
    pub swarm_node_id: &'a str,
    pub address: NodeAddress,
}

/// A member of the Swarm that is put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    pub node: AdmittedNode,
    pub storage: StorageRole,
    pub swarm_node_id: String,
}

/// A member of the Swarm that is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub hostname: String,
    pub swarm_node_id: String,
    pub because: Because,
}

/// Why a member is not put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Left over from a failed join or an earlier life of the host.
    Duplicate,
    Hostname,
    Address,
    AddressTaken,
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "another member has its name: `docker node rm` it if it is left over",
            Self::Hostname => "its name cannot be used",
            Self::Address => "the Swarm does not know its address",
            Self::AddressTaken => "another member has its address",
        })
    }
}

/// What is put on record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    pub nodes: Vec<Adopted>,
    pub left_out: Vec<LeftOut>,
    pub storage: Option<StorageRecord>,
}

/// Why a volume cannot be adopted. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    #[error("the volume `{volume}` keeps its bricks in different directories: {paths}")]
    Paths { volume: String, paths: String },
    #[error("the volume `{volume}` has the brick {brick}, and no member of the Swarm has that address")]
    Foreign { volume: String, brick: String },
}

/// Judges what the Swarm and the volume are. `wanted` says what the volume does not: where it is to be mounted. Members
/// that are on record already stay as they are.
///
/// # Errors
/// The volume is not one that clusterctl could have made.
pub fn plan(
    state: &ClusterState,
    members: &[Member],
    own: OwnHost<'_>,
    volume: Option<&Volume>,
    wanted: &StorageRecord,
) -> Result<Adoption, VolumeError> {
    let mut adoption =
        Adoption { storage: volume.map(|volume| record(volume, wanted)).transpose()?, ..Adoption::default() };
    let own_name = members.iter().find(|member| member.swarm_node_id == own.swarm_node_id);
    let mut names: BTreeSet<&str> = own_name.map(|member| member.hostname.as_str()).into_iter().collect();
    let mut addresses = BTreeSet::from([own.address]);
    // Of two of one name the one that is there is meant.
    let mut sorted: Vec<&Member> = members.iter().filter(|member| member.swarm_node_id != own.swarm_node_id).collect();
    sorted.sort_by_key(|member| (member.state != "ready", &member.hostname, &member.swarm_node_id));
    for member in sorted {
        let judged = judge(member, volume, &mut names, &mut addresses);
        match judged {
            Ok(adopted) if is_on_record(state, &adopted) => {}
            Ok(adopted) => adoption.nodes.push(adopted),
            Err(because) => adoption.left_out.push(LeftOut {
                hostname: member.hostname.clone(),
                swarm_node_id: member.swarm_node_id.clone(),
                because,
            }),
        }
    }
    let known = |host: &str| addresses.iter().any(|address| address.to_string() == host);
    let foreign = volume.and_then(|volume| volume.bricks.iter().find(|brick| !known(&brick.host)));
    match (volume, foreign) {
        (Some(volume), Some(brick)) => {
            Err(VolumeError::Foreign { volume: volume.name.clone(), brick: brick.to_string() })
        }
        _ => Ok(adoption),
    }
}

fn judge<'a>(
    member: &'a Member,
    volume: Option<&Volume>,
    names: &mut BTreeSet<&'a str>,
    addresses: &mut BTreeSet<NodeAddress>,
) -> Result<Adopted, Because> {
    let hostname = Hostname::parse(&member.hostname).map_err(|_| Because::Hostname)?;
    if names.contains(member.hostname.as_str()) {
        return Err(Because::Duplicate);
    }
    let address = NodeAddress::parse(&member.address).ok().filter(|address| !address.is_loopback());
    let address = address.ok_or(Because::Address)?;
    if !addresses.insert(address) {
        return Err(Because::AddressTaken);
    }
    names.insert(&member.hostname);
    let holds_brick = volume.is_some_and(|volume| volume.bricks.iter().any(|brick| brick.host == address.to_string()));
    let storage = match (volume, holds_brick) {
        (Some(_), true) => StorageRole::Brick,
        (Some(_), false) => StorageRole::Client,
        (None, _) => StorageRole::None,
    };
    let facts = Facts { gluster_capable: volume.is_some(), gluster_client_only: !holds_brick, ..Facts::default() };
    let id = NodeId::of_legacy(&hostname);
    let node = AdmittedNode { id, keyed: false, hostname, address, role: member.role, facts };
    Ok(Adopted { node, storage, swarm_node_id: member.swarm_node_id.clone() })
}

fn is_on_record(state: &ClusterState, adopted: &Adopted) -> bool {
    state.node_named(&adopted.node.hostname).is_some()
        || state.node_at(adopted.node.address).is_some()
        || state.nodes().any(|node| node.report.swarm_node_id == adopted.swarm_node_id)
}

/// The volume as it is.
fn record(volume: &Volume, wanted: &StorageRecord) -> Result<StorageRecord, VolumeError> {
    let paths: BTreeSet<&str> = volume.bricks.iter().map(|brick| brick.path.as_str()).collect();
    let only = if paths.len() == 1 { paths.first().and_then(|path| BrickPath::parse(path).ok()) } else { None };
    let brick = only.ok_or_else(|| VolumeError::Paths {
        volume: volume.name.clone(),
        paths: paths.into_iter().collect::<Vec<_>>().join(", "),
    })?;
    // A single brick is how a volume begins that is to have more copies.
    let begins = volume.bricks.len() == 1;
    Ok(StorageRecord {
        brick,
        replica: if begins { wanted.replica } else { volume.replica },
        arbiter: if begins { wanted.arbiter } else { volume.arbiter == 1 },
        ..wanted.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{MountPoint, Role, VolumeName};
    use crate::providers::gluster::{Brick, VolumeStatus};

    fn member(id: &str, hostname: &str, address: &str, role: Role, state: &str) -> Member {
        Member {
            swarm_node_id: id.into(),
            hostname: hostname.into(),
            role,
            state: state.into(),
            availability: "active".into(),
            address: address.into(),
            leader: false,
            reachability: None,
            updated_at: None,
        }
    }

    fn wanted() -> StorageRecord {
        StorageRecord {
            volume: VolumeName::parse("shared").unwrap(),
            brick: BrickPath::parse("/data/clusterctl/bricks/shared").unwrap(),
            mount: MountPoint::parse("/mnt/shared").unwrap(),
            replica: 3,
            arbiter: false,
            allow_root_brick: false,
        }
    }

    fn volume(replica: u32, bricks: &[&str]) -> Volume {
        let brick = |place: &&str| {
            let (host, path) = place.split_once(':').unwrap();
            Brick { host: host.into(), path: path.into() }
        };
        Volume {
            name: "shared".into(),
            id: "8f6f".into(),
            status: VolumeStatus::Started,
            replica,
            arbiter: 0,
            bricks: bricks.iter().map(brick).collect(),
            options: std::collections::BTreeMap::new(),
        }
    }

    fn swarm() -> Vec<Member> {
        vec![
            member("m1", "h1", "10.0.0.1", Role::Manager, "ready"),
            member("w2", "h2", "10.0.0.2", Role::Worker, "ready"),
            member("old", "h2", "10.0.0.9", Role::Worker, "down"),
            member("w3", "h3", "10.0.0.3", Role::Worker, "down"),
            member("w4", "h4", "0.0.0.0", Role::Worker, "ready"),
            member("w5", "-x", "10.0.0.5", Role::Worker, "ready"),
            member("ghost", "h1", "10.0.0.8", Role::Manager, "unknown"),
        ]
    }

    fn planned(members: &[Member], volume: Option<&Volume>) -> Result<Adoption, VolumeError> {
        let own = OwnHost { swarm_node_id: "m1", address: NodeAddress::parse("10.0.0.1").unwrap() };
        plan(&ClusterState::default(), members, own, volume, &wanted())
    }

    /// C7: every host once, this one by itself, and what is left over is named.
    #[test]
    fn takes_every_host_once() {
        let adoption = planned(&swarm(), None).unwrap();
        let taken: Vec<_> = adoption.nodes.iter().map(|one| (one.node.hostname.as_str(), one.storage)).collect();
        assert_eq!(taken, [("h2", StorageRole::None), ("h3", StorageRole::None)]);
        let left: Vec<_> = adoption.left_out.iter().map(|one| (one.swarm_node_id.as_str(), one.because)).collect();
        let expected = [
            ("w5", Because::Hostname),
            ("w4", Because::Address),
            ("ghost", Because::Duplicate),
            ("old", Because::Duplicate),
        ];
        assert_eq!(left, expected);
        assert_eq!(adoption.storage, None);
    }

    #[test]
    fn takes_the_volume_as_it_is() {
        let three = volume(3, &["10.0.0.1:/srv/b", "10.0.0.2:/srv/b", "10.0.0.3:/srv/b"]);
        let adoption = planned(&swarm(), Some(&three)).unwrap();
        assert!(adoption.nodes.iter().all(|one| one.storage == StorageRole::Brick), "{adoption:?}");
        let storage = adoption.storage.unwrap();
        assert_eq!((storage.brick.as_str(), storage.replica), ("/srv/b", 3));
        let one = planned(&swarm(), Some(&volume(1, &["10.0.0.1:/srv/b"]))).unwrap();
        assert!(one.nodes.iter().all(|one| one.storage == StorageRole::Client), "{one:?}");
        assert_eq!(one.storage.unwrap().replica, 3, "it is to grow");
    }

    #[test]
    fn leaves_a_volume_alone_that_is_of_another_kind() {
        let apart = volume(2, &["10.0.0.1:/srv/a", "10.0.0.2:/srv/b"]);
        assert!(matches!(planned(&swarm(), Some(&apart)), Err(VolumeError::Paths { .. })));
        let elsewhere = volume(2, &["10.0.0.1:/srv/b", "files.example:/srv/b"]);
        assert!(matches!(planned(&swarm(), Some(&elsewhere)), Err(VolumeError::Foreign { .. })));
    }
}
