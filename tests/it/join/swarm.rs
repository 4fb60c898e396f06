//! What can be wrong with a host's part in a Swarm.

use clusterctl::converge::apply::{StepCause, StepError};
use clusterctl::converge::plan::Refusal;
use clusterctl::nodeagent::leave::LeaveError;
use clusterctl::providers::swarm::{self, LocalState, SwarmEngine, SwarmError};
use serde_json::json;

use super::*;
use crate::fakes::swarm::Failure;

async fn swarm_only(count: usize) -> World {
    World::started(count, Settings { storage: None, ..Settings::default() }).await
}

/// Expects that the host cannot be joined for one reason, and that nothing was done about it.
async fn refused(host: &Host, role: Option<Role>, expected: impl Fn(&Refusal) -> bool) {
    let before = host.mutations();
    let error = host.join(role, DEADLINE).await.unwrap_err();
    assert!(matches!(&error, JoinError::Host(found) if found.len() == 1 && expected(&found[0])), "{error:?}");
    assert_eq!(host.mutations(), before);
}

/// N9, S2-65: the token that the controller remembers may have been rotated since.
#[tokio::test]
async fn a_rotated_token_is_asked_for_again() {
    let world = swarm_only(3).await;
    join(&world.hosts[1]).await.unwrap();
    world.hosts[0].engine.rotate_tokens();
    let joined = join(&world.hosts[2]).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(names(&joined.done), ["join"]);
    world.check_invariants().await;
}

/// S2-67: a manager that does not answer ends the join with that word, and the next join gets through.
#[tokio::test]
async fn an_unreachable_manager_is_named() {
    let world = swarm_only(2).await;
    world.hosts[0].engine.set_connected(false);
    let error = world.hosts[1].join(None, Duration::from_secs(1)).await.unwrap_err();
    let named = |cause: &StepCause| matches!(cause, StepCause::Swarm(SwarmError::ManagerUnreachable));
    assert!(matches!(&error, JoinError::Step(StepError { cause, .. }) if named(cause)), "{error:?}");
    world.hosts[0].engine.set_connected(true);
    join(&world.hosts[1]).await.unwrap();
    world.check_invariants().await;
}

/// N1: a Docker that stops after the host has registered is waited for, and the join goes on.
#[tokio::test]
async fn a_docker_that_restarts_in_a_join_is_waited_for() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    // The version that the host registers with is the first call; what follows fails three times.
    for n in 2..=4 {
        host.engine.fail_call(n, Failure::BeforeEffect);
    }
    let joined = join(host).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(names(&joined.done), ["join"]);
    assert!(!host.engine.has_failures_left());
    world.check_invariants().await;
}

/// A join that never got through is dropped for one that does.
#[tokio::test]
async fn a_pending_join_is_abandoned() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    let token = world.hosts[0].engine.join_tokens().await.unwrap().worker;
    let managers = vec!["10.0.0.99:2377".to_owned()];
    host.engine.join(&swarm::Join { token, managers, advertise: host.address }).await.unwrap_err();
    assert_eq!(host.engine.inspect().await.unwrap().state, LocalState::Pending);
    assert_eq!(names(&join(host).await.unwrap().done), ["abandon", "join"]);
    world.check_invariants().await;
}

/// N4, T24: a host in another Swarm stays there.
#[tokio::test]
async fn a_foreign_swarm_is_refused() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    host.engine.init(host.address).await.unwrap();
    refused(host, None, |refusal| matches!(refusal, Refusal::ForeignSwarm { .. })).await;
    assert_eq!(host.engine.members().await.unwrap().len(), 1);
}

/// Another role than the one that a host has is for the operator to give.
#[tokio::test]
async fn another_role_is_refused() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    join(host).await.unwrap();
    refused(host, Some(Role::Manager), |refusal| matches!(refusal, Refusal::OtherRole { .. })).await;
}

/// N6, N7: a Swarm that is locked is named and left alone, and so is a manager that is broken.
#[tokio::test]
async fn a_locked_or_broken_swarm_is_refused() {
    let world = swarm_only(4).await;
    for host in &world.hosts[1..] {
        host.join(Some(Role::Manager), DEADLINE).await.unwrap();
    }
    world.hosts[1].engine.lock();
    refused(&world.hosts[1], None, |refusal| matches!(refusal, Refusal::SwarmLocked)).await;
    world.hosts[2].engine.break_with("certificate expired");
    refused(&world.hosts[2], None, |refusal| matches!(refusal, Refusal::SwarmBroken(_))).await;
}

