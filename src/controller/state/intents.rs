//! What was about to be tried on the volume: by it a controller that died knows its own traces again.
//!
//! A mark on a brick is cleaned only if an intent names the brick, so one stays on record until the brick was seen in
//! the volume. Each brick is in the newest intent that names it and in no other, so that trying again and again adds
//! nothing.

use super::{ClusterState, Effect};
use crate::controller::command::StorageIntent;

/// How many intents are kept. Each is of other bricks than the rest, so that more have hardly ever failed; of a brick
/// whose intent gave way a mark is for an operator to judge.
pub const MAX_INTENTS: usize = 32;

impl ClusterState {
    /// Changes of the volume that were about to be tried and were not seen to be complete, the oldest first.
    #[must_use]
    pub fn intents(&self) -> &[StorageIntent] {
        &self.intents
    }

    /// Whether the directory layout is to be spread over the volume's sets.
    #[must_use]
    pub fn layout_due(&self) -> bool {
        self.layout_due
    }

    pub(super) fn intend(&mut self, sequence: u64, intent: &StorageIntent, layout: bool) -> Effect {
        let mut intents = without(&self.intents, &intent.bricks);
        intents.push(intent.clone());
        intents.drain(..intents.len().saturating_sub(MAX_INTENTS));
        let due = self.layout_due || layout;
        let layout = self.set(sequence, |state| &mut state.layout_due, due);
        match self.set(sequence, |state| &mut state.intents, intents) {
            Effect::Unchanged => layout,
            changed => changed,
        }
    }

    pub(super) fn forget_bricks(&mut self, sequence: u64, bricks: &[String]) -> Effect {
        let intents = without(&self.intents, bricks);
        self.set(sequence, |state| &mut state.intents, intents)
    }
}

/// The intents without these bricks; those of nothing else are gone.
fn without(intents: &[StorageIntent], bricks: &[String]) -> Vec<StorageIntent> {
    let left = intents.iter().map(|intent| {
        let left = intent.bricks.iter().filter(|brick| !bricks.contains(brick)).cloned().collect();
        StorageIntent { bricks: left, ..intent.clone() }
    });
    left.filter(|intent| !intent.bricks.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::VolumeName;
    use crate::controller::command::Command;
    use crate::controller::store::Machine;

    fn intend(bricks: &[&str], layout: bool) -> Command {
        let bricks = bricks.iter().map(|brick| (*brick).to_owned()).collect();
        let volume = VolumeName::parse("shared").unwrap();
        Command::Intend { intent: StorageIntent { volume, bricks, at: jiff::Timestamp::UNIX_EPOCH }, layout }
    }

    fn bricks(state: &ClusterState) -> Vec<Vec<&str>> {
        state.intents().iter().map(|intent| intent.bricks.iter().map(String::as_str).collect()).collect()
    }

    /// J12: what a second change leaves behind is known, and what the first one left is not forgotten for it.
    #[test]
    fn each_brick_is_on_record_until_it_was_seen_in_the_volume() {
        let mut state = ClusterState::default();
        state.apply(1, &intend(&["a", "b", "c"], false));
        state.apply(2, &intend(&["a", "d", "e"], true));
        assert_eq!(bricks(&state), [vec!["b", "c"], vec!["a", "d", "e"]]);
        assert!(state.layout_due());
        state.apply(3, &intend(&["a", "d", "e"], false));
        assert_eq!((bricks(&state).len(), state.layout_due()), (2, true));
        state.apply(4, &Command::ForgetBricks { bricks: vec!["a".into(), "d".into(), "e".into(), "x".into()] });
        assert_eq!(bricks(&state), [["b", "c"]]);
        assert_eq!(state.apply(5, &Command::ForgetBricks { bricks: vec!["x".into()] }), Effect::Unchanged);
        assert_eq!(state.apply(6, &Command::LayoutSpread), Effect::Changed);
        assert_eq!((state.apply(7, &Command::LayoutSpread), state.revision()), (Effect::Unchanged, 6));
    }

    #[test]
    fn the_oldest_give_way() {
        let mut state = ClusterState::default();
        for n in 0..MAX_INTENTS as u64 + 3 {
            state.apply(n + 1, &intend(&[&format!("brick {n}")], false));
        }
        assert_eq!((state.intents().len(), bricks(&state)[0][0]), (MAX_INTENTS, "brick 3"));
    }

    /// The first version's commands mean what they meant: one intent, and none.
    #[test]
    fn the_first_versions_commands_know_of_one() {
        let mut state = ClusterState::default();
        state.apply(1, &intend(&["a"], false));
        let Command::Intend { intent, .. } = intend(&["b"], false) else { unreachable!() };
        state.apply(2, &Command::RecordIntent { intent });
        assert_eq!(bricks(&state), [["b"]]);
        state.apply(3, &Command::ClearIntent);
        assert_eq!(bricks(&state), Vec::<Vec<&str>>::new());
    }
}
