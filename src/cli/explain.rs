//! Errors of the layers below, said to the operator: exit code, reason and the way out.

use super::controller_access::RemoteError;
use super::{Exit, Failure};
use crate::controller::backup::BackupError;
use crate::controller::init::InitError;
use crate::controller::listener::ListenError;
use crate::controller::restore::RestoreError;
use crate::controller::serve::ServeError;
use crate::controller::store::OpenError;
use crate::converge::apply::{StepCause, StepError};
use crate::converge::observe::ObserveError;
use crate::converge::plan::Refusal;
use crate::nodeagent::client::ClientError;
use crate::nodeagent::conversation::ConversationError;
use crate::nodeagent::join::JoinError;
use crate::nodeagent::leave::LeaveError;
use crate::pki::TlsClientError;
use crate::protocol::reply::Reason;
use crate::providers::overlay::OverlayError;
use crate::providers::swarm::SwarmError;

/// A state that cannot be opened.
#[must_use]
pub fn open(error: OpenError) -> Failure {
    match &error {
        OpenError::InUse { .. } => Failure::new(Exit::Waiting, error)
            .reason("busy")
            .hint("a controller is running on this state already; stop it, or give this one its own `--state-dir`")
            .next("clusterctl master status"),
        OpenError::NewerFormat { .. } => {
            Failure::new(Exit::Incompatible, error).reason("newer-state").hint("use the clusterctl that wrote it, or a newer one; nothing was changed")
        }
        OpenError::Corrupt { .. } => Failure::new(Exit::StorageUnsafe, error).reason("state-damaged").hint(
            "nothing was changed; move the directory `controller` in the state directory away, then `clusterctl master restore FILE` with a backup, or, without one, `clusterctl master init --adopt` and `clusterctl node join` with a new token on every host",
        ),
        OpenError::Directory(_) => Failure::new(Exit::StorageUnsafe, error)
            .reason("state-dir")
            .hint("the state belongs on a local disk: `--state-dir`, `CLUSTERCTL_STATE_DIR` or `state_dir` in the settings file"),
        OpenError::Io { .. } => {
            Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("run as root; see whether the disk is full or read-only (`df -h`)")
        }
    }
}

/// A controller that does not start.
#[must_use]
pub fn serve(error: ServeError) -> Failure {
    match error {
        ServeError::Open(error) => open(error),
        ServeError::Listen(ListenError::SocketInUse(_)) => Failure::new(Exit::Waiting, error)
            .reason("busy")
            .hint("a controller is running on this host already; a second one needs its own `--state-dir`, `--socket` and `--listen`")
            .next("clusterctl master status"),
        ServeError::Listen(_) => Failure::new(Exit::Waiting, error)
            .reason("cannot-listen")
            .hint("see who has the port with `ss -ltnp`; `--listen` and `--socket` name others"),
        ServeError::Commit(_) => {
            Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("see whether the disk is full (`df -h`), then start it again")
        }
        ServeError::Authority(_) => Failure::new(Exit::StorageUnsafe, error).reason("authority").hint(
            "nothing was changed; run as root, or restore the file from a backup: with another CA no node would know this controller",
        ),
        ServeError::AuthorityLost { .. } => Failure::new(Exit::StorageUnsafe, error).reason("authority-lost").hint(
            "nothing was changed; restore the directory from a backup. Without one every node has to join again with a new token: `clusterctl master reset`, then `clusterctl master init`",
        ),
        ServeError::Tls(_) => Failure::new(Exit::Bug, error).reason("bug").hint("please report this"),
        ServeError::OwnHost(refusal) => {
            let (reason, hint) = (refusal.code(), refusal.hint());
            Failure::new(Exit::InvalidInput, ServeError::OwnHost(refusal)).reason(reason).hint(hint)
        }
        ServeError::StorageDiffers { field, ref recorded, .. } => {
            let hint = format!("set `{field}` to `{recorded}` again, or leave `--enable-glusterfs` out: what is on record then holds");
            Failure::new(Exit::InvalidInput, error).reason("storage-differs").hint(hint)
        }
        ServeError::LoopEnded(_) => Failure::new(Exit::Bug, error)
            .reason("bug")
            .hint("nothing is lost: start the controller again; please report this with its log")
            .next("clusterctl master serve"),
        ServeError::EmptyState { .. } => Failure::new(Exit::StorageUnsafe, error)
            .reason("empty-state")
            .hint("`clusterctl master restore FILE` with a backup (`--state-dir` if the state lies elsewhere); without one, `clusterctl master init --adopt` puts the Swarm on record as it is, then `clusterctl node join` with a new token on every host")
            .next("clusterctl master init --adopt"),
        ServeError::StateLost { .. } => Failure::new(Exit::StorageUnsafe, error)
            .reason("state-lost")
            .hint("nothing was changed; move the directory `controller` in the state directory away, then `clusterctl master restore FILE` with a backup; without one, leave it and run `clusterctl master init --adopt`, which keeps the CA, then `clusterctl node join` with a new token on every host")
            .next("clusterctl master init --adopt"),
        ServeError::StorageGone { .. } => Failure::new(Exit::StorageUnsafe, error)
            .reason("state-io")
            .hint("nodes in the cluster go on without it; see whether the disk works (`dmesg`, `df -h`), then start it again: it goes on where it was")
            .next("clusterctl master serve"),
        ServeError::WriterHangs => Failure::new(Exit::StorageUnsafe, error)
            .reason("state-io")
            .hint("nothing that was answered is lost; see whether the disk works (`dmesg`), then start it again")
            .next("clusterctl master serve"),
    }
}

