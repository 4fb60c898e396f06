//! What administrators are shown of tokens, requests, administrators and authorities, as JSON. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controller::certificates::AuthoritiesView;
use crate::controller::command::Decision;
use crate::controller::overview::page_size;
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
    let limit = page_size(limit);
    let mut page: Vec<&T> = rows.filter(|row| key(row) > after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|row| key(row).to_owned());
    let rows: Vec<Value> = page.into_iter().map(show).collect();
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
