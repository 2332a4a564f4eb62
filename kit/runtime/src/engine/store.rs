//! What a service has said, read back; and what it is about to say, as messages to store.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use quadrille_events::{Envelope, EventName, OrderId, Said, TraceParent};

use crate::nats::broker::{Broker, Entry, MAX_MULTI_GET, ReadError, Write};
use crate::nats::streams::bucket_stream;
use crate::telemetry::meters::Meters;
use quadrille_decision::{Reads, Service};

/// The most records that share a prefix and are read together ([`Reads::All`]): what one multi-get answers.
pub const MAX_RECORDS: usize = MAX_MULTI_GET;

/// The most entries that one order can have in one bucket, with room: how many orders fit in a multi-get.
const MAX_ENTRIES_PER_ORDER: usize = 8;

/// The filter that the expected last sequence is about; the client has no name for it.
const CHECKED_SUBJECT: HeaderName = HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");

/// What is known of an order in this service.
#[derive(Clone, Debug)]
pub(crate) struct Known<T> {
    /// The fold of the entries.
    pub state: T,
    /// The sequence of the last entry; 0 if there is none. What the next commit must name.
    pub sequence: u64,
    /// When the first entry was said, or stored.
    pub since: Option<Timestamp>,
}

impl<T: Default> Default for Known<T> {
    fn default() -> Self {
        Self {
            state: T::default(),
            sequence: 0,
            since: None,
        }
    }
}

/// A record of the ledger as last seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen<R> {
    /// `None` if there is none by this key.
    pub record: Option<R>,
    /// Its sequence; 0 if there is none.
    pub revision: u64,
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The broker does not answer now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry of the order is not what its name says. Waiting does not help.
    #[error("the entry {subject} (sequence {sequence}) cannot be read: {problem}")]
    Unreadable {
        subject: String,
        sequence: u64,
        problem: String,
    },
}

/// The bucket of one service.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub broker: Broker,
    pub service: &'static str,
    pub stream: String,
    pub replicas: usize,
    pub retention: Option<Duration>,
    pub meters: Arc<Meters>,
}

impl Store {
    pub fn new(broker: Broker, service: &'static str, replicas: usize, retention: Option<Duration>) -> Self {
        Self {
            broker,
            service,
            stream: bucket_stream(service),
            replicas,
            retention,
            meters: Arc::new(Meters::of(service)),
        }
    }

    /// All entries of an order: `$KV.payment.*.<order_id>`.
    pub fn entries_of(&self, order_id: &OrderId) -> String {
        format!("$KV.{}.*.{order_id}", self.service)
    }

    /// The states of these orders, none older than this call. An order whose entries make no sense has an error of
    /// its own and does not spoil the others.
    pub async fn states<S: Service>(
        &self,
        orders: &[OrderId],
    ) -> Result<HashMap<OrderId, Result<Known<S::State>, StateError>>, ReadError> {
        let mut states: HashMap<_, Result<Known<S::State>, StateError>> = orders
            .iter()
            .map(|id| (id.clone(), Ok(Known::default())))
            .collect();
        for chunk in orders.chunks(MAX_MULTI_GET / MAX_ENTRIES_PER_ORDER) {
            let filters: Vec<_> = chunk.iter().map(|id| self.entries_of(id)).collect();
            for entry in self
                .broker
                .fresh_get(&self.stream, &filters, self.replicas)
                .await?
            {
                let Some((name, id)) = split_entry(&entry.subject) else {
                    continue;
                };
                let Some(slot) = OrderId::new(id).ok().and_then(|id| states.get_mut(&id)) else {
                    continue;
                };
                if let Ok(known) = slot {
                    known.sequence = entry.sequence;
                    known.since.get_or_insert(entry.time);
                    if !entry.is_deleted() {
                        match S::Said::decode(name, &entry.body) {
                            Ok(said) => S::fold(&mut known.state, &said),
                            Err(problem) => *slot = Err(unreadable(&entry, problem.to_string())),
                        }
                    }
                }
            }
        }
        Ok(states)
    }

    /// The records that `reads` names, by key, none older than this call.
    pub async fn records<S: Service>(
        &self,
        reads: &Reads,
    ) -> Result<BTreeMap<String, Seen<S::Record>>, StateError> {
        let mut records = BTreeMap::new();
        let prefix = format!("$KV.{}.", self.service);
        let filters: Vec<String> = match reads {
            Reads::Nothing => return Ok(records),
            Reads::Keys(keys) => {
                records.extend(keys.iter().map(|key| {
                    (
                        key.clone(),
                        Seen {
                            record: None,
                            revision: 0,
                        },
                    )
                }));
                keys.iter().map(|key| format!("{prefix}{key}")).collect()
            }
            Reads::All(all) => vec![format!("{prefix}{all}.*")],
        };
        for chunk in filters.chunks(MAX_MULTI_GET) {
            for entry in self.broker.fresh_get(&self.stream, chunk, self.replicas).await? {
                let Some(key) = entry.subject.strip_prefix(&prefix) else {
                    continue;
                };
                let record = if entry.is_deleted() {
                    None
                } else {
                    Some(serde_json::from_slice(&entry.body).map_err(|e| unreadable(&entry, e.to_string()))?)
                };
                records.insert(
                    key.to_owned(),
                    Seen {
                        record,
                        revision: entry.sequence,
                    },
                );
            }
        }
        Ok(records)
    }

