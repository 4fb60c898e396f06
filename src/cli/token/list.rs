//! `token list`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::controller_access::Access;
use crate::cli::output::{Table, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;

/// `clusterctl token list`.
pub(super) async fn run(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let tokens = Access::of(settings)?.list("tokens", "Tokens").await?;
    if !output.is_structured() {
        table(&tokens, SystemClock.now()).print()?;
    }
    Ok(Outcome::printed().body(json!({ "Tokens": tokens })))
}

fn table(tokens: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(["id", "role", "profiles", "node", "used", "status", "created", "expires"]);
    for token in tokens {
        let of = match token["Uses"].as_u64() {
            None | Some(0) => "any".to_owned(),
            Some(uses) => uses.to_string(),
        };
        table.row([
            text(&token["Id"]),
            text(&token["Role"]),
            text(&token["Profiles"]),
            text(&token["Node"]),
            format!("{} of {of}", token["Used"].as_u64().unwrap_or_default()),
            text(&token["Status"]),
            relative_time::cell(&token["Created"], now),
            relative_time::cell(&token["Expires"], now),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_tokens_grant_and_whether_they_do() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let at = |seconds: i64| (now + jiff::SignedDuration::from_secs(seconds)).to_string();
        let tokens = [
            json!({"Id": "k3x5q7ab", "Role": "worker", "Profiles": [], "Node": null, "Uses": 0, "Used": 2,
                "Created": at(-120), "Expires": at(23 * 3600 + 5), "Status": "valid"}),
            json!({"Id": "aaaaaaaa", "Role": "manager", "Profiles": ["core", "dns"], "Node": "h3", "Uses": 1, "Used": 1,
                "Created": at(-7200), "Expires": at(-6300), "Status": "used-up"}),
            // A controller of another version.
            json!({"Id": "bbbbbbbb"}),
        ];
        insta::assert_snapshot!(table(&tokens, now).to_string(), @r"
        ID        ROLE     PROFILES   NODE  USED      STATUS   CREATED    EXPIRES
        k3x5q7ab  worker   -          -     2 of any  valid    2 min ago  in 23 h
        aaaaaaaa  manager  core, dns  h3    1 of 1    used-up  2 h ago    1 h ago
        bbbbbbbb  -        -          -     0 of any  -        -          -
        ");
    }
}
