//! The exploration: every way that one order can take through the services.
//!
//! The events that are said are delivered in any order; commands come at any time; the outside world answers all that it
//! may, and late; stock and couriers are there or not; a deadline passes at any moment. Nothing is told twice and
//! nothing fails: that this changes nothing is what the services' own tests and the model (`tests/model`) are for. What
//! is left is who says what to whom.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use quadrille_delivery::{DeliveryService, desk};
use quadrille_events::Flow;
use quadrille_events::{Approval, Event, EventName, Order, PaymentMode};
use quadrille_inventory::InventoryService;
use quadrille_order::OrderService;
use quadrille_payment::{PAYMENT_DEADLINE, PaymentService, provider};

use crate::participant::{Due, Fact, InputId, Of, Participant, Reaction, Trigger};

/// How many services there are.
pub(crate) const SERVICES: usize = Event::SERVICES.len();

/// The services as they are wired for a flow.
pub struct Choreography {
    participants: [Box<dyn Participant>; SERVICES],
    facts: Vec<Fact>,
    /// Decisions are pure, so each is made once.
    reactions: HashMap<(Who, Vec<FactId>, InputId), Vec<Reaction>>,
    states: HashMap<(Who, Vec<FactId>), &'static str>,
}

type Who = usize;
type FactId = u16;

/// The order service: it starts every order, and ends it.
const ORDER: Who = 0;

/// Where everybody is, and what is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Situation {
    /// What each has said.
    said: [Vec<FactId>; SERVICES],
    /// What is on its way to whom; for an outcome, with the input that led to asking.
    coming: BTreeSet<(Who, InputId, Option<InputId>)>,
    /// What the broker will say on whose behalf.
    due: [Option<FactId>; SERVICES],
}

/// One thing that a service does, and all situations look alike from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step {
    /// Who.
    pub service: &'static str,
    /// In which state.
    pub from: &'static str,
    /// Because of what.
    pub trigger: Trigger,
    /// What came of asking the outside world first, if it did.
    pub outcome: Option<&'static str>,
    /// What it does.
    pub does: Does,
}

impl Step {
    /// The state after it, if it is another one.
    pub fn to(&self) -> Option<&'static str> {
        match &self.does {
            Does::Says { to, .. } => Some(to),
            Does::Ignores(_) => None,
        }
    }
}

/// What a service does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Does {
    /// It says something, and is in another state.
    Says {
        /// What.
        events: Vec<&'static EventName>,
        /// The state after it.
        to: &'static str,
        /// Whether it changes its ledger in the same breath.
        records: bool,
        /// The event that the broker will say at the deadline that this sets.
        deadline: Option<&'static EventName>,
    },
    /// It has nothing to do, for this reason.
    Ignores(&'static str),
}

/// Whether an order is paid manually, and whether it is approved manually.
pub type Modes = (bool, bool);

