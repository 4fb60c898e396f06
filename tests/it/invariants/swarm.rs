//! I5, I11: one Swarm, and exactly one live entry in it for each node.

use std::collections::BTreeSet;

/// A node's own view of its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) hostname: String,
    pub(crate) active: bool,
    pub(crate) swarm_node_id: String,
    /// The digest of the Swarm's root CA.
    pub(crate) digest: String,
}

/// A line of the managers' list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hostname: String,
    pub(crate) swarm_node_id: String,
    pub(crate) ready: bool,
}

/// # Panics
/// The nodes are in several Swarms or in none, or a node has not one live entry, its own.
pub(crate) fn one_for_all(seats: &[Seat], entries: &[Entry]) {
    let digests: BTreeSet<&str> = seats.iter().map(|seat| seat.digest.as_str()).collect();
    assert!(digests.len() == 1 && !digests.contains(""), "I5: one Swarm: {seats:?}");
    assert!(seats.iter().all(|seat| seat.active), "I5: {seats:?}");
    for seat in seats {
        let live: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.hostname == seat.hostname && entry.ready)
            .map(|entry| entry.swarm_node_id.as_str())
            .collect();
        assert_eq!(live, [seat.swarm_node_id.as_str()], "I11: one live entry for {}: {entries:?}", seat.hostname);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(name: &str, digest: &str) -> Seat {
        Seat { hostname: name.into(), active: true, swarm_node_id: format!("id-{name}"), digest: digest.into() }
    }

    fn entry(name: &str, id: &str, ready: bool) -> Entry {
        Entry { hostname: name.into(), swarm_node_id: id.into(), ready }
    }

    #[test]
    fn finds_what_it_is_for() {
        let seats = [seat("h1", "d"), seat("h2", "d")];
        let good = [entry("h1", "id-h1", true), entry("h2", "id-h2", true), entry("h2", "old", false)];
        one_for_all(&seats, &good);
        let bad: [(&[Seat], &[Entry]); 4] = [
            (&[seat("h1", "d"), seat("h2", "e")], &good),
            (&seats, &good[..1]),
            (&seats, &[entry("h1", "id-h1", true), entry("h2", "other", true)]),
            (&seats, &[entry("h1", "id-h1", true), entry("h2", "id-h2", true), entry("h2", "old", true)]),
        ];
        for (seats, entries) in bad {
            assert!(std::panic::catch_unwind(|| one_for_all(seats, entries)).is_err(), "{entries:?}");
        }
    }
}
