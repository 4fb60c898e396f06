use jiff::Timestamp;

use super::*;
use crate::cluster::{Hostname, JoinToken, NodeId, Proof, ProvenKey, Subject, Validity};
use crate::controller::command::Command;
use crate::controller::state::Effect;
use crate::controller::store::Machine;
use crate::controller::tokens::new_token;
use crate::protocol::registration::{Facts, Grant, Identity, PresentedToken};

mod laws;
mod rules;

const MODES: [Admission; 3] = [Admission::Token, Admission::Approve, Admission::Open];

fn now() -> Timestamp {
    Timestamp::from_second(1_767_323_045).unwrap()
}

fn host(name: &str) -> Hostname {
    Hostname::parse(name).unwrap()
}

/// The key of the node of that name.
fn key(name: &str) -> ProvenKey {
    ProvenKey::new(name.as_bytes().to_vec())
}

fn proof(name: &str) -> Proof {
    Proof::Key(key(name))
}

/// A certificate of the cluster's CA for the node of that name.
fn certified(name: &str, role: Role, validity: Validity) -> Proof {
    let key = key(name);
    Proof::Certified { subject: Subject::Node { id: key.node_id.clone(), role }, key, validity }
}

/// The registration of a node, as far as it says who it is.
fn registration(name: &str, last: u8) -> Registration {
    Registration {
        who: Identity { node_id: Some(key(name).node_id), hostname: host(name) },
        role: None,
        address: Some(address(last)),
        facts: Facts::default(),
        sent_at: None,
        protocol: 1,
        wait_ms: 0,
        token_refused: false,
        token: None,
    }
}

/// The same of a client of the first implementation.
fn legacy(name: &str, last: u8) -> Registration {
    let who = Identity { node_id: None, hostname: host(name) };
    Registration { who, protocol: 0, ..registration(name, last) }
}

fn address(last: u8) -> NodeAddress {
    NodeAddress::parse(&format!("10.0.0.{last}")).unwrap()
}

fn presented(token: &JoinToken) -> Option<PresentedToken> {
    Some(PresentedToken { id: token.id.clone(), digest: token.secret.digest() })
}

/// A state, and what is done to it.
#[derive(Default)]
struct Cluster {
    state: ClusterState,
    sequence: u64,
}

impl Cluster {
    fn apply(&mut self, command: &Command) -> Effect {
        self.sequence += 1;
        self.state.apply(self.sequence, command)
    }

    fn token(&mut self, seed: u8, role: Role) -> JoinToken {
        self.token_made(seed, role, now())
    }

    fn token_made(&mut self, seed: u8, role: Role, at: Timestamp) -> JoinToken {
        let grant = Grant { role: Some(role), profiles: Vec::new() };
        let pin = KeyFingerprint::of_public_key(b"ca");
        let (token, command) = new_token([seed; 21], &grant, None, 0, SignedDuration::ZERO, pin, at);
        self.apply(&command);
        token
    }

    fn judge(&self, mode: Admission, registration: &Registration, caller: Caller<'_>) -> Verdict {
        let policy = Policy { admission: mode, plaintext: true, max_nodes: 50 };
        admit(&self.state, &Rules { policy, authorities: &[], now: now() }, registration, caller)
    }

    /// Judges, and does what follows.
    fn register(&mut self, mode: Admission, registration: &Registration, caller: Caller<'_>) -> Verdict {
        let verdict = self.judge(mode, registration, caller);
        match verdict.clone() {
            Verdict::Admit { node, warrant, key } => {
                let effect = self.apply(&Command::Admit { node: *node, warrant, key, at: now() });
                assert!(matches!(effect, Effect::Changed | Effect::Unchanged), "{effect:?}");
            }
            Verdict::Pending { request, filed: None } => {
                let id = ShortId::of_bytes([self.sequence.to_be_bytes()[7]; 5]);
                self.apply(&Command::FileRequest { id, request: *request, at: now() });
            }
            Verdict::Pending { filed: Some(_), .. } | Verdict::Refuse(_) => {}
        }
        verdict
    }

    /// Lets a node in as the operator would.
    fn member(&mut self, name: &str, last: u8, role: Role) {
        let proof = proof(name);
        let registration = Registration { role: Some(role), ..registration(name, last) };
        let verdict = self.register(Admission::Open, &registration, Caller::Tls([10, 0, 0, last].into(), &proof));
        assert!(matches!(verdict, Verdict::Admit { .. }), "{verdict:?}");
    }

    /// The request of a node, the last one if there are more.
    fn request_of(&self, id: &NodeId) -> ShortId {
        self.state.requests().filter(|request| request.terms.node_id == *id).last().unwrap().id.clone()
    }

    fn decide(&mut self, name: &str, decision: Decision) {
        let id = self.request_of(&key(name).node_id);
        self.apply(&Command::DecideRequest { id, decision, at: now() });
    }
}

fn approve(role: Role) -> Decision {
    Decision::Approve { role, profiles: Vec::new() }
}

/// One word for what was decided.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Admit { node, warrant, .. } => {
            let by = match warrant {
                Warrant::Member => "member",
                Warrant::Open => "open",
                Warrant::Local => "local",
                Warrant::Token(_) => "token",
                Warrant::Request(_) => "request",
                Warrant::Adopted => "adopted",
            };
            format!("{by} {}", node.role)
        }
        Verdict::Pending { filed: None, .. } => "pending".to_owned(),
        Verdict::Pending { filed: Some(_), .. } => "still pending".to_owned(),
        Verdict::Refuse(refusal) => refusal.code().to_owned(),
    }
}
