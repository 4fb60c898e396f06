//! `request list`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::controller_access::Access;
use crate::cli::output::{Table, text};
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;

/// `clusterctl request list`.
pub(super) async fn run(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let requests = Access::of(settings)?.list("requests", "Requests").await?;
    if !output.is_structured() {
        table(&requests, SystemClock.now()).print()?;
    }
    Ok(Outcome::printed().body(json!({ "Requests": requests })))
}

fn table(requests: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(["request id", "hostname", "ips", "key", "status", "requested", "role", "source"]);
    for request in requests {
        table.row([
            text(&request["Id"]),
            text(&request["Hostname"]),
            text(&request["Address"]),
            text(&request["Key"]),
            text(&request["Status"]),
            relative_time::cell(&request["Requested"], now),
            text(&request["Role"]),
            text(&request["Source"]),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_who_asks_and_with_which_key() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let requested = (now - jiff::SignedDuration::from_secs(150)).to_string();
        let requests = [
            json!({"Id": "k3x5q7ab", "Hostname": "h3", "Address": "10.0.0.3", "Key": "7abc", "Role": "manager", "Source": "192.0.2.7",
                "Status": "pending", "Requested": requested}),
            json!({"Id": "aaaaaaaa", "Hostname": "evil\n\u{1b}[31m", "Address": ["10.0.0.4", "fd00::4"], "Key": "",
                "Status": "rejected", "Requested": "long ago", "Reason": "not ours"}),
        ];
        insta::assert_snapshot!(table(&requests, now).to_string(), @r"
        REQUEST ID  HOSTNAME      IPS                KEY   STATUS    REQUESTED  ROLE     SOURCE
        k3x5q7ab    h3            10.0.0.3           7abc  pending   2 min ago  manager  192.0.2.7
        aaaaaaaa    evil\n\e[31m  10.0.0.4, fd00::4  -     rejected  long ago   -        -
        ");
    }
}
