//! Parses the command line, runs it, turns the outcome into an exit code; nothing else.

fn main() {}
