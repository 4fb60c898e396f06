//! Holds the code to the structure that `src/lib.rs` describes, and the project to a few rules of the house.
//!
//! The table of layers is read from `src/lib.rs` itself, so that the documentation cannot drift from the code. The
//! surprise: a module that stands in no row of that table fails here; give it a layer there.

mod citations;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::{SourceFile, read_sources, relative, walk, without_literals};

/// The layers from the lowest to the highest. A module may name its own layer and those before it.
const LAYERS: [&str; 5] = ["words", "decisions", "hands", "loops", "shell"];

/// Paths that one place alone may name. A place is a file, or a module with all that is below it (no `.rs`).
const ONE_PLACE: [(&str, &[&str], &str); 10] = [
    ("bollard", &["src/providers/swarm/docker.rs"], "one foreign crate with a large surface has one file"),
    ("redb", &["src/controller/store/redb.rs"], "one foreign crate with a large surface has one file"),
    ("serde_yaml", &["src/config/yaml.rs"], "the YAML crate has one file, beside the settings"),
    ("clap", &["src/cli", "src/main.rs"], "the command line is a matter of the shell"),
    ("anyhow", &["src/cli", "src/main.rs"], "modules have error enums of their own; `anyhow` is for the edge"),
    ("std::process::Command", PROCESSES, STARTS),
    ("std::process::Stdio", PROCESSES, STARTS),
    ("std::process::Child", PROCESSES, STARTS),
    ("tokio::process", PROCESSES, STARTS),
    ("std::os::unix::process::CommandExt", PROCESSES, STARTS),
];

/// Who starts processes.
const PROCESSES: &[&str] = &["src/providers/command.rs"];
const STARTS: &str = "processes are started in one place, with a deadline, a process group and a clean environment";

/// Imports that point up and may: the file, the module that it names, the reason. One that is no longer needed fails.
const UPWARD: [(&str, &str, &str); 2] = [
    ("src/controller/state/records.rs", "controller::store", "the state is the `Machine` that the store drives"),
    ("src/providers/gluster.rs", "providers::command", "its errors carry what the tool said as their source"),
];

/// What words and decisions must not name: they take values and return values.
const EFFECTS: [&str; 15] = [
    "tokio",
    "tracing",
    "getrandom",
    "rustix",
    "if_addrs",
    "hickory_resolver",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::time::SystemTime",
    "std::time::Instant",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "manager", "types", "misc"];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with one line for each breach: `file:line: what (rule)`.
fn assert_none(mut breaches: Vec<String>) {
    breaches.sort();
    breaches.dedup();
    assert!(breaches.is_empty(), "{} breach(es) of the architecture:\n  {}", breaches.len(), breaches.join("\n  "));
}

/// The rows of the table in `src/lib.rs`: a module path and the rank of its layer.
struct Layers(Vec<(Vec<String>, usize)>);

impl Layers {
    fn read(lib: &str) -> Self {
        let mut rows = Vec::new();
        for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let mut cells = line.trim_end_matches(" |").splitn(2, " | ");
            let (Some(layer), Some(modules)) = (cells.next(), cells.next()) else { continue };
            let Some(rank) = LAYERS.iter().position(|known| *known == layer) else { continue };
            for entry in modules.split('`').skip(1).step_by(2) {
                rows.extend(expand(entry).into_iter().map(|module| (module, rank)));
            }
        }
        Self(rows)
    }

    /// The rank of what `path` leads to: the longest row that it begins with. A module that only has rows for its
    /// children (`controller`) counts as the highest of them.
    fn rank(&self, path: &[String]) -> Option<usize> {
        let row = self.0.iter().filter(|(module, _)| path.starts_with(module)).max_by_key(|(module, _)| module.len());
        row.map(|(_, rank)| *rank).or_else(|| {
            (1..=path.len()).rev().find_map(|length| {
                self.0.iter().filter(|(module, _)| module.starts_with(&path[..length])).map(|(_, rank)| *rank).max()
            })
        })
    }

    /// Whether `module` is in a row, below one, or above one.
    fn knows(&self, module: &[String]) -> bool {
        self.0.iter().any(|(row, _)| module.starts_with(row) || row.starts_with(module))
    }
}

