//! Retention: the broker forgets entries about orders by age (`max_age` of the bucket), and a service sees to it that none is forgotten
//! that somebody still needs.
//!
//! Needed is an input that a listener has not handled, a dead letter, and an order (or other aggregate) that is still open. Before such
//! an entry is half as old as `RETENTION`, every service that knows of it puts a hold on all buckets: expiry is off (`max_age` 0), and
//! the hold with its reason stands in the metadata of the stream. A hold is a lease, which whoever needs it renews; when none has
//! renewed it, the owner of the bucket turns expiry on again. While a listener is away for longer than three quarters of
//! `RETENTION`, no new orders are taken: they would only add to what it finds.
//!
//! Holding keeps the entry as it is. Rewriting it instead would be a second event, and parking it would take the decision away from
//! its listener.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use quadrille_decision::Service;
use quadrille_events::{AggregateId, Said, split_entry};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::engine::store::Store;
use crate::nats::consumers::{ConsumerState, consumers_of};
use crate::nats::expiry::{Hold, expire, hold, make_records_permanent};
use crate::nats::streams::bucket_stream;
use crate::nats::{MAX_MULTI_GET, ReadError, StoredMessage};
use crate::shutdown::stopped;
use crate::telemetry::meters;

/// How often a service looks for what must not be lost, as a part of `RETENTION`, and at least: small requests, for metrics too.
const CHECKS_PER_RETENTION: u32 = 40;
const MAX_CHECK_PERIOD: Duration = Duration::from_secs(5);

/// How long a hold stays when nobody renews it, as a part of `RETENTION`: several checks, so that one that fails does no harm.
const HOLDS_PER_RETENTION: u32 = 8;

/// How long an instance waits at most before it looks for records without `Nats-TTL: never`: until no instance of a release is left
/// that writes such records.
const MAX_UPGRADE: Duration = Duration::from_secs(3_600);

/// How many open orders are read at once.
const OPEN_READ: usize = 64;

/// Something that must not be forgotten.
struct Need {
    /// When it was stored.
    since: Timestamp,
    /// What it is, for people.
    what: String,
}

/// What one look found.
#[derive(Default)]
struct Needs {
    /// The oldest input that a listener has not handled.
    unhandled: Option<Need>,
    /// The oldest of everything that this service knows of.
    oldest: Option<Need>,
}

impl Needs {
    fn add(&mut self, need: Need) {
        if self
            .oldest
            .as_ref()
            .is_none_or(|oldest| need.since < oldest.since)
        {
            self.oldest = Some(need);
        }
    }
}

/// Watches over the retention of one bucket, and for what this service knows of over all of them.
pub(crate) struct RetentionGuard<S: Service> {
    store: Store,
    retention: Duration,
    open: OpenAggregates<S>,
    /// Why new orders are refused; `None` if they are not.
    refusal: watch::Sender<Option<String>>,
    started: Timestamp,
    /// When records are looked through for those that would expire; `None` before the first time.
    records_due: Option<Timestamp>,
}

/// Starts the guard. Returns its task, and why new orders are refused at the moment.
pub(crate) fn guard_retention<S: Service>(
    store: &Store,
    mut stop: watch::Receiver<bool>,
) -> (BoxFuture<'static, ()>, watch::Receiver<Option<String>>) {
    let (refusal, refused) = watch::channel(None);
    let Some(retention) = store.retention else {
        return (Box::pin(std::future::ready(())), refused);
    };
    let guard = RetentionGuard::<S> {
        store: store.clone(),
        retention,
        open: OpenAggregates::new(),
        refusal,
        started: Timestamp::now(),
        records_due: None,
    };
    let guarding = Box::pin(async move {
        tokio::select! {
            () = stopped(&mut stop) => {}
            never = guard.run() => match never {},
        }
    });
    (guarding, refused)
}

impl<S: Service> RetentionGuard<S> {
    async fn run(mut self) -> std::convert::Infallible {
        let period = (self.retention / CHECKS_PER_RETENTION).min(MAX_CHECK_PERIOD);
        let mut failed = false;
        loop {
            match self.check().await {
                Ok(()) => failed = false,
                Err(problem) if !failed => {
                    failed = true;
                    warn!(service = self.store.service, %problem, "retention cannot be checked now");
                }
                Err(_) => {}
            }
            tokio::time::sleep(period).await;
        }
    }

