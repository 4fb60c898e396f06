//! What the loop remembers from one round to the next: the pool as it was last seen, what of that does not hold any
//! more, and what was tried in vain.
//!
//! None of it is kept: a controller that starts again looks at everything and tries everything.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::NodeAddress;
use crate::controller::storage_plan::{Apart, Declined, PoolView, Reach};
use crate::providers::gluster::GlusterError;

/// A create that was refused for a mark leaves marks on the other bricks, of which their nodes tell within a second or
/// so. Trying again before that would mark those anew that have just been cleaned, and so on for ever.
pub(super) const REPORTS_DUE: Duration = Duration::from_millis(2_500);
/// A pool at rest is looked at again at most this often, however many nodes join again.
pub(super) const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// For how long it is believed that there is no volume yet, and that peers stay what they were: nobody else makes
/// either, and if somebody does, the change that rests on it is refused and everything is looked at anew.
pub(super) const BELIEVED: Duration = Duration::from_secs(5);

/// How long a host that could not be probed gives way to others.
pub(super) const UNREACHABLE_FOR: Duration = Duration::from_secs(60);
/// A brick whose process does not stay up is started again this often.
pub(super) const RESTART_PAUSE: Duration = Duration::from_secs(60);
/// A server that would not be taken into the pool is asked again this often: somebody may have seen to it.
const ASKED_AGAIN: Duration = Duration::from_secs(30);
/// Handshakes between servers take a second; after this long they do not go on by themselves.
const LONG: Duration = Duration::from_secs(60);
/// Other transactions end within seconds; after this long a lock of one that died may be left over.
const BUSY_FOR_LONG: Duration = Duration::from_secs(120);

/// The pool as it was last seen, for as long as nothing casts doubt on it.
#[derive(Default)]
pub(super) struct Seen {
    /// When GlusterFS last refused bricks because of a mark.
    pub(super) marked_at: Option<Instant>,
    pub(super) view: Option<PoolView>,
    pub(super) at: Option<Instant>,
    /// What of `view` does not hold any more.
    pub(super) stale: Stale,
    /// When a brick was first seen to be ready.
    pub(super) prepared_since: Option<Timestamp>,
    /// Hosts that could not be probed, and when.
    pub(super) unreachable: HashMap<NodeAddress, Instant>,
    /// Hosts that would not be taken into the pool, why, and when.
    pub(super) declined: HashMap<NodeAddress, (Declined, Instant)>,
    /// Servers whose handshake has not come to its end, and since when.
    halfway: HashMap<String, Instant>,
    /// Since when servers of new bricks have not known each other.
    apart_since: Option<Instant>,
    /// Since when there has been another transaction at each attempt.
    busy_since: Option<Instant>,
    /// What was said of a change that did not come to its end.
    unfinished: Option<String>,
    /// The servers of the pool when its levels were last looked at.
    pub(super) levels_of: Vec<String>,
    /// When brick processes were last started again.
    pub(super) restarted: Option<Instant>,
}

/// What has to be looked at again: each is a run of `gluster`, and takes as long as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stale {
    #[default]
    Nothing,
    /// Servers were probed.
    Peers,
    /// The volume was changed.
    Volume,
}

impl Seen {
    /// How long it is until the pool may be looked at again.
    pub(super) fn look_due(&self) -> Duration {
        self.at.map_or(Duration::ZERO, |at| LOOK_PAUSE.saturating_sub(at.elapsed()))
    }

    /// What is known of a host's GlusterFS.
    pub(super) fn reach(&self, address: NodeAddress) -> Reach {
        if let Some((why, at)) = self.declined.get(&address) {
            Reach::Declined { why: *why, ask_again: at.elapsed() >= ASKED_AGAIN }
        } else if self.unreachable.contains_key(&address) {
            Reach::Unreachable
        } else if self.halfway.get(&address.to_string()).is_some_and(|since| since.elapsed() >= LONG) {
            Reach::Halfway
        } else {
            Reach::Assumed
        }
    }

    /// What a probe of a host came to.
    pub(super) fn probed(&mut self, address: NodeAddress, outcome: Result<(), Option<Declined>>) {
        self.declined.remove(&address);
        match outcome {
            Ok(()) => {}
            Err(Some(why)) => {
                self.declined.insert(address, (why, Instant::now()));
            }
            Err(None) => {
                self.unreachable.insert(address, Instant::now());
            }
        }
    }

    /// Takes note of the servers as they were just seen.
    pub(super) fn note_servers(&mut self, view: &PoolView) {
        let halfway = view.peers.iter().filter(|peer| peer.halfway());
        let since = |name: &String| self.halfway.get(name).copied().unwrap_or_else(Instant::now);
        self.halfway = halfway.map(|peer| (peer.hostname.clone(), since(&peer.hostname))).collect();
    }

    /// Takes note of whether the servers of new bricks know each other.
    pub(super) fn note_apart(&mut self, apart: bool) {
        self.apart_since = apart.then(|| self.apart_since.unwrap_or_else(Instant::now));
    }

    pub(super) fn apart(&self) -> Option<Apart> {
        self.apart_since.map(|since| if since.elapsed() >= LONG { Apart::ForLong } else { Apart::Now })
    }

    /// Takes note of how a round failed, if it did, and in what words that was said.
    pub(super) fn note_trouble(&mut self, error: Option<&GlusterError>, line: &str) {
        let busy = matches!(error, Some(GlusterError::Busy));
        self.busy_since = busy.then(|| self.busy_since.unwrap_or_else(Instant::now));
        match error {
            Some(GlusterError::TimedOut { .. }) => self.unfinished = Some(line.to_owned()),
            Some(GlusterError::Busy) => {}
            Some(_) | None => self.unfinished = None,
        }
    }

    /// What was said of a change that did not come to its end, where the transaction that is in progress is this one.
    pub(super) fn hung(&self, error: &GlusterError) -> Option<String> {
        self.unfinished.clone().filter(|_| matches!(error, GlusterError::Busy))
    }

    /// Whether a lock may be left over by now.
    pub(super) fn busy_for_long(&self) -> bool {
        self.busy_since.is_some_and(|since| since.elapsed() >= BUSY_FOR_LONG)
    }
}
