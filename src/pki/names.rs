//! The names in certificates: who their holder is, as a URI, and the server name under which a client asks for the
//! certificate of one CA.

use rustls::pki_types::{DnsName, ServerName};

use crate::cluster::{KeyFingerprint, NodeId, Role, Subject};

/// The end of the server names; nothing is ever looked up under it.
const DOMAIN: &str = "ca.clusterctl.internal";

/// The longest name of an administrator.
const MAX_ADMIN_NAME: usize = 64;

/// Why a text cannot name an administrator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an administrator's name has 1 to 64 characters out of a-z, A-Z, 0-9, `.`, `_` and `-`, the first a letter or digit: {0:?}"
)]
pub struct AdminNameError(pub String);

/// Checks an administrator's name.
///
/// # Errors
/// If it breaks the rule that the error states.
pub fn check_admin_name(name: &str) -> Result<(), AdminNameError> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let allowed = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if begins && allowed && name.len() <= MAX_ADMIN_NAME {
        Ok(())
    } else {
        Err(AdminNameError(name.chars().take(MAX_ADMIN_NAME).collect()))
    }
}

/// `spiffe://<cluster>/node/<id>/<role>` or `spiffe://<cluster>/admin/<name>`.
#[must_use]
pub fn uri_of(cluster_id: &str, subject: &Subject) -> String {
    match subject {
        Subject::Node { id, role } => format!("spiffe://{cluster_id}/node/{id}/{role}"),
        Subject::Admin { name } => format!("spiffe://{cluster_id}/admin/{name}"),
    }
}

/// The controller's own name.
#[must_use]
pub fn controller_uri(cluster_id: &str) -> String {
    format!("spiffe://{cluster_id}/controller")
}

/// Whom such a URI names, if it is one of this cluster and in exactly the form that [`uri_of`] gives it.
#[must_use]
pub fn subject_in(cluster_id: &str, uri: &str) -> Option<Subject> {
    let mut parts = uri.strip_prefix("spiffe://")?.strip_prefix(cluster_id)?.strip_prefix('/')?.split('/');
    let subject = match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        ("node", id, Some(role), None) => {
            Subject::Node { id: NodeId::parse(id).ok()?, role: role.parse::<Role>().ok()? }
        }
        ("admin", name, None, None) => {
            check_admin_name(name).ok()?;
            Subject::Admin { name: name.to_owned() }
        }
        _ => return None,
    };
    (uri_of(cluster_id, &subject) == uri).then_some(subject)
}

/// The server name that asks for the certificate of this CA, and that the certificate carries.
#[must_use]
pub fn server_name(authority: KeyFingerprint) -> String {
    format!("{authority}.{DOMAIN}")
}

/// The same for TLS; without a CA a name that asks for none.
#[must_use]
pub fn asked_name(authority: Option<KeyFingerprint>) -> ServerName<'static> {
    let name = authority.map_or_else(|| DOMAIN.to_owned(), server_name);
    match DnsName::try_from(name) {
        Ok(name) => ServerName::DnsName(name),
        // 52 letters and digits are a label like any other; an address would ask for none as well.
        Err(_) => ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
    }
}

/// The CA that a server name asks for.
#[must_use]
pub fn authority_asked_for(name: &str) -> Option<KeyFingerprint> {
    let label = name.strip_suffix(DOMAIN)?.strip_suffix('.')?;
    KeyFingerprint::parse(label).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "0b4d";

    #[test]
    fn subjects_read_back() {
        let id = NodeId::of_public_key(b"key");
        for subject in [
            Subject::Node { id: id.clone(), role: Role::Worker },
            Subject::Node { id: id.clone(), role: Role::Manager },
            Subject::Admin { name: "Ada.L-1_x".to_owned() },
        ] {
            assert_eq!(subject_in(CLUSTER, &uri_of(CLUSTER, &subject)), Some(subject));
        }
        for uri in [
            String::new(),
            controller_uri(CLUSTER),
            format!("spiffe://other/node/{id}/worker"),
            format!("spiffe://{CLUSTER}x/node/{id}/worker"),
            format!("spiffe://{CLUSTER}/node/{id}/Worker"),
            format!("spiffe://{CLUSTER}/node/{}/worker", id.as_str().to_uppercase()),
            format!("spiffe://{CLUSTER}/node/{id}/worker/x"),
            format!("spiffe://{CLUSTER}/node/{id}"),
            format!("spiffe://{CLUSTER}/admin/"),
            format!("spiffe://{CLUSTER}/admin/a%2fb"),
            format!("SPIFFE://{CLUSTER}/admin/ada"),
        ] {
            assert_eq!(subject_in(CLUSTER, &uri), None, "{uri}");
        }
    }

    #[test]
    fn administrators_have_plain_names() {
        for name in ["", "-a", ".a", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(check_admin_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_admin_name(&"a".repeat(64)), Ok(()));
    }

    #[test]
    fn server_names_say_which_authority_is_pinned() {
        let authority = KeyFingerprint::of_public_key(b"ca");
        let name = server_name(authority);
        assert_eq!(authority_asked_for(&name), Some(authority));
        assert_eq!(asked_name(Some(authority)).to_str(), name.as_str());
        assert_eq!(authority_asked_for(&asked_name(None).to_str()), None);
        for other in ["", "ca.clusterctl.internal", "x.ca.clusterctl.internal", "10.0.0.1", &authority.to_string()] {
            assert_eq!(authority_asked_for(other), None, "{other:?}");
        }
    }
}
