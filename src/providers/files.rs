//! Files that are written only if they differ, atomically, with their mode.
