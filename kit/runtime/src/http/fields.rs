//! Checks of single fields of a request: ids, texts, whole numbers, bounds. Each answers 422 and names the field.

use std::str::FromStr;

use axum::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::http::problem::Problem;

/// The longest reason that a command may give, in characters: a sentence or two, repeated in several events.
pub const MAX_REASON: usize = 200;

/// The longest `Idempotency-Key`, in characters.
pub const MAX_KEY: usize = 255;

/// The longest beginning of a wrong number that an error message quotes.
const MAX_QUOTED: usize = 40;

/// Reads a field that is one word, such as an id.
///
/// # Errors
/// 422 with the reason that `T` gives.
pub fn field<T: FromStr<Err: std::fmt::Display>>(name: impl Into<String>, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::invalid(name, error))
}

/// Checks a number against an upper bound.
///
/// # Errors
/// 422 if `value` is larger than `max`.
pub fn at_most(name: &str, value: u64, max: u64) -> Result<u64, Problem> {
    if value > max {
        return Err(Problem::invalid(name, format!("must be at most {max}")));
    }
    Ok(value)
}

/// Checks a text for people: not blank, and without control characters, which would command the terminal of whoever
/// prints the text.
///
/// # Errors
/// 422 if it is blank or holds a control character (Unicode category Cc: line breaks, tabs, escape sequences).
pub fn plain_text(name: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::invalid(name, "must not be empty"));
    }
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(control) => {
            let code = u32::from(control);
            let detail = format!(
                "must hold no control characters (line breaks, tabs, escapes), but holds U+{code:04X}"
            );
            Err(Problem::invalid(name, detail))
        }
    }
}

/// The reason that a command gives, or else `otherwise`.
///
/// # Errors
/// 422 if it is blank, longer than [`MAX_REASON`] characters, or holds control characters.
pub fn reason(given: Option<String>, otherwise: &str) -> Result<String, Problem> {
    let Some(reason) = given else {
        return Ok(otherwise.to_owned());
    };
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
        let problem = format!("must be 1 to {MAX_REASON} characters, or left out");
        return Err(Problem::invalid("reason", problem));
    }
    plain_text("reason", &reason)?;
    Ok(reason)
}

/// The `Idempotency-Key` of a request, if it has one.
///
/// # Errors
/// 400 if there are several, or if it is not 1 to [`MAX_KEY`] visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::bad_request("Idempotency-Key: only one can be given"));
    }
    match key.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key))
        }
        Ok(_) | Err(_) => Err(Problem::bad_request(format!(
            "Idempotency-Key: must be 1 to {MAX_KEY} visible ASCII characters, such as a UUID"
        ))),
    }
}

/// The versions that a request names in `If-Match` and `If-None-Match` (RFC 9110, 13.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// No condition.
    None,
    /// `If-None-Match: *`: nothing is there yet.
    Absent,
    /// `If-Match: *`: something is there, in whichever version.
    Any,
    /// `If-Match` with these entity tags, without their quotes. A weak tag never matches, and is left out.
    Tags(Vec<String>),
}

/// The condition under which a request is to take effect.
///
/// # Errors
/// 400 if a header is malformed, or both are there.
pub fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let one = |name: HeaderName| {
        let malformed = || Problem::bad_request(format!("{name}: must be visible ASCII characters"));
        let values = headers.get_all(&name).iter();
        let texts: Result<Vec<&str>, _> = values.map(|value| value.to_str()).collect();
        let texts = texts.map_err(|_| malformed())?;
        Ok::<_, Problem>((!texts.is_empty()).then(|| texts.join(",")))
    };
    match (one(IF_MATCH)?, one(IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "If-Match and If-None-Match: only one can be given",
        )),
        (None, Some(absent)) if absent.trim() == "*" => Ok(Precondition::Absent),
        (None, Some(_)) => Err(Problem::bad_request(
            "If-None-Match: only `*` is of use for a change",
        )),
        (Some(any), None) if any.trim() == "*" => Ok(Precondition::Any),
        (Some(tags), None) => entity_tags(&tags).map(Precondition::Tags).ok_or_else(|| {
            Problem::bad_request("If-Match: must be `*`, or entity tags in quotes as in an ETag, with commas")
        }),
    }
}

