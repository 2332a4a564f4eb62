//! Given / when / then: how a service's decisions are tested, without a broker.
//!
//! ```ignore
//! Scenario::<PaymentService>::given([opened(&order)])
//!     .asking(|ask| approve(ask))
//!     .when([confirm(&order)])
//!     .then([charged(&order)]);
//! ```
//!
//! A scenario is played as written, and then as a broker may deliver it: everything once more, and in shuffled orders
//! with duplicates and with outside calls that answer late. Whatever the order,
//!
//! - what the service said makes it ignore the same input from then on,
//! - no event is said twice about one order (or other aggregate), unless its entry is rewritten, and then with another body,
//! - a record is written only by a decision that has read it,
//! - the ledger stays consistent (as [`Scenario::always`] says),
//! - the service falls silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::str::FromStr;

use jiff::Timestamp;
use quadrille_events::{
    AggregateId, Approval, Currency, CustomerId, ItemId, Lifetime, Line, Order, OrderId, PaymentMode, Said,
};

use crate::decision::{Context, Deadline, Decision, Refusal, Say, Service};
use crate::fate::mix;

/// In how many shuffled orders each scenario is played.
const SHUFFLES: u64 = 48;

/// When every scenario happens.
pub const NOW: Timestamp = Timestamp::constant(1_767_323_045, 0); // 2026-01-02T03:04:05Z

/// An order to play with: two apples for 500, paid automatically, approved automatically.
pub fn order(order_id: &str) -> Order {
    order_of(order_id, &[("apple", 2)])
}

/// An order of these items, at 250 apiece.
///
/// # Panics
/// If an id is none.
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
    }
}

/// An id.
///
/// # Panics
/// If it is none.
pub fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error:?}"))
}

/// What a service did with an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<E> {
    /// It said something, or changed its ledger.
    Said(Vec<E>),
    /// It had nothing to do, for this reason.
    Ignored(&'static str),
    /// It refused a command.
    Refused(Refusal),
}

/// All that one service has said and recorded so far.
pub struct World<S: Service> {
    /// The state of every order (or other aggregate) that was mentioned.
    pub states: BTreeMap<AggregateId, S::State>,
    /// The ledger.
    pub records: BTreeMap<String, S::Record>,
    /// The deadlines that are set.
    pub deadlines: BTreeMap<AggregateId, (Timestamp, S::Said)>,
    /// Everything that was said, oldest first.
    pub said: Vec<S::Said>,
}

/// One test: given, when, then.
pub struct Scenario<S: Service> {
    given: Vec<S::Said>,
    records: BTreeMap<String, S::Record>,
    outcome: fn(&S::Ask) -> S::Input,
    always: fn(&World<S>),
    inputs: Vec<S::Input>,
}

/// What came of a scenario, for further questions.
pub struct Then<S: Service> {
    answers: Vec<Answer<S::Said>>,
    world: World<S>,
}

impl<S: Service> Scenario<S> {
    /// Starts from what the service has already said.
    pub fn given(said: impl IntoIterator<Item = S::Said>) -> Self {
        Self {
            given: said.into_iter().collect(),
            records: BTreeMap::new(),
            outcome: |ask| panic!("the scenario has no `asking`, but the service asks {ask:?}"),
            always: |_| {},
            inputs: Vec::new(),
        }
    }

    /// Starts from this ledger, too.
    #[must_use]
    pub fn records(mut self, records: impl IntoIterator<Item = (String, S::Record)>) -> Self {
        self.records = records.into_iter().collect();
        self
    }

    /// What the outside world answers.
    #[must_use]
    pub fn asking(mut self, outcome: fn(&S::Ask) -> S::Input) -> Self {
        self.outcome = outcome;
        self
    }

    /// What must hold after every step, in every order of the inputs.
    #[must_use]
    pub fn always(mut self, holds: fn(&World<S>)) -> Self {
        self.always = holds;
        self
    }

    /// What comes in.
    #[must_use]
    pub fn when(mut self, inputs: impl IntoIterator<Item = S::Input>) -> Self {
        self.inputs = inputs.into_iter().collect();
        self
    }

    /// Exactly this is said, and no record changes.
    #[track_caller]
    pub fn then(self, said: impl IntoIterator<Item = S::Said>) -> Then<S> {
        self.then_recording(said, [])
    }

    /// Exactly this is said, and exactly these records change.
    #[track_caller]
    pub fn then_recording(
        self,
        said: impl IntoIterator<Item = S::Said>,
        changed: impl IntoIterator<Item = (String, S::Record)>,
    ) -> Then<S> {
        let mut world = World::new(&self.given, &self.records);
        let answers: Vec<_> = self
            .inputs
            .iter()
            .map(|input| self.settle(&mut world, input))
            .collect();
        let expected: Vec<_> = said.into_iter().collect();
        assert_eq!(
            world.said[self.given.len()..],
            expected[..],
            "what was said (left) is not what was expected"
        );
        let recorded: BTreeMap<_, _> = world
            .records
            .iter()
            .filter(|(key, record)| self.records.get(*key) != Some(record))
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect();
        assert_eq!(
            recorded,
            changed.into_iter().collect(),
            "the records that changed (left)"
        );

        self.replay(&mut world);
        for seed in 0..SHUFFLES {
            self.shuffle(seed);
        }
        Then { answers, world }
    }

