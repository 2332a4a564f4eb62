//! Planning: each input of a group is decided in turn, in memory, on as few reads as is safe.
//!
//! An event is checked by the broker when it is stored, so it may rest on a guess or on what the instance remembers. Ignoring,
//! refusing and calling the outside are not checked: what they rest on is read from the leader after the input came, or proved
//! by the commit of the same group. [`Planner::plan`] therefore decides, looks at what it has not proved, reads that, and decides
//! again.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use futures::FutureExt;
use jiff::Timestamp;
use quadrille_decision::{AskError, Context, Deadline, Decision, Reads, Say, Service};
use quadrille_events::{AggregateId, EventName, Lifetime, Said};
use tracing::{debug, error};

use crate::cause::Effects;
use crate::engine::input::{OpenCall, PendingInput, Requester, Verdict};
use crate::engine::memory::Memory;
use crate::engine::messages::Occasion;
use crate::engine::outside_calls::OutsideCalls;
use crate::engine::retry::Retry;
use crate::engine::store::{KnownState, StateError, Store};
use crate::nats::{MAX_BATCH, Write};
use crate::telemetry::spans::{CommitSize, PublishSpans};

/// The most messages of one commit; an input adds at most two events, a schedule and a record a line beyond it.
const MAX_WRITES: usize = MAX_BATCH - 128;

/// The most bytes of one commit.
const MAX_COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// What the headers of a message take, for [`MAX_COMMIT_BYTES`].
const HEADER_BYTES: usize = 512;

/// One input of the group in progress.
pub(super) struct InProgress<S: Service> {
    pub pending: PendingInput<S>,
    /// What the present round has decided; `None` if the next round has to, or if an outside call is open.
    pub decided: Option<DecidedInput<S>>,
}

/// How an input ends once the round's messages are stored, and what it brings about.
pub(super) struct DecidedInput<S: Service> {
    pub verdict: Verdict<S>,
    pub effects: Effects,
    /// The spans of what it says, while it is being committed.
    pub spans: PublishSpans,
}

impl<S: Service> InProgress<S> {
    pub fn new(pending: PendingInput<S>) -> Self {
        Self {
            pending,
            decided: None,
        }
    }

    /// Begins the spans of what the input says, in a commit of this size.
    pub fn begin_spans(&mut self, size: CommitSize) {
        if let Some(decided) = &mut self.decided {
            let PendingInput {
                span, cause, about, ..
            } = &self.pending;
            decided.spans = PublishSpans::begin(span, cause, about.as_ref(), &decided.effects, size);
        }
    }
}

impl<S: Service> DecidedInput<S> {
    fn without_effects(verdict: Verdict<S>) -> Self {
        Self {
            verdict,
            effects: Effects::default(),
            spans: PublishSpans::default(),
        }
    }
}

/// What the decisions on a group come to.
pub(super) struct GroupPlan<S: Service> {
    /// What to store: each aggregate's events in turn, then the records.
    pub writes: Vec<PlannedWrite>,
    /// The state of each aggregate after the group.
    pub states: HashMap<AggregateId, KnownState<S::State>>,
}

impl<S: Service> GroupPlan<S> {
    /// Whether the end of an input rests on what the group stores: on events about the same aggregate, or on the ledger.
    pub fn proves(&self, about: Option<&AggregateId>) -> bool {
        about.is_none_or(|about| self.states.contains_key(about))
    }
}

/// A message of a plan, and what it is.
pub(super) struct PlannedWrite {
    pub write: Write,
    pub content: WriteContent,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteContent {
    Event(AggregateId),
    Schedule,
    Record(String),
}

/// What a plan rests on that nothing has proved yet.
#[derive(Default)]
struct Doubts {
    aggregates: HashSet<AggregateId>,
    ledger: bool,
    /// The outcome of an outside call looks at records that were not read.
    unread_records: bool,
}

/// A plan in the making.
struct Draft<S: Service> {
    plan: GroupPlan<S>,
    doubts: Doubts,
    /// The aggregates about which an outside call waits for a state that is read first.
    calling: HashSet<AggregateId>,
    /// The entries that are rewritten: a second time would have to be another commit.
    rewritten: HashSet<(&'static EventName, AggregateId)>,
    bytes: usize,
    now: Timestamp,
}

impl<S: Service> Draft<S> {
    fn new(now: Timestamp) -> Self {
        Self {
            plan: GroupPlan {
                writes: Vec::new(),
                states: HashMap::new(),
            },
            doubts: Doubts::default(),
            calling: HashSet::new(),
            rewritten: HashSet::new(),
            bytes: 0,
            now,
        }
    }

