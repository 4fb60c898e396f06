//! The integration tests, in one binary that links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there, in its helpers too")]

mod architecture;
mod binary;
mod cluster;
mod controller;
mod controller_faults;
mod fakes;
mod gluster_contract;
mod invariants;
mod join;
mod lab;
mod listener;
mod nth_failure;
mod packaging;
mod removal;
mod sim;
mod state_upgrade;
mod state_v1;
mod state_v2;
mod store;
mod swarm_contract;
mod tls;
mod world;
