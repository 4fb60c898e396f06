//! What every Swarm engine must do, fake or real: one suite, so that the fake cannot drift from Docker.
//!
//! A case takes two engines that are in no Swarm and may leave them in any state; the harness clears up between cases.
//! On real engines several cases take ten to twenty seconds each, since Docker tries for so long.

#![expect(clippy::unwrap_used, reason = "the cases of a suite are tests")]

use std::future::Future;
use std::time::Duration;

use clusterctl::cluster::{NodeAddress, Role, Secret};
use clusterctl::providers::swarm::{
    Availability, CaDigest, Engine, Join, JoinTokens, LocalState, Member, Reachability, SwarmEngine, SwarmError,
};

mod private;

use crate::fakes::swarm::{Failure, FakeEngine, FakeSwarmWorld};
use crate::lab::usable;

/// How long a real Swarm may take to show what a call led to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two engines that are in no Swarm and reach each other.
struct Pair<'a> {
    first: &'a dyn SwarmEngine,
    first_address: NodeAddress,
    second: &'a dyn SwarmEngine,
    second_address: NodeAddress,
    /// An address of their network that nobody has.
    nobody: NodeAddress,
}

impl Pair<'_> {
    /// Makes the first engine a manager, and gives the Swarm's tokens.
    async fn init(&self) -> JoinTokens {
        self.first.init(self.first_address).await.unwrap();
        self.first.join_tokens().await.unwrap()
    }

    /// How the second engine joins the first one's Swarm with `token`.
    fn join(&self, token: &Secret) -> Join {
        Join {
            token: token.clone(),
            managers: vec![format!("{}:2377", self.first_address)],
            advertise: self.second_address,
        }
    }

    /// The first engine's entry for the second engine's current part.
    async fn second_member(&self) -> Option<Member> {
        let id = self.second.inspect().await.unwrap().swarm_node_id;
        self.first.members().await.unwrap().into_iter().find(|member| member.swarm_node_id == id)
    }

    async fn expect_inactive(&self) {
        let engine = self.second.inspect().await.unwrap();
        assert_eq!((engine.state, engine.ca_digest), (LocalState::Inactive, None));
        assert_eq!(engine.swarm_node_id, "");
    }
}

/// Waits until `look` finds what it looks for.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(found) => found,
        Err(_) => panic!("never seen: {what}"),
    }
}

async fn eventually_engine(what: &str, engine: &dyn SwarmEngine, wanted: impl Fn(&Engine) -> bool) -> Engine {
    let wanted = &wanted;
    eventually(what, || async { engine.inspect().await.ok().filter(|engine| wanted(engine)) }).await
}

/// A token of the same Swarm with a secret that nobody gave out.
fn with_wrong_secret(token: &Secret) -> Secret {
    let digest = CaDigest::of_token(token).unwrap();
    Secret::new(format!("SWMTKN-1-{digest}-{}", "a".repeat(25)))
}

/// S2-17
async fn outside_a_swarm(pair: Pair<'_>) {
    let engine = pair.first.inspect().await.unwrap();
    assert_eq!((engine.state, engine.manager, engine.ca_digest), (LocalState::Inactive, false, None));
    assert_eq!((engine.swarm_node_id.as_str(), engine.error.as_str(), engine.cluster_id), ("", "", None));
    assert!(!engine.version.is_empty() && engine.managers.is_empty());
    assert_eq!(pair.first.version().await.unwrap(), engine.version);
    assert!(matches!(pair.first.join_tokens().await, Err(SwarmError::NotManager)));
    assert!(matches!(pair.first.members().await, Err(SwarmError::NotManager)));
    assert!(matches!(pair.first.leave(false).await, Err(SwarmError::Refused { .. })));
}

