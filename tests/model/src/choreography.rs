//! The steps of the world.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use quadrille_decision::Deadline;
use quadrille_decision::erased::{Fact, OpaqueValue, erase};
use quadrille_delivery::decide as delivery;
use quadrille_events::{
    AggregateKind, Approval, Body, Created, EventName, EventSet, Expired, InventoryEvent, ItemListed, Order,
    OrderFacts,
};
use quadrille_inventory::item::{Expected, ItemChange};
use quadrille_inventory::{InventoryService, decide as inventory, samples as inventory_samples};
use quadrille_order::{OrderService, decide as order, price, samples};
use quadrille_payment::decide as payment;

use crate::configuration::{Configuration, item_id};
use crate::mutation::{self, MistakeOccasion, Mutation};
use crate::outside::{self, Outside};
use crate::participant::{AskKind, ModelledService};
use crate::stimulus::{ModelledAnswer, Stimulus};
use crate::world::{
    FactId, Fault, InputCause, InstanceView, ModelCommand, NAME_BITS, PendingCall, ShopCommand, Slot, Stage,
    Who, WorldState, digest, event_of, fingerprint,
};

/// One step. Orders, calls and ears are named by their place.
#[derive(Clone, Debug, PartialEq)]
pub enum WorldAction {
    /// The broker delivers the event that this ear hears, for the first time or again.
    Deliver {
        /// Which order's.
        order: u8,
        /// Which ear.
        ear: u8,
        /// What the listening instance knows.
        view: InstanceView,
    },
    /// Somebody sends a command.
    Command {
        /// About which order.
        order: u8,
        /// What.
        command: ModelCommand,
        /// What the instance knows.
        view: InstanceView,
    },
    /// The shop owner does something with the first item.
    Shop {
        /// What.
        command: ShopCommand,
        /// What the instance knows.
        view: InstanceView,
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
        view: InstanceView,
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
    services: [ModelledService; 4],
    facts: RwLock<HashMap<(u8, FactId), Arc<Fact>>>,
    weighed: RwLock<HashMap<u64, Arc<Weighed>, ahash::RandomState>>,
}

/// What a service makes of an input. Decisions are pure, so each is made once.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub guesses: bool,
    pub verdict: ModelledAnswer<FactId>,
}

/// An input on its way to a decision.
struct Item {
    order: usize,
    who: Who,
    cause: InputCause,
    input: Stimulus<FactId>,
    /// The call that brought it, if it is an outcome.
    via: Option<usize>,
    view: InstanceView,
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
        let prices = (0..items).map(|n| (price::key(&item_id(n)), samples::price(1)));
        let services = [
            ModelledService::new(erase(OrderService { flow }), command_order)
                .with_constants(&prices.collect()),
            ModelledService::new(erase(outside::payment(flow)), command_payment)
                .with_asks(AskKind::of_payment),
            ModelledService::new(
                erase(InventoryService {
                    flow,
                    ..InventoryService::default()
                }),
                command_inventory,
            )
            .with_ledger::<inventory::Stock>(stock_keys),
            ModelledService::new(erase(outside::delivery()), command_delivery)
                .with_ledger::<delivery::Courier>(courier_keys)
                .with_asks(AskKind::of_delivery),
        ];
        let mut ears = Vec::new();
        for who in Who::ALL {
            // What is said about items changes prices, which are constant here.
            let about_orders = |name: &&EventName| name.about == AggregateKind::ORDER;
            for name in services[who as usize].ears().into_iter().filter(about_orders) {
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
            services,
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
        let place = fact.name.place();
        let place = place.unwrap_or_else(|| unreachable!("{} is none of the contract's", fact.name)) as u32;
        let id = (digest(looks.as_bytes()) << NAME_BITS) | place;
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        let known = facts
            .entry((order as u8, id))
            .or_insert_with(|| Arc::new(fact.clone()));
        assert_eq!(**known, fact, "two events share a digest; choose another one");
        id
    }

    /// The event by which the first item was listed.
    pub(crate) fn listed(&self) -> FactId {
        let listed = InventoryEvent::from(ItemListed {
            item_id: item_id(0),
            version: 1,
            item: Arc::new(inventory_samples::item(1)),
        });
        self.store(0, Fact::of(&listed))
    }

    /// What a service answers to an input, having said this.
    pub(crate) fn weigh(
        &self,
        order: usize,
        who: Who,
        said: &[FactId],
        input: Stimulus<FactId>,
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
        let stimulus = match input {
            Stimulus::Heard(id) => {
                heard = self.fact(order, id);
                Stimulus::Heard(&*heard)
            }
            Stimulus::Command(command) => Stimulus::Command(command),
            Stimulus::Shop(command) => Stimulus::Shop(command),
            Stimulus::Outcome(outcome) => Stimulus::Outcome(outcome),
        };
        let service = &self.services[who as usize];
        let placed = &self.placed[order];
        let (guesses, mut verdict) = service.weigh(placed, &said_facts, stimulus, slots);
        if self.configuration.previous_release {
            verdict = verdict.map(mutation::without_cancel_delivery);
        }
        if let Some(mutation) = self.mutation {
            let said: OrderFacts = said_facts.iter().map(|fact| fact.name).collect();
            let occasion = MistakeOccasion {
                who,
                order: placed,
                said,
                stimulus,
                slots,
            };
            verdict = mutation.instead(&occasion, verdict, || {
                service.weigh(placed, &[], stimulus, slots).1
            });
        }
        let verdict = verdict.map(|fact| self.store(order, fact));
        let weighed = Arc::new(Weighed { guesses, verdict });
        self.weighed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, weighed.clone());
        weighed
    }

