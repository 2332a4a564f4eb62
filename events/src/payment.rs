//! The events of the payment service.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Order;

crate::said! {
    /// Everything that the payment service says about an order.
    PaymentEvent by "payment" {
        /// The payment waits until the deadline for the customer to confirm or cancel.
        Opened(Opened) = "opened" => "payment.opened" for outside,
        /// The deadline passed. Published by the broker, which holds the schedule.
        Expired(Expired) = "expired" => "payment.expired",
        /// The payment provider took exactly the total.
        Charged(Charged) = "charged" => "payment.charged" undone by "refunded",
        /// The payment provider declined; nothing was taken.
        Failed(PaymentFailed) = "failed" => "payment.failed" with reason for outside,
        /// The payment was cancelled before anything was taken.
        Cancelled(PaymentCancelled) = "cancelled" => "payment.cancelled" with reason,
        /// The customer has the total back.
        Refunded(Refunded) = "refunded" => "payment.refunded" with reason for outside,
        /// There is no payment: order is asked to cancel. Always said together with `payment.failed`, `payment.cancelled` or
        /// `payment.refunded`.
        CancelOrder(CancelOrder) = "cancel-order" => "cancel-order" with reason,
    }
}

/// `payment.opened`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Opened {
    /// The order.
    pub order: Arc<Order>,
    /// When the broker publishes `payment.expired`, unless the payment is confirmed or cancelled before.
    pub expires_at: Timestamp,
}

/// `payment.expired`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Expired {
    /// The order.
    pub order: Arc<Order>,
}

/// `payment.charged`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Charged {
    /// The order, whose total was taken.
    pub order: Arc<Order>,
    /// The provider's reference of the charge.
    pub reference: String,
}

/// `payment.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PaymentFailed {
    /// The order.
    pub order: Arc<Order>,
    /// The provider's reason.
    pub reason: String,
}

/// `payment.cancelled`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PaymentCancelled {
    /// The order.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
}

/// `payment.refunded`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Refunded {
    /// The order, whose total was given back.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
}

/// `cancel-order`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelOrder {
    /// The order.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
    /// Whether `payment.charged` was ever said of the order: if not, it never will be.
    pub charged: bool,
}
