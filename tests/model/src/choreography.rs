//! The steps of the world.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use quadrille_delivery::decide as delivery;
use quadrille_events::{Approval, Body, Created, EventName, EventSet, Expired, Order, OrderFacts};
use quadrille_inventory::{InventoryService, decide as inventory};
use quadrille_order::{OrderService, decide as order};
use quadrille_payment::decide as payment;
use stateright::{Model, Property};

use crate::claims;
use crate::configuration::{Configuration, item_id};
use crate::mutation::{Mutation, Occasion};
use crate::outside::{self, Outside};
use crate::participant::{Answer, AskKind, Due, Fact, Participant, Party, Trigger};
use crate::world::{
    Books, Call, Cause, Command, FactId, Fault, Journey, Slot, Stage, View, Who, World, digest, fingerprint,
};

/// One step. Orders, calls and ears are named by their place.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The broker delivers the event that this ear hears, for the first time or again.
    Deliver {
        /// Which order's.
        order: u8,
        /// Which ear.
        ear: u8,
        /// What the listening instance knows.
        view: View,
    },
    /// Somebody sends a command.
    Command {
        /// About which order.
        order: u8,
        /// What.
        command: Command,
        /// What the instance knows.
        view: View,
    },
    /// The shop owner says how many pieces of the first item were put in.
    Stock {
        /// How many, all told.
        quantity: u8,
        /// What the instance knows.
        view: View,
    },
    /// The outside world does what it was asked.
    Act {
        /// About which order.
        order: u8,
        /// Which call.
        call: u8,
        /// Whether it says yes, if it is free to choose.
        luck: bool,
    },
    /// The outcome of a call is decided on.
    Outcome {
        /// About which order.
        order: u8,
        /// Which call.
        call: u8,
        /// What the instance knows.
        view: View,
    },
    /// The instance that waits for a call dies.
    Crash {
        /// About which order.
        order: u8,
        /// Which call.
        call: u8,
        /// Whether the call is still on its way nevertheless.
        orphan: bool,
    },
    /// The broker says what it was scheduled to say.
    Expire {
        /// About which order.
        order: u8,
    },
}

/// A listener's ear for one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ear {
    pub who: Who,
    pub speaker: Who,
    pub name: &'static EventName,
    /// `name`, as a set.
    pub event: EventSet,
}

/// The world of one configuration, with its participants: stateright's model.
pub struct Choreography {
    /// Which world.
    pub configuration: Configuration,
    /// Which mistake is made in it.
    pub mutation: Option<Mutation>,
    pub(crate) ears: Vec<Ear>,
    pub(crate) placed: Vec<Arc<Order>>,
    parties: [Box<dyn Participant>; 4],
    facts: RwLock<HashMap<(u8, FactId), Arc<Fact>>>,
    weighed: RwLock<HashMap<u64, Arc<Weighed>, ahash::RandomState>>,
}

/// What a service makes of an input. Decisions are pure, so each is made once.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub guesses: bool,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Say {
        facts: Vec<FactId>,
        slots: Vec<(usize, Slot)>,
        deadline: Due<FactId>,
    },
    Ask(u32),
    Ignore(&'static str),
    Refuse,
    Broken(Fault),
}

/// An input, by number.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Input {
    Heard(FactId),
    Command(Command),
    Stock(u8),
    Outcome(u32),
}

/// An input on its way to a decision.
struct Item {
    order: usize,
    who: Who,
    cause: Cause,
    input: Input,
    /// The call that brought it, if it is an outcome.
    via: Option<usize>,
    view: View,
}

/// How many bits of a fact's number name its event.
const NAME_BITS: u32 = 5;
const _: () = assert!(EventSet::ALL.len() <= 1 << NAME_BITS);

/// The event of a fact, as a set.
pub(crate) fn event_of(fact: FactId) -> EventSet {
    EventSet::at((fact & ((1 << NAME_BITS) - 1)) as usize)
}

