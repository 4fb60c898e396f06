//! Fakes with state behind the same traits as the real things.

pub(crate) mod authority;
pub(crate) mod gluster;
pub(crate) mod host;
pub(crate) mod swarm;
