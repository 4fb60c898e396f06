//! The cluster's own CA answers what the controller asks of a certificate authority.

use jiff::{SignedDuration, Timestamp};

use super::certificates::{
    AdminCertificate, AuthoritiesView, AuthorityView, CertificateError, CertificateIssuer, RotationError,
};
use crate::cluster::{KeyFingerprint, ProvenKey, Role};
use crate::pki::authority::{AuthorityDescription, MAX_VERIFIED};
use crate::pki::{Authority, AuthorityError, Lifetime};

/// How long a replaced CA is trusted: nodes that join again within a month, as a unit does at every boot, lose nothing.
const OVERLAP: SignedDuration = SignedDuration::from_hours(30 * 24);

impl CertificateIssuer for Authority {
    fn issue_node(&self, key: &ProvenKey, role: Role, now: Timestamp) -> Result<String, CertificateError> {
        Self::issue_node(self, key, role, now).map(|issued| issued.pem).map_err(failed)
    }

    fn issue_admin(&self, name: &str, spki: &[u8], now: Timestamp) -> Result<AdminCertificate, CertificateError> {
        let issued = Self::issue_admin(self, &ProvenKey::new(spki.to_vec()), name, now).map_err(failed)?;
        Ok(AdminCertificate { certificate: issued.pem, not_after: issued.not_after })
    }

    fn authorities_pem(&self, now: Timestamp) -> String {
        self.bundle_pem(now)
    }

    fn fingerprint(&self) -> KeyFingerprint {
        Self::fingerprint(self)
    }

    fn describe(&self, now: Timestamp) -> AuthoritiesView {
        let description = Self::describe(self, now);
        let previous = description.previous.map(|(previous, until)| view(&previous, Some(until)));
        AuthoritiesView {
            authorities: std::iter::once(view(&description.active, None)).chain(previous).collect(),
            server_not_after: description.server_not_after,
            verified: description.verified,
            // The active CA's and the one's before.
            max_verified: 2 * MAX_VERIFIED,
        }
    }

    fn rotate(&self, at_once: bool, now: Timestamp) -> Result<AuthoritiesView, RotationError> {
        let overlap = if at_once { SignedDuration::ZERO } else { OVERLAP };
        match Self::rotate(self, overlap, now) {
            Ok(_) => Ok(CertificateIssuer::describe(self, now)),
            Err(AuthorityError::RotationUnderWay { until }) => Err(RotationError::UnderWay { until }),
            Err(error) => Err(failed(error).into()),
        }
    }
}

/// One CA; `until` is when a replaced one ends.
fn view(authority: &AuthorityDescription, until: Option<Timestamp>) -> AuthorityView {
    let Lifetime { not_before, not_after } = authority.lifetime;
    AuthorityView {
        fingerprint: authority.fingerprint,
        active: until.is_none(),
        not_before,
        not_after,
        trusted_until: until,
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> CertificateError {
    CertificateError(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rotation takes its time, unless a key was stolen: then nothing of before is trusted, also not of the rotation
    /// that was under way.
    #[test]
    fn a_rotation_takes_its_time_or_none() {
        let scratch = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let authority = Authority::create(&scratch.path().join("authority"), "c1", now).unwrap();
        let rotate = |at_once| CertificateIssuer::rotate(&authority, at_once, now);
        assert_eq!(rotate(false).unwrap().authorities.len(), 2);
        let again = rotate(false);
        assert!(matches!(again, Err(RotationError::UnderWay { until }) if until == now + OVERLAP), "{again:?}");
        let before = Authority::fingerprint(&authority);
        let view = rotate(true).unwrap();
        assert_eq!(view.fingerprints(), [Authority::fingerprint(&authority)]);
        assert!(!view.fingerprints().contains(&before));
    }
}