    async fn check(&mut self) -> Result<(), ReadError> {
        let now = Timestamp::now();
        let needs = self.needs(now).await?;
        self.refuse(&needs, now);
        let due = needs
            .oldest
            .filter(|need| age(need.since, now) >= self.retention / 2);
        match due {
            Some(need) => self.hold_all(&need, now).await,
            None => self.let_expire(now).await,
        }
    }

    async fn needs(&mut self, now: Timestamp) -> Result<Needs, ReadError> {
        let mut needs = Needs::default();
        for speaker in self.store.contract.services() {
            for consumer in consumers_of(&self.store.broker, &bucket_stream(speaker)).await? {
                if !self
                    .store
                    .contract
                    .services()
                    .any(|service| service == consumer.name)
                {
                    continue;
                }
                let oldest = self.oldest_unhandled(speaker, &consumer).await?;
                if speaker == self.store.service {
                    let waits = oldest.map_or(Duration::ZERO, |since| age(since, now));
                    meters::unhandled(speaker, &consumer.name, waits);
                }
                if let Some(since) = oldest {
                    let what = format!(
                        "{} has not handled an event of {speaker} since {since:.0}",
                        consumer.name
                    );
                    needs.add(Need { since, what });
                }
            }
        }
        needs.unhandled = needs.oldest.as_ref().map(|Need { since, what }| Need {
            since: *since,
            what: what.clone(),
        });
        if let Some((id, since)) = self.store.oldest_letter().await? {
            let what = format!("the dead letter {id} is not settled since {since:.0}");
            needs.add(Need { since, what });
        }
        if let Some((about, since)) = self.open.oldest(&self.store, now - self.retention / 2).await? {
            let what = format!(
                "{} {about} is open in {} since {since:.0}",
                about.kind(),
                self.store.service
            );
            needs.add(Need { since, what });
        }
        Ok(needs)
    }

    /// When the oldest event was stored that this consumer has not acknowledged.
    async fn oldest_unhandled(
        &self,
        speaker: &str,
        consumer: &ConsumerState,
    ) -> Result<Option<Timestamp>, ReadError> {
        if consumer.pending == 0 && consumer.ack_pending == 0 {
            return Ok(None);
        }
        let stream = bucket_stream(speaker);
        let mut oldest = None;
        for filter in &consumer.filters {
            let next = self
                .store
                .broker
                .raw(&stream, filter, consumer.ack_floor + 1)
                .await?;
            let time = next.map(|message| message.time);
            oldest = [oldest, time].into_iter().flatten().min();
        }
        Ok(oldest)
    }

    /// Refuses new orders, or takes them again.
    fn refuse(&self, needs: &Needs, now: Timestamp) {
        let away = needs
            .unhandled
            .as_ref()
            .filter(|need| age(need.since, now) >= self.retention * 3 / 4);
        let reason = away.map(|need| {
            format!(
                "no new orders are taken: {} (RETENTION is {:?})",
                need.what, self.retention
            )
        });
        self.refusal.send_if_modified(|refusal| {
            let changed = refusal.is_some() != reason.is_some();
            if let Some(reason) = reason.as_ref().filter(|_| changed) {
                warn!(service = self.store.service, reason, "new orders are refused");
            } else if changed {
                info!(service = self.store.service, "new orders are taken again");
            }
            *refusal = reason;
            changed
        });
    }

    /// Turns expiry off in all buckets, until the lease of the hold ends.
    async fn hold_all(&self, need: &Need, now: Timestamp) -> Result<(), ReadError> {
        let until = now + self.retention / HOLDS_PER_RETENTION;
        let renew_before = now + self.retention / (2 * HOLDS_PER_RETENTION);
        for service in self.store.contract.services() {
            let new = Hold {
                until,
                reason: need.what.clone(),
            };
            if hold(&self.store.broker, &bucket_stream(service), new, renew_before).await? {
                warn!(
                    bucket = service,
                    reason = need.what,
                    "nothing expires in this bucket until that is settled"
                );
            }
        }
        meters::retention(self.store.service, self.retention, true);
        Ok(())
    }