    fn is_full(&self, records: usize) -> bool {
        self.plan.writes.len() + records >= MAX_WRITES || self.bytes >= MAX_COMMIT_BYTES
    }

    fn add(&mut self, write: Write, content: WriteContent) {
        self.bytes += write.body.len() + HEADER_BYTES;
        self.plan.writes.push(PlannedWrite { write, content });
    }

    /// Whether an event would rewrite an entry that the group rewrites already.
    fn rewrites_again(&self, events: &[S::Said]) -> bool {
        events.iter().any(|event| {
            event.name().lifetime == Lifetime::Latest
                && self.rewritten.contains(&(event.name(), event.about()))
        })
    }
}

/// What a service answers to an input.
enum Answer<S: Service> {
    /// A decision. An `Ask` is one that may not be made yet, on a state that was not read.
    Decided(Decision<S>),
    /// An outside call is open.
    Called,
    /// The outcome of an outside call looks at records that were not read.
    UnreadRecords,
    Failed(String),
}

/// Plans one group.
pub(super) struct Planner<'e, S: Service> {
    service: &'e S,
    store: &'e Store,
    calls: &'e OutsideCalls<S>,
    memory: &'e mut Memory<S::State, S::Record>,
    known: HashMap<AggregateId, KnownState<S::State>>,
    /// The aggregates whose state was read for this group.
    fresh: HashSet<AggregateId>,
    /// Why an aggregate has no state: its entries make no sense, or are not all there.
    unreadable: HashMap<AggregateId, StateError>,
    /// Whether the ledger was read for this group.
    fresh_ledger: bool,
}

impl<'e, S: Service> Planner<'e, S> {
    pub fn new(
        service: &'e S,
        store: &'e Store,
        calls: &'e OutsideCalls<S>,
        memory: &'e mut Memory<S::State, S::Record>,
    ) -> Self {
        memory.ledger.trim();
        Self {
            service,
            store,
            calls,
            memory,
            known: HashMap::new(),
            fresh: HashSet::new(),
            unreadable: HashMap::new(),
            fresh_ledger: false,
        }
    }

    /// Decides every input of the group.
    pub async fn plan(mut self, group: &mut [InProgress<S>]) -> Result<GroupPlan<S>, Retry> {
        let mut unread = self.recall(group);
        loop {
            if !unread.is_empty() {
                self.read_states(unread.drain().collect()).await?;
            }
            self.read_ledger(group).await?;
            let (plan, doubts) = self.decide_all(group);
            unread.extend(
                doubts
                    .aggregates
                    .into_iter()
                    .filter(|about| !self.fresh.contains(about)),
            );
            let reread_ledger = doubts.ledger && !self.fresh_ledger;
            if unread.is_empty() && !reread_ledger && !doubts.unread_records {
                return Ok(plan);
            }
            self.memory.ledger.undo();
            if reread_ledger {
                self.memory.ledger.forget();
                self.fresh_ledger = true;
            }
        }
    }

    /// Takes the states that are remembered, or may be guessed; returns the aggregates whose state has to be read.
    fn recall(&mut self, group: &[InProgress<S>]) -> HashSet<AggregateId> {
        let mut unread = HashSet::new();
        for InProgress { pending, .. } in group {
            let Some(about) = &pending.about else {
                continue;
            };
            if pending.read_first {
                unread.insert(about.clone());
            } else if !self.known.contains_key(about) {
                if let Some(remembered) = self.memory.recall(about) {
                    self.known.insert(about.clone(), remembered);
                } else if S::opens(&pending.input) {
                    self.known.insert(about.clone(), KnownState::default());
                } else {
                    unread.insert(about.clone());
                }
            }
        }
        unread
    }

    async fn read_states(&mut self, unread: Vec<AggregateId>) -> Result<(), Retry> {
        for (about, state) in self.store.states::<S>(&unread).await? {
            self.fresh.insert(about.clone());
            match state {
                Ok(state) => drop(self.known.insert(about, state)),
                Err(StateError::Read(error)) => return Err(error.into()),
                Err(error @ (StateError::Unreadable { .. } | StateError::Incomplete { .. })) => {
                    drop(self.unreadable.insert(about, error));
                }
            }
        }
        Ok(())
    }

