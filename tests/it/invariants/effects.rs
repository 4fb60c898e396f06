//! I7: who is as he should be is left alone.

/// How much was changed until now: calls to Docker that change something, commands to GlusterFS that do, changes of
/// hosts' own files and mounts, and the controller's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) hosts: usize,
    pub(crate) gluster: usize,
    pub(crate) records: u64,
}

impl Effects {
    /// # Panics
    /// Something was changed since `before`.
    pub(crate) fn same_as(self, before: Self) {
        assert_eq!(self, before, "I7: a second converge changes nothing");
    }
}
