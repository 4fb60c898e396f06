//! What servers do with changes: who is asked, who refuses, and what is left behind.

#![expect(clippy::unwrap_used, reason = "a fake that was set up wrongly shall fail its test there")]

use super::*;

/// A change of a volume.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Create(NewVolume),
    Start { name: VolumeName, force: bool },
    AddBricks { name: VolumeName, replica: u32, arbiter: u32, bricks: Vec<Brick>, force: bool },
    SetOption { name: VolumeName, option: String, value: String },
    FixLayout { name: VolumeName },
}

impl Change {
    pub(super) fn volume(&self) -> &VolumeName {
        match self {
            Self::Create(new) => &new.name,
            Self::Start { name, .. }
            | Self::AddBricks { name, .. }
            | Self::SetOption { name, .. }
            | Self::FixLayout { name } => name,
        }
    }

    /// The change in words.
    fn words(&self) -> String {
        match self {
            Self::Create(new) => format!("create replica={} force={}", new.replica, new.force),
            Self::Start { force, .. } => format!("start force={force}"),
            Self::AddBricks { replica, bricks, force, .. } => {
                format!("add bricks={} replica={replica} force={force}", bricks.len())
            }
            Self::SetOption { option, value, .. } => format!("set {option}={value}"),
            Self::FixLayout { .. } => "fix-layout".to_owned(),
        }
    }

    fn command(&self) -> &'static str {
        match self {
            Self::Create(_) => "volume create",
            Self::Start { .. } => "volume start",
            Self::AddBricks { .. } => "volume add-brick",
            Self::SetOption { .. } => "volume set",
            Self::FixLayout { .. } => "volume rebalance",
        }
    }
}

pub(super) fn refused(command: &str, message: impl Into<String>) -> GlusterError {
    GlusterError::Refused { command: format!("gluster {command}"), message: message.into() }
}

pub(super) fn timed_out(command: &str) -> GlusterError {
    GlusterError::TimedOut { command: format!("gluster {command}"), deadline: Duration::from_secs(30) }
}

/// How the names of options begin that are known.
const OPTIONS: [&str; 8] =
    ["auth.", "cluster.", "performance.", "network.", "storage.", "client.", "server.", "diagnostics."];