/// A situation in which nothing is on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rest {
    /// Everybody's state, in the order of [`Event::SERVICES`].
    pub states: [&'static str; SERVICES],
    /// What everybody has said last.
    pub last: [Option<&'static EventName>; SERVICES],
    /// What the broker will say if nobody does anything.
    pub deadline: Option<&'static EventName>,
    /// The commands that would change something, and whose they are.
    pub commands: BTreeSet<(&'static str, &'static str)>,
    /// All that was said.
    pub said: BTreeSet<&'static EventName>,
}

/// All that was found.
pub struct Explored {
    /// An example of every event that is said.
    pub examples: BTreeMap<&'static EventName, Event>,
    /// The states that each service's own tests try every input in.
    pub sampled: BTreeMap<&'static str, Vec<&'static str>>,
    /// Who hears what.
    pub hears: BTreeMap<&'static str, Vec<&'static EventName>>,
    /// Every step, and how the orders are paid and approved with which it was taken.
    pub steps: BTreeMap<Step, BTreeSet<Modes>>,
    /// What the broker says on whose behalf: the state that it is said in, and the state after it.
    pub deadlines: BTreeSet<(&'static str, &'static str, &'static EventName, &'static str)>,
    /// Where orders come to rest.
    pub rests: BTreeSet<Rest>,
    /// Of each situation, what was said in it, and which may be next.
    pub situations: Vec<(BTreeSet<&'static EventName>, Vec<usize>)>,
}

impl Choreography {
    /// As the flow wires it.
    pub fn of(flow: Flow) -> Self {
        let payment = PaymentService {
            flow,
            pay_within: PAYMENT_DEADLINE,
            provider: Box::new(provider::Simulator::default()),
        };
        let delivery = DeliveryService {
            desk: Box::new(desk::Simulator::default()),
        };
        Self {
            // In the order of `Event::SERVICES`.
            participants: [
                Of::new(&OrderService { flow }, quadrille_order::samples::samples()),
                Of::new(&payment, quadrille_payment::samples::samples()),
                Of::new(
                    &InventoryService { flow },
                    quadrille_inventory::samples::samples(),
                ),
                Of::new(&delivery, quadrille_delivery::samples::samples()),
            ],
            facts: Vec::new(),
            reactions: HashMap::new(),
            states: HashMap::new(),
        }
    }

    /// With the wire cut by which `service` hears `subject`.
    #[must_use]
    pub fn deaf(mut self, service: &str, subject: &str) -> Self {
        for participant in &mut self.participants {
            if participant.service() == service {
                participant.deafen(subject);
            }
        }
        self
    }

    /// Takes every way there is.
    pub fn explore(mut self) -> Explored {
        let mut explored = Explored {
            hears: self
                .participants
                .iter()
                .map(|who| (who.service(), who.hears()))
                .collect(),
            sampled: self
                .participants
                .iter()
                .map(|who| (who.service(), who.sampled()))
                .collect(),
            examples: BTreeMap::new(),
            steps: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            rests: BTreeSet::new(),
            situations: Vec::new(),
        };
        let commands: Vec<Vec<InputId>> = self.participants.iter_mut().map(|who| who.commands()).collect();
        let mut numbers = HashMap::from([(Situation::default(), 0)]);
        let mut ahead = VecDeque::from([Situation::default()]);
        explored.situations.push((BTreeSet::new(), Vec::new()));
        while let Some(here) = ahead.pop_front() {
            let number = numbers[&here];
            for next in self.steps_from(&here, &commands, &mut explored) {
                let said = self.all_said(&next);
                let place = *numbers.entry(next.clone()).or_insert_with(|| {
                    ahead.push_back(next);
                    explored.situations.push((said, Vec::new()));
                    explored.situations.len() - 1
                });
                explored.situations[number].1.push(place);
            }
        }
        for fact in &self.facts {
            explored.examples.entry(fact.name).or_insert_with(|| fact.event());
        }
        explored
    }

    /// All that can happen next. Notes on the way what is seen.
    fn steps_from(
        &mut self,
        here: &Situation,
        commands: &[Vec<InputId>],
        explored: &mut Explored,
    ) -> Vec<Situation> {
        let mut ways = Vec::new();
        for (who, input, origin) in &here.coming {
            let mut without = here.clone();
            without.coming.remove(&(*who, *input, *origin));
            for (does, next) in self.meet(&without, *who, *input) {
                if let Some(does) = does {
                    self.note(
                        &next,
                        *who,
                        here,
                        origin.unwrap_or(*input),
                        origin.map(|_| *input),
                        does,
                        explored,
                    );
                }
                ways.push(next);
            }
        }
        let mut acting = BTreeSet::new();
        for (who, commands) in commands.iter().enumerate() {
            for command in commands {
                for (does, next) in self.meet(here, who, *command) {
                    // A command that changes nothing is between the caller and the service.
                    if next == *here {
                        continue;
                    }
                    if let Trigger::Command(name) = self.participants[who].trigger(*command) {
                        acting.insert((self.participants[who].service(), name));
                    }
                    if let Some(does) = does {
                        self.note(&next, who, here, *command, None, does, explored);
                    }
                    ways.push(next);
                }
            }
        }
        for who in 0..here.due.len() {
            let Some(due) = here.due[who] else { continue };
            let mut next = here.clone();
            next.due[who] = None;
            self.say(&mut next, who, &[due]);
            let (from, to) = (self.state(who, &here.said[who]), self.state(who, &next.said[who]));
            explored
                .deadlines
                .insert((self.participants[who].service(), from, self.name(due), to));
            ways.push(next);
        }
        if here.coming.is_empty() && !here.said[ORDER].is_empty() {
            explored.rests.insert(Rest {
                states: std::array::from_fn(|who| self.state(who, &here.said[who])),
                last: std::array::from_fn(|who| here.said[who].last().map(|id| self.name(*id))),
                deadline: here.due.iter().flatten().map(|id| self.name(*id)).next(),
                commands: acting,
                said: self.all_said(here),
            });
        }
        ways
    }

    /// All that may come of one input that is no longer on its way.
    fn meet(&mut self, here: &Situation, who: Who, input: InputId) -> Vec<(Option<Does>, Situation)> {
        let mut ways = Vec::new();
        for reaction in self.react(who, &here.said[who], input) {
            let mut next = here.clone();
            match reaction {
                Reaction::Refuse => ways.push((None, next)),
                Reaction::Ignore(reason) => ways.push((Some(Does::Ignores(reason)), next)),
                // One idempotency key, one answer: who asks again while it is awaited gets the same.
                Reaction::Ask(outcomes)
                    if here
                        .coming
                        .iter()
                        .any(|(asker, awaited, _)| *asker == who && outcomes.contains(awaited)) =>
                {
                    ways.push((None, next));
                }
                Reaction::Ask(outcomes) => {
                    for outcome in outcomes {
                        let mut next = here.clone();
                        next.coming.insert((who, outcome, Some(input)));
                        ways.push((None, next));
                    }
                }
                Reaction::Say { facts, records, due } => {
                    let facts: Vec<_> = facts.into_iter().map(|fact| self.number(fact)).collect();
                    self.say(&mut next, who, &facts);
                    let mut deadline = None;
                    match due {
                        Due::Keep => {}
                        Due::Clear => next.due[who] = None,
                        Due::Set(fact) => {
                            deadline = Some(fact.name);
                            next.due[who] = Some(self.number(fact));
                        }
                    }
                    let events = facts.iter().map(|id| self.name(*id)).collect();
                    let to = self.state(who, &next.said[who]);
                    ways.push((
                        Some(Does::Says {
                            events,
                            to,
                            records,
                            deadline,
                        }),
                        next,
                    ));
                }
            }
        }
        ways
    }

    /// Notes a step that leads from `here` to `next`.
    #[expect(clippy::too_many_arguments)]
    fn note(
        &mut self,
        next: &Situation,
        who: Who,
        here: &Situation,
        input: InputId,
        outcome: Option<InputId>,
        does: Does,
        explored: &mut Explored,
    ) {
        let participant = &self.participants[who];
        let outcome = outcome.and_then(|outcome| match participant.trigger(outcome) {
            Trigger::Outcome(name) => Some(name),
            Trigger::Event(_) | Trigger::Command(_) => None,
        });
        let (service, trigger) = (participant.service(), participant.trigger(input));
        let step = Step {
            service,
            from: self.state(who, &here.said[who]),
            trigger,
            outcome,
            does,
        };
        let modes = next.said[ORDER].first().map(|created| self.modes(*created));
        explored.steps.entry(step).or_default().extend(modes);
    }

    fn react(&mut self, who: Who, said: &[FactId], input: InputId) -> Vec<Reaction> {
        let key = (who, said.to_vec(), input);
        if let Some(known) = self.reactions.get(&key) {
            return known.clone();
        }
        let facts: Vec<&Fact> = said.iter().map(|id| &self.facts[usize::from(*id)]).collect();
        let reactions = self.participants[who].meet(&facts, input);
        self.reactions.insert(key, reactions.clone());
        reactions
    }

    fn state(&mut self, who: Who, said: &[FactId]) -> &'static str {
        let key = (who, said.to_vec());
        if let Some(known) = self.states.get(&key) {
            return known;
        }
        let facts: Vec<&Fact> = said.iter().map(|id| &self.facts[usize::from(*id)]).collect();
        let state = self.participants[who].state(&facts);
        self.states.insert(key, state);
        state
    }

    /// `who` says these; they are on their way to whoever hears them.
    fn say(&mut self, next: &mut Situation, who: Who, facts: &[FactId]) {
        for id in facts {
            next.said[who].push(*id);
            let fact = &self.facts[usize::from(*id)];
            for (listener, participant) in self.participants.iter_mut().enumerate() {
                next.coming.extend(
                    participant
                        .hear(fact)
                        .into_iter()
                        .map(|input| (listener, input, None)),
                );
            }
        }
    }

    fn number(&mut self, fact: Fact) -> FactId {
        let place = self
            .facts
            .iter()
            .position(|known| *known == fact)
            .unwrap_or_else(|| {
                self.facts.push(fact);
                self.facts.len() - 1
            });
        FactId::try_from(place).unwrap_or_else(|_| unreachable!("there are a few dozen events, not {place}"))
    }

    fn name(&self, id: FactId) -> &'static EventName {
        self.facts[usize::from(id)].name
    }

    fn all_said(&self, situation: &Situation) -> BTreeSet<&'static EventName> {
        situation.said.iter().flatten().map(|id| self.name(*id)).collect()
    }

    fn modes(&self, id: FactId) -> Modes {
        let event = self.facts[usize::from(id)].event();
        let is_manual = |order: &Order| {
            (
                order.payment == PaymentMode::Manual,
                order.approval == Approval::Manual,
            )
        };
        event.order().map_or((false, false), |order| is_manual(order))
    }
}
