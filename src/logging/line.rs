//! One log line as text. Values in, values out.
//!
//! The limits keep one hostile registration from flooding a log: 256 characters for a value, 4 KiB for a line.

use std::fmt::{Debug, Write};

use serde_json::{Map, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::escape;

/// The most characters of a value that are shown.
const MAX_VALUE: usize = 256;
/// The most bytes of a line, with its line break.
pub(super) const MAX_LINE: usize = 4096;

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Fields {
    message: String,
    values: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.values.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    /// With its causes: their text is not in the error's own.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            write!(text, ": {error}").ok();
            cause = error.source();
        }
        self.put(field, Value::String(text));
    }
}

/// The moment in UTC, to the second.
fn stamp(now: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// `[2026-01-02T03:04:05Z] - [INFO] - message key=value …`, with its line break.
pub(super) fn text(now: jiff::Timestamp, level: Level, fields: &Fields) -> String {
    let mut line = format!("[{}] - [{level}] - {}", stamp(now), escape::line(&fields.message));
    for (name, value) in &fields.values {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) => line.push_str(&escape::value(&escape::shorten(text, MAX_VALUE))),
            other => line.push_str(&other.to_string()),
        }
    }
    cut(&mut line);
    line.push('\n');
    line
}

fn cut(line: &mut String) {
    const MARK: &str = "…";
    if line.len() < MAX_LINE {
        return;
    }
    let mut end = MAX_LINE - 1 - MARK.len();
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line.push_str(MARK);
}

/// One JSON object with `time`, `level`, `message` and the values by name, with its line break.
pub(super) fn json(now: jiff::Timestamp, level: Level, fields: &Fields) -> String {
    // JSON escapes twice what is escaped here once; a sixth of the line's limit for the message is safe.
    let message = escape::shorten(&escape::line(&fields.message), MAX_LINE / 6);
    let mut object = Map::new();
    object.insert("time".to_owned(), stamp(now).into());
    object.insert("level".to_owned(), level.as_str().into());
    object.insert("message".to_owned(), message.into());
    let mut line = Value::Object(object.clone()).to_string();
    for (name, value) in &fields.values {
        let value = match value {
            Value::String(text) => escape::shorten(&escape::line(text), MAX_VALUE).into(),
            other => other.clone(),
        };
        // A field may not pass itself off as one of the three above.
        let name = if object.contains_key(*name) { format!("{name}_") } else { (*name).to_owned() };
        object.insert(name, value);
        let longer = Value::Object(object.clone()).to_string();
        if longer.len() >= MAX_LINE {
            break;
        }
        line = longer;
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05.999Z";

    fn fields(message: &str, values: &[(&'static str, &str)]) -> Fields {
        let values = values.iter().map(|(name, value)| (*name, Value::String((*value).to_owned()))).collect();
        Fields { message: message.to_owned(), values }
    }

    fn both(fields: &Fields) -> (String, String) {
        let now = NOW.parse().unwrap();
        (text(now, Level::INFO, fields), json(now, Level::INFO, fields))
    }

    /// T16: a host name with a line break and a forged line stays one line.
    #[test]
    fn a_value_cannot_forge_a_line() {
        let evil = "h1\n[2026-01-02T03:04:05Z] - [ERROR] - forged level=ERROR\u{1b}[2K";
        let (text, json) = both(&fields(evil, &[("host", evil)]));
        insta::assert_snapshot!(text, @r#"[2026-01-02T03:04:05Z] - [INFO] - h1\n[2026-01-02T03:04:05Z] - [ERROR] - forged level=ERROR\e[2K host="h1\n[2026-01-02T03:04:05Z] - [ERROR] - forged level=ERROR\e[2K""#);
        assert_eq!((text.lines().count(), json.lines().count()), (1, 1));
    }

    #[test]
    fn values_and_lines_are_bounded() {
        let long = "x".repeat(10_000);
        let (text, json) = both(&fields("m", &[("a", &long), ("b", "y")]));
        assert!(text.contains(&format!("a={}… b=y", "x".repeat(255))), "{text}");
        assert!(json.contains("\"b\":\"y\""), "{json}");
        let evil = "\u{202e}\\\"".repeat(5_000);
        let many: Vec<(&'static str, &str)> =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|name| (name, evil.as_str())).to_vec();
        for message in ["m", long.as_str(), evil.as_str(), &"ü".repeat(5_000)] {
            let (text, json) = both(&fields(message, &many));
            assert!(text.len() <= MAX_LINE && text.ends_with("…\n"), "{}", text.len());
            assert!(json.len() <= MAX_LINE && json.ends_with("}\n"), "{}", json.len());
            serde_json::from_str::<Value>(&json).unwrap();
        }
    }

    #[test]
    fn json_fields_do_not_replace_the_lines_own() {
        let (_, json) = both(&fields("m", &[("level", "ERROR"), ("time", "never")]));
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&value["level"], &value["level_"], &value["time_"]),
            (&"INFO".into(), &"ERROR".into(), &"never".into())
        );
    }
}