impl Choreography {
    /// The world of this configuration, in which this mistake is made.
    pub fn new(configuration: Configuration, mutation: Option<Mutation>) -> Self {
        let flow = configuration.flow;
        let items = configuration.stocks.first().map_or(0, Vec::len);
        let couriers = configuration.couriers.iter().map(Vec::len).max().unwrap_or(0);
        let stock_keys = (0..items).map(|n| inventory::key(&item_id(n))).collect();
        let courier_keys = (0..couriers)
            .map(|n| format!("{}.courier-{n}", delivery::COURIERS))
            .collect();
        let parties: [Box<dyn Participant>; 4] = [
            Box::new(Party::new(OrderService { flow }, Vec::new(), command_order)),
            Box::new(Party::new(outside::payment(flow), Vec::new(), command_payment)),
            Box::new(Party::new(
                InventoryService { flow },
                stock_keys,
                command_inventory,
            )),
            Box::new(Party::new(outside::delivery(), courier_keys, |_, _| None)),
        ];
        let mut ears = Vec::new();
        for who in Who::ALL {
            for name in parties[who as usize].ears() {
                let speaker = Who::ALL
                    .into_iter()
                    .find(|speaker| speaker.name() == name.service);
                let ear = Ear {
                    who,
                    speaker: speaker.unwrap_or(who),
                    name,
                    event: EventSet::of(&[name]),
                };
                if !mutation.is_some_and(|mutation| mutation.deafens(who, ear.name)) {
                    ears.push(ear);
                }
            }
        }
        Choreography {
            placed: configuration.placed(),
            configuration,
            mutation,
            ears,
            parties,
            facts: RwLock::default(),
            weighed: RwLock::default(),
        }
    }

