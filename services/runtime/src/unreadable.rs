//! Messages that the client library cannot read, and so never hands on.
//!
//! nats-server stores whatever stands between a message's headers and its body. If it is not what
//! [ADR-4](https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md) says, then async-nats 0.51
//! ends the connection; the message comes again after every `ack_wait`, and ends the next one, for ever. So each
//! listener looks now and then at what was delivered again, through the one request whose answer is JSON, and parks
//! what no listener will ever see.

use async_nats::jetstream::{self, AckKind, consumer::PullConsumer};
use async_nats::{HeaderMap, HeaderName, Message};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use tracing::warn;

use crate::broker::{Broker, Entry, ReadError};
use crate::dead_letter::letter_id;
use crate::item::acknowledge;
use crate::listen::Wires;
use crate::store::Store;

/// The most messages that one look goes through. The next one begins where something still waits.
const MAX_LOOKED_AT: usize = 4_096;

/// A message as it is stored, of which only the frame is known to make sense.
pub(crate) struct Raw {
    pub subject: String,
    pub sequence: u64,
    pub time: Timestamp,
    /// From `NATS/1.0` on; empty if there are none.
    pub headers: Vec<u8>,
    pub body: Bytes,
}

/// Without its headers, which nobody can read.
impl From<Raw> for Entry {
    fn from(raw: Raw) -> Self {
        Self {
            subject: raw.subject,
            sequence: raw.sequence,
            time: raw.time,
            headers: HeaderMap::new(),
            body: raw.body,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    time: Timestamp,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// The server's code for "there is no such message".
const NOT_FOUND: u64 = 10037;

impl Broker {
    /// The first message from `sequence` on whose subject matches `filter`, from the stream's leader.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) async fn raw(
        &self,
        stream: &str,
        filter: &str,
        sequence: u64,
    ) -> Result<Option<Raw>, ReadError> {
        let failed = |error: String| ReadError(format!("reading {stream} from {sequence} on: {error}"));
        let request = serde_json::json!({ "seq": sequence, "next_by_subj": filter }).to_string();
        let answer = self
            .client()
            .request(format!("$JS.API.STREAM.MSG.GET.{stream}"), request.into())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let answer: Answer =
            serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
        let stored = match (answer.message, answer.error) {
            (Some(stored), _) => stored,
            (
                None,
                Some(Refusal {
                    err_code: NOT_FOUND, ..
                }),
            ) => return Ok(None),
            (None, Some(refusal)) => return Err(failed(refusal.description)),
            (None, None) => return Err(failed("an empty answer".to_owned())),
        };
        let decode = |text: &str| {
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| failed(error.to_string()))
        };
        Ok(Some(Raw {
            headers: decode(&stored.hdrs)?,
            body: decode(&stored.data)?.into(),
            subject: stored.subject,
            sequence: stored.seq,
            time: stored.time,
        }))
    }
}

/// Parks what was delivered to a listener again and again and cannot be read.
pub(crate) async fn park_unreadable<I>(
    store: &Store,
    speaker: &'static str,
    wires: &Wires<I>,
    consumer: &PullConsumer,
) {
    if let Err(error) = try_park(store, speaker, wires, consumer).await {
        warn!(
            service = store.service,
            speaker, error, "cannot look for unreadable inputs now"
        );
    }
}

async fn try_park<I>(
    store: &Store,
    speaker: &'static str,
    wires: &Wires<I>,
    consumer: &PullConsumer,
) -> Result<(), String> {
    let info = consumer.get_info().await.map_err(|error| error.to_string())?;
    if info.num_redelivered == 0 {
        return Ok(());
    }
    let (stream, filter) = (&info.stream_name, format!("$KV.{speaker}.*.*"));
    let mut next = info.ack_floor.stream_sequence + 1;
    for _ in 0..MAX_LOOKED_AT {
        let raw = store
            .broker
            .raw(stream, &filter, next)
            .await
            .map_err(|error| error.to_string())?;
        let Some(raw) = raw.filter(|raw| raw.sequence <= info.delivered.stream_sequence) else {
            return Ok(());
        };
        next = raw.sequence + 1;
        let is_heard = wires.iter().any(|wire| {
            let filter = wire.name.filter();
            filter
                .strip_suffix('*')
                .is_some_and(|prefix| raw.subject.starts_with(prefix))
        });
        let Some(problem) = problem(&raw.headers).filter(|_| is_heard) else {
            continue;
        };
        let reason = format!(
            "its headers cannot be read: {problem}: {}",
            raw.headers.escape_ascii()
        );
        let id = letter_id(stream, raw.sequence, &raw.subject);
        let message = as_delivered(raw, stream, &info.name, store);
        // It is met again for as long as something before it waits, or if its acknowledgement was lost.
        match store.letter(&id).await.map_err(|error| error.to_string())? {
            Some(_) => acknowledge(&message, AckKind::Ack).await,
            None => store.park(&message, &reason).await,
        }
    }
    Ok(())
}

/// The message as if it had been delivered, without its headers. To acknowledge it, the server looks at stream, consumer
/// and sequence alone.
fn as_delivered(raw: Raw, stream: &str, consumer: &str, store: &Store) -> jetstream::Message {
    let (sequence, time) = (raw.sequence, raw.time.as_nanosecond());
    let reply = format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.1.{time}.0");
    jetstream::Message {
        message: Message {
            subject: raw.subject.into(),
            reply: Some(reply.into()),
            length: raw.body.len(),
            payload: raw.body,
            headers: None,
            status: None,
            description: None,
        },
        context: store.broker.jetstream().clone(),
    }
}

/// Why the client library does not hand on a message with these headers, if it does not.
pub(crate) fn problem(headers: &[u8]) -> Option<&'static str> {
    if headers.is_empty() {
        return None;
    }
    let Ok(text) = std::str::from_utf8(headers) else {
        return Some("not UTF-8");
    };
    let mut lines = text.lines().filter(|line| !line.is_empty());
    // A status behind the version does not get this far: the server does not deliver it.
    if !lines.next().is_some_and(|line| line.starts_with("NATS/1.0")) {
        return Some("no version");
    }
    let mut is_first = true;
    for line in lines {
        // A line that begins with white space goes on with the value before.
        let goes_on = !is_first && line.starts_with(char::is_whitespace);
        is_first = false;
        if goes_on {
            continue;
        }
        match line.split_once(':') {
            None => return Some("a line without a colon"),
            Some((name, _)) if name.parse::<HeaderName>().is_err() => return Some("no name of a header"),
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_the_client_reads_have_no_problem() {
        let good: [&[u8]; 5] = [
            b"",
            b"NATS/1.0 503\r\n\r\n",
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nce-id: a\r\nEmpty:\r\n\r\n",
            b"NATS/1.0\r\nname: goes\r\n on\r\n\r\n",
        ];
        for headers in good {
            assert_eq!(problem(headers), None, "{}", headers.escape_ascii());
        }
    }

    #[test]
    fn headers_that_it_stumbles_over_have_one() {
        let bad: [&[u8]; 5] = [
            b"\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nna me: x\r\n\r\n",
            b"NATS/1.0\r\nname: \xff\r\n\r\n",
        ];
        for headers in bad {
            assert!(problem(headers).is_some(), "{}", headers.escape_ascii());
        }
    }
}
