//! Bricks' directories, on the file system of the temporary directory. Covers S2-27, S2-72 and FAULTS J10, J12.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, XattrFlags, renameat_with, setxattr};

use super::*;

/// A directory whose path has no link in it.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// Marks a brick as GlusterFS does; false where this process may not, so that nothing can be tested.
fn mark_as(path: &Path, id: &[u8]) -> bool {
    setxattr(path, VOLUME_ID, id, XattrFlags::empty()).is_ok()
}

#[test]
fn makes_and_looks() {
    let (_dir, root) = scratch();
    let brick = root.join("a/b/brick");
    let facts = inspect_brick(&brick).unwrap();
    assert_eq!((facts.exists, facts.is_dir, facts.empty, facts.volume_id), (false, false, true, None));
    assert!(!facts.fs_type.is_empty());

    prepare_brick(&brick).unwrap();
    prepare_brick(&brick).unwrap();
    let facts = inspect_brick(&brick).unwrap();
    assert!(facts.exists && facts.is_dir && facts.empty && !facts.is_mount_point && facts.link.is_none());

    std::fs::create_dir(brick.join(".glusterfs")).unwrap();
    assert!(inspect_brick(&brick).unwrap().empty);
    std::fs::write(brick.join("data"), "x").unwrap();
    assert!(!inspect_brick(&brick).unwrap().empty);
}

/// T10: a link that somebody put in the way is not followed.
#[test]
fn refuses_links_on_the_way() {
    let (_dir, root) = scratch();
    let elsewhere = root.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let link = root.join("link");
    symlink(&elsewhere, &link).unwrap();
    assert!(matches!(prepare_brick(&link.join("brick")), Err(BrickError::Link(at)) if at == link));
    assert!(matches!(clear_brick_mark(&link, "x"), Err(BrickError::Link(_))));
    assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none());
    assert_eq!(inspect_brick(&link.join("brick")).unwrap().link, Some(link));

    let file = root.join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(prepare_brick(&file.join("brick")), Err(BrickError::NotDirectory(at)) if at == file));
    let facts = inspect_brick(&file).unwrap();
    assert!(facts.exists && !facts.is_dir && !facts.empty);
}

/// T10: nor is one that takes a directory's place between the look and the next step. Which of the two a step meets is
/// chance.
#[test]
fn a_link_that_is_swapped_in_is_not_followed() {
    let (_dir, root) = scratch();
    let [elsewhere, place, link] = ["elsewhere", "place", "link"].map(|name| root.join(name));
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::create_dir(&place).unwrap();
    symlink(&elsewhere, &link).unwrap();
    let stop = AtomicBool::new(false);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &place, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let outcomes = (0..500).map(|n| prepare_brick(&place.join(format!("{n}/brick")))).collect();
        stop.store(true, Ordering::Relaxed);
        outcomes
    });
    for outcome in outcomes {
        assert!(matches!(&outcome, Ok(()) | Err(BrickError::Link(_) | BrickError::NotDirectory(_))), "{outcome:?}");
    }
    assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none());
}

#[test]
fn takes_a_mark_off_an_empty_brick_only() {
    let (_dir, root) = scratch();
    let brick = root.join("brick");
    prepare_brick(&brick).unwrap();
    if !mark_as(&brick, &[0x11; 16]) {
        return;
    }
    let id = "11111111-1111-1111-1111-111111111111";
    assert_eq!(inspect_brick(&brick).unwrap().volume_id.as_deref(), Some(id));

    let other = "22222222-2222-2222-2222-222222222222";
    assert!(matches!(clear_brick_mark(&brick, other), Err(BrickError::OtherMark { found, .. }) if found == id));
    for found in ["data", ".glusterfs/00/00/file"] {
        let file = brick.join(found);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(clear_brick_mark(&brick, id), Err(BrickError::NotEmpty { .. })), "{found}");
        assert_eq!(inspect_brick(&brick).unwrap().volume_id.as_deref(), Some(id));
        assert!(file.exists());
        std::fs::remove_file(file).unwrap();
    }
    clear_brick_mark(&brick, id).unwrap();
    let facts = inspect_brick(&brick).unwrap();
    assert_eq!((facts.volume_id, facts.empty), (None, true));
    assert!(std::fs::read_dir(&brick).unwrap().next().is_none());
    clear_brick_mark(&brick, id).unwrap();
    clear_brick_mark(&root.join("none"), id).unwrap();
}

#[test]
fn an_odd_mark_is_a_mark() {
    let (_dir, root) = scratch();
    if mark_as(&root, &[1, 2]) {
        assert_eq!(inspect_brick(&root).unwrap().volume_id.as_deref(), Some("0102"));
    }
}
