//! The contract of the choreography: which service says which events.
//!
//! One file per owner, in the order in which a usual order meets them: `order.rs`, `payment.rs`, `inventory.rs`, `delivery.rs`.
//! Facts are `noun.verbed` in the past tense, requests are `verb-noun`. Each event is defined once, here, and carries the
//! [`Order`] that it is about, so that no participant needs to read the data of another. An event can be about another kind
//! of aggregate; then it carries the id of that aggregate.
//!
//! An event is stored once, as the entry `$KV.<service>.<entry>.<order_id>` of its owner's bucket, and is published to
//! other programs as `<subject>.<order_id>`: see [`EventName`]. Its headers are the [`Envelope`].
//!
//! A new event is a struct and a line in its owner's file, and its golden JSON: nothing else here knows each event. A new service is a
//! file like `delivery.rs`, its `mod` and `pub use` (names of bodies are unique over all services), and a line in `events!`, at the
//! end of this file.

#![warn(missing_docs)]
#![allow(clippy::result_large_err)]

mod delivery;
mod inventory;
mod order;
mod payment;

#[doc(hidden)]
pub mod macro_support;

mod commerce;
mod envelope;
mod facts;
mod flow;
mod id;
mod name;
mod progress;
mod set;
mod step;

pub use commerce::{Approval, Currency, Line, MAX_ADDRESS, MAX_LINES, MAX_MONEY, Money, Order, PaymentMode};
pub use delivery::*;
pub use envelope::{Envelope, EnvelopeError, TraceParent};
pub use facts::{OrderFacts, SETBACKS};
pub use flow::Flow;
pub use id::{
    AggregateId, AggregateKind, CourierId, CustomerId, IdError, ItemId, MAX_ID, OrderId, Tag, TypedId,
};
pub use inventory::*;
#[cfg(feature = "schema")]
pub use name::BodySchema;
pub use name::{Body, Contract, DecodeError, EventName, Lifetime, Owner, Said, split_entry};
pub use order::*;
pub use payment::*;
pub use progress::OrderProgress;
pub use set::EventSet;
pub use step::{Ending, Step};

name::events! {
    /// Said by the order service.
    Order(OrderEvent),
    /// Said by the payment service (or, for `payment.expired`, by the broker on its behalf).
    Payment(PaymentEvent),
    /// Said by the inventory service.
    Inventory(InventoryEvent),
    /// Said by the delivery service.
    Delivery(DeliveryEvent),
}
