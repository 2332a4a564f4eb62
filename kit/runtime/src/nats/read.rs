//! Reading: many entries in one consistent answer, page by page, and from the leader.

use futures::future::BoxFuture;
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::debug;

use crate::nats::api::{ApiError, ReadError, refused};
use crate::nats::connection::{Broker, READ_TIMEOUT};
use crate::nats::message::{RawMessage, StoredMessage};

/// The most messages that one multi-get answers with.
pub const MAX_MULTI_GET: usize = 1_024;

/// How many requests a read by the leader has open at once.
const LEADER_READS: usize = 16;

/// The server's code for "there is no such message".
const NOT_FOUND: u64 = 10037;

/// Some messages of a stream.
#[derive(Debug, Default)]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<StoredMessage>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

impl Broker {
    /// The newest message of each subject that matches one of `subjects`, oldest first, in one consistent answer.
    ///
    /// With one replica the leader answers; with more it may be a follower that is a little behind.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or it would be more than [`MAX_MULTI_GET`] messages.
    pub fn multi_get<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredMessage>, ReadError>> {
        Box::pin(async move {
            let mut entries = self
                .direct_get(stream, &json!({ "multi_last": subjects }))
                .await?
                .messages;
            entries.sort_by_key(|entry| entry.sequence);
            Ok(entries)
        })
    }

    /// At most `limit` messages from `sequence` on whose subject matches `filter`, oldest first, and whether there are more. In a
    /// bucket, which keeps one message a subject, that is the newest of each subject; one that is rewritten while the pages are read
    /// may come twice, the newer one later.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub fn page<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
        sequence: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, ReadError>> {
        Box::pin(async move {
            let request = json!({ "seq": sequence.max(1), "next_by_subj": filter, "batch": limit });
            self.direct_get(stream, &request).await
        })
    }

    /// Everything that matches `filter`, however much it is, surely not older than this call.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or followers stay behind.
    pub async fn get_all(
        &self,
        stream: &str,
        filter: &str,
        replicas: usize,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let losses = *self.losses.borrow();
        match self.get_pages(stream, filter, replicas).await {
            // An answer with headers that the client cannot read ends the connection, each time.
            Err(_) if *self.losses.borrow() != losses => self.get_by_leader(stream, filter, usize::MAX).await,
            other => other,
        }
    }

    /// Everything that matches `filter`, page by page.
    async fn get_pages(
        &self,
        stream: &str,
        filter: &str,
        replicas: usize,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let newest = match replicas {
            0 | 1 => 0,
            _ => self.leader_sequence(stream, filter).await?,
        };
        let (mut messages, mut next) = (Vec::new(), 1);
        loop {
            let page = self.page(stream, filter, next, MAX_MULTI_GET).await?;
            next = page.messages.last().map_or(next, |last| last.sequence + 1);
            messages.extend(page.messages);
            if !page.has_more {
                break;
            }
        }
        let last = messages.last().map_or(0, |last: &StoredMessage| last.sequence);
        if last < newest {
            return Err(behind(stream));
        }
        Ok(messages)
    }