/// A backup that could not be restored.
pub(super) fn restore(error: RestoreError) -> Failure {
    match error {
        RestoreError::Place(error) | RestoreError::State(error @ OpenError::NewerFormat { .. }) => open(error),
        RestoreError::Backup { source: BackupError::Newer(_), .. } => Failure::new(Exit::Incompatible, error)
            .reason("newer-backup")
            .hint("use the clusterctl that wrote it, or a newer one; nothing was changed"),
        RestoreError::Backup { source: BackupError::Foreign, .. } => Failure::new(Exit::InvalidInput, error)
            .reason("no-backup")
            .hint("name a file that `clusterctl master backup FILE` made; nothing was changed"),
        RestoreError::Backup { .. } | RestoreError::State(_) | RestoreError::Authority(_) => {
            Failure::new(Exit::InvalidInput, error)
                .reason("backup-damaged")
                .hint("nothing was changed; restore another backup, or, if there is none, `clusterctl master init --adopt`")
        }
        RestoreError::Read { .. } => Failure::new(Exit::InvalidInput, error)
            .reason("backup-unreadable")
            .hint("name a file that `clusterctl master backup FILE` made; nothing was changed"),
        RestoreError::NotEmpty(_) => Failure::new(Exit::InvalidInput, error)
            .reason("state-exists")
            .hint("nothing was changed; move the directory away, or erase what is in it with `clusterctl master reset`, then restore again"),
        RestoreError::Write { .. } | RestoreError::Commit(_) => {
            Failure::new(Exit::StorageUnsafe, error).reason("state-io").hint("run as root; see whether the disk is full (`df -h`)")
        }
    }
}

/// A `master init` that failed.
#[must_use]
pub fn init(error: InitError) -> Failure {
    match error {
        InitError::State(error) => serve(error),
        InitError::Docker(error) => super::this_host::docker_failure(error),
        InitError::Worker | InitError::Pending => Failure::new(Exit::ForeignSwarm, error)
            .reason("foreign-swarm")
            .hint("run `clusterctl master init` on a manager of that Swarm; or, if this host is to leave it, `docker swarm leave` first"),
        InitError::Random(_) => Failure::new(Exit::Waiting, error).reason("no-randomness").hint("the host is early in its boot; run this again"),
        InitError::Locked => locked(error),
        InitError::Running => Failure::new(Exit::Waiting, error)
            .reason("controller-running")
            .hint("stop the controller first (`systemctl stop clusterctl-master`, or Ctrl-C where it runs)"),
        InitError::NoSwarm => Failure::new(Exit::InvalidInput, error)
            .reason("no-swarm")
            .hint("nothing was changed; run it on a manager of the Swarm, or without `--adopt` to begin a new one")
            .next("clusterctl master init"),
        InitError::Gluster(_) => Failure::new(Exit::Waiting, error)
            .reason("glusterfs-unavailable")
            .hint("nothing was changed; start it: `systemctl start glusterd`; `--disable-glusterfs` adopts the Swarm alone"),
        InitError::Volume(_) => Failure::new(Exit::ForeignStorage, error)
            .reason("foreign-volume")
            .hint("nothing was changed; `--volume` names another volume, `--disable-glusterfs` adopts the Swarm alone"),
        InitError::Broken(_) => Failure::new(Exit::QuorumLost, error)
            .reason("swarm-error")
            .hint("`docker info` has the details; if nothing of this Swarm is needed any more, `docker swarm leave --force`"),
        InitError::SwarmInit(_) | InitError::NotActive(_) => Failure::new(Exit::Waiting, error)
            .reason("swarm-init-failed")
            .hint("`journalctl -u docker` has the details; `--advertise-addr` must be an address of this host")
            .next("clusterctl master init"),
    }
}

