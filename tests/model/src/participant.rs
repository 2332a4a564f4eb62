//! A shipped service as the model meets it: its records are slots, and its outside calls and their outcomes are numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use quadrille_decision::erased::{self, Fact, OpaqueValue, Participant, Reaction, Records};
use quadrille_decision::testing::NOW;
use quadrille_decision::{Deadline, Reads};
use quadrille_delivery::decide::{self as delivery, Courier};
use quadrille_events::{AggregateId, EventName, Order, OrderId, TypedId};
use quadrille_inventory::decide::Stock;
use quadrille_payment::decide as payment;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::configuration::item_id;
use crate::outside::{Outside, meet};
use crate::stimulus::{ModelledAnswer, Stimulus};
use crate::world::{Fault, Slot, digest};

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

    pub fn of_payment(ask: &OpaqueValue) -> Self {
        match ask.get() {
            payment::Ask::Charge { .. } => AskKind::Charge,
            payment::Ask::Refund { .. } => AskKind::Refund,
            payment::Ask::Void { .. } => AskKind::Void,
        }
    }

    pub fn of_delivery(ask: &OpaqueValue) -> Self {
        match ask.get() {
            delivery::Ask::Desk { .. } => AskKind::Desk,
        }
    }
}

impl From<Stock> for Slot {
    fn from(stock: Stock) -> Self {
        Slot {
            there: small(stock.quantity),
            used: small(stock.reserved),
            closed: stock.withdrawn,
        }
    }
}

impl From<Slot> for Stock {
    fn from(slot: Slot) -> Self {
        Stock {
            quantity: slot.there.into(),
            reserved: slot.used.into(),
            withdrawn: slot.closed,
        }
    }
}

impl From<Courier> for Slot {
    fn from(courier: Courier) -> Self {
        Slot {
            there: small(courier.capacity),
            used: small(courier.load),
            closed: false,
        }
    }
}

impl From<Slot> for Courier {
    fn from(slot: Slot) -> Self {
        Courier {
            capacity: slot.there.into(),
            load: slot.used.into(),
        }
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or_else(|_| panic!("{number} is no number of this model"))
}

/// A ledger, each of its records in a slot.
struct SlotLedger {
    /// The key of each slot's record.
    keys: Vec<String>,
    write: fn(Slot) -> Vec<u8>,
    read: fn(&[u8]) -> Slot,
}

impl SlotLedger {
    fn of<R: Serialize + DeserializeOwned + From<Slot> + Into<Slot>>(keys: Vec<String>) -> Self {
        Self {
            keys,
            write: |slot| erased::encode(&R::from(slot)),
            read: |body| erased::decode::<R>(body).into(),
        }
    }

    fn records(&self, slots: &[Slot]) -> Records {
        let records = self.keys.iter().zip(slots);
        records
            .map(|(key, slot)| (key.clone(), (self.write)(*slot)))
            .collect()
    }

    /// The slots that these records belong to; `None` if one of them was not read, or has no slot. No command of the model
    /// removes a record.
    fn slots(&self, records: &[(String, Option<Vec<u8>>)], reads: &Reads) -> Option<Vec<(usize, Slot)>> {
        let slot = |(key, body): &(String, Option<Vec<u8>>)| {
            let slot = self.keys.iter().position(|known| known == key)?;
            let body = body.as_deref().unwrap_or_else(|| panic!("{key} is removed"));
            reads.names(key).then(|| (slot, (self.read)(body)))
        };
        records.iter().map(slot).collect()
    }
}

/// Makes a command the input that it is to a service.
pub(crate) type CommandInput = fn(&Arc<Order>, Stimulus<&Fact>) -> Option<OpaqueValue>;

/// A service, and the values that states name by number.
pub(crate) struct ModelledService {
    participant: Box<dyn Participant>,
    commands: CommandInput,
    ledger: SlotLedger,
    /// The records that never change.
    constants: Records,
    ask_kind: fn(&OpaqueValue) -> AskKind,
    asks: NumberedValues,
    outcomes: NumberedValues,
}

impl ModelledService {
    /// A service that takes these commands, and has no ledger nor outside calls.
    pub fn new(participant: Box<dyn Participant>, commands: CommandInput) -> Self {
        ModelledService {
            participant,
            commands,
            ledger: SlotLedger {
                keys: Vec::new(),
                write: |_| Vec::new(),
                read: |_| Slot::default(),
            },
            constants: Records::new(),
            ask_kind: |ask| unreachable!("{ask:?} is asked by a service that asks nobody"),
            asks: NumberedValues::default(),
            outcomes: NumberedValues::default(),
        }
    }

    /// With a ledger of these records.
    pub fn with_ledger<R: Serialize + DeserializeOwned + From<Slot> + Into<Slot>>(
        mut self,
        keys: Vec<String>,
    ) -> Self {
        self.ledger = SlotLedger::of::<R>(keys);
        self
    }

    /// With records that never change.
    pub fn with_constants<R: Serialize>(mut self, records: &BTreeMap<String, R>) -> Self {
        self.constants = erased::records(records);
        self
    }

