//! The contract of the choreography: who says what.
//!
//! One file per owner, to be read in the order in which an order meets them:
//! [`order`], [`payment`], [`inventory`], [`delivery`]. Facts are `noun.verbed` in the past tense, requests are
//! `verb-noun`. Each event is defined once, here, and carries the [`Order`] it is about, so that no participant
//! ever needs another one's data.
//!
//! An event is stored once, as the entry `$KV.<service>.<entry>.<order_id>` of its owner's bucket, and appears to
//! the outside as `<subject>.<order_id>`: see [`EventName`]. What accompanies it in headers is the [`Envelope`].

#![allow(clippy::result_large_err)]

mod delivery;
mod inventory;
mod order;
mod payment;

mod commerce;
mod envelope;
mod id;
mod name;
mod progress;

pub use commerce::{Approval, Currency, Line, MAX_ADDRESS, MAX_LINES, MAX_MONEY, Money, Order, PaymentMode};
pub use delivery::{Assigned, DeliveryCancelled, DeliveryEvent, NoCourier};
pub use envelope::{Envelope, EnvelopeError, TraceParent};
pub use id::{CourierId, CustomerId, IdError, ItemId, MAX_ID, OrderId};
pub use inventory::{InventoryEvent, Released, ReservationFailed, Reserved};
#[cfg(feature = "schema")]
pub use name::BodySchema;
pub use name::{Body, DecodeError, EventName, Said};
pub use order::{
    AwaitingApproval, CancelPayment, Completed, CreateDelivery, Created, OrderCancelled, OrderEvent,
};
pub use payment::{
    CancelOrder, Charged, Expired, Opened, PaymentCancelled, PaymentEvent, PaymentFailed, Refunded,
};
pub use progress::{Progress, Step};

/// Any event of the choreography, by the service that says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Said by the order service.
    Order(OrderEvent),
    /// Said by the payment service (or, for `payment.expired`, by the broker on its behalf).
    Payment(PaymentEvent),
    /// Said by the inventory service.
    Inventory(InventoryEvent),
    /// Said by the delivery service.
    Delivery(DeliveryEvent),
}

impl Event {
    /// Every event there is, in the order of the files.
    pub fn names() -> impl Iterator<Item = &'static EventName> {
        OrderEvent::NAMES
            .iter()
            .chain(PaymentEvent::NAMES)
            .chain(InventoryEvent::NAMES)
            .chain(DeliveryEvent::NAMES)
            .copied()
    }

    /// The services that say something, each the owner of one bucket.
    pub const SERVICES: [&'static str; 4] = [
        OrderEvent::SERVICE,
        PaymentEvent::SERVICE,
        InventoryEvent::SERVICE,
        DeliveryEvent::SERVICE,
    ];

    /// Decodes the body of the entry `$KV.<service>.<entry>.<order_id>`.
    ///
    /// # Errors
    /// [`DecodeError`] if no such event exists or the body is not one.
    pub fn decode(service: &str, entry: &str, body: &[u8]) -> Result<Self, DecodeError> {
        match service {
            OrderEvent::SERVICE => OrderEvent::decode(entry, body).map(Event::Order),
            PaymentEvent::SERVICE => PaymentEvent::decode(entry, body).map(Event::Payment),
            InventoryEvent::SERVICE => InventoryEvent::decode(entry, body).map(Event::Inventory),
            DeliveryEvent::SERVICE => DeliveryEvent::decode(entry, body).map(Event::Delivery),
            unknown => Err(DecodeError::UnknownEvent {
                service: unknown.to_owned(),
                entry: entry.to_owned(),
            }),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static EventName {
        match self {
            Event::Order(said) => said.name(),
            Event::Payment(said) => said.name(),
            Event::Inventory(said) => said.name(),
            Event::Delivery(said) => said.name(),
        }
    }

    /// The order it is about.
    pub fn order(&self) -> &std::sync::Arc<Order> {
        match self {
            Event::Order(said) => said.order(),
            Event::Payment(said) => said.order(),
            Event::Inventory(said) => said.order(),
            Event::Delivery(said) => said.order(),
        }
    }

    /// Why, for those that give a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Event::Order(OrderEvent::CancelPayment(e)) => Some(&e.reason),
            Event::Order(OrderEvent::Cancelled(e)) => Some(&e.reason),
            Event::Payment(PaymentEvent::Failed(e)) => Some(&e.reason),
            Event::Payment(PaymentEvent::Cancelled(e)) => Some(&e.reason),
            Event::Payment(PaymentEvent::Refunded(e)) => Some(&e.reason),
            Event::Payment(PaymentEvent::CancelOrder(e)) => Some(&e.reason),
            Event::Inventory(InventoryEvent::ReservationFailed(e)) => Some(&e.reason),
            Event::Delivery(DeliveryEvent::CancelPayment(e)) => Some(&e.reason),
            Event::Order(
                OrderEvent::Created(_)
                | OrderEvent::AwaitingApproval(_)
                | OrderEvent::CreateDelivery(_)
                | OrderEvent::Completed(_),
            )
            | Event::Payment(PaymentEvent::Opened(_) | PaymentEvent::Charged(_) | PaymentEvent::Expired(_))
            | Event::Inventory(InventoryEvent::Reserved(_) | InventoryEvent::Released(_))
            | Event::Delivery(DeliveryEvent::Assigned(_) | DeliveryEvent::Cancelled(_)) => None,
        }
    }
}