fn locked(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Locked, error)
        .reason("swarm-locked")
        .hint("unlock it with `docker swarm unlock` and its key, then run this again; nothing was changed")
        .next("docker swarm unlock")
}

/// A join that did not end well.
#[must_use]
pub fn join(error: JoinError) -> Failure {
    match error {
        JoinError::Conversation(error) => conversation(error),
        JoinError::VolumeUnwritable { .. } => Failure::new(Exit::Waiting, error)
            .reason("volume-unwritable")
            .hint("see which bricks are down: `gluster volume status`; the host stays joined")
            .next("clusterctl node join"),
        JoinError::Directive(_) => Failure::new(Exit::Incompatible, error)
            .reason("bad-reply")
            .hint("nothing was changed; see that master and node run the same version (`clusterctl version`)"),
        JoinError::Overlay(OverlayError::NotUp { kind, by_hand }) => {
            let hint = format!(
                "this version does not bring it up: do so with `{by_hand}`, then join again; the Swarm is not joined over the network below it"
            );
            Failure::new(Exit::Waiting, OverlayError::NotUp { kind, by_hand })
                .reason("overlay-not-up")
                .hint(hint)
                .next("clusterctl node join")
        }
        JoinError::Overlay(error) => Failure::new(Exit::InvalidInput, error)
            .reason("overlay-settings")
            .hint("set `--overlay-provider` and `--overlay-config` on the master (`master serve`)"),
        JoinError::Observe(error) => observe(error),
        JoinError::Host(refusals) => host(refusals),
        JoinError::Step(error) => step(error),
        JoinError::Partitioned { .. } => Failure::new(Exit::Waiting, error)
            .reason("swarm-partition")
            .hint("it was left in the Swarm; see that this host reaches the managers at 2377/tcp (`nc -zv MANAGER 2377`), then join again; `docker node ls` on a manager shows what they see")
            .next("clusterctl node join"),
        JoinError::Overdue { .. } => Failure::new(Exit::Waiting, error)
            .reason("timed-out")
            .hint("the last lines above say what it was at; what was done stays done, and joining again goes on from there")
            .next("clusterctl node join"),
    }
}

/// A leave that was refused or did not get through.
#[must_use]
pub fn leave(error: LeaveError) -> Failure {
    match error {
        LeaveError::Unreachable(error) => unreachable(error),
        LeaveError::Refused { ref code, ref hint, .. } => {
            let (code, hint) = (code.clone(), hint.clone());
            Failure::new(refusal(&code), error).reason(code).hint(hint)
        }
        LeaveError::HoldsBrick { ref volume } => {
            let hint = format!("nothing was changed; move the brick to another host first: `gluster volume replace-brick {volume} ...`, then leave");
            Failure::new(Exit::StorageUnsafe, error).reason("holds-brick").hint(hint)
        }
        LeaveError::ForeignSwarm(_) => Failure::new(Exit::ForeignSwarm, error)
            .reason("foreign-swarm")
            .hint("nothing was changed; if it is to leave that Swarm, run `docker swarm leave` on it, then leave again"),
        LeaveError::LastManager | LeaveError::Quorum { .. } => Failure::new(Exit::QuorumLost, error)
            .reason("last-manager")
            .hint("nothing was changed; promote another host first: `docker node promote HOST`; to give the Swarm up, `docker swarm leave --force`"),
        LeaveError::NotNoted { .. } => Failure::new(Exit::Waiting, error)
            .reason("not-noted")
            .hint("see `clusterctl master status` on the master, then leave again: only that is left")
            .next("clusterctl node leave"),
        LeaveError::NotDemoted => Failure::new(Exit::Waiting, error)
            .reason("not-demoted")
            .hint("the host is still in the Swarm; leave again in a moment; `docker node ls` on a manager shows how things stand"),
        LeaveError::Brick(_) => Failure::new(Exit::StorageUnsafe, error).reason("brick-unreadable").hint("nothing was changed; run as root"),
        LeaveError::Mount(_) | LeaveError::Persistence(_) => Failure::new(Exit::StorageUnsafe, error)
            .reason("unmount-failed")
            .hint("see what uses it with `fuser -vm` on the mount point, then leave again")
            .next("clusterctl node leave"),
        LeaveError::Swarm(_) => {
            Failure::new(Exit::Waiting, error).reason("swarm-leave-failed").hint("`journalctl -u docker` has the details").next("clusterctl node leave")
        }
    }
}

