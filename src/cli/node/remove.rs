//! `node remove` and `node replace`.

use jiff::Timestamp;
use serde_json::Value;

use super::{RemoveArgs, about};
use crate::cli::controller_access::Access;
use crate::cli::output::{print, text};
use crate::cli::progress::Progress;
use crate::cli::relative_time;
use crate::cli::{Failure, Outcome, OutputFormat, confirm};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Hostname;
use crate::config::Settings;
use crate::logging::escape;
use crate::protocol::registration::{MAX_WAIT_MS, NodeName, RawRequest};

/// `clusterctl node remove`.
pub(super) async fn remove(settings: &Settings, args: &RemoveArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let access = Access::of(settings)?;
    if args.force && !args.yes {
        confirm(&cost(&args.node), &args.node.to_string()).await?;
    }
    // The Swarm takes its time: tasks end, managers agree.
    let request = RawRequest { force: args.force, wait_ms: MAX_WAIT_MS, ..about("remove", &args.node) };
    let step = Progress::new(&settings.common.log).step(format!("taking {} out of the cluster", args.node));
    let reply = access.ask(&request).await?;
    step.done();
    if !output.is_structured() {
        print(&shown(&args.node, &reply))?;
    }
    Ok(Outcome::done("removed").next("clusterctl node list").body(reply))
}

/// What `--force` costs, in full sentences: somebody has to decide about it.
fn cost(node: &NodeName) -> String {
    format!(
        "This takes `{node}` out of the Swarm also where its tasks do not end or its demotion is not done in time.\n\
         If it still runs, its containers run on, out of the Swarm's sight and beside those that the Swarm starts\n\
         elsewhere, until `docker swarm leave --force` on that host: two that write the same files can damage them.\n\
         If Docker on the master does not answer, the Swarm stays as it is, with the host in it, and with join tokens\n\
         that the host knows, until you run `docker node rm` and `docker swarm join-token --rotate` there.\n\
         What only that host held is out of reach. Bricks and the managers' quorum are protected all the same."
    )
}

fn shown(node: &NodeName, reply: &Value) -> String {
    let done = reply["Done"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = done.iter().map(|line| format!("done: {}", escape::line(&text(line)))).collect();
    lines.push(format!("`{node}` no longer belongs to the cluster; nothing lets it in again but a new token"));
    format!("{}\n", lines.join("\n"))
}

/// `clusterctl node replace`.
pub(super) async fn replace(
    settings: &Settings,
    hostname: &Hostname,
    output: OutputFormat,
) -> Result<Outcome, Failure> {
    let request = RawRequest { action: "replace".to_owned(), hostname: hostname.to_string(), ..RawRequest::default() };
    let reply = Access::of(settings)?.ask(&request).await?;
    if !output.is_structured() {
        print(&replaceable(hostname, &reply, SystemClock.now()))?;
    }
    Ok(Outcome::done("replaceable").next("clusterctl node join").body(reply))
}

fn replaceable(hostname: &Hostname, reply: &Value, now: Timestamp) -> String {
    let until = match relative_time::cell(&reply["Until"], now) {
        none if none.is_empty() => String::new(),
        until => format!("\nthat ends {}", escape::line(&until)),
    };
    let finding = match text(&reply["Finding"]) {
        none if none.is_empty() => String::new(),
        finding => format!("\nattention: {}", escape::line(&finding)),
    };
    format!(
        "the next host that is let in under the name `{hostname}` takes the place of the one that has it now{until}\n\
         join it with a token (`clusterctl token create --node {hostname} --uses 1`), or approve its request{finding}\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::node_name;
    use super::*;

    #[test]
    fn says_what_was_done() {
        let node = node_name("h3").unwrap();
        let reply = json!({"Status": "ready", "NodeId": "x", "Hostname": "h3", "Done": ["drained it: its tasks start on other hosts before it goes"]});
        insta::assert_snapshot!(shown(&node, &reply), @r"
        done: drained it: its tasks start on other hosts before it goes
        `h3` no longer belongs to the cluster; nothing lets it in again but a new token
        ");
        assert_eq!(shown(&node, &json!({})).lines().count(), 1);
    }

    #[test]
    fn says_until_when_a_name_is_free_and_what_to_look_after() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let hostname = Hostname::parse("h3").unwrap();
        let until = (now + jiff::SignedDuration::from_hours(24)).to_string();
        let reply = json!({
            "Status": "ready", "NodeId": "abcdefghijklmnopqrstuvwxyz", "Hostname": "h3", "Until": until,
            "Finding": "the volume has a brick at 10.0.0.3",
        });
        insta::assert_snapshot!(replaceable(&hostname, &reply, now), @r"
        the next host that is let in under the name `h3` takes the place of the one that has it now
        that ends in 24 h
        join it with a token (`clusterctl token create --node h3 --uses 1`), or approve its request
        attention: the volume has a brick at 10.0.0.3
        ");
        let plain = replaceable(&hostname, &json!({"Status": "ready", "Until": null, "Finding": null}), now);
        assert_eq!(plain.lines().count(), 2, "{plain}");
    }

    #[test]
    fn says_what_force_costs() {
        let cost = cost(&node_name("h3").unwrap());
        assert!(
            cost.contains("`h3`") && cost.contains("docker swarm leave --force") && cost.contains("Bricks"),
            "{cost}"
        );
    }
}