/// `a::{b, c}` is `a::b` and `a::c`.
fn expand(entry: &str) -> Vec<Vec<String>> {
    let split = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    match entry.trim_end_matches('}').split_once("::{") {
        Some((parent, children)) => {
            children.split(',').map(|child| [split(parent), split(child.trim())].concat()).collect()
        }
        None => vec![split(entry)],
    }
}

fn modules(files: &[SourceFile]) -> BTreeSet<Vec<String>> {
    files.iter().map(|file| file.module.clone()).filter(|module| !module.is_empty()).collect()
}

/// What points up, or across between controller and node.
fn upward_imports(files: &[SourceFile], layers: &Layers) -> Vec<String> {
    let modules = modules(files);
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| !file.module.is_empty()) {
        let Some(own) = layers.rank(&file.module) else {
            continue;
        };
        for named in file.named() {
            let Some(target) = file.resolve(&named.segments, &modules) else { continue };
            let place = format!("{}:{}: names `{}`", file.path, named.line, named.segments.join("::"));
            if let Some(rank) = layers.rank(&target)
                && rank > own
                && !UPWARD.iter().any(|(path, module, _)| file.path == *path && begins(&target, module))
            {
                breaches.push(format!("{place}: {} must not use {} (imports point down)", LAYERS[own], LAYERS[rank]));
            }
            let sides = [file.module.first(), target.first()].map(|side| side.map_or("", String::as_str));
            if matches!(sides, ["controller", "nodeagent"] | ["nodeagent", "controller"]) {
                breaches.push(format!("{place}: controller and nodeagent meet in protocol and cluster alone"));
            }
        }
    }
    breaches
}

fn begins(segments: &[String], prefix: &str) -> bool {
    let prefix: Vec<&str> = prefix.split("::").collect();
    segments.len() >= prefix.len() && segments.iter().zip(&prefix).all(|(a, b)| a == b)
}

fn lies_in(path: &str, places: &[&str]) -> bool {
    let below = |place: &&str| path == format!("{place}.rs") || path.starts_with(&format!("{place}/"));
    places.iter().any(|place| path == *place || below(place))
}

fn misplaced_crates(files: &[SourceFile]) -> Vec<String> {
    let modules = modules(files);
    let mut breaches = Vec::new();
    for file in files {
        for named in file.named() {
            // A module may be called like the crate that it wraps.
            if file.resolve(&named.segments, &modules).is_some() {
                continue;
            }
            for (path, places, reason) in ONE_PLACE {
                if begins(&named.segments, path) && !lies_in(&file.path, places) {
                    let place = format!("{}:{}", file.path, named.line);
                    breaches
                        .push(format!("{place}: names `{path}`, which belongs in {} ({reason})", places.join(", ")));
                }
            }
        }
    }
    breaches
}

fn effects_in_decisions(files: &[SourceFile], layers: &Layers) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| layers.rank(&file.module).is_some_and(|rank| rank <= 1)) {
        for named in file.named() {
            if let Some(effect) = EFFECTS.iter().find(|effect| begins(&named.segments, effect)) {
                let place = format!("{}:{}", file.path, named.line);
                breaches.push(format!("{place}: names `{effect}` (deciding code takes values and returns values)"));
            }
        }
    }
    breaches
}

/// The layering that the crate's documentation promises.
#[test]
fn imports_point_down() {
    let files = read_sources(project());
    let lib = files.iter().find(|file| file.module.is_empty()).unwrap();
    assert_none(upward_imports(&files, &Layers::read(&lib.text)));
}

#[test]
fn exceptions_are_needed() {
    let files = read_sources(project());
    let modules = modules(&files);
    let is_used = |file: &SourceFile, module: &str| {
        let targets = file.named().into_iter().filter_map(|named| file.resolve(&named.segments, &modules));
        targets.into_iter().any(|target| begins(&target, module))
    };
    let unused = UPWARD.iter().filter(|(path, module, _)| {
        // A module that is not there yet breaks nothing.
        files.iter().any(|file| file.path == *path && !is_used(file, module))
    });
    assert_none(unused.map(|(path, module, _)| format!("{path}: need not be allowed `{module}` any more")).collect());
}

#[test]
fn every_module_has_a_layer() {
    let files = read_sources(project());
    let lib = files.iter().find(|file| file.module.is_empty()).unwrap();
    let layers = Layers::read(&lib.text);
    let unknown = files.iter().filter(|file| !layers.knows(&file.module));
    assert_none(unknown.map(|file| format!("{}: in no row of the table in src/lib.rs", file.path)).collect());
}

