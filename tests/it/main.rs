//! The integration tests, in one binary that links once.

mod architecture;
mod binary;
mod fakes;
mod gluster_contract;
mod lab;
mod listener;
mod packaging;
mod store;
mod swarm_contract;
