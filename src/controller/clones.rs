//! Two hosts with one key: a disk was copied after its host had joined. Pure.
//!
//! One host that boots again is seen with another boot id and never again with the one before. Two that run at the same
//! time are seen in turn, so that a boot id comes back after another one was there. Both are shut out then: nobody can
//! say which of them is meant, and each would take the address, the mount and the place in the Swarm from the other.

use std::time::Duration;

/// For how long a boot id that was heard speaks against another one.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How many boots of one node are remembered; two are enough to tell.
const REMEMBERED: usize = 4;

/// The boots that were heard of one node, the last one first, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boots {
    heard: Vec<(String, Duration)>,
    in_turns: bool,
}

impl Boots {
    /// Notes that the node was heard from that boot at `now`, on a clock that never goes back; says whether another host
    /// is there with the same key. It is over when one of them has been silent for as long as the window.
    pub fn hears(&mut self, boot_id: &str, now: Duration) -> bool {
        let recent = |at: &Duration| now.saturating_sub(*at) < WINDOW;
        let known = self.heard.iter().position(|(boot, _)| boot == boot_id);
        if known.is_some_and(|at| at > 0 && recent(&self.heard[at].1)) {
            self.in_turns = true;
        }
        if let Some(at) = known {
            self.heard.remove(at);
        }
        let others = self.heard.iter().any(|(_, at)| recent(at));
        self.heard.insert(0, (boot_id.to_owned(), now));
        self.heard.truncate(REMEMBERED);
        self.in_turns &= others;
        self.in_turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears boots, each a letter with the second at which it is heard; says which of them were shut out.
    fn shut_out(heard: &[(&str, u64)]) -> Vec<bool> {
        let mut boots = Boots::default();
        heard.iter().map(|(boot, second)| boots.hears(boot, Duration::from_secs(*second))).collect()
    }

    /// N14.
    #[test]
    fn two_boots_in_turns_are_two_hosts() {
        assert_eq!(shut_out(&[("a", 0), ("b", 10), ("a", 20), ("b", 30), ("b", 40)]), [false, false, true, true, true]);
    }

    /// N14: the one that is left comes in again when the other one has been silent for long enough.
    #[test]
    fn it_is_over_when_one_of_them_is_silent() {
        let heard = [("a", 0), ("b", 1), ("a", 2), ("b", 50), ("b", 61), ("b", 62), ("b", 200)];
        assert_eq!(shut_out(&heard), [false, false, true, true, true, false, false]);
    }

    #[test]
    fn a_host_that_boots_again_is_one_host() {
        assert_eq!(shut_out(&[("a", 0), ("a", 1), ("b", 2), ("b", 3), ("c", 4), ("d", 5), ("e", 6)]), [false; 7]);
        // What was there an hour ago was not there at the same time.
        assert_eq!(shut_out(&[("a", 0), ("b", 100), ("a", 200)]), [false; 3]);
    }
}
