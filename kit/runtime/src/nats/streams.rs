//! The streams: one KV bucket per service, and the EVENTS log of all buckets. Each service creates what is missing at its start; an
//! existing stream is only ever extended.

use futures::future::BoxFuture;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::{
    consumer::{AckPolicy, PullConsumer, pull},
    stream::{
        Config, DiscardPolicy, Info, PersistenceMode, Republish, Source, StorageType, SubjectTransform,
    },
};
use quadrille_events::{Contract, EventName};

use crate::nats::connection::Broker;

/// The log of all events, sourced from the buckets.
pub const EVENTS: &str = "EVENTS";

/// The most unacknowledged inputs of one consumer. Bounds the memory of a service.
pub const MAX_ACK_PENDING: i64 = 4_096;

/// The value of the header `Nats-TTL` that exempts a message from `max_age` (ADR-43).
pub(crate) const NEVER: &str = "never";

/// In the metadata of a bucket: its records have `Nats-TTL: never`, so it may expire by age.
pub(super) const RECORDS: &str = "quadrille.records";

/// The server's own default.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The stream under the bucket of a service.
pub fn bucket_stream(service: &str) -> String {
    format!("KV_{service}")
}

/// The key of a dead letter in the bucket of `service`, or a filter of such keys: `letter_subject("payment", ">")`.
pub(crate) fn letter_subject(service: &str, id: &str) -> String {
    format!("$KV.{service}.dead-letter.{id}")
}

/// Replicas and retention of the streams.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Replicas of every stream, 1, 3 or 5.
    pub replicas: usize,
    /// How long an entry lives; `None` is for ever.
    pub retention: Option<Duration>,
    /// How long the EVENTS log keeps an event.
    pub events_max_age: Duration,
}

/// Creates or extends the buckets and the log. Returns the replicas that the bucket of `service` has.
pub fn ensure<'a>(
    broker: &'a Broker,
    contract: Contract,
    service: &'static str,
    keeping: Keeping,
) -> BoxFuture<'a, anyhow::Result<usize>> {
    Box::pin(async move {
        anyhow::ensure!(
            contract.services().any(|known| known == service),
            "nobody would hear {service}: it is missing in `events!` (events/src/lib.rs)"
        );
        let mut replicas = keeping.replicas;
        for bucket in contract.services() {
            let info = ensure_stream(broker, bucket_config(bucket, keeping)).await?;
            if bucket == service {
                replicas = info.config.num_replicas;
            }
        }
        ensure_stream(broker, log_config(contract, keeping)).await?;
        Ok(replicas)
    })
}

/// Creates or updates the durable consumer through which `listener` hears `names`, all of one bucket.
pub fn ensure_consumer<'a>(
    broker: &'a Broker,
    listener: &'a str,
    speaker: &'a str,
    names: &'a [&'a EventName],
    ack_wait: Duration,
) -> BoxFuture<'a, anyhow::Result<PullConsumer>> {
    Box::pin(async move {
        let config = pull::Config {
            durable_name: Some(listener.to_owned()),
            description: Some(format!("what {listener} hears of {speaker}")),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            // The listener parks what cannot be handled; the broker never gives up.
            max_deliver: -1,
            max_ack_pending: MAX_ACK_PENDING,
            filter_subjects: names.iter().map(|name| name.filter()).collect(),
            ..Default::default()
        };
        broker
            .jetstream()
            .create_consumer_on_stream(config, bucket_stream(speaker))
            .await
            .with_context(|| {
                format!(
                    "cannot make sure of the consumer {listener} on {}",
                    bucket_stream(speaker)
                )
            })
    })
}

/// A KV bucket as the `nats` CLI and every KV client know it (ADR-8), with what commits need besides.
fn bucket_config(service: &str, keeping: Keeping) -> Config {
    Config {
        name: bucket_stream(service),
        description: Some(format!("what the {service} service has said, and its ledger")),
        subjects: vec![format!("$KV.{service}.>")],
        max_messages_per_subject: 1,
        // Messages that expire by their own TTL cost the server an fsync each, those that expire by age none.
        max_age: keeping.retention.unwrap_or_default(),
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: keeping.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: duplicate_window(keeping.retention.unwrap_or_default()),
        metadata: [(RECORDS.to_owned(), NEVER.to_owned())].into(),
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        allow_message_schedules: true,
        ..Default::default()
    }
}

/// EVENTS has one source per event rather than one per bucket. The server identifies a source by all its transforms: one more transform,
/// after an upgrade, would be another source, and the server would fetch the whole bucket again. And each message carries the name of
/// its source, which would be a third of its size if it named every event of the bucket.
pub(super) fn log_config(contract: Contract, keeping: Keeping) -> Config {
    let sources = contract
        .names()
        .map(|name| Source {
            name: bucket_stream(name.service),
            subject_transforms: vec![SubjectTransform {
                source: name.filter(),
                destination: format!("{}.{{{{wildcard(1)}}}}", name.subject),
            }],
            ..Default::default()
        })
        .collect();
    Config {
        name: EVENTS.to_owned(),
        description: Some("every event of every service, in one log".to_owned()),
        sources: Some(sources),
        max_age: keeping.events_max_age,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: keeping.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: duplicate_window(keeping.events_max_age),
        allow_direct: true,
        allow_message_ttl: true,
        // It can always be sourced again, so it need not be on disk before the next message comes.
        persist_mode: (keeping.replicas == 1).then_some(PersistenceMode::Async),
        republish: Some(Republish {
            source: ">".to_owned(),
            destination: ">".to_owned(),
            headers_only: false,
        }),
        ..Default::default()
    }
}

