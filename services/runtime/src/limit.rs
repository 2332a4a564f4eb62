//! The limit: what the broker itself can do with the messages of the choreography.
//!
//! The same streams, consumers, pulls, batches, acknowledgements and message contents as the services', but nothing is
//! decoded, decided, logged or answered: each step turns what it hears into the bytes that the services stored for such
//! an order. The ratio of the services' rate to this one, taken in the same run, says what their logic and HTTP cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, AckKind};
use futures::StreamExt;
use quadrille_events::{Event, EventName, OrderId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::broker::{Broker, Entry, Write};
use crate::engine::{MAX_GROUP, MAX_SINGLES};
use crate::item::acknowledge;
use crate::listen::PULL;
use crate::topology::{Keeping, ensure as ensure_streams, ensure_consumer};

/// One step: what it hears, and the messages that an order's commit had.
struct Step {
    hears: Option<&'static EventName>,
    service: &'static str,
    entry: Entry,
    /// The record of the ledger that a group rewrites once.
    record: Option<Entry>,
}

/// The rate of a run of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many orders went through all steps.
    pub orders: usize,
    /// In what time.
    pub took: Duration,
}

/// Runs `orders` orders through the loop on the server at `url`, at most `in_flight` at once. `sample` are the entries
/// and the ledger records that the services stored for one completed order.
///
/// # Errors
/// The sample is not that of a completed order, or the broker does not answer.
pub async fn limit(url: &str, sample: &[Entry], orders: usize, in_flight: usize) -> anyhow::Result<Rate> {
    const STEPS: [(&str, &str, Option<&str>); 6] = [
        ("order", "created", None),
        ("payment", "charged", None),
        ("inventory", "reserved", Some("stock.item")),
        ("order", "create-delivery", None),
        ("delivery", "assigned", Some("courier.load")),
        ("order", "completed", None),
    ];
    let keeping = Keeping {
        replicas: 1,
        retention: None,
        events_max_age: Duration::from_secs(3_600),
    };
    let mut brokers = BTreeMap::new();
    for service in Event::SERVICES {
        let broker = Broker::connect(url, "quadrille-limit").await?;
        ensure_streams(&broker, service, keeping).await?;
        brokers.insert(service, broker);
    }
    let mut heard = None;
    let mut steps = Vec::new();
    for (service, token, record) in STEPS {
        let find = |prefix: &str| sample.iter().find(|e| e.subject.starts_with(prefix)).cloned();
        let entry = find(&format!("$KV.{service}.{token}."))
            .with_context(|| format!("the sample has no {service}/{token}: it is no completed order"))?;
        let record = match record {
            Some(key) => Some(find(&format!("$KV.{service}.{key}.")).with_context(|| format!("no {key}"))?),
            None => None,
        };
        steps.push(Step {
            hears: heard,
            service,
            entry,
            record,
        });
        heard = Event::names().find(|name| name.service == service && name.entry == token);
    }
    let template_id = steps[0]
        .entry
        .subject
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_owned();
    ensure!(template_id.len() == 36, "the sample's order id is no UUID");

    let window = Arc::new(Semaphore::new(in_flight));
    let (finished, mut ends) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    let began = Instant::now();
    for step in steps {
        let broker = brokers[step.service].clone();
        let template = template_id.clone();
        match step.hears {
            None => {
                let window = window.clone();
                running.spawn(async move { create(&broker, &step, &template, orders, &window).await });
            }
            Some(name) => {
                let last = (step.entry.subject.contains(".completed.")).then(|| finished.clone());
                running.spawn(async move { relay(&broker, &step, name, &template, last.as_ref()).await });
            }
        }
    }
    let mut done = 0;
    while done < orders {
        tokio::select! {
            Some(count) = ends.recv() => {
                done += count;
                window.add_permits(count);
            }
            Some(ended) = running.join_next() => ended??,
        }
    }
    Ok(Rate {
        orders,
        took: began.elapsed(),
    })
}