    fn does(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// The event that is stored under this number.
    pub(crate) fn fact(&self, order: usize, id: FactId) -> Arc<Fact> {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        let found = facts.get(&(order as u8, id)).cloned();
        found.unwrap_or_else(|| unreachable!("{id} was never said"))
    }

    fn store(&self, order: usize, fact: Fact) -> FactId {
        let looks = String::from_utf8_lossy(&fact.body).replace(self.placed[order].order_id.as_str(), "#");
        let place = fact.name.place().unwrap_or_default() as u32;
        let id = (digest(looks.as_bytes()) << NAME_BITS) | place;
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        let known = facts
            .entry((order as u8, id))
            .or_insert_with(|| Arc::new(fact.clone()));
        assert_eq!(**known, fact, "two events share a digest; choose another one");
        id
    }

    /// What a service answers to an input, having said this.
    pub(crate) fn weigh(
        &self,
        order: usize,
        who: Who,
        said: &[FactId],
        input: Input,
        slots: &[Slot],
    ) -> Arc<Weighed> {
        let key = fingerprint((order, who, said, input, slots));
        if let Some(known) = self
            .weighed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return known.clone();
        }
        let said_facts: Vec<_> = said.iter().map(|id| self.fact(order, *id)).collect();
        let heard;
        let trigger = match input {
            Input::Heard(id) => {
                heard = self.fact(order, id);
                Trigger::Heard(&heard)
            }
            Input::Command(command) => Trigger::Command(command),
            Input::Stock(quantity) => Trigger::Stock(quantity),
            Input::Outcome(outcome) => Trigger::Outcome(outcome),
        };
        let party = &self.parties[who as usize];
        let placed = &self.placed[order];
        let (guesses, mut answer) = party.weigh(placed, &said_facts, &trigger, slots);
        if let Some(mutation) = self.mutation {
            let said: OrderFacts = said_facts.iter().map(|fact| fact.name).collect();
            let occasion = Occasion {
                who,
                order: placed,
                said,
                trigger: &trigger,
                slots,
            };
            answer = mutation.instead(&occasion, answer, || party.weigh(placed, &[], &trigger, slots).1);
        }
        let verdict = match answer {
            Answer::Ask(ask) => Verdict::Ask(ask),
            Answer::Ignore(reason) => Verdict::Ignore(reason),
            Answer::Refuse => Verdict::Refuse,
            Answer::Broken(fault) => Verdict::Broken(fault),
            Answer::Say {
                facts,
                slots,
                deadline,
            } => Verdict::Say {
                facts: facts.into_iter().map(|fact| self.store(order, fact)).collect(),
                slots,
                deadline: match deadline {
                    Due::Keep => Due::Keep,
                    Due::Clear => Due::Clear,
                    Due::Set(fact) => Due::Set(self.store(order, fact)),
                },
            },
        };
        let weighed = Arc::new(Weighed { guesses, verdict });
        self.weighed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, weighed.clone());
        weighed
    }

    /// What a service's ledger looks like.
    pub(crate) fn slots(world: &World, who: Who) -> &[Slot] {
        match who {
            Who::Order | Who::Payment => &[],
            Who::Inventory => &world.stock,
            Who::Delivery => &world.couriers,
        }
    }

    /// What an instance may know of an order when this input comes: what is stored, and what it may remember or guess
    /// instead. What it remembers is what some instance has committed, so it is the beginning of what is stored.
    fn views(&self, world: &World, order: usize, who: Who, input: Input, views: &mut Vec<View>) {
        views.push(View::Fresh);
        let said = &world.orders[order].said[who as usize];
        // On a state that is not the stored one nothing comes of saying (the check refuses it) nor of ignoring (the
        // engine reads again), only of asking. Order and inventory ask nobody. (The engine asks on what it remembers
        // only if the call stays in the process; here it always may, which is more than it does.)
        let engine = self.does(Mutation::IgnoreOnRemembered) || self.does(Mutation::CommitWithoutCheck);
        let of_order = !matches!(input, Input::Stock(_));
        if of_order && !said.is_empty() && (engine || matches!(who, Who::Payment | Who::Delivery)) {
            let guesses = self
                .weigh(order, who, said, input, Self::slots(world, who))
                .guesses;
            let first = if guesses { 0 } else { 1 };
            views.extend((first..said.len()).map(|n| View::Remembered(n as u8)));
        }
        if world.before.is_some() {
            views.push(View::OldLedger);
        }
        if self.does(Mutation::TornCommit) && world.crashes > 0 {
            views.push(View::Torn);
        }
    }

    /// An input meets the engine.
    fn process(&self, world: &World, item: &Item) -> Option<World> {
        let journey = &world.orders[item.order];
        let said = if item.cause == Cause::Stock {
            &[][..]
        } else {
            &journey.said[item.who as usize][..]
        };
        let (seen, fresh) = match item.view {
            View::Remembered(n) => (&said[..usize::from(n)], false),
            View::Fresh | View::OldLedger | View::Torn => (said, true),
        };
        let slots = match (&world.before, item.view, item.who) {
            (Some((stock, _)), View::OldLedger, Who::Inventory) => stock,
            (Some((_, couriers)), View::OldLedger, Who::Delivery) => couriers,
            _ => Self::slots(world, item.who),
        };
        let weighed = self.weigh(item.order, item.who, seen, item.input, slots);
        match &weighed.verdict {
            Verdict::Broken(fault) => Some(at_fault(world, *fault)),
            Verdict::Say {
                facts,
                slots,
                deadline,
            } => {
                // The broker's check. Refused, the engine reads and decides again: that is the step with the fresh view.
                let old = item.view == View::OldLedger;
                if (!fresh && !self.does(Mutation::CommitWithoutCheck))
                    || (old && !self.does(Mutation::RecordWithoutCheck))
                {
                    return None;
                }
                Some(self.commit(world, item, facts, slots, deadline))
            }
            Verdict::Ask(ask) => self.begin_call(world, item, *ask),
            Verdict::Ignore(reason) => {
                // Only on what was read after the input came. Otherwise the engine reads, and decides on that.
                if !fresh && !self.does(Mutation::IgnoreOnRemembered) {
                    return None;
                }
                if item.view == View::OldLedger {
                    let trusted = self.does(Mutation::IgnoreOnRememberedLedger) && item.cause == Cause::Stock;
                    let holds = matches!(
                        self.weigh(
                            item.order,
                            item.who,
                            said,
                            item.input,
                            Self::slots(world, item.who)
                        )
                        .verdict,
                        Verdict::Ignore(_)
                    );
                    return (trusted && !holds).then(|| at_fault(world, Fault::Unkept));
                }
                if fresh && (reason.starts_with("cannot be") || reason.starts_with("unknown")) {
                    return Some(at_fault(world, Fault::CannotBe(reason)));
                }
                let heard_before =
                    matches!(item.cause, Cause::Heard(ear) if journey.settled & (1 << ear) != 0);
                let command = matches!(item.cause, Cause::Command(_) | Cause::Stock);
                if item.via.is_none() && (heard_before || command) {
                    return None;
                }
                let mut next = world.clone();
                settle(&mut next, item);
                Some(next)
            }
            Verdict::Refuse => match (item.cause, item.via) {
                (Cause::Command(_) | Cause::Stock, None) => None,
                _ if !fresh => None,
                _ => Some(at_fault(world, Fault::EventRefused(item.who.name()))),
            },
        }
    }

    fn begin_call(&self, world: &World, item: &Item, ask: u32) -> Option<World> {
        if item.via.is_some() {
            return Some(at_fault(world, Fault::AsksAgain));
        }
        if matches!(item.view, View::OldLedger | View::Torn) {
            return None;
        }
        let mut next = world.clone();
        let journey = Arc::make_mut(&mut next.orders[item.order]);
        match item.cause {
            Cause::Command(_) | Cause::Stock => journey.confirms = journey.confirms.checked_sub(1)?,
            Cause::Heard(ear) => {
                if journey.settled & (1 << ear) != 0 || journey.in_hand(item.cause) {
                    next.doubles = next.doubles.checked_sub(1)?;
                }
                if self.does(Mutation::AckBeforeOutcome) {
                    journey.settled |= 1 << ear;
                }
            }
        }
        journey.calls.push(Call {
            who: item.who,
            cause: item.cause,
            stage: Stage::Asked(ask),
        });
        journey.calls.sort_unstable();
        Some(next)
    }

    /// One atomic commit, whose check has passed (or was left out).
    fn commit(
        &self,
        world: &World,
        item: &Item,
        facts: &[FactId],
        slots: &[(usize, Slot)],
        deadline: &Due<FactId>,
    ) -> World {
        let mut next = world.clone();
        if let Cause::Heard(ear) = item.cause
            && item.via.is_none()
            && world.orders[item.order].settled & (1 << ear) != 0
        {
            next.fault = Some(Fault::AnsweredTwice(self.ears[usize::from(ear)].name.subject));
            return next;
        }
        if item.cause == Cause::Stock {
            next.puts -= 1;
        }
        let torn = item.view == View::Torn && facts.len() + slots.len() > 1;
        let journey = Arc::make_mut(&mut next.orders[item.order]);
        for fact in facts.iter().take(if torn { 1 } else { facts.len() }) {
            if journey.facts.said_any(event_of(*fact)) {
                next.fault = Some(Fault::SaidTwice(self.fact(item.order, *fact).name.subject));
                return next;
            }
            journey.facts.add(event_of(*fact));
            journey.said[item.who as usize].push(*fact);
        }
        if torn {
            next.crashes -= 1;
            if let Some(call) = item.via {
                journey.calls.remove(call);
            }
            return next;
        }
        match deadline {
            Due::Keep => {}
            Due::Clear => {
                let off = journey.due.take();
                journey.ghost = off.filter(|_| self.configuration.late_expiry);
            }
            Due::Set(says) => journey.due = Some(*says),
        }
        if self.mutation.is_some_and(Mutation::remembers_ledger) && !slots.is_empty() {
            next.before = Some((next.stock.clone(), next.couriers.clone()));
        }
        let ledger = if item.who == Who::Inventory {
            &mut next.stock
        } else {
            &mut next.couriers
        };
        for (slot, record) in slots {
            ledger[*slot] = *record;
        }
        settle(&mut next, item);

        let said = match item.cause {
            Cause::Stock => &[][..],
            Cause::Heard(_) | Cause::Command(_) => &next.orders[item.order].said[item.who as usize],
        };
        let again = self.weigh(
            item.order,
            item.who,
            said,
            item.input,
            Self::slots(&next, item.who),
        );
        if let Verdict::Say { facts, .. } = &again.verdict {
            let name = facts
                .first()
                .map_or("", |fact| self.fact(item.order, *fact).name.subject);
            next.fault = Some(Fault::AnsweredTwice(name));
        }
        next
    }

    /// The outside world does what it was asked.
    fn act(&self, world: &World, order: usize, call: usize, luck: bool) -> World {
        let mut next = world.clone();
        let journey = Arc::make_mut(&mut next.orders[order]);
        let Call { who, stage, .. } = journey.calls[call];
        let (Stage::Asked(ask) | Stage::Orphan(ask)) = stage else {
            unreachable!("it was done already")
        };
        let outside = Outside {
            books: journey.books.clone(),
            desk: journey.desk,
            luck,
            mutation: self.mutation,
            amount: None,
        };
        let (outcome, outside) = self.parties[who as usize].ask(&self.placed[order], ask, outside);
        journey.books = outside.books;
        journey.desk = outside.desk;
        match stage {
            Stage::Orphan(_) => drop(journey.calls.remove(call)),
            Stage::Asked(_) | Stage::Answered(_) => journey.calls[call].stage = Stage::Answered(outcome),
        }
        journey.calls.sort_unstable();
        next
    }

    fn crash(world: &World, order: usize, call: usize, orphan: bool) -> Option<World> {
        let mut next = world.clone();
        next.crashes = next.crashes.checked_sub(1)?;
        let journey = Arc::make_mut(&mut next.orders[order]);
        match journey.calls[call].stage {
            Stage::Asked(ask) if orphan => journey.calls[call].stage = Stage::Orphan(ask),
            Stage::Asked(_) | Stage::Answered(_) | Stage::Orphan(_) => drop(journey.calls.remove(call)),
        }
        journey.calls.sort_unstable();
        Some(next)
    }

    fn expire(world: &World, order: usize) -> Option<World> {
        let mut next = world.clone();
        let journey = Arc::make_mut(&mut next.orders[order]);
        let says = journey.due.take().or_else(|| journey.ghost.take())?;
        if journey.facts.said_any(event_of(says)) {
            next.fault = Some(Fault::SaidTwice(Expired::NAME.subject));
        }
        journey.facts.add(event_of(says));
        journey.said[Who::Payment as usize].push(says);
        Some(next)
    }

    fn item(&self, world: &World, action: &Action) -> Option<Item> {
        match *action {
            Action::Deliver { order, ear, view } => {
                let heard = self.ears[usize::from(ear)];
                let order = usize::from(order);
                let said = &world.orders[order].said[heard.speaker as usize];
                let fact = *said.iter().find(|fact| event_of(**fact) == heard.event)?;
                let cause = Cause::Heard(ear);
                Some(Item {
                    order,
                    who: heard.who,
                    cause,
                    input: Input::Heard(fact),
                    via: None,
                    view,
                })
            }
            Action::Command { order, command, view } => {
                let (cause, input) = (Cause::Command(command), Input::Command(command));
                Some(Item {
                    order: order.into(),
                    who: command.to(),
                    cause,
                    input,
                    via: None,
                    view,
                })
            }
            Action::Outcome { order, call, view } => {
                let Call { who, cause, stage } = world.orders[usize::from(order)].calls[usize::from(call)];
                match stage {
                    Stage::Answered(outcome) => {
                        let via = Some(usize::from(call));
                        Some(Item {
                            order: order.into(),
                            who,
                            cause,
                            input: Input::Outcome(outcome),
                            via,
                            view,
                        })
                    }
                    Stage::Asked(_) | Stage::Orphan(_) => None,
                }
            }
            Action::Stock { quantity, view } => {
                let (cause, input) = (Cause::Stock, Input::Stock(quantity));
                Some(Item {
                    order: 0,
                    who: Who::Inventory,
                    cause,
                    input,
                    via: None,
                    view,
                })
            }
            Action::Act { .. } | Action::Crash { .. } | Action::Expire { .. } => None,
        }
    }

    /// What this action's input is, and what the service makes of it, in the state before it.
    pub(crate) fn weigh_action(&self, world: &World, action: &Action) -> Option<(Who, Arc<Weighed>)> {
        let item = self.item(world, action)?;
        let said = &world.orders[item.order].said[item.who as usize];
        let seen = match item.view {
            _ if item.cause == Cause::Stock => &[],
            View::Remembered(n) => &said[..usize::from(n)],
            View::Fresh | View::OldLedger | View::Torn => &said[..],
        };
        Some((
            item.who,
            self.weigh(
                item.order,
                item.who,
                seen,
                item.input,
                Self::slots(world, item.who),
            ),
        ))
    }

    fn step(&self, world: &World, action: &Action) -> Option<World> {
        match *action {
            Action::Deliver { .. }
            | Action::Command { .. }
            | Action::Stock { .. }
            | Action::Outcome { .. } => self.process(world, &self.item(world, action)?),
            Action::Act { order, call, luck } => Some(self.act(world, order.into(), call.into(), luck)),
            Action::Crash { order, call, orphan } => Self::crash(world, order.into(), call.into(), orphan),
            Action::Expire { order } => Self::expire(world, order.into()),
        }
    }

    /// How far the end is. It comes nearer with every step, so that every path ends: first by what people and accidents
    /// may still do, then by what can still be said, then by the work in hand.
    fn distance(&self, world: &World) -> (usize, usize, usize) {
        let mut chances = usize::from(world.crashes) + usize::from(world.doubles) + usize::from(world.puts);
        let (mut unsaid, mut work) = (0, 0);
        for journey in &world.orders {
            chances += usize::from(journey.confirms);
            unsaid += EventSet::ALL.len() - journey.facts.events().len();
            work += journey
                .calls
                .iter()
                .map(|call| match call.stage {
                    Stage::Asked(_) => 2,
                    Stage::Answered(_) | Stage::Orphan(_) => 1,
                })
                .sum::<usize>();
            for (ear, heard) in self.ears.iter().enumerate() {
                let cause = Cause::Heard(ear as u8);
                if journey.facts.said_any(heard.event) && journey.settled & (1 << ear) == 0 {
                    work += if journey.in_hand(cause) { 1 } else { 4 };
                }
            }
        }
        (chances, unsaid, work)
    }

    /// Whether nothing has to happen any more, though people may still try something.
    pub fn is_quiet(&self, world: &World) -> bool {
        world.orders.iter().zip(&self.placed).all(|(journey, placed)| {
            journey.facts.said::<Created>()
                && journey.due.is_none()
                && !journey.calls.iter().any(Call::is_live)
                // The shop owner has to say yes or no, sooner or later.
                && !(placed.approval == Approval::Manual && journey.facts.awaits_approval())
                && self
                    .ears
                    .iter()
                    .enumerate()
                    .all(|(ear, heard)| !journey.facts.said_any(heard.event) || journey.settled & (1 << ear) != 0)
        })
    }
}

