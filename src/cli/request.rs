//! `clusterctl request`: hosts that ask to be let in. Types and help, and one function for each command.

mod list;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::controller_access::Access;
use super::flags::{AccessArgs, GrantArgs};
use super::output::{print_line, text};
use super::{Failure, Outcome, OutputFormat};
use crate::cluster::ShortId;
use crate::config::Settings;
use crate::config::layer::Flags;
use crate::logging::escape;
use crate::protocol::registration::RawRequest;

pub(super) const ABOUT: &str = "Decide on hosts that ask to be let in";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl request list
  clusterctl request approve k3x5q7ab
  clusterctl request reject k3x5q7ab --reason \"not one of ours\"";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum RequestCommand {
    #[command(about = "List the requests", long_about = LIST_LONG, after_help = LIST_EXAMPLES)]
    List(ListArgs),
    #[command(about = "Let a host in", long_about = APPROVE_LONG, after_help = APPROVE_EXAMPLES)]
    Approve(ApproveArgs),
    #[command(about = "Turn a host away", long_about = REJECT_LONG, after_help = REJECT_EXAMPLES)]
    Reject(RejectArgs),
}

const LIST_LONG: &str = "\
Lists the hosts that asked to be let in without a token. KEY is the fingerprint of the host's key: compare it with the \
one that `clusterctl node join` shows on that host, since name, address and role are only what the host says of itself; SOURCE is the address that it was heard from.";
const LIST_EXAMPLES: &str = "\
Examples:
  clusterctl request list
  clusterctl request list --output yaml";
const APPROVE_LONG: &str = "\
Lets a host in: the join that waits there goes on by itself. Without `--role` it becomes a worker; for a host that \
asked to be a manager, which is root-equivalent on the cluster, `--role` has to say what it becomes.";
const APPROVE_EXAMPLES: &str = "\
Examples:
  clusterctl request approve k3x5q7ab
  clusterctl request approve k3x5q7ab --role manager
  clusterctl request approve k3x5q7ab --profile core";
const REJECT_LONG: &str = "\
Turns a host away: the join that waits there ends, and shows the reason.";
const REJECT_EXAMPLES: &str = "\
Examples:
  clusterctl request reject k3x5q7ab --reason \"not one of ours\"";

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The request's id, as `clusterctl request list` and the waiting host show it
    #[arg(value_parser = ShortId::parse)]
    id: ShortId,
    #[command(flatten)]
    grant: GrantArgs,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct RejectArgs {
    /// The request's id, as `clusterctl request list` and the waiting host show it
    #[arg(value_parser = ShortId::parse)]
    id: ShortId,
    /// Why, for whoever waits at that host
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    #[command(flatten)]
    access: AccessArgs,
}

/// The longest reason that the controller takes.
const MAX_REASON: usize = 128;

/// What the controller takes as a reason, so that a wrong one is a usage error.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if text.is_empty() || text.len() > MAX_REASON || !printable {
        return Err(format!("has 1 to {MAX_REASON} printable ASCII characters"));
    }
    Ok(text.to_owned())
}

impl RequestCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::List(ListArgs { access })
            | Self::Approve(ApproveArgs { access, .. })
            | Self::Reject(RejectArgs { access, .. }) => access.collect(flags),
        }
    }

    pub(super) async fn run(self, settings: Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::List(_) => list::run(&settings, output).await,
            Self::Approve(args) => {
                let mut request = decision("request-approve", &args.id);
                args.grant.add_to(&mut request);
                let reply = Access::of(&settings)?.ask(&request).await?;
                let role = match text(&reply["Request"]["Granted"]) {
                    none if none.is_empty() => "it".to_owned(),
                    role => format!("as a {role} it"),
                };
                let line = format!("{} is let in; {role} goes on by itself", whose(&reply, &args.id));
                said(&line, "approved", reply, output)
            }
            Self::Reject(args) => {
                let request = RawRequest { reason: args.reason.clone(), ..decision("request-reject", &args.id) };
                let reply = Access::of(&settings)?.ask(&request).await?;
                let line = format!("{} is turned away; its join ends with that reason", whose(&reply, &args.id));
                said(&line, "rejected", reply, output)
            }
        }
    }
}

fn decision(action: &str, id: &ShortId) -> RawRequest {
    RawRequest { action: action.to_owned(), id: id.to_string(), ..RawRequest::default() }
}

/// The host that a decision was about, by its name where the controller says it.
fn whose(reply: &Value, id: &ShortId) -> String {
    match text(&reply["Request"]["Hostname"]) {
        none if none.is_empty() => format!("the host of the request `{id}`"),
        hostname => format!("`{}`", escape::line(&hostname)),
    }
}

fn said(line: &str, reason: &'static str, reply: Value, output: OutputFormat) -> Result<Outcome, Failure> {
    if !output.is_structured() {
        print_line(line)?;
    }
    Ok(Outcome::done(reason).next("clusterctl node list").body(reply))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_what_the_controller_takes() {
        assert_eq!(reason(" not ours ").as_deref(), Ok("not ours"));
        for text in ["", "  ", "a\nb", "ü", &"x".repeat(129)] {
            assert!(reason(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_the_host_where_it_is_known() {
        let id = ShortId::parse("k3x5q7ab").unwrap();
        assert_eq!(whose(&json!({"Request": {"Hostname": "h3"}}), &id), "`h3`");
        // It has come in by now.
        assert_eq!(whose(&json!({"Request": null}), &id), "the host of the request `k3x5q7ab`");
    }
}
