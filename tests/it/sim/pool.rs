//! GlusterFS as it takes its time: the fake's answers after as long as the real one was seen to need. A change goes on
//! when the command that asked for it was killed, and until it is done others find a transaction in progress. A probe can
//! say `rc 0` and have done nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clusterctl::cluster::{NodeAddress, VolumeName};
use clusterctl::providers::gluster::{
    Brick, BrickStatus, GlusterError, NewVolume, OpVersions, Peer, StoragePool, Volume,
};

use super::chance::Dice;
use super::engine::by_daemon;
use crate::fakes::gluster::FakePool;

/// The pool as one host's `gluster` shows it. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct SimPool {
    fake: FakePool,
    dice: Dice,
    /// A change is under way.
    busy: Arc<AtomicBool>,
    /// So many probes to come do nothing and say that they did.
    lies: Arc<AtomicUsize>,
}

impl SimPool {
    pub(crate) fn new(fake: FakePool, dice: Dice) -> Self {
        Self { fake, dice, busy: Arc::default(), lies: Arc::default() }
    }

    /// The next `n` probes say `rc 0` and do nothing.
    pub(crate) fn lie(&self, n: usize) {
        self.lies.store(n, Ordering::Relaxed);
    }

    async fn takes(&self, least: u64, most: u64) {
        tokio::time::sleep(self.dice.millis(least..=most)).await;
    }

    /// One transaction; `half` of the time passes before its effect.
    async fn change<F, W>(&self, (least, most): (u64, u64), work: F) -> Result<(), GlusterError>
    where
        F: FnOnce(FakePool) -> W + Send + 'static,
        W: Future<Output = Result<(), GlusterError>> + Send + 'static,
    {
        if self.busy.swap(true, Ordering::Relaxed) {
            self.takes(40, 60).await;
            return Err(GlusterError::Busy);
        }
        let it = self.clone();
        by_daemon(async move {
            it.takes(least / 2, most / 2).await;
            let outcome = work(it.fake.clone()).await;
            // A command that timed out was killed long after its time; its transaction may be stuck in the fake.
            if matches!(outcome, Err(GlusterError::TimedOut { .. })) {
                it.takes(30_000, 30_000).await;
            } else {
                it.takes(least / 2, most / 2).await;
            }
            it.busy.store(false, Ordering::Relaxed);
            outcome
        })
        .await
    }
}

#[async_trait::async_trait]
impl StoragePool for SimPool {
    async fn peers(&self) -> Result<Vec<Peer>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.peers().await
    }

    async fn peers_seen_by(&self, server: NodeAddress) -> Result<Vec<Peer>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.peers_seen_by(server).await
    }

    async fn volumes_at(&self, server: NodeAddress) -> Result<Vec<String>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.volumes_at(server).await
    }

    async fn volume_ids(&self) -> Result<Vec<String>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.volume_ids().await
    }

    async fn op_versions(&self) -> Result<OpVersions, GlusterError> {
        self.takes(45, 60).await;
        self.fake.op_versions().await
    }

    async fn probe(&self, address: NodeAddress) -> Result<(), GlusterError> {
        self.takes(50, 110).await;
        let lies = |left: usize| left.checked_sub(1);
        if self.lies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lies).is_ok() {
            return Ok(());
        }
        self.fake.probe(address).await
    }

    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.volume(name).await
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), GlusterError> {
        let volume = volume.clone();
        self.change((60, 400), move |fake| async move { fake.create(&volume).await }).await
    }

    async fn start(&self, name: &VolumeName, force: bool) -> Result<(), GlusterError> {
        let name = name.clone();
        self.change((2_200, 2_600), move |fake| async move { fake.start(&name, force).await }).await
    }

    async fn add_bricks(
        &self,
        name: &VolumeName,
        replica: u32,
        arbiter: u32,
        bricks: &[Brick],
        force: bool,
    ) -> Result<(), GlusterError> {
        let (name, bricks) = (name.clone(), bricks.to_vec());
        self.change((2_000, 4_200), move |fake| async move {
            fake.add_bricks(&name, replica, arbiter, &bricks, force).await
        })
        .await
    }

    async fn set_option(&self, name: &VolumeName, option: &str, value: &str) -> Result<(), GlusterError> {
        let (name, option, value) = (name.clone(), option.to_owned(), value.to_owned());
        self.change((60, 200), move |fake| async move { fake.set_option(&name, &option, &value).await }).await
    }

    async fn brick_status(&self, volume: &Volume) -> Result<Vec<BrickStatus>, GlusterError> {
        self.takes(45, 60).await;
        self.fake.brick_status(volume).await
    }

    async fn fix_layout(&self, name: &VolumeName) -> Result<(), GlusterError> {
        let name = name.clone();
        self.change((60, 200), move |fake| async move { fake.fix_layout(&name).await }).await
    }
}
