//! Dead letters: inputs that cannot be handled as they are, kept where an operator finds them.
//!
//! A dead letter is the record `dead-letter.<stream>.<sequence>.<order_id>` of the listener's own bucket (with the kind before the
//! id, where the input is about something else: `dead-letter.<stream>.<sequence>.item.<item_id>`). Its body is the
//! original body, byte for byte; the rest is in the header `Dead-Letter`, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{HeaderMap, header, jetstream};
use bytes::Bytes;
use jiff::Timestamp;
use quadrille_events::{AggregateId, Contract, OrderId};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use utoipa::ToSchema;

use crate::engine::messages::MARKER_TTL;
use crate::engine::store::Store;
use crate::nats::streams::letter_subject;
use crate::nats::{CommitError, KV_OPERATION, ReadError, StoredMessage, Write, acknowledge};

/// The header with the description of a dead letter.
const HEADER: &str = "Dead-Letter";

/// The most letters of one page.
pub const MAX_LISTED: usize = 1_000;

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 1_000;

/// The description of a parked input.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, ToSchema)]
pub struct DeadLetter {
    /// `<stream>.<sequence>.<order id>`, by which it is shown and retried.
    pub id: String,
    /// The service that could not handle the input.
    pub service: String,
    /// Why it could not be handled.
    pub reason: String,
    /// How often the input was delivered; 0 if the client library cannot read it, so that it never arrived.
    pub attempts: u64,
    /// The subject of the input.
    pub subject: String,
    /// The headers of the input.
    pub headers: BTreeMap<String, String>,
    /// When it was parked.
    pub parked_at: Timestamp,
}

/// A dead letter with its body.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Its description.
    pub letter: DeadLetter,
    /// The original body.
    pub body: Bytes,
}

impl Store {
    /// Parks a delivered input and then acknowledges it; if it cannot be stored now, the input comes again.
    pub(crate) async fn park(&self, message: &jetstream::Message, reason: &str) {
        let Ok(info) = message.info() else {
            error!(subject = %message.subject, "a delivery without JetStream metadata; not ours");
            return;
        };
        let letter = DeadLetter {
            id: letter_id(self.contract, info.stream, info.stream_sequence, &message.subject),
            service: self.service.to_owned(),
            reason: shorten(reason),
            attempts: u64::try_from(info.delivered).unwrap_or(1),
            subject: message.subject.to_string(),
            headers: header_map(message.headers.as_ref()),
            parked_at: Timestamp::now(),
        };
        match self.store_letter(&letter, message.payload.clone()).await {
            Ok(_) => {
                let (attempts, reason) = (letter.attempts, &letter.reason);
                warn!(id = %letter.id, subject = %letter.subject, attempts, reason, "parked as a dead letter");
                self.meters.dead_letters.increment(1);
                acknowledge(message, jetstream::AckKind::Ack).await;
            }
            Err(problem) => {
                error!(id = %letter.id, %problem, reason = letter.reason, "cannot be parked now; it will come again");
                let again = Duration::from_secs(5);
                acknowledge(message, jetstream::AckKind::Nak(Some(again))).await;
            }
        }
    }

    async fn store_letter(&self, letter: &DeadLetter, body: Bytes) -> Result<u64, CommitError> {
        let write = |letter: &DeadLetter, body: Bytes| -> Result<Write, CommitError> {
            let mut headers = HeaderMap::new();
            let known = serde_json::to_string(letter).map_err(|e| CommitError::Rejected(e.to_string()))?;
            headers.insert(HEADER, known.as_str());
            Ok(Write {
                subject: letter_subject(self.service, &letter.id),
                headers,
                body,
            })
        };
        match self.broker.publish(write(letter, body.clone())?).await {
            // An input of the maximum size leaves no room for the header: keep what identifies it.
            Err(CommitError::Rejected(problem)) => {
                let mut cut = letter.clone();
                cut.headers.clear();
                cut.reason = shorten(&format!("{} (body and headers cut: {problem})", cut.reason));
                self.broker
                    .publish(write(&cut, body.slice(..body.len().min(64 * 1024)))?)
                    .await
            }
            other => other,
        }
    }

    /// The parked letters of this service that were stored behind the sequence `after`, oldest first, at most `limit`; and the `after`
    /// of the next page, if there are more.
    pub(crate) async fn letters(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, Option<u64>), ReadError> {
        let filter = letter_subject(self.service, ">");
        let page = self
            .broker
            .page(&self.stream, &filter, after.saturating_add(1), limit);
        let page = page.await?;
        let last = page.messages.last().map(|message| message.sequence);
        let there = page.messages.into_iter().filter(|message| !message.is_deleted());
        let letters = there.filter_map(read_letter).map(|parked| parked.letter);
        Ok((letters.collect(), last.filter(|_| page.has_more)))
    }

