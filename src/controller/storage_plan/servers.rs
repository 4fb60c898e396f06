//! Servers that cannot be given a brick, and why: those that GlusterFS rejects, and those that will not be in our pool.
//!
//! Nothing is repaired here: what would have to go is somebody's data or somebody's pool. Such servers are passed over,
//! so that they hold up nobody else, and their hosts are told the way out.

use super::{Candidate, PoolView, StoragePlan, StorageWait, Wanted};
use crate::providers::gluster::Peer;

/// What is known of a candidate's GlusterFS beside the pool's own list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nothing speaks against it.
    #[default]
    Assumed,
    /// GlusterFS on this host could not reach it a moment ago.
    Unreachable,
    /// It is in the pool's list, and its handshake stopped half-way and for long.
    Halfway,
    /// It would not be taken into the pool.
    Declined {
        why: Declined,
        /// Long enough ago to be asked again.
        ask_again: bool,
    },
}

/// How new servers stand to each other that this host's GlusterFS knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// They are getting to know each other.
    Now,
    /// They have not, for so long that they hardly will.
    ForLong,
}

/// Why a server would not be taken into the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// It is in another one, or has volumes of its own.
    OtherPool,
    /// Its version does not know all that the pool uses.
    OldVersion,
}

/// Why a host is not served, for it to say and for scripts to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRefusal {
    pub code: &'static str,
    pub message: String,
}

/// A volume of ours is not to be had: another one has its name.
pub(super) fn other_volume(wait: &StorageWait) -> StorageRefusal {
    StorageRefusal { code: "other-volume", message: wait.to_string() }
}

/// Whether the candidate may be given a brick in the volume, as things stand.
pub(super) fn may_take_a_turn(candidate: &Candidate, view: &PoolView) -> bool {
    let address = candidate.address.to_string();
    let rejected = view.peers.iter().any(|peer| peer.hostname == address && peer.rejected());
    !candidate.refused && !rejected && !matches!(candidate.reach, Reach::Declined { .. })
}

/// Names the servers that are passed over, and tells their hosts why.
pub(super) fn judge_servers(plan: &mut StoragePlan, wanted: &Wanted, view: &PoolView) {
    let declined = wanted.candidates.iter().filter_map(|candidate| match candidate.reach {
        Reach::Declined { why, .. } => Some((candidate.address, decline(candidate, why))),
        Reach::Assumed | Reach::Unreachable | Reach::Halfway => None,
    });
    let rejected = view.peers.iter().filter(|peer| peer.rejected()).filter_map(|peer| {
        let candidate = wanted.candidates.iter().find(|candidate| candidate.address.to_string() == peer.hostname)?;
        Some((candidate.address, reject(candidate, peer, view.identities.get(&peer.hostname))))
    });
    plan.refusals = declined.chain(rejected).collect();
    if !plan.refusals.is_empty() {
        let messages = plan.refusals.values().map(|refusal| refusal.message.clone()).collect();
        plan.waits.push(StorageWait::ServersRefused(messages));
    }
}

fn decline(candidate: &Candidate, why: Declined) -> StorageRefusal {
    let Candidate { hostname, address, .. } = candidate;
    match why {
        Declined::OtherPool => StorageRefusal {
            code: "foreign-pool",
            message: format!(
                "GlusterFS on {hostname} ({address}) is in another pool or has volumes of its own: see `gluster pool list` and `gluster volume list` there; `gluster peer detach` it from a pool that nobody means, or join it with `--disable-glusterfs`"
            ),
        },
        Declined::OldVersion => StorageRefusal {
            code: "old-glusterfs",
            message: format!(
                "GlusterFS on {hostname} ({address}) is too old for this pool: upgrade it there (`gluster --version`; the pool's level: `gluster volume get all cluster.op-version`)"
            ),
        },
    }
}

fn reject(candidate: &Candidate, peer: &Peer, now: Option<&String>) -> StorageRefusal {
    let Candidate { hostname, address, .. } = candidate;
    match now.filter(|now| **now != peer.uuid) {
        // The steps are those of Gluster's own "Replace a host with the same hostname".
        Some(now) => StorageRefusal {
            code: "reinstalled-peer",
            message: format!(
                "GlusterFS on {hostname} ({address}) was installed anew: it is {now}, and the pool knows {}; nothing was changed. With glusterd stopped there, write `UUID={}` into /var/lib/glusterd/glusterd.info, start it, `gluster peer probe` a server of the pool from it, and restart it; a brick that is empty is filled again by `gluster volume reset-brick` and `gluster volume heal VOLUME full`",
                peer.uuid, peer.uuid
            ),
        },
        None => StorageRefusal {
            code: "peer-rejected",
            message: format!(
                "GlusterFS rejects {hostname} ({address}): its configuration differs from the pool's (`grep Cksums /var/log/glusterfs/glusterd.log` names the volume); nothing was changed. GlusterFS's documented way out, on that host: stop glusterd, move everything but glusterd.info out of /var/lib/glusterd, start glusterd, `gluster peer probe` a server of the pool, restart glusterd"
            ),
        },
    }
}