/// S2-28
async fn initialises_once(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let engine = pair.first.inspect().await.unwrap();
    assert_eq!((&engine.state, engine.manager), (&LocalState::Active, true));
    assert_eq!(engine.node_address, pair.first_address.to_string());
    assert_eq!(engine.managers, [format!("{}:2377", pair.first_address)]);
    assert!(engine.cluster_id.is_some());
    for role in [Role::Worker, Role::Manager] {
        assert_eq!(CaDigest::of_token(tokens.for_role(role)), engine.ca_digest, "{role}");
    }
    let members = pair.first.members().await.unwrap();
    let [only] = members.as_slice() else { panic!("{members:?}") };
    assert_eq!((&only.swarm_node_id, only.role, only.leader), (&engine.swarm_node_id, Role::Manager, true));
    assert!(matches!(pair.first.init(pair.first_address).await, Err(SwarmError::AlreadyPart)));
    assert_eq!(pair.first.inspect().await.unwrap(), engine);
}

/// S2-34, N3: `active` and the digest in the token prove a join.
async fn joins_as_worker_and_leaves(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let join = pair.join(&tokens.worker);
    pair.second.join(&join).await.unwrap();
    let engine = eventually_engine("an active worker", pair.second, |e| e.state == LocalState::Active).await;
    assert_eq!(engine.ca_digest, CaDigest::of_token(&tokens.worker));
    assert_eq!((engine.manager, engine.cluster_id), (false, None));
    assert_eq!(engine.node_address, pair.second_address.to_string());
    assert_eq!(engine.managers, [format!("{}:2377", pair.first_address)]);
    let ready = || async { pair.second_member().await.filter(|member| member.state == "ready") };
    let member = eventually("a ready worker on the list", ready).await;
    assert_eq!((member.role, member.leader, member.availability.as_str()), (Role::Worker, false, "active"));
    assert_eq!(member.address, pair.second_address.to_string());

    assert!(matches!(pair.second.join(&join).await, Err(SwarmError::AlreadyPart)));
    assert!(matches!(pair.second.join_tokens().await, Err(SwarmError::NotManager)));
    let id = &member.swarm_node_id;
    assert!(matches!(pair.first.remove_member(id, false).await, Err(SwarmError::Refused { .. })), "it is not down");

    pair.second.leave(false).await.unwrap();
    pair.expect_inactive().await;
    let down = || async {
        let members = pair.first.members().await.unwrap();
        members.into_iter().find(|member| member.swarm_node_id == *id && member.state == "down")
    };
    eventually("the worker down on the list", down).await;
    pair.first.remove_member(id, false).await.unwrap();
    assert_eq!(pair.first.members().await.unwrap().len(), 1);
    assert!(matches!(pair.first.remove_member(id, false).await, Err(SwarmError::Refused { .. })));
}

/// S2-34
async fn joins_as_manager_and_is_demoted(pair: Pair<'_>) {
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.manager)).await.unwrap();
    let engine = eventually_engine("an active manager", pair.second, |e| {
        e.state == LocalState::Active && e.manager && e.cluster_id.is_some()
    })
    .await;
    assert_eq!(engine.ca_digest, CaDigest::of_token(&tokens.manager));
    assert_eq!(engine.cluster_id, pair.first.inspect().await.unwrap().cluster_id);
    let second_tokens = || async { pair.second.join_tokens().await.ok() };
    assert_eq!(eventually("the tokens on the second manager", second_tokens).await, tokens);
    assert!(matches!(pair.second.leave(false).await, Err(SwarmError::Refused { .. })), "managers need force");
    assert!(matches!(pair.first.remove_member(&engine.swarm_node_id, false).await, Err(SwarmError::Refused { .. })));

    pair.first.set_role(&engine.swarm_node_id, Role::Worker).await.unwrap();
    eventually_engine("a demoted manager", pair.second, |e| e.state == LocalState::Active && !e.manager).await;
    pair.first.set_role(&engine.swarm_node_id, Role::Worker).await.unwrap();
    let first_id = pair.first.inspect().await.unwrap().swarm_node_id;
    assert!(matches!(pair.first.set_role(&first_id, Role::Worker).await, Err(SwarmError::Refused { .. })));
    assert!(matches!(pair.first.set_role("nosuchnode", Role::Worker).await, Err(SwarmError::Refused { .. })));
    pair.second.leave(false).await.unwrap();
    pair.expect_inactive().await;
}