    /// Asks for stored messages by direct get (ADR-31).
    async fn direct_get(&self, stream: &str, request: &serde_json::Value) -> Result<Page, ReadError> {
        let failed = |error: String| ReadError::Unavailable(format!("reading {stream}: {error}"));
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(error.to_string()))?;
        self.client
            .publish_with_reply(
                format!("$JS.API.DIRECT.GET.{stream}"),
                inbox,
                request.to_string().into(),
            )
            .await
            .map_err(|error| failed(error.to_string()))?;
        let collect = async {
            let mut page = Page::default();
            while let Some(message) = answers.next().await {
                match message.status.map(|status| status.as_u16()) {
                    None => page
                        .messages
                        .push(direct_entry(message).ok_or_else(|| failed("not a direct get".into()))?),
                    Some(204 | 404) => {
                        page.has_more = pending(&message) > 0;
                        return Ok(page);
                    }
                    Some(503) => {
                        let problem =
                            "no leader, or no such stream: a service that knows it makes it at its start";
                        return Err(failed(problem.into()));
                    }
                    Some(413) => return Err(too_many(stream)),
                    Some(code) => {
                        let description = message.description.unwrap_or_default();
                        return Err(failed(format!("{code} {description}")));
                    }
                }
            }
            Err(failed("the connection closed".into()))
        };
        tokio::time::timeout(READ_TIMEOUT, self.unless_lost(collect))
            .await
            .map_err(|_| failed("timed out".into()))?
            .ok_or_else(|| failed("the connection was lost".into()))?
    }

    /// The sequence of the newest message that matches `subject` (wildcards allowed), from the stream's leader;
    /// 0 if there is none.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub fn leader_sequence<'a>(
        &'a self,
        stream: &'a str,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<u64, ReadError>> {
        Box::pin(async move {
            #[derive(Deserialize)]
            struct Place {
                seq: u64,
            }
            let request = json!({ "last_by_subj": subject });
            let found: Option<Place> = self.leader_get(stream, &request).await?;
            Ok(found.map_or(0, |place| place.seq))
        })
    }

    /// The first message from `sequence` on whose subject matches `filter`, from the stream's leader: the one request whose
    /// answer can be read whatever the headers of the message are.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) fn raw<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
        sequence: u64,
    ) -> BoxFuture<'a, Result<Option<RawMessage>, ReadError>> {
        Box::pin(async move {
            #[derive(Deserialize)]
            struct Stored {
                subject: String,
                seq: u64,
                time: jiff::Timestamp,
                #[serde(default)]
                hdrs: String,
                #[serde(default)]
                data: String,
            }
            let request = json!({ "seq": sequence, "next_by_subj": filter });
            let Some(stored): Option<Stored> = self.leader_get(stream, &request).await? else {
                return Ok(None);
            };
            let decode = |text: &str| {
                let decoded = BASE64_STANDARD.decode(text);
                decoded.map_err(|error| {
                    ReadError::Unavailable(format!("reading {stream} at {}: {error}", stored.seq))
                })
            };
            Ok(Some(RawMessage {
                headers: decode(&stored.hdrs)?,
                body: decode(&stored.data)?.into(),
                subject: stored.subject,
                sequence: stored.seq,
                time: stored.time,
            }))
        })
    }

    /// Sequence and time of the first message of a stream that is not older than `since`.
    pub(super) async fn first_since(
        &self,
        stream: &str,
        since: jiff::Timestamp,
    ) -> Result<Option<(u64, jiff::Timestamp)>, ReadError> {
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
            time: jiff::Timestamp,
        }
        let place: Option<Place> = self.leader_get(stream, &json!({ "start_time": since })).await?;
        Ok(place.map(|Place { seq, time }| (seq, time)))
    }

    /// The first message from `sequence` on, if it is one that the client library cannot read.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer.
    pub(crate) async fn unreadable_next(
        &self,
        stream: &str,
        filter: &str,
        sequence: u64,
    ) -> Result<Option<RawMessage>, ReadError> {
        let raw = self.raw(stream, filter, sequence).await?;
        Ok(raw.filter(RawMessage::is_unreadable))
    }

    /// The answer to `STREAM.MSG.GET`; `None` if there is no such message.
    async fn leader_get<T: DeserializeOwned>(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Option<T>, ReadError> {
        #[derive(Deserialize)]
        struct Found<T> {
            message: T,
        }
        let what = format!("STREAM.MSG.GET.{stream}");
        match self.answer::<Found<T>>(&what, request).await? {
            Ok(found) => Ok(Some(found.message)),
            Err(ApiError {
                err_code: NOT_FOUND, ..
            }) => Ok(None),
            Err(refusal) => Err(refused(&what, &refusal)),
        }
    }

    /// The newest message of each subject, surely not older than this call.
    ///
    /// # Errors
    /// [`ReadError`] if there is no answer, or followers stay behind, or it would be more than [`MAX_MULTI_GET`] messages.
    pub fn fresh_get<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a [String],
        replicas: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredMessage>, ReadError>> {
        Box::pin(async move {
            let losses = *self.losses.borrow();
            match self.fresh_multi_get(stream, subjects, replicas).await {
                // An answer with headers that the client cannot read ends the connection, each time.
                Err(_) if *self.losses.borrow() != losses => self.get_one_by_one(stream, subjects).await,
                other => other,
            }
        })
    }

    /// The newest message of each subject that matches `filter`, each asked of the leader, and without its headers if they cannot
    /// be read; oldest first.
    async fn get_by_leader(
        &self,
        stream: &str,
        filter: &str,
        most: usize,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let mut newest = HashMap::new();
        let mut next = 1;
        while let Some(raw) = self.raw(stream, filter, next).await? {
            next = raw.sequence + 1;
            newest.insert(raw.subject.clone(), StoredMessage::from(raw));
            if newest.len() > most {
                return Err(too_many(stream));
            }
        }
        let mut entries: Vec<_> = newest.into_values().collect();
        entries.sort_by_key(|entry| entry.sequence);
        Ok(entries)
    }

    /// As [`Broker::get_by_leader`], for several filters.
    async fn get_one_by_one(
        &self,
        stream: &str,
        subjects: &[String],
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let reading: Vec<_> = subjects
            .iter()
            .map(|subject| self.get_by_leader(stream, subject, MAX_MULTI_GET))
            .collect();
        let found: Vec<Vec<StoredMessage>> = futures::stream::iter(reading)
            .buffered(LEADER_READS)
            .try_collect()
            .await?;
        let mut entries = found.concat();
        if entries.len() > MAX_MULTI_GET {
            return Err(too_many(stream));
        }
        entries.sort_by_key(|entry| entry.sequence);
        Ok(entries)
    }

    /// With several replicas, compares the answer to the multi-get with the last sequences of the leader.
    async fn fresh_multi_get(
        &self,
        stream: &str,
        subjects: &[String],
        replicas: usize,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        if replicas <= 1 {
            return self.multi_get(stream, subjects).await;
        }
        const TRIES: u32 = 10;
        let newest = futures::future::try_join_all(
            subjects
                .iter()
                .map(|subject| self.leader_sequence(stream, subject)),
        )
        .await?;
        for attempt in 0..TRIES {
            let entries = self.multi_get(stream, subjects).await?;
            // What the leader had is there, or was replaced by something newer under the same filter.
            let complete = subjects.iter().zip(&newest).all(|(subject, sequence)| {
                *sequence == 0
                    || entries
                        .iter()
                        .any(|e| e.sequence >= *sequence && matches(subject, &e.subject))
            });
            if complete {
                return Ok(entries);
            }
            debug!(stream, attempt, "a follower is behind the leader");
            tokio::time::sleep(Duration::from_millis(2 << attempt)).await;
        }
        Err(behind(stream))
    }
}

