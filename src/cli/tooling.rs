//! What the command line can write about itself: completions, manual pages, its version.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::output::{print, print_line};
use super::{Cli, Exit, Failure, Outcome, OutputFormat, PROGRAM};
use crate::protocol::registration::PROTOCOL;

pub(super) const COMPLETIONS_ABOUT: &str = "Print the completions for a shell";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  clusterctl completions bash > /etc/bash_completion.d/clusterctl
  clusterctl completions zsh > /usr/local/share/zsh/site-functions/_clusterctl
  clusterctl completions fish > ~/.config/fish/completions/clusterctl.fish";

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory, which must exist
    directory: PathBuf,
}

/// `clusterctl completions`.
pub(super) fn completions(args: &CompletionsArgs) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), PROGRAM, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::printed())
}

/// `clusterctl man`.
pub(super) fn man(args: &ManArgs) -> Result<Outcome, Failure> {
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot write to `{}`", args.directory.display()));
        Failure::new(Exit::InvalidInput, error)
    })?;
    Ok(Outcome::printed())
}

/// `clusterctl version`.
pub(super) fn version(output: OutputFormat) -> Result<Outcome, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if output.is_structured() {
        return Ok(Outcome::printed().body(json!({ "version": version, "protocol": PROTOCOL })));
    }
    print_line(&format!("{PROGRAM} {version} (protocol {PROTOCOL})"))?;
    Ok(Outcome::printed())
}