/// The window for a `max_age`: no longer, or the server refuses it. Nothing is published with a message id anyway.
pub(super) fn duplicate_window(max_age: Duration) -> Duration {
    match max_age {
        Duration::ZERO => DUPLICATE_WINDOW,
        max_age => DUPLICATE_WINDOW.min(max_age),
    }
}

/// Creates the stream, or adds to it what is missing. Others may do the same at this moment.
pub(super) async fn ensure_stream(broker: &Broker, wanted: Config) -> anyhow::Result<Info> {
    const TRIES: usize = 10;
    let name = wanted.name.clone();
    let mut last = None;
    for attempt in 0..TRIES {
        match ensure_stream_once(broker, &wanted).await {
            Ok(info) => return Ok(info),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(
            rand::random_range(10..100) << attempt.min(4),
        ))
        .await;
    }
    let error = last.unwrap_or_else(|| anyhow::anyhow!("never tried"));
    Err(error).with_context(|| format!("cannot make sure of the stream {name}"))
}

async fn ensure_stream_once(broker: &Broker, wanted: &Config) -> anyhow::Result<Info> {
    let stream = broker.jetstream().get_or_create_stream(wanted.clone()).await?;
    let info = stream.get_info().await?;
    let merged = merge(&info.config, wanted);
    if merged == info.config {
        return Ok(info);
    }
    Ok(broker.jetstream().update_stream(&merged).await?)
}

/// `existing` with everything that `wanted` needs and it lacks. What an operator chose (replicas, storage, other
/// sources, limits of size) stays.
fn merge(existing: &Config, wanted: &Config) -> Config {
    let mut merged = existing.clone();
    merged.allow_rollup |= wanted.allow_rollup;
    merged.allow_direct |= wanted.allow_direct;
    merged.allow_message_ttl |= wanted.allow_message_ttl;
    merged.allow_atomic_publish |= wanted.allow_atomic_publish;
    merged.allow_message_schedules |= wanted.allow_message_schedules;
    if wanted.name == EVENTS {
        merged.max_age = wanted.max_age;
        merged.duplicate_window = wanted.duplicate_window;
    }
    let sources = merged.sources.get_or_insert_default();
    for source in wanted.sources.iter().flatten() {
        if !sources.iter().any(|known| covers(known, source)) {
            sources.push(source.clone());
        }
    }
    merged
}

/// Whether `known` brings already what `wanted` is there for.
fn covers(known: &Source, wanted: &Source) -> bool {
    known.name == wanted.name
        && wanted
            .subject_transforms
            .iter()
            .all(|transform| known.subject_transforms.contains(transform))
}

#[cfg(test)]
mod tests {
    use quadrille_events::Event;

    use super::*;

    const KEEPING: Keeping = Keeping {
        replicas: 1,
        retention: None,
        events_max_age: Duration::from_secs(3_600),
    };

    #[test]
    fn every_event_reaches_the_log_and_no_ledger_does() {
        let log = log_config(Event::CONTRACT, KEEPING);
        let transforms: Vec<_> = log
            .sources
            .iter()
            .flatten()
            .flat_map(|s| &s.subject_transforms)
            .collect();
        assert_eq!(transforms.len(), Event::names().count());
        assert!(
            transforms
                .iter()
                .any(|t| t.source == "$KV.inventory.reservation-failed.*"
                    && t.destination == "inventory.reservation.failed.{{wildcard(1)}}")
        );
        let events: Vec<_> = Event::names().map(|name| name.filter()).collect();
        assert!(transforms.iter().all(|t| events.contains(&t.source)));
    }

    #[test]
    fn an_existing_stream_is_only_added_to() {
        let mut existing = log_config(Event::CONTRACT, KEEPING);
        existing.num_replicas = 3;
        let events = Event::names().count();
        let sources = existing.sources.as_mut().unwrap();
        let gone = sources.remove(0);
        // Somebody else's event of a bucket of ours, and one source that brings two events.
        sources.push(Source {
            name: gone.name.clone(),
            subject_transforms: vec![SubjectTransform {
                source: "$KV.order.gift-wrapped.*".into(),
                destination: "order.gift-wrapped.{{wildcard(1)}}".into(),
            }],
            ..Default::default()
        });
        let second = sources.remove(1);
        sources[0].subject_transforms.extend(second.subject_transforms);
        let merged = merge(&existing, &log_config(Event::CONTRACT, KEEPING));
        assert_eq!(merged.num_replicas, 3);
        let kept = existing.sources.unwrap();
        let sources = merged.sources.unwrap();
        assert!(
            sources.starts_with(&kept),
            "what is there stays as it is: {sources:?}"
        );
        assert_eq!(sources[kept.len()..], [gone]);
        assert_eq!(sources.len(), events);
    }
}