    /// Decides an input and, if that asks the outside world, the outcome.
    #[track_caller]
    fn settle(&self, world: &mut World<S>, input: &S::Input) -> Answer<S::Said> {
        let answer = match world.meet(input) {
            Ok(answer) => answer,
            Err(ask) => {
                let outcome = (self.outcome)(&ask);
                world
                    .meet(&outcome)
                    .unwrap_or_else(|ask| panic!("{outcome:?} is an outcome, and asks {ask:?} again"))
            }
        };
        self.check(world, input, &answer);
        answer
    }

    /// What must hold after every step.
    #[track_caller]
    fn check(&self, world: &World<S>, input: &S::Input, answer: &Answer<S::Said>) {
        (self.always)(world);
        if let Answer::Said(_) = answer {
            let again = match world.decide(input) {
                Decision::Ask(ask) => world.decide(&(self.outcome)(&ask)),
                said @ (Decision::Say(_) | Decision::Ignore(_) | Decision::Refuse(_)) => said,
            };
            assert!(
                !matches!(again, Decision::Say(_)),
                "{input:?} was answered, and is answered again"
            );
        }
    }

    /// Everything is delivered once more: nothing comes of it.
    #[track_caller]
    fn replay(&self, world: &mut World<S>) {
        for input in &self.inputs {
            if let Answer::Said(said) = self.settle(world, input) {
                panic!("delivered once more, {input:?} makes the service say {said:?}");
            }
        }
    }

    /// Everything is delivered in another order, some of it twice; outside calls answer late.
    #[track_caller]
    fn shuffle(&self, seed: u64) {
        let mut dice = Dice(mix(seed ^ 0x9e37_79b9_7f4a_7c15));
        let mut queue: VecDeque<S::Input> = VecDeque::new();
        for input in &self.inputs {
            for _ in 0..=dice.below(2) {
                queue.insert(dice.below(queue.len() + 1), input.clone());
            }
        }
        let mut world = World::new(&self.given, &self.records);
        while let Some(input) = queue.pop_front() {
            match world.meet(&input) {
                Ok(answer) => self.check(&world, &input, &answer),
                Err(ask) => queue.insert(dice.below(queue.len() + 1), (self.outcome)(&ask)),
            }
        }
        // A command that was refused because it came too early may take effect now; but every pass can only make the
        // story longer, and no story has more steps than events and inputs.
        for _ in 0..=self.inputs.len() + S::Said::NAMES.len() {
            let answers: Vec<_> = self
                .inputs
                .iter()
                .map(|input| self.settle(&mut world, input))
                .collect();
            if !answers.iter().any(|answer| matches!(answer, Answer::Said(_))) {
                return;
            }
        }
        panic!("the service never falls silent (shuffle {seed})");
    }
}

impl<S: Service> Then<S> {
    /// The last input was refused as `kind` (`Refusal::Conflict`), in words that hold this fragment.
    #[track_caller]
    pub fn refused(self, kind: fn(String) -> Refusal, fragment: &str) -> Self {
        match self.answers.last() {
            Some(Answer::Refused(refusal)) => {
                let words = match refusal {
                    Refusal::NotFound(words) | Refusal::Conflict(words) | Refusal::Mismatch(words) => words,
                };
                assert_eq!(*refusal, kind(words.clone()));
                assert!(words.contains(fragment), "refused in other words: {words}");
            }
            other => panic!("not refused, but {other:?}"),
        }
        self
    }

    /// The last input was ignored, for a reason that holds this fragment.
    #[track_caller]
    pub fn ignored(self, fragment: &str) -> Self {
        match self.answers.last() {
            Some(Answer::Ignored(reason)) => {
                assert!(reason.contains(fragment), "ignored for another reason: {reason}")
            }
            other => panic!("not ignored, but {other:?}"),
        }
        self
    }

    /// These deadlines are left, and no other.
    #[track_caller]
    pub fn deadlines(self, left: impl IntoIterator<Item = (Timestamp, S::Said)>) -> Self {
        let found: Vec<_> = self.world.deadlines.values().cloned().collect();
        assert_eq!(
            found,
            left.into_iter().collect::<Vec<_>>(),
            "the deadlines that are set (left)"
        );
        self
    }
}

impl<S: Service> World<S> {
    /// The world after this was said, with this ledger.
    pub fn new(said: &[S::Said], records: &BTreeMap<String, S::Record>) -> Self {
        let mut world = World {
            states: BTreeMap::new(),
            records: records.clone(),
            deadlines: BTreeMap::new(),
            said: Vec::new(),
        };
        said.iter().for_each(|said| world.hear(said));
        world
    }

    fn hear(&mut self, said: &S::Said) {
        S::fold(self.states.entry(said.about()).or_default(), said);
        self.said.push(said.clone());
    }

