//! May a node come in, and as what? A pure function of state, rules, registration and caller.
//!
//! [`admit`] says yes with the command's parts, "not yet" with the request that is to be filed, or no with the reason.
//! A yes is not the last word: the state judges the warrant again when the command is applied, since another node may
//! have taken the last use of the token meanwhile.
//!
//! What would surprise: a member needs nothing to come again, and whatever token it still shows is not looked at; and an
//! approval that is there lets a node in whatever token it shows.

use jiff::{SignedDuration, Timestamp};

use super::command::{AdmittedNode, Decision, RequestTerms, Warrant};
use super::state::{ClusterState, Conflict, NodeRecord, RequestRecord, RequestStatus, TokenRecord};
use super::tokens;
use crate::cluster::{KeyFingerprint, NodeAddress, ProfileName, Role, ShortId};
use crate::protocol::registration::Registration;

mod identity;
mod refusal;

pub use crate::cluster::Admission;
pub use identity::{Caller, Standing, answers_clear_text, needs_certificate, speaks_for};
pub use refusal::Refusal;

use identity::{Speaker, judge_address};

/// The controller's rules for admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub admission: Admission,
    /// Clear text is answered too, to private networks.
    pub plaintext: bool,
    /// No more nodes than this.
    pub max_nodes: u32,
}

impl Policy {
    /// What the operator has to know about it, if it lets in more than those who were let in by name.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match (self.admission, self.plaintext) {
            (Admission::Token | Admission::Approve, false) => None,
            (Admission::Token | Admission::Approve, true) => Some(
                "clear text is answered to private networks: who is approved there is told apart by name and address alone, and its Swarm token can be read on the way",
            ),
            (Admission::Open, false) => Some(
                "admission is open: whoever reaches this port joins in the role that it asks for and is handed the Swarm's token, which is root on every host; keep it inside a trusted network",
            ),
            (Admission::Open, true) => Some(
                "admission is open and clear text is answered: whoever reaches this port joins in the role that it asks for and is handed the Swarm's token, which is root on every host, and whoever can read the traffic has it too; keep it inside a trusted network",
            ),
        }
    }
}

/// What a registration is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub policy: Policy,
    /// The CAs that nodes may pin: a token of another one is over. Empty if there is none.
    pub authorities: &'a [KeyFingerprint],
    pub now: Timestamp,
}

/// What is decided about a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It comes in, by that right, unless the state has moved on.
    Admit {
        node: Box<AdmittedNode>,
        warrant: Warrant,
        key: Option<KeyFingerprint>,
    },
    /// It waits for an administrator. `filed` is the request that is on record already, if it says just this.
    Pending {
        request: Box<RequestTerms>,
        filed: Option<ShortId>,
    },
    Refuse(Refusal),
}

/// The largest difference between the clocks of node and controller.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(300);

/// Judges a registration.
#[must_use]
pub fn admit(state: &ClusterState, rules: &Rules<'_>, registration: &Registration, caller: Caller<'_>) -> Verdict {
    judge(state, rules, registration, caller).unwrap_or_else(Verdict::Refuse)
}

/// Judges the controller's own host, or one that root registers there: it comes in as asked, if there is a place.
///
/// # Errors
/// Its clock, name or address cannot be.
pub fn admit_locally(
    state: &ClusterState,
    rules: &Rules<'_>,
    registration: &Registration,
) -> Result<AdmittedNode, Refusal> {
    judge_clock(registration.sent_at, rules.now)?;
    let applicant = Applicant::new(state, rules, registration, Caller::Local)?;
    let role = registration.role.or(applicant.member.map(|known| known.role)).unwrap_or(Role::Worker);
    let node = applicant.node(role);
    applicant.judge_place(&node)?;
    Ok(node)
}