/// Puts orders in, as fast as the window lets it.
async fn create(
    broker: &Broker,
    step: &Step,
    template: &str,
    orders: usize,
    window: &Semaphore,
) -> anyhow::Result<()> {
    let mut left = orders;
    while left > 0 {
        let most = left.min(MAX_GROUP);
        window.acquire().await?.forget();
        let mut count = 1;
        while count < most
            && let Ok(permit) = window.try_acquire()
        {
            permit.forget();
            count += 1;
        }
        let ids: Vec<String> = (0..count).map(|_| uuid::Uuid::now_v7().to_string()).collect();
        store(broker, step, template, &ids, &mut 0).await?;
        left -= count;
    }
    Ok(())
}

/// One step of the loop.
async fn relay(
    broker: &Broker,
    step: &Step,
    hears: &'static EventName,
    template: &str,
    last: Option<&mpsc::UnboundedSender<usize>>,
) -> anyhow::Result<()> {
    let listener = format!("limit-{}", hears.entry);
    let consumer = ensure_consumer(
        broker,
        &listener,
        hears.service,
        &[hears],
        Duration::from_secs(30),
    )
    .await?;
    let pulled = consumer.stream().max_messages_per_batch(PULL).messages().await?;
    let mut pulled = pulled.ready_chunks(MAX_GROUP);
    let mut revision = None;
    while let Some(group) = pulled.next().await {
        let group: Vec<jetstream::Message> = group.into_iter().collect::<Result<_, _>>()?;
        let ids: Vec<String> = group
            .iter()
            .filter_map(|m| m.subject.rsplit('.').next())
            .map(str::to_owned)
            .collect();
        let revision = match &mut revision {
            Some(revision) => revision,
            empty => {
                let sequence = match &step.record {
                    Some(record) => {
                        broker
                            .leader_sequence(&format!("KV_{}", step.service), &record.subject)
                            .await?
                    }
                    None => 0,
                };
                empty.insert(sequence)
            }
        };
        store(broker, step, template, &ids, revision).await?;
        for message in &group {
            acknowledge(message, AckKind::Ack).await;
        }
        if let Some(last) = last {
            last.send(group.len())?;
        }
    }
    Ok(())
}

async fn store(
    broker: &Broker,
    step: &Step,
    template: &str,
    ids: &[String],
    revision: &mut u64,
) -> anyhow::Result<()> {
    let body = String::from_utf8_lossy(&step.entry.body);
    let mut writes: Vec<Write> = ids
        .iter()
        .map(|id| Write {
            subject: step.entry.subject.replace(template, id),
            headers: checked(&step.entry, template, id, None),
            body: body.replace(template, id).into(),
        })
        .collect();
    if step.record.is_none() && writes.len() > 1 && writes.len() <= MAX_SINGLES {
        futures::future::try_join_all(writes.into_iter().map(|write| broker.publish(write))).await?;
        return Ok(());
    }
    if let Some(record) = &step.record {
        writes.push(Write {
            subject: record.subject.clone(),
            headers: checked(record, template, "", Some(*revision)),
            body: record.body.clone(),
        });
    }
    *revision = broker.publish_all(writes).await?;
    Ok(())
}

/// The sample's headers for another order, without what a batch adds.
fn checked(entry: &Entry, template: &str, id: &str, revision: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in entry.headers.iter() {
        let name = name.to_string();
        if let Some(value) = values.first().filter(|_| !name.starts_with("Nats-Batch-")) {
            headers.insert(name.as_str(), value.as_str().replace(template, id).as_str());
        }
    }
    if let Some(revision) = revision {
        headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string());
    } else if let Ok(order_id) = OrderId::new(id)
        && let Some(service) = entry.subject.split('.').nth(1)
    {
        // The same check at the same price: the first entry of its name. (The services name all of an order's entries,
        // and the sequence of the last, which this loop does not keep.)
        let filter = format!(
            "$KV.{service}.{}.{order_id}",
            entry.subject.split('.').nth(2).unwrap_or("*")
        );
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", filter.as_str());
    }
    headers
}