    /// What a service's ledger looks like.
    pub(crate) fn slots(world: &WorldState, who: Who) -> &[Slot] {
        match who {
            Who::Order | Who::Payment => &[],
            Who::Inventory => &world.stock,
            Who::Delivery => &world.couriers,
        }
    }

    /// What an instance may know of an order when this input comes: what is stored, and what it may remember or guess
    /// instead. What it remembers is what some instance has committed, so it is the beginning of what is stored.
    pub(crate) fn views(
        &self,
        world: &WorldState,
        order: usize,
        who: Who,
        input: Stimulus<FactId>,
        views: &mut Vec<InstanceView>,
    ) {
        views.push(InstanceView::Fresh);
        let said = &world.orders[order].said[who as usize];
        // On a state that is not the stored one nothing comes of saying (the check refuses it) nor of ignoring (the
        // engine reads again), only of asking. Order and inventory ask nobody. (The engine asks on what it remembers
        // only if the call stays in the process; here it always may, which is more than it does.)
        let engine = self.does(Mutation::IgnoreOnRemembered) || self.does(Mutation::CommitWithoutCheck);
        let of_order = !matches!(input, Stimulus::Shop(_));
        if of_order && !said.is_empty() && (engine || matches!(who, Who::Payment | Who::Delivery)) {
            let guesses = self
                .weigh(order, who, said, input, Self::slots(world, who))
                .guesses;
            let first = if guesses { 0 } else { 1 };
            views.extend((first..said.len()).map(|n| InstanceView::Remembered(n as u8)));
        }
        if world.before.is_some() {
            views.push(InstanceView::OldLedger);
        }
        if self.does(Mutation::TornCommit) && world.crashes > 0 {
            views.push(InstanceView::Torn);
        }
    }

    /// An input meets the engine.
    fn process(&self, world: &WorldState, item: &Item) -> Option<WorldState> {
        let journey = &world.orders[item.order];
        let said = said_before(world, item);
        let (seen, fresh) = match item.view {
            InstanceView::Remembered(n) => (&said[..usize::from(n)], false),
            InstanceView::Fresh | InstanceView::OldLedger | InstanceView::Torn => (said, true),
        };
        let slots = match (&world.before, item.view, item.who) {
            (Some((stock, _)), InstanceView::OldLedger, Who::Inventory) => stock,
            (Some((_, couriers)), InstanceView::OldLedger, Who::Delivery) => couriers,
            _ => Self::slots(world, item.who),
        };
        let weighed = self.weigh(item.order, item.who, seen, item.input, slots);
        match &weighed.verdict {
            ModelledAnswer::Broken(fault) => Some(at_fault(world, *fault)),
            ModelledAnswer::Say {
                facts,
                slots,
                deadline,
            } => {
                // The broker's check. Refused, the engine reads and decides again: that is the step with the fresh view.
                let old = item.view == InstanceView::OldLedger;
                if (!fresh && !self.does(Mutation::CommitWithoutCheck))
                    || (old && !self.does(Mutation::RecordWithoutCheck))
                {
                    return None;
                }
                Some(self.commit(world, item, facts, slots, deadline))
            }
            ModelledAnswer::Ask(ask) => self.begin_call(world, item, *ask),
            ModelledAnswer::Ignore(reason) => {
                // Only on what was read after the input came. Otherwise the engine reads, and decides on that.
                if !fresh && !self.does(Mutation::IgnoreOnRemembered) {
                    return None;
                }
                if item.view == InstanceView::OldLedger {
                    let trusted =
                        self.does(Mutation::IgnoreOnRememberedLedger) && item.cause == InputCause::Shop;
                    let holds = matches!(
                        self.weigh(
                            item.order,
                            item.who,
                            said,
                            item.input,
                            Self::slots(world, item.who)
                        )
                        .verdict,
                        ModelledAnswer::Ignore(_)
                    );
                    return (trusted && !holds).then(|| at_fault(world, Fault::Unkept));
                }
                if fresh && (reason.starts_with("cannot be") || reason.starts_with("unknown")) {
                    return Some(at_fault(world, Fault::CannotBe(reason)));
                }
                let heard_before =
                    matches!(item.cause, InputCause::Heard(ear) if journey.settled & (1 << ear) != 0);
                let command = matches!(item.cause, InputCause::Command(_) | InputCause::Shop);
                if item.via.is_none() && (heard_before || command) {
                    return None;
                }
                let mut next = world.clone();
                settle(&mut next, item);
                Some(next)
            }
            ModelledAnswer::Refuse => match (item.cause, item.via) {
                (InputCause::Command(_) | InputCause::Shop, None) => None,
                _ if !fresh => None,
                _ => Some(at_fault(world, Fault::EventRefused(item.who.name()))),
            },
        }
    }

