//! One order's story: what every service has said about it.

use std::collections::BTreeMap;
use std::collections::HashSet;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use quadrille_events::{Event, EventName, OrderId};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::engine::dead_letter::{self, DeadLetter};
use crate::engine::item::stopped;
use crate::engine::store::split_entry;
use crate::nats::broker::{Broker, Entry, ReadError};
use crate::nats::streams::{EVENTS, bucket_stream};

/// One event of an order's story.
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
    /// Why, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it answers: `<service>/<id>` of an event, or `http/<command>`.
    pub cause: String,
}

impl HistoryEntry {
    fn read(entry: &Entry) -> Option<Self> {
        let service = entry.subject.split('.').nth(1)?;
        let (token, order_id) = split_entry(&entry.subject)?;
        let name = Event::names().find(|name| name.service == service && name.entry == token)?;
        let headers = |key: &str| entry.headers.get(key).map(|value| value.as_str().to_owned());
        Some(Self::new(
            name,
            order_id,
            entry.time,
            headers("ce-causationid"),
            &entry.body,
        ))
    }

    fn new(name: &EventName, order_id: &str, at: Timestamp, cause: Option<String>, body: &[u8]) -> Self {
        let reason = Event::decode(name.service, name.entry, body)
            .ok()
            .and_then(|event| event.reason().map(str::to_owned));
        Self {
            event: name.subject.to_owned(),
            service: name.service.to_owned(),
            id: format!("{}.{order_id}", name.entry),
            at,
            reason,
            cause: cause.unwrap_or_default(),
        }
    }
}

/// What is in all buckets about an order, in the order in which it was stored; a cause comes before its effect even
/// where two leaders' clocks disagree.
pub async fn of_order(
    broker: &Broker,
    order_id: &OrderId,
    replicas: usize,
) -> Result<Vec<HistoryEntry>, ReadError> {
    let buckets = Event::SERVICES.map(|service| async move {
        let filter = [format!("$KV.{service}.*.{order_id}")];
        broker.fresh_get(&bucket_stream(service), &filter, replicas).await
    });
    let found = futures::future::try_join_all(buckets).await?;
    let mut story: Vec<_> = found
        .iter()
        .flatten()
        .filter(|entry| !entry.is_deleted())
        .filter_map(HistoryEntry::read)
        .collect();
    story.sort_by_key(|entry| entry.at);
    Ok(causes_first(story))
}

/// Moves an effect behind its cause where it stands before it.
fn causes_first(story: Vec<HistoryEntry>) -> Vec<HistoryEntry> {
    let names: HashSet<String> = story.iter().map(|e| format!("{}/{}", e.service, e.id)).collect();
    let mut waiting = story;
    let mut told = HashSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        // The first whose cause is told or unknown; were there a circle, simply the first.
        let next = waiting
            .iter()
            .position(|e| !names.contains(&e.cause) || told.contains(&e.cause))
            .unwrap_or(0);
        let entry = waiting.remove(next);
        told.insert(format!("{}/{}", entry.service, entry.id));
        ordered.push(entry);
    }
    ordered
}

/// The story so far, then live: what the EVENTS log republishes.
pub async fn live(
    broker: Broker,
    order_id: OrderId,
    replicas: usize,
    mut stop: watch::Receiver<bool>,
) -> Result<impl Stream<Item = HistoryEntry> + Send + 'static, ReadError> {
    // First listen, then read: nothing falls between, and what comes twice is dropped.
    let mut subscriptions = Vec::new();
    for wildcards in ["*", "*.*", "*.*.*"] {
        let subject = format!("{wildcards}.{order_id}");
        let subscription = broker.client().subscribe(subject).await;
        subscriptions.push(subscription.map_err(|error| ReadError(error.to_string()))?);
    }
    let so_far = of_order(&broker, &order_id, replicas).await?;
    let mut seen: HashSet<(String, String)> = HashSet::new();
    let arriving = futures::stream::select_all(subscriptions).filter_map(|message| async move {
        let headers = message.headers.as_ref()?;
        let get = |key: &str| headers.get(key).map(|value| value.as_str().to_owned());
        if get("Nats-Stream")? != EVENTS {
            return None;
        }
        let (service, kind) = (get("ce-source")?, get("ce-type")?);
        let name = Event::names().find(|name| name.service == service && name.subject == kind)?;
        let order_id = message.subject.rsplit('.').next()?;
        let at = get("Nats-Time-Stamp")
            .and_then(|at| at.parse().ok())
            .unwrap_or_else(Timestamp::now);
        Some(HistoryEntry::new(
            name,
            order_id,
            at,
            get("ce-causationid"),
            &message.payload,
        ))
    });
    let told = futures::stream::iter(so_far)
        .chain(arriving)
        .filter(move |entry| {
            let new = seen.insert((entry.service.clone(), entry.id.clone()));
            async move { new }
        });
    Ok(told.take_until(async move {
        let () = stopped(&mut stop).await;
    }))
}

/// The dead letters about an order in every bucket.
pub async fn dead_letters_of(
    broker: &Broker,
    order_id: &OrderId,
    replicas: usize,
) -> Result<Vec<DeadLetter>, ReadError> {
    let buckets = Event::SERVICES.map(|service| async move {
        let filter = [format!("$KV.{service}.dead-letter.*.*.{order_id}")];
        broker.fresh_get(&bucket_stream(service), &filter, replicas).await
    });
    let found = futures::future::try_join_all(buckets).await?;
    let letters: BTreeMap<_, _> = found
        .into_iter()
        .flatten()
        .filter(|entry| !entry.is_deleted())
        .filter_map(dead_letter::read)
        .map(|parked| ((parked.letter.parked_at, parked.letter.id.clone()), parked.letter))
        .collect();
    Ok(letters.into_values().collect())
}
