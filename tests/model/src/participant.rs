//! A shipped service as the model meets it: bytes in, bytes out.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use quadrille_decision::testing::NOW;
use quadrille_decision::{Context, Deadline, Decision, Reads, Service, Wire};
use quadrille_delivery::decide::Courier;
use quadrille_events::{EventName, Order, OrderId, Said, TypedId};
use quadrille_inventory::decide::Stock;

use crate::outside::{Outside, meet};
use crate::world::{Command, Fault, Slot, digest};

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fact {
    pub name: &'static EventName,
    pub body: Vec<u8>,
}

/// What a service has to answer.
pub(crate) enum Trigger<'a> {
    Heard(&'a Fact),
    Command(Command),
    /// The shop owner says how many pieces of the first item were put in.
    Stock(u8),
    Outcome(u32),
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Say {
        facts: Vec<Fact>,
        slots: Vec<(usize, Slot)>,
        deadline: Due<Fact>,
    },
    Ask(u32),
    Ignore(&'static str),
    Refuse,
    Broken(Fault),
}

/// What becomes of the deadline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Due<E> {
    Keep,
    Set(E),
    Clear,
}

/// What kind of outside call it is: the lowest bits of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskKind {
    Charge,
    Refund,
    Void,
    Desk,
}

impl AskKind {
    const BITS: u32 = 2;

    pub fn of(ask: u32) -> Self {
        [AskKind::Charge, AskKind::Refund, AskKind::Void, AskKind::Desk][(ask & 3) as usize]
    }

    pub fn in_words(self) -> &'static str {
        match self {
            AskKind::Charge => "charge",
            AskKind::Refund => "refund",
            AskKind::Void => "void",
            AskKind::Desk => "courier",
        }
    }
}

/// One of the four, whatever its types.
pub(crate) trait Participant: Send + Sync {
    /// Which events it hears.
    fn ears(&self) -> Vec<&'static EventName>;

    /// Whether it would guess, and what it answers, having said this.
    fn weigh(
        &self,
        order: &Arc<Order>,
        said: &[Arc<Fact>],
        trigger: &Trigger<'_>,
        slots: &[Slot],
    ) -> (bool, Answer);

    /// Makes an outside call; brings back the number of the outcome.
    fn ask(&self, order: &Arc<Order>, ask: u32, outside: Outside) -> (u32, Outside);
}

/// A record of a ledger as a slot, and back.
pub(crate) trait Record {
    fn slot(&self) -> Slot;
    fn record(slot: Slot) -> Self;
}

impl Record for Stock {
    fn slot(&self) -> Slot {
        Slot {
            there: small(self.quantity),
            used: small(self.reserved),
        }
    }
    fn record(slot: Slot) -> Self {
        Stock {
            quantity: slot.there.into(),
            reserved: slot.used.into(),
        }
    }
}

impl Record for Courier {
    fn slot(&self) -> Slot {
        Slot {
            there: small(self.capacity),
            used: small(self.load),
        }
    }
    fn record(slot: Slot) -> Self {
        Courier {
            capacity: slot.there.into(),
            load: slot.used.into(),
        }
    }
}

impl Record for () {
    fn slot(&self) -> Slot {
        Slot::default()
    }
    fn record(_: Slot) -> Self {}
}

fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or_else(|_| panic!("{number} is no number of this model"))
}

/// What kind an outside call is.
pub(crate) trait Kind {
    fn kind(&self) -> AskKind;
}

impl Kind for Infallible {
    fn kind(&self) -> AskKind {
        match *self {}
    }
}

impl Kind for quadrille_payment::decide::Ask {
    fn kind(&self) -> AskKind {
        match self {
            quadrille_payment::decide::Ask::Charge { .. } => AskKind::Charge,
            quadrille_payment::decide::Ask::Refund { .. } => AskKind::Refund,
            quadrille_payment::decide::Ask::Void { .. } => AskKind::Void,
        }
    }
}

impl Kind for quadrille_delivery::decide::Ask {
    fn kind(&self) -> AskKind {
        match self {
            quadrille_delivery::decide::Ask::Desk { .. } => AskKind::Desk,
        }
    }
}