fn judge(
    state: &ClusterState,
    rules: &Rules<'_>,
    registration: &Registration,
    caller: Caller<'_>,
) -> Result<Verdict, Refusal> {
    if caller == Caller::Local {
        let node = admit_locally(state, rules, registration)?;
        return Ok(Verdict::Admit { node: Box::new(node), warrant: Warrant::Local, key: None });
    }
    judge_clock(registration.sent_at, rules.now)?;
    let applicant = Applicant::new(state, rules, registration, caller)?;
    match applicant.decide()? {
        Decided::Come { role, warrant } => {
            let node = applicant.node(role);
            applicant.judge_place(&node)?;
            Ok(Verdict::Admit { node: Box::new(node), warrant, key: applicant.speaker.key })
        }
        Decided::Ask { profiles, role } => {
            applicant.judge_place(&applicant.node(role.unwrap_or(Role::Worker)))?;
            let request = RequestTerms { role, ..applicant.request(profiles) };
            let same = |filed: &&RequestRecord| filed.terms == request && !filed.is_over(rules.now);
            let filed = state.request_like(&request).filter(same);
            Ok(Verdict::Pending { filed: filed.map(|filed| filed.id.clone()), request: Box::new(request) })
        }
    }
}

fn judge_clock(sent_at: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    let skew = sent_at.map_or(SignedDuration::ZERO, |sent_at| sent_at.duration_since(now));
    if skew.abs() <= MAX_SKEW {
        return Ok(());
    }
    let direction = if skew.is_positive() { "it is ahead" } else { "it is behind" };
    Err(Refusal::ClockSkew { seconds: skew.abs().as_secs(), direction })
}

/// A registration with what is known about who sent it.
struct Applicant<'a> {
    state: &'a ClusterState,
    rules: &'a Rules<'a>,
    registration: &'a Registration,
    caller: Caller<'a>,
    address: NodeAddress,
    speaker: Speaker,
    /// What is on record, if it is the same node.
    member: Option<&'a NodeRecord>,
}

enum Decided {
    Come { role: Role, warrant: Warrant },
    Ask { role: Option<Role>, profiles: Vec<ProfileName> },
}

impl<'a> Applicant<'a> {
    fn new(
        state: &'a ClusterState,
        rules: &'a Rules<'a>,
        registration: &'a Registration,
        caller: Caller<'a>,
    ) -> Result<Self, Refusal> {
        let speaker = caller.identify(state, rules.policy, &registration.who)?;
        let on_record = state.member(&speaker.id);
        let address = judge_address(registration.address, on_record, caller, rules.policy)?;
        // Without a key, and without everybody being let in, it is the same client at the same address alone.
        let trusted = caller == Caller::Local || rules.policy.admission == Admission::Open;
        let member = on_record.filter(|known| speaker.keyed || trusted || known.address == address);
        Ok(Self { state, rules, registration, caller, address, speaker, member })
    }

    /// By what right it comes in, if by any.
    fn decide(&self) -> Result<Decided, Refusal> {
        let asked = self.registration.role;
        if let Some(known) = self.member
            && known.granted.covers(asked.unwrap_or(known.role))
            && self.state.may_be_called(known, &self.registration.who.hostname)
        {
            return Ok(Decided::Come { role: asked.unwrap_or(known.role), warrant: Warrant::Member });
        }
        // From here on it wants what it was not granted yet: to come in, to be more, or to have another name.
        let terms = self.request(Vec::new());
        let counts = |request: &&RequestRecord| request.is_about(&terms) && !request.is_over(self.rules.now);
        let request = self.state.request_like(&terms).filter(counts);
        let decision = request.and_then(|request| match &request.status {
            RequestStatus::Pending => None,
            RequestStatus::Decided { decision, .. } => Some((&request.id, decision)),
        });
        if let Some((id, Decision::Approve { role, .. })) = decision {
            return self.within(*role, Warrant::Request(id.clone()));
        }
        let token = self.token()?;
        match (self.rules.policy.admission, token) {
            (Admission::Token, Some(token)) => self.by_token(token),
            (Admission::Open, Some(token)) if token.terms.role.covers(asked.unwrap_or(token.terms.role)) => {
                self.by_token(token)
            }
            (Admission::Open, _) => {
                self.not_removed()?;
                Ok(Decided::Come { role: asked.unwrap_or(Role::Worker), warrant: Warrant::Open })
            }
            (Admission::Token | Admission::Approve, None) => {
                self.not_removed()?;
                if let (Some(known), Some(asked)) = (self.member, asked)
                    && !known.granted.covers(asked)
                {
                    return Err(Refusal::Role { asked });
                }
                not_rejected(decision)?;
                Ok(Decided::Ask { role: asked, profiles: Vec::new() })
            }
            (Admission::Approve, Some(token)) => {
                // It is refused what its token does not grant before anybody is asked.
                self.by_token(token)?;
                not_rejected(decision)?;
                Ok(Decided::Ask {
                    role: Some(asked.unwrap_or(token.terms.role)),
                    profiles: token.terms.profiles.clone(),
                })
            }
        }
    }