fn at_fault(world: &World, fault: Fault) -> World {
    World {
        fault: Some(fault),
        ..world.clone()
    }
}

fn settle(world: &mut World, item: &Item) {
    let journey = Arc::make_mut(&mut world.orders[item.order]);
    if let Some(call) = item.via {
        journey.calls.remove(call);
    }
    match item.cause {
        Cause::Heard(ear) => journey.settled |= 1 << ear,
        Cause::Command(_) | Cause::Stock => {}
    }
}

fn command_order(placed: &Arc<Order>, trigger: &Trigger<'_>) -> Option<order::Input> {
    let order_id = placed.order_id.clone();
    match trigger {
        Trigger::Command(Command::Create) => Some(order::Input::Create(placed.clone())),
        Trigger::Command(Command::Approve) => Some(order::Input::Approve { order_id }),
        Trigger::Command(Command::CancelOrder) => Some(order::Input::Cancel {
            order_id,
            reason: "changed my mind".to_owned(),
        }),
        Trigger::Command(Command::Confirm | Command::CancelPayment)
        | Trigger::Stock(_)
        | Trigger::Heard(_)
        | Trigger::Outcome(_) => None,
    }
}

fn command_payment(placed: &Arc<Order>, trigger: &Trigger<'_>) -> Option<payment::Input> {
    let order_id = placed.order_id.clone();
    match trigger {
        Trigger::Command(Command::Confirm) => Some(payment::Input::Confirm { order_id }),
        Trigger::Command(Command::CancelPayment) => Some(payment::Input::Cancel {
            order_id,
            reason: "changed my mind".to_owned(),
        }),
        Trigger::Command(Command::Create | Command::Approve | Command::CancelOrder)
        | Trigger::Stock(_)
        | Trigger::Heard(_)
        | Trigger::Outcome(_) => None,
    }
}

