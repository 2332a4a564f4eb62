//! The buckets compared with EVENTS: each event of a bucket is in the log as it is in its bucket, and the other way round.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_nats::jetstream::stream;
use jiff::Timestamp;
use quadrille_events::{Contract, EventName, Lifetime};

use crate::nats::expiry::held_until;
use crate::nats::streams::{EVENTS, bucket_stream};
use crate::nats::{Broker, StoredEvent, StoredMessage};

/// How many subjects are asked for at once.
const AT_ONCE: usize = 500;

/// How often something that differs is read again before it is reported: an event is logged a moment after it was stored, and any
/// replica may answer, a damaged one too.
const LOOKS: usize = 60;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Events that will be forgotten within this time, or may have been a moment ago, are not compared.
const HORIZON: Duration = Duration::from_secs(60);

/// The digest of a body, to compare the log with the buckets.
pub fn body_digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// The subject in the log of what is stored under this one: `payment.charged.42` for `$KV.payment.charged.42`; `None` if that is no
/// event.
pub fn logged_as(contract: Contract, stored_as: &str) -> Option<String> {
    let (name, id) = contract.stored(stored_as)?;
    Some(name.heard_as(&id))
}

/// The time before which a stream has forgotten its events; `None` if it forgets none. While a bucket is held it forgets nothing, but
/// what had expired before the hold is gone: nothing older than `oldest`, the oldest event that is there, is expected.
pub(super) fn forgets_before(config: &stream::Config, oldest: Option<Timestamp>) -> Option<Timestamp> {
    if config.max_age == Duration::ZERO {
        return held_until(config).map(|_| oldest.unwrap_or(Timestamp::MAX));
    }
    let max_age = config.max_age.saturating_sub(HORIZON);
    Some(Timestamp::now().checked_sub(max_age).unwrap_or(Timestamp::MIN))
}

/// An event in one stream that has to be in another one, too.
struct Twin {
    /// Where it was read, for people.
    here: String,
    /// The stream that has to have it, and under which subject.
    stream: String,
    subject: String,
    name: &'static EventName,
    digest: u64,
}

impl Twin {
    fn is(&self, found: &StoredMessage) -> bool {
        // What is rewritten may be newer there than here, or older for a moment.
        let is_rewritten = self.name.lifetime == Lifetime::Latest;
        found.subject == self.subject && (is_rewritten || body_digest(&found.body) == self.digest)
    }
}

/// The events of a bucket that the log lacks, or has otherwise, each a sentence.
pub(super) async fn unlogged(
    broker: &Broker,
    contract: Contract,
    entries: &[StoredMessage],
    forgotten: Option<Timestamp>,
) -> anyhow::Result<Vec<String>> {
    let recent = entries
        .iter()
        .filter(|entry| forgotten.is_none_or(|forgotten| entry.time > forgotten));
    let twins = recent.filter_map(|entry| {
        let (name, id) = contract.stored(&entry.subject)?;
        Some(Twin {
            here: entry.subject.clone(),
            stream: EVENTS.to_owned(),
            subject: name.heard_as(&id),
            name,
            digest: body_digest(&entry.body),
        })
    });
    without_twin(broker, contract, twins.collect()).await
}

/// The events of the log that their bucket lacks, or has otherwise, each a sentence. `forgotten` is about each service.
pub(super) async fn strays(
    broker: &Broker,
    contract: Contract,
    logged: &[StoredMessage],
    forgotten: &BTreeMap<&'static str, Option<Timestamp>>,
) -> anyhow::Result<Vec<String>> {
    let twins = logged.iter().filter_map(|message| {
        let (subject, id) = message.subject.rsplit_once('.')?;
        let said_by = |service: &str| contract.said(service, subject);
        // Without a source there is one only if one service alone uses the subject.
        let name = match message.header("ce-source") {
            Some(source) => said_by(source)?,
            None => contract.services().filter_map(said_by).next()?,
        };
        // When EVENTS is sourced anew, its own time is that of the sourcing.
        let decided = StoredEvent::in_log(contract, message).map(|event| event.decided_at(message.time));
        let at = decided.unwrap_or(message.time);
        let is_gone = forgotten
            .get(name.service)
            .copied()
            .flatten()
            .is_some_and(|forgotten| at <= forgotten);
        (!is_gone).then(|| Twin {
            here: format!("{} (sequence {})", message.subject, message.sequence),
            stream: bucket_stream(name.service),
            subject: name.stored_as(&id),
            name,
            digest: body_digest(&message.body),
        })
    });
    without_twin(broker, contract, twins.collect()).await
}

async fn without_twin(
    broker: &Broker,
    contract: Contract,
    mut twins: Vec<Twin>,
) -> anyhow::Result<Vec<String>> {
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let mut by_stream: BTreeMap<String, Vec<Twin>> = BTreeMap::new();
        for twin in twins {
            by_stream.entry(twin.stream.clone()).or_default().push(twin);
        }
        twins = Vec::new();
        for (stream, asked) in by_stream {
            let found = find(broker, contract, &stream, &asked).await?;
            let lacks = |twin: &Twin| {
                let there = found.get(&twin.subject);
                !there.is_some_and(|there| there.iter().any(|found| twin.is(found)))
            };
            twins.extend(asked.into_iter().filter(lacks));
        }
        if twins.is_empty() {
            break;
        }
    }
    let sentence = |twin: Twin| format!("{}: {} does not have it like this", twin.here, twin.stream);
    Ok(twins.into_iter().map(sentence).collect())
}

/// What the stream has under the subjects of these events, by subject.
async fn find(
    broker: &Broker,
    contract: Contract,
    stream: &str,
    asked: &[Twin],
) -> anyhow::Result<BTreeMap<String, Vec<StoredMessage>>> {
    let is_shared = |twin: &&Twin| {
        let name = twin.name;
        stream == EVENTS
            && contract
                .names()
                .filter(|other| other.subject == name.subject)
                .count()
                > 1
    };
    let (shared, own): (Vec<&Twin>, Vec<&Twin>) = asked.iter().partition(is_shared);
    let mut found = Vec::new();
    for some in own.chunks(AT_ONCE) {
        let subjects: Vec<_> = some.iter().map(|twin| twin.subject.clone()).collect();
        found.extend(broker.fresh_get(stream, &subjects, 1).await?);
    }
    // Of a subject that two services use, the newest message is not enough.
    for twin in shared {
        found.extend(broker.get_all(stream, &twin.subject, 1).await?);
    }
    let mut by_subject: BTreeMap<String, Vec<StoredMessage>> = BTreeMap::new();
    for message in found {
        by_subject
            .entry(message.subject.clone())
            .or_default()
            .push(message);
    }
    Ok(by_subject)
}
