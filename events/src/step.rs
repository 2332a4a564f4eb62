//! How far an order is, how long each step should take, and how an order ended.

use std::time::Duration;

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The order was placed. Payment is next, or inventory (`FLOW=reserve-first`).
    Created,
    /// The customer is to confirm the payment, or the deadline passes.
    Opened,
    /// The order is paid. Inventory is to reserve.
    Charged,
    /// The order is reserved and not paid (`FLOW=reserve-first`). Payment is to charge it or to open a payment.
    Reserved,
    /// The order is paid and reserved. Order is to confirm it or to ask the shop owner.
    Ready,
    /// The shop owner is to approve the order.
    AwaitingApproval,
    /// The order is confirmed. Delivery is to assign a courier.
    Confirmed,
    /// A courier is assigned. Order is to complete the order.
    Assigned,
    /// Something has failed or was cancelled. Payment is to settle the money: to cancel the payment or to refund it.
    Cancelling,
    /// The money is settled. Order is to cancel the order.
    Settled,
    /// The order is cancelled. Inventory and delivery are to undo what they have done.
    Undoing,
    /// The order is completed and on its way: an end, unless the courier says how the delivery ends.
    Completed,
    /// The courier has handed over the goods. Inventory is to take them off the stock.
    HandedOver,
    /// The goods are delivered, and no longer in the stock: the end.
    Delivered,
    /// The order is cancelled and everything undone: the end.
    Cancelled,
}

/// How long a service should take to answer an event: milliseconds, or seconds after a restart, a redelivery or with a
/// slow provider.
const MACHINE: Duration = Duration::from_secs(5);
/// How long the shop owner should take: a weekend.
const SHOP_OWNER: Duration = Duration::from_secs(3 * 86_400);

impl Step {
    /// All steps, in the order in which an order meets them.
    pub const ALL: [Self; 15] = [
        Self::Created,
        Self::Opened,
        Self::Charged,
        Self::Reserved,
        Self::Ready,
        Self::AwaitingApproval,
        Self::Confirmed,
        Self::Assigned,
        Self::Cancelling,
        Self::Settled,
        Self::Undoing,
        Self::Completed,
        Self::HandedOver,
        Self::Delivered,
        Self::Cancelled,
    ];

    /// The name under which the console, its metrics and `quadrille stuck` show the step.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Opened => "opened",
            Self::Charged => "charged",
            Self::Reserved => "reserved",
            Self::Ready => "ready",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Confirmed => "confirmed",
            Self::Assigned => "assigned",
            Self::Cancelling => "cancelling",
            Self::Settled => "settled",
            Self::Undoing => "undoing",
            Self::Completed => "completed",
            Self::HandedOver => "handed-over",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// How long the step should take at most; `None` for the ends. [`Step::Opened`] counts from the deadline that
    /// `payment.opened` names: this is how long the broker may take to say `payment.expired`.
    pub fn patience(self) -> Option<Duration> {
        match self {
            Self::Created
            | Self::Opened
            | Self::Charged
            | Self::Reserved
            | Self::Ready
            | Self::Confirmed
            | Self::Assigned
            | Self::Cancelling
            | Self::Settled
            | Self::Undoing
            | Self::HandedOver => Some(MACHINE),
            Self::AwaitingApproval => Some(SHOP_OWNER),
            Self::Completed | Self::Delivered | Self::Cancelled => None,
        }
    }

    /// Whether the step is one of the ends: no participant has anything left to do. A completed order goes on when the courier
    /// says how the delivery ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Delivered | Self::Cancelled)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// Paid, reserved, and a courier is assigned.
    Completed,
    /// The courier has handed over the goods.
    Delivered,
    /// The provider declined the payment.
    Declined,
    /// Nobody confirmed the payment in time.
    Expired,
    /// The customer cancelled the payment.
    PaymentCancelled,
    /// The customer (or the shop owner) cancelled the order.
    OrderCancelled,
    /// Not all lines could be reserved.
    OutOfStock,
    /// No courier could be assigned.
    NoCourier,
    /// The courier could not hand over the goods.
    DeliveryFailed,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::Delivered => "delivered",
            Self::Declined => "cancelled: payment declined",
            Self::Expired => "cancelled: payment not confirmed in time",
            Self::PaymentCancelled => "cancelled: payment cancelled",
            Self::OrderCancelled => "cancelled: order cancelled",
            Self::OutOfStock => "cancelled: out of stock",
            Self::NoCourier => "cancelled: no courier",
            Self::DeliveryFailed => "cancelled: delivery failed",
        })
    }
}
