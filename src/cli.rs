//! The command line: types and help in one file per command group, and the way from arguments to an exit code.
//!
//! Everything that speaks to the operator lives here: `failure` has exit codes and hints, `output` tables and JSON,
//! `progress` what is shown meanwhile. What a command does is decided elsewhere. The surprising part: no flag that
//! sets a setting is parsed by clap beyond its text, so that flag, variable and file are judged by one rule.

mod admin_file;
mod confirm;
mod controller_access;
mod entry;
pub mod explain;
pub mod failure;
mod flags;
mod host;
mod join_address;
pub mod lab;
mod master;
mod node;
pub mod output;
pub mod progress;
mod relative_time;
mod request;
mod settings;
pub mod signals;
mod this_host;
mod token;
mod tooling;

use clap::{Parser, Subcommand};

pub use confirm::confirm;
pub use entry::run;
pub use failure::{Exit, Failure, Outcome};
pub use output::{OutputFormat, Table};

/// The program's name, as users type it.
pub const PROGRAM: &str = "clusterctl";

const ABOUT: &str = "Docker Swarm and shared storage on your own Linux hosts, one command per host";

const LONG_ABOUT: &str = "\
Turns Linux hosts into one cluster: Docker Swarm runs your services, GlusterFS keeps their files on every host, and \
an overlay network can connect hosts that do not reach each other. Made for home labs and small companies: one \
binary, one command on each host, no service to install first besides Docker (and GlusterFS for shared storage).";

const EXAMPLES: &str = "\
Examples:
  On the first host:
    clusterctl master init --enable-glusterfs
    clusterctl master serve
    clusterctl token create
  On every other host, with the first one's address and that token:
    clusterctl node join --master 192.168.1.10 --token-file token
  Later, on the first host:
    clusterctl master status

Exit codes:
  0 done              10 try again later         15 the Swarm is locked
  1 differs           11 not admitted            16 quorum lost
  2 usage             12 invalid input           17 storage unsafe
  70 a bug            13 in another Swarm        18 versions do not match
  130, 143 stopped    14 in another storage pool 19 a program is missing
For scripts, the last line on stderr says the same:
  result=... reason=... next=...";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    bin_name = PROGRAM,
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = EXAMPLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    propagate_version = false
)]
pub struct Cli {
    #[command(flatten)]
    global: flags::GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand, about = master::ABOUT, after_help = master::EXAMPLES)]
    Master(master::MasterCommand),
    #[command(subcommand, about = node::ABOUT, after_help = node::EXAMPLES)]
    Node(node::NodeCommand),
    #[command(subcommand, about = token::ABOUT, after_help = token::EXAMPLES)]
    Token(token::TokenCommand),
    #[command(subcommand, about = request::ABOUT, after_help = request::EXAMPLES)]
    Request(request::RequestCommand),
    #[command(about = host::IP_ABOUT, long_about = host::IP_LONG, after_help = host::IP_EXAMPLES)]
    Ip(host::IpArgs),
    #[command(subcommand, about = settings::ABOUT, after_help = settings::EXAMPLES)]
    Config(settings::ConfigCommand),
    /// Run several real hosts on this one machine, to try a cluster out
    Lab(lab::LabArgs),
    #[command(about = tooling::COMPLETIONS_ABOUT, after_help = tooling::COMPLETIONS_EXAMPLES)]
    Completions(tooling::CompletionsArgs),
    /// Print the version of this program and of the protocol that it speaks
    Version,
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(tooling::ManArgs),
    /// Prove that a mount can be read and written
    #[command(hide = true)]
    ProbeMount(host::ProbeMountArgs),
}

#[cfg(test)]
mod tests;
