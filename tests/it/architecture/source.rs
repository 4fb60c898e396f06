//! Reads Rust source far enough to say which paths a file names and on which line.
//!
//! It must not judge; `architecture` does. The surprise: it is a scanner, not a parser. Paths that a macro puts
//! together are not seen, and a renamed import (`use a::b as c`) is seen where it is imported only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A path as the source names it: `["crate", "cluster", "Role"]`, with `use` trees expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

/// One file of `src/`.
pub(super) struct SourceFile {
    /// Relative to the project, with `/`.
    pub(super) path: String,
    /// `["controller", "store", "redb"]`; empty for `lib.rs`.
    pub(super) module: Vec<String>,
    /// The text as it is.
    pub(super) text: String,
    /// The code: comments, literals and test modules blanked, lines kept.
    pub(super) code: String,
}

impl SourceFile {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if module == ["lib"] || module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let code = without_test_modules(&without_literals(text));
        Self { path: path.to_owned(), module, text: text.to_owned(), code }
    }

    /// Every path that the code names.
    pub(super) fn named(&self) -> Vec<Named> {
        named(&self.code)
    }

    /// The module of the crate that `segments` leads to, or `None` for a foreign crate or a local name.
    pub(super) fn resolve(&self, segments: &[String], modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
        let first = segments.first()?;
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        if first == "crate" || first == env!("CARGO_PKG_NAME") {
            return Some(segments[1..].to_vec());
        }
        if first == "self" {
            return Some([&self.module[..], &segments[1..]].concat());
        }
        if ups > 0 {
            let base = &self.module[..self.module.len().saturating_sub(ups)];
            return Some([base, &segments[ups..]].concat());
        }
        let child = [&self.module[..], std::slice::from_ref(first)].concat();
        modules.contains(&child).then(|| [&self.module[..], segments].concat())
    }
}

/// Unit tests may lie in a file of their own: `tests.rs`, `plan_tests.rs`.
fn is_test_file(path: &Path) -> bool {
    path.to_string_lossy().ends_with("tests.rs")
}