fn too_many(stream: &str) -> ReadError {
    ReadError::TooMany(format!("reading {stream}: more than {MAX_MULTI_GET} entries"))
}

fn behind(stream: &str) -> ReadError {
    ReadError::Unavailable(format!("the followers of {stream} are behind its leader"))
}

/// Whether a subject matches a filter with `*` wildcards, and perhaps `>` at its end.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for want in filter.split('.') {
        match (want, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            (want, Some(token)) if want == "*" || want == token => {}
            (_, Some(_)) => return false,
        }
    }
    tokens.next().is_none()
}

/// How many messages match behind those of an answer.
fn pending(end: &async_nats::Message) -> u64 {
    let headers = end.headers.as_ref();
    let pending = headers.and_then(|headers| headers.get("Nats-Num-Pending"));
    pending.and_then(|count| count.as_str().parse().ok()).unwrap_or(0)
}

fn direct_entry(message: async_nats::Message) -> Option<StoredMessage> {
    let headers = message.headers?;
    let subject = headers.get("Nats-Subject")?.as_str().to_owned();
    let sequence = headers.get("Nats-Sequence")?.as_str().parse().ok()?;
    let time = headers.get("Nats-Time-Stamp")?.as_str().parse().ok()?;
    const OWN: [&str; 7] = [
        "Nats-Stream",
        "Nats-Subject",
        "Nats-Sequence",
        "Nats-Time-Stamp",
        "Nats-Num-Pending",
        "Nats-Last-Sequence",
        "Nats-UpTo-Sequence",
    ];
    let headers = headers
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_ref()))
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())))
        .collect();
    Some(StoredMessage {
        subject,
        sequence,
        time,
        headers,
        body: message.payload,
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_filter_matches_token_by_token() {
        assert!(matches("$KV.payment.*.42", "$KV.payment.charged.42"));
        assert!(!matches("$KV.payment.*.42", "$KV.payment.charged.43"));
        assert!(!matches("$KV.payment.*.42", "$KV.payment.schedule.due.42"));
        assert!(matches(
            "$KV.payment.dead-letter.>",
            "$KV.payment.dead-letter.KV_order.7.42"
        ));
        assert!(!matches("$KV.payment.dead-letter.>", "$KV.payment.dead-letter"));
    }
}
