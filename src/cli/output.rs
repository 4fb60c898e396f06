//! What goes to stdout: tables for people, JSON and YAML for programs. The only place that writes there.
//!
//! No colour and no borders, on a terminal or not, so that what is piped into `awk` is what was seen. A reader that
//! goes away early ends the command quietly.

use std::io::{ErrorKind, Write};

use comfy_table::{ContentArrangement, presets};
use serde::Serialize;
use serde_json::Value;

use super::{Exit, Failure};
use crate::logging::escape;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
}

impl OutputFormat {
    /// Whether a program reads it.
    #[must_use]
    pub fn is_structured(self) -> bool {
        self != Self::Table
    }
}

/// Writes `text` to stdout as it is.
///
/// # Errors
/// [`Exit::PipeClosed`] if nobody reads any more, which is reported by nothing but the exit code.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::new(Exit::PipeClosed, error),
        _ => Failure::new(Exit::StorageUnsafe, error).reason("output-failed").hint("stdout cannot be written"),
    })
}

/// Writes `text` and a line break.
///
/// # Errors
/// As [`print`].
pub fn print_line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Writes `value` in the structured format; as JSON if `format` is the table.
///
/// # Errors
/// As [`print`].
pub fn print_value(format: OutputFormat, value: &impl Serialize) -> Result<(), Failure> {
    let text = match format {
        OutputFormat::Yaml => crate::config::yaml::render(value).map_err(|error| Failure::new(Exit::Bug, error))?,
        OutputFormat::Json | OutputFormat::Table => {
            let json = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Bug, error))?;
            format!("{json}\n")
        }
    };
    print(&text)
}

/// A value of the controller's answer as a cell: nothing for what is not there, a list with commas.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A table without borders: headings in upper case, columns two spaces apart, no trailing spaces, never wrapped.
#[derive(Debug, Clone)]
pub struct Table {
    columns: usize,
    inner: comfy_table::Table,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(headings.map(str::to_uppercase).to_vec());
        Self { columns: N, inner }
    }

    /// Adds a row. An empty cell shows as `-`; what is not printable is escaped.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns, "a cell for each heading");
        let cell = |text: String| if text.is_empty() { "-".to_owned() } else { escape::line(&text) };
        self.inner.add_row(cells.map(cell).to_vec());
    }

    /// Writes the table to stdout.
    ///
    /// # Errors
    /// As [`print`].
    pub fn print(self) -> Result<(), Failure> {
        print(&self.to_string())
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut inner = self.inner.clone();
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in inner.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain() {
        let mut table = Table::new(["node", "Role", "swarm state"]);
        table.row(["h1".into(), "manager".into(), "ready".into()]);
        table.row(["a-long-name".into(), String::new(), "evil\n\u{1b}[31m".into()]);
        insta::assert_snapshot!(table.to_string(), @r"
        NODE         ROLE     SWARM STATE
        h1           manager  ready
        a-long-name  -        evil\n\e[31m
        ");
    }
}
