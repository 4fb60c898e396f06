//! Admission tokens: how one is made, and whether a presented one is good. Pure; the randomness is an argument.
//!
//! Of all that can be wrong with a token the bearer learns nothing: unknown, wrong, expired, used up, revoked and for
//! another node are one answer, and secrets are compared in constant time. What it was goes to the log, with the id.

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;

use super::command::{Command, TokenTerms};
use super::state::{ClusterState, TokenRecord, TokenStatus};
use crate::cluster::{Hostname, JoinToken, KeyFingerprint, Role, ShortId, TokenSecret};
use crate::protocol::registration::{Grant, PresentedToken};

/// How long a token for workers is valid unless somebody says otherwise, for any number of them.
pub const WORKER_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// The same for managers. It admits one.
pub const MANAGER_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// How many managers a token admits unless somebody says otherwise.
const MANAGER_USES: u32 = 1;
/// The longest that any token may be valid.
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Makes a token out of random bytes, and the command that puts it on record.
///
/// `uses` 0 and `lifetime` zero stand for the defaults: a worker's token admits any number of nodes for 24 hours, a
/// manager's one within 15 minutes. A longer lifetime than [`MAX_LIFETIME`] is cut to it.
#[must_use]
pub fn new_token(
    random: [u8; 21],
    grant: &Grant,
    node: Option<Hostname>,
    uses: u32,
    lifetime: SignedDuration,
    pin: KeyFingerprint,
    now: Timestamp,
) -> (JoinToken, Command) {
    let (id, secret) = split(random);
    let token = JoinToken { pin, id: ShortId::of_bytes(id), secret: TokenSecret::of_bytes(secret) };
    let role = grant.role.unwrap_or(Role::Worker);
    let (default_uses, default_lifetime) = match role {
        Role::Worker => (0, WORKER_LIFETIME),
        Role::Manager => (MANAGER_USES, MANAGER_LIFETIME),
    };
    let lifetime = if lifetime.is_zero() { default_lifetime } else { lifetime.min(MAX_LIFETIME) };
    let mut profiles = grant.profiles.clone();
    profiles.sort();
    profiles.dedup();
    let terms = TokenTerms {
        id: token.id.clone(),
        digest: token.secret.digest(),
        role,
        profiles,
        node,
        uses: if uses == 0 { default_uses } else { uses },
        expires_at: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
        pin,
    };
    (token, Command::CreateToken { token: terms, at: now })
}

fn split(random: [u8; 21]) -> ([u8; 5], [u8; 16]) {
    let (mut id, mut secret) = ([0; 5], [0; 16]);
    id.copy_from_slice(&random[..5]);
    secret.copy_from_slice(&random[5..]);
    (id, secret)
}

/// What is wrong with a presented token: for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    Unknown,
    WrongSecret,
    Revoked,
    Expired,
    UsedUp,
    OtherNode,
    /// The CA that its bearers pin is no longer one of the cluster's.
    AuthorityReplaced,
}

impl TokenFault {
    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong-secret",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::UsedUp => "used-up",
            Self::OtherNode => "other-node",
            Self::AuthorityReplaced => "ca-replaced",
        }
    }
}

/// Judges a token that a node of that name presents. `authorities` are the CAs that nodes may pin, if there are any.
///
/// # Errors
/// What is wrong with it.
pub fn judge<'a>(
    state: &'a ClusterState,
    presented: &PresentedToken,
    hostname: &Hostname,
    authorities: &[KeyFingerprint],
    now: Timestamp,
) -> Result<&'a TokenRecord, TokenFault> {
    let (known, now) = (state.token(&presented.id), state.no_earlier(now));
    // An unknown id costs a comparison too.
    let digest = known.map_or([0; 32], |token| token.terms.digest);
    let right = bool::from(digest.ct_eq(&presented.digest));
    let token = known.ok_or(TokenFault::Unknown)?;
    if !right {
        return Err(TokenFault::WrongSecret);
    }
    match status(token, authorities, now) {
        Some(TokenStatus::Valid) if token.is_for(hostname) => Ok(token),
        Some(TokenStatus::Valid) => Err(TokenFault::OtherNode),
        Some(TokenStatus::Revoked) => Err(TokenFault::Revoked),
        Some(TokenStatus::Expired) => Err(TokenFault::Expired),
        Some(TokenStatus::UsedUp) => Err(TokenFault::UsedUp),
        None => Err(TokenFault::AuthorityReplaced),
    }
}

