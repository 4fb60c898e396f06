//! Settings: file, then environment, then flags; every value knows where it came from.
