//! What clients asked and were answered, and whether the controller's record can be so: I1 to I4.
//!
//! One host is registered by one client, one request after the other, with ascending versions. That makes the check
//! cheap: the record must hold a version between the last one that was acknowledged and the last one that was sent.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

/// One answered request.
#[derive(Debug, Clone, Copy)]
struct Answered {
    sent: Instant,
    answered: Instant,
    revision: u64,
}

/// What is known of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    sent: u64,
    acknowledged: u64,
}

/// The version in which a listed host is on record, by its address (see [`super::registration`]).
fn version(row: &Value) -> Option<u64> {
    let address: std::net::Ipv4Addr = row["Address"].as_str()?.parse().ok()?;
    let [_, _, high, low] = address.octets();
    Some(u64::from(high) * 250 + u64::from(low) - 1)
}

/// All requests of a run.
#[derive(Debug, Default)]
pub(super) struct History {
    hosts: BTreeMap<String, Known>,
    answers: Vec<Answered>,
}

impl History {
    /// The next version to register `host` with.
    pub(super) fn next(&mut self, host: &str) -> u64 {
        let known = self.hosts.entry(host.to_owned()).or_default();
        known.sent += 1;
        known.sent
    }

    /// The last version sent was acknowledged, with this revision.
    pub(super) fn acknowledged(&mut self, host: &str, sent: Instant, revision: u64) {
        let known = self.hosts.get_mut(host).unwrap();
        known.acknowledged = known.sent;
        self.answers.push(Answered { sent, answered: Instant::now(), revision });
    }

    pub(super) fn acknowledgements(&self) -> usize {
        self.answers.len()
    }

    /// Compares with what the controller shows of its state.
    pub(super) fn check(&self, status: &Value) {
        let rows = status["Nodes"].as_array().unwrap();
        assert_eq!(status["NodesTotal"], rows.len(), "more hosts than are listed: {status}");
        let mut found = BTreeMap::new();
        for row in rows.iter().filter(|row| row["Hostname"].as_str().is_some_and(|name| self.hosts.contains_key(name)))
        {
            let before = found.insert(row["Hostname"].as_str().unwrap(), version(row));
            assert_eq!(before, None, "I2: twice: {row}");
        }
        for (host, known) in &self.hosts {
            match found.get(host.as_str()).copied().flatten() {
                Some(version) => {
                    assert!(version >= known.acknowledged, "I1: {host} is at {version}, {known:?}");
                    assert!(version <= known.sent, "I2: {host} is at {version}, {known:?}");
                }
                None => assert_eq!(known.acknowledged, 0, "I1: {host} is not on record, {known:?}"),
            }
        }
        // The controller's own host is the one that no client registered.
        assert_eq!(rows.len() - found.len(), 1, "I2: somebody registered whom nobody sent: {status}");
        for (role, count) in [("worker", "Workers"), ("manager", "Managers")] {
            let recount = rows.iter().filter(|row| row["Role"] == role).count();
            assert_eq!(status["Gate"][count], recount, "I3: {status}");
        }
        let newest = self.answers.iter().map(|answer| answer.revision).max().unwrap_or_default();
        assert!(status["Revision"].as_u64().unwrap() >= newest, "I4: {newest} was answered: {status}");
        self.check_order();
    }

    /// I4: whoever asked for a change after an answer had come has a later revision than it. A sweep over the moments,
    /// with the greatest revision answered so far.
    fn check_order(&self) {
        let mut moments: Vec<(Instant, bool, u64)> = self
            .answers
            .iter()
            .flat_map(|one| [(one.sent, true, one.revision), (one.answered, false, one.revision)])
            .collect();
        moments.sort_unstable();
        let mut answered = 0;
        for (_, is_question, revision) in moments {
            if is_question {
                assert!(revision > answered, "I4: {revision} was answered to a change asked for after {answered}");
            } else {
                answered = answered.max(revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn history(acknowledged: bool) -> History {
        let mut history = History::default();
        assert_eq!(history.next("n1"), 1);
        if acknowledged {
            history.acknowledged("n1", Instant::now(), 5);
        }
        history
    }

    fn status(version: u64, revision: u64, workers: u64) -> Value {
        let own = json!({"Hostname": "master", "Role": "manager", "Address": "10.0.0.1"});
        let other = json!({"Hostname": "n1", "Role": "worker", "Address": format!("10.2.0.{}", version + 1)});
        let gate = json!({"Managers": 1, "Workers": workers});
        json!({"Nodes": [own, other], "NodesTotal": 2, "Gate": gate, "Revision": revision})
    }

    #[test]
    fn accepts_what_can_be() {
        history(true).check(&status(1, 5, 1));
        history(false).check(&status(1, 5, 1));
    }

    #[test]
    #[should_panic(expected = "I1")]
    fn finds_what_was_lost() {
        history(true).check(&status(0, 5, 1));
    }

    #[test]
    #[should_panic(expected = "I2")]
    fn finds_what_was_invented() {
        history(true).check(&status(2, 5, 1));
    }

    #[test]
    #[should_panic(expected = "I3")]
    fn finds_a_wrong_count() {
        history(true).check(&status(1, 5, 2));
    }

    #[test]
    #[should_panic(expected = "I4")]
    fn finds_a_revision_that_went_back() {
        history(true).check(&status(1, 4, 1));
    }

    #[test]
    #[should_panic(expected = "I4: 4 was answered to a change asked for after 5")]
    fn finds_revisions_out_of_order() {
        let mut history = history(true);
        history.next("n1");
        let later = Instant::now() + Duration::from_millis(1);
        history.answers.push(Answered { sent: later, answered: later, revision: 4 });
        history.check_order();
    }
}
