//! `master init` and `master reset`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::cli::controller_access::Access;
use crate::cli::output::{print, print_line};
use crate::cli::progress::Progress;
use crate::cli::{Exit, Failure, Outcome, OutputFormat, confirm, explain, join_address, this_host};
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::controller::adopt::Adoption;
use crate::controller::command::{StorageRecord, StorageRole};
use crate::controller::init::{self, AdoptOptions, InitOptions};
use crate::controller::serve::StorageChoice;
use crate::controller::state::ClusterState;
use crate::controller::store::{OpenError, Store, StoreOptions};
use crate::logging::escape;
use crate::nodeagent::facts::gluster_ability;
use crate::protocol::registration::RawRequest;
use crate::providers::gluster::cli::GlusterCli;
use crate::providers::gluster::{GlusterError, StoragePool};
use crate::providers::mounts::{BrickDisk, LocalDisk};

/// What the settings say about the shared volume.
pub(in crate::cli) fn storage_choice(settings: &Settings) -> StorageChoice {
    let gluster = &settings.gluster;
    match gluster.enabled {
        None => StorageChoice::AsRecorded,
        Some(false) => StorageChoice::Off,
        Some(true) => StorageChoice::On(described(settings)),
    }
}

/// The shared volume as the settings describe it.
fn described(settings: &Settings) -> StorageRecord {
    let gluster = &settings.gluster;
    StorageRecord {
        volume: gluster.volume.clone(),
        brick: gluster.brick.clone(),
        mount: gluster.mount.clone(),
        replica: gluster.replica,
        arbiter: gluster.arbiter,
        allow_root_brick: gluster.allow_root_brick,
    }
}

/// `clusterctl master init`.
pub(super) async fn init(settings: &Settings, adopt: bool, output: OutputFormat) -> Result<Outcome, Failure> {
    let engine = this_host::engine(settings);
    let progress = Progress::new(&settings.common.log);
    this_host::inspect(engine.as_ref(), progress).await?;
    let storage = storage_choice(settings);
    if let StorageChoice::On(wanted) = &storage {
        confirm_glusterfs(wanted).await?;
    }
    let advertise = this_host::address(settings.master.advertise_addr, "--advertise-addr")?;
    let wanted = storage.clone();
    let options = InitOptions {
        state_dir: this_host::controller_dir(settings),
        storage,
        advertise,
        engine,
        clock: Arc::new(SystemClock),
        adopt: adopt.then(|| AdoptOptions {
            pool: Arc::new(GlusterCli::new(this_host::commander())),
            wanted: described(settings),
        }),
        store: StoreOptions::default(),
    };
    let step = progress.step(if adopt {
        "putting the Swarm of this host on record"
    } else {
        "making this host the first manager of a Swarm"
    });
    let outcome = init::run(options).await.map_err(explain::init)?;
    step.done();
    if let (true, StorageChoice::On(wanted)) = (outcome.controller_running, &wanted) {
        confirm_running(settings, wanted).await?;
    }
    let adopted = &outcome.adopted;
    let changed = outcome.created || outcome.storage_changed || outcome.swarm_created || !adopted.nodes.is_empty();
    let address =
        if outcome.manager_address.is_empty() { advertise.to_string() } else { outcome.manager_address.clone() };
    let token = match &outcome.token {
        Some(token) => Some(token.reveal()),
        None if outcome.controller_running && (outcome.created || outcome.swarm_created) => first_token(settings).await,
        None => None,
    };
    let master = format!("{address}:{}", settings.master.listen.port());
    let join = token.as_ref().map(|token| join_address::join_line(&master, Some(token)));
    if !output.is_structured() {
        let what = match (outcome.swarm_created, changed) {
            (true, _) => format!("this host ({address}) is the first manager of a new Swarm\n"),
            (false, true) => format!(
                "this host ({address}) manages the Swarm {}; the cluster is on record\n",
                outcome.swarm_cluster_id
            ),
            (false, false) => "nothing to do: this cluster has been set up before\n".to_owned(),
        };
        let serving = if outcome.controller_running {
            ""
        } else {
            "\nlet other hosts join (leave it running, or install the unit in packaging/systemd):\n  clusterctl master serve\n"
        };
        let others = match &join {
            Some(line) => format!(
                "join every other host with this line; its token is a secret, and lets workers in for 24 h:\n  {line}\n"
            ),
            None => "join other hosts with the line that this prints:\n  clusterctl token create\n".to_owned(),
        };
        print(&adoption_lines(adopted))?;
        print(&format!(
            "{what}{serving}\n{others}\njoin this host, which needs no token:\n  {}\n",
            join_address::join_line(&master, None)
        ))?;
    }
    let reason = if changed { "initialised" } else { "nothing-to-do" };
    Ok(Outcome::done(reason).next("clusterctl master serve").body(json!({
        "cluster_id": outcome.cluster_id,
        "created": outcome.created,
        "swarm_created": outcome.swarm_created,
        "swarm_id": outcome.swarm_cluster_id,
        "storage_changed": outcome.storage_changed,
        "manager_address": outcome.manager_address,
        "join": join,
        "adopted": adopted.nodes.iter().map(|one| one.node.hostname.as_str()).collect::<Vec<_>>(),
        "left_out": adopted.left_out.iter().map(|one| json!({
            "hostname": one.hostname,
            "swarm_node_id": one.swarm_node_id,
            "because": one.because.to_string(),
        })).collect::<Vec<_>>(),
    })))
}

