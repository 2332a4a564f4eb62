//! Listeners: one durable pull consumer for each bucket that a service hears, its messages turned into inputs.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{self, PullConsumer};
use quadrille_decision::Service;
use quadrille_events::EventName;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

use crate::cause::{Cause, InputName};
use crate::engine::held::{HeldInputs, HeldMessage};
use crate::engine::input::{PendingInput, Requester};
use crate::engine::store::Store;
use crate::engine::unreadable::UnreadableSearch;
use crate::engine::wires::{Wires, read_event, wire_of};
use crate::nats::Pull;
use crate::nats::streams::{bucket_stream, ensure_consumer};
use crate::shutdown::{STOPPING, stopped};
use crate::telemetry::spans;

/// How many inputs a listener may have asked for that are not in the engine's queue yet.
pub const PULL: usize = 1_000;

/// How often at most a listener checks its consumer, and searches for inputs that never arrive: one small request, or as many reads
/// as one search may take ([`UnreadableSearch`]) while something was delivered again.
const CHECK_PERIOD: Duration = Duration::from_secs(1);

/// The most dead letters that one listener parks at once.
const MAX_PARKING: usize = 64;

/// The listener of a service to one bucket.
pub(crate) struct Listener<S: Service> {
    pub store: Store,
    pub speaker: &'static str,
    pub wires: Wires<S::Input>,
    pub inputs: mpsc::Sender<PendingInput<S>>,
    pub held: HeldInputs,
    pub ack_wait: Duration,
    pub redeliveries: metrics::Counter,
    /// How many listeners are pulling: readiness.
    pub pulling: Arc<AtomicUsize>,
    pub stop: watch::Receiver<bool>,
}

impl<S: Service> Listener<S> {
    /// Listens until told to stop, and until everything that was asked for has arrived; gives back what was not handed on.
    pub async fn run(mut self) {
        let parking = Arc::new(Semaphore::new(MAX_PARKING));
        let search = Arc::new(UnreadableSearch::default());
        let mut waiting = VecDeque::new();
        let mut failures = 0_u32;
        while !*self.stop.borrow() {
            let mut stop = self.stop.clone();
            match self.pull(&parking, &search, &mut waiting).await {
                Ok(()) => break,
                Err(problem) => {
                    failures = if problem.after_messages { 1 } else { failures + 1 };
                    warn!(service = self.store.service, speaker = self.speaker, problem = %problem.text, "listening again");
                }
            }
            let limit = Duration::from_millis(100 << failures.min(5));
            let pause = limit.mul_f64(rand::random_range(0.5..=1.0));
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        for pending in waiting {
            pending.hand_back(STOPPING).await;
        }
    }

    /// Pulls until told to stop. What the engine's queue has no place for is in `waiting`.
    async fn pull(
        &mut self,
        parking: &Arc<Semaphore>,
        search: &Arc<UnreadableSearch>,
        waiting: &mut VecDeque<PendingInput<S>>,
    ) -> Result<(), Interrupted> {
        let mut stop = self.stop.clone();
        let begun = tokio::select! {
            begun = self.begin() => begun,
            () = stopped(&mut stop) => return Ok(()),
        };
        let (consumer, mut pull) = begun.map_err(|error| Interrupted {
            text: format!("{error:#}"),
            after_messages: false,
        })?;
        let _pulling = Pulling::begin(&self.pulling);
        let mut heard = false;
        // The first check at once, because an unreadable input may be what ended the last pull.
        let mut check = tokio::time::interval(self.ack_wait.max(CHECK_PERIOD));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checking = JoinSet::new();
        loop {
            let room = PULL - waiting.len().min(PULL);
            let pulled = tokio::select! {
                biased;
                () = stopped(&mut stop), if !pull.is_ending() => {
                    pull.end();
                    continue;
                }
                Some(checked) = checking.join_next() => match checked {
                    Ok(Ok(())) => continue,
                    Ok(Err(text)) => return Err(Interrupted { text, after_messages: false }),
                    Err(panic) => return Err(Interrupted { text: panic.to_string(), after_messages: false }),
                },
                _ = check.tick(), if !pull.is_ending() => {
                    if checking.is_empty() {
                        checking.spawn(self.check(consumer.clone(), search.clone()));
                    }
                    continue;
                }
                place = self.inputs.reserve(), if !waiting.is_empty() => match (place, waiting.pop_front()) {
                    (Ok(place), Some(pending)) => {
                        place.send(pending);
                        continue;
                    }
                    // The engine has ended: the service stops.
                    (_, pending) => {
                        waiting.extend(pending);
                        return Ok(());
                    }
                },
                pulled = pull.next(room) => pulled,
            };
            match pulled {
                Ok(Some(message)) => {
                    heard = true;
                    let (taken, is_next) = (self.take(message, parking).await, waiting.is_empty());
                    waiting.extend(taken.and_then(|pending| self.hand_on(pending, is_next)));
                }
                Ok(None) => return Ok(()),
                Err(text) => {
                    return Err(Interrupted {
                        text,
                        after_messages: heard,
                    });
                }
            }
        }
    }

    /// The events that this listener hears.
    fn names(&self) -> Vec<&'static EventName> {
        let names = self.wires.iter().map(|wire| wire.name);
        names.filter(|name| name.service == self.speaker).collect()
    }