/// Whether `If-None-Match` names this entity tag (without its quotes), so that the client has what it asks for (RFC 9110, 13.1.2). A weak
/// tag matches as well.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        let known = known.strip_prefix("W/").unwrap_or(known);
        let quoted = known.strip_prefix('"').and_then(|known| known.strip_suffix('"'));
        known == "*" || quoted == Some(tag)
    })
}

/// The strong tags of a list. A comma may be part of a tag, so the list is read tag by tag.
fn entity_tags(list: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        let strong = rest.strip_prefix("W/");
        let is_weak = strong.is_some();
        let (tag, behind) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if !is_weak {
            tags.push(tag.to_owned());
        }
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(behind) => behind.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    (!list.trim().is_empty()).then_some(tags)
}

/// Reads a whole number, not negative, however JSON writes it: to JSON Schema, and to clients without integers, `3.0` and
/// `30e-1` are `3`. The digits are read as they were sent, because as a float `1e-400` would be 0 and
/// `1.00000000000000000001` would be 1. For `#[serde(deserialize_with = "whole")]`.
///
/// # Errors
/// The value is no whole number, or `T` cannot hold it.
pub fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read_whole(Box::<RawValue>::deserialize(deserializer)?.get())
}

/// Like [`whole`], for a field that may be `null`. With `#[serde(default)]` it may be left out as well.
///
/// # Errors
/// The value is neither a whole number nor `null`, or `T` cannot hold it.
pub fn whole_or_null<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    raw.map(|raw| read_whole(raw.get())).transpose()
}

fn read_whole<T: TryFrom<u64>, E: serde::de::Error>(text: &str) -> Result<T, E> {
    let too_large = || E::custom(format!("{} is too large", quoted(text)));
    match whole_number(text) {
        WholeNumber::Is(number) => T::try_from(number).map_err(|_| too_large()),
        WholeNumber::TooLarge => Err(too_large()),
        WholeNumber::Not => Err(E::custom(format!(
            "invalid value: `{}`, expected a whole number, not negative",
            quoted(text)
        ))),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum WholeNumber {
    Is(u64),
    TooLarge,
    Not,
}

/// Reads a JSON literal exactly. The digits are those of the number without its point; `scale` is the power of ten that
/// they are to be multiplied with.
fn whole_number(literal: &str) -> WholeNumber {
    if let Ok(number) = literal.parse()
        && literal.starts_with(|c: char| c.is_ascii_digit())
    {
        return WholeNumber::Is(number);
    }
    let (negative, unsigned) = match literal.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, literal),
    };
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return WholeNumber::Not;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (unsigned, "0"),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [before, after].concat();
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return WholeNumber::Is(0);
    }
    let trimmed = significant.trim_end_matches('0');
    let dropped = significant.len() - trimmed.len();
    // An exponent that is no i64 is beyond every number of digits that a body can have.
    let (huge, tiny) = (WholeNumber::TooLarge, WholeNumber::Not);
    let Ok(exponent) = exponent.parse::<i64>() else {
        return if exponent.starts_with('-') || negative {
            tiny
        } else {
            huge
        };
    };
    let shift = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let scale = exponent
        .saturating_sub(shift(after.len()))
        .saturating_add(shift(dropped));
    if negative || scale < 0 {
        return WholeNumber::Not;
    }
    let power = u32::try_from(scale)
        .ok()
        .and_then(|scale| 10_u64.checked_pow(scale));
    let number = trimmed.parse::<u64>().ok();
    match number
        .zip(power)
        .and_then(|(number, power)| number.checked_mul(power))
    {
        Some(number) => WholeNumber::Is(number),
        None => huge,
    }
}

#[cfg(test)]
mod tests {
    use super::WholeNumber::{Is, Not, TooLarge};
    use super::*;