/// The exit code for a refusal of the controller's, by the refusal's code.
#[must_use]
pub fn refusal(code: &str) -> Exit {
    match code {
        "clock-skew" | "too-many-nodes" | "too-many-failures" | "overloaded" => Exit::Waiting,
        "swarm-unavailable" | "swarm-no-leader" | "tasks-running" | "not-demoted" | "not-yet" => Exit::Waiting,
        "rotation-under-way" => Exit::Waiting,
        "tls-required" | "not-permitted" | "pending-approval" | "token-refused" | "role-not-granted" => Exit::Auth,
        "key-required" | "key-mismatch" | "node-removed" | "removed" | "request-rejected" => Exit::Auth,
        "certificate-expired" => Exit::Auth,
        "last-manager" | "quorum" => Exit::QuorumLost,
        "holds-brick" | "no-authority" | "no-certificate" | "backup-failed" => Exit::StorageUnsafe,
        _ => Exit::InvalidInput,
    }
}

/// A controller elsewhere that an administrator could not ask.
pub(super) fn remote(error: RemoteError) -> Failure {
    match error {
        RemoteError::Client(error) => unreachable_elsewhere(error),
        RemoteError::Credentials { .. } | RemoteError::NoAuthority { .. } => Failure::new(Exit::InvalidInput, error)
            .reason("admin-cert")
            .hint("`clusterctl master admin create NAME --out FILE` on the master makes a new one"),
    }
}

/// What [`unreachable`] says to a host, said to an administrator: nobody joins, and the file says where and whom to ask.
fn unreachable_elsewhere(error: ClientError) -> Failure {
    let (exit, reason, hint) = match &error {
        ClientError::Tls { source: TlsClientError::Chain(_), .. } => (
            Exit::Auth,
            "other-authority",
            "nothing was sent: the CA there is none of those in the file of `--admin-cert`; see that `--controller` names the right one; if its CA was replaced, `clusterctl master admin create NAME --out FILE` on the master makes a new file",
        ),
        ClientError::Tls { source: TlsClientError::OldVersion, .. } => (
            Exit::Incompatible,
            "tls-version",
            "nothing was sent; see what answers at that address, and that nothing in between changes TLS",
        ),
        ClientError::Clock { .. } => (
            Exit::Waiting,
            "clock-skew",
            "set the clocks of this host and the master's with `timedatectl set-ntp true`, then run this again",
        ),
        error if error.is_final() => (
            Exit::InvalidInput,
            "not-a-controller",
            "`--controller` must name the host and port of `clusterctl master serve` (7000 unless `--listen` says otherwise); without it, the file of `--admin-cert` says which",
        ),
        _ => (
            Exit::Waiting,
            "controller-unreachable",
            "is `clusterctl master serve` running there, and does a firewall let its port through? `--controller` names another address than the file of `--admin-cert`",
        ),
    };
    Failure::new(exit, error).reason(reason).hint(hint)
}

/// A controller that does not answer as hoped.
fn conversation(error: ConversationError) -> Failure {
    match error {
        ConversationError::Unreachable(error) => unreachable(error),
        ConversationError::Refused { ref code, ref hint, .. } => {
            let (code, hint) = (code.clone(), hint.clone());
            Failure::new(refusal(&code), error).reason(code).hint(hint)
        }
        ConversationError::TimedOut { ref reason, .. } if *reason == Reason::PendingApproval.as_str() => {
            let reason = reason.clone();
            Failure::new(Exit::Waiting, error)
                .reason(reason)
                .hint("let it in with `clusterctl request approve ID` on the master (`clusterctl request list` shows the id and the key), then join again; or join with a token of `clusterctl token create`")
                .next("clusterctl node join")
        }
        ConversationError::TimedOut { ref reason, .. } => {
            let reason = reason.clone();
            Failure::new(Exit::Waiting, error)
                .reason(reason)
                .hint("what was done stays done; `clusterctl master status` on the master shows who is missing, `--timeout` waits longer")
                .next("clusterctl node join")
        }
    }
}

