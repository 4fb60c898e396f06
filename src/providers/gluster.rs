//! GlusterFS through its command line.
