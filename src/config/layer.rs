//! Puts the layers on top of each other. Values in, values out: reads no file and no environment.
//!
//! Every value is text here and keeps its origin. An empty value in the environment counts as unset, as it does for
//! most programs that systemd starts with an `EnvironmentFile=`.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{self, CONFIG_VARIABLE, KEYS, Key, VARIABLE_PREFIX};
use super::problem::Problem;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    File { path: String, line: Option<usize> },
    Environment { variable: String },
    Flag { flag: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{path}:{line}"),
            Self::File { path, line: None } => f.write_str(path),
            Self::Environment { variable } => write!(f, "${variable}"),
            Self::Flag { flag } => f.write_str(flag),
        }
    }
}

/// One value that a layer sets.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub text: String,
    pub origin: Origin,
}

/// Leaves the text out: it may be a secret's.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What one layer sets, by the keys' names.
pub type Layer = BTreeMap<&'static str, Entry>;

/// The layers on top of each other: one entry for each key that somebody set or that has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged(Layer);

impl Merged {
    /// The effective entry of a key; `None` where it is unset.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.0.get(key.name)
    }

    /// Replaces the text of a key, keeping its origin.
    pub fn replace_text(&mut self, key: &'static Key, text: String) {
        if let Some(entry) = self.0.get_mut(key.name) {
            entry.text = text;
        }
    }
}

/// Merges the layers, the lowest first, over the defaults.
#[must_use]
pub fn merge(layers: impl IntoIterator<Item = Layer>) -> Merged {
    let defaults = KEYS
        .iter()
        .filter(|key| !key.default.is_empty())
        .map(|key| (key.name, Entry { text: key.default.to_owned(), origin: Origin::Default }));
    let mut merged: Layer = defaults.collect();
    for layer in layers {
        merged.extend(layer);
    }
    Merged(merged)
}

/// What the flags of a command set; built by the command line's types.
#[derive(Debug, Clone, Default)]
pub struct Flags(Layer);

impl Flags {
    /// Records the flag's value, if it was given. `key` must be one of [`KEYS`], which a test of every command checks.
    pub fn set(&mut self, key: &'static str, flag: &str, value: Option<impl ToString>) {
        debug_assert!(keys::find(key).is_some(), "no such key: {key}");
        if let Some(value) = value {
            self.0.insert(key, Entry { text: value.to_string(), origin: Origin::Flag { flag: flag.to_owned() } });
        }
    }

    /// The layer of all that was given.
    #[must_use]
    pub fn into_layer(self) -> Layer {
        self.0
    }
}

/// The layer of the environment's variables, given as name and value. Names of ours that no key has are problems if
/// they look like a slip of the pen; the others are left alone, since schedulers make up such names for services.
pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> (Layer, Vec<Problem>) {
    let known: BTreeMap<String, &'static Key> = KEYS.iter().map(|key| (key.variable(), key)).collect();
    let mut layer = Layer::new();
    let mut problems = Vec::new();
    for (variable, text) in variables {
        if !variable.starts_with(VARIABLE_PREFIX) || variable == CONFIG_VARIABLE {
            continue;
        }
        let origin = Origin::Environment { variable: variable.clone() };
        if let Some(key) = known.get(&variable) {
            if !text.is_empty() {
                layer.insert(key.name, Entry { text, origin });
            }
            continue;
        }
        let meant = known.keys().filter(|name| keys::distance(&variable, name) <= 2).min();
        if let Some(meant) = meant {
            let message = "no setting has this variable".to_owned();
            problems.push(Problem { origin, key: None, message, hint: Some(format!("did you mean `{meant}`?")) });
        }
    }
    (layer, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::from_yaml;

    fn flag(key: &'static str, text: &str) -> Layer {
        let mut flags = Flags::default();
        flags.set(key, "--flag", Some(text));
        flags.into_layer()
    }

    fn environment(pairs: &[(&str, &str)]) -> (Layer, Vec<Problem>) {
        from_environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn origin_of(merged: &Merged, name: &str) -> String {
        let entry = merged.get(keys::find(name).unwrap()).unwrap();
        format!("{} from {}", entry.text, entry.origin)
    }

    /// S2-14: file, then environment, then flags.
    #[test]
    fn later_layers_win_and_keep_their_origin() {
        let (file, problems) = from_yaml("c.yaml", "gluster:\n  volume: a\n  mount: /mnt/a\n  replica: 1\n");
        assert_eq!(problems, []);
        let (env, _) = environment(&[("CLUSTERCTL_GLUSTER_VOLUME", "b"), ("CLUSTERCTL_GLUSTER_MOUNT", "/mnt/b")]);
        let merged = merge([file, env, flag("gluster.volume", "c")]);
        assert_eq!(origin_of(&merged, "gluster.volume"), "c from --flag");
        assert_eq!(origin_of(&merged, "gluster.mount"), "/mnt/b from $CLUSTERCTL_GLUSTER_MOUNT");
        assert_eq!(origin_of(&merged, "gluster.replica"), "1 from c.yaml:4");
        assert_eq!(origin_of(&merged, "master.listen"), "0.0.0.0:7000 from default");
        assert!(merged.get(keys::find("node.role").unwrap()).is_none());
    }

    #[test]
    fn empty_variables_and_null_values_are_unset() {
        let (env, problems) = environment(&[("CLUSTERCTL_LOG_FILE", ""), ("PATH", "/bin"), ("CLUSTERCTL_CONFIG", "x")]);
        assert!(env.is_empty() && problems.is_empty());
        let (file, problems) = from_yaml("c.yaml", "node:\nmaster:\n  listen:\nlog: ~\ngluster: {}\n");
        assert!(file.is_empty() && problems.is_empty(), "{problems:?}");
        for nothing in ["# nothing\n", "", "{}\n"] {
            let (file, problems) = from_yaml("c.yaml", nothing);
            assert!(file.is_empty() && problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn unknown_keys_are_named_with_line_and_suggestion() {
        let (_, problems) = from_yaml("c.yaml", "gluster:\n  volume: a\n  # volum: x\n  volum: b\nlisten: x\nzoo: 1\n");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "c.yaml:4: `gluster.volum`: no such setting (did you mean `gluster.volume`?)",
                "c.yaml:5: `listen`: no such setting (did you mean `master.listen`?)",
                "c.yaml:6: `zoo`: no such setting",
            ]
        );
        let (_, problems) = environment(&[("CLUSTERCTL_GLUSTER_VOLUM", "x"), ("CLUSTERCTL_PORT_7000_TCP", "x")]);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["$CLUSTERCTL_GLUSTER_VOLUM: no setting has this variable (did you mean `CLUSTERCTL_GLUSTER_VOLUME`?)"]
        );
    }

    /// T15: a setting may be a secret.
    #[test]
    fn entries_do_not_show_their_text_when_debugged() {
        assert!(!format!("{:?}", flag("overlay.config", "hush")).contains("hush"));
    }
}
