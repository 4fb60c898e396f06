//! Which address of a host is its primary one.
