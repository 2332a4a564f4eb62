//! The order itself, as every event carries it.

use serde::{Deserialize, Serialize};

pub use iso_currency::Currency;

use crate::{CustomerId, ItemId, OrderId};

/// An amount in minor units of its currency (cents, pence, yen).
pub type Money = u64;

/// The largest amount: what every JSON reader holds exactly (RFC 8259 section 6, 2^53 - 1).
pub const MAX_MONEY: Money = 9_007_199_254_740_991;

/// The most lines of one order: what keeps every event far below the broker's `max_payload`, and every commit below
/// the thousand messages of a batch (ADR-50).
pub const MAX_LINES: usize = 100;

/// The longest address, in bytes.
pub const MAX_ADDRESS: usize = 500;

/// An order as its customer placed it. It never changes; what happens to it is events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Order {
    /// Which order.
    pub order_id: OrderId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// What is bought: 1 to [`MAX_LINES`] lines.
    #[cfg_attr(feature = "schema", schema(min_items = 1, max_items = 100))]
    pub lines: Vec<Line>,
    /// The sum of all lines, in minor units.
    #[cfg_attr(feature = "schema", schema(value_type = u64, maximum = 9_007_199_254_740_991_u64))]
    pub total: Money,
    /// ISO 4217.
    #[cfg_attr(feature = "schema", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub currency: Currency,
    /// Where it goes.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 500))]
    pub address: String,
    /// When to charge.
    #[serde(default)]
    pub payment: PaymentMode,
    /// Who confirms.
    #[serde(default)]
    pub approval: Approval,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What.
    pub item_id: ItemId,
    /// How many, at least 1.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 4_294_967_295_u64))]
    pub quantity: u32,
    /// For how much apiece, in minor units.
    #[cfg_attr(feature = "schema", schema(value_type = u64, maximum = 9_007_199_254_740_991_u64))]
    pub unit_price: Money,
}

/// When the payment service charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PaymentMode {
    /// When the customer confirms; until then it is open, up to the deadline.
    #[default]
    Manual,
    /// At once.
    Auto,
}

/// Who confirms an order that is paid and reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody has to.
    #[default]
    Auto,
    /// The shop owner.
    Manual,
}
