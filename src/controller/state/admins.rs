//! Administrators: names, and the keys that were certified for them. Whose key is not on record here, or is revoked,
//! administers nothing, however valid its certificate.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::admin_row;
use super::{ClusterState, Denial, Effect};
use crate::cluster::KeyFingerprint;

/// Administrators kept at most. A revoked one gives way; if none is revoked, there is no new one.
pub const MAX_ADMINS: usize = 100;

/// An administrator as he is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRecord {
    pub name: String,
    pub key: KeyFingerprint,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl ClusterState {
    /// An administrator by name, revoked or not.
    #[must_use]
    pub fn admin(&self, name: &str) -> Option<&AdminRecord> {
        self.admins.get(name)
    }

    /// The administrators by name.
    pub fn admins(&self) -> impl Iterator<Item = &AdminRecord> {
        self.admins.values()
    }

    /// Whether that key administers under that name.
    #[must_use]
    pub fn administers(&self, name: &str, key: &KeyFingerprint) -> bool {
        self.admins.get(name).is_some_and(|admin| admin.key == *key && admin.revoked_at.is_none())
    }

    pub(super) fn create_admin(&mut self, sequence: u64, name: &str, key: KeyFingerprint, at: Timestamp) -> Effect {
        match self.admins.get(name) {
            Some(known) if known.revoked_at.is_none() => {
                // The same key again is a renewal; another one would lock the first out.
                return if known.key == key { Effect::Unchanged } else { Effect::Refused(Denial::Taken) };
            }
            Some(_) => {}
            None if self.admins.len() >= MAX_ADMINS => {
                let revoked = self.admins.values().filter_map(|admin| Some((admin.revoked_at?, admin.name.clone())));
                let Some((_, oldest)) = revoked.min() else { return Effect::Refused(Denial::Full) };
                self.admins.remove(&oldest);
                self.touch(sequence, admin_row(&oldest));
            }
            None => {}
        }
        let admin = AdminRecord { name: name.to_owned(), key, created_at: at, revoked_at: None };
        self.admins.insert(name.to_owned(), admin);
        self.touch(sequence, admin_row(name));
        Effect::Changed
    }

    pub(super) fn revoke_admin(&mut self, sequence: u64, name: &str, at: Timestamp) -> Effect {
        let Some(admin) = self.admins.get_mut(name) else { return Effect::Refused(Denial::Unknown) };
        if admin.revoked_at.is_some() {
            return Effect::Unchanged;
        }
        admin.revoked_at = Some(at);
        self.touch(sequence, admin_row(name));
        Effect::Changed
    }
}
