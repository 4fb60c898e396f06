//! Makes text from outside safe for one line of a log or a terminal: nothing in it can end the line, move the cursor
//! or turn the writing direction. What is escaped stays readable; nothing is dropped silently.

/// Whether a character may stand in a line as it is. Everything that does not print is out: control characters,
/// line and paragraph separators, marks that turn the writing direction, zero-width characters.
#[must_use]
pub fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    // The standard library knows which characters print; it escapes those that do not.
    c.escape_debug().count() == 1
}

/// Appends `c`, escaped if it is not plain.
pub fn push(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{1b}' => out.push_str("\\e"),
        c if is_plain(c) => out.push(c),
        c => out.extend(c.escape_unicode()),
    }
}

/// `text` in one harmless line.
#[must_use]
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

/// `text` as a value after `key=`: in double quotes where it would not be one word otherwise.
#[must_use]
pub fn value(text: &str) -> String {
    let word = |c: char| is_plain(c) && !matches!(c, ' ' | '"' | '=' | '\\') && !c.is_whitespace();
    if !text.is_empty() && text.chars().all(word) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c => push(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// At most `limit` characters of `text`; the last is `…` where something was cut off.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// T16: line breaks, escape sequences, direction marks.
    #[test]
    fn escapes_what_could_play_tricks() {
        for (text, escaped) in [
            ("plain text", "plain text"),
            ("größe", "größe"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred", "\\e[31mred"),
            ("\u{0}\u{7f}\u{9b}", "\\u{0}\\u{7f}\\u{9b}"),
            ("\u{202e}evil\u{2028}", "\\u{202e}evil\\u{2028}"),
            ("\u{200b}\u{feff}\u{85}", "\\u{200b}\\u{feff}\\u{85}"),
        ] {
            assert_eq!(line(text), escaped);
        }
    }

    #[test]
    fn quotes_what_is_more_than_a_word() {
        for (text, quoted) in [
            ("h2", "h2"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("c:\\x", "\"c:\\\\x\""),
            ("a\nb", "\"a\\nb\""),
            ("\u{a0}", "\"\\u{a0}\""),
        ] {
            assert_eq!(value(text), quoted, "{text:?}");
        }
    }

    #[test]
    fn shortens_by_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äö…");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_left(text in any::<String>()) {
            prop_assert!(line(&text).chars().all(is_plain));
            prop_assert!(value(&text).chars().all(is_plain));
            let breaks = line(&text).contains(['\n', '\r', '\u{1b}']);
            prop_assert!(!breaks);
        }
    }
}