    /// Turns expiry on in the own bucket, unless somebody else holds it.
    async fn let_expire(&mut self, now: Timestamp) -> Result<(), ReadError> {
        let Store {
            broker,
            contract,
            service,
            stream,
            ..
        } = &self.store;
        let settled = MAX_UPGRADE.min(self.retention / HOLDS_PER_RETENTION);
        let due = self.records_due.unwrap_or(self.started + settled);
        if now >= due {
            make_records_permanent(broker, *contract, service).await?;
            self.records_due = Some(now + self.retention / 4);
        }
        let permanent = self.records_due.is_some();
        let held = expire(broker, stream, self.retention, now, permanent).await?;
        meters::retention(service, self.retention, held);
        Ok(())
    }
}

/// How long ago that was.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// The orders (or other aggregates) that are older than half of the retention and still open, found by reading each entry once, when it
/// reaches that age.
struct OpenAggregates<S: Service> {
    /// The first sequence that was not read yet.
    next: u64,
    open: HashMap<AggregateId, (Timestamp, S::State)>,
}

impl<S: Service> OpenAggregates<S> {
    fn new() -> Self {
        Self {
            next: 1,
            open: HashMap::new(),
        }
    }

    /// The oldest that is open among those that began before `horizon`.
    async fn oldest(
        &mut self,
        store: &Store,
        horizon: Timestamp,
    ) -> Result<Option<(AggregateId, Timestamp)>, ReadError> {
        let Some(is_open) = S::open_states() else {
            return Ok(None);
        };
        self.advance(store, horizon, is_open).await?;
        let mut by_age: BTreeMap<Timestamp, Vec<AggregateId>> = BTreeMap::new();
        for (about, (since, _)) in &self.open {
            by_age.entry(*since).or_default().push(about.clone());
        }
        let in_turn: Vec<_> = by_age
            .into_iter()
            .flat_map(|(since, all)| all.into_iter().map(move |about| (about, since)))
            .collect();
        for chunk in in_turn.chunks(OPEN_READ) {
            let wanted: Vec<_> = chunk.iter().map(|(about, _)| about.clone()).collect();
            let states = store.states::<S>(&wanted).await?;
            for (about, since) in chunk {
                let closed = matches!(states.get(about), Some(Ok(known)) if !is_open(&known.state));
                if !closed {
                    return Ok(Some((about.clone(), *since)));
                }
                self.open.remove(about);
            }
        }
        Ok(None)
    }

    /// Reads on, up to the first entry that is younger than `horizon`.
    async fn advance(
        &mut self,
        store: &Store,
        horizon: Timestamp,
        is_open: fn(&S::State) -> bool,
    ) -> Result<(), ReadError> {
        let filter = format!("$KV.{}.*.*", store.service);
        loop {
            let page = store
                .broker
                .page(&store.stream, &filter, self.next, MAX_MULTI_GET)
                .await?;
            let old = page.messages.iter().take_while(|entry| entry.time <= horizon);
            let mut seen = 0;
            for entry in old {
                self.see(store, entry);
                self.next = entry.sequence + 1;
                seen += 1;
            }
            self.open.retain(|_, (_, state)| is_open(state));
            if seen < page.messages.len() || !page.has_more {
                return Ok(());
            }
        }
    }

    /// Folds an entry into the state of its aggregate. What cannot be read changes nothing: an input that needs it is parked.
    fn see(&mut self, store: &Store, entry: &StoredMessage) {
        let Some(about) = store.aggregate_of(entry) else {
            return;
        };
        let (_, state) = self
            .open
            .entry(about)
            .or_insert_with(|| (entry.time, S::State::default()));
        if let Some((_, key, _)) = split_entry(&entry.subject)
            && !entry.is_deleted()
            && let Ok(said) = S::Said::decode(key, &entry.body)
        {
            S::fold(state, &said);
        }
    }
}
