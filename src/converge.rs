//! From what a host is to what it should be.
//!
//! [`desired`] comes out of the controller's reply, [`observed`] out of [`observe`]; [`plan`] compares the two and
//! says which [`step`]s are missing, what is waited for and what is refused; [`apply`] carries steps out. Then the
//! host is observed again: success is an empty plan, not the absence of an error.

pub mod apply;
pub mod desired;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod step;
