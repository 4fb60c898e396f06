//! Mounts: what the kernel says, and what a timed probe says.
