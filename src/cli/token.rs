//! `clusterctl token`: what lets hosts in. Types and help, and one function for each command.

mod create;
mod list;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::controller_access::Access;
use super::flags::{AccessArgs, GrantArgs};
use super::output::print_line;
use super::{Failure, Outcome, OutputFormat};
use crate::cluster::{Hostname, ShortId};
use crate::config::Settings;
use crate::config::layer::Flags;
use crate::protocol::registration::RawRequest;

pub(super) const ABOUT: &str = "Make and revoke the tokens that let hosts join";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl token create      a token for workers, and the line that uses it
  clusterctl token list        which there are, and how often they were used
  clusterctl token revoke ID   let nobody in with it any more";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    #[command(about = "Make a token and print the line that joins with it", long_about = CREATE_LONG, after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    #[command(about = "List the tokens", long_about = LIST_LONG, after_help = LIST_EXAMPLES)]
    List(ListArgs),
    #[command(about = "Revoke a token", long_about = REVOKE_LONG, after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
}

const CREATE_LONG: &str = "\
Makes an admission token and prints it, once: the controller keeps only a digest. A host that joins with it is \
admitted at once, as what the token grants, and speaks to this cluster's controller alone. Without `--role` it is for \
workers, for any number of hosts, for 24 hours. A token for managers admits one host within 15 minutes unless said \
otherwise, since a manager is root on the whole cluster.";
const CREATE_EXAMPLES: &str = "\
Examples:
  clusterctl token create
  clusterctl token create --role manager
  clusterctl token create --node h3 --uses 1 --expires 2h
  clusterctl token create --profile core --profile dns --expires 7d
  clusterctl token create --output json | jq -r .Token";
const LIST_LONG: &str = "\
Lists the admission tokens by their ids, with what they grant and whether they still do. A token's secret is never \
shown again.";
const LIST_EXAMPLES: &str = "\
Examples:
  clusterctl token list
  clusterctl token list --output json";
const REVOKE_LONG: &str = "\
Revokes a token: nobody is admitted with it from now on. Hosts that joined with it stay; `clusterctl node remove` takes \
those out.";
const REVOKE_EXAMPLES: &str = "\
Examples:
  clusterctl token revoke k3x5q7ab";

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    grant: GrantArgs,
    /// Only the host of this name may use it
    #[arg(long, value_name = "NAME", value_parser = Hostname::parse)]
    node: Option<Hostname>,
    /// How many hosts it admits [default: workers any number, managers 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// For how long it is valid, such as 30m, 24h or 7d [default: workers 24h, managers 15m]
    #[arg(long, value_name = "DURATION", value_parser = validity)]
    expires: Option<Duration>,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The token's id, as `clusterctl token list` shows it
    #[arg(value_parser = ShortId::parse)]
    id: ShortId,
    #[command(flatten)]
    access: AccessArgs,
}

/// The longest validity that is not a slip of the pen.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A span of time with its unit; days too, which have no fixed length for calendars and do here.
fn validity(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|number| number.trim().parse::<u64>().ok());
    let parsed = match days {
        Some(days) => Some(Duration::from_secs(days.saturating_mul(24 * 3600))),
        None => text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok()),
    };
    match parsed {
        Some(duration) if (Duration::from_secs(1)..=LONGEST).contains(&duration) => Ok(duration),
        Some(_) => Err("is from 1s to 3650d".to_owned()),
        None => Err("is a duration with its unit, such as `30m`, `24h` or `7d`".to_owned()),
    }
}

impl TokenCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Create(CreateArgs { access, .. })
            | Self::List(ListArgs { access })
            | Self::Revoke(RevokeArgs { access, .. }) => access.collect(flags),
        }
    }

    pub(super) async fn run(self, settings: Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Create(args) => create::run(&settings, &args, output).await,
            Self::List(_) => list::run(&settings, output).await,
            Self::Revoke(args) => revoke(&settings, &args.id, output).await,
        }
    }
}

/// `clusterctl token revoke`.
async fn revoke(settings: &Settings, id: &ShortId, output: OutputFormat) -> Result<Outcome, Failure> {
    let request = RawRequest { action: "token-revoke".to_owned(), id: id.to_string(), ..RawRequest::default() };
    let reply = Access::of(settings)?.ask(&request).await?;
    if !output.is_structured() {
        print_line(&format!("the token `{id}` lets nobody in any more; hosts that joined with it stay"))?;
    }
    Ok(Outcome::done("revoked").next("clusterctl token list").body(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        for (text, seconds) in [("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("1h 30m", 5_400), ("1s", 1)] {
            assert_eq!(validity(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "0s", "-1h", "4000d", "99999999999999999999d", "soon", "18446744073709551615d"] {
            assert!(validity(text).is_err(), "{text}");
        }
    }
}