/// N7, N11: a worker whose certificate is over takes a new place, and the old entry is named until it is pruned.
#[tokio::test]
async fn a_broken_worker_joins_again() {
    let world = swarm_only(2).await;
    join_all(&world).await;
    let host = &world.hosts[1];
    host.engine.break_with("remote error: tls: expired certificate");
    assert_eq!(names(&join(host).await.unwrap().done), ["give-up", "join"]);
    world.check_invariants().await;
    assert_at_rest(&world).await;

    let unregistered = async || world.status().await["UnregisteredTotal"].clone();
    let prune = async || world.ask_locally(&json!({"Action": "prune-ghosts"})).await["Pruned"].clone();
    assert_eq!((unregistered().await, prune().await), (1.into(), json!([])), "it may come back yet");
    host.engine.age_entries(jiff::SignedDuration::from_mins(11));
    assert_eq!(prune().await[0]["Hostname"], "h2");
    assert_eq!((unregistered().await, prune().await), (0.into(), json!([])));
    world.check_invariants().await;
}

/// N5: a manager that does not answer is not the only one.
#[tokio::test]
async fn another_manager_is_tried() {
    let mut world = swarm_only(4).await;
    for host in &world.hosts[1..3] {
        host.join(Some(Role::Manager), DEADLINE).await.unwrap();
    }
    // The controller has just looked at the Swarm, and goes by that for some seconds.
    world.restart().await;
    join(&world.hosts[1]).await.unwrap();
    world.hosts[0].engine.set_connected(false);
    // There is no other try where there is no time for Docker's 20 s.
    let joined = world.hosts[3].join(None, 3 * DEADLINE).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(names(&joined.done), ["abandon", "join"]);
    let Some(Step::JoinSwarm(last)) = joined.done.last() else { panic!("{joined:?}") };
    assert_ne!(last.managers[0], "10.0.0.1:2377");
    world.hosts[0].engine.set_connected(true);
    world.check_invariants().await;
}

/// R4: a host that is registered, and in another Swarm, leaves neither.
#[tokio::test]
async fn a_foreign_swarm_is_not_left() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    host.engine.init(host.address).await.unwrap();
    join(host).await.unwrap_err();
    let before = host.mutations();
    let error = host.leave(None).await.unwrap_err();
    assert!(matches!(error, LeaveError::ForeignSwarm(_)), "{error:?}");
    assert_eq!((host.mutations(), host.engine.members().await.unwrap().len()), (before, 1));
}

/// While the Swarm has no leader the shared volume goes on, and the Swarm is joined when it is back.
#[tokio::test]
async fn storage_does_not_wait_for_the_swarm() {
    the_volume_is_mounted_before_the_swarm_is_back(false).await;
}

/// The same for a host that was there before the controller.
#[tokio::test]
async fn storage_does_not_wait_for_the_swarm_where_the_controller_came_late() {
    the_volume_is_mounted_before_the_swarm_is_back(true).await;
}

async fn the_volume_is_mounted_before_the_swarm_is_back(controller_late: bool) {
    let mut world = World::started(4, Settings::default()).await;
    for host in &world.hosts[1..3] {
        host.join(Some(Role::Manager), DEADLINE).await.unwrap();
    }
    for host in &world.hosts[1..3] {
        host.engine.set_connected(false);
    }
    world.stop().await;
    if !controller_late {
        world.start().await;
    }
    let host = world.hosts[3].clone();
    let joining = tokio::spawn(async move { join(&host).await });
    if controller_late {
        world.turn_away(1).await;
        world.start().await;
    }
    let mounted = async || world.hosts[3].hand.mounted(&crate::world::mount_point());
    crate::world::until("the volume is mounted", mounted).await;
    assert_eq!(world.hosts[3].engine.inspect().await.unwrap().state, LocalState::Inactive);
    for host in &world.hosts[1..3] {
        host.engine.set_connected(true);
    }
    assert!(names(&joining.await.unwrap().unwrap().done).contains(&"join"));
    world.check_invariants().await;
}

/// The failure is on record with the controller.
#[tokio::test]
async fn what_went_wrong_is_reported() {
    let world = swarm_only(2).await;
    let host = &world.hosts[1];
    host.engine.init(host.address).await.unwrap();
    join(host).await.unwrap_err();
    let status = world.status().await.to_string();
    assert!(status.contains("another Swarm"), "{status}");
}