/// What was found in the Swarm, a line for each host. Names are strangers' words.
fn adoption_lines(adopted: &Adoption) -> String {
    let mut lines = String::new();
    for one in &adopted.nodes {
        let brick = if one.storage == StorageRole::Brick { ", with its brick" } else { "" };
        lines.push_str(&format!("adopted {} ({}, {}){brick}\n", one.node.hostname, one.node.address, one.node.role));
    }
    for one in &adopted.left_out {
        let name = escape::line(&one.hostname);
        lines.push_str(&format!("left out {name} ({}): {}\n", one.swarm_node_id, one.because));
    }
    lines
}

/// How long a controller that is starting may take to answer.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(5);

/// The first token, of the controller that runs already; `None` if it makes none, which `token create` says better.
async fn first_token(settings: &Settings) -> Option<String> {
    let access = Access::Socket(settings.common.socket.clone());
    let request = RawRequest { action: "token-create".to_owned(), ..RawRequest::default() };
    let deadline = Instant::now() + CONTROLLER_PATIENCE;
    loop {
        match access.ask(&request).await {
            Ok(made) => return made["Token"].as_str().map(str::to_owned),
            Err(failure) if Instant::now() >= deadline => {
                tracing::warn!("the controller made no token: {}", failure.report().lines().next().unwrap_or_default());
                return None;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A controller that runs has its state to itself: what is asked for must be what it works with already.
async fn confirm_running(settings: &Settings, wanted: &StorageRecord) -> Result<(), Failure> {
    let request = RawRequest { action: "status".to_owned(), ..RawRequest::default() };
    // The one on this host is meant, whatever else the settings name.
    let access = Access::Socket(settings.common.socket.clone());
    let volume = access.ask(&request).await?["Volume"].take();
    let same = volume["Name"] == wanted.volume.as_str()
        && volume["Mount"] == wanted.mount.as_str()
        && volume["Replica"] == wanted.replica
        && volume["Arbiter"] == wanted.arbiter;
    if same {
        return Ok(());
    }
    Err(Failure::message(Exit::Waiting, "a controller is running, with other settings for the shared volume")
        .reason("controller-running")
        .hint("nothing was changed; stop it and run this again, or start it with the same flags: `clusterctl master serve --enable-glusterfs`"))
}

/// GlusterFS must be there, and this host's brick must have a place, before anything is recorded (S2-26, S2-27).
async fn confirm_glusterfs(wanted: &StorageRecord) -> Result<(), Failure> {
    let ability = gluster_ability();
    if !ability.server || !ability.client {
        return Err(Failure::message(Exit::MissingProgram, "GlusterFS is not installed on this host")
            .reason("glusterfs-missing")
            .hint(
                "on Debian: `apt-get install glusterfs-server glusterfs-client`; or leave `--enable-glusterfs` out",
            ));
    }
    GlusterCli::new(this_host::commander()).peers().await.map_err(|error| {
        let next = "systemctl start glusterd";
        match error {
            GlusterError::DaemonDown => Failure::new(Exit::Waiting, error)
                .reason("glusterd-down")
                .hint("start it: `systemctl enable --now glusterd`")
                .next(next),
            other => Failure::new(Exit::Waiting, other)
                .reason("glusterfs-unavailable")
                .hint("see `systemctl status glusterd`")
                .next(next),
        }
    })?;
    let facts = LocalDisk
        .inspect(&wanted.brick)
        .await
        .map_err(|error| Failure::new(Exit::StorageUnsafe, error).reason("brick-unreadable").hint("run as root"))?;
    if facts.on_root_fs && !facts.exists && !wanted.allow_root_brick {
        return Err(Failure::message(
            Exit::StorageUnsafe,
            format_args!("the brick {} would lie on the root file system, which it could fill up", wanted.brick),
        )
        .reason("brick-on-root")
        .hint("mount a disk at `/data`, name another place with `--brick`, or allow it with `--allow-root-brick`"));
    }
    Ok(())
}

/// What a reset costs, in full sentences: somebody has to decide about it.
fn erased(directory: &Path) -> String {
    format!(
        "This erases the controller's state in `{}`: registrations, the cluster's CA, tokens and administrators.\n\
         After `clusterctl master init` every node has to join again with a new token, and every administrator needs\n\
         a new file.",
        directory.display()
    )
}

/// `clusterctl master reset`.
pub(super) async fn reset(settings: &Settings, yes: bool, output: OutputFormat) -> Result<Outcome, Failure> {
    let directory = this_host::controller_dir(settings);
    let say = |line: &str| if output.is_structured() { Ok(()) } else { print_line(line) };
    if !directory.exists() {
        say("nothing to do: there is no controller's state here")?;
        return Ok(Outcome::done("nothing-to-do"));
    }
    if !yes {
        confirm(&erased(&directory), "reset").await?;
    }
    // Held until all is gone, so that no controller starts on what is being erased.
    let _held = match Store::<ClusterState>::open(&directory, StoreOptions::default()).await {
        Ok(store) => Some(store),
        Err(error @ OpenError::InUse { .. }) => {
            return Err(Failure::new(Exit::Waiting, error)
                .reason("controller-running")
                .hint("stop the controller first (`systemctl stop clusterctl-master`, or Ctrl-C where it runs)"));
        }
        // What cannot be read may be erased all the same: that is what this command is for.
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    };
    std::fs::remove_dir_all(&directory).map_err(|error| {
        Failure::new(
            Exit::StorageUnsafe,
            anyhow::Error::new(error).context(format!("cannot erase `{}`", directory.display())),
        )
        .reason("state-io")
        .hint("run as root")
    })?;
    say(
        "the controller's state is erased; Swarm, volumes and nodes are as they were\nafter `clusterctl master init`, join every node again with a new token (`clusterctl token create`)",
    )?;
    Ok(Outcome::done("reset").next("clusterctl master init"))
}
