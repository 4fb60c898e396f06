//! The state of the fake world, and the rules by which Swarms live in it.

use std::collections::BTreeMap;

use clusterctl::clock::{Clock, SystemClock};
use clusterctl::cluster::{NodeAddress, Role, Secret};
use clusterctl::providers::swarm::{
    Availability, CaDigest, Certified, Engine, Join, JoinTokens, LocalState, Member, Reachability, SwarmError,
};

use jiff::Timestamp;

use super::Failure;

const LEADERLESS: &str = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible \
                                     that too few managers are online. Make sure more than half of the managers are \
                                     online.";

const LOCKED: &str = "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm \
                      unlock\" to unlock it.";

#[derive(Default)]
pub(super) struct World {
    pub(super) engines: BTreeMap<String, EngineState>,
    pub(super) swarms: Vec<Swarm>,
    /// Makes ids, secrets and certificates differ.
    pub(super) counter: u64,
    pub(super) acts: Vec<String>,
}

pub(super) struct EngineState {
    pub(super) address: NodeAddress,
    /// Docker runs; otherwise its socket answers nobody.
    pub(super) up: bool,
    /// The others reach this host, and it them.
    pub(super) connected: bool,
    /// It reaches the others, and they do not reach it.
    pub(super) deaf: bool,
    pub(super) part: Part,
    pub(super) calls: usize,
    pub(super) mutating_calls: usize,
    pub(super) failures: BTreeMap<usize, Failure>,
}

/// How an engine takes part in a Swarm.
#[derive(Clone)]
pub(super) enum Part {
    None,
    Pending(Join),
    Member {
        swarm: usize,
        id: String,
    },
    Locked {
        swarm: usize,
    },
    /// Docker gave up with this text, on a member or, without a Swarm, on a join in the background.
    Broken {
        swarm: Option<usize>,
        id: String,
        error: String,
    },
}

pub(super) struct Swarm {
    pub(super) id: String,
    pub(super) ca: String,
    pub(super) worker: String,
    pub(super) manager: String,
    pub(super) members: Vec<Node>,
}

/// What stands behind an entry of the managers' list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The engine that the entry names, as long as it holds this part.
    Engine,
    /// Nothing: a join failed half-way, and the entry looks healthy until heartbeats are missed. Not in the raft.
    FreshGhost,
    /// Nothing, and the managers have noticed. Not in the raft.
    OldGhost,
}

pub(super) struct Node {
    pub(super) id: String,
    /// The engine's name, which is also its host name.
    pub(super) engine: String,
    /// What it is to be; the raft follows.
    pub(super) role: Role,
    pub(super) address: NodeAddress,
    pub(super) standing: Standing,
    pub(super) raft: Raft,
    pub(super) availability: Availability,
    pub(super) tasks: Tasks,
    /// When the managers last changed the entry; they note here that it was made, and not that it is down.
    pub(super) updated_at: Timestamp,
}

/// Whether a node is in the managers' raft. A demotion takes it out a moment later: here, after one look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Raft {
    Outside,
    Inside,
    /// Demoted; the next look still finds it inside.
    Leaving,
}

/// The tasks on a node. Those on a drained one end a moment later: here, after one look, unless they are told not to.
#[derive(Clone, Copy, Default)]
pub(super) struct Tasks {
    pub(super) running: usize,
    pub(super) stubborn: bool,
}

impl Node {
    pub(super) fn new(id: &str, engine: &str, role: Role, address: NodeAddress, standing: Standing) -> Self {
        let votes = role == Role::Manager && standing == Standing::Engine;
        Self {
            id: id.to_owned(),
            engine: engine.to_owned(),
            role,
            address,
            standing,
            raft: if votes { Raft::Inside } else { Raft::Outside },
            availability: Availability::Active,
            tasks: Tasks::default(),
            updated_at: SystemClock.now(),
        }
    }

    /// Whether it counts when managers vote.
    pub(super) fn votes(&self) -> bool {
        self.raft != Raft::Outside
    }
}

impl Part {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending(_) => "pending",
            Self::Member { .. } => "member",
            Self::Locked { .. } => "locked",
            Self::Broken { swarm: None, .. } => "failed-join",
            Self::Broken { swarm: Some(_), .. } => "broken",
        }
    }

    pub(super) fn swarm(&self) -> Option<usize> {
        match self {
            Self::None | Self::Pending(_) => None,
            Self::Member { swarm, .. } | Self::Locked { swarm } => Some(*swarm),
            Self::Broken { swarm, .. } => *swarm,
        }
    }
}

impl World {
    /// Gives a Swarm other tokens.
    pub(super) fn rotate(&mut self, swarm: usize) {
        let (worker, manager) = (self.fresh("w"), self.fresh("m"));
        self.swarms[swarm].worker = worker;
        self.swarms[swarm].manager = manager;
    }