/// What `node remove` begins with: a drained member is on the list as such, and can be taken back.
async fn drains_a_member_and_takes_it_back(pair: Pair<'_>) {
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
    let ready = || async { pair.second_member().await.filter(|member| member.state == "ready") };
    let id = eventually("a ready worker on the list", ready).await.swarm_node_id;
    for (availability, word) in
        [(Availability::Drain, "drain"), (Availability::Drain, "drain"), (Availability::Active, "active")]
    {
        pair.first.set_availability(&id, availability).await.unwrap();
        let member = pair.second_member().await.unwrap();
        assert_eq!((member.availability.as_str(), member.is_drained()), (word, word == "drain"));
        assert_eq!((member.role, member.reachability), (Role::Worker, None));
        assert_eq!(pair.first.running_tasks(&id).await.unwrap(), 0);
    }
    let unknown = pair.first.set_availability("nosuchnode", Availability::Drain).await;
    assert!(matches!(unknown, Err(SwarmError::Refused { .. })), "{unknown:?}");
    let unknown = pair.first.running_tasks("nosuchnode").await;
    assert!(matches!(unknown, Err(SwarmError::Refused { .. })), "{unknown:?}");
    let by_worker = pair.second.set_availability(&id, Availability::Drain).await;
    assert!(matches!(by_worker, Err(SwarmError::NotManager)), "{by_worker:?}");
    assert!(matches!(pair.second.running_tasks(&id).await, Err(SwarmError::NotManager)));
}

/// A member that runs is taken off the list with force alone.
async fn removes_a_running_worker_by_force(pair: Pair<'_>) {
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
    let ready = || async { pair.second_member().await.filter(|member| member.state == "ready") };
    let id = eventually("a ready worker on the list", ready).await.swarm_node_id;
    assert!(matches!(pair.first.remove_member(&id, false).await, Err(SwarmError::Refused { .. })));
    pair.first.remove_member(&id, true).await.unwrap();
    assert_eq!(pair.first.members().await.unwrap().len(), 1);
    assert!(matches!(pair.first.remove_member(&id, true).await, Err(SwarmError::Refused { .. })));
}

/// A manager is not removed with whatever force, until its vote is gone; which is some time after the demotion.
async fn a_manager_is_demoted_before_it_is_removed(pair: Pair<'_>) {
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.manager)).await.unwrap();
    let voting = || async { pair.second_member().await.filter(|m| m.reachability == Some(Reachability::Reachable)) };
    let member = eventually("a second manager that is heard from", voting).await;
    let id = &member.swarm_node_id;
    assert_eq!(member.role, Role::Manager);
    for force in [false, true] {
        let refused = pair.first.remove_member(id, force).await;
        assert!(matches!(refused, Err(SwarmError::Refused { .. })), "{force}: {refused:?}");
    }
    pair.first.set_role(id, Role::Worker).await.unwrap();
    assert_eq!(pair.second_member().await.unwrap().role, Role::Worker, "what it is to be shows at once");
    let demoted = || async { pair.second_member().await.filter(|member| member.reachability.is_none()) };
    eventually("a member without a vote", demoted).await;
    pair.first.remove_member(id, true).await.unwrap();
    let members = pair.first.members().await.unwrap();
    let [only] = members.as_slice() else { panic!("{members:?}") };
    assert_eq!(only.reachability, Some(Reachability::Reachable));
}

/// N9: who was handed a token before gets in no more, and members stay.
async fn rotated_tokens_open_nothing(pair: Pair<'_>) {
    let before = pair.init().await;
    pair.first.rotate_join_tokens().await.unwrap();
    let after = pair.first.join_tokens().await.unwrap();
    assert!(after.worker != before.worker && after.manager != before.manager);
    for old in [&before.worker, &before.manager] {
        let result = pair.second.join(&pair.join(old)).await;
        assert!(matches!(result, Err(SwarmError::TokenRefused)), "{result:?}");
        pair.expect_inactive().await;
    }
    pair.second.join(&pair.join(&after.worker)).await.unwrap();
    pair.first.rotate_join_tokens().await.unwrap();
    assert_eq!(pair.first.members().await.unwrap().len(), 2);
}

