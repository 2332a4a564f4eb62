//! What the payment service says.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Order;

crate::said! {
    /// What the payment service says about an order's payment.
    PaymentEvent by "payment" {
        /// It waits for the customer to confirm or cancel, until the deadline.
        Opened(Opened) = "opened" => "payment.opened" for outside,
        /// The deadline passed. Said by the broker itself, which holds the schedule.
        Expired(Expired) = "expired" => "payment.expired",
        /// The provider took exactly the total.
        Charged(Charged) = "charged" => "payment.charged" undone by "refunded",
        /// The provider declined; nothing was taken.
        Failed(PaymentFailed) = "failed" => "payment.failed" with reason for outside,
        /// It was cancelled before anything was taken.
        Cancelled(PaymentCancelled) = "cancelled" => "payment.cancelled" with reason,
        /// What was taken is back with the customer.
        Refunded(Refunded) = "refunded" => "payment.refunded" with reason for outside,
        /// There will be no money: order is asked to cancel. Always said together with one of the three before it.
        CancelOrder(CancelOrder) = "cancel-order" => "cancel-order" with reason,
    }
}

/// `payment.opened`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Opened {
    /// The order it is about.
    pub order: Arc<Order>,
    /// When the broker will say `payment.expired`, unless it is confirmed or cancelled before.
    pub expires_at: Timestamp,
}

/// `payment.expired`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Expired {
    /// The order it is about.
    pub order: Arc<Order>,
}

/// `payment.charged`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Charged {
    /// The order it is about; its total is what was taken.
    pub order: Arc<Order>,
    /// The provider's own name for the charge.
    pub reference: String,
}

/// `payment.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PaymentFailed {
    /// The order it is about.
    pub order: Arc<Order>,
    /// The provider's reason.
    pub reason: String,
}

/// `payment.cancelled`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PaymentCancelled {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Why, in words for the customer.
    pub reason: String,
}

/// `payment.refunded`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Refunded {
    /// The order it is about; its total is what was given back.
    pub order: Arc<Order>,
    /// Why, in words for the customer.
    pub reason: String,
}

/// `cancel-order`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelOrder {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Why, in words for the customer.
    pub reason: String,
    /// Whether `payment.charged` was ever said of it: if not, it never will be.
    pub charged: bool,
}
