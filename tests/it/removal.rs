//! Taking a node out of the Swarm, against engines that answer as Docker does.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use clusterctl::cluster::{Hostname, NodeAddress, Role, VolumeName};
use clusterctl::controller::removal::{LIMIT, MemberTarget, RemovalError, may_go, take_out};
use clusterctl::providers::swarm::{Join, Member, SwarmEngine};

use crate::fakes::swarm::{Failure, FakeEngine, FakeSwarmWorld};

/// The managers `h1` to `hN` and one worker after them; the first one is the controller's.
struct Swarm {
    engines: Vec<FakeEngine>,
}

impl Swarm {
    async fn of(managers: usize) -> Self {
        let world = FakeSwarmWorld::new();
        let address = |n: usize| format!("10.0.0.{n}");
        let engines: Vec<FakeEngine> =
            (1..=managers + 1).map(|n| world.engine(&format!("h{n}"), &address(n))).collect();
        engines[0].init(address(1).parse().unwrap()).await.unwrap();
        let tokens = engines[0].join_tokens().await.unwrap();
        for (n, engine) in engines.iter().enumerate().skip(1) {
            let role = if n < managers { Role::Manager } else { Role::Worker };
            let join = Join {
                token: tokens.for_role(role).clone(),
                managers: vec!["10.0.0.1:2377".to_owned()],
                advertise: address(n + 1).parse().unwrap(),
            };
            engine.join(&join).await.unwrap();
        }
        Self { engines }
    }

    fn first(&self) -> &FakeEngine {
        &self.engines[0]
    }

    fn worker(&self) -> usize {
        self.engines.len()
    }

    /// Host `n` as the controller has it on record.
    async fn target(&self, n: usize) -> MemberTarget {
        let id = self.engines[n - 1].inspect().await.unwrap().swarm_node_id;
        MemberTarget { swarm_node_id: Some(id), ..self.named(n) }
    }

    /// Host `n` as the controller has it if it never reported.
    fn named(&self, n: usize) -> MemberTarget {
        MemberTarget {
            hostname: Hostname::parse(&format!("h{n}")).unwrap(),
            address: NodeAddress::parse(&format!("10.0.0.{n}")).unwrap(),
            swarm_node_id: None,
            own_host: false,
            brick_of: None,
        }
    }

    async fn members(&self) -> Vec<Member> {
        self.first().members().await.unwrap()
    }

    async fn names(&self) -> Vec<String> {
        self.members().await.into_iter().map(|member| member.hostname).collect()
    }

    /// Expects a refusal that changed nothing.
    async fn refused(&self, target: &MemberTarget, code: &str) {
        let before = (self.first().mutating_calls(), self.members().await);
        for force in [false, true] {
            assert_eq!(may_go(self.first(), target, force).await.unwrap_err().code(), code);
            let error = take_out(self.first(), target, force).await.unwrap_err();
            let reply = error.reply();
            assert_eq!((reply.code.as_str(), reply.message), (code, error.to_string()));
            assert!(!reply.hint.is_empty());
        }
        assert_eq!((self.first().mutating_calls(), self.members().await), before);
    }
}

fn words(done: &[String]) -> Vec<&str> {
    done.iter().map(|line| line.split([' ', ':']).next().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_drained_and_removed() {
    let swarm = Swarm::of(1).await;
    let target = swarm.target(2).await;
    swarm.engines[1].run_tasks(3, false);
    let done = take_out(swarm.first(), &target, false).await.unwrap();
    assert_eq!(words(&done), ["drained", "took"], "{done:?}");
    assert!(done[1].contains("h2") && done[1].contains("still runs"), "{done:?}");
    assert_eq!(swarm.names().await, ["h1"]);
    // Again: nothing is left to do.
    let before = swarm.first().mutating_calls();
    assert_eq!(take_out(swarm.first(), &target, false).await.unwrap(), [] as [String; 0]);
    assert_eq!(swarm.first().mutating_calls(), before);
}

#[tokio::test(start_paused = true)]
async fn a_manager_is_demoted_before_it_goes() {
    let swarm = Swarm::of(3).await;
    let done = take_out(swarm.first(), &swarm.target(2).await, false).await.unwrap();
    assert_eq!(words(&done), ["drained", "demoted", "took"], "{done:?}");
    assert_eq!(swarm.names().await, ["h1", "h3", "h4"]);
    assert_eq!(swarm.first().inspect().await.unwrap().error, "");
}

/// X8: the managers that are left must be able to decide.
#[tokio::test(start_paused = true)]
async fn the_quorum_is_kept() {
    let swarm = Swarm::of(3).await;
    swarm.engines[2].set_up(false);
    let (second, third) = (swarm.target(2).await, swarm.named(3));
    swarm.refused(&second, "quorum").await;
    // The one that is down can go, and then the other one too.
    let done = take_out(swarm.first(), &third, false).await.unwrap();
    assert_eq!(words(&done), ["demoted", "took"], "{done:?}");
    take_out(swarm.first(), &second, false).await.unwrap();
    assert_eq!(swarm.names().await, ["h1", "h4"]);
}

#[tokio::test(start_paused = true)]
async fn the_controllers_host_and_bricks_stay() {
    let swarm = Swarm::of(2).await;
    swarm.refused(&swarm.target(1).await, "own-host").await;
    let own = MemberTarget { own_host: true, swarm_node_id: None, ..swarm.target(3).await };
    swarm.refused(&own, "own-host").await;
    let brick = MemberTarget { brick_of: Some(VolumeName::parse("shared").unwrap()), ..swarm.target(3).await };
    swarm.refused(&brick, "holds-brick").await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_end_keep_the_node_unless_forced() {
    let swarm = Swarm::of(1).await;
    let target = swarm.target(2).await;
    swarm.engines[1].run_tasks(2, true);
    let started = tokio::time::Instant::now();
    for _ in 0..2 {
        let error = take_out(swarm.first(), &target, false).await.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), ("tasks-running", "2 tasks have not ended on `h2`"));
        assert!(swarm.members().await.iter().any(|member| member.hostname == "h2" && member.is_drained()));
    }
    assert!(started.elapsed() <= LIMIT * 2, "{:?}", started.elapsed());
    let done = take_out(swarm.first(), &target, true).await.unwrap();
    assert_eq!(words(&done), ["took"], "{done:?}");
    assert_eq!(swarm.names().await, ["h1"]);
}

/// N1: nothing runs there any more that the managers know of, so that there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_down_just_goes() {
    let swarm = Swarm::of(1).await;
    let target = swarm.target(2).await;
    swarm.engines[1].run_tasks(2, true);
    swarm.engines[1].set_up(false);
    let done = take_out(swarm.first(), &target, false).await.unwrap();
    assert_eq!(words(&done), ["took"], "{done:?}");
    assert!(done[0].contains("it is down"), "{done:?}");
}

