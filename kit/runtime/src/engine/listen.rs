//! Hearing: one durable pull consumer for each bucket that a service hears, and its messages turned into inputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use futures::{FutureExt, StreamExt};
use quadrille_events::{Envelope, EventName, OrderId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::engine::item::{Item, STOPPING, Source, acknowledge, stopped};
use crate::engine::store::{Cause, Store, Subject, split_entry};
use crate::engine::unreadable::Looks;
use crate::nats::streams::ensure_consumer;
use crate::telemetry::spans;
use quadrille_decision::{Service, Wire};

/// The largest body of an event: an order of a hundred lines is a tenth of it.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// How many messages a pull asks for.
pub const PULL: usize = 1_000;

/// How long a pull may stay silent before it counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often at most a listener looks for inputs that never arrive: one small request, or as many reads as one look may
/// take ([`Looks`]) while something was delivered again.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The most dead letters that one listener parks at once.
const MAX_PARKING: usize = 64;

/// The wires of a service by the bucket they come from.
pub(crate) type Wires<I> = Arc<Vec<Wire<I>>>;

/// One listener: a service's ear at one bucket.
pub(crate) struct Listener<S: Service> {
    pub store: Store,
    pub speaker: &'static str,
    pub wires: Wires<S::Input>,
    pub inputs: mpsc::Sender<Item<S>>,
    pub ack_wait: Duration,
    pub redeliveries: metrics::Counter,
    /// How many listeners are pulling: readiness.
    pub pulling: Arc<AtomicUsize>,
    pub stop: watch::Receiver<bool>,
}

impl<S: Service> Listener<S> {
    /// Listens until told to stop; what was pulled and not handed on is given back.
    pub async fn run(mut self) {
        let parking = Arc::new(Semaphore::new(MAX_PARKING));
        let looks = Arc::new(Looks::default());
        let mut failures = 0_u32;
        while !*self.stop.borrow() {
            match self.pull(&parking, &looks).await {
                Ok(()) => return,
                Err(problem) => {
                    failures = if problem.after_messages { 1 } else { failures + 1 };
                    warn!(service = self.store.service, speaker = self.speaker, problem = %problem.text, "listening again");
                }
            }
            let limit = Duration::from_millis(100 << failures.min(5));
            let pause = limit.mul_f64(rand::random_range(0.5..=1.0));
            let mut stop = self.stop.clone();
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pull(&mut self, parking: &Arc<Semaphore>, looks: &Arc<Looks>) -> Result<(), Interrupted> {
        let names: Vec<&EventName> = self
            .wires
            .iter()
            .map(|wire| wire.name)
            .filter(|name| name.service == self.speaker)
            .collect();
        let consumer = ensure_consumer(
            &self.store.broker,
            self.store.service,
            self.speaker,
            &names,
            self.ack_wait,
        )
        .await
        .map_err(|error| Interrupted {
            text: format!("{error:#}"),
            after_messages: false,
        })?;
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(PULL)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| Interrupted {
                text: error.to_string(),
                after_messages: false,
            })?;
        let _pulling = Pulling::begin(&self.pulling);
        info!(
            service = self.store.service,
            speaker = self.speaker,
            events = names.len(),
            "listening"
        );
        let mut heard = false;
        let mut stop = self.stop.clone();
        // The first at once, because such an input may be what ended the last pull.
        let mut look = tokio::time::interval(self.ack_wait.max(LOOK_PERIOD));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking = JoinSet::new();
        loop {
            let message = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                _ = look.tick() => {
                    while looking.try_join_next().is_some() {}
                    if looking.is_empty() {
                        let (store, wires, consumer) = (self.store.clone(), self.wires.clone(), consumer.clone());
                        let (speaker, looks) = (self.speaker, looks.clone());
                        looking.spawn(async move {
                            looks.park_unreadable(&store, speaker, &wires, &consumer).await;
                        });
                    }
                    continue;
                }
                message = messages.next() => message,
            };
            match message {
                Some(Ok(message)) => {
                    heard = true;
                    self.hand_on(message, parking).await;
                }
                Some(Err(error)) => {
                    return Err(Interrupted {
                        text: error.to_string(),
                        after_messages: heard,
                    });
                }
                None => {
                    return Err(Interrupted {
                        text: "the pull ended".to_owned(),
                        after_messages: heard,
                    });
                }
            }
        }
        // What has arrived already would otherwise wait for `ack_wait`.
        while let Some(Some(Ok(message))) = messages.next().now_or_never() {
            acknowledge(&message, AckKind::Nak(None)).await;
        }
        Ok(())
    }

    async fn hand_on(&self, message: jetstream::Message, parking: &Arc<Semaphore>) {
        match self.read(&message) {
            Ok((input, cause, attempt)) => {
                let (order_id, size) = (S::order_id(&input), message.payload.len());
                let span = spans::heard(self.store.service, &cause, order_id, size, attempt);
                let item = Item {
                    input,
                    cause,
                    source: Source::Event(Box::new(message)),
                    read_first: attempt > 1,
                    must_finish: false,
                    asking: None,
                    span,
                };
                if let Err(closed) = self.inputs.send(item).await {
                    closed.0.hand_back(STOPPING).await;
                }
            }
            Err(problem) => {
                let store = self.store.clone();
                if let Some(wire) = wire_of(&self.wires, &message.subject) {
                    store.meters.input(Subject::Event(wire.name), "parked", "");
                }
                let permit = parking.clone().acquire_owned().await;
                tokio::spawn(async move {
                    let _permit = permit;
                    store.park(&message, &problem).await;
                });
            }
        }
    }

    /// The input, its cause, and how often it was delivered by now.
    fn read(&self, message: &jetstream::Message) -> Result<(S::Input, Cause, i64), String> {
        let delivered = message.info().map_err(|error| error.to_string())?.delivered;
        if delivered > 1 {
            self.redeliveries.increment(1);
        }
        let headers = message.headers.as_ref();
        let header = |name: &'static str| headers.and_then(|h| h.get(name)).map(|value| value.as_str());
        let (input, cause) = read_event(&self.wires, &message.subject, header, &message.payload)?;
        Ok((input, cause, delivered))
    }
}

/// Reads a stored event as the input that a service's wires make of it.
pub(crate) fn read_event<'a, I>(
    wires: &[Wire<I>],
    subject: &str,
    header: impl Fn(&'static str) -> Option<&'a str>,
    body: &[u8],
) -> Result<(I, Cause), String> {
    if header("KV-Operation").is_some() {
        return Err("the entry was deleted by a KV client; an event cannot be unsaid".to_owned());
    }
    if body.len() > MAX_EVENT_BYTES {
        return Err(format!(
            "the body has {} bytes; {MAX_EVENT_BYTES} at most are read",
            body.len()
        ));
    }
    let (_, order_id) = split_entry(subject).ok_or_else(|| format!("{subject} is no entry of an order"))?;
    let wire = wire_of(wires, subject).ok_or_else(|| format!("no wire hears {subject}"))?;
    let order_id = OrderId::new(order_id).map_err(|error| format!("the order id {error}"))?;
    let envelope = Envelope::read(wire.name, &order_id, header).map_err(|error| error.to_string())?;
    let (said_of, input) = wire.decode(body).map_err(|error| error.to_string())?;
    if said_of != order_id {
        return Err(format!(
            "the body is about the order {said_of}, the subject about {order_id}"
        ));
    }
    let cause = Cause {
        reference: envelope.reference(),
        subject: Subject::Event(wire.name),
        trace: Some(envelope.traceparent),
    };
    Ok((input, cause))
}

fn wire_of<'a, I>(wires: &'a [Wire<I>], subject: &str) -> Option<&'a Wire<I>> {
    let service = subject.split('.').nth(1)?;
    let (entry, _) = split_entry(subject)?;
    wires
        .iter()
        .find(|wire| wire.name.service == service && wire.name.entry == entry)
}

struct Interrupted {
    text: String,
    after_messages: bool,
}

struct Pulling(Arc<AtomicUsize>);

impl Pulling {
    fn begin(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter.clone())
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
