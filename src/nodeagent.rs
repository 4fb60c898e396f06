//! The node's side: who am I, what does the controller want, make it so.
//!
//! [`join`] is the whole conversation: register, wait while told to, turn the reply into a desired state
//! ([`directive`]), converge, report.

pub mod backoff;
pub mod client;
pub mod conversation;
pub mod directive;
pub mod facts;
pub mod history;
pub mod identity;
pub mod join;
pub mod keyring;
pub mod leave;
pub mod membership;