    /// Reads the records that the group looks at and the instance does not remember.
    async fn read_ledger(&mut self, group: &[InProgress<S>]) -> Result<(), Retry> {
        let mut missing = HashSet::new();
        for InProgress { pending, .. } in group {
            let reads = S::reads(&pending.input);
            if self.memory.ledger.holds(&reads) {
                continue;
            }
            match reads {
                Reads::Nothing => {}
                Reads::Keys(keys) => missing.extend(keys),
                Reads::Lagging(keys) => {
                    let is_old = |key: &String| !self.memory.ledger.holds_recent(key);
                    missing.extend(keys.into_iter().filter(is_old));
                }
                all @ Reads::All(_) => self.load(&all).await?,
            }
        }
        if !missing.is_empty() {
            self.load(&Reads::Keys(missing.into_iter().collect())).await?;
        }
        Ok(())
    }

    async fn load(&mut self, reads: &Reads) -> Result<(), Retry> {
        match self.store.records::<S>(reads).await {
            Ok(records) => {
                self.memory.ledger.learn(reads, records);
                Ok(())
            }
            Err(StateError::Read(error)) => Err(error.into()),
            // No decision can be made on such a record; an operator has to put it right.
            Err(error @ (StateError::Unreadable { .. } | StateError::Incomplete { .. })) => {
                Err(Retry::OneByOne(error.to_string()))
            }
        }
    }

    /// One pass over the group: each input meets the state that those before it leave.
    fn decide_all(&mut self, group: &mut [InProgress<S>]) -> (GroupPlan<S>, Doubts) {
        let mut draft = Draft::new(Timestamp::now());
        for InProgress { pending, decided } in group {
            *decided = if draft.is_full(self.memory.ledger.changes()) {
                // The rest of the group is the next round's.
                None
            } else {
                self.decide_one(pending, &mut draft)
            };
        }
        let Draft {
            mut plan,
            mut doubts,
            calling,
            ..
        } = draft;
        doubts
            .aggregates
            .retain(|about| calling.contains(about) || !plan.states.contains_key(about));
        for (key, record, revision) in self.memory.ledger.changed() {
            match self.store.record(key, record, revision) {
                Ok(write) => plan.writes.push(PlannedWrite {
                    write,
                    content: WriteContent::Record(key.to_owned()),
                }),
                Err(problem) => error!(key, problem, "a record cannot be written as JSON"),
            }
        }
        (plan, doubts)
    }

    fn decide_one(&mut self, pending: &mut PendingInput<S>, draft: &mut Draft<S>) -> Option<DecidedInput<S>> {
        let about = pending.about.clone();
        if let Some(error) = about.as_ref().and_then(|about| self.unreadable.get(about)) {
            let verdict = match error {
                StateError::Unreadable { .. } => Verdict::Failed(error.to_string()),
                StateError::Incomplete { .. } | StateError::Read(_) => Verdict::Postponed(error.to_string()),
            };
            return Some(DecidedInput::without_effects(verdict));
        }
        let known = about
            .as_ref()
            .and_then(|about| draft.plan.states.get(about).or_else(|| self.known.get(about)));
        let known = known.cloned().unwrap_or_default();
        // A state that is only planned is no ground for an outside call either: the next round makes it.
        let may_call = !self.service.asks_outside()
            || about
                .as_ref()
                .is_none_or(|about| self.fresh.contains(about) && !draft.plan.states.contains_key(about));
        match self.answer(pending, &known.state, may_call, draft.now) {
            Answer::Called => None,
            Answer::UnreadRecords => {
                draft.doubts.unread_records = true;
                None
            }
            Answer::Failed(problem) => Some(DecidedInput::without_effects(Verdict::Failed(problem))),
            Answer::Decided(decision) => self.take(decision, pending, known, draft),
        }
    }

