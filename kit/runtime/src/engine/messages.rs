//! What a service is about to store, as messages: events, deadlines, records.

use async_nats::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use quadrille_events::{AggregateId, AggregateKind, Envelope, EventName, Lifetime, Said};

use crate::cause::Cause;
use crate::engine::store::{Store, entries_of};
use crate::nats::streams::NEVER;
use crate::nats::{KV_OPERATION, Write};

/// The filter that the expected last sequence is about; the client has no name for it.
const CHECKED_SUBJECT: HeaderName = HeaderName::from_static("Nats-Expected-Last-Subject-Sequence-Subject");

/// How long a delete marker stays: long enough for KV watchers to see it, short enough that markers do not pile up.
pub(crate) const MARKER_TTL: &str = "60s";

/// When, because of what, and on what state an event is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    pub cause: &'a Cause,
    pub now: Timestamp,
    /// The sequence of the last entry that was seen of the aggregate; 0 if there was none.
    pub last_sequence: u64,
}

impl Store {
    /// An event as a message: refused by the broker unless the occasion's sequence is still the last of the aggregate's entries.
    pub fn event<E: Said>(&self, event: &E, occasion: Occasion<'_>, clears_deadline: bool) -> Write {
        let (name, about) = (event.name(), event.about());
        let mut headers = envelope_headers(name, &about, occasion);
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            HeaderValue::from(occasion.last_sequence),
        );
        headers.insert(CHECKED_SUBJECT, entries_of(self.service, &about));
        if clears_deadline {
            headers.insert(header::NATS_SCHEDULE_NEXT, "purge");
            headers.insert(header::NATS_SCHEDULER, self.due(&about));
        }
        // Entries about orders expire by the age limit of the bucket; an item or a card is there until its owner says otherwise.
        if name.lifetime == Lifetime::Latest || name.about != AggregateKind::ORDER {
            headers.insert(header::NATS_MESSAGE_TTL, NEVER);
        }
        Write {
            subject: name.stored_as(&about),
            headers,
            body: event.encode().into(),
        }
    }

    /// The schedule by which the broker stores `event` at `at`. The produced message keeps these headers, hence the envelope. The
    /// schedule's name has four tokens or more, so that it never is the last of an aggregate's entries.
    pub fn schedule<E: Said>(&self, event: &E, at: Timestamp, occasion: Occasion<'_>) -> Write {
        let (name, about) = (event.name(), event.about());
        let mut headers = envelope_headers(name, &about, Occasion { now: at, ..occasion });
        headers.insert(header::NATS_SCHEDULE, format!("@at {at}"));
        headers.insert(header::NATS_SCHEDULE_TARGET, name.stored_as(&about));
        Write {
            subject: self.due(&about),
            headers,
            body: event.encode().into(),
        }
    }

    /// The name of an aggregate's schedule.
    fn due(&self, about: &AggregateId) -> String {
        format!("$KV.{}.schedule.due.{}", self.service, about.tokens())
    }

    /// A record as a message: refused unless `revision` is still its last. A record that is removed is replaced by the delete
    /// marker of a KV bucket; once the marker has expired, the key is as new, with revision 0.
    pub fn record<R: serde::Serialize>(
        &self,
        key: &str,
        record: Option<&R>,
        revision: u64,
    ) -> Result<Write, String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            HeaderValue::from(revision),
        );
        let body = match record {
            Some(record) => {
                headers.insert(header::NATS_MESSAGE_TTL, NEVER);
                serde_json::to_vec(record).map_err(|error| format!("the record {key}: {error}"))?
            }
            None => {
                headers.insert(KV_OPERATION, "DEL");
                headers.insert(header::NATS_MESSAGE_TTL, MARKER_TTL);
                Vec::new()
            }
        };
        Ok(Write {
            subject: format!("$KV.{}.{key}", self.service),
            headers,
            body: body.into(),
        })
    }
}

fn envelope_headers(name: &EventName, about: &AggregateId, occasion: Occasion<'_>) -> HeaderMap {
    let Occasion {
        cause,
        now,
        last_sequence,
    } = occasion;
    let trace = cause.trace_of(about);
    let envelope = Envelope::new(name, about, last_sequence, now, &cause.reference, &trace);
    let mut headers = HeaderMap::new();
    for (key, value) in envelope.headers() {
        headers.insert(HeaderName::from_static(key), value);
    }
    headers
}
