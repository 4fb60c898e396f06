//! The command line: types and help in one file per command group.
