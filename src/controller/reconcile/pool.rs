//! The loop's hands: looks at the pool, and carries out one step. Deciding is not done here.
//!
//! What is about to be tried on bricks is on disk before it is tried: a controller that dies in between knows its own
//! traces again.

use super::Reconcile;
use crate::controller::command::{Command, StorageIntent, StorageRecord};
use crate::controller::storage_plan::{StorageStep, Wanted};
use crate::failpoint;
use crate::providers::gluster::{Brick, BrickStatus, GlusterError, Peer, Volume, VolumeStatus};

impl Reconcile {
    /// The pool's servers, this host by its registered address.
    pub(super) async fn peers(&self) -> Result<Vec<Peer>, GlusterError> {
        let mut peers = self.pool.peers().await?;
        for peer in &mut peers {
            if peer.hostname == "localhost" {
                peer.hostname = self.own_address.to_string();
            }
        }
        Ok(peers)
    }

    /// The volume, and which of its bricks serve.
    pub(super) async fn volume(&self, wanted: &Wanted) -> Result<(Option<Volume>, Vec<BrickStatus>), GlusterError> {
        let Some(volume) = self.pool.volume(&wanted.volume.volume).await? else { return Ok((None, Vec::new())) };
        let bricks = match volume.status {
            // The bricks of a volume that does not serve cannot be asked for.
            VolumeStatus::Created | VolumeStatus::Stopped => Vec::new(),
            VolumeStatus::Started => self.pool.brick_status(&volume).await?,
        };
        Ok((Some(volume), bricks))
    }

    pub(super) async fn apply(&self, wanted: &Wanted, step: &StorageStep) -> Result<(), GlusterError> {
        let name = &wanted.volume.volume;
        match step {
            StorageStep::Probe(address) => {
                tracing::info!(%address, "storage: taking the host into the GlusterFS pool");
                point("J11").await?;
                self.pool.probe(*address).await?;
                point("J11").await
            }
            StorageStep::Create(volume) => {
                let bricks = texts(&volume.bricks);
                self.intend(&wanted.volume, &bricks, false).await?;
                tracing::info!(volume = %name, replica = volume.replica, bricks = bricks.join(","), "storage: creating the volume");
                point("J12").await?;
                self.pool.create(volume).await?;
                point("J12").await
            }
            StorageStep::Allow { value } => {
                tracing::info!(volume = %name, allow = value, "storage: setting who may mount the volume");
                point("J14").await?;
                self.pool.set_option(name, "auth.allow", value).await?;
                point("J14").await
            }
            StorageStep::Start { force } => {
                let why = if *force { "restarting brick processes that are down" } else { "starting the volume" };
                tracing::info!(volume = %name, "storage: {why}");
                point("J13").await?;
                self.pool.start(name, *force).await?;
                point("J13").await
            }
            StorageStep::AddBricks { replica, bricks, force } => {
                let texts = texts(bricks);
                // A whole set is one more part of the volume's name space.
                let layout = wanted.volume.replica as usize == bricks.len();
                self.intend(&wanted.volume, &texts, layout).await?;
                tracing::info!(volume = %name, replica, bricks = texts.join(","), "storage: adding bricks; existing files are copied in the background");
                let arbiter = u32::from(wanted.volume.arbiter);
                self.pool.add_bricks(name, *replica, arbiter, bricks, *force).await
            }
            StorageStep::FixLayout => {
                tracing::info!(volume = %name, "storage: spreading directories over the bricks that were added");
                self.pool.fix_layout(name).await?;
                self.record(Command::LayoutSpread).await
            }
            StorageStep::ForgetBricks(bricks) => self.record(Command::ForgetBricks { bricks: bricks.clone() }).await,
        }
    }

    /// Records what is about to be tried, before it is.
    async fn intend(&self, volume: &StorageRecord, bricks: &[String], layout: bool) -> Result<(), GlusterError> {
        let intent = StorageIntent { volume: volume.volume.clone(), bricks: bricks.to_vec(), at: self.clock.now() };
        self.record(Command::Intend { intent, layout }).await
    }

    async fn record(&self, command: Command) -> Result<(), GlusterError> {
        self.store.commit(command).await.map(drop).map_err(|error| GlusterError::Refused {
            command: "(none: the intent must be on disk first)".to_owned(),
            message: error.to_string(),
        })
    }
}

/// A point at which GlusterFS fails, if a test wants it to.
async fn point(point: &'static str) -> Result<(), GlusterError> {
    let failed =
        |error: std::io::Error| GlusterError::Refused { command: point.to_owned(), message: error.to_string() };
    failpoint::pass(point).await.map_err(failed)
}

fn texts(bricks: &[Brick]) -> Vec<String> {
    bricks.iter().map(Brick::to_string).collect()
}
