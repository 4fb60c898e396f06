//! Which error a text of GlusterFS means. Pure.
//!
//! GlusterFS gives nearly every refusal the same number (30800) and says the difference in English, so the texts are
//! what is matched, as recorded from 10.3 under `tests/fixtures/gluster`. Servers prefix each other's texts ("Staging
//! failed on 10.0.0.2. Error: ...", "Pre Validation failed on 10.0.0.2. ..."), so nothing is matched at the start.

use crate::providers::gluster::GlusterError;

/// `opErrno` of "Another transaction is in progress".
const ANOTHER_TRANSACTION: i64 = 30802;

/// `opErrno` of `volume info` for a name that no volume has.
const NO_SUCH_VOLUME: i64 = 30806;

/// Whether a refusal says that there is no volume of that name.
///
/// ```text
/// <opErrno>30806</opErrno> <opErrstr>Volume does not exist</opErrstr>          volume info
/// <opErrno>30800</opErrno> <opErrstr>Volume shared does not exist</opErrstr>   the others
/// ```
pub(super) fn says_no_such_volume(errno: i64, text: &str) -> bool {
    errno == NO_SUCH_VOLUME || (text.starts_with("Volume ") && text.trim_end().ends_with("does not exist"))
}

/// Whether a refusal of `volume start` says that there is nothing to do: "Volume shared already started".
pub(super) fn says_already_started(text: &str) -> bool {
    text.contains("already started")
}

/// The error that `text` means. `command` is what was run, and `host` the server that it was about, if one.
pub(super) fn classify(command: &str, host: Option<&str>, errno: i64, text: &str) -> GlusterError {
    let message = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = |part: &str| message.contains(part);
    // "Locking failed on 10.0.0.2. ..." is what the loser of two transactions from two servers reads.
    if errno == ANOTHER_TRANSACTION || says("Another transaction is in progress") || says("Locking failed on ") {
        return GlusterError::Busy;
    }
    if says("already part of another cluster") {
        return GlusterError::ForeignPool { host: host.unwrap_or_else(|| first_word(&message)).to_owned() };
    }
    // "Peer 10.0.0.2 does not support required op-version" (10.3, when a server of an older version is probed).
    if says("does not support required op-version") {
        let host =
            host.map(str::to_owned).or_else(|| between(&message, "Peer ", " does not support").map(str::to_owned));
        return GlusterError::OldVersion { host: host.unwrap_or_default() };
    }
    if let Some(name) = between(&message, "Volume ", " already exists") {
        return GlusterError::VolumeExists(name.to_owned());
    }
    if says("is already part of a volume") || says("containing or be contained by an existing brick") {
        return GlusterError::BrickInUse { message };
    }
    if says("being created in the root partition") {
        return GlusterError::BrickOnRoot { message };
    }
    let unreachable = between(&message, "Host ", " not connected")
        .or_else(|| between(&message, "Host ", " is not in 'Peer in Cluster' state"))
        .or_else(|| host.filter(|_| says("Transport endpoint is not connected") || says("Probe returned with")));
    if let Some(host) = unreachable {
        let host = host.to_owned();
        return GlusterError::PeerUnreachable { host, message };
    }
    GlusterError::Refused { command: command.to_owned(), message }
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

/// The single word between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let end = text.find(after)?;
    let start = text[..end].rfind(before)? + before.len();
    Some(&text[start..end]).filter(|word| !word.is_empty() && !word.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let variant = format!("{:?}", classify("c", Some("10.0.0.9"), 30800, text));
        variant.split([' ', '(']).next().unwrap().to_owned()
    }

    #[test]
    fn tells_the_texts_of_10_3_apart() {
        for (text, variant) in [
            ("Another transaction is in progress for v1. Please try again after some time.", "Busy"),
            ("Locking failed on 10.0.0.2. Please check log file for details.", "Busy"),
            ("10.0.0.2 is either already part of another cluster or having volumes configured", "ForeignPool"),
            ("Peer 10.0.0.2 does not support required op-version", "OldVersion"),
            ("Volume shared already exists", "VolumeExists"),
            ("Staging failed on 10.0.0.2. Error: Volume shared already exists", "VolumeExists"),
            ("/data/a is already part of a volume", "BrickInUse"),
            ("parent directory /data is already part of a volume", "BrickInUse"),
            ("Pre Validation failed on 10.0.0.2. /data/a is already part of a volume", "BrickInUse"),
            (
                "Brick: 10.0.0.1:/data/a not available. Brick may be containing or be contained by an existing brick.",
                "BrickInUse",
            ),
            ("The brick 10.0.0.1:/opt/a is being created in the root partition. It is", "BrickOnRoot"),
            ("Host 10.0.0.3 not connected", "PeerUnreachable"),
            ("Host 10.0.0.3 is not in 'Peer in Cluster' state", "PeerUnreachable"),
            ("Probe returned with Transport endpoint is not connected", "PeerUnreachable"),
            ("Commit failed on 10.0.0.2. Please check the log file for more details.", "Refused"),
            ("Operation failed", "Refused"),
            ("", "Refused"),
        ] {
            assert_eq!(of(text), variant, "{text}");
        }
    }

    #[test]
    fn names_the_host_that_the_text_names() {
        let error = classify("c", None, 30800, "Staging failed. Host 10.0.0.3 not connected");
        assert!(matches!(error, GlusterError::PeerUnreachable { host, .. } if host == "10.0.0.3"));
    }

    #[test]
    fn knows_a_missing_volume() {
        assert!(says_no_such_volume(30806, "Volume does not exist"));
        assert!(says_no_such_volume(30800, "Volume shared does not exist"));
        assert!(!says_no_such_volume(30800, "option : x does not exist Did you mean y?"));
    }
}
