//! Given / when / then tests of a service's decisions, without a broker.
//!
//! ```ignore
//! Scenario::<PaymentService>::given([opened(&order)])
//!     .asking(|ask| approve(ask))
//!     .when([confirm(&order)])
//!     .then([charged(&order)]);
//! ```
//!
//! The inputs of a scenario are decided in the given order, then all of them again (redelivery), and then in shuffled orders
//! with duplicates and with late outcomes of outside calls. In every order:
//!
//! - an input that made the service say something is ignored from then on,
//! - no event is said twice about one order (or other aggregate), unless its entry is rewritten, and then with another body,
//! - a decision writes only records that it reads,
//! - the condition of [`Scenario::always`] holds,
//! - after a bounded number of redeliveries the service says nothing more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::str::FromStr;

use jiff::Timestamp;
use quadrille_events::{
    AggregateId, Approval, Currency, CustomerId, ItemId, Lifetime, Line, Order, OrderId, PaymentMode, Said,
};

use crate::decision::{Context, Deadline, Decision, Refusal, Say, Service};
use crate::fate::mix;

/// The number of shuffled orders in which each scenario is run.
const SHUFFLES: u64 = 48;

/// The time of every decision in a scenario.
pub const NOW: Timestamp = Timestamp::constant(1_767_323_045, 0); // 2026-01-02T03:04:05Z

/// A sample order: two apples for 250 each, charged at once, without approval.
pub fn order(order_id: &str) -> Order {
    order_of(order_id, &[("apple", 2)])
}

/// A sample order of these items and quantities, 250 a piece.
///
/// # Panics
/// If an id is not valid.
pub fn order_of(order_id: &str, items: &[(&str, u32)]) -> Order {
    let lines: Vec<_> = items
        .iter()
        .map(|(item, quantity)| Line {
            item_id: id::<ItemId>(item),
            quantity: *quantity,
            unit_price: 250,
        })
        .collect();
    Order {
        order_id: id::<OrderId>(order_id),
        customer_id: id::<CustomerId>("ada"),
        total: lines
            .iter()
            .map(|line| u64::from(line.quantity) * line.unit_price)
            .sum(),
        lines,
        currency: Currency::EUR,
        address: "1 Main St".to_owned(),
        payment: PaymentMode::Auto,
        approval: Approval::Auto,
        placed_at: None,
    }
}

