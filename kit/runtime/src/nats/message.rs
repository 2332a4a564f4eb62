//! Messages: to be stored, as stored, and as stored with headers that the client library cannot read.

use async_nats::HeaderMap;
use bytes::Bytes;

/// The header of a marker in a KV bucket: the key was deleted or purged (ADR-8).
pub(crate) const KV_OPERATION: &str = "KV-Operation";

/// A message to store.
#[derive(Clone, Debug)]
pub struct Write {
    /// The subject to store it under.
    pub subject: String,
    /// Its headers, the check of the last sequence among them.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A message as stored.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The subject that it is stored under.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When it was stored, by the server's clock.
    pub time: jiff::Timestamp,
    /// Its headers, without those that the broker adds to an answer.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl StoredMessage {
    /// A message that a consumer delivered.
    pub(crate) fn delivered(message: &async_nats::jetstream::Message) -> anyhow::Result<Self> {
        let info = message
            .info()
            .map_err(|error| anyhow::anyhow!("{}: {error}", message.subject))?;
        Ok(Self {
            subject: message.subject.to_string(),
            sequence: info.stream_sequence,
            time: jiff::Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())?,
            headers: message.headers.clone().unwrap_or_default(),
            body: message.payload.clone(),
        })
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }

    /// Whether it is the marker of a KV client that deleted or purged the key.
    pub fn is_deleted(&self) -> bool {
        self.headers.get(KV_OPERATION).is_some()
    }
}

/// A stored message with its headers unparsed.
#[derive(Debug)]
pub(crate) struct RawMessage {
    pub subject: String,
    pub sequence: u64,
    pub time: jiff::Timestamp,
    /// From `NATS/1.0` on; empty if there are none.
    pub headers: Vec<u8>,
    pub body: Bytes,
}
