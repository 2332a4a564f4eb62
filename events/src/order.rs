//! The events of the order service.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CourierId, Order};

crate::said! {
    /// Everything that the order service says about an order.
    OrderEvent by "order" {
        /// A customer placed the order.
        Created(Created) = "created" => "order.created",
        /// The order is paid and reserved, and waits for the shop owner's approval.
        AwaitingApproval(AwaitingApproval) = "awaiting-approval" => "order.awaiting-approval" for outside,
        /// The order is confirmed: delivery is asked to send a courier.
        CreateDelivery(CreateDelivery) = "create-delivery" => "create-delivery",
        /// The customer (or the shop owner) cancelled the order before a courier was asked for: payment is asked to cancel or refund.
        CancelPayment(CancelPayment) = "cancel-payment" => "cancel-payment" with reason,
        /// The customer (or the shop owner) cancelled the order after a courier was asked for: delivery is asked to call the
        /// courier back, unless the goods are delivered.
        CancelDelivery(CancelDelivery) = "cancel-delivery" => "cancel-delivery" with reason,
        /// The order is paid, reserved and on its way. Final, unless the delivery fails.
        Completed(Completed) = "completed" => "order.completed" for outside,
        /// The order is cancelled. Final, once reserved stock is released and an assigned courier is called back.
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
    /// The order.
    pub order: Arc<Order>,
}

/// `create-delivery`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateDelivery {
    /// The order.
    pub order: Arc<Order>,
}

/// `cancel-payment`, said by order
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelPayment {
    /// The order.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
}

/// `cancel-delivery`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CancelDelivery {
    /// The order.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
}

/// `order.completed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Completed {
    /// The order.
    pub order: Arc<Order>,
    /// The courier, who is on the way.
    pub courier_id: CourierId,
}

/// `order.cancelled`
///
/// Says how far the order had come. A listener that has not heard of the order yet learns from it whether a request is
/// still in flight to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OrderCancelled {
    /// The order.
    pub order: Arc<Order>,
    /// The reason, in words for the customer.
    pub reason: String,
    /// Whether `payment.charged` was ever said of the order.
    pub charged: bool,
    /// Whether `create-delivery` was ever said of the order.
    pub delivery_requested: bool,
}
