//! Every key of the settings, once: its name in the file, its flag, its default and what it is for. The variable's
//! name follows from the key's: `gluster.volume` is `CLUSTERCTL_GLUSTER_VOLUME`. The surprising part are the few that
//! have a shorter one, because people type them.

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// With a dot between the file's section and its entry.
    pub name: &'static str,
    /// As the user types it; with both spellings where a pair of flags sets it.
    pub flag: Option<&'static str>,
    /// As text; empty where the setting is unset unless somebody sets it.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// The variable's name, where it does not follow from the key's.
    pub variable: Option<&'static str>,
}

impl Key {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        if let Some(variable) = self.variable {
            return variable.to_owned();
        }
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// What the name of every variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "CLUSTERCTL_";
/// Names the settings file, as `--config` does. Not a key: a file cannot name itself.
pub const CONFIG_VARIABLE: &str = "CLUSTERCTL_CONFIG";

const fn key(name: &'static str, flag: &'static str, default: &'static str) -> Key {
    Key { name, flag: Some(flag), default, secret: false, variable: None }
}

const fn no_flag(name: &'static str, default: &'static str) -> Key {
    Key { name, flag: None, default, secret: false, variable: None }
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("state_dir", "--state-dir", "/var/lib/clusterctl"),
    key("socket", "--socket", "/run/clusterctl/clusterctl.sock"),
    key("docker_socket", "--docker-socket", "/var/run/docker.sock"),
    key("log.level", "--log-level", "info"),
    key("log.file", "--log-file", ""),
    key("log.format", "--log-format", "text"),
    key("overlay.provider", "--overlay-provider", "none"),
    Key { secret: true, ..key("overlay.config", "--overlay-config", "") },
    key("gluster.enabled", "--enable-glusterfs / --disable-glusterfs", ""),
    key("gluster.volume", "--volume", "shared"),
    key("gluster.brick", "--brick", "/data/clusterctl/bricks/shared"),
    key("gluster.mount", "--mount", "/mnt/shared"),
    key("gluster.replica", "--replica", "3"),
    key("gluster.arbiter", "--arbiter", "false"),
    no_flag("gluster.settle", "5s"),
    key("gluster.allow_root_brick", "--allow-root-brick", "false"),
    no_flag("gluster.auth_allow_cidrs", ""),
    key("master.listen", "--listen", "0.0.0.0:7000"),
    key("master.advertise_addr", "--advertise-addr", ""),
    key("master.min_managers", "--min-managers", "0"),
    key("master.min_workers", "--min-workers", "0"),
    key("master.wait_for_minimum", "--wait-for-minimum", "false"),
    no_flag("master.max_connections", "2048"),
    no_flag("master.max_connections_per_address", "64"),
    no_flag("master.max_nodes", "200000"),
    key("master.admission", "--admission", "token"),
    key("master.plaintext", "--plaintext", "false"),
    no_flag("master.requests_per_second", "20"),
    no_flag("master.requests_burst", "100"),
    no_flag("master.node_requests_per_second", "1"),
    no_flag("master.node_requests_burst", "10"),
    no_flag("master.token_failures_per_minute", "20"),
    no_flag("master.token_failures_per_address", "200"),
    key("node.master", "--master", ""),
    key("node.role", "--role", ""),
    key("node.ip", "--ip", ""),
    key("node.hostname", "--hostname", ""),
    key("node.timeout", "--timeout", "10m"),
    Key { secret: true, variable: Some("CLUSTERCTL_TOKEN"), ..key("node.token", "--token / --token-file", "") },
    Key { variable: Some("CLUSTERCTL_CONTROLLER"), ..key("admin.controller", "--controller", "") },
    key("admin.cert", "--admin-cert", ""),
];

/// The key of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The candidate most like `word`, if one is like it at all: at most a third of its letters differ, or the last
/// part of the candidate is the word.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.replace('-', "_").to_ascii_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 4);
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            let whole = distance(&word, &lower);
            // `listen` for `master.listen`, `storage.volume` for `gluster.volume`.
            let part = if last(&word) == last(&lower) { 1 } else { usize::MAX };
            (whole.min(part), candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed (Levenshtein).
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the README has a row for every key, with its flags and its default, and no other row.
    #[test]
    fn the_readme_names_every_key() {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("\n## Settings\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows: Vec<Vec<&str>> = section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').skip(1).map(str::trim).collect())
            .collect();
        let mut named: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
        for row in &rows {
            let key = find(row[0].trim_matches('`')).unwrap();
            let flags: Vec<&str> = key.flag.map(|flags| flags.split(" / ").collect()).unwrap_or_default();
            let shown: Vec<&str> =
                row[1].split(", ").map(|flag| flag.trim_matches('`')).filter(|flag| !flag.is_empty()).collect();
            assert_eq!(shown, flags, "{}", key.name);
            if key.default.is_empty() {
                assert!(!row[2].contains('`'), "{}: there is no default", key.name);
            } else {
                assert_eq!(row[2], format!("`{}`", key.default), "{}", key.name);
            }
        }
    }

    #[test]
    fn variables_follow_from_keys() {
        assert_eq!(find("gluster.volume").unwrap().variable(), "CLUSTERCTL_GLUSTER_VOLUME");
        // S2-22, S2-23: these two are named by the specification.
        assert_eq!(find("log.file").unwrap().variable(), "CLUSTERCTL_LOG_FILE");
        assert_eq!(find("log.level").unwrap().variable(), "CLUSTERCTL_LOG_LEVEL");
        assert_eq!(find("node.token").unwrap().variable(), "CLUSTERCTL_TOKEN");
        assert_eq!(find("admin.controller").unwrap().variable(), "CLUSTERCTL_CONTROLLER");
        assert!(KEYS.iter().all(|key| key.variable().starts_with(VARIABLE_PREFIX)));
        let mut variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), KEYS.len());
        assert!(!variables.contains(&CONFIG_VARIABLE.to_owned()));
    }

    #[test]
    fn suggests_what_was_meant() {
        let names = || KEYS.iter().map(|key| key.name);
        for (word, meant) in [
            ("gluster.volum", Some("gluster.volume")),
            ("gluster.replicas", Some("gluster.replica")),
            ("listen", Some("master.listen")),
            ("master.listne", Some("master.listen")),
            ("state-dir", Some("state_dir")),
            ("Master.Listen", Some("master.listen")),
            ("storage.volume", Some("gluster.volume")),
            ("kubernetes", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, names()), meant, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, d) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), d);
        }
    }
}