    fn begin_call(&self, world: &WorldState, item: &Item, ask: u32) -> Option<WorldState> {
        if item.via.is_some() {
            return Some(at_fault(world, Fault::AsksAgain));
        }
        if matches!(item.view, InstanceView::OldLedger | InstanceView::Torn) {
            return None;
        }
        let mut next = world.clone();
        let journey = Arc::make_mut(&mut next.orders[item.order]);
        match item.cause {
            InputCause::Command(_) | InputCause::Shop => {
                journey.confirms = journey.confirms.checked_sub(1)?
            }
            InputCause::Heard(ear) => {
                if journey.settled & (1 << ear) != 0 || journey.in_hand(item.cause) {
                    next.doubles = next.doubles.checked_sub(1)?;
                }
                if self.does(Mutation::AckBeforeOutcome) {
                    journey.settled |= 1 << ear;
                }
            }
        }
        journey.calls.push(PendingCall {
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
        world: &WorldState,
        item: &Item,
        facts: &[FactId],
        slots: &[(usize, Slot)],
        deadline: &Deadline<FactId>,
    ) -> WorldState {
        let mut next = world.clone();
        if let InputCause::Heard(ear) = item.cause
            && item.via.is_none()
            && world.orders[item.order].settled & (1 << ear) != 0
        {
            next.fault = Some(Fault::AnsweredTwice(self.ears[usize::from(ear)].name.subject));
            return next;
        }
        match item.input {
            Stimulus::Shop(ShopCommand::Put(_)) => next.puts -= 1,
            Stimulus::Shop(ShopCommand::Withdraw) => next.withdrawals -= 1,
            Stimulus::Heard(_) | Stimulus::Command(_) | Stimulus::Outcome(_) => {}
        }
        let torn = item.view == InstanceView::Torn && facts.len() + slots.len() > 1;
        let journey = Arc::make_mut(&mut next.orders[item.order]);
        for fact in facts.iter().take(if torn { 1 } else { facts.len() }) {
            if item.cause == InputCause::Shop {
                next.item.push(*fact);
                continue;
            }
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
            Deadline::Keep => {}
            Deadline::Clear => {
                let off = journey.due.take();
                journey.ghost = off.filter(|_| self.configuration.late_expiry);
            }
            Deadline::Set { says, .. } => journey.due = Some(*says),
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

        let said = said_before(&next, item);
        let again = self.weigh(
            item.order,
            item.who,
            said,
            item.input,
            Self::slots(&next, item.who),
        );
        if let ModelledAnswer::Say { facts, .. } = &again.verdict {
            let name = facts
                .first()
                .map_or("", |fact| self.fact(item.order, *fact).name.subject);
            next.fault = Some(Fault::AnsweredTwice(name));
        }
        next
    }

    /// The outside world does what it was asked.
    fn act(&self, world: &WorldState, order: usize, call: usize, luck: bool) -> WorldState {
        let mut next = world.clone();
        let journey = Arc::make_mut(&mut next.orders[order]);
        let PendingCall { who, stage, .. } = journey.calls[call];
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
        let (outcome, outside) = self.services[who as usize].ask(&self.placed[order], ask, outside);
        journey.books = outside.books;
        journey.desk = outside.desk;
        match stage {
            Stage::Orphan(_) => drop(journey.calls.remove(call)),
            Stage::Asked(_) | Stage::Answered(_) => journey.calls[call].stage = Stage::Answered(outcome),
        }
        journey.calls.sort_unstable();
        next
    }

    fn crash(world: &WorldState, order: usize, call: usize, orphan: bool) -> Option<WorldState> {
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

    fn expire(world: &WorldState, order: usize) -> Option<WorldState> {
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

    fn item(&self, world: &WorldState, action: &WorldAction) -> Option<Item> {
        match *action {
            WorldAction::Deliver { order, ear, view } => {
                let heard = self.ears[usize::from(ear)];
                let order = usize::from(order);
                let said = &world.orders[order].said[heard.speaker as usize];
                let fact = *said.iter().find(|fact| event_of(**fact) == heard.event)?;
                let cause = InputCause::Heard(ear);
                Some(Item {
                    order,
                    who: heard.who,
                    cause,
                    input: Stimulus::Heard(fact),
                    via: None,
                    view,
                })
            }
            WorldAction::Command { order, command, view } => {
                let (cause, input) = (InputCause::Command(command), Stimulus::Command(command));
                Some(Item {
                    order: order.into(),
                    who: command.to(),
                    cause,
                    input,
                    via: None,
                    view,
                })
            }
            WorldAction::Outcome { order, call, view } => {
                let PendingCall { who, cause, stage } =
                    world.orders[usize::from(order)].calls[usize::from(call)];
                match stage {
                    Stage::Answered(outcome) => {
                        let via = Some(usize::from(call));
                        Some(Item {
                            order: order.into(),
                            who,
                            cause,
                            input: Stimulus::Outcome(outcome),
                            via,
                            view,
                        })
                    }
                    Stage::Asked(_) | Stage::Orphan(_) => None,
                }
            }
            WorldAction::Shop { command, view } => {
                let (cause, input) = (InputCause::Shop, Stimulus::Shop(command));
                Some(Item {
                    order: 0,
                    who: Who::Inventory,
                    cause,
                    input,
                    via: None,
                    view,
                })
            }
            WorldAction::Act { .. } | WorldAction::Crash { .. } | WorldAction::Expire { .. } => None,
        }
    }

    /// What this action's input is, and what the service makes of it, in the state before it.
    pub(crate) fn weigh_action(
        &self,
        world: &WorldState,
        action: &WorldAction,
    ) -> Option<(Who, Arc<Weighed>)> {
        let item = self.item(world, action)?;
        let said = said_before(world, &item);
        let seen = match item.view {
            InstanceView::Remembered(n) => &said[..usize::from(n)],
            InstanceView::Fresh | InstanceView::OldLedger | InstanceView::Torn => said,
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

    pub(crate) fn step(&self, world: &WorldState, action: &WorldAction) -> Option<WorldState> {
        match *action {
            WorldAction::Deliver { .. }
            | WorldAction::Command { .. }
            | WorldAction::Shop { .. }
            | WorldAction::Outcome { .. } => self.process(world, &self.item(world, action)?),
            WorldAction::Act { order, call, luck } => Some(self.act(world, order.into(), call.into(), luck)),
            WorldAction::Crash { order, call, orphan } => {
                Self::crash(world, order.into(), call.into(), orphan)
            }
            WorldAction::Expire { order } => Self::expire(world, order.into()),
        }
    }

    /// How far the end is. It comes nearer with every step, so that every path ends: first by what people and accidents
    /// may still do, then by what can still be said, then by the work in hand.
    pub(crate) fn distance(&self, world: &WorldState) -> (usize, usize, usize) {
        let mut chances = usize::from(world.crashes) + usize::from(world.doubles);
        chances += usize::from(world.puts) + usize::from(world.withdrawals);
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
                let cause = InputCause::Heard(ear as u8);
                if journey.facts.said_any(heard.event) && journey.settled & (1 << ear) == 0 {
                    work += if journey.in_hand(cause) { 1 } else { 4 };
                }
            }
        }
        (chances, unsaid, work)
    }

    /// Whether nothing has to happen any more, though people may still try something.
    pub fn is_quiet(&self, world: &WorldState) -> bool {
        world.orders.iter().zip(&self.placed).all(|(journey, placed)| {
            journey.facts.said::<Created>()
                && journey.due.is_none()
                && !journey.calls.iter().any(PendingCall::is_live)
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

/// What the service has said about the order, or about the item.
fn said_before<'w>(world: &'w WorldState, item: &Item) -> &'w [FactId] {
    match item.cause {
        InputCause::Shop => &world.item,
        InputCause::Heard(_) | InputCause::Command(_) => &world.orders[item.order].said[item.who as usize],
    }
}

fn at_fault(world: &WorldState, fault: Fault) -> WorldState {
    WorldState {
        fault: Some(fault),
        ..world.clone()
    }
}

fn settle(world: &mut WorldState, item: &Item) {
    let journey = Arc::make_mut(&mut world.orders[item.order]);
    if let Some(call) = item.via {
        journey.calls.remove(call);
    }
    match item.cause {
        InputCause::Heard(ear) => journey.settled |= 1 << ear,
        InputCause::Command(_) | InputCause::Shop => {}
    }
}

fn command_order(placed: &Arc<Order>, stimulus: Stimulus<&Fact>) -> Option<OpaqueValue> {
    let order_id = placed.order_id.clone();
    let input = match stimulus {
        Stimulus::Command(ModelCommand::Create) => order::Input::Create(Arc::new((&**placed).into())),
        Stimulus::Command(ModelCommand::Approve) => order::Input::Approve { order_id },
        Stimulus::Command(ModelCommand::CancelOrder) => order::Input::Cancel {
            order_id,
            reason: "changed my mind".to_owned(),
        },
        Stimulus::Command(
            ModelCommand::Confirm
            | ModelCommand::CancelPayment
            | ModelCommand::ConfirmDelivery
            | ModelCommand::FailDelivery,
        )
        | Stimulus::Shop(_)
        | Stimulus::Heard(_)
        | Stimulus::Outcome(_) => return None,
    };
    Some(OpaqueValue::new(input))
}

fn command_payment(placed: &Arc<Order>, stimulus: Stimulus<&Fact>) -> Option<OpaqueValue> {
    let order_id = placed.order_id.clone();
    let input = match stimulus {
        Stimulus::Command(ModelCommand::Confirm) => payment::Input::Confirm { order_id },
        Stimulus::Command(ModelCommand::CancelPayment) => payment::Input::Cancel {
            order_id,
            reason: "changed my mind".to_owned(),
        },
        Stimulus::Command(
            ModelCommand::Create
            | ModelCommand::Approve
            | ModelCommand::CancelOrder
            | ModelCommand::ConfirmDelivery
            | ModelCommand::FailDelivery,
        )
        | Stimulus::Shop(_)
        | Stimulus::Heard(_)
        | Stimulus::Outcome(_) => return None,
    };
    Some(OpaqueValue::new(input))
}

fn command_delivery(placed: &Arc<Order>, stimulus: Stimulus<&Fact>) -> Option<OpaqueValue> {
    let order_id = placed.order_id.clone();
    let input = match stimulus {
        Stimulus::Command(ModelCommand::ConfirmDelivery) => delivery::Input::Confirm { order_id },
        Stimulus::Command(ModelCommand::FailDelivery) => delivery::Input::Fail {
            order_id,
            reason: "nobody at home".to_owned(),
        },
        Stimulus::Command(
            ModelCommand::Create
            | ModelCommand::Approve
            | ModelCommand::CancelOrder
            | ModelCommand::Confirm
            | ModelCommand::CancelPayment,
        )
        | Stimulus::Shop(_)
        | Stimulus::Heard(_)
        | Stimulus::Outcome(_) => return None,
    };
    Some(OpaqueValue::new(input))
}

fn command_inventory(_: &Arc<Order>, stimulus: Stimulus<&Fact>) -> Option<OpaqueValue> {
    let item_id = item_id(0);
    let input = match stimulus {
        Stimulus::Shop(ShopCommand::Put(quantity)) => inventory::Input::Put {
            item_id,
            change: ItemChange {
                quantity: Some(quantity.into()),
                ..ItemChange::default()
            },
            expected: Expected::Nothing,
        },
        Stimulus::Shop(ShopCommand::Withdraw) => inventory::Input::Withdraw {
            item_id,
            expected: Expected::Any,
        },
        Stimulus::Command(_) | Stimulus::Heard(_) | Stimulus::Outcome(_) => return None,
    };
    Some(OpaqueValue::new(input))
}
