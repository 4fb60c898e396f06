//! Fakes with state behind the same traits as the real things.

pub(crate) mod gluster;
pub(crate) mod swarm;
