//! clusterctl turns Linux hosts into one cluster: Docker Swarm for scheduling, GlusterFS for shared storage, an
//! overlay network between hosts that cannot reach each other directly.
//!
//! The command line says *master* where this code says *controller*.
//!
//! # How it works
//! A node registers with the controller over one TCP connection: one JSON request, one JSON reply. The controller
//! decides (may it come in, as what, is the cluster large enough yet, does it hold a brick), records the decision on
//! disk and answers with instructions. The node turns the reply into a desired state, observes its host, plans the
//! steps from one to the other, applies them and observes again. Nothing left to do is what success means.
//!
//! 1. **Decide in one place, act in another.** Deciding code takes values and returns values.
//! 2. **A plan is a value**: printable, comparable, testable.
//! 3. **Observe again after acting.**
//! 4. **State changes are commands**, journaled before they count.
//! 5. **The node dials out**; nothing ever connects to it.
//!
//! # Who may use whom
//! Imports point down this list and never up; `tests/it/architecture.rs` holds the code to it.
//!
//! | layer | modules |
//! |---|---|
//! | shell | `cli`, `main` |
//! | loops | `controller`, `nodeagent`, `converge::{observe, apply}`, `lab` |
//! | hands | `providers`, `providers::swarm::{docker, large_packets}`, `providers::gluster::{cli, peers_directory}`, `controller::store`, `protocol::exchange`, `config::sources`, `ipdetect::interfaces`, `logging`, `clock`, `failpoint`, `pki` |
//! | decisions | `controller::{admission, adopt, backup, certificates, clones, gate, ghosts, assignment, limits, rate, storage_plan, reply, state, tokens}`, `controller::removal::plan`, `converge::plan`, `nodeagent::{directive, backoff, history}`, `ipdetect`, `config`, `pki::{chain, presented, certificate}` |
//! | words | `causes`, `cluster`, `protocol::{registration, reply}`, `converge::{desired, observed, step}`, `controller::command`, `providers::{swarm, gluster}`, `pki::{lifetime, names, provider}` |
//!
//! `controller` and `nodeagent` never import each other; they meet in `protocol` and `cluster`. One foreign crate
//! with a large surface has one file: bollard `providers/swarm/docker.rs`, redb `controller/store/redb.rs`.

pub mod causes;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod converge;
pub mod failpoint;
pub mod ipdetect;
pub mod lab;
pub mod logging;
pub mod nodeagent;
pub mod pki;
pub mod protocol;
pub mod providers;
