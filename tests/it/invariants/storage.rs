//! I5, I6: one pool, whole sets of bricks, marks where the volume's bricks are and nowhere else, and files that stay.

use std::collections::{BTreeMap, BTreeSet};

/// The volume as its servers have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeSeen {
    pub(crate) id: String,
    pub(crate) replica: u32,
    /// The bricks' hosts.
    pub(crate) bricks: Vec<String>,
}

/// # Panics
/// The volume is one brick neither alone nor in sets of three.
pub(crate) fn sets_are_whole(volume: &VolumeSeen) {
    let (replica, bricks) = (volume.replica, volume.bricks.len());
    assert!((bricks, replica) == (1, 1) || (replica == 3 && bricks.is_multiple_of(3)), "I6: half a set: {volume:?}");
}

/// Judges the marks on hosts' bricks: the id of a volume, or none.
///
/// # Panics
/// A brick of the volume has another mark, or a brick outside it has one.
pub(crate) fn marks_are_right(volume: &VolumeSeen, marks: &BTreeMap<String, Option<String>>) {
    for (host, mark) in marks {
        let inside = volume.bricks.contains(host).then(|| volume.id.clone());
        assert_eq!(*mark, inside, "I6: the mark on the brick of {host}: {volume:?}");
    }
}

/// Judges which servers each of a pool's servers knows, by their ids.
///
/// # Panics
/// Two servers name different pools.
pub(crate) fn one_pool(seen: &BTreeMap<String, BTreeSet<String>>) {
    let distinct: BTreeSet<&BTreeSet<String>> = seen.values().collect();
    assert!(distinct.len() <= 1, "I5: several pools: {seen:?}");
}

/// Judges files that were written and acknowledged, by name and checksum.
///
/// # Panics
/// One is gone or has changed.
pub(crate) fn files_are_kept(written: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    for (name, sum) in written {
        assert_eq!(found.get(name), Some(sum), "I6: the canary file {name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(replica: u32, bricks: &[&str]) -> VolumeSeen {
        VolumeSeen { id: "v".into(), replica, bricks: bricks.iter().map(|host| (*host).to_owned()).collect() }
    }

    fn fails(check: impl Fn() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_err()
    }

    #[test]
    fn finds_what_it_is_for() {
        sets_are_whole(&seen(1, &["a"]));
        sets_are_whole(&seen(3, &["a", "b", "c"]));
        assert!(fails(|| sets_are_whole(&seen(3, &["a", "b"]))) && fails(|| sets_are_whole(&seen(1, &["a", "b"]))));
        let marks = |b: Option<&str>| {
            BTreeMap::from([("a".to_owned(), Some("v".to_owned())), ("b".to_owned(), b.map(str::to_owned))])
        };
        marks_are_right(&seen(1, &["a"]), &marks(None));
        assert!(fails(move || marks_are_right(&seen(1, &["a"]), &marks(Some("v")))));
        let pool = |uuids: &[&str]| uuids.iter().map(|uuid| (*uuid).to_owned()).collect::<BTreeSet<_>>();
        one_pool(&BTreeMap::from([("a".to_owned(), pool(&["1", "2"])), ("b".to_owned(), pool(&["1", "2"]))]));
        assert!(fails(move || one_pool(&BTreeMap::from([
            ("a".to_owned(), pool(&["1", "2"])),
            ("b".to_owned(), pool(&["2"]))
        ]))));
        let written = BTreeMap::from([("f".to_owned(), "sum".to_owned())]);
        files_are_kept(&written, &written.clone());
        assert!(fails(move || files_are_kept(&written, &BTreeMap::new())));
    }
}
