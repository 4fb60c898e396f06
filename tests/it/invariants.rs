//! What holds whatever fails: the invariants I1 to I13 of `tests/faults.md`, each in one place.
//!
//! The checkers take what was seen and know nothing of where it was seen: on fake hosts ([`fake`]), in the simulation,
//! or on lab hosts (`cluster::invariants`). Every test of a fault ends with them. The surprise: I1 and I10 speak of what
//! was *answered*, so that they need the history of answers, not only the state that is left.

pub(crate) mod acts;
pub(crate) mod effects;
pub(crate) mod endings;
pub(crate) mod fake;
pub(crate) mod history;
pub(crate) mod records;
pub(crate) mod resources;
pub(crate) mod secrets;
pub(crate) mod storage;
pub(crate) mod swarm;
