//! I1, I2, I3: the nodes on record are those that were let in, each once, and are counted right.

use std::collections::BTreeSet;

use serde_json::Value;

/// Judges what `master status` shows, of at most a hundred nodes.
///
/// # Panics
/// Two nodes have the same name, address or id, or the counts are not those of the rows.
pub(crate) fn add_up(status: &Value) {
    let rows = status["Nodes"].as_array().unwrap_or_else(|| panic!("no rows: {status}"));
    for field in ["NodeId", "Hostname", "Address"] {
        let distinct: BTreeSet<&str> = rows.iter().filter_map(|row| row[field].as_str()).collect();
        assert_eq!(distinct.len(), rows.len(), "I2: the same {field} twice: {status}");
    }
    let of = |role: &str| rows.iter().filter(|row| row["Role"] == role).count() as u64;
    let counted = (status["Gate"]["Managers"].as_u64(), status["Gate"]["Workers"].as_u64());
    assert_eq!(counted, (Some(of("manager")), Some(of("worker"))), "I3: the counts are not a recount: {status}");
    assert_eq!(status["NodesTotal"].as_u64(), Some(rows.len() as u64), "I3: {status}");
}

/// The ids of the nodes on record.
pub(crate) fn ids(status: &Value) -> BTreeSet<String> {
    let rows = status["Nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row["NodeId"].as_str().map(str::to_owned)).collect()
}

/// # Panics
/// A node that was told that it is on record is not, or one is on record that there is not.
pub(crate) fn are_those(status: &Value, acknowledged: &BTreeSet<String>, existing: &BTreeSet<String>) {
    let known = ids(status);
    assert!(acknowledged.is_subset(&known), "I1: {acknowledged:?} were acknowledged, and on record are {known:?}");
    assert!(known.is_subset(existing), "I2: invented: {known:?}, there are {existing:?}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(rows: &[(&str, &str, &str)], workers: u64) -> Value {
        let rows: Vec<Value> = rows
            .iter()
            .map(|(id, name, address)| json!({"NodeId": id, "Hostname": name, "Address": address, "Role": "worker"}))
            .collect();
        json!({"NodesTotal": rows.len(), "Gate": {"Managers": 0, "Workers": workers}, "Nodes": rows})
    }

    #[test]
    fn finds_what_it_is_for() {
        let good = status(&[("a", "h1", "10.0.0.1"), ("b", "h2", "10.0.0.2")], 2);
        add_up(&good);
        for bad in [
            status(&[("a", "h1", "10.0.0.1"), ("a", "h2", "10.0.0.2")], 2),
            status(&[("a", "h1", "10.0.0.1"), ("b", "h1", "10.0.0.2")], 2),
            status(&[("a", "h1", "10.0.0.1"), ("b", "h2", "10.0.0.2")], 3),
        ] {
            assert!(std::panic::catch_unwind(|| add_up(&bad)).is_err(), "{bad}");
        }
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        are_those(&good, &named(&["a"]), &named(&["a", "b", "c"]));
        for (acknowledged, existing) in [(named(&["c"]), named(&["a", "b", "c"])), (named(&["a"]), named(&["a"]))] {
            assert!(std::panic::catch_unwind(|| are_those(&good, &acknowledged, &existing)).is_err());
        }
    }
}
