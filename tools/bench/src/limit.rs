//! The limit: what the broker itself can do with the messages of the choreography.
//!
//! The same streams, consumers, pulls, batches, acknowledgements and message contents as the services', and groups that
//! form in the same way, but nothing is decoded, decided, logged or answered: each step turns what it hears into the
//! bytes that the services stored for such an order. The ratio of the services' rate to this one, taken in the same run, says what their logic and HTTP cost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::PullConsumer};
use futures::StreamExt;
use quadrille_events::{
    Assigned, Body, Charged, Completed, CreateDelivery, Created, Event, EventName, OrderId, Reserved,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use quadrille_runtime::engine::{MAX_GROUP, MAX_SINGLES, PULL, QUEUE};
use quadrille_runtime::nats::streams::{Keeping, ensure as ensure_streams, ensure_consumer};
use quadrille_runtime::nats::{Broker, StoredMessage, Write};

/// One step: what it hears, and the messages that an order's commit had.
struct LoopStep {
    hears: Option<&'static EventName>,
    says: &'static EventName,
    /// The sample's entry of what the step says.
    entry: StoredMessage,
    ledger: Option<LoopLedger>,
}

/// Records of which an answer changes one; a group rewrites each at most once.
struct LoopLedger {
    sample: StoredMessage,
    /// By the number of the record; 0 while there is none.
    revisions: Vec<u64>,
}

/// Over how many records the orders spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Items that are ordered.
    pub items: usize,
    /// Couriers that bring them.
    pub couriers: usize,
}

/// An order at one of its steps.
struct LoopInput {
    /// Which of the steps of its service.
    step: usize,
    order_id: String,
    /// What is to be acknowledged, unless the order only begins here.
    heard: Option<jetstream::Message>,
}

/// The rate of a run of the loop.
#[derive(Clone, Copy, Debug)]
pub struct LimitRate {
    /// How many orders went through all steps.
    pub orders: usize,
    /// In what time.
    pub took: Duration,
}

/// Runs `orders` orders through the loop on the server at `url`, which must be new, at most `in_flight` at once, after
/// `warm_up` orders that do not count. `sample` are the entries and the ledger records that the services stored for one completed order.
pub async fn limit(
    url: &str,
    sample: &[StoredMessage],
    spread: Spread,
    warm_up: usize,
    orders: usize,
    in_flight: usize,
) -> anyhow::Result<LimitRate> {
    let services = steps(sample, spread)?;
    let mut workers = LoopWorkers::start(url, services).await?;
    workers.run(warm_up, in_flight.min(64)).await?;
    let took = workers.run(orders, in_flight).await?;
    Ok(LimitRate { orders, took })
}

/// The steps of an order that completes, by service, with the messages of the sample.
fn steps(sample: &[StoredMessage], spread: Spread) -> anyhow::Result<BTreeMap<&'static str, Vec<LoopStep>>> {
    let find = |prefix: String| {
        let entry = sample.iter().find(|entry| entry.subject.starts_with(&prefix));
        entry.with_context(|| format!("the sample has no {prefix}: it is no completed order"))
    };
    let mut heard = None;
    let mut services: BTreeMap<&str, Vec<LoopStep>> = BTreeMap::new();
    for (says, ledger) in [
        (Created::NAME, None),
        (Charged::NAME, None),
        (Reserved::NAME, Some(("stock.item", spread.items))),
        (CreateDelivery::NAME, None),
        (Assigned::NAME, Some(("courier.load", spread.couriers))),
        (Completed::NAME, None),
    ] {
        let ledger = match ledger {
            Some((key, records)) => Some(LoopLedger {
                sample: find(format!("$KV.{}.{key}.", says.service))?.clone(),
                revisions: vec![0; records.max(1)],
            }),
            None => None,
        };
        services.entry(says.service).or_default().push(LoopStep {
            hears: heard,
            says,
            entry: find(format!("$KV.{}.{}.", says.service, says.entry))?.clone(),
            ledger,
        });
        heard = Some(says);
    }
    Ok(services)
}

/// The tasks of the loop, and what drives them.
struct LoopWorkers {
    tasks: JoinSet<anyhow::Result<()>>,
    /// Where an order begins: the number of the step, and the inputs of its service.
    first: (usize, mpsc::Sender<LoopInput>),
    /// Numbers of orders that have completed.
    completed: mpsc::UnboundedReceiver<usize>,
}

impl LoopWorkers {
    /// Makes the streams and consumers, and starts a task for each of them and for each service.
    async fn start(url: &str, services: BTreeMap<&'static str, Vec<LoopStep>>) -> anyhow::Result<Self> {
        let keeping = Keeping {
            replicas: 1,
            retention: None,
            events_max_age: Duration::from_secs(3_600),
        };
        let mut brokers = BTreeMap::new();
        for service in Event::SERVICES {
            let broker = Broker::connect(url, "quadrille-limit").await?;
            ensure_streams(&broker, Event::CONTRACT, service, keeping).await?;
            brokers.insert(service, broker);
        }
        let created = &services[Created::NAME.service][0].entry.subject;
        let template: Arc<str> = created.rsplit('.').next().unwrap_or_default().into();
        ensure!(template.len() == 36, "the sample's order id is no UUID");

        let (finished, completed) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut first = None;
        for (service, steps) in services {
            let broker = brokers[service].clone();
            let (inputs, gathered) = mpsc::channel(QUEUE);
            for (number, step) in steps.iter().enumerate() {
                match step.hears {
                    None => first = Some((number, inputs.clone())),
                    Some(name) => {
                        let consumer = consumer_of(&broker, name).await?;
                        tasks.spawn(hear(consumer, number, inputs.clone()));
                    }
                }
            }
            let template = template.clone();
            tasks.spawn(answer(broker, steps, template, gathered, finished.clone()));
        }
        Ok(Self {
            tasks,
            first: first.context("no step begins an order")?,
            completed,
        })
    }

