//! The controller: decides who belongs to the cluster and as what, and drives the storage pool.
//!
//! A request comes in through [`listener`], is answered by [`front_door`], which asks the deciding modules
//! ([`admission`], [`tokens`], [`limits`], [`gate`], [`assignment`], [`reply`]) and commits [`command`]s to the
//! [`store`], where [`state`] applies them; certificates come from a [`certificates::CertificateIssuer`]. Beside it
//! [`reconcile`] carries out [`storage_plan`], and [`removal`] takes a node out of the Swarm. [`serve`] and [`init`] put
//! it all together. What is lost comes back by [`restore`] out of a [`backup`], or by [`adopt`] out of the Swarm.

pub mod admission;
pub mod adopt;
pub mod assignment;
pub mod backup;
pub mod certificates;
pub mod clones;
pub mod command;
pub mod front_door;
pub mod gate;
pub mod ghosts;
pub mod init;
mod issuer;
pub mod limits;
pub mod listener;
pub mod overview;
pub mod rate;
pub mod reconcile;
pub mod removal;
pub mod reply;
pub mod restore;
pub mod serve;
pub mod state;
pub mod storage_plan;
pub mod store;
pub mod swarm_view;
pub mod tokens;
