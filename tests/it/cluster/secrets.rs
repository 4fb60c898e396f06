//! Every scenario ends with a search for whatever it made that opens something: in all that was printed, in the hosts'
//! files and logs, and in the arguments and environments of their processes. Covers T15 and I8.
//!
//! It is done when a [`Cluster`](super::Cluster) is dropped, so that no scenario can leave it out. A search that finds
//! nothing proves little; this one also has to find what it puts there itself.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lab::{Lab, Said, run};

/// How long a host may be looked through.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a cluster's settings carry for its overlay in the scenarios that have one.
pub(super) const OVERLAY_KEY: &str = "nb-setup-key-3f9d1c7e5b";

/// What no output but that of `master init` and `token create`, no file, no log and no process may show, as extended
/// regular expressions, whenever it was made: a Swarm's join and unlock keys, tokens of ours, private keys.
const SHAPES: [&str; 4] = [
    "SWMTKN-1-[0-9a-z]{20,}",
    "SWMKEY-1-[0-9A-Za-z+/]{10,}",
    "CCTL1-[a-z2-7]{52}-[a-z2-7]{8}-[a-z2-7]{26}",
    "BEGIN [A-Z ]*PRIVATE KEY",
];

/// The commands whose purpose it is to print a token.
const PRINTERS: [&str; 2] = ["master init", "token create"];

/// Run in a host, with values to be found on its input. Prints what was found and where, and nothing else.
///
/// `$0` are minutes: older files come with the machine. Files of Docker's own are for root alone and full of keys by
/// design, and /root is where a test keeps what an administrator would.
const SEARCH: &str = r#"
    exec 2>/dev/null
    minutes="$0" shapes="$1" needle="$2" values="$(cat)"
    printf '%s\n' "$needle" >/var/log/needle
    recent() { find /etc /var /run /tmp /data /srv /opt -path /var/lib/docker -prune -o -path /run/docker -prune \
        -o -path /var/lib/containerd -prune -o -type f -mmin "-$minutes" "$@" -print0; }
    where() { sed "s,^,$1: ,"; }
    recent | xargs -0r grep -lsaE -e "$shapes" -- /dev/null | grep -vxE '/var/lib/[a-z]+/(node/node\.key|controller/authority/authority\.json)' | where shape
    recent -perm /077 | xargs -0r grep -lsaF -e "$values" -- /dev/null | where value
    recent | xargs -0r grep -lsaF -e "$needle" -- /dev/null | where needle
    find /var/lib/clusterctl -mindepth 1 -perm /077 \( -type f -o -type d \) | where open
    journalctl --no-pager -a -o export | grep -aE -e "$shapes" | cut -c1-60 | where journal
    journalctl --no-pager -a -o export | grep -aF -e "$values" | cut -c1-20 | where journal-value
    for process in /proc/[0-9]*; do
        tr '\0' '\n' <"$process/cmdline" | grep -qaE -e "$shapes" && echo "arguments: $(cat "$process/comm")"
        tr '\0' '\n' <"$process/environ" | grep -qaE -e "$shapes" && echo "environment: $(cat "$process/comm")"
    done
    rm -f /var/log/needle
    true"#;

