//! Holds tests and tables together: a number that a comment cites stands in its table, and a test that a table names is
//! there and cites the number of its row.
//!
//! It does not judge whether the test shows what the row says. The surprise: a test is looked for by the name that the
//! test runner prints for it, in the file where that module lies.

use super::*;

/// Threats of features that do not exist yet; every other one is shown by a test.
const LATER: [&str; 6] = ["T11", "T17", "T19", "T20", "T21", "T22"];

/// One row of a table.
struct Row {
    id: String,
    later: bool,
    /// The tests that its last column names.
    tests: Vec<String>,
}

/// The rows whose first cell is one of these letters, perhaps with a dash and more, and a number.
fn rows(table: &str, prefix: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let (id, last) = (*cells.first()?, *cells.last()?);
        let number = id.strip_prefix(prefix)?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| Row {
            id: id.to_owned(),
            later: last == "*later*",
            tests: last.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).map(str::to_owned).collect(),
        })
    };
    table.lines().filter_map(row).collect()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(project().join(name)).unwrap()
}

/// The files in which a test of that name may lie: its own binary's, the library's, and there the test module's own or
/// the one that it belongs to.
fn files_of(test: &str) -> Option<(Vec<String>, &str)> {
    let (module, function) = test.rsplit_once("::")?;
    let path = module.replace("::", "/");
    let mut files = vec![format!("tests/it/{path}.rs"), format!("src/{path}.rs")];
    if let Some(tested) = path.strip_suffix("/tests") {
        files.extend([format!("src/{tested}.rs"), format!("src/{tested}_tests.rs")]);
    }
    Some((files, function))
}

/// Whether a line has `id` as a word: `T1` is not in `T12`.
fn names(line: &str, id: &str) -> bool {
    let apart = |text: &str, end: bool| {
        let next = if end { text.chars().next() } else { text.chars().next_back() };
        next.is_none_or(|c| !c.is_alphanumeric())
    };
    line.match_indices(id).any(|(at, _)| apart(&line[..at], false) && apart(&line[at + id.len()..], true))
}

/// Whether that function is there, and what is said above it or at the head of the file names `id`.
fn cites(text: &str, function: &str, id: &str) -> Option<bool> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(&format!("fn {function}(")))?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    let head = lines.iter().take_while(|line| line.starts_with("//!"));
    Some(above.chain(head).any(|line| line.starts_with("//") && names(line, id)))
}

/// What is wrong with the tests that a row names.
fn unshown(table: &str, row: &Row) -> Vec<String> {
    let breach = |test: &String| {
        let found = files_of(test).and_then(|(files, function)| {
            let texts = files.into_iter().filter_map(|file| std::fs::read_to_string(project().join(file)).ok());
            texts.into_iter().find_map(|text| cites(&text, function, &row.id))
        });
        match found {
            Some(true) => None,
            Some(false) => Some(format!("{table}: {}: `{test}` does not cite it", row.id)),
            None => Some(format!("{table}: {}: there is no test `{test}`", row.id)),
        }
    };
    row.tests.iter().filter_map(breach).collect()
}

/// A test that cites a requirement cites one that exists.
#[test]
fn cited_requirements_exist() {
    let table = read("tests/requirements.md");
    let known: BTreeSet<String> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next().map(str::to_owned)).collect();
    assert!(known.contains("S2-01") && known.contains("S2-84"), "tests/requirements.md has lost its rows");
    let mut breaches = Vec::new();
    for path in walk(project()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            for prefix in ["S2-", "S0-"] {
                for (at, _) in line.match_indices(prefix) {
                    let id: String = line[at..].chars().take(prefix.len() + 2).collect();
                    let cited = id.chars().skip(prefix.len()).all(|c| c.is_ascii_digit()) && id.len() == 5;
                    if cited && !known.contains(&id) {
                        breaches.push(format!("{}:{}: no requirement {id}", relative(project(), &path), number + 1));
                    }
                }
            }
        }
    }
    assert_none(breaches);
}

/// T1 to T25, but for those of later features: each row names tests, which are there and cite it.
#[test]
fn threats_are_shown_by_tests() {
    let rows = rows(&read("tests/threats.md"), "T");
    let found: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(found, (1..=25).map(|n| format!("T{n}")).collect::<Vec<_>>(), "tests/threats.md has lost rows");
    let later: Vec<&str> = rows.iter().filter(|row| row.later).map(|row| row.id.as_str()).collect();
    assert_eq!(later, LATER);
    let silent = rows.iter().filter(|row| !row.later && row.tests.is_empty());
    let silent = silent.map(|row| format!("tests/threats.md: {}: no test is named", row.id));
    assert_none(silent.chain(rows.iter().flat_map(|row| unshown("tests/threats.md", row))).collect());
}

/// The same for faults, as far as their rows name tests.
#[test]
fn faults_are_shown_by_the_tests_that_they_name() {
    let table = read("tests/faults.md");
    let rows: Vec<Row> = ["C", "J", "N", "G", "P"].iter().flat_map(|prefix| rows(&table, prefix)).collect();
    assert!(rows.iter().any(|row| row.id == "N19" && !row.tests.is_empty()), "N19 names no test");
    assert_none(rows.iter().flat_map(|row| unshown("tests/faults.md", row)).collect());
}

/// A comment that cites a threat cites one that exists.
#[test]
fn cited_threats_exist() {
    let mut breaches = Vec::new();
    for path in walk(project()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let comment = line.trim().strip_prefix("//").unwrap_or_default();
            for word in comment.split(|c: char| !c.is_alphanumeric()) {
                let cited = word.strip_prefix('T').and_then(|number| number.parse::<u8>().ok());
                if cited.is_some_and(|number| !(1..=25).contains(&number)) {
                    breaches.push(format!("{}:{}: no threat {word}", relative(project(), &path), number + 1));
                }
            }
        }
    }
    assert_none(breaches);
}

#[test]
fn the_check_finds_what_it_is_for() {
    let text = "//! Head, T3.\n\n/// T12: one.\n#[test]\nfn first() {}\n\n/// Nothing.\nfn second(\n) {}\n";
    assert_eq!(cites(text, "first", "T12"), Some(true));
    assert_eq!((cites(text, "first", "T1"), cites(text, "second", "T12")), (Some(false), Some(false)));
    assert_eq!((cites(text, "second", "T3"), cites(text, "third", "T3")), (Some(true), None));
    let table = rows("| T1 | a | `x` | `m::t`, `m::u` |\n| T2 | b | *later* |\n| Tx | c |\n|---|\n", "T");
    let read: Vec<_> = table.iter().map(|row| (row.id.as_str(), row.later, row.tests.len())).collect();
    assert_eq!(read, [("T1", false, 2), ("T2", true, 0)]);
    let unknown = Row { id: "T1".into(), later: false, tests: vec!["architecture::citations::nobody".into()] };
    assert!(unshown("table", &unknown)[0].contains("there is no test"));
}
