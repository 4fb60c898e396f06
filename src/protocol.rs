//! The conversation between node and controller: one JSON value in, one JSON value out.

pub mod exchange;
pub mod registration;
pub mod reply;
