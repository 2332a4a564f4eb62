//! A service as the exploration sees it: what it hears, and what it makes of an input in a state. Its types are gone.

use std::collections::BTreeMap;

use quadrille_decision::testing::{NOW, Samples};
use quadrille_decision::{Context, Deadline, Decision, Service, Wire};
use quadrille_events::{Event, EventName, Said};

/// An event with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub name: &'static EventName,
    pub body: Vec<u8>,
}

impl Fact {
    pub fn event(&self) -> Event {
        let read = Event::decode(self.name.service, self.name.entry, &self.body);
        read.unwrap_or_else(|error| unreachable!("it has just been said: {error}"))
    }
}

/// What moves a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// An event that it hears.
    Event(&'static EventName),
    /// A command of a person, by the name that it has in causation ids.
    Command(&'static str),
    /// What came of asking the outside world.
    Outcome(&'static str),
}

/// The place of an input among those that a participant has met.
pub(crate) type InputId = u16;

/// What a service makes of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    Say {
        facts: Vec<Fact>,
        /// Whether the ledger changes, too.
        records: bool,
        due: Due,
    },
    /// It asks the outside world; one of these comes of it.
    Ask(Vec<InputId>),
    Ignore(&'static str),
    Refuse,
}

/// What becomes of the order's deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Keep,
    Set(Fact),
    Clear,
}

/// A service, explored.
pub(crate) trait Participant {
    fn service(&self) -> &'static str;
    fn hears(&self) -> Vec<&'static EventName>;
    /// The states of its samples, in which every input is tried by its own tests.
    fn sampled(&self) -> Vec<&'static str>;
    /// Cuts a wire, to see that it is missed.
    fn deafen(&mut self, subject: &str);
    /// The inputs that an event becomes: one, if it is heard.
    fn hear(&mut self, fact: &Fact) -> Vec<InputId>;
    /// The commands about an order.
    fn commands(&mut self) -> Vec<InputId>;
    fn trigger(&self, input: InputId) -> Trigger;
    /// What the state is called in which the service is once it has said this.
    fn state(&self, said: &[&Fact]) -> &'static str;
    /// What it makes of an input: with the ledger of its samples, and with an empty one.
    fn meet(&mut self, said: &[&Fact], input: InputId) -> Vec<Reaction>;
}

/// A service with its wires, its samples, and the inputs that it has met.
pub(crate) struct Of<S: Service> {
    wires: Vec<Wire<S::Input>>,
    samples: Samples<S>,
    inputs: Vec<(Trigger, S::Input)>,
}

impl<S: Service> Of<S> {
    pub fn new(service: &S, samples: Samples<S>) -> Box<Self> {
        Box::new(Self {
            wires: service.wires(),
            samples,
            inputs: Vec::new(),
        })
    }

    fn number(&mut self, trigger: Trigger, input: S::Input) -> InputId {
        // Inputs are plain data, so what reads the same is the same.
        let text = format!("{input:?}");
        let known = self
            .inputs
            .iter()
            .position(|(t, i)| *t == trigger && format!("{i:?}") == text);
        let place = known.unwrap_or_else(|| {
            self.inputs.push((trigger, input));
            self.inputs.len() - 1
        });
        InputId::try_from(place).unwrap_or_else(|_| unreachable!("there are a few dozen inputs, not {place}"))
    }

    fn fold(said: &[&Fact]) -> S::State {
        let mut state = S::State::default();
        for fact in said {
            let event = S::Said::decode(fact.name.entry, &fact.body)
                .unwrap_or_else(|error| unreachable!("it has just been said: {error}"));
            S::fold(&mut state, &event);
        }
        state
    }
}

fn fact<E: Said>(event: &E) -> Fact {
    Fact {
        name: event.name(),
        body: event.encode(),
    }
}

impl<S: Service> Participant for Of<S> {
    fn service(&self) -> &'static str {
        S::Said::SERVICE
    }

    fn hears(&self) -> Vec<&'static EventName> {
        self.wires.iter().map(|wire| wire.name).collect()
    }

    fn sampled(&self) -> Vec<&'static str> {
        let state = |said: &Vec<S::Said>| {
            let facts: Vec<_> = said.iter().map(fact).collect();
            self.state(&facts.iter().collect::<Vec<_>>())
        };
        self.samples.states.iter().map(|(_, said)| state(said)).collect()
    }

    fn deafen(&mut self, subject: &str) {
        self.wires.retain(|wire| wire.name.subject != subject);
    }

    fn hear(&mut self, fact: &Fact) -> Vec<InputId> {
        let heard = |wire: &Wire<S::Input>| {
            let read = wire.decode(&fact.body);
            read.unwrap_or_else(|error| unreachable!("it has just been said: {error}"))
                .1
        };
        let inputs: Vec<_> = self
            .wires
            .iter()
            .filter(|wire| wire.name == fact.name)
            .map(heard)
            .collect();
        inputs
            .into_iter()
            .map(|input| self.number(Trigger::Event(fact.name), input))
            .collect()
    }

    fn commands(&mut self) -> Vec<InputId> {
        let about_an_order = |(_, input): &&(&'static str, S::Input)| {
            S::about(input).is_some_and(|about| about.order_id().is_some())
        };
        let commands: Vec<_> = self
            .samples
            .commands
            .iter()
            .filter(about_an_order)
            .cloned()
            .collect();
        let plain = |name: &'static str| name.split(" (").next().unwrap_or(name);
        commands
            .into_iter()
            .map(|(name, input)| self.number(Trigger::Command(plain(name)), input))
            .collect()
    }

    fn trigger(&self, input: InputId) -> Trigger {
        self.inputs[usize::from(input)].0
    }

    fn state(&self, said: &[&Fact]) -> &'static str {
        (self.samples.state_name)(&Self::fold(said))
    }

    fn meet(&mut self, said: &[&Fact], input: InputId) -> Vec<Reaction> {
        let state = Self::fold(said);
        let input = self.inputs[usize::from(input)].1.clone();
        let mut reactions = Vec::new();
        for records in [self.samples.records.clone(), BTreeMap::new()] {
            let reaction = match S::decide(
                &state,
                &input,
                &Context {
                    now: NOW,
                    records: &records,
                },
            ) {
                Decision::Say(say) => Reaction::Say {
                    facts: say.events.iter().map(fact).collect(),
                    records: !say.records.is_empty(),
                    due: match say.deadline {
                        Deadline::Keep => Due::Keep,
                        Deadline::Clear => Due::Clear,
                        Deadline::Set { says, .. } => Due::Set(fact(&says)),
                    },
                },
                Decision::Ask(ask) => {
                    let outcomes = (self.samples.outcomes)(&ask).into_iter();
                    let outcomes = outcomes
                        .map(|(name, outcome)| self.number(Trigger::Outcome(name), outcome))
                        .collect();
                    Reaction::Ask(outcomes)
                }
                Decision::Ignore(reason) => Reaction::Ignore(reason),
                Decision::Refuse(_) => Reaction::Refuse,
            };
            if !reactions.contains(&reaction) {
                reactions.push(reaction);
            }
        }
        reactions
    }
}
