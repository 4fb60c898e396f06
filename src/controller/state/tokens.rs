//! Admission tokens: what they grant, and what of them is used up.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::token_row;
use super::{ClusterState, Denial, Effect, cutoff};
use crate::cluster::{Hostname, ShortId};
use crate::controller::command::TokenTerms;

/// Tokens kept at most. A dead one gives way; if none is dead, there is no new one.
pub const MAX_TOKENS: usize = 10_000;
/// How long after its end a token is still listed. It goes with the next command about tokens.
pub const EXPIRED_TOKENS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A token as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub terms: TokenTerms,
    /// Nodes that it has admitted.
    pub used: u32,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    Valid,
    Expired,
    UsedUp,
    Revoked,
}

impl TokenStatus {
    /// The word in listings and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::UsedUp => "used-up",
            Self::Revoked => "revoked",
        }
    }
}

impl TokenRecord {
    /// What it is good for now.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> TokenStatus {
        if self.revoked_at.is_some() {
            TokenStatus::Revoked
        } else if self.terms.expires_at <= now {
            TokenStatus::Expired
        } else if self.terms.uses > 0 && self.used >= self.terms.uses {
            TokenStatus::UsedUp
        } else {
            TokenStatus::Valid
        }
    }

    /// Whether a node of that name may use it.
    #[must_use]
    pub fn is_for(&self, hostname: &Hostname) -> bool {
        self.terms.node.as_ref().is_none_or(|only| only == hostname)
    }
}

impl ClusterState {
    /// A token by its id, whatever it is good for.
    #[must_use]
    pub fn token(&self, id: &ShortId) -> Option<&TokenRecord> {
        self.tokens.get(id)
    }

    /// The tokens by id.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    pub(super) fn usable_token(&self, id: &ShortId, hostname: &Hostname, at: Timestamp) -> Option<&TokenRecord> {
        let at = self.no_earlier(at);
        self.tokens.get(id).filter(|token| token.status(at) == TokenStatus::Valid && token.is_for(hostname))
    }

    pub(super) fn use_token(&mut self, sequence: u64, id: &ShortId) {
        if let Some(token) = self.tokens.get_mut(id) {
            token.used = token.used.saturating_add(1);
            self.touch(sequence, token_row(id));
        }
    }

    pub(super) fn create_token(&mut self, sequence: u64, terms: &TokenTerms, at: Timestamp) -> Effect {
        if let Some(known) = self.tokens.get(&terms.id) {
            // The same command once more is the same token.
            let same = known.terms == *terms && known.created_at == at;
            return if same { Effect::Unchanged } else { Effect::Refused(Denial::Taken) };
        }
        if self.tokens.len() >= MAX_TOKENS {
            let dead = self.tokens.values().filter(|token| token.status(at) != TokenStatus::Valid);
            let Some(oldest) = dead.min_by_key(|token| token.created_at).map(|token| token.terms.id.clone()) else {
                return Effect::Refused(Denial::Full);
            };
            self.drop_token(sequence, &oldest);
        }
        self.drop_old_tokens(sequence, at);
        let token = TokenRecord { terms: terms.clone(), used: 0, created_at: at, revoked_at: None };
        self.tokens.insert(terms.id.clone(), token);
        self.touch(sequence, token_row(&terms.id));
        Effect::Changed
    }

    pub(super) fn revoke_token(&mut self, sequence: u64, id: &ShortId, at: Timestamp) -> Effect {
        let Some(token) = self.tokens.get_mut(id) else { return Effect::Refused(Denial::Unknown) };
        if token.revoked_at.is_some() {
            return Effect::Unchanged;
        }
        token.revoked_at = Some(at);
        self.touch(sequence, token_row(id));
        self.drop_old_tokens(sequence, at);
        Effect::Changed
    }

    fn drop_old_tokens(&mut self, sequence: u64, at: Timestamp) {
        let before = cutoff(EXPIRED_TOKENS_KEPT, at);
        let old: Vec<ShortId> = self
            .tokens
            .values()
            .filter(|token| token.terms.expires_at < before)
            .map(|token| token.terms.id.clone())
            .collect();
        for id in old {
            self.drop_token(sequence, &id);
        }
    }

    fn drop_token(&mut self, sequence: u64, id: &ShortId) {
        self.tokens.remove(id);
        self.touch(sequence, token_row(id));
    }
}