/// What a command is to a service.
pub(crate) type Commands<I> = fn(&Arc<Order>, &Trigger<'_>) -> Option<I>;

/// A service, its wires, and the values that states name by number.
pub(crate) struct Party<S: Service> {
    pub service: S,
    pub wires: Vec<Wire<S::Input>>,
    /// The keys of its records, by slot.
    pub keys: Vec<String>,
    pub commands: Commands<S::Input>,
    pub asks: Table<S::Ask>,
    pub outcomes: Table<S::Input>,
}

impl<S: Service> Party<S> {
    pub fn new(service: S, keys: Vec<String>, commands: Commands<S::Input>) -> Self {
        let wires = service.wires();
        Party {
            service,
            wires,
            keys,
            commands,
            asks: Table::default(),
            outcomes: Table::default(),
        }
    }

    fn input(&self, order: &Arc<Order>, trigger: &Trigger<'_>) -> S::Input {
        match trigger {
            Trigger::Heard(fact) => {
                let wire = self.wires.iter().find(|wire| wire.name == fact.name);
                let decoded = wire.map(|wire| wire.decode(&fact.body));
                match decoded {
                    Some(Ok((about, input))) => {
                        assert_eq!(
                            about,
                            order.order_id.aggregate(),
                            "{} is about another order",
                            fact.name
                        );
                        input
                    }
                    other => panic!("{} is not heard: {:?}", fact.name, other.map(|r| r.map(drop))),
                }
            }
            Trigger::Command(_) | Trigger::Stock(_) => {
                let input = (self.commands)(order, trigger);
                input.unwrap_or_else(|| panic!("that is no command of {}", S::Said::SERVICE))
            }
            Trigger::Outcome(outcome) => self.outcomes.get(&order.order_id, *outcome),
        }
    }
}

impl<S: Service<Record: Record, Ask: Kind>> Participant for Party<S> {
    fn ears(&self) -> Vec<&'static EventName> {
        self.wires.iter().map(|wire| wire.name).collect()
    }

    fn weigh(
        &self,
        order: &Arc<Order>,
        said: &[Arc<Fact>],
        trigger: &Trigger<'_>,
        slots: &[Slot],
    ) -> (bool, Answer) {
        let input = self.input(order, trigger);
        let about = if matches!(trigger, Trigger::Stock(_)) {
            None
        } else {
            Some(order.order_id.aggregate())
        };
        assert_eq!(S::about(&input), about);
        let mut state = S::State::default();
        for fact in said {
            let said = S::Said::decode(fact.name.entry, &fact.body);
            S::fold(
                &mut state,
                &said.unwrap_or_else(|error| panic!("it cannot read what it said: {error}")),
            );
        }
        let reads = S::reads(&input);
        let records: BTreeMap<_, _> = self
            .keys
            .iter()
            .zip(slots)
            .filter(|(key, _)| names(&reads, key))
            .map(|(key, slot)| (key.clone(), S::Record::record(*slot)))
            .collect();
        let answer = match S::decide(
            &state,
            &input,
            &Context {
                now: NOW,
                records: &records,
            },
        ) {
            Decision::Ask(ask) => Answer::Ask(
                self.asks
                    .number(&order.order_id, ask, AskKind::BITS, |ask| ask.kind() as u32),
            ),
            Decision::Ignore(reason) => Answer::Ignore(reason),
            Decision::Refuse(_) => Answer::Refuse,
            Decision::Say(say) => {
                let mut slots = Vec::new();
                for (key, record) in &say.records {
                    let slot = self.keys.iter().position(|known| known == key);
                    match slot.filter(|_| names(&reads, key)) {
                        Some(slot) => slots.push((slot, record.slot())),
                        None => return (S::opens(&input), Answer::Broken(Fault::Unread)),
                    }
                }
                let events = say.events.iter();
                if let Some(stray) = events
                    .chain(match &say.deadline {
                        Deadline::Set { says, .. } => Some(says),
                        Deadline::Keep | Deadline::Clear => None,
                    })
                    .find(|event| event.order() != Some(order))
                {
                    return (
                        S::opens(&input),
                        Answer::Broken(Fault::AnotherOrder(stray.name().subject)),
                    );
                }
                Answer::Say {
                    facts: say.events.iter().map(fact).collect(),
                    slots,
                    deadline: match &say.deadline {
                        Deadline::Keep => Due::Keep,
                        Deadline::Clear => Due::Clear,
                        Deadline::Set { says, .. } => Due::Set(fact(says)),
                    },
                }
            }
        };
        (S::opens(&input), answer)
    }

    fn ask(&self, order: &Arc<Order>, ask: u32, outside: Outside) -> (u32, Outside) {
        let ask = self.asks.get(&order.order_id, ask);
        let (outcome, outside) = meet(outside, || self.service.ask(ask).now_or_never());
        assert!(
            outside.amount.is_none_or(|amount| amount == order.total),
            "another amount than the total"
        );
        match outcome {
            Some(Ok(outcome)) => (self.outcomes.number(&order.order_id, outcome, 0, |_| 0), outside),
            other => panic!("the outside answers at once, and not {other:?}"),
        }
    }
}

pub(crate) fn fact<E: Said>(said: &E) -> Fact {
    let fact = Fact {
        name: said.name(),
        body: said.encode(),
    };
    let again =
        E::decode(fact.name.entry, &fact.body).unwrap_or_else(|e| panic!("cannot read {}: {e}", fact.name));
    assert_eq!(&again, said, "{} is another one once it is stored", fact.name);
    fact
}

fn names(reads: &Reads, key: &str) -> bool {
    match reads {
        Reads::Nothing => false,
        Reads::Keys(keys) => keys.iter().any(|named| named == key),
        Reads::All(prefix) => key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
    }
}

/// Values by number. The number is the digest of what the value looks like without its order's id, so that it is the
/// same in every run and for every order.
pub(crate) struct Table<T>(RwLock<HashMap<(OrderId, u32), (String, T)>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(RwLock::default())
    }
}

impl<T: Clone + std::fmt::Debug> Table<T> {
    fn number(&self, order_id: &OrderId, value: T, bits: u32, low: impl Fn(&T) -> u32) -> u32 {
        let looks = format!("{value:?}").replace(order_id.as_str(), "#");
        let number = (digest(looks.as_bytes()) << bits) | low(&value);
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (known, _) = table
            .entry((order_id.clone(), number))
            .or_insert_with(|| (looks.clone(), value));
        assert_eq!(*known, looks, "two values share a digest; choose another one");
        number
    }

    fn get(&self, order_id: &OrderId, number: u32) -> T {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = table.get(&(order_id.clone(), number));
        found
            .map(|(_, value)| value.clone())
            .unwrap_or_else(|| unreachable!("{number} was never given out"))
    }
}
