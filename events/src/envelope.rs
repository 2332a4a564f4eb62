//! The envelope of an event, in its NATS headers: CloudEvents 1.0 attributes, correlation, causation, trace.

use jiff::Timestamp;

use crate::{AggregateId, EventName, Lifetime};

/// The attributes of one event. As NATS headers they follow the CloudEvents NATS protocol binding 1.0 (binary mode), with the
/// extensions `correlationid`, `causationid` and `eventversion`, and the W3C Trace Context header `traceparent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// CloudEvents `id`: the name of the entry, `charged.<order_id>`. Unique within its `source`: for an entry that is rewritten
    /// the revision that it was decided on is appended, `item.updated.<item_id>@17`.
    pub id: String,
    /// CloudEvents `source`: the service that said the event.
    pub source: String,
    /// CloudEvents `type`: the subject without the id, `payment.charged`.
    pub kind: String,
    /// CloudEvents `time`: when the event was decided.
    pub time: Timestamp,
    /// Extension `eventversion`: the version of the body.
    pub version: u32,
    /// Extension `correlationid`: the id of the order (or other aggregate) that the event is about, which is also the last
    /// token of the NATS subject. (CloudEvents `subject`, which is optional, would repeat it, and every header costs at every
    /// hop.)
    pub about: AggregateId,
    /// Extension `causationid`: `<source>/<id>` of the event that this one answers, or `http/<command>`.
    pub causation_id: String,
    /// W3C Trace Context: one trace per order (or other aggregate).
    pub traceparent: TraceParent,
}

/// Why the headers of a message are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A header that every event carries is missing.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// A header has a value that is not allowed.
    #[error("the header `{name}` is `{value}`: {problem}")]
    Invalid {
        /// The name of the header.
        name: &'static str,
        /// The first 80 characters of the header's value.
        value: String,
        /// What is wrong with the value.
        problem: &'static str,
    },
}

const SPEC_VERSION: &str = "1.0";

impl Envelope {
    /// The envelope of `name` about `about`, decided on `revision` (the sequence of the last entry seen of that aggregate, 0 if
    /// there was none), answering `causation_id`.
    pub fn new(
        name: &EventName,
        about: &AggregateId,
        revision: u64,
        time: Timestamp,
        causation_id: &str,
        trace: &TraceParent,
    ) -> Self {
        let id = match name.lifetime {
            Lifetime::Once => name.id(about),
            Lifetime::Latest => format!("{}@{revision}", name.id(about)),
        };
        Self {
            traceparent: trace.child(name.service, &id),
            id,
            source: name.service.to_owned(),
            kind: name.subject.to_owned(),
            time,
            version: name.version,
            about: about.clone(),
            causation_id: causation_id.to_owned(),
        }
    }

    /// `<source>/<id>`: the causation id of the events that answer this one.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.source, self.id)
    }

    /// The NATS headers: names and values.
    pub fn headers(self) -> [(&'static str, String); 10] {
        [
            ("ce-specversion", SPEC_VERSION.to_owned()),
            ("ce-id", self.id),
            ("ce-source", self.source),
            ("ce-type", self.kind),
            ("ce-time", self.time.to_string()),
            ("ce-eventversion", self.version.to_string()),
            ("ce-correlationid", self.about.to_string()),
            ("ce-causationid", self.causation_id),
            ("content-type", "application/json".to_owned()),
            ("traceparent", self.traceparent.to_string()),
        ]
    }

    /// Reads the headers of a message that is stored as the event `name` about `about`.
    ///
    /// # Errors
    /// [`EnvelopeError`] names the header that is missing or wrong.
    pub fn read<'a>(
        name: &EventName,
        about: &AggregateId,
        header: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Self, EnvelopeError> {
        let get = |key: &'static str| header(key).ok_or(EnvelopeError::Missing(key));
        let invalid = |name: &'static str, value: &str, problem: &'static str| EnvelopeError::Invalid {
            name,
            value: value.chars().take(80).collect(),
            problem,
        };
        let expect = |key: &'static str, expected: &str, problem: &'static str| {
            let value = get(key)?;
            if value == expected {
                Ok(())
            } else {
                Err(invalid(key, value, problem))
            }
        };
        expect(
            "ce-specversion",
            SPEC_VERSION,
            "only CloudEvents 1.0 is understood",
        )?;
        expect(
            "ce-source",
            name.service,
            "must be the service that owns the bucket",
        )?;
        expect(
            "ce-type",
            name.subject,
            "the type does not fit the entry it is stored as",
        )?;
        let id = get("ce-id")?;
        if !is_id(id, name, about) {
            return Err(invalid("ce-id", id, "the id is not the name of its entry"));
        }
        let version = get("ce-eventversion")?;
        if version.parse() != Ok(name.version) {
            return Err(invalid(
                "ce-eventversion",
                version,
                "this version of the event is not known here",
            ));
        }
        let time = get("ce-time")?;
        let traceparent = get("traceparent")?;
        Ok(Self {
            id: id.to_owned(),
            source: name.service.to_owned(),
            kind: name.subject.to_owned(),
            time: time
                .parse()
                .map_err(|_| invalid("ce-time", time, "must be RFC 3339"))?,
            version: name.version,
            about: about.clone(),
            causation_id: get("ce-causationid")?.to_owned(),
            traceparent: TraceParent::parse(traceparent).ok_or_else(|| {
                invalid(
                    "traceparent",
                    traceparent,
                    "must be W3C Trace Context, version 00",
                )
            })?,
        })
    }
}

/// Whether `id` is a CloudEvents id of `name` about `about`.
fn is_id(id: &str, name: &EventName, about: &AggregateId) -> bool {
    let revision = id.strip_prefix(&name.id(about));
    match name.lifetime {
        Lifetime::Once => revision == Some(""),
        Lifetime::Latest => revision
            .and_then(|rest| rest.strip_prefix('@'))
            .is_some_and(|revision| revision.parse::<u64>().is_ok()),
    }
}

/// A position in a trace: W3C Trace Context, `00-<trace id>-<span id>-<flags>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceParent {
    /// The trace of an order (or other aggregate) whose client sent none. Derived from the id, so that a repeated derivation
    /// gives the same trace. Not marked as sampled: nobody asked for it to be recorded, and nats-server does extra work for
    /// every sampled message.
    pub fn of(about: &AggregateId) -> Self {
        let tokens = about.tokens();
        let bytes = tokens.as_bytes();
        let trace_id = (u128::from(fnv1a(bytes, 0)) << 64) | u128::from(fnv1a(bytes, 1));
        Self {
            trace_id: trace_id.max(1),
            span_id: fnv1a(bytes, 2).max(1),
            flags: 0,
        }
    }

    /// Reads the header `traceparent`; `None` unless it is of version 00 and valid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, digits: usize| {
            part.len() == digits
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if version != "00" || parts.next().is_some() || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(Self {
            trace_id,
            span_id,
            flags: u8::from_str_radix(flags, 16).ok()?,
        })
    }

    /// The trace id: 16 bytes, never 0.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span id: 8 bytes, never 0.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether the client that started the trace records it. Always false for [`TraceParent::of`], which has no such client.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The position of event `id` of `source` in the same trace. Derived, so that a repeated decision gives the same position.
    pub fn child(&self, source: &str, id: &str) -> Self {
        let span_id = fnv1a(id.as_bytes(), fnv1a(source.as_bytes(), self.trace_id as u64)).max(1);
        Self {
            span_id,
            ..self.clone()
        }
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// FNV-1a, 64 bits. Stable across machines and releases, which the standard library's hasher is not.
fn fnv1a(bytes: &[u8], seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