#[test]
fn foreign_crates_and_processes_stay_in_their_place() {
    assert_none(misplaced_crates(&read_sources(project())));
}

#[test]
fn deciding_code_has_no_effects() {
    let files = read_sources(project());
    let lib = files.iter().find(|file| file.module.is_empty()).unwrap();
    assert_none(effects_in_decisions(&files, &Layers::read(&lib.text)));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = read_sources(project()).into_iter().filter(|file| !file.text.starts_with("//! "));
    assert_none(silent.map(|file| format!("{}:1: does not open with `//!`", file.path)).collect());
}

#[test]
fn files_have_names_that_say_something() {
    let files = read_sources(project()).into_iter();
    let empty = files.filter(|file| file.module.last().is_some_and(|name| EMPTY_NAMES.contains(&name.as_str())));
    assert_none(empty.map(|file| format!("{}: the name says nothing about what is inside", file.path)).collect());
}

/// Exceptions from lints carry their reason and fail once they are not needed; code does not know it is tested.
#[test]
fn exceptions_are_expected_and_code_does_not_ask_for_tests() {
    let mut breaches = Vec::new();
    for path in walk(project()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let name = relative(project(), &path);
        let code = without_literals(&std::fs::read_to_string(&path).unwrap());
        for (number, line) in code.lines().enumerate() {
            let dense: String = line.split_whitespace().collect();
            if dense.contains("#[allow(") || dense.contains("#![allow(") {
                breaches.push(format!("{name}:{}: `allow` (use `#[expect(lint, reason = ...)]`)", number + 1));
            }
            if name.starts_with("src/") && dense.contains("cfg!(test)") {
                breaches.push(format!("{name}:{}: `cfg!(test)` in the product", number + 1));
            }
        }
    }
    assert_none(breaches);
}

/// S2-01: whoever has the project has all of it; no file points outside.
#[test]
fn nothing_points_outside_the_project() {
    let words = [concat!("../", "shared"), concat!("/wo", "rk/")];
    let mut breaches = Vec::new();
    for path in walk(project()) {
        let Ok(text) = String::from_utf8(std::fs::read(&path).unwrap()) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in words {
                // `{root}/work/` is somebody's own directory.
                let own = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || "}_-.".contains(c));
                if line.match_indices(word).any(|(at, _)| !own(&line[..at])) {
                    breaches.push(format!("{}:{}: `{word}`", relative(project(), &path), number + 1));
                }
            }
        }
    }
    assert_none(breaches);
}

/// The rules themselves: each finds the breach it is for.
#[test]
fn the_rules_find_what_they_are_for() {
    let lib = "//! | shell | `cli`, `main` |\n//! | loops | `controller::{serve}`, `nodeagent` |\n\
               //! | hands | `providers`, `controller::store` |\n//! | decisions | `controller::{gate}` |\n\
               //! | words | `cluster` |\n";
    let files = [
        SourceFile::new("src/controller/gate.rs", "use crate::cluster::Role;\nuse super::store::Store;\nuse std::fs;"),
        SourceFile::new("src/controller/store.rs", "mod redb;\nuse self::redb::Store; use crate::providers::files;"),
        SourceFile::new("src/controller/store/redb.rs", "use redb::Database;"),
        SourceFile::new("src/providers/swarm.rs", "fn f() { bollard::connect(); tokio::process::Command::new() }"),
        SourceFile::new("src/nodeagent.rs", "use crate::{cluster::Role, controller::gate};"),
    ];
    let layers = Layers::read(lib);
    let up = upward_imports(&files, &layers).join("\n");
    assert!(up.contains("src/controller/gate.rs:2: names `super::store::Store`: decisions must not use hands"), "{up}");
    assert!(up.contains("src/nodeagent.rs:1: names `crate::controller::gate`: controller and nodeagent"), "{up}");
    assert_eq!(up.lines().count(), 2, "{up}");
    let misplaced = misplaced_crates(&files).join("\n");
    assert!(misplaced.contains("src/providers/swarm.rs:1: names `bollard`"), "{misplaced}");
    assert!(misplaced.contains("names `tokio::process`"), "{misplaced}");
    assert_eq!(misplaced.lines().count(), 2, "{misplaced}");
    assert!(effects_in_decisions(&files, &layers).join("\n").contains("src/controller/gate.rs:3: names `std::fs`"));
}