    /// With outside calls.
    pub fn with_asks(mut self, ask_kind: fn(&OpaqueValue) -> AskKind) -> Self {
        self.ask_kind = ask_kind;
        self
    }

    /// Which events it hears.
    pub fn ears(&self) -> Vec<&'static EventName> {
        self.participant.hears()
    }

    fn input(&self, order: &Arc<Order>, stimulus: Stimulus<&Fact>) -> OpaqueValue {
        let input = match stimulus {
            Stimulus::Heard(fact) => match self.participant.hear(fact).map(|mut inputs| inputs.pop()) {
                Ok(Some(input)) => input,
                other => panic!("{} is not heard: {other:?}", fact.name),
            },
            Stimulus::Command(_) | Stimulus::Shop(_) => (self.commands)(order, stimulus)
                .unwrap_or_else(|| panic!("that is no command of {}", self.participant.service())),
            Stimulus::Outcome(outcome) => self.outcomes.get(&order.order_id, outcome),
        };
        let about = match stimulus {
            Stimulus::Shop(_) => Some(item_id(0).aggregate()),
            Stimulus::Heard(_) | Stimulus::Command(_) | Stimulus::Outcome(_) => {
                Some(order.order_id.aggregate())
            }
        };
        assert_eq!(self.participant.about(&input), about, "what {input:?} is about");
        input
    }

    /// Whether it would guess, and what it answers, having said this.
    pub fn weigh(
        &self,
        order: &Arc<Order>,
        said: &[Arc<Fact>],
        stimulus: Stimulus<&Fact>,
        slots: &[Slot],
    ) -> (bool, ModelledAnswer<Fact>) {
        let input = self.input(order, stimulus);
        let about = self.participant.about(&input);
        let said: Vec<&Fact> = said.iter().map(|fact| &**fact).collect();
        let mut records = self.ledger.records(slots);
        records.extend(self.constants.clone());
        let verdict = match self.participant.react(&said, &input, &records, NOW) {
            Reaction::Ask(ask) => {
                let kind = (self.ask_kind)(&ask) as u32;
                ModelledAnswer::Ask(self.asks.number(&order.order_id, ask, AskKind::BITS, kind))
            }
            Reaction::Ignore(reason) => ModelledAnswer::Ignore(reason),
            Reaction::Refuse => ModelledAnswer::Refuse,
            Reaction::Say {
                facts,
                records,
                deadline,
            } => match self.ledger.slots(&records, &self.participant.reads(&input)) {
                None => ModelledAnswer::Broken(Fault::Unread),
                Some(slots) => match stray(order, about.as_ref(), &facts, &deadline) {
                    Some(stray) => ModelledAnswer::Broken(Fault::AnotherOrder(stray.name.subject)),
                    None => ModelledAnswer::Say {
                        facts,
                        slots,
                        deadline,
                    },
                },
            },
        };
        (self.participant.opens(&input), verdict)
    }

    /// Makes an outside call; brings back the number of the outcome.
    pub fn ask(&self, order: &Arc<Order>, ask: u32, outside: Outside) -> (u32, Outside) {
        let ask = self.asks.get(&order.order_id, ask);
        let (outcome, outside) = meet(outside, || self.participant.ask(&ask).now_or_never());
        assert!(
            outside.amount.is_none_or(|amount| amount == order.total),
            "another amount than the total"
        );
        match outcome {
            Some(Ok(outcome)) => (self.outcomes.number(&order.order_id, outcome, 0, 0), outside),
            other => panic!("the outside answers at once, and not {other:?}"),
        }
    }
}

/// An event that is about something else than its input, or carries another order.
fn stray<'a>(
    order: &Arc<Order>,
    about: Option<&AggregateId>,
    facts: &'a [Fact],
    deadline: &'a Deadline<Fact>,
) -> Option<&'a Fact> {
    let due = match deadline {
        Deadline::Set { says, .. } => Some(says),
        Deadline::Keep | Deadline::Clear => None,
    };
    facts.iter().chain(due).find(|fact| {
        let event = fact.event();
        Some(&event.about()) != about || event.order().is_some_and(|carried| carried != order)
    })
}

/// A value, and what it looks like without its order's id.
type LookedAt = (String, OpaqueValue);

/// Values by number. The number is the digest of what the value looks like without its order's id, so that it is the
/// same in every run and for every order.
#[derive(Default)]
struct NumberedValues(RwLock<HashMap<(OrderId, u32), LookedAt>>);

impl NumberedValues {
    fn number(&self, order_id: &OrderId, value: OpaqueValue, bits: u32, low: u32) -> u32 {
        let looks = format!("{value:?}").replace(order_id.as_str(), "#");
        let number = (digest(looks.as_bytes()) << bits) | low;
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (known, _) = table
            .entry((order_id.clone(), number))
            .or_insert_with(|| (looks.clone(), value));
        assert_eq!(*known, looks, "two values share a digest; choose another one");
        number
    }

    fn get(&self, order_id: &OrderId, number: u32) -> OpaqueValue {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = table.get(&(order_id.clone(), number));
        found
            .map(|(_, value)| value.clone())
            .unwrap_or_else(|| unreachable!("{number} was never given out"))
    }
}
