//! The order, as every event about it carries it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use iso_currency::Currency;

use crate::{CustomerId, ItemId, OrderId};

/// An amount in minor units of its currency (cents, pence, yen).
pub type Money = u64;

/// The largest amount: the largest integer that every JSON reader keeps exactly (RFC 8259 section 6, 2^53 - 1).
pub const MAX_MONEY: Money = 9_007_199_254_740_991;

/// The most lines of one order. Keeps every event far below the broker's `max_payload`, and every commit below the 1,000
/// messages of a batch (ADR-50).
pub const MAX_LINES: usize = 100;

/// The longest address, in bytes.
pub const MAX_ADDRESS: usize = 500;

/// An order as its customer placed it. An order never changes: what happens to it afterwards is told by events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Order {
    /// The id of the order.
    pub order_id: OrderId,
    /// The customer, who pays.
    pub customer_id: CustomerId,
    /// The lines: 1 to [`MAX_LINES`] lines.
    #[cfg_attr(feature = "schema", schema(min_items = 1, max_items = 100))]
    pub lines: Vec<Line>,
    /// The sum of all lines, in minor units.
    #[cfg_attr(feature = "schema", schema(value_type = u64, maximum = 9_007_199_254_740_991_u64))]
    pub total: Money,
    /// The currency of all amounts: ISO 4217.
    #[cfg_attr(feature = "schema", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub currency: Currency,
    /// Where to deliver: 1 to [`MAX_ADDRESS`] bytes.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 500))]
    pub address: String,
    /// Whether the payment is charged at once or waits for the customer.
    #[serde(default)]
    pub payment: PaymentMode,
    /// Whether the order waits for the shop owner.
    #[serde(default)]
    pub approval: Approval,
    /// When the customer placed it, in whole milliseconds. An id that is derived from an idempotency key may come again after the
    /// first order's entries are gone; this tells the two orders apart. Missing in orders that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Timestamp>,
}

impl Order {
    /// Whether both are the same request of the same customer, whenever it was sent.
    pub fn is_same_request(&self, other: &Self) -> bool {
        let Self {
            order_id,
            customer_id,
            lines,
            total,
            currency,
            address,
            payment,
            approval,
            placed_at: _,
        } = self;
        *order_id == other.order_id
            && *customer_id == other.customer_id
            && *lines == other.lines
            && *total == other.total
            && *currency == other.currency
            && *address == other.address
            && *payment == other.payment
            && *approval == other.approval
    }
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The item.
    pub item_id: ItemId,
    /// The number of pieces, at least 1.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 4_294_967_295_u64))]
    pub quantity: u32,
    /// The price of one piece, in minor units.
    #[cfg_attr(feature = "schema", schema(value_type = u64, maximum = 9_007_199_254_740_991_u64))]
    pub unit_price: Money,
}

/// When the payment service charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PaymentMode {
    /// When the customer confirms. Until then the payment is open; at the deadline it is cancelled.
    #[default]
    Manual,
    /// As soon as the payment service hears of the order.
    Auto,
}

/// Whether an order that is paid and reserved needs an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// No approval: delivery is asked at once.
    #[default]
    Auto,
    /// The shop owner approves.
    Manual,
}
