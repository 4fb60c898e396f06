//! Puts the layers on top of each other. Values in, values out: reads no file and no environment.
//!
//! Every value is text here and keeps its origin. An empty value in the environment counts as unset, as it does for
//! most programs that systemd starts with an `EnvironmentFile=`.

use std::collections::BTreeMap;
use std::fmt;

use serde_yaml::Value;

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

/// The layer of a settings file's text.
#[must_use]
pub fn from_yaml(path: &str, text: &str) -> (Layer, Vec<Problem>) {
    let at = |line| Origin::File { path: path.to_owned(), line };
    let mut layer = Layer::new();
    let mut problems = Vec::new();
    let value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let line = error.location().map(|location| location.line());
            problems.push(Problem { origin: at(line), key: None, message: format!("not YAML: {error}"), hint: None });
            return (layer, problems);
        }
    };
    match &value {
        Value::Null => {}
        Value::Mapping(_) => {
            let mut leaves = Vec::new();
            flatten(&value, &mut Vec::new(), &mut leaves);
            for (parts, leaf) in leaves {
                let name = parts.join(".");
                let origin = at(line_of(text, &parts));
                match read_leaf(&name, leaf) {
                    Ok(Some((key, text))) => {
                        layer.insert(key.name, Entry { text, origin });
                    }
                    Ok(None) => {}
                    Err((message, hint)) => problems.push(Problem { origin, key: Some(name), message, hint }),
                }
            }
        }
        _ => problems.push(Problem {
            origin: at(None),
            key: None,
            message: "not a mapping of keys to values".to_owned(),
            hint: None,
        }),
    }
    (layer, problems)
}

/// Deeper than any key of ours; what is deeper is reported as one unknown key.
const MAX_DEPTH: usize = 4;

fn flatten<'a>(value: &'a Value, parts: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, &'a Value)>) {
    match value {
        Value::Mapping(mapping)
            if !mapping.is_empty() && parts.len() < MAX_DEPTH && keys::find(&parts.join(".")).is_none() =>
        {
            for (name, inner) in mapping {
                parts.push(scalar(name).unwrap_or_else(|| "?".to_owned()));
                flatten(inner, parts, leaves);
                parts.pop();
            }
        }
        _ => leaves.push((parts.clone(), value)),
    }
}

type LeafProblem = (String, Option<String>);

fn read_leaf(name: &str, value: &Value) -> Result<Option<(&'static Key, String)>, LeafProblem> {
    let Some(key) = keys::find(name) else {
        // A section without entries, its lines commented out.
        let section = format!("{name}.");
        let empty = value.is_null() || value.as_mapping().is_some_and(serde_yaml::Mapping::is_empty);
        if empty && (name.is_empty() || KEYS.iter().any(|key| key.name.starts_with(&section))) {
            return Ok(None);
        }
        let meant = keys::nearest(name, KEYS.iter().map(|key| key.name));
        return Err(("no such setting".to_owned(), meant.map(|meant| format!("did you mean `{meant}`?"))));
    };
    match value {
        Value::Null => Ok(None),
        Value::Sequence(items) => match items.iter().map(scalar).collect::<Option<Vec<String>>>() {
            Some(items) => Ok(Some((key, items.join(",")))),
            None => Err(("a list of plain values is expected".to_owned(), None)),
        },
        _ => match scalar(value) {
            Some(text) => Ok(Some((key, text))),
            None => Err(("a plain value is expected".to_owned(), None)),
        },
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// The line on which a key stands, counted from 1. Finds keys in block style, which is how settings are written; the
/// parser itself does not keep places. `None` where it is not sure.
fn line_of(text: &str, parts: &[String]) -> Option<usize> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let body = line.trim_start();
        let Some((name, _)) = body.split_once(':') else { continue };
        if body.starts_with(['#', '-']) {
            continue;
        }
        let indent = line.len() - body.len();
        open.retain(|(outer, _)| *outer < indent);
        open.push((indent, name.trim_matches(['"', '\'', ' '])));
        if open.iter().map(|(_, name)| *name).eq(parts.iter().map(String::as_str)) {
            return Some(index + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn broken_files_are_problems_with_their_place() {
        for (text, words) in [
            ("a: b: c\n", "not YAML"),
            ("gluster:\n  volume: a\n  volume: b\n", "duplicate"),
            ("- 1\n", "not a mapping"),
            ("gluster:\n  volume: {a: b}\n", "a plain value"),
            ("gluster:\n  auth_allow_cidrs: [[1]]\n", "a list of plain values"),
            ("a: {b: {c: {d: {e: {f: 1}}}}}\n", "no such setting"),
            ("? [a]\n: 1\n", "no such setting"),
            ("!x y\n", "not a mapping"),
            ("\u{0}", "not YAML"),
        ] {
            let (_, problems) = from_yaml("c.yaml", text);
            assert_eq!(problems.len(), 1, "{text:?} {problems:?}");
            let shown = problems[0].to_string();
            assert!(shown.contains(words) && shown.starts_with("c.yaml"), "{text:?}: {shown}");
        }
    }

    #[test]
    fn lists_are_joined() {
        let (file, _) = from_yaml("c", "gluster:\n  auth_allow_cidrs:\n    - 10.0.0.0/8\n    - 192.168.0.0/16\n");
        assert_eq!(file["gluster.auth_allow_cidrs"].text, "10.0.0.0/8,192.168.0.0/16");
    }

    /// T15: a setting may be a secret.
    #[test]
    fn entries_do_not_show_their_text_when_debugged() {
        assert!(!format!("{:?}", flag("overlay.config", "hush")).contains("hush"));
    }
}