    /// Makes sure of the consumer, and begins to pull.
    async fn begin(&self) -> anyhow::Result<(PullConsumer, Pull)> {
        let (service, speaker, names) = (self.store.service, self.speaker, self.names());
        let broker = &self.store.broker;
        let consumer = ensure_consumer(broker, service, speaker, &names, self.ack_wait).await?;
        let pull = broker.pull(&bucket_stream(speaker), service).await?;
        info!(service, speaker, events = names.len(), "listening");
        Ok((consumer, pull))
    }

    /// Checks that the consumer is what this listener asked for, and parks inputs that the client library cannot read. Fails if the
    /// consumer has to be made anew.
    fn check(
        &self,
        consumer: PullConsumer,
        search: Arc<UnreadableSearch>,
    ) -> impl Future<Output = Result<(), String>> + use<S> {
        let (store, wires, speaker, names) =
            (self.store.clone(), self.wires.clone(), self.speaker, self.names());
        async move {
            let info = match consumer.get_info().await {
                Ok(info) => info,
                Err(error) => {
                    // The pull itself notices if the broker is gone.
                    debug!(service = store.service, speaker, %error, "the consumer cannot be checked now");
                    return Ok(());
                }
            };
            if !filters_are(&info.config, &names) {
                // What a changed filter skipped is lost to this consumer; a new one hears everything, and what is answered is ignored.
                let deleted = store
                    .broker
                    .jetstream()
                    .delete_consumer_from_stream(store.service, bucket_stream(speaker));
                deleted.await.map_err(|error| {
                    format!("somebody changed the filters of the consumer, and it cannot be deleted: {error}")
                })?;
                return Err("somebody changed the filters of the consumer: it is made anew, and hears everything again".to_owned());
            }
            search.park_unreadable(&store, speaker, &wires, &info).await;
            Ok(())
        }
    }

    /// Hands an input to the engine; returns one that has to wait: the queue is full, or others wait already.
    fn hand_on(&self, pending: PendingInput<S>, is_next: bool) -> Option<PendingInput<S>> {
        if !is_next {
            return Some(pending);
        }
        self.inputs.try_send(pending).err().map(TrySendError::into_inner)
    }

    /// A message as an input; `None` if this instance holds it already, or it is parked.
    async fn take(&self, message: jetstream::Message, parking: &Arc<Semaphore>) -> Option<PendingInput<S>> {
        let read = self.read(&message);
        let held = self.hold(message)?;
        match read {
            Ok((input, cause, attempt)) => {
                let (about, size) = (S::about(&input), held.message.payload.len());
                let span = spans::heard(self.store.service, &cause, about.as_ref(), size, attempt);
                let requester = Requester::Event(Box::new(held));
                Some(PendingInput::new(input, cause, requester, span).read_first(attempt > 1))
            }
            Err(problem) => {
                let store = self.store.clone();
                if let Some((wire, _)) = wire_of(&self.wires, &held.message.subject) {
                    store.meters.input(InputName::Event(wire.name), "parked", "");
                }
                let permit = parking.clone().acquire_owned().await;
                tokio::spawn(async move {
                    let _permit = permit;
                    store.park(&held.message, &problem).await;
                });
                None
            }
        }
    }

    /// Holds a message, unless it is held: the broker redelivers what it has not heard of for long, for example because it stood still.
    fn hold(&self, message: jetstream::Message) -> Option<HeldMessage> {
        let (sequence, reply) = match (message.info(), &message.reply) {
            (Ok(info), Some(reply)) => (info.stream_sequence, reply.clone()),
            _ => {
                error!(subject = %message.subject, "a delivery without JetStream metadata; not ours");
                return None;
            }
        };
        let hold = self.held.hold(self.speaker, sequence, reply)?;
        Some(HeldMessage { message, hold })
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

/// Whether a consumer's filters are those of these events, in whatever order.
fn filters_are(config: &consumer::Config, names: &[&EventName]) -> bool {
    let single = Some(&config.filter_subject).filter(|filter| !filter.is_empty());
    let found: BTreeSet<&String> = config.filter_subjects.iter().chain(single).collect();
    let wanted: BTreeSet<String> = names.iter().map(|name| name.filter()).collect();
    found.len() == wanted.len() && wanted.iter().all(|filter| found.contains(filter))
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
