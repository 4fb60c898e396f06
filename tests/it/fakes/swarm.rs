//! Docker Swarm with state instead of a script: engines that share one world, and answer as Docker 20.10 does.
//!
//! No time passes in it: where Docker tries for ten or twenty seconds, the answer comes at once. A join that found no
//! manager goes on "in the background", which here means: at the next look, and so do demotions and the end of tasks on a
//! drained node. It does not imitate that such a join ends as `error` after a while, the ten seconds in which a Swarm that
//! lost its leader still looks healthy, nor what becomes of an engine that was removed while it runs.

#![expect(clippy::unwrap_used, reason = "a wrong address is the test's own mistake")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clusterctl::cluster::{NodeAddress, Role};
use clusterctl::providers::swarm::{Availability, Engine, Join, JoinTokens, Member, SwarmEngine, SwarmError};

use world::{EngineState, Node, Part, Raft, Standing, Swarm, Tasks, World};

mod world;

/// What a call that was told to fail has done by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It timed out and changed nothing.
    BeforeEffect,
    /// It timed out, yet did everything: what "unknown" means.
    AfterEffect,
}

/// Hosts with Docker on one network, and the Swarms among them.
#[derive(Clone, Default)]
pub(crate) struct FakeSwarmWorld(Arc<Mutex<World>>);

impl FakeSwarmWorld {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A host with Docker on it that is in no Swarm; the same engine again if there is one of that name.
    pub(crate) fn engine(&self, name: &str, address: &str) -> FakeEngine {
        self.world().engines.entry(name.to_owned()).or_insert_with(|| EngineState {
            address: address.parse().unwrap(),
            up: true,
            connected: true,
            deaf: false,
            part: Part::None,
            calls: 0,
            mutating_calls: 0,
            failures: BTreeMap::new(),
        });
        FakeEngine { world: self.clone(), name: name.to_owned() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One host's Docker. Clones are the same engine.
#[derive(Clone)]
pub(crate) struct FakeEngine {
    world: FakeSwarmWorld,
    name: String,
}

impl FakeEngine {
    /// Starts or stops Docker on this host.
    pub(crate) fn set_up(&self, up: bool) {
        self.with(|state| state.up = up);
    }

    /// Plugs this host's network in or out; its own Docker answers all the same.
    pub(crate) fn set_connected(&self, connected: bool) {
        self.with(|state| state.connected = connected);
    }

    /// Lets the managers' calls to this host get lost, and its own get through: what becomes a ghost when it joins as one.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.with(|state| state.deaf = deaf);
    }

    /// Locks the engine as a restart of an autolocked manager does.
    pub(crate) fn lock(&self) {
        self.with(|state| {
            if let Part::Member { swarm, .. } = state.part.clone() {
                state.part = Part::Locked { swarm };
            }
        });
    }

    /// Breaks the engine's part in its Swarm, as expired certificates do.
    pub(crate) fn break_with(&self, text: &str) {
        self.with(|state| {
            if let Part::Member { swarm, id } = state.part.clone() {
                state.part = Part::Broken { swarm: Some(swarm), id, error: text.to_owned() };
            }
        });
    }

    /// Rotates the tokens of the Swarm that this engine is in: the old ones are refused from now on.
    pub(crate) fn rotate_tokens(&self) {
        let mut world = self.world.world();
        if let Some(swarm) = world.engines[&self.name].part.swarm() {
            world.rotate(swarm);
        }
    }

    /// Puts a member on the managers' list that no engine stands behind any more.
    pub(crate) fn add_ghost(&self, hostname: &str, role: Role, address: &str) -> String {
        let mut world = self.world.world();
        let id = world.fresh("node");
        let swarm = world.engines[&self.name].part.swarm().expect("a ghost needs a Swarm");
        let address = address.parse().unwrap();
        world.swarms[swarm].members.push(Node::new(&id, hostname, role, address, Standing::OldGhost));
        id
    }

    /// Has the managers have changed nothing about any entry for so long.
    pub(crate) fn age_entries(&self, by: jiff::SignedDuration) {
        let mut world = self.world.world();
        for node in world.swarms.iter_mut().flat_map(|swarm| &mut swarm.members) {
            node.updated_at -= by;
        }
    }

    /// Gives this engine's part in its Swarm so many running tasks; stubborn ones do not end when it is drained.
    pub(crate) fn run_tasks(&self, running: usize, stubborn: bool) {
        let mut world = self.world.world();
        let Part::Member { swarm, id } = world.engines[&self.name].part.clone() else { panic!("tasks need a member") };
        let node = world.swarms[swarm].members.iter_mut().find(|node| node.id == id).unwrap();
        node.tasks = Tasks { running, stubborn };
    }

    /// Lets the managers notice that nothing stands behind the entries of failed joins.
    pub(crate) fn miss_heartbeats(&self) {
        let mut world = self.world.world();
        for node in world.swarms.iter_mut().flat_map(|swarm| &mut swarm.members) {
            if node.standing == Standing::FreshGhost {
                node.standing = Standing::OldGhost;
            }
        }
    }

    /// Makes the `n`-th call from now fail (1 is the next one).
    pub(crate) fn fail_call(&self, n: usize, failure: Failure) {
        self.with(|state| {
            state.failures.insert(state.calls + n, failure);
        });
    }

    /// Forgets the failures that have not come about.
    pub(crate) fn call_off_failures(&self) {
        self.with(|state| state.failures.clear());
    }

    /// Whether a failure that was ordered has not come about.
    pub(crate) fn has_failures_left(&self) -> bool {
        !self.world.world().engines[&self.name].failures.is_empty()
    }

    /// What was done in this engine's world that could cost something: `h2 leave force=false part=member`.
    pub(crate) fn acts(&self) -> Vec<String> {
        self.world.world().acts.clone()
    }

    /// Leaves its Swarm by force, as an operator might: that is none of our acts.
    pub(crate) async fn leave_by_hand(&self) {
        self.leave(true).await.unwrap();
        self.world.world().acts.pop();
    }

    /// How many calls came that could have changed something.
    pub(crate) fn mutating_calls(&self) -> usize {
        self.world.world().engines[&self.name].mutating_calls
    }

    /// How many calls came.
    pub(crate) fn calls(&self) -> usize {
        self.world.world().engines[&self.name].calls
    }

    fn with(&self, change: impl FnOnce(&mut EngineState)) {
        if let Some(state) = self.world.world().engines.get_mut(&self.name) {
            change(state);
        }
    }

    /// Makes one call: counts it, lets a background join go on, and fails it if it was told to.
    fn call<T>(
        &self,
        call: &'static str,
        mutating: bool,
        act: impl FnOnce(&mut World, &str) -> Result<T, SwarmError>,
    ) -> Result<T, SwarmError> {
        let mut world = self.world.world();
        let Some(state) = world.engines.get_mut(&self.name) else { unreachable!("engines are never taken away") };
        state.calls += 1;
        state.mutating_calls += usize::from(mutating);
        if !state.up {
            let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
            return Err(SwarmError::Unavailable { socket: format!("fake:{}", self.name), source });
        }
        let failure = state.failures.remove(&state.calls);
        let timed_out = || SwarmError::TimedOut { call, deadline: Duration::from_secs(30) };
        if failure == Some(Failure::BeforeEffect) {
            return Err(timed_out());
        }
        world.go_on_joining(&self.name);
        let leaving = world.is_somebody_leaving();
        let result = act(&mut world, &self.name);
        if leaving {
            world.go_on_demoting();
        }
        if failure == Some(Failure::AfterEffect) { Err(timed_out()) } else { result }
    }
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeEngine").field(&self.name).finish()
    }
}

fn refused<T>(call: &'static str, message: &str) -> Result<T, SwarmError> {
    Err(SwarmError::Refused { call, message: message.to_owned() })
}

#[async_trait::async_trait]
impl SwarmEngine for FakeEngine {
    async fn version(&self) -> Result<String, SwarmError> {
        self.call("version", false, |world, name| Ok(world.view(name).version))
    }