impl World {
    pub(super) fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-4000-8000-{:012}", self.ids)
    }

    /// Counts a read and tells whether it can be answered.
    pub(super) fn read(&mut self, me: NodeAddress, command: &str) -> Result<(), GlusterError> {
        self.calls += 1;
        let fault = self.faults.remove(&self.calls);
        if !self.servers[&me].up || fault == Some(Fault::DaemonDown) {
            return Err(GlusterError::DaemonDown);
        }
        match fault {
            None | Some(Fault::DaemonDown) => Ok(()),
            Some(Fault::Busy) => Err(GlusterError::Busy),
            Some(Fault::TimedOut | Fault::TimedOutButDone | Fault::CommitFailedButDone | Fault::Wedged) => {
                Err(timed_out(command))
            }
        }
    }

    /// Counts a change and tells whether it begins; a fault that shows only afterwards is handed back.
    pub(super) fn begin(&mut self, me: NodeAddress, command: &str) -> Result<Option<Fault>, GlusterError> {
        self.calls += 1;
        self.mutations += 1;
        let fault = self.faults.remove(&self.calls);
        if !self.servers[&me].up || fault == Some(Fault::DaemonDown) {
            return Err(GlusterError::DaemonDown);
        }
        if self.busy > 0 || fault == Some(Fault::Busy) {
            self.busy = self.busy.saturating_sub(1);
            return Err(GlusterError::Busy);
        }
        if fault == Some(Fault::TimedOut) { Err(timed_out(command)) } else { Ok(fault) }
    }

    /// A change of a volume, as far as the others let it come.
    pub(super) fn change(&mut self, me: NodeAddress, change: &Change) -> Result<(), GlusterError> {
        self.history.push(change.words());
        if let Change::Create(NewVolume { bricks, .. }) | Change::AddBricks { bricks, .. } = change {
            let named = |brick: &Brick| (NodeAddress::parse(&brick.host).unwrap(), brick.path.clone());
            self.named.extend(bricks.iter().map(named));
        }
        let mut fault = self.begin(me, change.command())?;
        if self.wedges > 0 && matches!(change, Change::Create(_) | Change::AddBricks { .. }) {
            self.wedges -= 1;
            fault = Some(Fault::Wedged);
        }
        self.take_turn(me, change.volume(), change.command(), Some((me, change.clone())))?;
        let marked: Vec<_> = self.marks.keys().cloned().collect();
        let ended = self.apply(me, change, fault);
        if fault == Some(Fault::Wedged) && self.files_at_wedge {
            self.data.extend(self.marks.keys().filter(|key| !marked.contains(key)).cloned());
        }
        ended
    }

    /// Gets a volume's lock of all members, or waits for it with `stuck`.
    pub(super) fn take_turn(
        &mut self,
        me: NodeAddress,
        name: &VolumeName,
        command: &str,
        stuck: Option<(NodeAddress, Change)>,
    ) -> Result<(), GlusterError> {
        if self.stuck.contains_key(name.as_str()) {
            return Err(GlusterError::Busy);
        }
        if self.members(me).any(|server| server.hung && server.up && server.reachable) {
            self.stuck.insert(name.to_string(), stuck);
            return Err(timed_out(command));
        }
        Ok(())
    }

    pub(super) fn members(&self, me: NodeAddress) -> impl Iterator<Item = &Server> {
        let pool = self.servers[&me].pool;
        self.servers.values().filter(move |server| server.pool == pool)
    }

    pub(super) fn pool_of(&self, me: NodeAddress) -> usize {
        self.servers[&me].pool
    }

    pub(super) fn volume(&mut self, me: NodeAddress, name: &VolumeName) -> Option<&mut Volume> {
        let pool = self.pool_of(me);
        self.volumes.iter_mut().find(|(of, volume)| *of == pool && volume.name == name.as_str()).map(|(_, it)| it)
    }

    pub(super) fn existing(
        &mut self,
        me: NodeAddress,
        name: &VolumeName,
        command: &str,
    ) -> Result<&mut Volume, GlusterError> {
        self.volume(me, name).ok_or_else(|| refused(command, format!("Volume {name} does not exist")))
    }

    /// What the servers of new bricks say, this one first. Those that agree before another one refuses keep a mark.
    fn stage(&mut self, me: NodeAddress, bricks: &[Brick], force: bool) -> Result<String, GlusterError> {
        let mut bricks: Vec<(NodeAddress, &Brick)> =
            bricks.iter().map(|brick| (NodeAddress::parse(&brick.host).unwrap(), brick)).collect();
        for (host, _) in &bricks {
            let unreachable = |message: String| GlusterError::PeerUnreachable { host: host.to_string(), message };
            let server = self.servers.get(host).filter(|server| server.pool == self.pool_of(me) && !server.rejected);
            match server {
                None => return Err(unreachable(format!("Host {host} is not in 'Peer in Cluster' state"))),
                Some(server) if !server.up || !server.reachable => {
                    return Err(unreachable(format!("Host {host} not connected")));
                }
                Some(_) => {}
            }
        }
        bricks.sort_by_key(|(host, _)| *host != me);
        let id = self.next_id();
        let mut refusal = None;
        for (host, brick) in bricks {
            match self.stage_one(host, brick, force) {
                Ok(()) => {
                    self.marks.insert((host, brick.path.clone()), id.clone());
                }
                // This server's own refusal ends it; others have all been asked by then.
                Err(error) if host == me => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        refusal.map_or(Ok(id), Err)
    }

    fn stage_one(&self, host: NodeAddress, brick: &Brick, force: bool) -> Result<(), GlusterError> {
        let overlaps = |other: &Brick| {
            other.host == brick.host
                && (other.path == brick.path
                    || other.path.starts_with(&format!("{}/", brick.path))
                    || brick.path.starts_with(&format!("{}/", other.path)))
        };
        if self.volumes.iter().any(|(_, volume)| volume.bricks.iter().any(overlaps)) {
            let message =
                format!("Brick: {brick} not available. Brick may be containing or be contained by an existing brick.");
            return Err(GlusterError::BrickInUse { message });
        }
        if self.servers[&host].root_disk && !force {
            let message = format!("The brick {brick} is being created in the root partition.");
            return Err(GlusterError::BrickOnRoot { message });
        }
        if self.marks.contains_key(&(host, brick.path.clone())) && !force {
            return Err(GlusterError::BrickInUse { message: format!("{} is already part of a volume", brick.path) });
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, me: NodeAddress, change: &Change, fault: Option<Fault>) -> Result<(), GlusterError> {
        let command = change.command();
        match change {
            Change::Create(new) => self.create(me, new, command, fault)?,
            Change::Start { name, force } => {
                let volume = self.existing(me, name, command)?;
                let again = volume.status == VolumeStatus::Started;
                volume.status = VolumeStatus::Started;
                let bricks = volume.bricks.clone();
                if *force || !again {
                    self.dead_bricks.retain(|brick| !bricks.contains(brick));
                }
            }
            Change::AddBricks { name, replica, arbiter, bricks, force } => {
                self.add_bricks(me, name, (*replica, *arbiter), bricks, *force, fault)?;
            }
            Change::SetOption { name, option, value } => {
                let volume = self.existing(me, name, command)?;
                if !OPTIONS.iter().any(|prefix| option.starts_with(prefix)) {
                    return Err(refused(command, format!("option : {option} does not exist")));
                }
                volume.options.insert(option.clone(), value.clone());
            }
            Change::FixLayout { .. } if self.layouts_refused => return Err(refused(command, "Operation failed")),
            Change::FixLayout { name } => {
                let volume = self.existing(me, name, command)?;
                if volume.status != VolumeStatus::Started {
                    return Err(refused(command, format!("Volume {name} needs to be started to perform rebalance")));
                }
                if volume.bricks.len() <= volume.replica as usize {
                    let message = format!("Volume {name} is not a distribute volume or contains only 1 brick.");
                    return Err(refused(command, message));
                }
                self.layouts += 1;
            }
        }
        Self::end(fault, command)
    }

    fn create(
        &mut self,
        me: NodeAddress,
        new: &NewVolume,
        command: &str,
        fault: Option<Fault>,
    ) -> Result<(), GlusterError> {
        if self.volume(me, &new.name).is_some() {
            return Err(GlusterError::VolumeExists(new.name.to_string()));
        }
        let replica = new.replica.max(1) as usize;
        if new.bricks.is_empty() || !new.bricks.len().is_multiple_of(replica) {
            return Err(refused(command, "Failed to create volume files"));
        }
        let hosts = |set: &[Brick]| set.iter().map(|brick| brick.host.clone()).collect::<BTreeSet<_>>().len();
        if !new.force && new.bricks.chunks(replica).any(|set| hosts(set) != replica) {
            return Err(refused(command, "Multiple bricks of a replicate volume are present on the same server."));
        }
        let id = self.stage(me, &new.bricks, new.force)?;
        if fault != Some(Fault::Wedged) {
            let volume = Volume {
                name: new.name.to_string(),
                id,
                status: VolumeStatus::Created,
                replica: new.replica.max(1),
                arbiter: new.arbiter,
                bricks: new.bricks.clone(),
                options: BTreeMap::from([("nfs.disable".to_owned(), "on".to_owned())]),
            };
            self.volumes.push((self.pool_of(me), volume));
        }
        Ok(())
    }

    fn add_bricks(
        &mut self,
        me: NodeAddress,
        name: &VolumeName,
        (replica, arbiter): (u32, u32),
        bricks: &[Brick],
        force: bool,
        fault: Option<Fault>,
    ) -> Result<(), GlusterError> {
        let command = "volume add-brick";
        let old = self.existing(me, name, command)?.clone();
        let (was, now) = (old.replica as usize, replica.max(1) as usize);
        let sets = old.bricks.len() / was;
        let fits = match now.checked_sub(was) {
            Some(0) => bricks.len().is_multiple_of(now),
            Some(more) => bricks.len() == sets * more,
            None => false,
        };
        if !fits || bricks.is_empty() || bricks.iter().any(|brick| old.bricks.contains(brick)) {
            return Err(refused(command, "Operation failed"));
        }
        let id = self.stage(me, bricks, force)?;
        if fault == Some(Fault::Wedged) {
            return Ok(());
        }
        for mark in self.marks.values_mut().filter(|mark| **mark == id) {
            mark.clone_from(&old.id);
        }
        let mut left = bricks.iter().cloned();
        let mut all = Vec::new();
        for set in old.bricks.chunks(was) {
            all.extend_from_slice(set);
            all.extend(left.by_ref().take(now - was));
        }
        all.extend(left);
        let volume = self.existing(me, name, command)?;
        (volume.bricks, volume.replica, volume.arbiter) = (all, replica.max(1), arbiter);
        Ok(())
    }

    /// How a change ends whose effect, except for a wedge, is there.
    pub(super) fn end(fault: Option<Fault>, command: &str) -> Result<(), GlusterError> {
        match fault {
            Some(Fault::CommitFailedButDone | Fault::Wedged) => {
                Err(refused(command, "Commit failed on 10.0.0.2. Please check the log file for more details."))
            }
            Some(Fault::TimedOutButDone) => Err(timed_out(command)),
            None | Some(Fault::Busy | Fault::DaemonDown | Fault::TimedOut) => Ok(()),
        }
    }
}
