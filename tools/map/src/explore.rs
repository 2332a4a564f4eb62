//! The exploration: every way that one order can take through the services.
//!
//! The events that are said are delivered in any order; commands come at any time; the outside world answers all that it
//! may, and late; stock and couriers are there or not; a deadline passes at any moment. Nothing is told twice and
//! nothing fails: that this changes nothing is what the services' own tests and the model (`tests/model`) are for. What
//! is left is who says what to whom.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use quadrille_decision::Deadline;
use quadrille_decision::erased::{Fact, Reaction, Records};
use quadrille_delivery::{DeliveryService, desk};
use quadrille_events::{Approval, Event, EventName, Flow, PaymentMode};
use quadrille_inventory::InventoryService;
use quadrille_order::OrderService;
use quadrille_payment::{PAYMENT_DEADLINE, PaymentService, provider};

use crate::sampled::{InputIndex, SampledService, Trigger};

/// How many services there are.
pub(crate) const SERVICES: usize = Event::SERVICES.len();

/// Explores the services as they are wired for a flow.
pub struct Explorer {
    services: [SampledService; SERVICES],
    commands: [Vec<InputIndex>; SERVICES],
    facts: Vec<Fact>,
    /// Decisions are pure, so each is made once.
    answers: HashMap<(ServiceIndex, Vec<FactIndex>, InputIndex), Vec<ExploredAnswer>>,
    states: HashMap<(ServiceIndex, Vec<FactIndex>), &'static str>,
    found: Exploration,
}

type ServiceIndex = usize;
type FactIndex = u16;

/// The order service: it starts every order, and ends it.
const ORDER: ServiceIndex = 0;

/// What each service has said, and what is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Situation {
    /// What each has said.
    said: [Vec<FactIndex>; SERVICES],
    /// The inputs on their way to each service; for an outcome, with the input that led to asking.
    coming: BTreeSet<(ServiceIndex, InputIndex, Option<InputIndex>)>,
    /// What the broker will say on whose behalf.
    due: [Option<FactIndex>; SERVICES],
}

/// What a service answers to an input, its facts and outcomes by number.
#[derive(Clone)]
enum ExploredAnswer {
    Say {
        facts: Vec<FactIndex>,
        records: bool,
        deadline: Deadline<FactIndex>,
    },
    /// One of these outcomes comes of the outside call.
    Ask(Vec<InputIndex>),
    Ignore(&'static str),
    Refuse,
}

/// One thing that a service does. All situations in which the service is in the same state are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Transition {
    /// The service.
    pub service: &'static str,
    /// The state before it.
    pub from: &'static str,
    /// Its cause.
    pub trigger: Trigger,
    /// What came of an outside call, if one was made first.
    pub outcome: Option<&'static str>,
    /// What the service does.
    pub effect: Effect,
}

impl Transition {
    /// The state after it, if it is another one.
    pub fn to(&self) -> Option<&'static str> {
        match &self.effect {
            Effect::Says { to, .. } => Some(to),
            Effect::Ignores(_) => None,
        }
    }
}

/// What a service does with an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// It says something, and is in another state.
    Says {
        /// The events.
        events: Vec<&'static EventName>,
        /// The state after it.
        to: &'static str,
        /// Whether the same commit changes its ledger.
        records: bool,
        /// The event that the broker will say at the deadline that this sets.
        deadline: Option<&'static EventName>,
    },
    /// It has nothing to do, for this reason.
    Ignores(&'static str),
}

/// How an order is paid and approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderModes {
    /// Whether it is paid manually.
    pub manual_payment: bool,
    /// Whether it is approved manually.
    pub manual_approval: bool,
}

/// A situation in which nothing is on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestingPoint {
    /// Every service's state, in the order of [`Event::SERVICES`].
    pub states: [&'static str; SERVICES],
    /// What each service has said last.
    pub last: [Option<&'static EventName>; SERVICES],
    /// What the broker will say if nobody does anything.
    pub deadline: Option<&'static EventName>,
    /// The commands that would change something, and whose they are.
    pub commands: BTreeSet<(&'static str, &'static str)>,
    /// All that was said.
    pub said: BTreeSet<&'static EventName>,
}

/// A situation, as far as it is of use after the exploration.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// How the order is paid and approved, once it is placed.
    pub modes: Option<OrderModes>,
    /// All that was said.
    pub said: BTreeSet<&'static EventName>,
    /// The places of those that may be next.
    pub next: Vec<usize>,
}

