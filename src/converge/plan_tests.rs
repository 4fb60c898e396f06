//! The convergence law over every combination, and the cases that must be refused.

use super::*;
use crate::cluster::{NodeAddress, Secret, VolumeName};
use crate::converge::desired::BrickDesired;
use crate::providers::swarm::{CaDigest, Certified};

fn digest(letter: &str) -> CaDigest {
    CaDigest::parse(&letter.repeat(50)).unwrap()
}

fn engine(state: LocalState, manager: bool, ca: Option<CaDigest>) -> Engine {
    Engine {
        version: "20.10.24".into(),
        state,
        swarm_node_id: String::new(),
        manager,
        node_address: String::new(),
        error: String::new(),
        ca_digest: ca,
        cluster_id: None,
        managers: Vec::new(),
        certified: None,
    }
}

fn swarm(role: Role, token: bool) -> SwarmDesired {
    SwarmDesired {
        role,
        token: token.then(|| Secret::new("token")),
        managers: vec!["10.0.0.1:2377".into()],
        advertise: NodeAddress::parse("10.0.0.2").unwrap(),
        ca_digest: digest("a"),
        recorded: Some("own".into()),
    }
}

fn storage(mountable: bool, brick: Option<(bool, bool)>, volume_id: Option<&str>) -> StorageDesired {
    StorageDesired {
        volume: VolumeName::parse("shared").unwrap(),
        volume_id: volume_id.map(str::to_owned),
        mount: MountPoint::parse("/mnt/shared").unwrap(),
        refusal: None,
        mountable,
        why_not: "not yet".into(),
        servers: if mountable { vec!["10.0.0.1".into()] } else { Vec::new() },
        brick: brick.map(|(allow_root, reset)| BrickDesired {
            path: BrickPath::parse("/data/clusterctl/bricks/shared").unwrap(),
            allow_root,
            in_volume: false,
            pooled: None,
            reset,
        }),
    }
}

/// What a host looks like after a step went well.
fn after(step: &Step, mut observed: Observed) -> Observed {
    match step {
        Step::AbandonPendingJoin | Step::LeaveBrokenSwarm { .. } => {
            if let Some(engine) = &mut observed.engine {
                engine.state = LocalState::Inactive;
            }
        }
        Step::JoinSwarm(_) => {
            if let Some(engine) = &mut observed.engine {
                assert_eq!(engine.state, LocalState::Inactive, "a join works only from outside a Swarm");
                engine.state = LocalState::Active;
                engine.ca_digest = Some(digest("a"));
            }
        }
        Step::PrepareBrick { .. } => {
            if let Some(brick) = &mut observed.brick {
                assert!(brick.mark.is_none(), "a marked brick is never prepared");
                brick.empty |= !brick.exists;
                (brick.exists, brick.is_directory, brick.ours) = (true, true, true);
            }
        }
        Step::ResetBrick { .. } => {
            if let Some(brick) = &mut observed.brick {
                assert!(brick.ours && brick.empty, "only an empty brick of ours is cleaned");
                brick.mark = None;
            }
        }
        Step::Unmount { .. } => {
            if let Some(mount) = &mut observed.mount {
                assert!(matches!(mount.state, MountState::Stale(_)), "only a dead mount is taken away");
                mount.state = MountState::Absent;
            }
        }
        Step::Mount(spec) => {
            if let Some(mount) = &mut observed.mount {
                assert_eq!(mount.state, MountState::Absent);
                assert!(!spec.servers.is_empty());
                mount.state = MountState::Usable;
            }
        }
        Step::PersistMount(_) => {
            if let Some(mount) = &mut observed.mount {
                mount.persistent = true;
            }
        }
    }
    observed
}

fn every_engine() -> Vec<Engine> {
    let mut engines = Vec::new();
    for state in [LocalState::Inactive, LocalState::Pending, LocalState::Active, LocalState::Locked, LocalState::Error]
    {
        for manager in [false, true] {
            for ca in [None, Some(digest("a")), Some(digest("b"))] {
                engines.push(engine(state.clone(), manager, ca));
            }
        }
    }
    engines
}

