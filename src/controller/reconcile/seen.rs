//! What the loop remembers from one round to the next: the pool as it was last seen, what of that does not hold any
//! more, and what was tried in vain.
//!
//! None of it is kept: a controller that starts again looks at everything and tries everything.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::NodeAddress;
use crate::controller::storage_plan::PoolView;

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
}
