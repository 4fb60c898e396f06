//! The `gluster` command of this host.
//!
//! It asks, reads and reports, and decides nothing: no retries, no second attempt with `force`. `gluster` has no `--`
//! that would end its options, so every value that reaches it has been parsed by a type of ours or is checked here.
//! The surprising part is that `volume status` takes the pool's lock like a change does: it waits its turn too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::xml::{self, Asked};
use super::{Brick, BrickStatus, GlusterError, NewVolume, OpVersions, Peer, StoragePool, Volume, VolumeStatus};
use crate::cluster::{BrickPath, Hostname, NodeAddress, VolumeName};
use crate::providers::command::{CommandError, Commander, Invocation, Output};

/// A hung peer blocks changes for minutes, and `gluster` itself waits 120 s. A start takes 2.5 s, `add-brick` 4 s.
const CHANGE_DEADLINE: Duration = Duration::from_secs(30);

/// Reads take 50 ms when all is well.
const READ_DEADLINE: Duration = Duration::from_secs(20);

/// This host's pool through its `gluster` command.
pub struct GlusterCli {
    commander: Arc<dyn Commander>,
    /// Held by whatever takes the pool's lock.
    turn: Mutex<()>,
}

impl GlusterCli {
    /// Runs `gluster` with `commander`.
    #[must_use]
    pub fn new(commander: Arc<dyn Commander>) -> Self {
        Self { commander, turn: Mutex::new(()) }
    }

    async fn change(&self, words: Words) -> Result<Answer, GlusterError> {
        let _turn = self.turn.lock().await;
        self.run(words, CHANGE_DEADLINE).await
    }

    async fn read(&self, words: Words) -> Result<Answer, GlusterError> {
        self.run(words, READ_DEADLINE).await
    }

    async fn run(&self, words: Words, deadline: Duration) -> Result<Answer, GlusterError> {
        let invocation = Invocation::new("gluster").args(["--xml", "--mode=script"]).args(&words.0).deadline(deadline);
        let command = format!("gluster {}", words.0.join(" "));
        match self.commander.run(invocation).await {
            Ok(output) => Answer::of(command, deadline, output),
            Err(CommandError::NotFound(_)) => Err(GlusterError::NotInstalled),
            Err(CommandError::TimedOut { deadline, .. }) => Err(GlusterError::TimedOut { command, deadline }),
            Err(error @ (CommandError::Unsafe { .. } | CommandError::Io { .. })) => Err(GlusterError::Command(error)),
        }
    }
}

/// What `gluster` printed, and for what.
struct Answer {
    command: String,
    deadline: Duration,
    stdout: Vec<u8>,
}

impl Answer {
    /// Nothing on standard output means that `gluster` did not take its arguments; the reason is on standard error.
    fn of(command: String, deadline: Duration, output: Output) -> Result<Self, GlusterError> {
        if output.stdout.iter().all(u8::is_ascii_whitespace) && !output.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let message = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no output").to_owned();
            return Err(GlusterError::Refused { command, message });
        }
        Ok(Self { command, deadline, stdout: output.stdout })
    }

    fn asked<'a>(&'a self, host: Option<&'a str>) -> Asked<'a> {
        Asked { command: &self.command, host, deadline: self.deadline }
    }

    fn done(&self) -> Result<(), GlusterError> {
        xml::done(&self.stdout, self.asked(None))
    }
}

/// Arguments that are safe to pass.
struct Words(Vec<String>);

impl Words {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn and(mut self, word: impl Into<String>) -> Self {
        self.0.push(word.into());
        self
    }

    /// `replica 3 arbiter 1`; nothing for a single copy.
    fn copies(self, replica: u32, arbiter: u32) -> Self {
        match (replica, arbiter) {
            (0 | 1, _) => self,
            (_, 0) => self.and("replica").and(replica.to_string()),
            (_, _) => self.and("replica").and(replica.to_string()).and("arbiter").and(arbiter.to_string()),
        }
    }

    /// Refuses bricks that `gluster` could take for something else.
    fn bricks(mut self, bricks: &[Brick]) -> Result<Self, GlusterError> {
        for brick in bricks {
            let host = NodeAddress::parse(&brick.host).is_ok() || Hostname::parse(&brick.host).is_ok();
            if !host || BrickPath::parse(&brick.path).is_err() {
                return Err(self.refused(&format!("{brick:?} is no brick of ours")));
            }
            self.0.push(brick.to_string());
        }
        Ok(self)
    }

    fn force(self, force: bool) -> Self {
        if force { self.and("force") } else { self }
    }

    fn refused(&self, message: &str) -> GlusterError {
        GlusterError::Refused { command: format!("gluster {}", self.0.join(" ")), message: message.to_owned() }
    }
}

fn is_option_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.contains('.') && text.bytes().all(allowed)
}