    #[test]
    fn only_integers_are_integers_however_they_are_written() {
        let table = [
            ("0", Is(0)),
            ("7", Is(7)),
            ("18446744073709551615", Is(u64::MAX)),
            ("18446744073709551616", TooLarge),
            ("3.0", Is(3)),
            ("30e-1", Is(3)),
            ("3E+2", Is(300)),
            ("0.03e2", Is(3)),
            ("1.5e1", Is(15)),
            ("-0", Is(0)),
            ("-0.0e5", Is(0)),
            ("0e-400", Is(0)),
            ("0e99999999999999999999", Is(0)),
            ("1.8446744073709551615e19", Is(u64::MAX)),
            ("1.8446744073709551616e19", TooLarge),
            ("1e400", TooLarge),
            ("1e99999999999999999999", TooLarge),
            ("1e-400", Not),
            ("1e-99999999999999999999", Not),
            ("1.00000000000000000001", Not),
            ("9007199254740990.9999999", Not),
            ("0.5", Not),
            ("15e-1", Not),
            ("-1", Not),
            ("-1.0", Not),
            ("\"1\"", Not),
            ("null", Not),
            ("true", Not),
            ("[1]", Not),
            ("{}", Not),
        ];
        for (literal, expected) in table {
            assert_eq!(whole_number(literal), expected, "{literal}");
        }
    }

    #[test]
    fn a_precondition_is_one_of_four() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            precondition(&headers).map_err(|problem| problem.status)
        };
        let tags = |tags: &[&str]| {
            Ok(Precondition::Tags(
                tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ))
        };
        assert_eq!(read(&[]), Ok(Precondition::None));
        assert_eq!(read(&[("if-match", "*")]), Ok(Precondition::Any));
        assert_eq!(read(&[("if-none-match", "*")]), Ok(Precondition::Absent));
        assert_eq!(read(&[("if-match", "\"3\"")]), tags(&["3"]));
        assert_eq!(
            read(&[("if-match", "\"3\" , \"a,b\",W/\"5\"")]),
            tags(&["3", "a,b"])
        );
        assert_eq!(
            read(&[("if-match", "\"3\""), ("if-match", "\"4\"")]),
            tags(&["3", "4"])
        );
        assert_eq!(
            read(&[("if-match", "W/\"3\"")]),
            tags(&[]),
            "a weak tag never matches"
        );
        for malformed in ["", "3", "\"3", "\"3\" \"4\"", "\"3\";"] {
            assert_eq!(read(&[("if-match", malformed)]), Err(400), "{malformed}");
        }
        assert_eq!(read(&[("if-none-match", "\"3\"")]), Err(400));
        assert_eq!(read(&[("if-match", "*"), ("if-none-match", "*")]), Err(400));
    }

    #[test]
    fn a_client_names_what_it_has() {
        let is_known = |value: &'static str| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]);
            super::is_known(&headers, "ab12")
        };
        for known in ["\"ab12\"", "W/\"ab12\"", "\"cd\", \"ab12\"", "*"] {
            assert!(is_known(known), "{known}");
        }
        for other in ["\"cd\"", "ab12", "\"ab1\"", ""] {
            assert!(!is_known(other), "{other}");
        }
    }

    #[test]
    fn a_long_number_is_quoted_in_short() {
        #[derive(Debug, Deserialize)]
        struct Stock {
            #[serde(deserialize_with = "whole")]
            quantity: u32,
        }
        let read = |text: &str| serde_json::from_str::<Stock>(text);
        assert_eq!(read(r#"{"quantity": 3.0}"#).unwrap().quantity, 3);
        let digits = "9".repeat(1_000);
        let error = read(&format!(r#"{{"quantity": {digits}}}"#))
            .unwrap_err()
            .to_string();
        assert!(error.contains("... is too large") && error.len() < 100, "{error}");
        let error = read(r#"{"quantity": 4294967296}"#).unwrap_err().to_string();
        assert!(error.starts_with("4294967296 is too large"), "{error}");
        let error = read(r#"{"quantity": 1e-400}"#).unwrap_err().to_string();
        assert!(error.starts_with("invalid value: `1e-400`"), "{error}");
    }

    #[test]
    fn texts_hold_no_control_characters() {
        for text in ["a\u{1b}[31mb", "a\nb", "a\tb", "a\u{7f}", "a\u{9b}31m"] {
            let problem = plain_text("address", text).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (422, Some("address")));
            assert_eq!(
                reason(Some(text.to_owned()), "x").unwrap_err().field.as_deref(),
                Some("reason")
            );
        }
        assert!(plain_text("address", "Größe 1 \u{2028} \u{1f600}").is_ok());
        assert!(plain_text("address", "  ").is_err());
    }
}
