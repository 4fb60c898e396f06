//! `node join`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::link::{Given, link};
use crate::cli::output::print;
use crate::cli::progress::Progress;
use crate::cli::{Exit, Failure, Outcome, OutputFormat, explain, this_host};
use crate::clock::SystemClock;
use crate::cluster::OverlayConfig;
use crate::config::{MasterAddress, MasterHost, Settings};
use crate::converge::plan::{Finding, Plan};
use crate::ipdetect::interfaces;
use crate::nodeagent::conversation::kernel_chance;
use crate::nodeagent::facts::{self, gluster_ability};
use crate::nodeagent::join::{Join, Joined};
use crate::nodeagent::membership::{self, Membership, Turn};
use crate::protocol::reply::Reply;

/// `clusterctl node join`.
pub(super) async fn run(
    settings: &Settings,
    given: Option<Given>,
    dry_run: bool,
    output: OutputFormat,
) -> Result<Outcome, Failure> {
    if let Some(Given { token, .. }) = &given {
        tracing::info!(token = %token.id, "joining with a token");
    }
    let directory = this_host::node_dir(settings);
    let _turn = take_turn(&directory)?;
    let master = super::master(settings, &directory)?;
    let hands = this_host::hands(settings);
    let progress = Progress::new(&settings.common.log);
    let identity = this_host::identity(settings)?;
    let hostname = this_host::hostname(settings)?;
    let member = membership::load(&directory).unwrap_or_default();
    let address = this_host::address_towards(settings.node.ip, "--ip", &preferred(&master, member.as_ref()))?;
    let engine = if member.is_some() { Some(this_host::inspect(hands.engine.as_ref(), progress).await?) } else { None };
    let docker_version = match &engine {
        Some(engine) => engine.version.clone(),
        None => this_host::docker_version(hands.engine.as_ref(), progress).await?,
    };
    let opted_out = settings.gluster.enabled == Some(false);
    let join = Join {
        link: Arc::new(link(settings, master, &directory, &identity, given.as_ref())?),
        identity,
        hostname,
        address,
        role: settings.node.role,
        token: given.map(|given| given.token),
        overlay: own_overlay(settings),
        facts: facts::gather(&docker_version, gluster_ability(), opted_out),
        running: facts::running_system(),
        recorded: member.as_ref().map(|member| member.swarm_node_id.clone()).filter(|id| !id.is_empty()),
        engine,
        hands,
        heard: member.and_then(|member| member.heard()),
        timeout: settings.node.timeout,
        clock: Arc::new(SystemClock),
        chance: kernel_chance(),
    };
    let step = progress.step(format!("joining the cluster of {}", join.link.master));
    if dry_run {
        let (reply, plan) = join.dry_run().await.map_err(explain::join)?;
        return show_plan(&reply, &plan, output);
    }
    let joined = join.run().await.map_err(explain::join)?;
    step.done();
    remember(&directory, &join, &joined)?;
    show(&join, &joined, output)
}

/// The address that this host is registered with, then the one that the master sees it at, where that is known without
/// asking anybody.
fn preferred(master: &MasterAddress, member: Option<&Membership>) -> Vec<Ipv4Addr> {
    let registered = member.and_then(|member| member.address.parse().ok());
    let source = match master.host {
        MasterHost::Ip(address) => interfaces::source_towards(address),
        MasterHost::Name(_) => None,
    };
    registered.into_iter().chain(source).collect()
}

/// This host's own overlay settings, where it has any: they go before the master's.
fn own_overlay(settings: &Settings) -> Option<OverlayConfig> {
    let config = OverlayConfig { kind: settings.overlay.provider, payload: settings.overlay.config.clone() };
    (config != OverlayConfig::default()).then_some(config)
}

/// Only one join at a time on one host.
pub(super) fn take_turn(directory: &Path) -> Result<Turn, Failure> {
    let turn = membership::take_turn(directory).map_err(|error| {
        Failure::new(
            Exit::StorageUnsafe,
            anyhow::Error::new(error).context(format!("cannot write in `{}`", directory.display())),
        )
        .reason("state-io")
        .hint("run as root; `--state-dir` names another place")
    })?;
    turn.ok_or_else(|| {
        Failure::message(Exit::Waiting, "another clusterctl is at work on this host")
            .reason("busy")
            .hint("wait for it to end, or stop it: joining again goes on where it was")
    })
}

fn remember(directory: &Path, join: &Join, joined: &Joined) -> Result<(), Failure> {
    let membership = Membership {
        version: membership::VERSION,
        master: join.link.master.to_string(),
        cluster_id: joined.cluster_id.clone(),
        hostname: join.hostname.to_string(),
        address: join.address.to_string(),
        role: joined.role.clone(),
        swarm_node_id: joined.swarm_node_id.clone(),
        volume: joined.volume.clone(),
        mount: joined.mount.clone(),
        brick: joined.brick.clone(),
        incarnation: joined.incarnation.clone(),
        revision: joined.revision,
    };
    membership::store(directory, &membership).map_err(|error| {
        Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("see whether the disk is full (`df -h`)")
    })
}

fn show(join: &Join, joined: &Joined, output: OutputFormat) -> Result<Outcome, Failure> {
    let steps: Vec<String> = joined.done.iter().map(ToString::to_string).collect();
    if !output.is_structured() {
        let mut text = String::new();
        if steps.is_empty() {
            text.push_str("nothing to do\n");
        }
        for step in &steps {
            text.push_str(&format!("done: {step}\n"));
        }
        text.push_str(&format!("{} ({}) is a {} of the cluster", join.hostname, join.address, joined.role));
        if !joined.mount.is_empty() {
            text.push_str(&format!("; the volume `{}` is at {}", joined.volume, joined.mount));
        }
        text.push('\n');
        for finding in &joined.findings {
            text.push_str(&format!("note: {finding}\n"));
        }
        print(&text)?;
    }
    let finding = |finding: &Finding| json!({ "finding": finding.word(), "message": finding.to_string() });
    let findings: Vec<Value> = joined.findings.iter().map(finding).collect();
    let reason = if steps.is_empty() { "nothing-to-do" } else { "converged" };
    Ok(Outcome::done(reason).body(json!({
        "hostname": join.hostname,
        "node_id": join.identity.node_id,
        "address": join.address,
        "role": joined.role,
        "cluster_id": joined.cluster_id,
        "volume": joined.volume,
        "mount": joined.mount,
        "brick": joined.brick,
        "done": steps,
        "findings": findings,
    })))
}

fn show_plan(reply: &Reply, plan: &Plan, output: OutputFormat) -> Result<Outcome, Failure> {
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    let waits: Vec<String> = plan.waits.iter().map(ToString::to_string).collect();
    let refusals: Vec<String> = plan.refusals.iter().map(ToString::to_string).collect();
    if !output.is_structured() {
        let mut text = String::new();
        for (word, lines) in [("would", &steps), ("would then wait for", &waits), ("would refuse, since", &refusals)] {
            for line in lines {
                text.push_str(&format!("{word} {line}\n"));
            }
        }
        if text.is_empty() {
            text.push_str("nothing to do\n");
        }
        if !reply.message.is_empty() {
            text.push_str(&format!("the controller says: {}\n", reply.message));
        }
        print(&text)?;
    }
    Ok(Outcome::done("dry-run")
        .next("clusterctl node join")
        .body(json!({ "steps": steps, "waits": waits, "refusals": refusals })))
}
