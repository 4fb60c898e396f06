//! What administrators are shown of tokens, requests, administrators and authorities, as JSON. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controller::certificates::AuthoritiesView;
use crate::controller::command::Decision;
use crate::controller::overview;
use crate::controller::state::{AdminRecord, ClusterState, RequestRecord, RequestStatus, TokenRecord};
use crate::controller::tokens;

/// One page of `rows`, which are in the order of their keys, after the key `after`.
fn page<'a, T: 'a>(
    name: &str,
    rows: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> &str,
    after: &str,
    limit: u32,
    show: impl Fn(&T) -> Value,
) -> Value {
    let (rows, next) = overview::page(rows, key, after, limit, show);
    json!({ "Status": "ready", name: rows, "After": next })
}

pub(super) fn tokens(
    state: &ClusterState,
    authorities: Option<&AuthoritiesView>,
    now: Timestamp,
    after: &str,
    limit: u32,
) -> Value {
    let trusted = authorities.map(AuthoritiesView::fingerprints).unwrap_or_default();
    let show = |token: &TokenRecord| {
        let status = tokens::status(token, &trusted, now);
        json!({
            "Id": token.terms.id,
            "Role": token.terms.role,
            "Profiles": token.terms.profiles,
            "Node": token.terms.node,
            "Uses": token.terms.uses,
            "Used": token.used,
            "Created": token.created_at,
            "Expires": token.terms.expires_at,
            "Status": status.map_or(tokens::TokenFault::AuthorityReplaced.as_str(), |status| status.as_str()),
        })
    };
    page("Tokens", state.tokens(), |token| token.terms.id.as_str(), after, limit, show)
}

pub(super) fn requests(state: &ClusterState, after: &str, limit: u32) -> Value {
    page("Requests", state.requests(), |request| request.id.as_str(), after, limit, request)
}

pub(super) fn request(request: &RequestRecord) -> Value {
    let terms = &request.terms;
    let (granted, profiles, reason, decided) = match &request.status {
        RequestStatus::Pending => (None, &terms.profiles, None, None),
        RequestStatus::Decided { decision: Decision::Approve { role, profiles }, at } => {
            (Some(*role), profiles, None, Some(*at))
        }
        RequestStatus::Decided { decision: Decision::Reject { reason }, at } => {
            (None, &terms.profiles, Some(reason), Some(*at))
        }
    };
    json!({
        "Id": request.id,
        "NodeId": terms.node_id,
        "Hostname": terms.hostname,
        "Address": terms.address,
        "Source": terms.source,
        "Key": terms.key,
        "Role": terms.role,
        "Granted": granted,
        "Profiles": profiles,
        "Status": request.word(),
        "Requested": request.requested_at,
        "Decided": decided,
        "Reason": reason,
    })
}

pub(super) fn admins(state: &ClusterState, after: &str, limit: u32) -> Value {
    let show = |admin: &AdminRecord| {
        json!({
            "Name": admin.name,
            "Key": admin.key,
            "Created": admin.created_at,
            "Revoked": admin.revoked_at,
            "Status": if admin.revoked_at.is_some() { "revoked" } else { "valid" },
        })
    };
    page("Admins", state.admins(), |admin| admin.name.as_str(), after, limit, show)
}

pub(super) fn authorities(view: &AuthoritiesView) -> Value {
    let rows: Vec<Value> = view
        .authorities
        .iter()
        .map(|authority| {
            json!({
                "Fingerprint": authority.fingerprint,
                "State": if authority.active { "active" } else { "previous" },
                "NotBefore": authority.not_before,
                "NotAfter": authority.not_after,
                "TrustedUntil": authority.trusted_until,
            })
        })
        .collect();
    json!({ "Status": "ready", "Authorities": rows, "ServerCertificate": { "NotAfter": view.server_not_after } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Hostname, NodeAddress, NodeId, ShortId};
    use crate::controller::command::{Command, RequestTerms};
    use crate::controller::store::Machine;
    use crate::protocol::exchange::MAX_RESPONSE;

    /// However many there are and whatever is said about them, each page is short enough to be read, and all are shown.
    #[test]
    fn pages_of_requests_can_be_read() {
        let mut state = ClusterState::default();
        let at = Timestamp::from_second(1_767_323_045).unwrap();
        let mut sequence = 0;
        for n in 0..900_u32 {
            let hostname = Hostname::parse(&format!("h{n}")).unwrap();
            let [_, _, high, low] = n.to_be_bytes();
            let address = NodeAddress::parse(&format!("10.0.{high}.{low}")).unwrap();
            let request = RequestTerms {
                node_id: NodeId::of_public_key(&n.to_be_bytes()),
                hostname,
                address,
                source: address.into(),
                key: None,
                role: None,
                profiles: Vec::new(),
            };
            let id = ShortId::of_bytes([1, 1, 1, high, low]);
            let reject = Decision::Reject { reason: "\u{1f980}\"".repeat(60) };
            for command in [
                Command::FileRequest { id: id.clone(), request, at },
                Command::DecideRequest { id, decision: reject, at },
            ] {
                sequence += 1;
                state.apply(sequence, &command);
            }
        }
        let (mut after, mut shown, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let page = requests(&state, &after, 0);
            assert!(page.to_string().len() < MAX_RESPONSE - 16 * 1024);
            shown.extend(page["Requests"].as_array().unwrap().iter().map(|row| row["Id"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["After"].as_str() else { break };
            next.clone_into(&mut after);
        }
        let all: Vec<String> = state.requests().map(|request| request.id.to_string()).collect();
        assert_eq!((shown, pages > 1), (all, true));
    }
}