/// N9
async fn a_wrong_secret_is_refused(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let result = pair.second.join(&pair.join(&with_wrong_secret(&tokens.worker))).await;
    assert!(matches!(result, Err(SwarmError::TokenRefused)), "{result:?}");
    pair.expect_inactive().await;
    let result = pair.second.join(&pair.join(&Secret::new("nonsense"))).await;
    assert!(matches!(result, Err(SwarmError::TokenRefused)), "{result:?}");
    pair.expect_inactive().await;
}

/// N4
async fn a_token_of_another_swarm_is_refused(pair: Pair<'_>) {
    pair.init().await;
    let token = Secret::new(format!("SWMTKN-1-{}-{}", "0".repeat(50), "a".repeat(25)));
    let result = pair.second.join(&pair.join(&token)).await;
    assert!(matches!(result, Err(SwarmError::CaMismatch)), "{result:?}");
    pair.expect_inactive().await;
}

/// N4: two Swarms are told apart by their digests.
async fn two_swarms_differ(pair: Pair<'_>) {
    pair.init().await;
    pair.second.init(pair.second_address).await.unwrap();
    let (first, second) = (pair.first.inspect().await.unwrap(), pair.second.inspect().await.unwrap());
    assert_ne!(first.ca_digest, second.ca_digest);
    assert_ne!(first.cluster_id, second.cluster_id);
}

/// N5: nobody answers; the engine is left pending, which is no Swarm, and can leave.
async fn an_unreachable_manager_leaves_it_pending(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let join = Join { managers: vec![format!("{}:2377", pair.nobody)], ..pair.join(&tokens.worker) };
    let result = pair.second.join(&join).await;
    assert!(matches!(result, Err(SwarmError::ManagerUnreachable)), "{result:?}");
    let engine = pair.second.inspect().await.unwrap();
    assert_eq!((engine.state, engine.ca_digest), (LocalState::Pending, None));
    assert!(matches!(pair.second.join(&join).await, Err(SwarmError::AlreadyPart)));
    pair.second.leave(true).await.unwrap();
    pair.expect_inactive().await;
}

/// N5: a host that is there, but where no manager listens.
async fn a_manager_that_does_not_listen_ends_the_join(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let join = Join { managers: vec![format!("{}:2377", pair.second_address)], ..pair.join(&tokens.worker) };
    let result = pair.second.join(&join).await;
    assert!(matches!(result, Err(SwarmError::ManagerUnreachable)), "{result:?}");
    pair.expect_inactive().await;
}

/// N5: only the first of several managers is ever tried, so callers must put one there that answers.
async fn only_the_first_manager_counts(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let (alive, dead) = (format!("{}:2377", pair.first_address), format!("{}:2377", pair.nobody));
    let join =
        |managers: [&String; 2]| Join { managers: managers.map(String::clone).into(), ..pair.join(&tokens.worker) };
    let result = pair.second.join(&join([&dead, &alive])).await;
    assert!(matches!(result, Err(SwarmError::ManagerUnreachable)), "{result:?}");
    pair.second.leave(true).await.unwrap();
    pair.second.join(&join([&alive, &dead])).await.unwrap();
    eventually_engine("an active worker", pair.second, |e| e.state == LocalState::Active).await;
}

/// A manager that cannot be called back leaves an entry behind that looks healthy.
async fn an_unreachable_advertised_address_leaves_a_ghost(pair: Pair<'_>) {
    let tokens = pair.init().await;
    let join = Join { advertise: pair.nobody, ..pair.join(&tokens.manager) };
    let result = pair.second.join(&join).await;
    assert!(matches!(result, Err(SwarmError::AdvertisedAddressUnreachable)), "{result:?}");
    pair.expect_inactive().await;
    let members = pair.first.members().await.unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    assert!(members.iter().all(|member| member.role == Role::Manager && member.state == "ready"), "{members:?}");
    assert_eq!(pair.first.inspect().await.unwrap().error, "", "a ghost has no vote");
}

