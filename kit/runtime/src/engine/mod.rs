//! The heart: gather what is there, decide each input in turn in memory, store the group in one commit, answer.
//!
//! What may go wrong is one thing in the end: the broker did not store the group, or did not say so. The answer is one
//! too: forget what was known of these orders, read again, decide again. An input leaves the engine only when its
//! answer is durable, when it is ignored on a state that was read from the leader after it arrived (or that the commit
//! of its own group proved), or parked as a dead letter.

pub(crate) mod dead_letter;
pub(crate) mod item;
pub(crate) mod ledger;
pub(crate) mod listen;
pub(crate) mod outside;
pub(crate) mod store;
pub(crate) mod unreadable;

pub use listen::{MAX_EVENT_BYTES, PULL};
pub use store::MAX_RECORDS;

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use futures::FutureExt;
use jiff::Timestamp;
use lru::LruCache;
use quadrille_events::{OrderId, Said};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::engine::item::{Asking, Item, STOPPING, Source, Told, Verdict, acknowledge, backoff, stopped};
use crate::engine::ledger::Ledger;
use crate::engine::outside::{Limits, Outside};
use crate::engine::store::{Known, StateError, Store};
use crate::nats::broker::{CommitError, MAX_BATCH, ReadError, Write};
use crate::telemetry::spans::{self, Publishing};
use quadrille_decision::{AskError, Context, Deadline, Decision, Reads, Say, Service};

/// The most inputs of one group: one commit for all of them, and `just bench` shows how much that saves.
pub const MAX_GROUP: usize = 500;

/// How many inputs may wait for the engine before those who bring them are held back.
pub const QUEUE: usize = 2_048;

/// The most messages of one commit; an input adds at most two events, a schedule and a record a line beyond it.
const MAX_WRITES: usize = MAX_BATCH - 128;

/// The most bytes of one commit.
const MAX_COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Up to so many commits of one message each go out side by side rather than as a batch, which costs the server a
/// directory of its own.
pub const MAX_SINGLES: usize = 8;

/// The orders whose state an instance remembers, of about 0.6 KB each: more than are in flight in `just bench`.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// After so many refused checks in a row a group is taken apart; after so many more a lone input is given back. Of rivals
/// who write the same records one always gets through, so a group that waits its turn keeps the records' price low.
const MAX_CONFLICTS: u32 = 40;

/// The shortest and the longest pause after a refused check: about what a group's commit takes its rival, so that it is
/// through, and a few of them.
const RIVAL: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(60));

/// The engine of one instance of a service.
pub(crate) struct Engine<S: Service> {
    service: Arc<S>,
    store: Store,
    inputs: mpsc::Receiver<Item<S>>,
    outside: Outside<S>,
    /// Where the outcomes of slow outside calls come back.
    outcomes: mpsc::UnboundedReceiver<Item<S>>,
    memory: LruCache<OrderId, Known<S::State>>,
    ledger: Ledger<S::Record>,
    stop: watch::Receiver<bool>,
}

/// What a group comes to.
struct Plan<S: Service> {
    /// For each input that was decided: how it ends once `writes` are stored.
    verdicts: Vec<Option<Verdict<S>>>,
    /// What to store: each order's events in turn, then the records.
    writes: Vec<Planned>,
    /// The state of each order after the group.
    states: HashMap<OrderId, Known<S::State>>,
    /// What each input said, for those who look on.
    told: Vec<Told>,
}

impl<S: Service> Plan<S> {
    /// Whether the end of an input rests on what the group stores: on its order's events, or on the ledger.
    fn rests_on_writes(&self, item: &Item<S>) -> bool {
        match S::order_id(&item.input) {
            Some(id) => self.states.contains_key(id),
            None => true,
        }
    }
}

struct Planned {
    write: Write,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Event(OrderId),
    Schedule(OrderId),
    Record(String),
}

/// Why a group has to be taken up again.
enum Again {
    Conflict,
    /// The broker cannot, or did not answer.
    Later(String),
    /// Something in it will never be stored.
    Apart(String),
}

impl From<ReadError> for Again {
    fn from(error: ReadError) -> Self {
        Again::Later(error.to_string())
    }
}