/// The values that open something and have no shape: the secret part of a token, a line out of each private key.
const VALUES: &str = r#"
    exec 2>/dev/null
    for file in /var/lib/*/node/node.key /var/lib/*/controller/authority/authority.json /root/*; do
        grep -aoE 'PRIVATE KEY-----(\\n)?[A-Za-z0-9+/]{64}' "$file" | sed -E 's/.*(\\n)//'
        sed -n '/BEGIN [A-Z ]*PRIVATE KEY/{n;p}' "$file" | grep -E '^[A-Za-z0-9+/]{64}$'
    done
    true"#;

/// Looks through everything of `lab` and through what `said` holds of it.
///
/// # Panics
/// Something is where it must not be, or the search does not work.
pub(super) fn are_nowhere(lab: &Lab, said: &[Said]) {
    let hosts: Vec<u8> = (1..=lab.size()).filter(|n| lab.exec(*n, &["true"]).success()).collect();
    let mut values = BTreeSet::from([OVERLAY_KEY.to_owned()]);
    for n in &hosts {
        values.extend(lab.ok(*n, &["bash", "-c", VALUES]).lines().map(str::to_owned));
    }
    let keys = values.len() - 1;
    assert!(hosts.is_empty() || keys > 0, "no private key was found to look for");
    values.extend(said.iter().filter(|said| prints_tokens(said)).flat_map(|said| token_secrets(&said.stdout)));
    nothing_was_said(said, &values);
    let (minutes, needle) = (lab.minutes().to_string(), "a-needle-that-has-to-be-found");
    let lines = values.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    for n in hosts {
        let search = ["bash", "-c", SEARCH, &minutes, &SHAPES.join("|"), needle];
        let found = run(lab.invocation(n, &search).stdin(lines.as_str()).deadline(PATIENCE)).unwrap();
        assert_eq!(
            found.stdout_text(),
            "needle: /var/log/needle\n",
            "h{n}: {}",
            String::from_utf8_lossy(&found.stderr)
        );
    }
}

fn prints_tokens(said: &Said) -> bool {
    PRINTERS.iter().any(|printer| said.command.contains(printer))
}

/// The secrets of the tokens in a text.
fn token_secrets(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let tokens = words.filter(|word| word.starts_with("CCTL1-"));
    tokens.filter_map(|token| token.rsplit('-').next()).map(str::to_owned).collect()
}

/// The words before what is different in each, without the regular expressions' part: enough for a text.
fn nothing_was_said(said: &[Said], values: &BTreeSet<String>) {
    const WORDS: [&str; 4] = ["SWMTKN-1-", "SWMKEY-1-", "CCTL1-", "PRIVATE KEY"];
    for Said { command, stdout, stderr } in said {
        for (stream, text) in [("stdout", stdout), ("stderr", stderr)] {
            if stream == "stdout" && PRINTERS.iter().any(|printer| command.contains(printer)) {
                assert!(!text.contains("SWMTKN-1-") && !text.contains("PRIVATE KEY"), "{command}: {text}");
                continue;
            }
            let shape = WORDS.iter().find(|word| is_shown(text, word));
            assert!(shape.is_none(), "`{command}` shows {shape:?} on {stream}:\n{text}");
            assert!(
                !values.iter().any(|value| text.contains(value)),
                "`{command}` shows a secret on {stream}:\n{text}"
            );
        }
    }
}

/// Whether a secret follows the word; the help and the hints have it with dots.
fn is_shown(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let rest = &text[at + word.len()..];
        word == "PRIVATE KEY" || rest.chars().take_while(char::is_ascii_alphanumeric).count() >= 20
    })
}

#[test]
fn what_was_printed_is_looked_through() {
    let said = |command: &str, text: &str| Said {
        command: command.to_owned(),
        stdout: String::new(),
        stderr: text.to_owned(),
    };
    let token = format!("CCTL1-{}-k3x5q7ab-{}", "a".repeat(52), "b".repeat(26));
    let values = BTreeSet::from(["b".repeat(26)]);
    let shown = |said: Said| std::panic::catch_unwind(|| nothing_was_said(&[said], &values)).is_err();
    assert!(!shown(said("clusterctl node join", "pass `--token CCTL1-...`; SWMTKN-1-…")));
    for text in [token.as_str(), "SWMTKN-1-0123456789abcdefghijklm", "-----BEGIN PRIVATE KEY-----"] {
        assert!(shown(said("clusterctl node join", text)), "{text}");
        assert!(shown(said("clusterctl token create", text)), "stderr is for nobody's token: {text}");
    }
    assert!(shown(said("clusterctl node list", &format!("x{}x", "b".repeat(26)))), "a part alone");
    assert_eq!(token_secrets(&format!("clusterctl node join --token {token}\n")), ["b".repeat(26)]);
}
