//! The settings file's text as a layer, and values as YAML. The only file that names the YAML crate; pure.
//!
//! The surprising part: the parser does not keep the places of keys, so that the line of a problem is found by
//! looking at the text again.

use serde::Serialize;
use serde_yaml::Value;

use super::keys::{self, KEYS, Key};
use super::layer::{Entry, Layer, Origin};
use super::problem::Problem;

/// `value` as a YAML document.
///
/// # Errors
/// If a map in it has keys that are no text.
pub fn render(value: &impl Serialize) -> Result<String, impl std::error::Error + Send + Sync + 'static> {
    serde_yaml::to_string(value)
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

    #[test]
    fn lines_are_found_in_block_style_and_not_guessed_elsewhere() {
        let text = "# a: 1\na:\n  b: 1\n\"c\":\n  # b: 3\n  b: 2\nd: {b: 1}\n";
        for (path, line) in [("a.b", Some(3)), ("c.b", Some(6)), ("d", Some(7)), ("d.b", None), ("b", None)] {
            let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
            assert_eq!(line_of(text, &parts), line, "{path}");
        }
    }
}