/// The state stays `active` when the leader is lost; only the error text tells.
async fn a_lost_leader_shows_in_the_error_alone(pair: Pair<'_>) {
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.manager)).await.unwrap();
    eventually_engine("a second manager", pair.second, |e| e.manager && e.cluster_id.is_some()).await;
    pair.second.leave(true).await.unwrap();
    let lost = |e: &Engine| e.error.contains("does not have a leader");
    let engine = eventually_engine("the loss in the error text", pair.first, lost).await;
    assert_eq!((engine.state, engine.manager), (LocalState::Active, true));
    assert_eq!(engine.ca_digest, CaDigest::of_token(&tokens.worker));
    assert!(matches!(pair.first.members().await, Err(SwarmError::NoLeader)));
    assert!(matches!(pair.first.join_tokens().await, Err(SwarmError::NoLeader)));
    let result = pair.second.join(&pair.join(&tokens.worker)).await;
    assert!(matches!(result, Err(SwarmError::NoLeader)), "{result:?}");
    pair.expect_inactive().await;
}

/// Runs the named cases against the fake, each in a world of its own, and lists the first ones for the real engines.
macro_rules! contract {
    (on both: $($case:ident),* ; on the fake: $($slow:ident),* $(,)?) => {
        mod fake {
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    let world = super::FakeSwarmWorld::new();
                    super::$case(super::fake_pair(&super::fake_engines(&world))).await;
                }
            )*
            $(
                #[tokio::test(start_paused = true)]
                async fn $slow() {
                    let world = super::FakeSwarmWorld::new();
                    super::$slow(super::fake_pair(&super::fake_engines(&world))).await;
                }
            )*
        }

        /// Runs the cases on real engines, one after the other.
        async fn real_cases(real: &RealEngines) {
            $(
                real.reset().await;
                let started = std::time::Instant::now();
                $case(real.pair()).await;
                println!("{}: {:.1} s", stringify!($case), started.elapsed().as_secs_f32());
            )*
            real.reset().await;
        }
    };
}

// On the fake alone are cases in which a real Docker tries for ten to twenty seconds each, as in two that are on both.
contract!(
    on both:
    outside_a_swarm,
    initialises_once,
    joins_as_worker_and_leaves,
    joins_as_manager_and_is_demoted,
    drains_a_member_and_takes_it_back,
    removes_a_running_worker_by_force,
    rotated_tokens_open_nothing,
    a_manager_is_demoted_before_it_is_removed,
    a_wrong_secret_is_refused,
    two_swarms_differ,
    an_unreachable_manager_leaves_it_pending,
    an_unreachable_advertised_address_leaves_a_ghost;
    on the fake:
    a_token_of_another_swarm_is_refused,
    a_manager_that_does_not_listen_ends_the_join,
    only_the_first_manager_counts,
    a_lost_leader_shows_in_the_error_alone,
);

fn fake_engines(world: &FakeSwarmWorld) -> (FakeEngine, FakeEngine) {
    (world.engine("h1", "10.0.0.1"), world.engine("h2", "10.0.0.2"))
}

fn fake_pair((first, second): &(FakeEngine, FakeEngine)) -> Pair<'_> {
    let address = |text: &str| text.parse::<NodeAddress>().unwrap();
    Pair {
        first,
        first_address: address("10.0.0.1"),
        second,
        second_address: address("10.0.0.2"),
        nobody: address("10.0.0.99"),
    }
}

/// Two real engines, which the suite may make leave whatever they are in.
struct RealEngines {
    first: private::PrivateDocker,
    second: private::PrivateDocker,
}

impl RealEngines {
    fn pair(&self) -> Pair<'_> {
        Pair {
            first: &self.first.engine,
            first_address: self.first.address,
            second: &self.second.engine,
            second_address: self.second.address,
            nobody: "10.231.7.99".parse().unwrap(),
        }
    }

    /// Takes both engines out of every Swarm.
    async fn reset(&self) {
        for engine in [&self.second.engine, &self.first.engine] {
            let outside = || async {
                match engine.inspect().await.ok()?.state {
                    LocalState::Inactive => Some(()),
                    LocalState::Pending | LocalState::Active | LocalState::Locked | LocalState::Error => {
                        engine.leave(true).await.ok();
                        None
                    }
                }
            };
            eventually("an engine outside of every Swarm", outside).await;
        }
    }
}