fn unreachable(error: ClientError) -> Failure {
    match &error {
        ClientError::Tls { source: TlsClientError::Chain(_), .. } => {
            return Failure::new(Exit::Auth, error).reason("other-authority").hint(
                "nothing was sent; compare with `clusterctl master cert show` on the master: if its CA was replaced or is a new cluster's, join with a new token, or remove `/var/lib/clusterctl/node/authorities` (`node/authorities` in the `--state-dir`) to trust whom you compared; else look for who answers at that address",
            );
        }
        ClientError::Tls { source: TlsClientError::OldVersion, .. } => {
            return Failure::new(Exit::Incompatible, error)
                .reason("tls-version")
                .hint("nothing was sent; see what answers at that address, and that nothing in between changes TLS");
        }
        ClientError::Clock { .. } => {
            return Failure::new(Exit::Waiting, error)
                .reason("clock-skew")
                .hint("set the clocks with `timedatectl set-ntp true` on both hosts, then join again")
                .next("clusterctl node join");
        }
        // Who answered is a controller, and this host is registered.
        ClientError::Keep { .. } | ClientError::Certificate { .. } => {
            return Failure::new(Exit::StorageUnsafe, error)
                .reason("state-io")
                .hint("run as root; see whether the disk is full (`df -h`), then join again: the host is registered")
                .next("clusterctl node join");
        }
        _ => {}
    }
    if error.is_final() {
        return Failure::new(Exit::InvalidInput, error)
            .reason("not-a-controller")
            .hint("`--master` must name the host and port of `clusterctl master serve` (7000 unless `--listen` says otherwise)");
    }
    Failure::new(Exit::Waiting, error)
        .reason("controller-unreachable")
        .hint("is `clusterctl master serve` running there, and does a firewall let port 7000 through?")
        .next("clusterctl node join")
}

fn observe(error: ObserveError) -> Failure {
    match error {
        ObserveError::Docker(error) => super::this_host::docker_failure(error),
        ObserveError::Brick(_) | ObserveError::Mount(_) | ObserveError::Io { .. } => {
            Failure::new(Exit::StorageUnsafe, error).reason("host-unreadable").hint("run as root; nothing was changed")
        }
    }
}

/// What clusterctl does not do by itself; the first refusal decides the exit code.
fn host(refusals: Vec<Refusal>) -> Failure {
    let (exit, reason, hint) = match refusals.first() {
        Some(Refusal::ForeignSwarm { .. }) => (
            Exit::ForeignSwarm,
            "foreign-swarm",
            "it was left there; if it is to move, run `docker swarm leave` on it (a manager first needs `docker node demote`), then join again",
        ),
        Some(Refusal::SwarmLocked) => {
            (Exit::Locked, "swarm-locked", "unlock it with `docker swarm unlock` and its key, then join again")
        }
        Some(Refusal::SwarmBroken(_)) => (
            Exit::QuorumLost,
            "swarm-error",
            "`docker info` has the details; a worker may `docker swarm leave --force` and join again, a manager may hold the Swarm's only copy of its state",
        ),
        Some(Refusal::OtherRole { .. }) => (
            Exit::InvalidInput,
            "other-role",
            "on a manager, `docker node promote` or `docker node demote` this host; or join without `--role` to keep what it is",
        ),
        Some(Refusal::ForeignBrick { .. } | Refusal::BrickHasFiles(_) | Refusal::BrickNotDirectory(_)) => (
            Exit::ForeignStorage,
            "foreign-brick",
            "it was left alone; move it away, or choose another place with `--brick` on the master; `--disable-glusterfs` joins without storage",
        ),
        Some(Refusal::ForeignPool { .. }) => (
            Exit::ForeignStorage,
            "foreign-pool",
            "nothing was changed; see `gluster peer status`: where nobody means that pool, `gluster peer detach` this host there (or, on a host without volumes, stop glusterd and empty /var/lib/glusterd/peers), then join again",
        ),
        Some(Refusal::BrickWithoutAttributes(_)) => (
            Exit::StorageUnsafe,
            "brick-file-system",
            "put the brick on ext4 or xfs (`--brick` on the master); `--disable-glusterfs` joins without storage",
        ),
        Some(Refusal::BrickOnRoot(_)) => (
            Exit::StorageUnsafe,
            "brick-on-root",
            "mount a disk at `/data`; or allow it with `--allow-root-brick` on the master (`master serve`); `--disable-glusterfs` joins without storage",
        ),
        Some(Refusal::BrickLost(_)) => (
            Exit::StorageUnsafe,
            "brick-lost",
            "nothing was made in its place: if the brick's disk is not mounted (`findmnt`), mount it and join again; if its data is gone, the other copies fill an empty one again after `gluster volume reset-brick VOLUME HOST:BRICK start`, then the same with `HOST:BRICK commit force`",
        ),
        Some(Refusal::BrickFull { .. }) => (
            Exit::StorageUnsafe,
            "brick-full",
            "no brick was put there; make room, or mount a larger disk at `/data`; `--disable-glusterfs` joins without storage",
        ),
        Some(Refusal::Storage { code, .. }) => {
            let exit = if code == "old-glusterfs" { Exit::Incompatible } else { Exit::ForeignStorage };
            let (code, hint) = (
                code.clone(),
                "nothing was changed; once it is seen to, join again; `--disable-glusterfs` joins without storage",
            );
            return Failure::new(exit, JoinError::Host(refusals)).reason(code).hint(hint);
        }
        Some(Refusal::MountPointTaken { .. } | Refusal::MountPointHasFiles { .. }) => (
            Exit::StorageUnsafe,
            "mount-point-taken",
            "move what is there, or choose another place with `--mount` on the master",
        ),
        None => (Exit::Bug, "bug", "please report this"),
    };
    Failure::new(exit, JoinError::Host(refusals)).reason(reason).hint(hint)
}