    async fn inspect(&self) -> Result<Engine, SwarmError> {
        self.call("info", false, |world, name| Ok(world.view(name)))
    }

    async fn init(&self, advertise: NodeAddress) -> Result<(), SwarmError> {
        self.call("swarm init", true, |world, name| {
            if !matches!(world.engines[name].part, Part::None) {
                return Err(SwarmError::AlreadyPart);
            }
            if advertise != world.engines[name].address {
                return refused("swarm init", "must specify a listening address because the address to advertise is not recognized as a system address");
            }
            let id = world.fresh("node");
            let swarm = Swarm {
                id: world.fresh("swarm"),
                ca: world.fresh("ca"),
                worker: world.fresh("w"),
                manager: world.fresh("m"),
                members: vec![Node::new(&id, name, Role::Manager, advertise, Standing::Engine)],
            };
            world.swarms.push(swarm);
            let swarm = world.swarms.len() - 1;
            world.set_part(name, Part::Member { swarm, id });
            Ok(())
        })
    }

    async fn join(&self, join: &Join) -> Result<(), SwarmError> {
        self.call("swarm join", true, |world, name| {
            if !matches!(world.engines[name].part, Part::None) {
                return Err(SwarmError::AlreadyPart);
            }
            world.join(name, join)
        })
    }

