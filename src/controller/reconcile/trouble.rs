//! What stands in the loop's way: servers that would not be taken into the pool, and errors in words for an operator.

use std::collections::BTreeMap;

use super::{Reconcile, Seen};
use crate::causes::chain;
use crate::cluster::NodeAddress;
use crate::controller::storage_plan::{Declined, PoolView};
use crate::providers::gluster::{GlusterError, OpVersions, Peer};

impl Reconcile {
    /// Why a server would not be taken into the pool; `None` if that may pass by itself.
    ///
    /// GlusterFS says "part of another cluster" also to two servers that probe each other at the same moment: who has no
    /// volumes, and no peers but ours, is asked again.
    pub(super) async fn why_declined(
        &self,
        address: NodeAddress,
        error: &GlusterError,
        view: &PoolView,
    ) -> Option<Declined> {
        match error {
            GlusterError::OldVersion { .. } => Some(Declined::OldVersion),
            GlusterError::ForeignPool { .. } => {
                let (peers, volumes) = tokio::join!(self.pool.peers_seen_by(address), self.pool.volumes_at(address));
                let (peers, volumes) = (peers.ok()?, volumes.ok()?);
                // Its own entry is `localhost`.
                let ours = |peer: &Peer| {
                    peer.hostname == "localhost" || view.peers.iter().any(|known| known.uuid == peer.uuid)
                };
                (!volumes.is_empty() || !peers.iter().all(ours)).then_some(Declined::OtherPool)
            }
            _ => None,
        }
    }

    /// The identities that rejected servers have now. One that was installed anew has another than the pool knows.
    pub(super) async fn identities(&self, peers: &[Peer]) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for peer in peers.iter().filter(|peer| peer.rejected() && peer.connected) {
            let Ok(address) = NodeAddress::parse(&peer.hostname) else { continue };
            let seen = self.pool.peers_seen_by(address).await.unwrap_or_default();
            if let Some(own) = seen.into_iter().find(|peer| peer.hostname == "localhost") {
                found.insert(peer.hostname.clone(), own.uuid);
            }
        }
        found
    }

    /// Warns, once for each set of servers, of a pool that works below what its servers know. What cannot be found out
    /// is left: nothing rests on it.
    pub(super) async fn look_at_levels(&self, view: &PoolView, seen: &mut Seen) {
        let servers: Vec<String> = view.peers.iter().map(|peer| peer.uuid.clone()).collect();
        if view.volume.is_none() || servers == seen.levels_of {
            return;
        }
        seen.levels_of = servers;
        match self.pool.op_versions().await {
            Ok(OpVersions { now, most }) if now != most => tracing::warn!(
                now,
                most,
                "storage: the pool's servers know a later level than it works at: once all are upgraded, `gluster volume set all cluster.op-version {most}`"
            ),
            Ok(_) => {}
            Err(error) => tracing::debug!("storage: the pool's level is not known: {}", chain(&error)),
        }
    }
}

/// An error in words that say what to do about it; `long`: another transaction has been in progress for minutes.
pub(super) fn trouble(error: &GlusterError, long: bool) -> String {
    let line = chain(error);
    match error {
        GlusterError::Busy if long => format!(
            "{line}, for two minutes by now: a lock may be left over; `systemctl restart glusterd` on the master's host, then on the others, drops it"
        ),
        GlusterError::DaemonDown => format!("{line} on the master's host: `systemctl start glusterd` there"),
        GlusterError::NotInstalled => format!("{line} on the master's host: install `glusterfs-server` there"),
        GlusterError::TimedOut { .. } => format!(
            "{line}; who is on the access list is served meanwhile; `systemctl restart glusterd` on the host that hangs"
        ),
        GlusterError::PeerUnreachable { .. } => {
            format!("{line}; `systemctl status glusterd` there, and is its port 24007 open?")
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS G1, G6, G7: what stands in the way comes with the way out.
    #[test]
    fn errors_say_what_to_do() {
        let deadline = std::time::Duration::from_secs(30);
        let hung = GlusterError::TimedOut { command: "gluster volume set".to_owned(), deadline };
        for (error, long, words) in [
            (GlusterError::DaemonDown, false, "`systemctl start glusterd`"),
            (hung, false, "a peer may hang; who is on the access list is served"),
            (GlusterError::Busy, true, "a lock may be left over"),
        ] {
            assert!(trouble(&error, long).contains(words), "{}", trouble(&error, long));
        }
        assert_eq!(trouble(&GlusterError::Busy, false), "another GlusterFS transaction is in progress");
    }
}
