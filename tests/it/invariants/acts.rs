//! I12: nothing is forced, left or cleaned that was not proven to be ours and empty.

/// What was done to Docker and to bricks and volumes, each in words as the fakes record it.
///
/// # Panics
/// Something was done that must not be.
pub(crate) fn destroyed_nothing(docker: &[String], gluster: &[String], root_bricks_allowed: bool) {
    for act in docker.iter().filter(|act| act.contains("leave force=true")) {
        // Never a member: it has no certificate, or is a worker whose certificate is good for nothing any more (N7), and
        // leaving loses nothing.
        let nothing_lost = ["part=pending", "part=failed-join", "part=broken-worker"];
        assert!(nothing_lost.iter().any(|part| act.ends_with(part)), "I12: {act}");
    }
    for act in gluster {
        let restart = act == "start force=true";
        assert!(!act.contains("force=true") || restart || root_bricks_allowed, "I12: {act}");
        assert!(!act.contains("replica=2"), "I12: two copies cannot agree: {act}");
        // The mark of a volume that exists nowhere, on a brick that a create named before and nobody has written into.
        let cleaned = act.starts_with("clear mark");
        assert!(!cleaned || act.ends_with("intended=true orphan=true empty=true"), "I12: {act}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(docker: &[&str], gluster: &[&str]) -> bool {
        let own = |acts: &[&str]| acts.iter().map(|act| (*act).to_owned()).collect::<Vec<_>>();
        let (docker, gluster) = (own(docker), own(gluster));
        std::panic::catch_unwind(|| destroyed_nothing(&docker, &gluster, false)).is_ok()
    }

    #[test]
    fn finds_what_it_is_for() {
        assert!(judge(
            &["h2 leave force=true part=pending", "h2 leave force=false part=member"],
            &["start force=true", "clear mark 10.0.0.2 intended=true orphan=true empty=true"],
        ));
        for part in ["member", "broken", "locked"] {
            assert!(!judge(&[&format!("h2 leave force=true part={part}")], &[]), "{part}");
        }
        for act in [
            "create replica=3 force=true",
            "add bricks=1 replica=2 force=false",
            "clear mark 10.0.0.2 intended=true orphan=true empty=false",
        ] {
            assert!(!judge(&[], &[act]), "{act}");
        }
    }
}