/// The same cases on real Docker daemons.
#[tokio::test]
async fn lab_real_engines_keep_the_contract() {
    if !usable("lab_real_engines_keep_the_contract") {
        return;
    }
    let (first, second) = private::pair().await;
    real_cases(&RealEngines { first, second }).await;
}

/// N9: a token that was rotated between the reply and the join.
#[tokio::test]
async fn fake_refuses_a_rotated_token() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let old = pair.init().await;
    engines.0.rotate_tokens();
    let result = pair.second.join(&pair.join(&old.worker)).await;
    assert!(matches!(result, Err(SwarmError::TokenRefused)), "{result:?}");
    let new = pair.first.join_tokens().await.unwrap();
    assert_eq!(CaDigest::of_token(&new.worker), CaDigest::of_token(&old.worker));
    pair.second.join(&pair.join(&new.worker)).await.unwrap();
}

/// N5: a pending join gets through when the network heals.
#[tokio::test]
async fn fake_goes_on_joining_in_the_background() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    engines.1.set_connected(false);
    let result = pair.second.join(&pair.join(&tokens.worker)).await;
    assert!(matches!(result, Err(SwarmError::ManagerUnreachable)));
    assert_eq!(pair.second.inspect().await.unwrap().state, LocalState::Pending);
    engines.1.set_connected(true);
    let engine = pair.second.inspect().await.unwrap();
    assert_eq!((engine.state, engine.ca_digest), (LocalState::Active, CaDigest::of_token(&tokens.worker)));
}

/// N7: a join that is refused in the background leaves `error`, without a digest.
#[tokio::test]
async fn fake_shows_a_join_that_failed_in_the_background() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    engines.1.set_connected(false);
    pair.second.join(&pair.join(&with_wrong_secret(&tokens.worker))).await.unwrap_err();
    engines.1.set_connected(true);
    let engine = pair.second.inspect().await.unwrap();
    assert_eq!((engine.state, engine.ca_digest), (LocalState::Error, None));
    pair.second.leave(true).await.unwrap();
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
}

/// N6, N7: locked and broken engines are neither members nor outside.
#[tokio::test]
async fn fake_shows_locked_and_broken_engines() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
    engines.1.break_with("certificate has expired");
    let engine = pair.second.inspect().await.unwrap();
    assert_eq!((engine.state, engine.error.as_str()), (LocalState::Error, "certificate has expired"));
    engines.0.lock();
    assert_eq!(pair.first.inspect().await.unwrap().state, LocalState::Locked);
    assert!(matches!(pair.first.join_tokens().await, Err(SwarmError::Refused { .. })));
    assert!(matches!(pair.first.leave(false).await, Err(SwarmError::Refused { .. })));
    for engine in [pair.first, pair.second] {
        assert!(matches!(engine.join(&pair.join(&tokens.worker)).await, Err(SwarmError::AlreadyPart)));
    }
}

/// N1: Docker is down on one host; the others see the node down.
#[tokio::test]
async fn fake_stops_and_starts_docker() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
    let id = pair.second.inspect().await.unwrap().swarm_node_id;
    engines.1.set_up(false);
    assert!(matches!(pair.second.inspect().await, Err(SwarmError::Unavailable { .. })));
    let state = |members: Vec<Member>| members.into_iter().find(|m| m.swarm_node_id == id).unwrap().state;
    assert_eq!(state(pair.first.members().await.unwrap()), "down");
    engines.1.set_up(true);
    assert_eq!(pair.second.inspect().await.unwrap().state, LocalState::Active);
    assert_eq!(state(pair.first.members().await.unwrap()), "ready");
}