    /// The id of the letter that was parked first, and when its event was decided (or else when it was parked).
    pub(crate) async fn oldest_letter(&self) -> Result<Option<(String, Timestamp)>, ReadError> {
        /// Few, because a letter can be large.
        const PAGE: usize = 8;
        let mut after = 0;
        loop {
            let (letters, more) = self.letters(after, PAGE).await?;
            if let Some(letter) = letters.into_iter().next() {
                let decided_at = letter.headers.get("ce-time").and_then(|time| time.parse().ok());
                let since = decided_at.unwrap_or(letter.parked_at);
                return Ok(Some((letter.id, since.min(letter.parked_at))));
            }
            match more {
                Some(last) => after = last,
                None => return Ok(None),
            }
        }
    }

    /// One parked letter with its body.
    pub(crate) async fn letter(&self, id: &str) -> Result<Option<Parked>, ReadError> {
        // An id is three or four tokens without wildcards; anything else names no letter.
        let plain = matches!(id.split('.').count(), 3 | 4) && !id.contains(['*', '>', ' ']);
        if !plain {
            return Ok(None);
        }
        Ok(self.find_letters(id).await?.pop())
    }

    async fn find_letters(&self, id: &str) -> Result<Vec<Parked>, ReadError> {
        let entries = self
            .broker
            .fresh_get(&self.stream, &[letter_subject(self.service, id)], self.replicas)
            .await?;
        Ok(entries
            .into_iter()
            .filter(|entry| !entry.is_deleted())
            .filter_map(read_letter)
            .collect())
    }

    /// Removes a letter, as a KV purge does, with a marker that expires.
    pub(crate) async fn drop_letter(&self, id: &str) -> Result<(), CommitError> {
        let mut headers = HeaderMap::new();
        headers.insert(KV_OPERATION, "PURGE");
        headers.insert("Nats-Rollup", "sub");
        headers.insert(header::NATS_MESSAGE_TTL, MARKER_TTL);
        self.broker
            .publish(Write {
                subject: letter_subject(self.service, id),
                headers,
                body: Bytes::new(),
            })
            .await
            .map(drop)
    }
}

/// The letters about one order (or other aggregate) in the bucket of `service`.
pub(crate) fn letters_about(service: &str, about: &AggregateId) -> String {
    letter_subject(service, &format!("*.*.{}", about.tokens()))
}

/// `<stream>.<sequence>.<order id>`, with `-` where the subject names nothing.
pub(crate) fn letter_id(contract: Contract, stream: &str, sequence: u64, subject: &str) -> String {
    let known = contract
        .stored(subject)
        .and_then(|(name, id)| AggregateId::new(name.about, id).ok());
    let tokens = match known {
        Some(about) => about.tokens(),
        None => {
            let last = subject.rsplit('.').next();
            let last = last.filter(|token| OrderId::new(token).is_ok());
            last.unwrap_or("-").to_owned()
        }
    };
    format!("{stream}.{sequence}.{tokens}")
}

/// Reads a stored letter.
pub(crate) fn read_letter(entry: StoredMessage) -> Option<Parked> {
    let letter = serde_json::from_str(entry.headers.get(HEADER)?.as_str()).ok()?;
    Some(Parked {
        letter,
        body: entry.body,
    })
}

fn header_map(headers: Option<&HeaderMap>) -> BTreeMap<String, String> {
    headers
        .into_iter()
        .flat_map(|headers| headers.iter())
        .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
        .collect()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(header: &str, body: &[u8]) -> StoredMessage {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, header);
        StoredMessage {
            subject: "$KV.payment.dead-letter.KV_order.7.42".to_owned(),
            sequence: 1,
            time: Timestamp::UNIX_EPOCH,
            headers,
            body: Bytes::copy_from_slice(body),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn no_header_breaks_the_reader(header in "[ -~]{0,200}", body in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(read_letter(stored(&header, &body)).is_none());
        }

        #[test]
        fn a_letter_reads_back_as_it_was(
            texts in prop::collection::vec("\\PC{0,40}", 4), attempts in any::<u64>(),
            headers in prop::collection::btree_map("[a-z-]{1,10}", "\\PC{0,40}", 0..4),
            body in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let letter = DeadLetter {
                id: texts[0].clone(),
                service: texts[1].clone(),
                reason: texts[2].clone(),
                attempts,
                subject: texts[3].clone(),
                headers,
                parked_at: Timestamp::UNIX_EPOCH,
            };
            let parked = read_letter(stored(&serde_json::to_string(&letter).unwrap(), &body)).unwrap();
            prop_assert_eq!(parked.letter, letter);
            prop_assert_eq!(parked.body.as_ref(), body.as_slice());
        }
    }
}
