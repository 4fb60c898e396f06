//! The controller: decides who belongs to the cluster and as what, and drives the storage pool.

pub mod listener;
pub mod store;
