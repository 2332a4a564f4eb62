//! One state of the world, as small as it can be: what is stored, what is on its way, what the outside remembers.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use quadrille_events::{
    DeliveryEvent, EventName, EventSet, InventoryEvent, OrderEvent, OrderFacts, PaymentEvent, Said,
};

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The order service.
    Order,
    /// The payment service.
    Payment,
    /// The inventory service.
    Inventory,
    /// The delivery service.
    Delivery,
}

impl Who {
    /// All four.
    pub const ALL: [Who; 4] = [Who::Order, Who::Payment, Who::Inventory, Who::Delivery];

    /// The name of its bucket.
    pub fn name(self) -> &'static str {
        match self {
            Who::Order => OrderEvent::SERVICE,
            Who::Payment => PaymentEvent::SERVICE,
            Who::Inventory => InventoryEvent::SERVICE,
            Who::Delivery => DeliveryEvent::SERVICE,
        }
    }
}

/// An event as it is stored: its content, by the digest of its body with the order's id left out, so that two orders
/// that fare alike look alike.
pub type FactId = u32;

/// How many bits of a fact's number name its event.
pub(crate) const NAME_BITS: u32 = 5;
const _: () = assert!(EventSet::ALL.len() <= 1 << NAME_BITS);

/// The event of a fact, as a set.
pub(crate) fn event_of(fact: FactId) -> EventSet {
    EventSet::at((fact & ((1 << NAME_BITS) - 1)) as usize)
}

/// What people ask of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelCommand {
    /// A customer places the order.
    Create,
    /// The shop owner approves.
    Approve,
    /// The customer cancels the order.
    CancelOrder,
    /// The customer confirms the payment.
    Confirm,
    /// The customer cancels the payment.
    CancelPayment,
    /// The courier says that the goods are handed over.
    ConfirmDelivery,
    /// The courier says that they could not be.
    FailDelivery,
}

impl ModelCommand {
    /// All of them.
    pub const ALL: [ModelCommand; 7] = [
        ModelCommand::Create,
        ModelCommand::Approve,
        ModelCommand::CancelOrder,
        ModelCommand::Confirm,
        ModelCommand::CancelPayment,
        ModelCommand::ConfirmDelivery,
        ModelCommand::FailDelivery,
    ];

    /// Whom it is sent to.
    pub fn to(self) -> Who {
        match self {
            ModelCommand::Create | ModelCommand::Approve | ModelCommand::CancelOrder => Who::Order,
            ModelCommand::Confirm | ModelCommand::CancelPayment => Who::Payment,
            ModelCommand::ConfirmDelivery | ModelCommand::FailDelivery => Who::Delivery,
        }
    }
}

/// What the shop owner does with the first item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShopCommand {
    /// Says how many pieces there are, all told.
    Put(u8),
    /// Withdraws the item.
    Withdraw,
}

/// What brought an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputCause {
    /// An event, heard through the ear of this number.
    Heard(u8),
    /// A command.
    Command(ModelCommand),
    /// A command about an item, which concerns no order.
    Shop,
}

/// An outside call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingCall {
    /// Who makes it.
    pub who: Who,
    /// For which input.
    pub cause: InputCause,
    /// How far it has come.
    pub stage: Stage,
}

/// How far an outside call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It is on its way.
    Asked(u32),
    /// It was done, and its outcome is on its way back.
    Answered(u32),
    /// It is on its way, and whoever made it is dead.
    Orphan(u32),
}

/// What the provider knows of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProviderBooks {
    /// What was answered to which idempotency key.
    pub charges: Vec<(u32, bool)>,
    /// The idempotency keys of refunds.
    pub refunds: Vec<u32>,
    /// How often the total was taken.
    pub taken: u8,
    /// How often it was given back.
    pub returned: u8,
    /// Nothing may be held any more.
    pub voided: bool,
}

/// A record of a ledger: how much there is, how much of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Put in; a courier's capacity.
    pub there: u8,
    /// Reserved; a courier's load.
    pub used: u8,
    /// Whether the item is withdrawn.
    pub closed: bool,
}