impl<S: Service> Engine<S> {
    pub fn new(
        service: Arc<S>,
        store: Store,
        inputs: mpsc::Receiver<Item<S>>,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (back, outcomes) = mpsc::unbounded_channel();
        Self {
            outside: Outside::new(service.clone(), store.clone(), limits, back, stop.clone()),
            outcomes,
            service,
            store,
            inputs,
            memory: LruCache::new(REMEMBERED),
            ledger: Ledger::default(),
            stop,
        }
    }

    /// Handles inputs until told to stop; then finishes the group in hand and gives the rest back.
    pub async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            let first = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(outcome) = self.outcomes.recv() => outcome,
                input = self.inputs.recv() => match input {
                    Some(input) => input,
                    None => break,
                },
            };
            let mut group = Vec::with_capacity(16);
            group.push(first);
            while group.len() < MAX_GROUP
                && let Ok(outcome) = self.outcomes.try_recv()
            {
                group.push(outcome);
            }
            while group.len() < MAX_GROUP
                && let Ok(input) = self.inputs.try_recv()
            {
                group.push(input);
            }
            self.store.meters.group_inputs.record(group.len() as f64);
            self.settle(group).await;
        }
        self.inputs.close();
        while let Ok(item) = self.inputs.try_recv() {
            item.hand_back(STOPPING).await;
        }
        while let Ok(item) = self.outcomes.try_recv() {
            item.hand_back(STOPPING).await;
        }
    }

    /// Brings every input of a group to its end.
    async fn settle(&mut self, group: Vec<Item<S>>) {
        // A group whose commit is refused for good is taken apart, so that one input does not fail the others.
        let mut groups = VecDeque::from([group]);
        while let Some(group) = groups.pop_front() {
            groups.extend(
                self.settle_together(group)
                    .await
                    .into_iter()
                    .map(|item| vec![item]),
            );
        }
    }

    /// Decides and commits until nothing is left, or returns inputs that had better be handled one by one.
    async fn settle_together(&mut self, mut pending: Vec<Item<S>>) -> Vec<Item<S>> {
        let (mut conflicts, mut failures) = (0_u32, 0_u32);
        loop {
            pending = self.without_expired(pending).await;
            if pending.is_empty() {
                return pending;
            }
            let before = pending.len();
            let again = match self.round(&mut pending).await {
                Ok(()) => {
                    (conflicts, failures) = (0, 0);
                    continue;
                }
                Err(again) => again,
            };
            if pending.len() < before {
                (conflicts, failures) = (0, 0);
            }
            self.doubt(&mut pending);
            match again {
                Again::Conflict => {
                    conflicts += 1;
                    if conflicts >= MAX_CONFLICTS {
                        if pending.len() > 1 {
                            return pending;
                        }
                        // Contention, not a fault: let others go first.
                        for item in pending.drain(..) {
                            item.hand_back("others are faster; try again").await;
                        }
                    }
                    backoff(RIVAL.0, conflicts, RIVAL.1).await;
                }
                Again::Later(problem) => {
                    failures += 1;
                    warn!(
                        service = self.store.service,
                        inputs = pending.len(),
                        problem,
                        "not committed; trying again"
                    );
                    if *self.stop.borrow() {
                        for item in pending.drain(..) {
                            item.hand_back(STOPPING).await;
                        }
                    }
                    backoff(Duration::from_millis(20), failures, Duration::from_secs(2)).await;
                }
                Again::Apart(_) if pending.len() > 1 => return pending,
                Again::Apart(problem) => {
                    for item in pending.drain(..) {
                        self.end(item, Verdict::Failed(problem.clone()), &Told::default())
                            .await;
                    }
                }
            }
        }
    }

    /// Forgets whatever was known of these inputs' orders and of the ledger.
    fn doubt(&mut self, pending: &mut [Item<S>]) {
        for item in pending {
            item.read_first = true;
            if let Some(order_id) = S::order_id(&item.input) {
                self.memory.pop(order_id);
            }
        }
        self.ledger.forget();
    }

    async fn without_expired(&self, pending: Vec<Item<S>>) -> Vec<Item<S>> {
        let now = Instant::now();
        let (expired, live): (Vec<_>, Vec<_>) = pending.into_iter().partition(|item| item.expired(now));
        for item in expired {
            self.end(
                item,
                Verdict::Unknown("it was not settled in time".to_owned()),
                &Told::default(),
            )
            .await;
        }
        live
    }

    /// Decides and commits once. What is settled leaves `pending`.
    async fn round(&mut self, pending: &mut Vec<Item<S>>) -> Result<(), Again> {
        let mut plan = self.plan(pending).await?;
        let told = pending
            .iter()
            .zip(&plan.told)
            .map(|(item, told)| (&item.span, &item.cause, S::order_id(&item.input), told));
        let mut publishing = Publishing::begin(told, plan.writes.len());
        let stored = self.commit(&mut plan).await;

        // Of single commits some may be stored and some not; of a batch all or none.
        let mut kept = Vec::new();
        let mut problem = None;
        for (index, item) in std::mem::take(pending).into_iter().enumerate() {
            let Some(verdict) = plan.verdicts.get_mut(index).and_then(Option::take) else {
                if item.asking.is_some() {
                    self.outside.wait(item);
                } else {
                    kept.push(item);
                }
                continue;
            };
            let unstored = match &stored {
                Stored::All => None,
                Stored::None(error) => plan.rests_on_writes(&item).then(|| error.clone()),
                Stored::Each(results) => S::order_id(&item.input)
                    .and_then(|id| results.get(id))
                    .and_then(|r| r.clone().err()),
            };
            match unstored {
                None => {
                    publishing.stored(index);
                    self.end(item, verdict, &plan.told[index]).await;
                }
                Some(error) => {
                    publishing.failed(index, &error);
                    problem = Some(error);
                    kept.push(item);
                }
            }
        }
        *pending = kept;
        match problem {
            None => Ok(()),
            Some(CommitError::Conflict) => Err(Again::Conflict),
            Some(CommitError::Rejected(problem)) => Err(Again::Apart(problem)),
            Some(error @ (CommitError::Unknown(_) | CommitError::Busy(_))) => {
                Err(Again::Later(error.to_string()))
            }
        }
    }

    /// Decides every input of the group, reading as little as is safe.
    async fn plan(&mut self, pending: &mut [Item<S>]) -> Result<Plan<S>, Again> {
        let mut known: HashMap<OrderId, Known<S::State>> = HashMap::new();
        let mut fresh: HashSet<OrderId> = HashSet::new();
        let mut unreadable: HashMap<OrderId, String> = HashMap::new();
        let mut fresh_ledger = false;
        self.ledger.trim();

        let mut must_read: HashSet<OrderId> = HashSet::new();
        for item in pending.iter() {
            let Some(order_id) = S::order_id(&item.input) else {
                continue;
            };
            if item.read_first {
                must_read.insert(order_id.clone());
            } else if !known.contains_key(order_id) {
                if let Some(remembered) = self.memory.get(order_id) {
                    known.insert(order_id.clone(), remembered.clone());
                } else if S::opens(&item.input) {
                    known.insert(order_id.clone(), Known::default());
                } else {
                    must_read.insert(order_id.clone());
                }
            }
        }
        loop {
            if !must_read.is_empty() {
                let ids: Vec<_> = must_read.drain().collect();
                for (order_id, state) in self.store.states::<S>(&ids).await? {
                    fresh.insert(order_id.clone());
                    match state {
                        Ok(state) => drop(known.insert(order_id, state)),
                        Err(StateError::Read(error)) => return Err(error.into()),
                        Err(error @ StateError::Unreadable { .. }) => {
                            drop(unreadable.insert(order_id, error.to_string()));
                        }
                    }
                }
            }
            self.read_ledger(pending).await?;

            let now = Timestamp::now();
            let (plan, doubts) = self.decide_all(pending, &known, &fresh, &unreadable, now);
            // Ignoring and refusing are not checked by the broker. So what they rest on must have been read from the
            // leader after the input came, or be proved by the commit of the same group.
            // Nor is a call to the outside, until it is too late.
            must_read.extend(doubts.orders.into_iter().filter(|id| !fresh.contains(id)));
            let reread_ledger = doubts.ledger && !fresh_ledger;
            if must_read.is_empty() && !reread_ledger && !doubts.unread {
                return Ok(plan);
            }
            self.ledger.undo();
            if reread_ledger {
                self.ledger.forget();
                fresh_ledger = true;
            }
        }
    }

    /// Reads the records that the group looks at and the instance does not remember.
    async fn read_ledger(&mut self, pending: &[Item<S>]) -> Result<(), Again> {
        let mut missing = HashSet::new();
        for item in pending {
            let reads = S::reads(&item.input);
            if self.ledger.holds(&reads) {
                continue;
            }
            match reads {
                Reads::Nothing => {}
                Reads::Keys(keys) => missing.extend(keys),
                all @ Reads::All(_) => self.load(&all).await?,
            }
        }
        if !missing.is_empty() {
            self.load(&Reads::Keys(missing.into_iter().collect())).await?;
        }
        Ok(())
    }

    async fn load(&mut self, reads: &Reads) -> Result<(), Again> {
        match self.store.records::<S>(reads).await {
            Ok(records) => {
                self.ledger.learn(reads, records);
                Ok(())
            }
            Err(StateError::Read(error)) => Err(error.into()),
            // Nobody can decide on such a record; an operator has to put it right.
            Err(error @ StateError::Unreadable { .. }) => Err(Again::Apart(error.to_string())),
        }
    }

    /// One pass over the group: each input meets the state that those before it leave.
    fn decide_all(
        &mut self,
        pending: &mut [Item<S>],
        known: &HashMap<OrderId, Known<S::State>>,
        fresh: &HashSet<OrderId>,
        unreadable: &HashMap<OrderId, String>,
        now: Timestamp,
    ) -> (Plan<S>, Doubts) {
        let mut plan = Plan {
            verdicts: Vec::with_capacity(pending.len()),
            writes: Vec::new(),
            states: HashMap::new(),
            told: Vec::with_capacity(pending.len()),
        };
        let mut doubts = Doubts::default();
        let mut asking = HashSet::new();
        let mut bytes = 0;
        for item in pending {
            plan.told.push(Told::default());
            if plan.writes.len() + self.ledger.changed.len() >= MAX_WRITES || bytes >= MAX_COMMIT_BYTES {
                // The rest of the group is the next round's.
                plan.verdicts.push(None);
                continue;
            }
            let order_id = S::order_id(&item.input).cloned();
            if let Some(problem) = order_id.as_ref().and_then(|id| unreadable.get(id)) {
                plan.verdicts.push(Some(Verdict::Failed(problem.clone())));
                continue;
            }
            let nothing = Known::default();
            let mut state = match &order_id {
                None => nothing,
                Some(id) => match plan.states.get(id).or_else(|| known.get(id)) {
                    Some(known) => known.clone(),
                    None => nothing,
                },
            };
            // What is only planned is no ground for a call either: then it is made in the next round.
            let may_ask = !self.service.asks_outside()
                || order_id
                    .as_ref()
                    .is_none_or(|id| fresh.contains(id) && !plan.states.contains_key(id));
            let verdict = match self.decide(item, &state.state, may_ask, now) {
                Answer::Asked => None,
                Answer::Unread => {
                    doubts.unread = true;
                    None
                }
                Answer::Failed(problem) => Some(Verdict::Failed(problem)),
                Answer::Decided(Decision::Ask(_)) => {
                    asking.extend(order_id.clone());
                    doubts.orders.extend(order_id);
                    None
                }
                Answer::Decided(Decision::Ignore(reason)) => {
                    doubts.ledger |= order_id.is_none() && S::reads(&item.input) != Reads::Nothing;
                    doubts.orders.extend(order_id);
                    Some(Verdict::Ignored {
                        state: state.state,
                        reason,
                    })
                }
                Answer::Decided(Decision::Refuse(refusal)) => {
                    doubts.orders.extend(order_id);
                    doubts.ledger |= S::reads(&item.input) != Reads::Nothing;
                    Some(Verdict::Refused(refusal))
                }
                Answer::Decided(Decision::Say(say)) => {
                    // What was decided from records and changes none is not checked either.
                    doubts.ledger |= say.records.is_empty() && S::reads(&item.input) != Reads::Nothing;
                    let sequence = order_id
                        .as_ref()
                        .and_then(|id| known.get(id))
                        .map_or(0, |k| k.sequence);
                    bytes += self.write_down(say, &mut state, sequence, item, now, &mut plan);
                    let after = state.state.clone();
                    if let Some(id) = order_id {
                        plan.states.insert(id, state);
                    }
                    Some(Verdict::Done { state: after })
                }
            };
            plan.verdicts.push(verdict);
        }
        doubts
            .orders
            .retain(|id| asking.contains(id) || !plan.states.contains_key(id));
        for key in self.ledger.changed.keys() {
            if let Some(record) = self.ledger.records.get(key) {
                let revision = self.ledger.revisions.get(key).copied().unwrap_or(0);
                match self.store.record(key, record, revision) {
                    Ok(write) => plan.writes.push(Planned {
                        write,
                        kind: Kind::Record(key.clone()),
                    }),
                    Err(problem) => error!(key, problem, "a record that is no JSON"),
                }
            }
        }
        (plan, doubts)
    }

    /// The service's answer; an outside call that answers at once is answered at once.
    fn decide(&self, item: &mut Item<S>, state: &S::State, may_ask: bool, now: Timestamp) -> Answer<S> {
        if item.asking.is_some() {
            return Answer::Asked;
        }
        loop {
            let context = Context {
                now,
                records: &self.ledger.records,
            };
            let decision = match catch_unwind(AssertUnwindSafe(|| S::decide(state, &item.input, &context))) {
                Ok(decision) => decision,
                Err(_) => return Answer::Failed("the decision panicked; see the log".to_owned()),
            };
            let Decision::Ask(ask) = decision else {
                return Answer::Decided(decision);
            };
            if !may_ask {
                return Answer::Decided(Decision::Ask(ask));
            }
            let mut call = self.outside.call(ask.clone());
            match (&mut call).now_or_never() {
                Some(Ok(outcome)) => {
                    item.input = outcome;
                    if !self.ledger.holds(&S::reads(&item.input)) {
                        return Answer::Unread;
                    }
                }
                Some(Err(AskError::Permanent(problem))) => return Answer::Failed(problem),
                Some(Err(AskError::Transient(problem))) => {
                    debug!(problem, "an outside call failed; it is repeated");
                    item.asking = Some(Asking {
                        ask: ask.clone(),
                        call: Mutex::new(self.outside.call(ask)),
                    });
                    return Answer::Asked;
                }
                None => {
                    item.asking = Some(Asking {
                        ask,
                        call: Mutex::new(call),
                    });
                    return Answer::Asked;
                }
            }
        }
    }

    /// Turns what is said into messages; returns their size.
    fn write_down(
        &mut self,
        say: Say<S>,
        known: &mut Known<S::State>,
        sequence: u64,
        item: &Item<S>,
        now: Timestamp,
        plan: &mut Plan<S>,
    ) -> usize {
        let (mut bytes, mut told) = (0, Told::default());
        let mut add = |planned: Planned| {
            bytes += planned.write.body.len() + 512;
            plan.writes.push(planned);
        };
        if let (Deadline::Set { at, says }, Some(id)) = (&say.deadline, S::order_id(&item.input)) {
            let write = self.store.schedule(says, *at, &item.cause);
            add(Planned {
                write,
                kind: Kind::Schedule(id.clone()),
            });
            told.due = Some(says.name());
        }
        let mut clears = matches!(say.deadline, Deadline::Clear);
        for event in &say.events {
            let write = self.store.event(event, sequence, &item.cause, now, clears);
            clears = false;
            add(Planned {
                write,
                kind: Kind::Event(event.order().order_id.clone()),
            });
            S::fold(&mut known.state, event);
            let since = *known.since.get_or_insert(now);
            if let Some(ending) = S::ending(event) {
                told.ends = Some((ending, now.duration_since(since).unsigned_abs()));
            }
            told.events.push(event.name());
        }
        if let Some(last) = plan.told.last_mut() {
            *last = told;
        }
        for (key, record) in say.records {
            self.ledger.change(key, record);
        }
        bytes
    }

    /// Stores what is planned, and remembers it.
    async fn commit(&mut self, plan: &mut Plan<S>) -> Stored {
        let count = plan.writes.len();
        if count == 0 {
            return Stored::All;
        }
        let writes = std::mem::take(&mut plan.writes);
        let (writes, kinds): (Vec<_>, Vec<_>) = writes.into_iter().map(|p| (p.write, p.kind)).unzip();
        let began = Instant::now();
        if count > 1 && count <= MAX_SINGLES && independent(&kinds) {
            let each = writes.into_iter().map(async |write| {
                let result = self.store.broker.publish(write).await;
                self.store
                    .meters
                    .commit(result.as_ref().map(drop), 1, began.elapsed());
                result
            });
            let results = futures::future::join_all(each).await;
            let mut by_order = HashMap::new();
            for (kind, result) in kinds.iter().zip(results) {
                let Kind::Event(id) = kind else { continue };
                if let Ok(sequence) = result {
                    self.remember(plan, id, sequence);
                }
                by_order.insert(id.clone(), result.map(drop));
            }
            Stored::Each(by_order)
        } else {
            let stored = self.store.broker.publish_all(writes).await;
            self.store
                .meters
                .commit(stored.as_ref().map(drop), count, began.elapsed());
            match stored {
                Ok(last) => {
                    let first = last + 1 - count as u64;
                    for (sequence, kind) in (first..).zip(&kinds) {
                        match kind {
                            Kind::Event(id) => self.remember(plan, id, sequence),
                            Kind::Schedule(_) => {}
                            Kind::Record(key) => drop(self.ledger.revisions.insert(key.clone(), sequence)),
                        }
                    }
                    self.ledger.changed.clear();
                    Stored::All
                }
                Err(error) => {
                    self.ledger.undo();
                    Stored::None(error)
                }
            }
        }
    }

    fn remember(&mut self, plan: &Plan<S>, id: &OrderId, sequence: u64) {
        if let Some(known) = plan.states.get(id) {
            self.memory.put(
                id.clone(),
                Known {
                    state: known.state.clone(),
                    sequence,
                    since: known.since,
                },
            );
        }
    }

    /// Tells whoever waits, writes the line of the log, counts.
    async fn end(&self, item: Item<S>, verdict: Verdict<S>, told: &Told) {
        let service = self.store.service;
        let id = S::order_id(&item.input);
        let order_id = id.map(OrderId::as_str).unwrap_or_default();
        let cause = &item.cause.reference;
        let trace_id = spans::trace_id(&item.cause, id);
        // The outcome and its reason in words of the code, to be counted; and the reason in full.
        let (outcome, reason, why) = match &verdict {
            Verdict::Done { .. } => {
                info!(service, order_id, cause, said = told.words(), trace_id, "decided");
                ("acted", "", "")
            }
            Verdict::Ignored { reason, .. } => {
                info!(service, order_id, cause, reason, trace_id, "ignored");
                ("ignored", *reason, *reason)
            }
            Verdict::Refused(refusal) => {
                info!(service, order_id, cause, ?refusal, trace_id, "refused");
                ("refused", refusal.kind(), refusal.kind())
            }
            Verdict::Failed(problem) => {
                error!(service, order_id, cause, problem, trace_id, "cannot be handled");
                match &item.source {
                    Source::Command { .. } => ("failed", "", problem.as_str()),
                    Source::Event(_) => ("parked", "", problem.as_str()),
                }
            }
            Verdict::Unknown(problem) => {
                warn!(
                    service,
                    order_id, cause, problem, trace_id, "the caller is told that the outcome is unknown"
                );
                ("unknown", "", problem.as_str())
            }
        };
        self.store.meters.input(item.cause.subject, outcome, reason);
        if let Some((ending, after)) = told.ends {
            self.store.meters.order(ending, after);
        }
        spans::ended(&item.span, outcome, why, told);
        match item.source {
            Source::Command { answer, .. } => drop(answer.send(verdict)),
            Source::Event(message) => match verdict {
                Verdict::Failed(problem) => self.store.park(&message, &problem).await,
                Verdict::Refused(refusal) => {
                    // Only commands are refused; an event that is shows a hole in the decisions.
                    self.store
                        .park(&message, &format!("an event was refused: {refusal:?}"))
                        .await;
                }
                Verdict::Done { .. } | Verdict::Ignored { .. } | Verdict::Unknown(_) => {
                    acknowledge(&message, AckKind::Ack).await;
                }
            },
        }
    }
}

/// Whether each message is a commit of its own: one event of one order.
fn independent(kinds: &[Kind]) -> bool {
    let mut orders = HashSet::new();
    kinds.iter().all(|kind| match kind {
        Kind::Event(id) => orders.insert(id),
        Kind::Schedule(_) | Kind::Record(_) => false,
    })
}

enum Answer<S: Service> {
    /// An `Ask` among these could not be made yet, on a state that was not read.
    Decided(Decision<S>),
    /// A call is out.
    Asked,
    /// The call's outcome looks at records that are not there yet.
    Unread,
    Failed(String),
}

enum Stored {
    All,
    None(CommitError),
    Each(HashMap<OrderId, Result<(), CommitError>>),
}

/// What a plan rests on that nothing has proved yet.
#[derive(Default)]
struct Doubts {
    orders: HashSet<OrderId>,
    ledger: bool,
    unread: bool,
}