/// What earlier joins left behind under its name goes with it; a node that never joined needs nothing.
#[tokio::test(start_paused = true)]
async fn left_overs_go_too() {
    let swarm = Swarm::of(1).await;
    swarm.first().add_ghost("h2", Role::Worker, "10.0.0.2");
    swarm.first().add_ghost("h2", Role::Manager, "10.0.0.2");
    let done = take_out(swarm.first(), &swarm.target(2).await, false).await.unwrap();
    assert_eq!(words(&done), ["drained", "took", "took", "took"], "{done:?}");
    assert_eq!(swarm.names().await, ["h1"]);
    let never = swarm.named(9);
    assert_eq!(take_out(swarm.first(), &never, false).await.unwrap(), [] as [String; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_swarm_that_cannot_be_asked_is_an_error() {
    let swarm = Swarm::of(2).await;
    let target = swarm.target(3).await;
    swarm.engines[1].set_up(false);
    let error = take_out(swarm.first(), &target, false).await.unwrap_err();
    let reply = error.reply();
    assert_eq!(reply.code, "swarm-no-leader");
    assert_eq!(reply.message, "Docker could not list the Swarm's nodes: the Swarm has no leader at the moment");
    swarm.first().set_up(false);
    let error = take_out(swarm.first(), &target, false).await.unwrap_err();
    assert_eq!(error.code(), "swarm-unavailable");
    assert_eq!(may_go(swarm.first(), &target, false).await.unwrap_err().code(), "swarm-unavailable");
    // Forced, the controller can forget the node, and says what is left.
    may_go(swarm.first(), &target, true).await.unwrap();
    let done = take_out(swarm.first(), &target, true).await.unwrap();
    assert_eq!(words(&done), ["left"], "{done:?}");
    let id = target.swarm_node_id.as_deref().unwrap();
    assert!(done[0].contains(&format!("`docker node rm --force {id}`")), "{done:?}");
    let brick = MemberTarget { brick_of: Some(VolumeName::parse("shared").unwrap()), ..target.clone() };
    assert_eq!(may_go(swarm.first(), &brick, true).await.unwrap_err().code(), "holds-brick");
    assert_eq!(take_out(swarm.first(), &brick, true).await.unwrap_err().code(), "holds-brick");

    // A host in no Swarm has nobody to take out; forced, the node can be forgotten all the same.
    let alone = FakeSwarmWorld::new().engine("h1", "10.0.0.1");
    let error = take_out(&alone, &target, false).await.unwrap_err();
    assert!(matches!(error, RemovalError::NoManager("it is in no Swarm")), "{error}");
    assert_eq!(words(&take_out(&alone, &target, true).await.unwrap()), ["left"]);
    let brick = MemberTarget { brick_of: Some(VolumeName::parse("shared").unwrap()), ..target };
    assert_eq!(take_out(&alone, &brick, true).await.unwrap_err().code(), "holds-brick");
}

/// N2: whichever call fails, with or without its effect, the removal ends or a second one ends it.
#[tokio::test(start_paused = true)]
async fn any_call_may_fail() {
    for failure in [Failure::BeforeEffect, Failure::AfterEffect] {
        for n in 1.. {
            let swarm = Swarm::of(3).await;
            let target = swarm.target(3).await;
            swarm.engines[2].run_tasks(1, false);
            swarm.first().fail_call(n, failure);
            let first = take_out(swarm.first(), &target, false).await;
            if swarm.first().has_failures_left() {
                assert!(n > 6, "the steps are calls");
                break;
            }
            if let Err(error) = first {
                assert_eq!((n, error.code()), (1, "swarm-unavailable"), "only the first look has no second");
                take_out(swarm.first(), &target, false).await.unwrap();
            }
            assert_eq!(swarm.names().await, ["h1", "h2", "h4"], "{failure:?} of call {n}");
        }
    }
}

/// A Docker that fails again and again is named.
#[tokio::test(start_paused = true)]
async fn lasting_failures_end_the_attempt() {
    let swarm = Swarm::of(1).await;
    let target = swarm.target(swarm.worker()).await;
    for n in 2..=4 {
        swarm.first().fail_call(n, Failure::BeforeEffect);
    }
    let error = take_out(swarm.first(), &target, false).await.unwrap_err();
    assert_eq!(error.to_string(), "Docker could not list the Swarm's nodes");
    assert_eq!(swarm.names().await, ["h1", "h2"]);
}