    async fn leave(&self, force: bool) -> Result<(), SwarmError> {
        self.call("swarm leave", true, |world, name| {
            let part = match &world.engines[name].part {
                Part::Broken { swarm: Some(swarm), id, .. } if world.role_of(*swarm, id) == Some(Role::Worker) => {
                    "broken-worker"
                }
                part => part.word(),
            };
            world.acts.push(format!("{name} leave force={force} part={part}"));
            let refusal = match &world.engines[name].part {
                Part::None => return refused("swarm leave", "This node is not part of a swarm"),
                Part::Member { swarm, id } if world.role_of(*swarm, id) == Some(Role::Manager) => {
                    Some("You are attempting to leave the swarm on a node that is participating as a manager.")
                }
                Part::Locked { .. } => Some("Swarm is encrypted and locked."),
                Part::Member { .. } | Part::Pending(_) | Part::Broken { .. } => None,
            };
            match refusal {
                Some(message) if !force => refused("swarm leave", message),
                _ => {
                    world.set_part(name, Part::None);
                    Ok(())
                }
            }
        })
    }

    async fn join_tokens(&self) -> Result<JoinTokens, SwarmError> {
        self.call("swarm inspect", false, |world, name| world.managed(name).map(|swarm| world.tokens(swarm)))
    }

    async fn members(&self) -> Result<Vec<Member>, SwarmError> {
        self.call("node list", false, |world, name| world.managed(name).map(|swarm| world.list(swarm)))
    }

    async fn set_role(&self, swarm_node_id: &str, role: Role) -> Result<(), SwarmError> {
        self.call("node update", true, |world, name| {
            let swarm = world.managed(name)?;
            let spare = world.can_lose(swarm, swarm_node_id);
            let members = &mut world.swarms[swarm].members;
            let managers = members.iter().filter(|node| node.role == Role::Manager).count();
            let Some(node) = members.iter_mut().find(|node| node.id == swarm_node_id) else {
                return refused("node update", &format!("node {swarm_node_id} not found"));
            };
            match (node.role, role) {
                (Role::Manager, Role::Worker) if managers == 1 => {
                    return refused("node update", "attempting to demote the last manager of the swarm");
                }
                (Role::Manager, Role::Worker) if !node.votes() => {
                    return refused("node update", "can't find manager in raft memberlist");
                }
                (Role::Manager, Role::Worker) if !spare => {
                    return refused(
                        "node update",
                        "can't remove member from the raft: this would result in a loss of quorum",
                    );
                }
                (Role::Manager, Role::Worker) => node.raft = Raft::Leaving,
                (Role::Worker, Role::Manager) => node.raft = Raft::Inside,
                (Role::Manager, Role::Manager) | (Role::Worker, Role::Worker) => {}
            }
            node.role = role;
            Ok(())
        })
    }

    async fn rotate_join_tokens(&self) -> Result<(), SwarmError> {
        self.call("swarm update", true, |world, name| {
            let swarm = world.managed(name)?;
            world.rotate(swarm);
            Ok(())
        })
    }

    async fn set_availability(&self, swarm_node_id: &str, availability: Availability) -> Result<(), SwarmError> {
        self.call("node update", true, |world, name| {
            let swarm = world.managed(name)?;
            match world.swarms[swarm].members.iter_mut().find(|node| node.id == swarm_node_id) {
                Some(node) => {
                    node.availability = availability;
                    Ok(())
                }
                None => refused("node update", &format!("node {swarm_node_id} not found")),
            }
        })
    }

    async fn running_tasks(&self, swarm_node_id: &str) -> Result<usize, SwarmError> {
        self.call("task list", false, |world, name| {
            let swarm = world.managed(name)?;
            let Some(node) = world.swarms[swarm].members.iter_mut().find(|node| node.id == swarm_node_id) else {
                return refused("task list", &format!("node {swarm_node_id} not found"));
            };
            let running = node.tasks.running;
            if node.availability == Availability::Drain && !node.tasks.stubborn {
                node.tasks.running = 0;
            }
            Ok(running)
        })
    }

    async fn remove_member(&self, swarm_node_id: &str, force: bool) -> Result<(), SwarmError> {
        self.call("node remove", true, |world, name| {
            world.acts.push(format!("{name} remove force={force} member={swarm_node_id}"));
            let swarm = world.managed(name)?;
            let Some(at) = world.swarms[swarm].members.iter().position(|node| node.id == swarm_node_id) else {
                return refused("node remove", &format!("node {swarm_node_id} not found"));
            };
            let node = &world.swarms[swarm].members[at];
            if node.role == Role::Manager && node.votes() {
                return refused("node remove", "the node is a cluster manager and is a member of the raft cluster.");
            }
            if world.ready(swarm, node) && !force {
                return refused("node remove", "the node is not down and can't be removed");
            }
            world.swarms[swarm].members.remove(at);
            Ok(())
        })
    }
}