    /// Sends so many orders through the loop, and returns how long that took.
    async fn run(&mut self, orders: usize, in_flight: usize) -> anyhow::Result<Duration> {
        let window = Arc::new(Semaphore::new(in_flight));
        let began = Instant::now();
        let (first, inputs) = self.first.clone();
        self.tasks.spawn(create(first, orders, window.clone(), inputs));
        let mut done = 0;
        while done < orders {
            tokio::select! {
                Some(completed) = self.completed.recv() => {
                    done += completed;
                    window.add_permits(completed);
                }
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
        Ok(began.elapsed())
    }
}

/// Puts orders in, as fast as the window lets it.
async fn create(
    step: usize,
    orders: usize,
    window: Arc<Semaphore>,
    inputs: mpsc::Sender<LoopInput>,
) -> anyhow::Result<()> {
    for _ in 0..orders {
        window.acquire().await?.forget();
        let order_id = uuid::Uuid::now_v7().to_string();
        inputs
            .send(LoopInput {
                step,
                order_id,
                heard: None,
            })
            .await?;
    }
    Ok(())
}

async fn consumer_of(broker: &Broker, name: &'static EventName) -> anyhow::Result<PullConsumer> {
    let listener = format!("limit-{}", name.entry);
    ensure_consumer(broker, &listener, name.service, &[name], Duration::from_secs(30)).await
}

/// Hears one event of all orders.
async fn hear(consumer: PullConsumer, step: usize, inputs: mpsc::Sender<LoopInput>) -> anyhow::Result<()> {
    let mut pulled = consumer.stream().max_messages_per_batch(PULL).messages().await?;
    while let Some(message) = pulled.next().await {
        let message = message?;
        let order_id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
        inputs
            .send(LoopInput {
                step,
                order_id,
                heard: Some(message),
            })
            .await?;
    }
    anyhow::bail!("a pull ended")
}

/// The answers of one service: gathers what is there and stores it in one commit, as its engine does.
async fn answer(
    broker: Broker,
    mut steps: Vec<LoopStep>,
    template: Arc<str>,
    mut inputs: mpsc::Receiver<LoopInput>,
    finished: mpsc::UnboundedSender<usize>,
) -> anyhow::Result<()> {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while inputs.recv_many(&mut group, MAX_GROUP).await > 0 {
        store(&broker, &mut steps, &template, &group).await?;
        let mut completed = 0;
        for input in group.drain(..) {
            if let Some(message) = input.heard {
                message.ack().await.map_err(|error| anyhow!(error))?;
            }
            completed += usize::from(steps[input.step].says == Completed::NAME);
        }
        finished.send(completed)?;
    }
    Ok(())
}

async fn store(
    broker: &Broker,
    steps: &mut [LoopStep],
    template: &str,
    group: &[LoopInput],
) -> anyhow::Result<()> {
    let mut writes: Vec<Write> = group
        .iter()
        .map(|input| {
            let (step, id) = (&steps[input.step], input.order_id.as_str());
            let body = String::from_utf8_lossy(&step.entry.body);
            Write {
                subject: step.entry.subject.replace(template, id),
                headers: checked(&step.entry, template, id, None),
                body: body.replace(template, id).into(),
            }
        })
        .collect();
    let mut touched = BTreeSet::new();
    for input in group {
        if let Some(ledger) = &steps[input.step].ledger {
            touched.insert((input.step, rand::random_range(0..ledger.revisions.len())));
        }
    }
    if touched.is_empty() && writes.len() > 1 && writes.len() <= MAX_SINGLES {
        futures::future::try_join_all(writes.into_iter().map(|write| broker.publish(write))).await?;
        return Ok(());
    }
    for (step, record) in &touched {
        if let Some(ledger) = &steps[*step].ledger {
            let name = ledger
                .sample
                .subject
                .trim_end_matches(|c: char| c.is_ascii_digit());
            writes.push(Write {
                subject: format!("{name}{record}"),
                headers: checked(&ledger.sample, template, "", Some(ledger.revisions[*record])),
                body: ledger.sample.body.clone(),
            });
        }
    }
    let last = broker.publish_all(writes).await?;
    let first = last + 1 - touched.len() as u64;
    for ((step, record), sequence) in touched.iter().zip(first..) {
        if let Some(ledger) = &mut steps[*step].ledger {
            ledger.revisions[*record] = sequence;
        }
    }
    Ok(())
}

/// The sample's headers for another order, without what a batch adds.
fn checked(entry: &StoredMessage, template: &str, id: &str, revision: Option<u64>) -> HeaderMap {
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
