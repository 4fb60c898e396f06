//! Parses the command line, runs it, turns the outcome into an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    clusterctl::cli::run(std::env::args_os())
}