fn step(error: StepError) -> Failure {
    let (exit, reason, hint) = match &error.cause {
        StepCause::Swarm(cause) => swarm(cause),
        StepCause::Mount(_) => (
            Exit::Waiting,
            "mount-failed",
            "see `/var/log/glusterfs/` on this host; the servers' ports 24007 and 49152 and up must be reachable",
        ),
        StepCause::NoEffect => {
            (Exit::Waiting, "no-effect", "something on this host undoes it: see `journalctl -b`, then join again")
        }
        StepCause::Brick(_) | StepCause::Io(_) => {
            (Exit::StorageUnsafe, "host-not-writable", "run as root; see whether the disk is full (`df -h`)")
        }
    };
    Failure::new(exit, error).reason(reason).hint(hint).next("clusterctl node join")
}

fn swarm(error: &SwarmError) -> (Exit, &'static str, &'static str) {
    match error {
        SwarmError::TokenRefused => (
            Exit::Auth,
            "swarm-token-refused",
            "the Swarm refused two tokens in a row; see that the controller runs on a manager of it, then join again",
        ),
        SwarmError::CaMismatch => {
            (Exit::ForeignSwarm, "foreign-swarm", "another Swarm answers at the manager's address; nothing was joined")
        }
        SwarmError::ManagerUnreachable => (
            Exit::Waiting,
            "manager-unreachable",
            "ports 2377/tcp, 7946/tcp+udp and 4789/udp must be open between the hosts; with a tunnel, see that its MTU fits",
        ),
        SwarmError::LargePacketsLost { .. } => (
            Exit::Waiting,
            "manager-unreachable",
            "a link on the way carries smaller packets than this host's interface says: compare `ip link` on both (9000 needs every switch in between to carry it, tunnels want 1420 or less), then lower it: `ip link set DEV mtu 1400`",
        ),
        SwarmError::AdvertisedAddressUnreachable => (
            Exit::Waiting,
            "advertised-address-unreachable",
            "pass the address that the managers reach this host at: `--ip`; `clusterctl ip --explain` shows the choice",
        ),
        SwarmError::NoLeader => {
            (Exit::Waiting, "swarm-no-leader", "too few managers are up: start them, then join again")
        }
        SwarmError::Unavailable { .. } | SwarmError::TimedOut { .. } => {
            (Exit::Waiting, "docker-unavailable", "look at it with `systemctl status docker`, then join again")
        }
        SwarmError::AlreadyPart | SwarmError::NotManager | SwarmError::Refused { .. } => {
            (Exit::Waiting, "swarm-join-failed", "`journalctl -u docker` has the details; join again")
        }
    }
}

#[cfg(test)]
mod tests;
