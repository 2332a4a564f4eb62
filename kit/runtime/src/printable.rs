//! Texts of strangers, printed so that they command no terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with an escape, such as `\u{1b}`, for every character that a terminal would obey or that hides or reorders
/// what stands beside it: control characters (line breaks too), bidirectional overrides, invisible characters. All
/// other characters stay as they are, in every script.
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unprintable) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = text[..first].to_owned();
    for c in text[first..].chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if is_unprintable(c) => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Unicode's control characters, line and paragraph separators, and format characters without a visible shape.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let table = [
            ("\u{1b}[31mred\u{1b}[0m", r"\u{1b}[31mred\u{1b}[0m"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("one\r\ntwo\tthree\u{7f}", r"one\r\ntwo\tthree\u{7f}"),
            ("abc\u{202e}fed", r"abc\u{202e}fed"),
            ("a\u{200b}b\u{2028}c", r"a\u{200b}b\u{2028}c"),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in [
            "",
            "not enough of `pear`: 9 wanted",
            "Größe \\ \"1\"",
            "ひとつ",
            "e\u{301}",
            "😀",
        ] {
            assert!(
                matches!(printable(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }
}
