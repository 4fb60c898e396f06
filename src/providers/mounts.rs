//! Mounts: what the kernel says, what a timed probe says, and what lies where a brick shall be.
//!
//! "Mounted" is a file system of type `fuse.glusterfs` whose source is the right volume, *and* a probe that could write,
//! read back and remove a file in time: after its client process died, a mount stays in the kernel's list and every
//! use of it fails. A mount can also hang for ever, in a way that not even SIGKILL ends, so nothing here touches one
//! except [`probe_here`], which runs in a child process that can be given up.

mod brick;
pub mod fstab;
mod mounter;
mod probe;
mod table;

pub use brick::{
    BrickDisk, BrickError, BrickFacts, LocalDisk, clear_brick_mark, inspect_brick, make_dirs, prepare_brick,
};
pub use mounter::{GlusterMount, MountError, Mounter, SystemMounter};
pub use probe::{ProbeResult, probe_here};
pub use table::{MountEntry, MountTable, is_ours};