/// One order's way through the world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OrderJourney {
    /// What each service has said about it, oldest first. The sequence that a commit must name is the length.
    pub said: [Vec<FactId>; 4],
    /// The same, folded.
    pub facts: OrderFacts,
    /// Through which ears an event was heard and settled (acknowledged).
    pub settled: u32,
    /// The outside calls in flight, sorted.
    pub calls: Vec<PendingCall>,
    /// What the broker will say at the deadline.
    pub due: Option<FactId>,
    /// What the broker may still say although the deadline is off.
    pub ghost: Option<FactId>,
    /// The provider's books.
    pub books: ProviderBooks,
    /// What the desk has answered.
    pub desk: Option<bool>,
    /// How often the customer may still confirm.
    pub confirms: u8,
}

impl OrderJourney {
    /// The events that a service has said, oldest first.
    pub fn events_of(&self, who: Who) -> impl Iterator<Item = &'static EventName> {
        let said = self.said[who as usize].iter();
        said.flat_map(|fact| event_of(*fact).names())
    }

    /// Whether an instance that lives waits for the outcome of a call for this.
    pub fn in_hand(&self, cause: InputCause) -> bool {
        self.calls
            .iter()
            .any(|call| call.cause == cause && call.is_live())
    }
}

impl PendingCall {
    /// Whether somebody waits for its outcome.
    pub fn is_live(&self) -> bool {
        match self.stage {
            Stage::Asked(_) | Stage::Answered(_) => true,
            Stage::Orphan(_) => false,
        }
    }
}

/// What must never happen in a single step. Found by the step itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An entry is written over.
    SaidTwice(&'static str),
    /// An input makes a service speak that was answered before.
    AnsweredTwice(&'static str),
    /// An event is refused: it would be parked as a dead letter.
    EventRefused(&'static str),
    /// A service ignores, on a state that it has just read, what its own words say cannot be.
    CannotBe(&'static str),
    /// An event is about an order that was never placed like this.
    AnotherOrder(&'static str),
    /// A record is written that was not read, or is unknown.
    Unread,
    /// A command is answered that it holds already, and it does not.
    Unkept,
    /// The outcome of an outside call makes the service ask again.
    AsksAgain,
    /// A step leads nowhere nearer to the end: it could go on like this for ever.
    NoProgress,
}

/// On what an instance decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceView {
    /// What is stored at this moment.
    Fresh,
    /// The first so many of the order's entries: what some instance may remember; none is the guess.
    Remembered(u8),
    /// What is stored, but the ledger as it was before its last change. Only in mutants, as nothing comes of it
    /// elsewhere: the records' check refuses it.
    OldLedger,
    /// What is stored; of what is said only the first event gets through, and the instance dies. Only in mutants.
    Torn,
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldState {
    /// Each order's way.
    pub orders: Vec<Arc<OrderJourney>>,
    /// The stock of each item.
    pub stock: Vec<Slot>,
    /// The load of each courier.
    pub couriers: Vec<Slot>,
    /// The ledgers before their last change, if a mutant needs them.
    pub before: Option<(Vec<Slot>, Vec<Slot>)>,
    /// What inventory has said about the first item, oldest first.
    pub item: Vec<FactId>,
    /// How many more times the shop owner may change the stock.
    pub puts: u8,
    /// How many more times the shop owner may withdraw the first item.
    pub withdrawals: u8,
    /// How many more instances may crash with a call in hand.
    pub crashes: u8,
    /// How many more calls may be made although one was made for the same input.
    pub doubles: u8,
    /// What went wrong in the last step.
    pub fault: Option<Fault>,
    /// Whether the orders are alike, so that exchanging them changes nothing. The same throughout a run.
    pub alike: bool,
}

impl Hash for WorldState {
    /// Two worlds that differ only in which order is which are one state.
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.alike {
            let mut digests: Vec<u64> = self.orders.iter().map(fingerprint).collect();
            digests.sort_unstable();
            digests.hash(state);
        } else {
            self.orders.hash(state);
        }
        (
            &self.stock,
            &self.couriers,
            &self.before,
            &self.item,
            (self.puts, self.withdrawals),
            self.crashes,
            self.doubles,
            self.fault,
        )
            .hash(state);
    }
}

/// 64 bits that stand for a value, the same in every run.
pub(crate) fn fingerprint(value: impl Hash) -> u64 {
    static HASHER: LazyLock<ahash::RandomState> =
        LazyLock::new(|| ahash::RandomState::with_seeds(1, 2, 3, 4));
    HASHER.hash_one(value)
}

/// FNV-1a folded to 32 bits: the same in every run, so that a fingerprint is, too. Whoever stores something by it
/// checks that no two things share one.
pub fn digest(bytes: &[u8]) -> u32 {
    let long = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (long ^ (long >> 32)) as u32
}