    /// The token that it shows, which must be good.
    fn token(&self) -> Result<Option<&'a TokenRecord>, Refusal> {
        let Some(presented) = &self.registration.token else { return Ok(None) };
        let Rules { authorities, now, .. } = *self.rules;
        let token = tokens::judge(self.state, presented, &self.registration.who.hostname, authorities, now)
            .map_err(Refusal::Token)?;
        match self.state.tombstone(&self.speaker.id) {
            Some(stone) if !stone.yields_to(token) => Err(Refusal::Removed { hostname: stone.hostname.clone() }),
            Some(_) | None => Ok(Some(token)),
        }
    }

    fn by_token(&self, token: &TokenRecord) -> Result<Decided, Refusal> {
        self.within(token.terms.role, Warrant::Token(token.terms.id.clone()))
    }

    /// What is asked for, within what is granted; asking for nothing takes it all.
    fn within(&self, granted: Role, warrant: Warrant) -> Result<Decided, Refusal> {
        let role = self.registration.role.unwrap_or(granted);
        if granted.covers(role) { Ok(Decided::Come { role, warrant }) } else { Err(Refusal::Role { asked: role }) }
    }

    fn not_removed(&self) -> Result<(), Refusal> {
        match self.state.tombstone(&self.speaker.id) {
            Some(stone) => Err(Refusal::Removed { hostname: stone.hostname.clone() }),
            None => Ok(()),
        }
    }

    /// Whether there is room for it, under its name and at its address.
    fn judge_place(&self, node: &AdmittedNode) -> Result<(), Refusal> {
        let (max, now) = (self.rules.policy.max_nodes, self.rules.now);
        let takes_a_place = self.state.node(&node.id).is_none() && self.state.succeeded_by(node, now).is_none();
        match self.state.conflict(node, now) {
            None if takes_a_place && self.state.counts().total() >= max => Err(Refusal::Full(max)),
            None => Ok(()),
            Some(Conflict::Hostname { .. }) => Err(Refusal::HostnameTaken { hostname: node.hostname.clone() }),
            Some(Conflict::Address { holder }) => Err(Refusal::AddressTaken { address: node.address, holder }),
        }
    }

    fn request(&self, profiles: Vec<ProfileName>) -> RequestTerms {
        RequestTerms {
            node_id: self.speaker.id.clone(),
            hostname: self.registration.who.hostname.clone(),
            address: self.address,
            source: self.caller.source().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
            key: self.speaker.key,
            role: self.registration.role,
            profiles,
        }
    }

    fn node(&self, role: Role) -> AdmittedNode {
        AdmittedNode {
            id: self.speaker.id.clone(),
            keyed: self.speaker.keyed,
            hostname: self.registration.who.hostname.clone(),
            address: self.address,
            role,
            facts: self.registration.facts.clone(),
        }
    }
}

fn not_rejected(decision: Option<(&ShortId, &Decision)>) -> Result<(), Refusal> {
    match decision {
        Some((_, Decision::Reject { reason })) => Err(Refusal::Rejected { reason: reason.clone() }),
        Some((_, Decision::Approve { .. })) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