/// What a token is good for; `None` if only the CA that its bearers pin has gone.
#[must_use]
pub fn status(token: &TokenRecord, authorities: &[KeyFingerprint], now: Timestamp) -> Option<TokenStatus> {
    let status = token.status(now);
    let replaced = !authorities.is_empty() && !authorities.contains(&token.terms.pin);
    (status != TokenStatus::Valid || !replaced).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ProfileName;
    use crate::controller::store::Machine;

    fn now() -> Timestamp {
        Timestamp::from_second(1_767_323_045).unwrap()
    }

    fn pin(name: &str) -> KeyFingerprint {
        KeyFingerprint::of_public_key(name.as_bytes())
    }

    fn host(name: &str) -> Hostname {
        Hostname::parse(name).unwrap()
    }

    fn presented(token: &JoinToken) -> PresentedToken {
        PresentedToken { id: token.id.clone(), digest: token.secret.digest() }
    }

    #[test]
    fn defaults_follow_from_the_role() {
        let make = |role, uses, hours| {
            let grant =
                Grant { role, profiles: vec![ProfileName::parse("b").unwrap(), ProfileName::parse("a").unwrap()] };
            let lifetime = SignedDuration::from_hours(hours);
            let (token, command) = new_token([1; 21], &grant, None, uses, lifetime, pin("ca"), now());
            let Command::CreateToken { token: terms, .. } = command else { panic!("a token") };
            assert_eq!((&terms.id, terms.digest, terms.pin), (&token.id, token.secret.digest(), token.pin));
            assert_eq!(terms.profiles.iter().map(ProfileName::as_str).collect::<Vec<_>>(), ["a", "b"]);
            (terms.role, terms.uses, terms.expires_at.duration_since(now()).as_mins())
        };
        assert_eq!(make(None, 0, 0), (Role::Worker, 0, 24 * 60));
        assert_eq!(make(Some(Role::Worker), 3, 1), (Role::Worker, 3, 60));
        assert_eq!(make(Some(Role::Manager), 0, 0), (Role::Manager, 1, 15));
        assert_eq!(make(Some(Role::Manager), 5, 2), (Role::Manager, 5, 120));
        assert_eq!(make(None, 0, 1_000_000), (Role::Worker, 0, MAX_LIFETIME.as_mins()));
    }

    /// Everything that can be wrong is told apart here, and nowhere else.
    #[test]
    fn every_fault_is_found() {
        let mut state = ClusterState::default();
        let mut sequence = 0;
        let mut make = |seed: u8, node: Option<&str>, minutes| {
            sequence += 1;
            let lifetime = SignedDuration::from_mins(minutes);
            let node = node.map(host);
            let (token, command) = new_token([seed; 21], &Grant::default(), node, 0, lifetime, pin("ca"), now());
            state.apply(sequence, &command);
            token
        };
        let (good, bound, brief, revoked) =
            (make(1, None, 60), make(2, Some("h2"), 60), make(3, None, 1), make(4, None, 60));
        state.apply(9, &Command::RevokeToken { id: revoked.id.clone(), at: now() });
        let later = now() + SignedDuration::from_mins(2);
        let fault = |token: &PresentedToken, authorities: &[KeyFingerprint]| {
            judge(&state, token, &host("h1"), authorities, later).map(|token| token.terms.id.clone())
        };
        assert_eq!(fault(&presented(&good), &[]), Ok(good.id.clone()));
        assert_eq!(fault(&presented(&good), &[pin("new"), pin("ca")]), Ok(good.id.clone()));
        assert_eq!(fault(&presented(&good), &[pin("new")]), Err(TokenFault::AuthorityReplaced));
        assert_eq!(fault(&presented(&bound), &[]), Err(TokenFault::OtherNode));
        assert_eq!(fault(&presented(&brief), &[]), Err(TokenFault::Expired));
        assert_eq!(fault(&presented(&revoked), &[]), Err(TokenFault::Revoked));
        let wrong = PresentedToken { digest: [0; 32], ..presented(&good) };
        assert_eq!(fault(&wrong, &[]), Err(TokenFault::WrongSecret));
        // The digest that an unknown id is compared with opens nothing.
        let unknown = PresentedToken { id: ShortId::of_bytes([9; 5]), digest: [0; 32] };
        assert_eq!(fault(&unknown, &[]), Err(TokenFault::Unknown));
    }
}