/// All `.rs` files below `src/`, in order, without those that are tests.
pub(super) fn read_sources(project: &Path) -> Vec<SourceFile> {
    let mut files: Vec<SourceFile> = walk(&project.join("src"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs") && !is_test_file(path))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            SourceFile::new(&relative(project, &path), &text)
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The files below `root`, without what is built and what Git keeps.
pub(super) fn walk(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let name = entry.file_name();
            if kind.is_dir() && !["target", "dist", ".git"].iter().any(|skipped| name == *skipped) {
                open.push(entry.path());
            } else if kind.is_file() && name != ".git" {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// `path` as seen from `project`.
pub(super) fn relative(project: &Path, path: &Path) -> String {
    path.strip_prefix(project).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Blanks comments and the insides of string and character literals; every line break stays.
pub(super) fn without_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_block_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if !is_word_before(bytes, at) => match raw_string(bytes, at) {
                Some(end) => end,
                None => at,
            },
            b'\'' => end_of_char(bytes, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|offset| from + offset)
}

fn end_of_block_comment(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (1, from + 2);
    while depth > 0 && at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at.min(bytes.len())
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn is_word_before(bytes: &[u8], at: usize) -> bool {
    // `br"..."` is a raw string too.
    let before = if at > 0 && bytes[at - 1] == b'b' { at.checked_sub(2) } else { at.checked_sub(1) };
    before.is_some_and(|index| is_word(bytes[index]))
}

fn raw_string(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes[from + 1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(from + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let end = find(bytes, from + 2 + hashes, &close).unwrap_or(bytes.len() - close.len());
    Some(end + close.len())
}

/// The end of a character literal at `from`, or `from` itself for a lifetime.
fn end_of_char(bytes: &[u8], from: usize) -> usize {
    let body = if bytes.get(from + 1) == Some(&b'\\') { from + 3 } else { from + 2 };
    // A character may take four bytes, an escape more: `'\u{10ffff}'`.
    let limit = bytes.len().min(from + 12);
    match bytes.get(body..limit).and_then(|rest| rest.iter().position(|byte| *byte == b'\'')) {
        Some(offset) if offset == 0 || bytes[from + 1] == b'\\' || !bytes[from + 1].is_ascii() => body + offset + 1,
        _ => from,
    }
}

/// Blanks `#[cfg(test)] mod name { ... }`: tests may name whatever they test with.
fn without_test_modules(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|at| open < at) => start + end_of_block(rest, open),
            (_, Some(at)) => start + at + 1,
            (_, None) => out.len(),
        };
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

fn end_of_block(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn tokens(code: &str) -> Vec<(usize, Token)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let (mut line, mut at) = (1, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'\n' {
            line += 1;
        }
        if is_word(byte) {
            let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
            found.push((line, Token::Word(code[at..at + length].to_owned())));
            at += length;
        } else if bytes[at..].starts_with(b"::") {
            found.push((line, Token::PathSeparator));
            at += 2;
        } else {
            if byte.is_ascii_punctuation() {
                found.push((line, Token::Mark(byte as char)));
            }
            at += 1;
        }
    }
    found
}

fn named(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (line, token) = &tokens[at];
        let Token::Word(word) = token else {
            at += 1;
            continue;
        };
        if word == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut found);
            continue;
        }
        let mut segments = vec![word.clone()];
        at += 1;
        while let (Some((_, Token::PathSeparator)), Some((_, Token::Word(next)))) = (tokens.get(at), tokens.get(at + 1))
        {
            segments.push(next.clone());
            at += 2;
        }
        if segments.len() > 1 {
            found.push(Named { line: *line, segments });
        }
    }
    found
}

/// Reads one branch of a `use` tree and returns where it ends.
fn use_tree(tokens: &[(usize, Token)], from: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = from;
    let mut line = tokens.get(from).map_or(0, |(line, _)| *line);
    while let Some((here, token)) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "as" => at += 2,
            Token::Word(word) => {
                line = *here;
                segments.push(word.clone());
                at += 1;
            }
            Token::PathSeparator => at += 1,
            Token::Mark('*') => at += 1,
            Token::Mark('{') => {
                at += 1;
                loop {
                    at = use_tree(tokens, at, &segments, found);
                    match tokens.get(at) {
                        Some((_, Token::Mark(','))) => at += 1,
                        Some((_, Token::Mark('}'))) => return at + 1,
                        _ => return at,
                    }
                }
            }
            Token::Mark(_) => break,
        }
    }
    if segments.len() > prefix.len() {
        // `use a::{self}` names `a`.
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        found.push(Named { line, segments });
    }
    at
}

#[test]
fn sees_paths_and_only_paths() {
    let source = r####"
//! crate::comment
use crate::cluster::{Role, role::{self, RoleError as E}, *};
use std::{fs, process::Command};
/* crate::block /* nested */ crate::block */
fn f<'a>(x: &'a str) -> char {
    let _ = (r#"crate::raw " "#, "crate::\"text", b"x", '\'', '"', 'ü');
    crate::clock::now(super::other::thing())
}
#[cfg(test)]
mod tests {
    use crate::forbidden::here;
}
fn g() { tokio::spawn(async {}) }
"####;
    let file = SourceFile::new("src/a/b.rs", source);
    let named: Vec<(usize, String)> = file.named().iter().map(|path| (path.line, path.segments.join("::"))).collect();
    let expected = [
        (3, "crate::cluster::Role"),
        (3, "crate::cluster::role"),
        (3, "crate::cluster::role::RoleError"),
        (4, "std::fs"),
        (4, "std::process::Command"),
        (8, "crate::clock::now"),
        (8, "super::other::thing"),
        (14, "tokio::spawn"),
    ];
    assert_eq!(named, expected.map(|(line, path)| (line, path.to_owned())));
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let modules = BTreeSet::from([path("a::b::c")]);
    assert_eq!(file.resolve(&path("super::x"), &modules), Some(path("a::x")));
    assert_eq!(file.resolve(&path("self::x"), &modules), Some(path("a::b::x")));
    assert_eq!(file.resolve(&path("c::x"), &modules), Some(path("a::b::c::x")));
    assert_eq!(file.resolve(&path("serde::x"), &modules), None);
}