    /// A text of 25 characters that was never given before.
    pub(super) fn fresh(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}{:0>width$}", self.counter, width = 25 - kind.len())
    }

    /// Whether the engine that `node` names still is that node.
    fn holds(&self, swarm: usize, node: &Node) -> bool {
        node.standing == Standing::Engine
            && self.engines.get(&node.engine).is_some_and(
                |engine| matches!(&engine.part, Part::Member { swarm: s, id } if *s == swarm && *id == node.id),
            )
    }

    /// Whether `node` is backed by an engine that runs and that the others reach.
    pub(super) fn alive(&self, swarm: usize, node: &Node) -> bool {
        self.holds(swarm, node) && self.engines.get(&node.engine).is_some_and(|engine| engine.up && engine.connected)
    }

    /// Whether the managers call `node` ready.
    pub(super) fn ready(&self, swarm: usize, node: &Node) -> bool {
        match node.standing {
            Standing::Engine => self.alive(swarm, node),
            Standing::FreshGhost => true,
            Standing::OldGhost => false,
        }
    }

    /// Whether the managers seen by engine `from` are more than half.
    pub(super) fn has_leader(&self, swarm: usize, from: &str) -> bool {
        let managers: Vec<&Node> = self.swarms[swarm].members.iter().filter(|n| n.votes()).collect();
        let seen = managers.iter().filter(|n| {
            if n.engine == from { self.holds(swarm, n) } else { self.engines[from].connected && self.alive(swarm, n) }
        });
        seen.count() * 2 > managers.len()
    }

    pub(super) fn role_of(&self, swarm: usize, id: &str) -> Option<Role> {
        self.swarms[swarm].members.iter().find(|node| node.id == id).map(|node| node.role)
    }

    /// Whether the managers other than `id` could decide without it: what Swarm asks before it demotes one.
    pub(super) fn can_lose(&self, swarm: usize, id: &str) -> bool {
        let others = || self.swarms[swarm].members.iter().filter(|node| node.votes() && node.id != id);
        others().filter(|node| self.alive(swarm, node)).count() > others().count() / 2
    }

    pub(super) fn is_somebody_leaving(&self) -> bool {
        self.swarms.iter().flat_map(|swarm| &swarm.members).any(|node| node.raft == Raft::Leaving)
    }

    /// Lets what was ordered come about: who was demoted leaves the raft.
    pub(super) fn go_on_demoting(&mut self) {
        for node in self.swarms.iter_mut().flat_map(|swarm| &mut swarm.members) {
            if node.raft == Raft::Leaving {
                node.raft = Raft::Outside;
            }
        }
    }

    /// The Swarm that engine `name` manages, if it can do so now.
    pub(super) fn managed(&self, name: &str) -> Result<usize, SwarmError> {
        match &self.engines[name].part {
            Part::Member { swarm, id } if self.role_of(*swarm, id) == Some(Role::Manager) => {
                if self.has_leader(*swarm, name) { Ok(*swarm) } else { Err(SwarmError::NoLeader) }
            }
            Part::Locked { .. } => Err(SwarmError::Refused { call: "swarm inspect", message: LOCKED.to_owned() }),
            Part::Member { .. } | Part::None | Part::Pending(_) | Part::Broken { .. } => Err(SwarmError::NotManager),
        }
    }

    /// Joins engine `name` to the Swarm that answers.
    pub(super) fn join(&mut self, name: &str, join: &Join) -> Result<(), SwarmError> {
        let digest = CaDigest::of_token(&join.token).ok_or(SwarmError::TokenRefused)?;
        // Docker 20.10 never gets to the second one.
        let Some(manager) = join.managers.first() else {
            return Err(SwarmError::Refused {
                call: "swarm join",
                message: "at least 1 RemoteAddr is required".into(),
            });
        };
        let Some(swarm) = self.manager_at(name, manager) else {
            // A host that is there and does not listen ends the attempt; silence does not.
            if !self.host_at(name, manager) {
                self.set_part(name, Part::Pending(join.clone()));
            }
            return Err(SwarmError::ManagerUnreachable);
        };
        if digest != CaDigest::of_certificate(self.swarms[swarm].ca.as_bytes()) {
            return Err(SwarmError::CaMismatch);
        }
        let tokens = self.tokens(swarm);
        let role = if join.token == tokens.worker {
            Role::Worker
        } else if join.token == tokens.manager {
            Role::Manager
        } else {
            return Err(SwarmError::TokenRefused);
        };
        let leaderless =
            !self.swarms[swarm].members.iter().any(|n| self.alive(swarm, n) && self.has_leader(swarm, &n.engine));
        if leaderless {
            return Err(SwarmError::NoLeader);
        }
        let id = self.fresh("node");
        let reachable = join.advertise == self.engines[name].address && !self.engines[name].deaf;
        if role == Role::Manager && !reachable {
            // Docker lists it with the address that the connection came from.
            let address = self.engines[name].address;
            self.swarms[swarm].members.push(Node::new(&id, name, role, address, Standing::FreshGhost));
            return Err(SwarmError::AdvertisedAddressUnreachable);
        }
        self.swarms[swarm].members.push(Node::new(&id, name, role, join.advertise, Standing::Engine));
        self.set_part(name, Part::Member { swarm, id });
        Ok(())
    }

    /// The Swarm of the manager that engine `from` reaches at `address` (`IP:2377`).
    pub(super) fn manager_at(&self, from: &str, address: &str) -> Option<usize> {
        let ip = address.strip_suffix(":2377").unwrap_or(address);
        if !self.engines[from].connected {
            return None;
        }
        self.swarms.iter().enumerate().find_map(|(swarm, state)| {
            let answers = |n: &&Node| n.votes() && self.alive(swarm, n) && n.address.to_string() == ip;
            state.members.iter().find(answers).map(|_| swarm)
        })
    }

    /// Whether engine `from` reaches a host at `address`, whatever runs there.
    fn host_at(&self, from: &str, address: &str) -> bool {
        let ip = address.strip_suffix(":2377").unwrap_or(address);
        let here = &self.engines[from];
        self.engines.values().any(|host| {
            host.address.to_string() == ip && (host.address == here.address || (here.connected && host.connected))
        })
    }

    /// Lets a join in the background get through, or be refused, once its manager is reached.
    pub(super) fn go_on_joining(&mut self, name: &str) {
        if let Part::Pending(join) = self.engines[name].part.clone()
            && join.managers.first().is_some_and(|manager| self.manager_at(name, manager).is_some())
        {
            self.set_part(name, Part::None);
            if let Err(error) = self.join(name, &join) {
                self.set_part(name, Part::Broken { swarm: None, id: String::new(), error: error.to_string() });
            }
        }
    }

    pub(super) fn set_part(&mut self, name: &str, part: Part) {
        if let Some(engine) = self.engines.get_mut(name) {
            engine.part = part;
        }
    }

    pub(super) fn tokens(&self, swarm: usize) -> JoinTokens {
        let swarm = &self.swarms[swarm];
        let digest = CaDigest::of_certificate(swarm.ca.as_bytes());
        let token = |secret: &str| Secret::new(format!("SWMTKN-1-{digest}-{secret}"));
        JoinTokens { worker: token(&swarm.worker), manager: token(&swarm.manager) }
    }

    pub(super) fn view(&self, name: &str) -> Engine {
        let engine = &self.engines[name];
        let mut view = Engine {
            version: "20.10.24".to_owned(),
            state: LocalState::Inactive,
            swarm_node_id: String::new(),
            manager: false,
            node_address: String::new(),
            error: String::new(),
            ca_digest: None,
            cluster_id: None,
            managers: Vec::new(),
            certified: None,
        };
        if let Some(swarm) = engine.part.swarm() {
            view.ca_digest = Some(CaDigest::of_certificate(self.swarms[swarm].ca.as_bytes()));
        }
        match &engine.part {
            Part::None => {}
            Part::Pending(join) => {
                view.state = LocalState::Pending;
                view.node_address = join.advertise.to_string();
                view.managers.clone_from(&join.managers);
                view.managers.sort();
            }
            Part::Locked { .. } => {
                view.state = LocalState::Locked;
                view.node_address = engine.address.to_string();
                view.error = LOCKED.to_owned();
            }
            Part::Broken { swarm, id, error } => {
                view.state = LocalState::Error;
                view.swarm_node_id.clone_from(id);
                let role = swarm.and_then(|swarm| self.role_of(swarm, id));
                view.certified = role.map(|role| Certified { swarm_node_id: id.clone(), role });
                view.error.clone_from(error);
            }
            Part::Member { swarm, id } => {
                let members = &self.swarms[*swarm].members;
                view.state = LocalState::Active;
                view.swarm_node_id.clone_from(id);
                view.manager = self.role_of(*swarm, id) == Some(Role::Manager);
                if let Some(me) = members.iter().find(|node| node.id == *id) {
                    view.node_address = me.address.to_string();
                }
                let managers = members.iter().filter(|node| node.votes());
                view.managers = managers.map(|node| format!("{}:2377", node.address)).collect();
                view.managers.sort();
                if view.manager {
                    if self.has_leader(*swarm, name) {
                        view.cluster_id = Some(self.swarms[*swarm].id.clone());
                    } else {
                        view.error = LEADERLESS.to_owned();
                    }
                }
            }
        }
        view
    }

    pub(super) fn list(&self, swarm: usize) -> Vec<Member> {
        let leader = self.swarms[swarm].members.iter().find(|n| n.votes() && self.alive(swarm, n));
        let leader = leader.map(|node| node.id.clone());
        let mut members: Vec<Member> = self.swarms[swarm]
            .members
            .iter()
            .map(|node| Member {
                swarm_node_id: node.id.clone(),
                hostname: node.engine.clone(),
                role: node.role,
                state: if self.ready(swarm, node) { "ready" } else { "down" }.to_owned(),
                availability: node.availability.as_str().to_owned(),
                address: node.address.to_string(),
                leader: leader.as_ref() == Some(&node.id),
                reachability: node
                    .votes()
                    .then(|| if self.alive(swarm, node) { Reachability::Reachable } else { Reachability::Unreachable }),
                updated_at: Some(node.updated_at),
            })
            .collect();
        members.sort_by(|a, b| (&a.hostname, &a.swarm_node_id).cmp(&(&b.hostname, &b.swarm_node_id)));
        members
    }
}
