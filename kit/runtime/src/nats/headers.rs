//! The headers of a stored message, read as async-nats reads them.

use std::fmt;

use async_nats::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::nats::message::{RawMessage, StoredMessage};

/// The most characters of an offending header's name that an error repeats.
const MAX_NAME: usize = 64;

/// Drops the headers if they cannot be read.
impl From<RawMessage> for StoredMessage {
    fn from(raw: RawMessage) -> Self {
        Self {
            subject: raw.subject,
            sequence: raw.sequence,
            time: raw.time,
            headers: read_headers(&raw.headers).unwrap_or_default(),
            body: raw.body,
        }
    }
}

impl RawMessage {
    /// Whether the client library cannot read the headers, and so does not deliver the message.
    pub fn is_unreadable(&self) -> bool {
        read_headers(&self.headers).is_err()
    }
}

/// Why the client library does not deliver a message. The text repeats at most the name of a header, shortened: values may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    what: &'static str,
    /// The text in the place of a header's name.
    name: Option<String>,
}

impl Unreadable {
    fn because(what: &'static str) -> Self {
        Self { what, name: None }
    }

    fn of(what: &'static str, name: &str) -> Self {
        Self {
            what,
            name: Some(name.chars().take(MAX_NAME).collect()),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str(self.what),
            Some(name) => write!(f, "{}: {name:?}", self.what),
        }
    }
}

/// The headers of a stored message as async-nats 0.51 reads them (`HMSG` in its `connection.rs`), line by line.
///
/// # Errors
/// The client closes the connection over such headers. Over a lone `\r` in a value it panics and never connects again
/// (<https://github.com/nats-io/nats.rs/pull/1612>).
pub(crate) fn read_headers(headers: &[u8]) -> Result<HeaderMap, Unreadable> {
    let mut read = HeaderMap::new();
    // The server sends a message without headers as `MSG`.
    if headers.is_empty() {
        return Ok(read);
    }
    let text = std::str::from_utf8(headers).map_err(|_| Unreadable::because("not UTF-8"))?;
    let mut lines = text.lines().peekable();
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("NATS/1.0"))
        .ok_or(Unreadable::because("no version"))?
        .trim();
    let status = status.split_once(' ').map_or(status, |(status, _)| status.trim());
    if !status.is_empty() && status.parse::<StatusCode>().is_err() {
        return Err(Unreadable::because("no status behind the version"));
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or(Unreadable::because("a line without a colon"))?;
        let key: HeaderName = name
            .parse()
            .map_err(|_| Unreadable::of("no name of a header", name))?;
        let mut value = value.trim_start().to_owned();
        // A line that begins with white space continues the value of the line before it.
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        let value: HeaderValue = value
            .trim_end()
            .parse()
            .map_err(|_| Unreadable::of("a lone carriage return in a header", name))?;
        read.append(key, value);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that often look almost like headers.
    fn nearly_headers() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"NATS/1.0".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b": ".to_vec()),
            Just(b" ".to_vec()),
            "[ -~]{0,12}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn no_bytes_break_the_reader_and_a_problem_is_told_briefly(headers in nearly_headers()) {
            if let Err(problem) = read_headers(&headers) {
                prop_assert!(problem.to_string().len() < 1_000, "{problem}");
            }
        }

        #[test]
        fn headers_read_back_as_they_were_sent(
            sent in prop::collection::btree_map("[a-zA-Z][a-zA-Z-]{0,20}", "[!-~]([ -~]{0,30}[!-~])?", 0..8),
        ) {
            let mut text = String::from("NATS/1.0\r\n");
            for (name, value) in &sent {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            let read = read_headers(text.as_bytes()).unwrap();
            prop_assert_eq!(read.len(), sent.len());
            for (name, value) in &sent {
                prop_assert_eq!(read.get(name.as_str()).map(|value| value.as_str()), Some(value.as_str()));
            }
        }
    }

    #[test]
    fn headers_that_the_client_reads_have_no_problem() {
        let good: [&[u8]; 8] = [
            b"",
            b"NATS/1.0 503\r\n\r\n",
            b"NATS/1.0 503 nobody there\r\n\r\n",
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nce-id: a\r\nEmpty:\r\n\r\n",
            b"NATS/1.0\r\nname: goes\r\n on\r\n\r\n",
            b"NATS/1.0\r\n\r\nbehind: an empty line\r\n",
            b"NATS/1.0\r\nname: goes\r\n on with a colon: and more\r\n\r\n",
        ];
        for headers in good {
            assert!(read_headers(headers).is_ok(), "{}", headers.escape_ascii());
        }
        let read = read_headers(b"NATS/1.0\r\nname: goes\r\n on \r\nname: again\r\n\r\n").unwrap();
        let values: Vec<_> = read.get_all("name").map(|value| value.as_str()).collect();
        assert_eq!(values, ["goes on", "again"]);
    }

    #[test]
    fn headers_that_it_stumbles_over_have_one() {
        let bad: [(&[u8], &str); 11] = [
            (b"\r\n", "no version"),
            (b"\r\nNATS/1.0\r\n\r\n", "no version"),
            (b"HTTP/1.1\r\n\r\n", "no version"),
            (b"NATS/1.0 abc\r\n\r\n", "no status behind the version"),
            (b"NATS/1.0\r\nno colon\r\n\r\n", "a line without a colon"),
            // A continuation line without a header before it, or behind an empty line.
            (b"NATS/1.0\r\n c\r\n\r\n", "a line without a colon"),
            (b"NATS/1.0\r\na: b\r\n\r\n c\r\n", "a line without a colon"),
            (b"NATS/1.0\r\nna me: x\r\n\r\n", "no name of a header: \"na me\""),
            (
                b"NATS/1.0\r\n: x\r\n c: d\r\n\r\n e: f\r\n",
                "no name of a header: \" e\"",
            ),
            (b"NATS/1.0\r\nname: \xff\r\n\r\n", "not UTF-8"),
            (
                b"NATS/1.0\r\nname: a\rb\r\n\r\n",
                "a lone carriage return in a header: \"name\"",
            ),
        ];
        for (headers, says) in bad {
            let problem = read_headers(headers).unwrap_err().to_string();
            assert_eq!(problem, says, "{}", headers.escape_ascii());
        }
    }

    #[test]
    fn nothing_is_told_of_a_header_but_the_beginning_of_its_name() {
        let headers = format!("NATS/1.0\r\n{}: secret\r\n\r\n", "é".repeat(10_000));
        let problem = read_headers(headers.as_bytes()).unwrap_err().to_string();
        assert!(problem.len() < 200 && !problem.contains("secret"), "{problem}");
        let problem = read_headers(b"NATS/1.0\r\nsecret\r\n\r\n")
            .unwrap_err()
            .to_string();
        assert!(!problem.contains("secret"), "{problem}");
    }
}