fn every_brick() -> Vec<BrickObserved> {
    let mut bricks = Vec::new();
    for bits in 0..64_u8 {
        for mark in [None, Some("ours".to_owned()), Some("other".to_owned())] {
            let bit = |n: u8| bits & (1 << n) != 0;
            bricks.push(BrickObserved {
                exists: bit(0),
                is_directory: bit(1) || !bit(0),
                empty: bit(2),
                mark: mark.filter(|_| bit(0)),
                on_root: bit(3),
                ours: bit(4),
                keeps_attributes: bit(5),
                used_percent: Some(if bit(0) { 91 } else { 90 }),
                peers: Vec::new(),
            });
        }
    }
    bricks
}

fn every_mount() -> Vec<MountObserved> {
    let states = [
        MountState::Absent,
        MountState::Usable,
        MountState::Stale("gone".into()),
        MountState::Unwritable("no quorum".into()),
        MountState::Foreign { source: "/dev/sdb1".into() },
    ];
    let mut mounts = Vec::new();
    for state in states {
        for (point_has_files, persistent) in [(false, false), (false, true), (true, false), (true, true)] {
            let files = point_has_files && state == MountState::Absent;
            let would_hide = if files { vec!["kept".to_owned()] } else { Vec::new() };
            mounts.push(MountObserved { state: state.clone(), would_hide, persistent });
        }
    }
    mounts
}

/// What the tests carry out, and what is left then.
fn settle(desired: &Desired, observed: Observed) -> (Plan, Plan) {
    let first = plan(desired, &observed);
    let then = first.steps.iter().fold(observed, |observed, step| after(step, observed));
    let second = plan(desired, &then);
    (first, second)
}

/// S2-68: a carried-out plan leaves no steps, over every state of the Swarm.
#[test]
fn the_law_holds_for_the_swarm() {
    for role in [Role::Manager, Role::Worker] {
        for token in [false, true] {
            for engine in every_engine() {
                let desired = Desired { swarm: Some(swarm(role, token)), storage: None, ..Desired::default() };
                let joined_as = role == Role::Manager;
                // A host joins in the role that its token gives.
                let never_in =
                    matches!(engine.state, LocalState::Error | LocalState::Pending) && engine.ca_digest.is_none();
                let outside = never_in || engine.state == LocalState::Inactive;
                let engine = Engine { manager: if outside { joined_as } else { engine.manager }, ..engine };
                let (first, second) =
                    settle(&desired, Observed { engine: Some(engine.clone()), ..Observed::default() });
                if token || !outside {
                    assert!(second.steps.is_empty(), "{engine:?}: {first:?} then {second:?}");
                    assert_eq!(second.refusals, first.refusals, "{engine:?}");
                } else {
                    assert!(second.waits.contains(&Wait::Token), "{engine:?}");
                }
            }
        }
    }
}

