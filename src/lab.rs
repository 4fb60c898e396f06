//! Several real hosts on one machine, to try a cluster and to test one.