    /// What the service would do with an input, looking at no record that it has not named.
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

    /// Decides an input and commits what is said; or hands back what the outside world is to be asked first.
    #[track_caller]
    fn meet(&mut self, input: &S::Input) -> Result<Answer<S::Said>, S::Ask> {
        match self.decide(input) {
            Decision::Ask(ask) => Err(ask),
            Decision::Ignore(reason) => Ok(Answer::Ignored(reason)),
            Decision::Refuse(refusal) => Ok(Answer::Refused(refusal)),
            Decision::Say(say) => {
                self.commit(input, &say);
                Ok(Answer::Said(say.events))
            }
        }
    }

    #[track_caller]
    fn commit(&mut self, input: &S::Input, say: &Say<S>) {
        let about = S::about(input);
        assert!(
            !say.events.is_empty() || !say.records.is_empty(),
            "{input:?}: says nothing, so it is to be ignored"
        );
        for event in &say.events {
            assert_eq!(
                Some(event.about()),
                about,
                "{event:?} is about something else than {input:?}"
            );
            let mut before = self.said.iter().filter(|old| old.name() == event.name());
            let twice = match event.name().lifetime {
                Lifetime::Once => before.any(|old| old.about() == event.about()),
                Lifetime::Latest => before.rfind(|old| old.about() == event.about()) == Some(event),
            };
            assert!(
                !twice,
                "{} is said twice, the second time because of {input:?}",
                event.name()
            );
            self.hear(event);
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
            self.records.insert(key.clone(), record.clone());
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

/// Things and what they are called.
pub type Named<T> = Vec<(&'static str, T)>;

/// What a service's decisions are explored with. A service declares it once; [`every_pair`] asks for the answer to each
/// pair of state and input, and the map (`tools/map`) for what follows from the commands and the outcomes.
pub struct Samples<S: Service> {
    /// States, and what the service has said to get there.
    pub states: Vec<(&'static str, Vec<S::Said>)>,
    /// Events, as the inputs that they are heard as.
    pub heard: Named<S::Input>,
    /// Commands, by the name that they have in causation ids; in brackets, what is special about this one.
    pub commands: Named<S::Input>,
    /// All that may come of asking the outside world.
    pub outcomes: fn(&S::Ask) -> Named<S::Input>,
    /// The ledger.
    pub records: BTreeMap<String, S::Record>,
    /// What a state is called to the outside.
    pub state_name: fn(&S::State) -> &'static str,
}

/// The answer to every pair of a state and an input: one line each, to be held against a golden file, so that whoever
/// changes an answer sees it. Checks on the way that no pair panics, that no event is refused (only a command has
/// somebody to refuse to), and that what is said once is not said again.
#[track_caller]
pub fn every_pair<S: Service>(samples: &Samples<S>) -> String {
    let mut outcomes: Named<S::Input> = Vec::new();
    for (_, said) in &samples.states {
        for (_, input) in samples.heard.iter().chain(&samples.commands) {
            if let Err(ask) = World::<S>::new(said, &samples.records).meet(input) {
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
            let mut world = World::<S>::new(said, &samples.records);
            let answer = match world.meet(input) {
                Err(ask) => format!("asks {}", variant(&ask)),
                Ok(Answer::Said(events)) => {
                    let again = world.decide(input);
                    assert!(
                        !matches!(again, Decision::Say(_)),
                        "{state}: {name} is answered twice"
                    );
                    let says: Vec<_> = events.iter().map(|event| event.name().to_string()).collect();
                    if says.is_empty() {
                        "records".to_owned()
                    } else {
                        format!("says {}", says.join(", "))
                    }
                }
                Ok(Answer::Ignored(reason)) => format!("ignored: {reason}"),
                Ok(Answer::Refused(refusal)) => {
                    assert!(
                        samples.commands.iter().any(|(command, _)| command == name),
                        "{state}: the event {name} is refused"
                    );
                    match refusal {
                        Refusal::NotFound(words) => format!("404 {words}"),
                        Refusal::Conflict(words) => format!("409 {words}"),
                        Refusal::Mismatch(words) => format!("422 {words}"),
                    }
                }
            };
            lines.push_str(&format!("    {name:<24} {answer}\n"));
        }
    }
    lines
}

/// The name of an enum's variant.
pub fn variant(value: &impl Debug) -> String {
    format!("{value:?}")
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .collect()
}

/// Fails if the source of a decision names what a pure function has no business with.
#[track_caller]
pub fn assert_pure(source: &str) {
    for word in [
        "tokio",
        "rand",
        "SystemTime",
        "Instant",
        "now()",
        "std::env",
        "std::fs",
        "std::net",
        "async_nats",
    ] {
        let found = source.match_indices(word).any(|(at, _)| {
            let before = source[..at].chars().next_back();
            let after = source[at + word.len()..].chars().next();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        assert!(!found, "decisions are pure, but this one names `{word}`");
    }
}

/// SplitMix64: small, and the same everywhere, so that a failing shuffle fails again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % limit as u64) as usize
    }
}