/// All that was found.
#[derive(Default)]
pub struct Exploration {
    /// An example of every event that is said.
    pub examples: BTreeMap<&'static EventName, Event>,
    /// The states that each service's own tests try every input in.
    pub sampled: BTreeMap<&'static str, Vec<&'static str>>,
    /// An example of every kind of record in each service's ledger.
    pub ledgers: BTreeMap<&'static str, Records>,
    /// Who hears what.
    pub hears: BTreeMap<&'static str, Vec<&'static EventName>>,
    /// Every transition, and how the orders are paid and approved with which it was made.
    pub transitions: BTreeMap<Transition, BTreeSet<OrderModes>>,
    /// The transitions that concern no order: from the samples, each on its own.
    pub beside: BTreeSet<Transition>,
    /// What the broker says on whose behalf: the state that it is said in, and the state after it.
    pub deadlines: BTreeSet<(&'static str, &'static str, &'static EventName, &'static str)>,
    /// Where orders come to rest.
    pub rests: BTreeSet<RestingPoint>,
    /// Every situation that was reached.
    pub moments: Vec<Moment>,
}

/// `pay-first` and `reserve-first`, by name.
pub type ExploredFlows = [(&'static str, Exploration); 2];

/// Explores both flows.
pub fn both() -> ExploredFlows {
    [
        ("pay-first", Flow::PayFirst),
        ("reserve-first", Flow::ReserveFirst),
    ]
    .map(|(name, flow)| (name, Explorer::of(flow).explore()))
}

impl Explorer {
    /// The events that a service hears as an input of which its samples have none, a sentence each; `example` is an example of an event.
    pub fn unsampled(&self, example: impl Fn(&EventName) -> Vec<u8>) -> Vec<String> {
        let of_service = |service: &SampledService| {
            let names = service.unsampled(&example);
            let sentence = |name: &EventName| {
                let service = service.name();
                format!(
                    "{service} hears {name}: add the input to `heard` in services/{service}/src/samples.rs"
                )
            };
            names.into_iter().map(sentence).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(of_service).collect()
    }

    /// The services as the flow wires them.
    pub fn of(flow: Flow) -> Self {
        let payment = PaymentService {
            flow,
            pay_within: PAYMENT_DEADLINE,
            provider: Box::new(provider::SimulatedProvider::default()),
        };
        let delivery = DeliveryService {
            desk: Box::new(desk::SimulatedDesk::default()),
        };
        // In the order of `Event::SERVICES`.
        let mut services = [
            SampledService::new(OrderService { flow }, quadrille_order::samples::samples()),
            SampledService::new(payment, quadrille_payment::samples::samples()),
            SampledService::new(
                InventoryService {
                    flow,
                    ..InventoryService::default()
                },
                quadrille_inventory::samples::samples(),
            ),
            SampledService::new(delivery, quadrille_delivery::samples::samples()),
        ];
        Self {
            commands: services.each_mut().map(SampledService::commands),
            services,
            facts: Vec::new(),
            answers: HashMap::new(),
            states: HashMap::new(),
            found: Exploration::default(),
        }
    }

    /// With the wire cut by which `service` hears `subject`.
    #[must_use]
    pub fn without_wire(mut self, service: &str, subject: &str) -> Self {
        for known in self.services.iter_mut().filter(|known| known.name() == service) {
            known.cut(subject);
        }
        self
    }

    /// Takes every way there is.
    pub fn explore(mut self) -> Exploration {
        for service in &self.services {
            self.found.hears.insert(service.name(), service.hears());
            self.found
                .sampled
                .insert(service.name(), service.sampled_states());
            self.found
                .ledgers
                .insert(service.name(), service.records().clone());
        }
        let mut places = HashMap::from([(Situation::default(), 0)]);
        let mut ahead = VecDeque::from([Situation::default()]);
        self.found.moments.push(Moment::default());
        while let Some(here) = ahead.pop_front() {
            let from = places[&here];
            for next in self.ways_from(&here) {
                let modes = self.modes(&next);
                let said = self.all_said(&next);
                let place = *places.entry(next.clone()).or_insert_with(|| {
                    ahead.push_back(next);
                    self.found.moments.push(Moment {
                        modes,
                        said,
                        next: Vec::new(),
                    });
                    self.found.moments.len() - 1
                });
                self.found.moments[from].next.push(place);
            }
        }
        self.explore_beside_orders();
        for fact in &self.facts {
            let examples = &mut self.found.examples;
            examples.entry(fact.name).or_insert_with(|| fact.event());
        }
        self.found
    }

    /// Notes what is said about something else than orders, and who keeps a record of it.
    fn explore_beside_orders(&mut self) {
        for service in &self.services {
            for (from, command, facts, to) in service.beside_orders() {
                let says = |service: &SampledService, from, trigger, events, to| Transition {
                    service: service.name(),
                    from,
                    trigger,
                    outcome: None,
                    effect: Effect::Says {
                        events,
                        to,
                        records: true,
                        deadline: None,
                    },
                };
                let events = facts.iter().map(|fact| fact.name).collect();
                let said = says(service, from, Trigger::Command(command), events, to);
                self.found.beside.insert(said);
                for fact in facts {
                    let mut services = self.services.iter();
                    if let Some(listener) = services.find(|service| service.keeps_record(&fact)) {
                        let none = listener.state(&[]);
                        let heard = says(listener, none, Trigger::Event(fact.name), Vec::new(), none);
                        self.found.beside.insert(heard);
                    }
                    let examples = &mut self.found.examples;
                    examples.entry(fact.name).or_insert_with(|| fact.event());
                }
            }
        }
    }

    /// All that can happen next. Notes on the way what is seen.
    fn ways_from(&mut self, here: &Situation) -> Vec<Situation> {
        let mut ways = self.deliveries_from(here);
        let (commands, acting) = self.commands_from(here);
        ways.extend(commands);
        ways.extend(self.deadlines_from(here));
        if here.coming.is_empty() && !here.said[ORDER].is_empty() {
            let rest = RestingPoint {
                states: std::array::from_fn(|who| self.state(who, &here.said[who])),
                last: std::array::from_fn(|who| here.said[who].last().map(|fact| self.name(*fact))),
                deadline: here.due.iter().flatten().map(|fact| self.name(*fact)).next(),
                commands: acting,
                said: self.all_said(here),
            };
            self.found.rests.insert(rest);
        }
        ways
    }

    /// Something that is on its way arrives.
    fn deliveries_from(&mut self, here: &Situation) -> Vec<Situation> {
        let mut ways = Vec::new();
        for coming in &here.coming {
            let mut without = here.clone();
            without.coming.remove(coming);
            let (who, input, origin) = *coming;
            for way in self.meet(&without, who, input, origin) {
                ways.push(self.noted(way));
            }
        }
        ways
    }

    /// Somebody sends a command. Returns as well which commands change something, and whose they are.
    fn commands_from(
        &mut self,
        here: &Situation,
    ) -> (Vec<Situation>, BTreeSet<(&'static str, &'static str)>) {
        let mut ways = Vec::new();
        let mut acting = BTreeSet::new();
        for (who, commands) in self.commands.clone().iter().enumerate() {
            for command in commands {
                for way in self.meet(here, who, *command, None) {
                    // A command that changes nothing is between the caller and the service.
                    if way.next == *here {
                        continue;
                    }
                    if let Trigger::Command(name) = self.services[who].trigger(*command) {
                        acting.insert((self.services[who].name(), name));
                    }
                    ways.push(self.noted(way));
                }
            }
        }
        (ways, acting)
    }

    /// The broker says what is due.
    fn deadlines_from(&mut self, here: &Situation) -> Vec<Situation> {
        let mut ways = Vec::new();
        for who in 0..SERVICES {
            let Some(due) = here.due[who] else { continue };
            let mut next = here.clone();
            next.due[who] = None;
            self.say(&mut next, who, &[due]);
            let (from, to) = (self.state(who, &here.said[who]), self.state(who, &next.said[who]));
            let deadline = (self.services[who].name(), from, self.name(due), to);
            self.found.deadlines.insert(deadline);
            ways.push(next);
        }
        ways
    }

    /// All that may come of one input that is no longer on its way. `origin` is the input that led to asking, if this one is
    /// an outcome.
    fn meet(
        &mut self,
        here: &Situation,
        who: ServiceIndex,
        input: InputIndex,
        origin: Option<InputIndex>,
    ) -> Vec<Way> {
        let mut ways = Vec::new();
        for answer in self.answers(who, &here.said[who], input) {
            let mut next = here.clone();
            let effect = match answer {
                ExploredAnswer::Refuse => None,
                ExploredAnswer::Ignore(reason) => Some(Effect::Ignores(reason)),
                ExploredAnswer::Ask(outcomes) => {
                    ways.extend(asked(here, who, input, &outcomes));
                    continue;
                }
                ExploredAnswer::Say {
                    facts,
                    records,
                    deadline,
                } => {
                    self.say(&mut next, who, &facts);
                    match deadline {
                        Deadline::Keep => {}
                        Deadline::Clear => next.due[who] = None,
                        Deadline::Set { says, .. } => next.due[who] = Some(says),
                    }
                    Some(Effect::Says {
                        events: facts.iter().map(|fact| self.name(*fact)).collect(),
                        to: self.state(who, &next.said[who]),
                        records,
                        deadline: match deadline {
                            Deadline::Keep | Deadline::Clear => None,
                            Deadline::Set { says, .. } => Some(self.name(says)),
                        },
                    })
                }
            };
            let service = &self.services[who];
            let (name, trigger) = (service.name(), service.trigger(origin.unwrap_or(input)));
            let outcome = origin.and_then(|_| service.outcome(input));
            let from = self.state(who, &here.said[who]);
            let transition = effect.map(|effect| Transition {
                service: name,
                from,
                trigger,
                outcome,
                effect,
            });
            ways.push(Way { transition, next });
        }
        ways
    }

    /// Notes how one gets to a situation.
    fn noted(&mut self, way: Way) -> Situation {
        if let Some(transition) = way.transition {
            let modes = self.modes(&way.next);
            let seen = self.found.transitions.entry(transition).or_default();
            seen.extend(modes);
        }
        way.next
    }

    fn answers(&mut self, who: ServiceIndex, said: &[FactIndex], input: InputIndex) -> Vec<ExploredAnswer> {
        let key = (who, said.to_vec(), input);
        if let Some(known) = self.answers.get(&key) {
            return known.clone();
        }
        let reactions = self.services[who].react(&self.facts(said), input);
        let answers: Vec<_> = reactions
            .into_iter()
            .map(|reaction| match reaction {
                Reaction::Say {
                    facts,
                    records,
                    deadline,
                } => ExploredAnswer::Say {
                    facts: facts.into_iter().map(|fact| self.number(fact)).collect(),
                    records: !records.is_empty(),
                    deadline: deadline.map(|says| self.number(says)),
                },
                Reaction::Ask(ask) => ExploredAnswer::Ask(self.services[who].outcomes(&ask)),
                Reaction::Ignore(reason) => ExploredAnswer::Ignore(reason),
                Reaction::Refuse => ExploredAnswer::Refuse,
            })
            .collect();
        self.answers.insert(key, answers.clone());
        answers
    }

    fn state(&mut self, who: ServiceIndex, said: &[FactIndex]) -> &'static str {
        let key = (who, said.to_vec());
        if let Some(known) = self.states.get(&key) {
            return known;
        }
        let state = self.services[who].state(&self.facts(said));
        self.states.insert(key, state);
        state
    }

    /// `who` says these; they are on their way to whoever hears them.
    fn say(&mut self, next: &mut Situation, who: ServiceIndex, facts: &[FactIndex]) {
        for index in facts {
            next.said[who].push(*index);
            let fact = &self.facts[usize::from(*index)];
            for (listener, service) in self.services.iter_mut().enumerate() {
                let inputs = service.hear(fact).into_iter();
                next.coming.extend(inputs.map(|input| (listener, input, None)));
            }
        }
    }

    fn number(&mut self, fact: Fact) -> FactIndex {
        let known = self.facts.iter().position(|known| *known == fact);
        let place = known.unwrap_or_else(|| {
            self.facts.push(fact);
            self.facts.len() - 1
        });
        FactIndex::try_from(place)
            .unwrap_or_else(|_| unreachable!("there are a few dozen events, not {place}"))
    }

    fn facts(&self, said: &[FactIndex]) -> Vec<&Fact> {
        said.iter()
            .map(|index| &self.facts[usize::from(*index)])
            .collect()
    }

    fn name(&self, fact: FactIndex) -> &'static EventName {
        self.facts[usize::from(fact)].name
    }

    fn all_said(&self, situation: &Situation) -> BTreeSet<&'static EventName> {
        let facts = situation.said.iter().flatten();
        facts.map(|fact| self.name(*fact)).collect()
    }

    /// How the order is paid and approved, once it is placed.
    fn modes(&self, situation: &Situation) -> Option<OrderModes> {
        let created = situation.said[ORDER].first()?;
        let event = self.facts[usize::from(*created)].event();
        let order = event.order()?;
        Some(OrderModes {
            manual_payment: order.payment == PaymentMode::Manual,
            manual_approval: order.approval == Approval::Manual,
        })
    }
}

/// A situation that may be next, and how one gets there.
struct Way {
    transition: Option<Transition>,
    next: Situation,
}

/// What may come of asking the outside world because of `origin`: each outcome is on its way.
fn asked(here: &Situation, who: ServiceIndex, origin: InputIndex, outcomes: &[InputIndex]) -> Vec<Way> {
    let is_awaited = |outcome: &InputIndex| {
        let mut coming = here.coming.iter();
        coming.any(|(asker, awaited, _)| *asker == who && awaited == outcome)
    };
    let way = |outcome: Option<InputIndex>| {
        let mut next = here.clone();
        next.coming
            .extend(outcome.map(|outcome| (who, outcome, Some(origin))));
        Way {
            transition: None,
            next,
        }
    };
    // One idempotency key, one answer: who asks again while it is awaited gets the same.
    if outcomes.iter().any(is_awaited) {
        vec![way(None)]
    } else {
        outcomes.iter().map(|outcome| way(Some(*outcome))).collect()
    }
}