    /// The service's answer; the outcome of an outside call that answers at once is decided at once.
    fn answer(
        &self,
        pending: &mut PendingInput<S>,
        state: &S::State,
        may_call: bool,
        now: Timestamp,
    ) -> Answer<S> {
        if pending.open_call.is_some() {
            return Answer::Called;
        }
        loop {
            let context = Context {
                now,
                records: self.memory.ledger.records(),
            };
            let decide = AssertUnwindSafe(|| S::decide(state, &pending.input, &context));
            let decision = match catch_unwind(decide) {
                Ok(decision) => decision,
                Err(_) => return Answer::Failed("the decision panicked; see the log".to_owned()),
            };
            let Decision::Ask(ask) = decision else {
                return Answer::Decided(decision);
            };
            if !may_call {
                return Answer::Decided(Decision::Ask(ask));
            }
            let mut call = self.calls.begin(ask.clone());
            match (&mut call).now_or_never() {
                Some(Ok(outcome)) => {
                    pending.input = outcome;
                    if !self.memory.ledger.holds(&S::reads(&pending.input)) {
                        return Answer::UnreadRecords;
                    }
                }
                Some(Err(AskError::Permanent(problem))) => return Answer::Failed(problem),
                Some(Err(AskError::Transient(problem))) => {
                    debug!(problem, "an outside call failed; it is repeated");
                    let future = Mutex::new(self.calls.begin(ask.clone()));
                    pending.open_call = Some(OpenCall { ask, future });
                    return Answer::Called;
                }
                None => {
                    let future = Mutex::new(call);
                    pending.open_call = Some(OpenCall { ask, future });
                    return Answer::Called;
                }
            }
        }
    }

    /// Takes a decision into the draft, with the doubts that come with it.
    fn take(
        &mut self,
        decision: Decision<S>,
        pending: &PendingInput<S>,
        known: KnownState<S::State>,
        draft: &mut Draft<S>,
    ) -> Option<DecidedInput<S>> {
        let about = pending.about.clone();
        let (looks_at_records, needs_newest) = match S::reads(&pending.input) {
            Reads::Nothing => (false, false),
            Reads::Lagging(_) => (true, false),
            Reads::Keys(_) | Reads::All(_) => (true, true),
        };
        match decision {
            Decision::Ask(_) => {
                draft.calling.extend(about.clone());
                draft.doubts.aggregates.extend(about);
                None
            }
            Decision::Ignore(reason) => {
                // An event is ignored because of what was said about its aggregate; a command may rest on the ledger as well.
                let is_command = matches!(pending.requester, Requester::Command { .. });
                draft.doubts.ledger |= needs_newest && (is_command || about.is_none());
                draft.doubts.aggregates.extend(about);
                let state = known.state;
                Some(DecidedInput::without_effects(Verdict::Ignored { state, reason }))
            }
            Decision::Refuse(refusal) => {
                draft.doubts.aggregates.extend(about);
                draft.doubts.ledger |= looks_at_records;
                Some(DecidedInput::without_effects(Verdict::Refused(refusal)))
            }
            Decision::Say(say) if draft.rewrites_again(&say.events) => None,
            Decision::Say(say) => {
                // What was decided from records and changes none of them is not checked either.
                draft.doubts.ledger |= say.records.is_empty() && needs_newest;
                Some(self.say(say, pending, known, draft))
            }
        }
    }

    /// Turns what is said into messages.
    fn say(
        &mut self,
        say: Say<S>,
        pending: &PendingInput<S>,
        mut known: KnownState<S::State>,
        draft: &mut Draft<S>,
    ) -> DecidedInput<S> {
        let mut effects = Effects::default();
        // The broker checks against what was stored before the group.
        let before = pending.about.as_ref().and_then(|about| self.known.get(about));
        let occasion = Occasion {
            cause: &pending.cause,
            now: draft.now,
            last_sequence: before.map_or(0, |known| known.sequence),
        };
        if let Deadline::Set { at, says } = &say.deadline {
            draft.add(self.store.schedule(says, *at, occasion), WriteContent::Schedule);
            effects.deadline = Some(says.name());
        }
        let mut clears_deadline = matches!(say.deadline, Deadline::Clear);
        for event in &say.events {
            let write = self.store.event(event, occasion, clears_deadline);
            clears_deadline = false;
            draft.add(write, WriteContent::Event(event.about()));
            if event.name().lifetime == Lifetime::Latest {
                draft.rewritten.insert((event.name(), event.about()));
            }
            S::fold(&mut known.state, event);
            let since = *known.since.get_or_insert(draft.now);
            if let Some(ending) = S::ending(event) {
                effects.ending = Some((ending, draft.now.duration_since(since).unsigned_abs()));
            }
            effects.events.push(event.name());
        }
        for (key, record) in say.records {
            self.memory.ledger.change(key, record);
        }
        let state = known.state.clone();
        if let Some(about) = &pending.about {
            draft.plan.states.insert(about.clone(), known);
        }
        DecidedInput {
            verdict: Verdict::Done { state },
            effects,
            spans: PublishSpans::default(),
        }
    }
}
