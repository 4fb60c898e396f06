//! `clusterctl master cert`: the cluster's CA and the controller's certificate. Types and help, and one function for
//! each command.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::controller_access::Access;
use crate::cli::flags::AccessArgs;
use crate::cli::output::{Table, print, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat, confirm};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::config::layer::Flags;
use crate::logging::escape;
use crate::protocol::registration::RawRequest;

pub(super) const ABOUT: &str = "Show the cluster's certificates, or make a new CA";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl master cert show
  clusterctl master cert rotate";

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CertCommand {
    #[command(about = "Show the cluster's CAs and when they end", long_about = SHOW_LONG, after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    #[command(about = "Put a new CA in the place of the one in use", long_about = ROTATE_LONG, after_help = ROTATE_EXAMPLES)]
    Rotate(RotateArgs),
}

const SHOW_LONG: &str = "\
Shows the certificate authority that says who belongs to the cluster, by the fingerprint of its key: the one that \
`clusterctl node join` without a token prints, and that tokens carry. While a new one takes over, both are trusted.";
const SHOW_EXAMPLES: &str = "\
Examples:
  clusterctl master cert show
  clusterctl master cert show --output json";
const ROTATE_LONG: &str = "\
Makes a new certificate authority. The old one is trusted beside it for 30 days more, in which every node gets a new \
certificate by itself; a node that is away all that time has to be let in again. Tokens carry the fingerprint of the \
CA that they were made under: those made before end with the old CA, whatever they say themselves.\n\n\
With `--now` the old one is not trusted a moment longer, for a key that somebody may have stolen: every certificate \
and every token that was made before ends at once, administrators' files too, and every node has to join again with a \
new token.";
const ROTATE_EXAMPLES: &str = "\
Examples:
  clusterctl master cert rotate          asks first
  clusterctl master cert rotate --yes    for scripts
  clusterctl master cert rotate --now    the old CA's key was stolen";

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// End the old CA at once, and all that was made under it
    #[arg(long)]
    now: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    access: AccessArgs,
}

impl CertCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Show(ShowArgs { access }) | Self::Rotate(RotateArgs { access, .. }) => access.collect(flags),
        }
    }

    pub(super) async fn run(self, settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Show(_) => show(settings, output).await,
            Self::Rotate(args) => rotate(settings, &args, output).await,
        }
    }
}

fn request(action: &str) -> RawRequest {
    RawRequest { action: action.to_owned(), ..RawRequest::default() }
}

/// `clusterctl master cert show`.
async fn show(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let reply = Access::of(settings)?.ask(&request("authorities")).await?;
    if !output.is_structured() {
        print(&shown(&reply, SystemClock.now()))?;
    }
    Ok(Outcome::printed().body(reply))
}

fn shown(reply: &Value, now: Timestamp) -> String {
    let mut table = Table::new(["ca", "state", "made", "ends", "trusted until"]);
    for authority in reply["Authorities"].as_array().into_iter().flatten() {
        table.row([
            text(&authority["Fingerprint"]),
            text(&authority["State"]),
            relative_time::cell(&authority["NotBefore"], now),
            relative_time::cell(&authority["NotAfter"], now),
            relative_time::cell(&authority["TrustedUntil"], now),
        ]);
    }
    let ends = relative_time::cell(&reply["ServerCertificate"]["NotAfter"], now);
    let server = if ends.is_empty() {
        String::new()
    } else {
        format!("\nthe controller's own certificate ends {}; it is renewed before\n", escape::line(&ends))
    };
    format!("{table}{server}")
}

/// What a rotation costs.
const COST: &str = "\
This makes a new CA. Nodes change over by themselves while both are trusted, 30 days. A node that is away all that\n\
time has to be let in again, and every token made before now ends when the old CA does.";

/// What one without an overlap costs.
const COST_NOW: &str = "\
This makes a new CA and ends the old one at once. Every certificate and every token made before now ends with it:\n\
every node has to join again with a new token, and every administrator needs a new file. Without `--now`, nodes\n\
change over by themselves within 30 days.";

/// `clusterctl master cert rotate`.
async fn rotate(settings: &Settings, args: &RotateArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let access = Access::of(settings)?;
    if !args.yes {
        confirm(if args.now { COST_NOW } else { COST }, "rotate").await?;
    }
    let reply = access.ask(&RawRequest { force: args.now, ..request("authority-rotate") }).await?;
    if !output.is_structured() {
        print(&rotated(&reply, SystemClock.now()))?;
    }
    Ok(Outcome::done("rotated").next("clusterctl token create").body(reply))
}

fn rotated(reply: &Value, now: Timestamp) -> String {
    let word = |key: &str| escape::line(&text(&reply[key]));
    let until = escape::line(&relative_time::cell(&reply["TrustedUntil"], now));
    if until.is_empty() {
        return format!(
            "the CA in use is {}\nthe old one is trusted no longer, nor is anything that was made under it\n\
             let every node join again with a new token: `clusterctl token create`\n",
            word("Active"),
        );
    }
    format!(
        "the CA in use is {}\nthe old one, {}, is trusted on; that ends {until}, and with it every token made before\n\
         make new tokens for hosts that have not joined yet: `clusterctl token create`\n",
        word("Active"),
        word("Previous"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_767_323_045).unwrap()
    }

    fn at(hours: i64) -> String {
        (now() + jiff::SignedDuration::from_hours(hours)).to_string()
    }

    #[test]
    fn shows_which_ca_is_trusted_until_when() {
        let reply = json!({
            "Authorities": [
                {"Fingerprint": "bbbb", "State": "active", "NotBefore": at(-3), "NotAfter": at(87_600), "TrustedUntil": null},
                {"Fingerprint": "aaaa", "State": "previous", "NotBefore": at(-720), "NotAfter": at(86_000), "TrustedUntil": at(165)},
            ],
            "ServerCertificate": {"NotAfter": at(8_760)},
        });
        insta::assert_snapshot!(shown(&reply, now()), @r"
        CA    STATE     MADE         ENDS          TRUSTED UNTIL
        bbbb  active    3 h ago      in 3650 days  -
        aaaa  previous  30 days ago  in 3583 days  in 6 days

        the controller's own certificate ends in 365 days; it is renewed before
        ");
    }

    #[test]
    fn says_what_a_rotation_led_to() {
        let reply = json!({"Active": "bbbb", "Previous": "aaaa", "TrustedUntil": at(168)});
        insta::assert_snapshot!(rotated(&reply, now()), @r"
        the CA in use is bbbb
        the old one, aaaa, is trusted on; that ends in 7 days, and with it every token made before
        make new tokens for hosts that have not joined yet: `clusterctl token create`
        ");
        assert!(COST.contains("every token made before") && COST.contains("30 days"));
        let reply = json!({"Status": "ready", "Active": "bbbb", "Previous": null, "TrustedUntil": null});
        insta::assert_snapshot!(rotated(&reply, now()), @r"
        the CA in use is bbbb
        the old one is trusted no longer, nor is anything that was made under it
        let every node join again with a new token: `clusterctl token create`
        ");
    }
}