/// S2-68: a carried-out plan leaves no steps, over every state of brick and mount.
#[test]
fn the_law_holds_for_storage() {
    for mountable in [false, true] {
        for want_brick in [None, Some((false, false)), Some((true, false)), Some((false, true)), Some((true, true))] {
            for volume_id in [None, Some("ours")] {
                for brick in every_brick() {
                    for mount in every_mount() {
                        let desired =
                            Desired { storage: Some(storage(mountable, want_brick, volume_id)), ..Desired::default() };
                        let observed =
                            Observed { engine: None, brick: Some(brick.clone()), mount: Some(mount.clone()) };
                        let (first, second) = settle(&desired, observed);
                        assert!(second.steps.is_empty(), "{brick:?} {mount:?}: {first:?} then {second:?}");
                        assert_eq!(second.refusals, first.refusals, "{brick:?} {mount:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn another_swarm_a_locked_and_a_broken_one_are_refused_each_with_its_reason() {
    let case = |engine| {
        let plan = plan(
            &Desired { swarm: Some(swarm(Role::Worker, true)), storage: None, ..Desired::default() },
            &Observed { engine: Some(engine), ..Observed::default() },
        );
        assert!(plan.steps.is_empty());
        plan.refusals.into_iter().next().unwrap().to_string()
    };
    assert!(case(engine(LocalState::Active, false, Some(digest("b")))).contains("another Swarm"));
    assert!(case(engine(LocalState::Active, false, None)).contains("another Swarm"));
    assert!(case(engine(LocalState::Locked, false, None)).contains("locked"));
    assert!(case(engine(LocalState::Error, false, Some(digest("a")))).contains("broken"));
    assert!(case(engine(LocalState::Active, true, Some(digest("a")))).contains("a manager of the Swarm, and a worker"));
}

#[test]
fn a_join_that_never_got_through_is_dropped_before_the_next() {
    for state in [LocalState::Pending, LocalState::Error] {
        let plan = plan(
            &Desired { swarm: Some(swarm(Role::Worker, true)), storage: None, ..Desired::default() },
            &Observed { engine: Some(engine(state, false, None)), ..Observed::default() },
        );
        assert!(matches!(plan.steps.as_slice(), [Step::AbandonPendingJoin, Step::JoinSwarm(_)]));
    }
}

/// A member that comes up after a power cut is waited for: leaving could dissolve the Swarm.
#[test]
fn a_pending_member_is_waited_for_and_never_left() {
    let desired = Desired { swarm: Some(swarm(Role::Worker, true)), ..Desired::default() };
    let known = engine(LocalState::Pending, true, Some(digest("a")));
    let named = Engine { swarm_node_id: "abc".into(), ..engine(LocalState::Pending, true, None) };
    for engine in [known, named] {
        let plan = plan(&desired, &Observed { engine: Some(engine), ..Observed::default() });
        assert!(plan.steps.is_empty() && plan.waits == [Wait::SwarmComingUp], "{plan:?}");
    }
}

fn refused_brick(brick: BrickObserved, want: (bool, bool)) -> Plan {
    let desired = Desired { storage: Some(storage(false, Some(want), Some("ours"))), ..Desired::default() };
    let plan = plan(&desired, &Observed { brick: Some(brick), ..Observed::default() });
    assert!(plan.steps.is_empty(), "{plan:?}");
    plan
}

/// T14: a glusterd that somebody else has probed is no place for a brick.
#[test]
fn a_host_in_another_pool_is_refused() {
    let looked = |pooled, peers: &[&str]| {
        let mut storage = storage(true, Some((true, false)), None);
        storage.brick.as_mut().unwrap().pooled = pooled;
        let peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        let brick = BrickObserved { keeps_attributes: true, peers, ..BrickObserved::default() };
        let desired = Desired { storage: Some(storage), ..Desired::default() };
        plan(&desired, &Observed { brick: Some(brick), ..Observed::default() })
    };
    let refused = looked(Some(false), &["10.9.9.9"]);
    assert_eq!(refused.refusals, [Refusal::ForeignPool { peers: vec!["10.9.9.9".into()] }]);
    assert!(refused.steps.is_empty(), "{refused:?}");
    for (pooled, peers) in [(Some(true), &["10.0.0.1"][..]), (Some(false), &[]), (None, &["10.0.0.1"])] {
        assert!(looked(pooled, peers).refusals.is_empty(), "{pooled:?} {peers:?}");
    }
}

#[test]
fn bricks_that_are_not_ours_are_refused_and_never_touched() {
    let full = BrickObserved { exists: true, is_directory: true, keeps_attributes: true, ..BrickObserved::default() };
    let foreign = BrickObserved { mark: Some("other".into()), ..full.clone() };
    assert!(matches!(refused_brick(foreign.clone(), (true, true)).refusals[..], [Refusal::ForeignBrick { .. }]));
    assert!(matches!(refused_brick(full.clone(), (true, false)).refusals[..], [Refusal::BrickHasFiles(_)]));
    let file = BrickObserved { exists: true, ..BrickObserved::default() };
    assert!(matches!(refused_brick(file, (true, false)).refusals[..], [Refusal::BrickNotDirectory(_)]));
    let on_root = BrickObserved { on_root: true, keeps_attributes: true, ..BrickObserved::default() };
    assert!(matches!(refused_brick(on_root, (false, false)).refusals[..], [Refusal::BrickOnRoot(_)]));
    // With files in it, a marked brick is not cleaned even if it is ours and the controller asks for it.
    let with_files = BrickObserved { ours: true, ..foreign };
    assert!(refused_brick(with_files, (true, true)).refusals.is_empty());
}

/// G4, G18: no brick is put onto a full file system, nor in the place of one that is not there any more.
#[test]
fn bricks_are_not_made_where_they_would_harm() {
    let room = BrickObserved { keeps_attributes: true, used_percent: Some(90), ..BrickObserved::default() };
    let storage_of = |brick: BrickObserved| {
        let desired = Desired { storage: Some(storage(false, Some((false, false)), None)), ..Desired::default() };
        plan(&desired, &Observed { brick: Some(brick), ..Observed::default() })
    };
    assert!(matches!(storage_of(room.clone()).steps[..], [Step::PrepareBrick { .. }]));
    let full = BrickObserved { used_percent: Some(91), ..room.clone() };
    assert!(matches!(refused_brick(full.clone(), (false, false)).refusals[..], [Refusal::BrickFull { used: 91, .. }]));
    // One that is there stays.
    let made = BrickObserved { exists: true, is_directory: true, empty: true, ours: true, ..full };
    assert!(refused_brick(made.clone(), (false, false)).refusals.is_empty());

    let mut storage = storage(true, Some((false, false)), Some("ours"));
    storage.brick.as_mut().unwrap().in_volume = true;
    let desired = Desired { storage: Some(storage), ..Desired::default() };
    let looked = |brick| plan(&desired, &Observed { brick: Some(brick), ..Observed::default() });
    let marked = |mark: &str| BrickObserved { mark: Some(mark.to_owned()), ..made.clone() };
    for lost in [room, made.clone(), marked("other")] {
        let plan = looked(lost);
        assert!(plan.steps.is_empty() && matches!(plan.refusals[..], [Refusal::BrickLost(_)]), "{plan:?}");
    }
    assert!(looked(marked("ours")).is_converged());
}

/// G2, G3, G8: what the controller refuses is refused here, with its words, and nothing is done about storage.
#[test]
fn a_host_that_is_not_served_does_nothing() {
    let refusal = |code: &str| {
        let refusal = StorageRefusal { code: code.to_owned(), message: "the way out".to_owned() };
        let storage = StorageDesired { refusal: Some(refusal), ..storage(true, Some((true, true)), None) };
        let desired = Desired { storage: Some(storage), ..Desired::default() };
        plan(&desired, &Observed { brick: Some(BrickObserved::default()), ..Observed::default() })
    };
    let refused = refusal("peer-rejected");
    assert!(refused.steps.is_empty() && refused.refusals[0].to_string() == "the way out", "{refused:?}");
    assert!(!refused.refusals[0].is_of_something_else());
    assert!(refusal("foreign-pool").refusals[0].is_of_something_else());
}

#[test]
fn a_dead_mount_is_replaced_and_a_foreign_one_is_not() {
    let desired = Desired { storage: Some(storage(true, None, Some("ours"))), ..Desired::default() };
    let mount = |state| Observed {
        mount: Some(MountObserved { state, would_hide: Vec::new(), persistent: true }),
        ..Observed::default()
    };
    let stale = plan(&desired, &mount(MountState::Stale("gone".into())));
    assert!(matches!(stale.steps.as_slice(), [Step::Unmount { .. }, Step::Mount(_)]));
    let foreign = plan(&desired, &mount(MountState::Foreign { source: "/dev/sdb1".into() }));
    assert!(foreign.steps.is_empty() && matches!(foreign.refusals[..], [Refusal::MountPointTaken { .. }]));
    let unwritable = plan(&desired, &mount(MountState::Unwritable("no quorum".into())));
    assert!(unwritable.steps.is_empty() && matches!(unwritable.waits[..], [Wait::VolumeUnwritable(_)]));
}

/// A plan says the same thing to a person, and no secret.
#[test]
fn steps_read_as_sentences_without_secrets() {
    let desired = Desired {
        swarm: Some(swarm(Role::Worker, true)),
        storage: Some(storage(true, Some((false, false)), None)),
        ..Desired::default()
    };
    let observed = Observed {
        engine: Some(engine(LocalState::Inactive, false, None)),
        brick: Some(BrickObserved { keeps_attributes: true, ..BrickObserved::default() }),
        mount: Some(MountObserved { state: MountState::Absent, would_hide: Vec::new(), persistent: false }),
    };
    let lines: Vec<String> = plan(&desired, &observed).steps.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    join the Swarm at 10.0.0.1:2377 as 10.0.0.2
    make the directory /data/clusterctl/bricks/shared for a brick of `shared`
    make the mount at /mnt/shared come back after a reboot
    mount `shared` from 10.0.0.1 at /mnt/shared
    ");
}

/// N7: of members that broke, a worker of this very Swarm joins it again, under the id that it is on record with.
#[test]
fn only_a_worker_of_this_swarm_gives_up_its_place() {
    let broken = |id: &str, role: Role, ca: &str| Engine {
        error: "certificate has expired".into(),
        certified: Some(Certified { swarm_node_id: id.into(), role }),
        ..engine(LocalState::Error, false, Some(digest(ca)))
    };
    let planned = |engine: Engine, token: bool| {
        let desired = Desired { swarm: Some(swarm(Role::Worker, token)), ..Desired::default() };
        let plan = plan(&desired, &Observed { engine: Some(engine), ..Observed::default() });
        (plan.steps.len(), plan.refusals)
    };
    assert_eq!(planned(broken("own", Role::Worker, "a"), true), (2, Vec::new()));
    let refused = vec![Refusal::SwarmBroken("certificate has expired".into())];
    for (engine, token) in [
        (broken("own", Role::Manager, "a"), true),
        (broken("other", Role::Worker, "a"), true),
        (broken("own", Role::Worker, "b"), true),
        (broken("own", Role::Worker, "a"), false),
        (Engine { certified: None, ..broken("own", Role::Worker, "a") }, true),
    ] {
        assert_eq!(planned(engine.clone(), token), (0, refused.clone()), "{engine:?}");
    }
}

/// N13: nothing is done about it, and it does not keep the host from being as it should be.
#[test]
fn an_address_that_docker_does_not_know_yet_is_a_finding() {
    let found = |goes_by: &str, manager: bool| {
        let role = if manager { Role::Manager } else { Role::Worker };
        let desired = Desired { swarm: Some(swarm(role, true)), ..Desired::default() };
        let engine = Engine { node_address: goes_by.into(), ..engine(LocalState::Active, manager, Some(digest("a"))) };
        let plan = plan(&desired, &Observed { engine: Some(engine), ..Observed::default() });
        assert!(plan.is_converged(), "{plan:?}");
        plan.findings.iter().map(Finding::word).collect::<Vec<_>>()
    };
    assert_eq!((found("", false), found("10.0.0.2", false)), (vec![], vec![]));
    assert_eq!(found("10.0.0.9", false), ["needs-docker-restart"]);
    assert_eq!(found("10.0.0.9", true), ["manager-moved"]);
}