    /// An event as a message: refused by the broker unless `last_sequence` is still the last of the order's entries.
    pub fn event<E: Said>(
        &self,
        said: &E,
        last_sequence: u64,
        cause: &Cause,
        now: Timestamp,
        clears_deadline: bool,
    ) -> Write {
        let order_id = &said.order().order_id;
        let mut headers = envelope_headers(said.name(), order_id, cause, now);
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            HeaderValue::from(last_sequence),
        );
        headers.insert(CHECKED_SUBJECT, self.entries_of(order_id));
        if clears_deadline {
            headers.insert(header::NATS_SCHEDULE_NEXT, "purge");
            headers.insert(header::NATS_SCHEDULER, self.due(order_id));
        }
        if let Some(retention) = self.retention {
            headers.insert(header::NATS_MESSAGE_TTL, ttl(retention));
        }
        Write {
            subject: said.name().stored_as(order_id),
            headers,
            body: said.encode().into(),
        }
    }

    /// The schedule by which the broker says `says` at `at`. What it produces keeps these headers, hence the envelope.
    /// Its name has four tokens, so that it never is the last of the order's entries.
    pub fn schedule<E: Said>(&self, says: &E, at: Timestamp, cause: &Cause) -> Write {
        let order_id = &says.order().order_id;
        let mut headers = envelope_headers(says.name(), order_id, cause, at);
        headers.insert(header::NATS_SCHEDULE, format!("@at {at}"));
        headers.insert(header::NATS_SCHEDULE_TARGET, says.name().stored_as(order_id));
        if let Some(retention) = self.retention {
            headers.insert(header::NATS_SCHEDULE_TTL, ttl(retention));
        }
        Write {
            subject: self.due(order_id),
            headers,
            body: says.encode().into(),
        }
    }

    fn due(&self, order_id: &OrderId) -> String {
        format!("$KV.{}.schedule.due.{order_id}", self.service)
    }

    /// A record as a message: refused unless `revision` is still its last.
    pub fn record<R: serde::Serialize>(&self, key: &str, record: &R, revision: u64) -> Result<Write, String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            HeaderValue::from(revision),
        );
        let body = serde_json::to_vec(record).map_err(|error| format!("the record {key}: {error}"))?;
        Ok(Write {
            subject: format!("$KV.{}.{key}", self.service),
            headers,
            body: body.into(),
        })
    }
}

/// What a service has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An event of somebody.
    Event(&'static EventName),
    /// A command: `create`.
    Command(&'static str),
}

/// What an input was: the name that its answer carries as causation id, what it is an instance of, and its place in the
/// trace.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub reference: String,
    pub subject: Subject,
    pub trace: Option<TraceParent>,
}

impl Cause {
    /// The trace that its answers about this order continue: its own, else that of the order.
    pub fn trace_of(&self, order_id: &OrderId) -> Cow<'_, TraceParent> {
        match &self.trace {
            Some(trace) => Cow::Borrowed(trace),
            None => Cow::Owned(TraceParent::of_order(order_id)),
        }
    }
}

fn envelope_headers(name: &EventName, order_id: &OrderId, cause: &Cause, time: Timestamp) -> HeaderMap {
    let trace = cause.trace_of(order_id);
    let mut headers = HeaderMap::new();
    for (key, value) in Envelope::new(name, order_id, time, &cause.reference, &trace).headers() {
        headers.insert(HeaderName::from_static(key), value);
    }
    headers
}

/// A TTL as the broker reads it: whole seconds, 1 at least.
pub(crate) fn ttl(retention: Duration) -> String {
    format!("{}s", retention.as_secs().max(1))
}

fn unreadable(entry: &Entry, problem: String) -> StateError {
    StateError::Unreadable {
        subject: entry.subject.clone(),
        sequence: entry.sequence,
        problem,
    }
}

/// `$KV.payment.charged.42` -> `charged`, `42`.
pub(crate) fn split_entry(subject: &str) -> Option<(&str, &str)> {
    let mut tokens = subject.split('.').skip(2);
    let parts = (tokens.next()?, tokens.next()?);
    tokens.next().is_none().then_some(parts)
}
