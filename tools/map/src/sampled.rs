//! A service as the exploration sees it: its decisions, the samples that they are explored with, and the inputs that it
//! has met.

use std::collections::BTreeSet;

use quadrille_decision::Service;
use quadrille_decision::erased::{self, Fact, OpaqueValue, Participant, Reaction, Records};
use quadrille_decision::testing::{NOW, NamedInputs, Samples, variant};
use quadrille_events::{AggregateId, EventName};

/// What moves a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// An event that it hears.
    Event(&'static EventName),
    /// A command of a person, by the name that it has in causation ids.
    Command(&'static str),
    /// What came of an outside call.
    Outcome(&'static str),
}

/// The place of an input among those that a service has met.
pub(crate) type InputIndex = u16;

/// All outcomes of an outside call.
type OutcomesOf = dyn Fn(&OpaqueValue) -> NamedInputs<OpaqueValue>;
/// The name of the state after these events.
type NameOf = dyn Fn(&[&Fact]) -> &'static str;

/// A service with its samples, its types erased.
pub(crate) struct SampledService {
    participant: Box<dyn Participant>,
    /// The subjects of the wires that are cut.
    cut: Vec<String>,
    states: Vec<Vec<Fact>>,
    /// The variants of the inputs that the samples hear.
    heard: BTreeSet<String>,
    commands: NamedInputs<OpaqueValue>,
    outcomes: Box<OutcomesOf>,
    state_name: Box<NameOf>,
    records: Records,
    inputs: Vec<(Trigger, OpaqueValue)>,
}

impl SampledService {
    pub fn new<S: Service>(service: S, samples: Samples<S>) -> Self {
        let Samples {
            states,
            heard,
            commands,
            outcomes,
            records,
            state_name,
        } = samples;
        let facts = |said: Vec<S::Said>| said.iter().map(Fact::of).collect();
        Self {
            participant: erased::erase(service),
            cut: Vec::new(),
            heard: heard.iter().map(|(_, input)| variant(input)).collect(),
            states: states.into_iter().map(|(_, said)| facts(said)).collect(),
            commands: erase_all(commands),
            outcomes: Box::new(move |ask| erase_all(outcomes(ask.get::<S::Ask>()))),
            state_name: Box::new(move |said| state_name(&erased::fold::<S>(said))),
            records: erased::records(&records),
            inputs: Vec::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.participant.service()
    }

    /// Cuts a wire, to see that it is missed.
    pub fn cut(&mut self, subject: &str) {
        self.cut.push(subject.to_owned());
    }

    pub fn hears(&self) -> Vec<&'static EventName> {
        let is_whole = |name: &&EventName| !self.cut.iter().any(|subject| subject == name.subject);
        self.participant.hears().into_iter().filter(is_whole).collect()
    }

    /// The states of its samples, in which its own tests try every input.
    pub fn sampled_states(&self) -> Vec<&'static str> {
        let name = |said: &Vec<Fact>| self.state(&said.iter().collect::<Vec<_>>());
        self.states.iter().map(name).collect()
    }

    /// The ledger of its samples.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// What the state is called in which the service is once it has said this.
    pub fn state(&self, said: &[&Fact]) -> &'static str {
        (self.state_name)(said)
    }

    /// The inputs that an event becomes: one, if it is heard.
    pub fn hear(&mut self, fact: &Fact) -> Vec<InputIndex> {
        if self.cut.iter().any(|subject| subject == fact.name.subject) {
            return Vec::new();
        }
        let heard = self.participant.hear(fact);
        let inputs = heard.unwrap_or_else(|error| unreachable!("its owner has just said it: {error}"));
        inputs
            .into_iter()
            .map(|input| self.number(Trigger::Event(fact.name), input))
            .collect()
    }

    /// The events that it hears as inputs of which its samples have none; `example` is an example of an event.
    pub fn unsampled(&self, example: impl Fn(&EventName) -> Vec<u8>) -> Vec<&'static EventName> {
        let is_sampled = |name: &&'static EventName| {
            let fact = Fact {
                name,
                body: example(name),
            };
            let inputs = self.participant.hear(&fact).unwrap_or_default();
            inputs.iter().all(|input| self.heard.contains(&variant(input)))
        };
        self.participant
            .hears()
            .into_iter()
            .filter(|name| !is_sampled(name))
            .collect()
    }

    /// The commands about an order.
    pub fn commands(&mut self) -> Vec<InputIndex> {
        let about_an_order = |(_, input): &(&str, OpaqueValue)| {
            self.about(input).is_none_or(|about| about.order_id().is_some())
        };
        let (commands, _): (Vec<_>, Vec<_>) = self.commands.clone().into_iter().partition(about_an_order);
        commands
            .into_iter()
            .map(|(name, input)| self.number(Trigger::Command(plain(name)), input))
            .collect()
    }

    /// Each sample command about something else than an order, in each sample state of that aggregate: the name of the state, the
    /// command, what the service says, and the name of the state after it.
    pub fn beside_orders(&self) -> Vec<(&'static str, &'static str, Vec<Fact>, &'static str)> {
        let mut said = Vec::new();
        for (command, input) in &self.commands {
            let Some(about) = self.about(input).filter(|about| about.order_id().is_none()) else {
                continue;
            };
            for state in &self.states {
                let mut of_it: Vec<&Fact> = state
                    .iter()
                    .filter(|fact| fact.event().about() == about)
                    .collect();
                let from = self.state(&of_it);
                let reaction = self.participant.react(&of_it, input, &self.records, NOW);
                if let Reaction::Say { facts, .. } = reaction {
                    of_it.extend(&facts);
                    let to = self.state(&of_it);
                    said.push((from, plain(command), facts, to));
                }
            }
        }
        said
    }

    /// Whether the service keeps a record of an event, and says nothing.
    pub fn keeps_record(&self, fact: &Fact) -> bool {
        let inputs = self.participant.hear(fact).unwrap_or_default();
        inputs.iter().any(|input| {
            let reaction = self.participant.react(&[], input, &Records::new(), NOW);
            matches!(reaction, Reaction::Say { facts, records, .. } if facts.is_empty() && !records.is_empty())
        })
    }

    fn about(&self, input: &OpaqueValue) -> Option<AggregateId> {
        self.participant.about(input)
    }

    /// All that may come of an outside call.
    pub fn outcomes(&mut self, ask: &OpaqueValue) -> Vec<InputIndex> {
        let outcomes = (self.outcomes)(ask).into_iter();
        outcomes
            .map(|(name, outcome)| self.number(Trigger::Outcome(name), outcome))
            .collect()
    }

    pub fn trigger(&self, input: InputIndex) -> Trigger {
        self.inputs[usize::from(input)].0
    }

    /// The name of an input that is the outcome of an outside call.
    pub fn outcome(&self, input: InputIndex) -> Option<&'static str> {
        match self.trigger(input) {
            Trigger::Outcome(name) => Some(name),
            Trigger::Event(_) | Trigger::Command(_) => None,
        }
    }

    /// What it answers to an input: with the ledger of its samples, and with an empty one.
    pub fn react(&self, said: &[&Fact], input: InputIndex) -> Vec<Reaction> {
        let (_, input) = &self.inputs[usize::from(input)];
        let mut reactions = Vec::new();
        for records in [&self.records, &Records::new()] {
            let reaction = self.participant.react(said, input, records, NOW);
            if !reactions.contains(&reaction) {
                reactions.push(reaction);
            }
        }
        reactions
    }

    fn number(&mut self, trigger: Trigger, input: OpaqueValue) -> InputIndex {
        let new = (trigger, input);
        let known = self.inputs.iter().position(|known| *known == new);
        let place = known.unwrap_or_else(|| {
            self.inputs.push(new);
            self.inputs.len() - 1
        });
        InputIndex::try_from(place)
            .unwrap_or_else(|_| unreachable!("there are a few dozen inputs, not {place}"))
    }
}

/// The name of a command, without what is special about a sample.
fn plain(name: &'static str) -> &'static str {
    name.split(" (").next().unwrap_or(name)
}

fn erase_all<T: std::fmt::Debug + Send + Sync + 'static>(values: NamedInputs<T>) -> NamedInputs<OpaqueValue> {
    let erased = values
        .into_iter()
        .map(|(name, value)| (name, OpaqueValue::new(value)));
    erased.collect()
}
