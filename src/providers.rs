//! The hands: one module for each foreign system, each with a small trait that says what is asked of it. The real
//! implementation and the fake of the tests pass the same contract suite.

pub mod brick_records;
pub mod command;
pub mod files;
pub mod gluster;
pub mod mounts;
pub mod overlay;
pub mod persistence;
pub mod swarm;
pub mod systemd;
