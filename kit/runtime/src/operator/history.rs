//! The history of one order (or other aggregate): what every service has said about it.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use quadrille_events::{AggregateId, Contract, EventName};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::engine::dead_letter::{DeadLetter, letters_about, read_letter};
use crate::engine::store::entries_of;
use crate::nats::streams::{EVENTS, bucket_stream};
use crate::nats::{Broker, READ_TIMEOUT, ReadError, StoredEvent, StoredMessage};
use crate::shutdown::stopped;

/// One event of a history.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HistoryEntry {
    /// What: `payment.charged`.
    pub event: String,
    /// Who said it.
    pub service: String,
    /// Its entry: the CloudEvents id.
    pub id: String,
    /// When it was stored, by the server's clock.
    pub at: Timestamp,
    /// Why, if it gives a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it answers: `<service>/<id>` of an event, or `http/<command>`.
    pub cause: String,
}

impl HistoryEntry {
    /// An event that was stored at `at`.
    pub fn new(event: &StoredEvent<'_>, at: Timestamp) -> Self {
        Self {
            event: event.name.subject.to_owned(),
            service: event.name.service.to_owned(),
            id: event.envelope.id.clone(),
            at,
            reason: event.reason(),
            cause: event.envelope.causation_id.clone(),
        }
    }

    /// What events that it caused name as their cause: `payment/charged.42`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.service, self.id)
    }
}

/// Where histories are read: the buckets of these services, each with so many replicas.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(crate) broker: Broker,
    pub(crate) contract: Contract,
    pub(crate) replicas: usize,
}

impl Archive {
    /// What is in all buckets about an order (or other aggregate), in the order in which it was stored; a cause comes before its
    /// effect even where two leaders' clocks disagree. What cannot be read is left out.
    ///
    /// # Errors
    /// [`ReadError`] if the broker does not answer.
    pub async fn history(&self, about: &AggregateId) -> Result<Vec<HistoryEntry>, ReadError> {
        let found = self.in_all_buckets(|service| entries_of(service, about)).await?;
        let mut history: Vec<_> = found
            .iter()
            .filter_map(|message| {
                let event = StoredEvent::in_bucket(self.contract, message).ok()?;
                Some(HistoryEntry::new(&event, message.time))
            })
            .collect();
        history.sort_by_key(|entry| entry.at);
        Ok(causes_first(history))
    }

    /// The history so far, then live: what the EVENTS log republishes, until the service stops.
    ///
    /// # Errors
    /// [`ReadError`] if the broker does not answer.
    pub async fn live(
        &self,
        about: &AggregateId,
        mut stop: watch::Receiver<bool>,
    ) -> Result<impl Stream<Item = HistoryEntry> + Send + use<>, ReadError> {
        // First subscribe, then read: nothing falls between, and what comes twice is dropped.
        let names = self.contract.names().filter(|name| name.about == about.kind());
        let arriving = self.arriving(about, names).await?;
        let so_far = self.history(about).await?;
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let entries = futures::stream::iter(so_far)
            .chain(arriving)
            .filter(move |entry| {
                let new = seen.insert((entry.service.clone(), entry.id.clone()));
                async move { new }
            });
        Ok(entries.take_until(async move {
            let () = stopped(&mut stop).await;
        }))
    }

    /// The events of these names about an aggregate, as the EVENTS log republishes them from now on. When this returns, the server has
    /// the subscriptions.
    ///
    /// # Errors
    /// [`ReadError`] if the broker does not answer.
    pub async fn arriving(
        &self,
        about: &AggregateId,
        names: impl Iterator<Item = &'static EventName>,
    ) -> Result<BoxStream<'static, HistoryEntry>, ReadError> {
        let client = self.broker.subscriber().await;
        let client = client.map_err(|error| ReadError::Unavailable(format!("{error:#}")))?;
        // Two services may use one subject.
        let subjects: HashSet<String> = names.map(|name| name.heard_as(about)).collect();
        let subscribing = subscribe(&client, subjects).await;
        let subscriptions = subscribing.map_err(|error| ReadError::Unavailable(error.to_string()))?;
        let contract = self.contract;
        Ok(futures::stream::select_all(subscriptions)
            .filter_map(move |message| async move { republished(contract, &message) })
            .boxed())
    }

    /// The dead letters about an order (or other aggregate) in every bucket.
    ///
    /// # Errors
    /// [`ReadError`] if the broker does not answer.
    pub async fn dead_letters(&self, about: &AggregateId) -> Result<Vec<DeadLetter>, ReadError> {
        let found = self
            .in_all_buckets(|service| letters_about(service, about))
            .await?;
        let letters: BTreeMap<_, _> = found
            .into_iter()
            .filter(|message| !message.is_deleted())
            .filter_map(read_letter)
            .map(|parked| ((parked.letter.parked_at, parked.letter.id.clone()), parked.letter))
            .collect();
        Ok(letters.into_values().collect())
    }

    async fn in_all_buckets(&self, filter: impl Fn(&str) -> String) -> Result<Vec<StoredMessage>, ReadError> {
        let reading = self.contract.services().map(|service| {
            let filter = [filter(service)];
            async move {
                let stream = bucket_stream(service);
                self.broker.fresh_get(&stream, &filter, self.replicas).await
            }
        });
        let found = futures::future::try_join_all(reading).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Subscribes, and waits until the server has it: it handles what a connection sends in order, so a message that the client sends to
/// itself comes back after that.
async fn subscribe(
    client: &async_nats::Client,
    subjects: HashSet<String>,
) -> Result<Vec<async_nats::Subscriber>, async_nats::Error> {
    let mut subscriptions = Vec::new();
    for subject in subjects {
        subscriptions.push(client.subscribe(subject).await?);
    }
    let echo = client.new_inbox();
    let mut echoed = client.subscribe(echo.clone()).await?;
    client.publish(echo, Bytes::new()).await?;
    match tokio::time::timeout(READ_TIMEOUT, echoed.next()).await {
        Ok(Some(_)) => Ok(subscriptions),
        Ok(None) | Err(_) => Err("the server does not answer to a subscription".into()),
    }
}

/// An event as the EVENTS log republishes it; `None` for anything else under such a subject.
fn republished(contract: Contract, message: &async_nats::Message) -> Option<HistoryEntry> {
    let headers = message.headers.as_ref()?;
    let header = |key: &str| headers.get(key).map(|value| value.as_str());
    if header("Nats-Stream")? != EVENTS {
        return None;
    }
    let event = StoredEvent::republished(contract, &message.subject, header, &message.payload).ok()?;
    let at = header("Nats-Time-Stamp")
        .and_then(|at| at.parse().ok())
        .unwrap_or_else(Timestamp::now);
    Some(HistoryEntry::new(&event, at))
}

/// Moves an effect behind its cause where it stands before it.
fn causes_first(history: Vec<HistoryEntry>) -> Vec<HistoryEntry> {
    let known: HashSet<String> = history.iter().map(HistoryEntry::reference).collect();
    let mut waiting = history;
    let mut placed = HashSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        // The first whose cause is placed or unknown; in a circle, the first.
        let next = waiting
            .iter()
            .position(|entry| !known.contains(&entry.cause) || placed.contains(&entry.cause))
            .unwrap_or(0);
        let entry = waiting.remove(next);
        placed.insert(entry.reference());
        ordered.push(entry);
    }
    ordered
}