/// Ghosts can be taken off the list once the managers have noticed.
#[tokio::test]
async fn fake_ghosts_go_down_and_away() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    let join = Join { advertise: pair.nobody, ..pair.join(&tokens.manager) };
    pair.second.join(&join).await.unwrap_err();
    let old = engines.0.add_ghost("h9", Role::Worker, "10.0.0.9");
    let ghost = |members: Vec<Member>| members.into_iter().find(|m| m.hostname == "h2").unwrap();
    let fresh = ghost(pair.first.members().await.unwrap());
    assert!(matches!(pair.first.remove_member(&fresh.swarm_node_id, false).await, Err(SwarmError::Refused { .. })));
    engines.0.miss_heartbeats();
    assert_eq!(ghost(pair.first.members().await.unwrap()).state, "down");
    pair.first.remove_member(&fresh.swarm_node_id, false).await.unwrap();
    pair.first.remove_member(&old, false).await.unwrap();
    assert_eq!(pair.first.members().await.unwrap().len(), 1);
}

/// As the Swarm itself guards its quorum, and counts a manager that is being demoted until it is gone.
#[tokio::test]
async fn fake_demotes_nobody_whom_the_managers_need() {
    let world = FakeSwarmWorld::new();
    let engines = fake_engines(&world);
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.manager)).await.unwrap();
    let third = world.engine("h3", "10.0.0.3");
    third.join(&Join { advertise: "10.0.0.3".parse().unwrap(), ..pair.join(&tokens.manager) }).await.unwrap();
    let (second_id, third_id) =
        (pair.second.inspect().await.unwrap().swarm_node_id, third.inspect().await.unwrap().swarm_node_id);
    third.set_up(false);
    let refused = pair.first.set_role(&second_id, Role::Worker).await.unwrap_err();
    assert!(refused.to_string().contains("loss of quorum"), "{refused}");
    let listed = async |id: &str| {
        pair.first.members().await.unwrap().into_iter().find(|member| member.swarm_node_id == id).unwrap()
    };
    assert_eq!(listed(&third_id).await.reachability, Some(Reachability::Unreachable));
    pair.first.set_role(&third_id, Role::Worker).await.unwrap();
    assert_eq!(listed(&third_id).await.reachability, Some(Reachability::Unreachable), "the raft follows");
    assert_eq!(listed(&third_id).await.reachability, None);
    pair.first.set_role(&second_id, Role::Worker).await.unwrap();
}

/// Tasks on a drained member end a moment later, or not at all.
#[tokio::test]
async fn fake_ends_the_tasks_of_a_drained_member() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    pair.second.join(&pair.join(&tokens.worker)).await.unwrap();
    let id = pair.second.inspect().await.unwrap().swarm_node_id;
    let count = async || pair.first.running_tasks(&id).await.unwrap();
    engines.1.run_tasks(2, false);
    assert_eq!((count().await, count().await), (2, 2));
    pair.first.set_availability(&id, Availability::Drain).await.unwrap();
    assert_eq!((count().await, count().await), (2, 0));
    engines.1.run_tasks(1, true);
    assert_eq!((count().await, count().await), (1, 1));
}

/// N2: a call that timed out may have done everything or nothing.
#[tokio::test]
async fn fake_fails_the_call_it_was_told_to_and_counts() {
    let engines = fake_engines(&FakeSwarmWorld::new());
    let pair = fake_pair(&engines);
    let tokens = pair.init().await;
    let join = pair.join(&tokens.worker);
    engines.1.fail_call(1, Failure::BeforeEffect);
    engines.1.fail_call(3, Failure::AfterEffect);
    assert!(matches!(pair.second.join(&join).await, Err(SwarmError::TimedOut { .. })));
    assert_eq!(pair.second.inspect().await.unwrap().state, LocalState::Inactive);
    assert!(matches!(pair.second.join(&join).await, Err(SwarmError::TimedOut { .. })));
    assert_eq!(pair.second.inspect().await.unwrap().state, LocalState::Active);
    assert_eq!((engines.1.calls(), engines.1.mutating_calls()), (4, 2));
    assert_eq!(engines.0.mutating_calls(), 1);
}
