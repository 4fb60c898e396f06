//! `token create`.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::CreateArgs;
use crate::cli::controller_access::Access;
use crate::cli::join_address;
use crate::cli::output::{print, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::logging::escape;
use crate::protocol::registration::RawRequest;

/// `clusterctl token create`.
pub(super) async fn run(settings: &Settings, args: &CreateArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let access = Access::of(settings)?;
    let mut request = RawRequest {
        action: "token-create".to_owned(),
        hostname: args.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        uses: args.uses.unwrap_or_default(),
        expires_s: args.expires.map(|expires| expires.as_secs()).unwrap_or_default(),
        ..RawRequest::default()
    };
    args.grant.add_to(&mut request);
    // First, since a token that cannot be used is not to be made.
    let address = join_address::find(&access, settings).await?;
    let mut reply = access.ask(&request).await?;
    let line = join_address::join_line(&address, Some(&text(&reply["Token"])));
    if !output.is_structured() {
        print(&shown(&reply, &line, SystemClock.now()))?;
    }
    reply["Join"] = line.into();
    Ok(Outcome::done("created").next("clusterctl token list").body(reply))
}

/// What a person reads.
fn shown(reply: &Value, line: &str, now: Timestamp) -> String {
    let role = text(&reply["Role"]);
    let who = match text(&reply["Node"]) {
        node if node.is_empty() => String::new(),
        node => format!(" named `{}`", escape::line(&node)),
    };
    let hosts = match reply["Uses"].as_u64() {
        None | Some(0) => format!("any number of {role}s{who}"),
        Some(1) => format!("one {role}{who}"),
        Some(uses) => format!("{uses} {role}s{who}"),
    };
    let profiles = match text(&reply["Profiles"]) {
        none if none.is_empty() => String::new(),
        some => format!(" with the profiles {}", escape::line(&some)),
    };
    let expires = relative_time::cell(&reply["Expires"], now);
    let id = text(&reply["Id"]);
    let mut shown = String::new();
    // Writing to a string cannot fail.
    writeln!(shown, "{}\n", text(&reply["Token"])).ok();
    writeln!(
        shown,
        "It lets in {hosts}{profiles}, and expires {expires}; `clusterctl token revoke {id}` ends it before."
    )
    .ok();
    shown.push_str("It is a secret, and is not shown again: whoever has it can join.\n\n");
    writeln!(shown, "join with it, as root on the other host:\n  {line}").ok();
    shown.push_str(
        "where others on that host may see its processes, put the token in a file and use `--token-file FILE`\n",
    );
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_767_323_045).unwrap()
    }

    fn reply(change: Value) -> Value {
        let mut reply = json!({
            "Status": "ready", "Token": "CCTL1-x-k3x5q7ab-y", "Id": "k3x5q7ab", "Role": "worker", "Profiles": [],
            "Node": null, "Uses": 0, "Expires": (now() + jiff::SignedDuration::from_hours(24)).to_string(),
        });
        reply.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        reply
    }

    #[test]
    fn shows_the_token_and_the_line_that_uses_it() {
        let line = "clusterctl node join --master 10.0.0.1:7000 --token CCTL1-x-k3x5q7ab-y";
        insta::assert_snapshot!(shown(&reply(json!({})), line, now()), @r"
        CCTL1-x-k3x5q7ab-y

        It lets in any number of workers, and expires in 24 h; `clusterctl token revoke k3x5q7ab` ends it before.
        It is a secret, and is not shown again: whoever has it can join.

        join with it, as root on the other host:
          clusterctl node join --master 10.0.0.1:7000 --token CCTL1-x-k3x5q7ab-y
        where others on that host may see its processes, put the token in a file and use `--token-file FILE`
        ");
    }

    #[test]
    fn says_whom_it_lets_in() {
        for (change, words) in [
            (json!({"Role": "manager", "Uses": 1}), "lets in one manager, and"),
            (json!({"Uses": 3, "Profiles": ["core", "dns"]}), "lets in 3 workers with the profiles core, dns, and"),
            (json!({"Uses": 1, "Node": "h3"}), "lets in one worker named `h3`, and"),
            (json!({"Node": "h\u{1b}[31m"}), "named `h\\e[31m`"),
        ] {
            let shown = shown(&reply(change), "line", now());
            assert!(shown.contains(words), "{shown}");
        }
    }
}