fn command_inventory(_: &Arc<Order>, trigger: &Trigger<'_>) -> Option<inventory::Input> {
    match trigger {
        Trigger::Stock(quantity) => Some(inventory::Input::Stock {
            item_id: item_id(0),
            quantity: u64::from(*quantity),
        }),
        Trigger::Command(_) | Trigger::Heard(_) | Trigger::Outcome(_) => None,
    }
}

impl Model for Choreography {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let configuration = &self.configuration;
        let slots = |there: &[u8]| {
            there
                .iter()
                .map(|there| Slot {
                    there: *there,
                    used: 0,
                })
                .collect::<Vec<_>>()
        };
        let journey = Arc::new(Journey {
            confirms: configuration.customer.confirms,
            ..Journey::default()
        });
        let alike = configuration.orders.windows(2).all(|pair| pair[0] == pair[1]);
        let mut worlds = Vec::new();
        for stock in &configuration.stocks {
            for couriers in &configuration.couriers {
                worlds.push(World {
                    orders: vec![journey.clone(); configuration.orders.len()],
                    stock: slots(stock),
                    couriers: slots(couriers),
                    before: None,
                    puts: configuration.puts,
                    crashes: configuration.crashes,
                    doubles: configuration.doubles,
                    fault: None,
                    alike,
                });
            }
        }
        worlds
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.fault.is_some() {
            return;
        }
        let configuration = &self.configuration;
        let mut views = Vec::new();
        if world.puts > 0 {
            for quantity in [1, 2] {
                self.views(world, 0, Who::Inventory, Input::Stock(quantity), &mut views);
                actions.extend(views.drain(..).map(|view| Action::Stock { quantity, view }));
            }
        }
        let busy = configuration.instant
            && world
                .orders
                .iter()
                .any(|journey| journey.calls.iter().any(Call::is_live));
        for (n, journey) in world.orders.iter().enumerate() {
            let order = n as u8;
            for (call, Call { who, stage, .. }) in journey.calls.iter().enumerate() {
                let at = call as u8;
                match stage {
                    Stage::Asked(ask) | Stage::Orphan(ask) => {
                        let kind = AskKind::of(*ask);
                        let Books { charges, voided, .. } = &journey.books;
                        let may_fail = match kind {
                            AskKind::Charge => configuration.declines && charges.is_empty() && !voided,
                            AskKind::Desk => configuration.refusals && journey.desk.is_none(),
                            AskKind::Refund | AskKind::Void => false,
                        };
                        actions.push(Action::Act {
                            order,
                            call: at,
                            luck: true,
                        });
                        if may_fail {
                            actions.push(Action::Act {
                                order,
                                call: at,
                                luck: false,
                            });
                        }
                        if let Stage::Asked(_) = stage
                            && world.crashes > 0
                        {
                            actions.push(Action::Crash {
                                order,
                                call: at,
                                orphan: false,
                            });
                            // A question that nobody waits for leaves no trace at the desk.
                            if kind != AskKind::Desk {
                                actions.push(Action::Crash {
                                    order,
                                    call: at,
                                    orphan: true,
                                });
                            }
                        }
                    }
                    Stage::Answered(outcome) => {
                        views.clear();
                        self.views(world, n, *who, Input::Outcome(*outcome), &mut views);
                        actions.extend(views.iter().map(|view| Action::Outcome {
                            order,
                            call: at,
                            view: *view,
                        }));
                        if world.crashes > 0 {
                            actions.push(Action::Crash {
                                order,
                                call: at,
                                orphan: false,
                            });
                        }
                    }
                }
            }
            if busy {
                continue;
            }
            if journey.due.is_some() || journey.ghost.is_some() {
                actions.push(Action::Expire { order });
            }
            for command in Command::ALL {
                let may = match command {
                    Command::Create | Command::Approve => true,
                    Command::CancelOrder => configuration.customer.cancels_order,
                    Command::Confirm => journey.confirms > 0,
                    Command::CancelPayment => configuration.customer.cancels_payment,
                };
                if may {
                    views.clear();
                    self.views(world, n, command.to(), Input::Command(command), &mut views);
                    actions.extend(views.iter().map(|view| Action::Command {
                        order,
                        command,
                        view: *view,
                    }));
                }
            }
            for (at, ear) in self.ears.iter().enumerate() {
                if !journey.facts.said_any(ear.event) {
                    continue;
                }
                let said = &journey.said[ear.speaker as usize];
                let Some(fact) = said.iter().find(|fact| event_of(**fact) == ear.event) else {
                    continue;
                };
                views.clear();
                self.views(world, n, ear.who, Input::Heard(*fact), &mut views);
                actions.extend(views.iter().map(|view| Action::Deliver {
                    order,
                    ear: at as u8,
                    view: *view,
                }));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = self.step(world, &action)?;
        if next.fault.is_none() && self.distance(&next) >= self.distance(world) {
            next.fault = Some(Fault::NoProgress);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::of(&self.configuration)
    }
}