/// The id `text`.
///
/// # Panics
/// If the id is not valid.
pub fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error:?}"))
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum DecisionAnswer<E> {
    /// These events were said, or the ledger was changed.
    Said(Vec<E>),
    /// Nothing was done, for this reason.
    Ignored(&'static str),
    /// The command was refused.
    Refused(Refusal),
}

/// A service under test, without a broker: what it has said and recorded so far.
pub struct TestedService<S: Service> {
    /// The state of each order (or other aggregate) about which something was said.
    pub states: BTreeMap<AggregateId, S::State>,
    /// The ledger.
    pub records: BTreeMap<String, S::Record>,
    /// The deadlines that are set: time and event.
    pub deadlines: BTreeMap<AggregateId, (Timestamp, S::Said)>,
    /// All events, oldest first.
    pub said: Vec<S::Said>,
}

/// One test: given events and records, when inputs come, then these events are said.
pub struct Scenario<S: Service> {
    given: Vec<S::Said>,
    records: BTreeMap<String, S::Record>,
    outcome: fn(&S::Ask) -> S::Input,
    always: fn(&TestedService<S>),
    inputs: Vec<S::Input>,
}

/// The outcome of a scenario, for further checks.
pub struct ScenarioOutcome<S: Service> {
    answers: Vec<DecisionAnswer<S::Said>>,
    service: TestedService<S>,
}

impl<S: Service> Scenario<S> {
    /// Starts with the events that the service has already said.
    pub fn given(said: impl IntoIterator<Item = S::Said>) -> Self {
        Self {
            given: said.into_iter().collect(),
            records: BTreeMap::new(),
            outcome: |ask| panic!("no outcome (`asking`) is set for the outside call {ask:?}"),
            always: |_| {},
            inputs: Vec::new(),
        }
    }

    /// Starts with this ledger.
    #[must_use]
    pub fn records(mut self, records: impl IntoIterator<Item = (String, S::Record)>) -> Self {
        self.records = records.into_iter().collect();
        self
    }

    /// Sets the function that answers outside calls.
    #[must_use]
    pub fn asking(mut self, outcome: fn(&S::Ask) -> S::Input) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the check (it panics) that must hold after every step, in every order of the inputs.
    #[must_use]
    pub fn always(mut self, holds: fn(&TestedService<S>)) -> Self {
        self.always = holds;
        self
    }

    /// Sets the inputs.
    #[must_use]
    pub fn when(mut self, inputs: impl IntoIterator<Item = S::Input>) -> Self {
        self.inputs = inputs.into_iter().collect();
        self
    }

    /// Runs the scenario and checks that exactly these events are said, in this order, and that no record changes.
    ///
    /// # Panics
    /// If a check fails: one of this scenario, or one of those in the documentation of this module.
    #[track_caller]
    pub fn then(self, said: impl IntoIterator<Item = S::Said>) -> ScenarioOutcome<S> {
        self.then_recording(said, [])
    }

    /// Like [`Scenario::then`], but these records change.
    #[track_caller]
    pub fn then_recording(
        self,
        said: impl IntoIterator<Item = S::Said>,
        changed: impl IntoIterator<Item = (String, S::Record)>,
    ) -> ScenarioOutcome<S> {
        let changed = changed.into_iter().map(|(key, record)| (key, Some(record)));
        self.then_changing(said, changed.collect())
    }

    /// Like [`Scenario::then`], but the records with these keys are removed.
    #[track_caller]
    pub fn then_removing(
        self,
        said: impl IntoIterator<Item = S::Said>,
        removed: impl IntoIterator<Item = String>,
    ) -> ScenarioOutcome<S> {
        self.then_changing(said, removed.into_iter().map(|key| (key, None)).collect())
    }

    #[track_caller]
    fn then_changing(
        self,
        said: impl IntoIterator<Item = S::Said>,
        changed: BTreeMap<String, Option<S::Record>>,
    ) -> ScenarioOutcome<S> {
        let mut service = TestedService::new(&self.given, &self.records);
        let answers: Vec<_> = self
            .inputs
            .iter()
            .map(|input| self.settle(&mut service, input))
            .collect();
        let expected: Vec<_> = said.into_iter().collect();
        assert_eq!(
            service.said[self.given.len()..],
            expected[..],
            "the events that were said (left) are not the expected ones"
        );
        let keys: BTreeSet<_> = self.records.keys().chain(service.records.keys()).collect();
        let recorded: BTreeMap<_, _> = keys
            .into_iter()
            .filter(|key| self.records.get(*key) != service.records.get(*key))
            .map(|key| (key.clone(), service.records.get(key).cloned()))
            .collect();
        assert_eq!(
            recorded, changed,
            "the changed records (left) are not the expected ones"
        );

        self.replay(&mut service);
        for seed in 0..SHUFFLES {
            self.shuffle(seed);
        }
        ScenarioOutcome { answers, service }
    }

    /// Decides an input and, if that makes an outside call, its outcome.
    #[track_caller]
    fn settle(&self, service: &mut TestedService<S>, input: &S::Input) -> DecisionAnswer<S::Said> {
        let answer = match service.handle(input) {
            Ok(answer) => answer,
            Err(ask) => {
                let outcome = (self.outcome)(&ask);
                service
                    .handle(&outcome)
                    .unwrap_or_else(|ask| panic!("the outcome {outcome:?} makes another call: {ask:?}"))
            }
        };
        self.check(service, input, &answer);
        answer
    }

    /// Checks what must hold after every step.
    #[track_caller]
    fn check(&self, service: &TestedService<S>, input: &S::Input, answer: &DecisionAnswer<S::Said>) {
        (self.always)(service);
        if let DecisionAnswer::Said(_) = answer {
            let again = match service.decide(input) {
                Decision::Ask(ask) => service.decide(&(self.outcome)(&ask)),
                said @ (Decision::Say(_) | Decision::Ignore(_) | Decision::Refuse(_)) => said,
            };
            assert!(
                !matches!(again, Decision::Say(_)),
                "{input:?} makes the service say something a second time"
            );
        }
    }

    /// Delivers every input again: nothing may be said.
    #[track_caller]
    fn replay(&self, service: &mut TestedService<S>) {
        for input in &self.inputs {
            if let DecisionAnswer::Said(said) = self.settle(service, input) {
                panic!("delivered again, {input:?} makes the service say {said:?}");
            }
        }
    }

    /// Delivers the inputs in another order, some of them twice, and outcomes of outside calls late.
    #[track_caller]
    fn shuffle(&self, seed: u64) {
        let mut random = SplitMix64(mix(seed ^ 0x9e37_79b9_7f4a_7c15));
        let mut queue: VecDeque<S::Input> = VecDeque::new();
        for input in &self.inputs {
            for _ in 0..=random.below(2) {
                queue.insert(random.below(queue.len() + 1), input.clone());
            }
        }
        let mut service = TestedService::new(&self.given, &self.records);
        while let Some(input) = queue.pop_front() {
            match service.handle(&input) {
                Ok(answer) => self.check(&service, &input, &answer),
                Err(ask) => queue.insert(random.below(queue.len() + 1), (self.outcome)(&ask)),
            }
        }
        // A command that was refused because it came too early may take effect now. But every pass that says something adds to
        // the history, and no history is longer than events and inputs together.
        for _ in 0..=self.inputs.len() + S::Said::NAMES.len() {
            let answers: Vec<_> = self
                .inputs
                .iter()
                .map(|input| self.settle(&mut service, input))
                .collect();
            if !answers
                .iter()
                .any(|answer| matches!(answer, DecisionAnswer::Said(_)))
            {
                return;
            }
        }
        panic!("redelivered inputs make the service say something again and again (shuffle {seed})");
    }
}

impl<S: Service> ScenarioOutcome<S> {
    /// Checks that the last input was refused as `kind` (`Refusal::Conflict`), with a message that contains `fragment`.
    #[track_caller]
    pub fn refused(self, kind: fn(String) -> Refusal, fragment: &str) -> Self {
        match self.answers.last() {
            Some(DecisionAnswer::Refused(refusal)) => {
                let words = refusal.words();
                assert_eq!(*refusal, kind(words.to_owned()));
                assert!(words.contains(fragment), "refused with another message: {words}");
            }
            other => panic!("not refused: {other:?}"),
        }
        self
    }

    /// Checks that the last input was refused because of this field, with a message that contains `fragment`.
    #[track_caller]
    pub fn invalid(self, field: &str, fragment: &str) -> Self {
        match self.answers.last() {
            Some(DecisionAnswer::Refused(refusal)) => {
                assert_eq!(refusal.field(), Some(field), "{refusal:?}");
                let words = refusal.words();
                assert!(words.contains(fragment), "refused with another message: {words}");
            }
            other => panic!("not refused: {other:?}"),
        }
        self
    }

    /// Checks that the last input was ignored, for a reason that contains `fragment`.
    #[track_caller]
    pub fn ignored(self, fragment: &str) -> Self {
        match self.answers.last() {
            Some(DecisionAnswer::Ignored(reason)) => {
                assert!(reason.contains(fragment), "ignored for another reason: {reason}")
            }
            other => panic!("not ignored: {other:?}"),
        }
        self
    }

    /// Checks that exactly these deadlines are set at the end.
    #[track_caller]
    pub fn deadlines(self, left: impl IntoIterator<Item = (Timestamp, S::Said)>) -> Self {
        let found: Vec<_> = self.service.deadlines.values().cloned().collect();
        assert_eq!(
            found,
            left.into_iter().collect::<Vec<_>>(),
            "the deadlines that are set (left) are not the expected ones"
        );
        self
    }
}

impl<S: Service> TestedService<S> {
    /// The service after it has said `said`, with the ledger `records`.
    pub fn new(said: &[S::Said], records: &BTreeMap<String, S::Record>) -> Self {
        let mut service = TestedService {
            states: BTreeMap::new(),
            records: records.clone(),
            deadlines: BTreeMap::new(),
            said: Vec::new(),
        };
        said.iter().for_each(|said| service.apply(said));
        service
    }

    fn apply(&mut self, said: &S::Said) {
        S::fold(self.states.entry(said.about()).or_default(), said);
        self.said.push(said.clone());
    }

    /// What the service would do with an input. The decision sees only the records that [`Service::reads`] names.
    pub fn decide(&self, input: &S::Input) -> Decision<S> {
        let state = S::about(input)
            .and_then(|about| self.states.get(&about))
            .cloned()
            .unwrap_or_default();
        let reads = S::reads(input);
        let records: BTreeMap<_, _> = self
            .records
            .iter()
            .filter(|(key, _)| reads.names(key))
            .map(|(k, r)| (k.clone(), r.clone()))
            .collect();
        S::decide(
            &state,
            input,
            &Context {
                now: NOW,
                records: &records,
            },
        )
    }

    /// Decides an input and commits the decision. `Err` with the outside call that must be made first.
    #[track_caller]
    fn handle(&mut self, input: &S::Input) -> Result<DecisionAnswer<S::Said>, S::Ask> {
        match self.decide(input) {
            Decision::Ask(ask) => Err(ask),
            Decision::Ignore(reason) => Ok(DecisionAnswer::Ignored(reason)),
            Decision::Refuse(refusal) => Ok(DecisionAnswer::Refused(refusal)),
            Decision::Say(say) => {
                self.commit(input, &say);
                Ok(DecisionAnswer::Said(say.events))
            }
        }
    }

    #[track_caller]
    fn commit(&mut self, input: &S::Input, say: &Say<S>) {
        let about = S::about(input);
        assert!(
            !say.events.is_empty() || !say.records.is_empty(),
            "{input:?}: the commit is empty; the decision should be `Ignore`"
        );
        for event in &say.events {
            assert_eq!(
                Some(event.about()),
                about,
                "{event:?} is not about the aggregate of {input:?}"
            );
            let mut before = self.said.iter().filter(|old| old.name() == event.name());
            let twice = match event.name().lifetime {
                Lifetime::Once => before.any(|old| old.about() == event.about()),
                Lifetime::Latest => before.rfind(|old| old.about() == event.about()) == Some(event),
            };
            assert!(
                !twice,
                "{} is said twice; the second time it answers {input:?}",
                event.name()
            );
            self.apply(event);
        }
        let mut written = BTreeSet::new();
        for (key, record) in &say.records {
            assert!(
                S::reads(input).names(key),
                "{input:?} writes `{key}`, which it has not read"
            );
            assert!(
                written.insert(key),
                "{input:?} writes `{key}` twice in one commit"
            );
            match record {
                Some(record) => drop(self.records.insert(key.clone(), record.clone())),
                None => assert!(
                    self.records.remove(key).is_some(),
                    "{input:?} removes `{key}`, which does not exist; the decision should be `Refuse` or `Ignore`"
                ),
            }
        }
        if let (Some(about), deadline) = (about, &say.deadline) {
            match deadline {
                Deadline::Keep => {}
                Deadline::Clear => drop(self.deadlines.remove(&about)),
                Deadline::Set { at, says } => {
                    let old = self.deadlines.insert(about, (*at, says.clone()));
                    assert_eq!(old, None, "{input:?} sets a second deadline");
                }
            }
        }
    }
}

/// Inputs with their names in tables and generated documents.
pub type NamedInputs<I> = Vec<(&'static str, I)>;

/// Sample states and inputs of a service. [`every_pair`] makes the table of all decisions from them, and the map (`tools/map`)
/// explores what follows from the commands and the outcomes.
pub struct Samples<S: Service> {
    /// Names of states, and the events that lead to them.
    pub states: Vec<(&'static str, Vec<S::Said>)>,
    /// The inputs that heard events become.
    pub heard: NamedInputs<S::Input>,
    /// Commands by their name in causation ids, followed in brackets by what is special about the sample.
    pub commands: NamedInputs<S::Input>,
    /// All possible outcomes of an outside call.
    pub outcomes: fn(&S::Ask) -> NamedInputs<S::Input>,
    /// The ledger.
    pub records: BTreeMap<String, S::Record>,
    /// The name of a state in HTTP answers.
    pub state_name: fn(&S::State) -> &'static str,
}

/// The decision on every pair of a sample state and a sample input, one line each. Compared with a golden file, so that every
/// change of a decision shows in a review. Checks that no pair panics, that no event is refused (only a command has a client
/// that can be told), and that no input makes the service say something twice.
#[track_caller]
pub fn every_pair<S: Service>(samples: &Samples<S>) -> String {
    let mut outcomes: NamedInputs<S::Input> = Vec::new();
    for (_, said) in &samples.states {
        for (_, input) in samples.heard.iter().chain(&samples.commands) {
            if let Err(ask) = TestedService::<S>::new(said, &samples.records).handle(input) {
                let new = |(name, _): &(&str, S::Input)| outcomes.iter().all(|(known, _)| known != name);
                let new: Vec<_> = (samples.outcomes)(&ask).into_iter().filter(new).collect();
                outcomes.extend(new);
            }
        }
    }
    let mut lines = String::new();
    for (state, said) in &samples.states {
        lines.push_str(&format!("{state}\n"));
        for (name, input) in samples.heard.iter().chain(&outcomes).chain(&samples.commands) {
            let mut service = TestedService::<S>::new(said, &samples.records);
            let answer = match service.handle(input) {
                Err(ask) => format!("asks {}", variant(&ask)),
                Ok(DecisionAnswer::Said(events)) => {
                    let again = service.decide(input);
                    assert!(
                        !matches!(again, Decision::Say(_)),
                        "{state}: {name} makes the service say something a second time"
                    );
                    let says: Vec<_> = events.iter().map(|event| event.name().to_string()).collect();
                    if says.is_empty() {
                        "records".to_owned()
                    } else {
                        format!("says {}", says.join(", "))
                    }
                }
                Ok(DecisionAnswer::Ignored(reason)) => format!("ignored: {reason}"),
                Ok(DecisionAnswer::Refused(refusal)) => {
                    assert!(
                        samples.commands.iter().any(|(command, _)| command == name),
                        "{state}: the event {name} is refused"
                    );
                    let field = refusal
                        .field()
                        .map(|field| format!("{field}: "))
                        .unwrap_or_default();
                    format!("{} {field}{}", refusal.status(), refusal.words())
                }
            };
            lines.push_str(&format!("    {name:<24} {answer}\n"));
        }
    }
    lines
}

/// The name of the variant of an enum's value.
pub fn variant(value: &impl Debug) -> String {
    format!("{value:?}")
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .collect()
}

/// The random numbers of the shuffles. The same on every machine, so that a failing shuffle fails again.
struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % limit as u64) as usize
    }
}
