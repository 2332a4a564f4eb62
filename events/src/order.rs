//! What the order service says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CourierId, Order};

crate::said! {
    /// What the order service says about an order.
    OrderEvent by "order" {
        /// A customer placed it.
        Created(Created) = "created" => "order.created",
        /// It is paid and reserved, and waits for the shop owner.
        AwaitingApproval(AwaitingApproval) = "awaiting-approval" => "order.awaiting-approval" for outside,
        /// It is confirmed: delivery is asked to bring it.
        CreateDelivery(CreateDelivery) = "create-delivery" => "create-delivery",
        /// The customer (or the shop owner) cancelled it: payment is asked to cancel or refund.
        CancelPayment(CancelPayment) = "cancel-payment" => "cancel-payment" with reason,
        /// It is paid, reserved and on its way. The end.
        Completed(Completed) = "completed" => "order.completed" for outside,
        /// It is off. The end, once those who had done something have undone it.
        Cancelled(OrderCancelled) = "cancelled" => "order.cancelled" with reason,
    }
}

/// `order.created`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Created {
    /// The order as placed.
    pub order: Arc<Order>,
}

/// `order.awaiting-approval`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AwaitingApproval {
    /// The order it is about.
    pub order: Arc<Order>,
}

/// `create-delivery`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateDelivery {
    /// The order it is about.
    pub order: Arc<Order>,
}

/// `cancel-payment`, said by order
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelPayment {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Why, in words for the customer.
    pub reason: String,
}

/// `order.completed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Completed {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Who brings it.
    pub courier_id: CourierId,
}

/// `order.cancelled`
///
/// Says how far the order had come, so that a listener whom this cancellation overtakes knows whether something is
/// still on its way to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OrderCancelled {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Why, in words for the customer.
    pub reason: String,
    /// Whether `payment.charged` was ever said of it.
    pub charged: bool,
    /// Whether `create-delivery` was ever said of it.
    pub delivery_requested: bool,
}