fn is_option_value(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._,:/*%".contains(&b);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed)
}

#[async_trait::async_trait]
impl StoragePool for GlusterCli {
    async fn peers(&self) -> Result<Vec<Peer>, GlusterError> {
        let answer = self.read(Words::of(&["pool", "list"])).await?;
        xml::peers(&answer.stdout, answer.asked(None))
    }

    async fn peers_seen_by(&self, server: NodeAddress) -> Result<Vec<Peer>, GlusterError> {
        // Members of a pool answer each other's questions; changes they refuse.
        let there = format!("--remote-host={server}");
        let answer = self.read(Words::of(&[&there, "pool", "list"])).await?;
        xml::peers(&answer.stdout, answer.asked(Some(&server.to_string())))
    }

    async fn volumes_at(&self, server: NodeAddress) -> Result<Vec<String>, GlusterError> {
        let there = format!("--remote-host={server}");
        let answer = self.read(Words::of(&[&there, "volume", "list"])).await?;
        xml::volume_names(&answer.stdout, answer.asked(Some(&server.to_string())))
    }

    async fn volume_ids(&self) -> Result<Vec<String>, GlusterError> {
        let answer = self.read(Words::of(&["volume", "info", "all"])).await?;
        xml::volume_ids(&answer.stdout, answer.asked(None))
    }

    async fn op_versions(&self) -> Result<OpVersions, GlusterError> {
        let level = async |option: &str| {
            let answer = self.read(Words::of(&["volume", "get", "all", option])).await?;
            xml::level(&answer.stdout, option, answer.asked(None))
        };
        Ok(OpVersions { now: level("cluster.op-version").await?, most: level("cluster.max-op-version").await? })
    }

    async fn probe(&self, address: NodeAddress) -> Result<(), GlusterError> {
        let host = address.to_string();
        let answer = self.change(Words::of(&["peer", "probe", &host])).await?;
        xml::done(&answer.stdout, answer.asked(Some(&host)))
    }

    async fn volume(&self, name: &VolumeName) -> Result<Option<Volume>, GlusterError> {
        let answer = self.read(Words::of(&["volume", "info", name.as_str()])).await?;
        xml::volume(&answer.stdout, name.as_str(), answer.asked(None))
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), GlusterError> {
        let words = Words::of(&["volume", "create", volume.name.as_str()])
            .copies(volume.replica, volume.arbiter)
            .bricks(&volume.bricks)?
            .force(volume.force);
        self.change(words).await?.done()
    }

    async fn start(&self, name: &VolumeName, force: bool) -> Result<(), GlusterError> {
        let answer = self.change(Words::of(&["volume", "start", name.as_str()]).force(force)).await?;
        xml::started(&answer.stdout, answer.asked(None))
    }

    async fn add_bricks(
        &self,
        name: &VolumeName,
        replica: u32,
        arbiter: u32,
        bricks: &[Brick],
        force: bool,
    ) -> Result<(), GlusterError> {
        let words =
            Words::of(&["volume", "add-brick", name.as_str()]).copies(replica, arbiter).bricks(bricks)?.force(force);
        self.change(words).await?.done()
    }

    async fn set_option(&self, name: &VolumeName, option: &str, value: &str) -> Result<(), GlusterError> {
        let words = Words::of(&["volume", "set", name.as_str()]);
        if !is_option_name(option) || !is_option_value(value) {
            return Err(words.refused(&format!("no option of ours: {option:?} = {value:?}")));
        }
        self.change(words.and(option).and(value)).await?.done()
    }

    async fn brick_status(&self, volume: &Volume) -> Result<Vec<BrickStatus>, GlusterError> {
        let words = Words::of(&["volume", "status"]);
        let Ok(name) = VolumeName::parse(&volume.name) else {
            return Err(words.refused(&format!("{:?} is no volume of ours", volume.name)));
        };
        let seen = match volume.status {
            VolumeStatus::Created | VolumeStatus::Stopped => Vec::new(),
            VolumeStatus::Started => {
                let _turn = self.turn.lock().await;
                let answer = self.read(words.and(name.as_str()).and("detail")).await?;
                xml::brick_status(&answer.stdout, answer.asked(None))?
            }
        };
        let offline = |brick: &Brick| BrickStatus { brick: brick.clone(), online: false, used_percent: None };
        let found = |brick: &Brick| seen.iter().find(|status| status.brick == *brick).cloned();
        Ok(volume.bricks.iter().map(|brick| found(brick).unwrap_or_else(|| offline(brick))).collect())
    }

    async fn fix_layout(&self, name: &VolumeName) -> Result<(), GlusterError> {
        self.change(Words::of(&["volume", "rebalance", name.as_str(), "fix-layout", "start"])).await?.done()
    }
}

#[cfg(test)]
mod tests;
