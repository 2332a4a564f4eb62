//! Expiry of a bucket: by age (`max_age`), put off by holds, with records that never expire.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use async_nats::{HeaderMap, HeaderValue, header};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use quadrille_events::Contract;
use tracing::info;

use crate::nats::api::ReadError;
use crate::nats::commit::CommitError;
use crate::nats::connection::Broker;
use crate::nats::message::{StoredMessage, Write};
use crate::nats::read::MAX_MULTI_GET;
use crate::nats::streams::{NEVER, RECORDS, bucket_stream, duplicate_window};

/// In the metadata of a bucket: until when nothing expires, and why.
const HELD_UNTIL: &str = "quadrille.held-until";
const HELD_BECAUSE: &str = "quadrille.held-because";

/// A lease under which nothing expires in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub until: Timestamp,
    /// Why, for people who look at the stream.
    pub reason: String,
}

/// Puts a hold on a bucket, or renews it if it ends before `renew_before`. Returns whether there was none.
///
/// # Errors
/// [`ReadError`] if the broker does not answer.
pub(crate) fn hold<'a>(
    broker: &'a Broker,
    stream: &'a str,
    new: Hold,
    renew_before: Timestamp,
) -> BoxFuture<'a, Result<bool, ReadError>> {
    Box::pin(async move {
        let mut config = config_of(broker, stream).await?;
        let expires = config.max_age != Duration::ZERO;
        if !expires && held_until(&config).is_some_and(|until| until >= renew_before) {
            return Ok(false);
        }
        config.max_age = Duration::ZERO;
        config
            .metadata
            .insert(HELD_UNTIL.to_owned(), new.until.to_string());
        config.metadata.insert(HELD_BECAUSE.to_owned(), new.reason);
        update(broker, &config).await?;
        Ok(expires)
    })
}

/// Lets the messages of a bucket expire after `retention`, unless a hold lasts beyond `now`; returns whether one does. A bucket of a
/// release whose records would expire too does not begin to until they are `permanent`.
///
/// # Errors
/// [`ReadError`] if the broker does not answer.
pub(crate) fn expire<'a>(
    broker: &'a Broker,
    stream: &'a str,
    retention: Duration,
    now: Timestamp,
    permanent: bool,
) -> BoxFuture<'a, Result<bool, ReadError>> {
    Box::pin(async move {
        let mut config = config_of(broker, stream).await?;
        let held = held_until(&config);
        if held.is_some_and(|until| until > now) {
            return Ok(true);
        }
        if held.is_none() && config.max_age == retention {
            return Ok(false);
        }
        if !permanent && !config.metadata.contains_key(RECORDS) {
            return Ok(false);
        }
        config.metadata.insert(RECORDS.to_owned(), NEVER.to_owned());
        config.metadata.remove(HELD_UNTIL);
        config.metadata.remove(HELD_BECAUSE);
        config.max_age = retention;
        config.duplicate_window = duplicate_window(retention);
        update(broker, &config).await?;
        info!(stream, ?retention, "entries expire");
        Ok(false)
    })
}

/// Whether messages may have expired of a stream that is so old: also of a bucket in which nothing expires at present.
pub(crate) fn may_have_expired(config: &Config, age: SignedDuration) -> bool {
    let age = Duration::try_from(age).unwrap_or_default();
    held_until(config).is_some() || (config.max_age != Duration::ZERO && age >= config.max_age)
}

async fn config_of(broker: &Broker, stream: &str) -> Result<Config, ReadError> {
    let failed = |error: String| ReadError::Unavailable(format!("asking for {stream}: {error}"));
    let handle = broker.jetstream().get_stream(stream).await;
    let handle = handle.map_err(|error| failed(error.to_string()))?;
    Ok(handle.cached_info().config.clone())
}

async fn update(broker: &Broker, config: &Config) -> Result<(), ReadError> {
    let updated = broker.jetstream().update_stream(config).await;
    let failed = |error| ReadError::Unavailable(format!("changing {}: {error}", config.name));
    updated.map(drop).map_err(failed)
}

pub(crate) fn held_until(config: &Config) -> Option<Timestamp> {
    config.metadata.get(HELD_UNTIL)?.parse().ok()
}

/// Writes every record of the bucket of `service` again that would expire with the entries: those of a release before 0.2, and those
/// that somebody wrote by hand.
///
/// # Errors
/// [`ReadError`] if the broker does not answer, or does not store one.
pub(crate) fn make_records_permanent<'a>(
    broker: &'a Broker,
    contract: Contract,
    service: &'a str,
) -> BoxFuture<'a, Result<(), ReadError>> {
    Box::pin(async move {
        let stream = bucket_stream(service);
        // The keys of records have three tokens or more, as have schedules, dead letters, and events that are not about orders.
        let filter = format!("$KV.{service}.*.*.>");
        let (mut next, mut rewritten) = (1, 0_u64);
        loop {
            let page = broker.page(&stream, &filter, next, MAX_MULTI_GET).await?;
            next = page.messages.last().map_or(next, |last| last.sequence + 1);
            let expiring = page.messages.into_iter();
            for record in expiring.filter(|message| expires_by_mistake(contract, service, message)) {
                match broker.publish(permanent(record)).await {
                    Ok(_) => rewritten += 1,
                    // The service wrote it anew meanwhile, as a permanent one.
                    Err(CommitError::Conflict) => {}
                    Err(error) => return Err(ReadError::Unavailable(error.to_string())),
                }
            }
            if !page.has_more {
                break;
            }
        }
        if rewritten > 0 {
            info!(
                stream,
                rewritten, "records that would have expired are permanent now"
            );
        }
        Ok(())
    })
}

fn expires_by_mistake(contract: Contract, service: &str, message: &StoredMessage) -> bool {
    let key = message
        .subject
        .strip_prefix(&format!("$KV.{service}."))
        .unwrap_or_default();
    let passes = ["schedule.", "dead-letter."]
        .iter()
        .any(|prefix| key.starts_with(prefix));
    let is_event = contract.stored(&message.subject).is_some();
    let ttl = message.header(header::NATS_MESSAGE_TTL.as_ref());
    !passes && !is_event && !message.is_deleted() && ttl != Some(NEVER)
}

/// The same message without an end, if it is still the last of its subject.
fn permanent(message: StoredMessage) -> Write {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
        HeaderValue::from(message.sequence),
    );
    headers.insert(header::NATS_MESSAGE_TTL, NEVER);
    Write {
        subject: message.subject,
        headers,
        body: message.body,
    }
}
