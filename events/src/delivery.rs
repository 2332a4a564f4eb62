//! The events of the delivery service.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CourierId, Order};

crate::said! {
    /// Everything that the delivery service says about an order.
    DeliveryEvent by "delivery" {
        /// A courier is on the way.
        Assigned(Assigned) = "assigned" => "delivery.assigned" undone by "cancelled" or "failed" final by "delivered",
        /// No courier can deliver the order: payment is asked to refund.
        CancelPayment(NoCourier) = "cancel-payment" => "cancel-payment" with reason,
        /// The courier was called back, or none will be sent: payment is asked to refund.
        Cancelled(DeliveryCancelled) = "cancelled" => "delivery.cancelled" with reason,
        /// The courier has handed over the goods. Final.
        Delivered(Delivered) = "delivered" => "delivery.delivered",
        /// The courier could not hand over the goods, and is free again: payment is asked to refund. Final.
        Failed(DeliveryFailed) = "failed" => "delivery.failed" with reason,
    }
}

/// `delivery.assigned`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Assigned {
    /// The order.
    pub order: Arc<Order>,
    /// The courier, who is on the way.
    pub courier_id: CourierId,
}

/// `cancel-payment`, said by delivery
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NoCourier {
    /// The order.
    pub order: Arc<Order>,
    /// Why no courier can deliver the order, in words for the customer.
    pub reason: String,
}

/// `delivery.cancelled`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliveryCancelled {
    /// The order.
    pub order: Arc<Order>,
    /// The courier who was called back; `None` if the cancellation came before a courier was assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier_id: Option<CourierId>,
    /// The reason, in words for the customer.
    #[serde(default = "order_cancelled")]
    pub reason: String,
}

/// The reason in the events of release 0.1, which have none: there a delivery was cancelled only after `order.cancelled`.
fn order_cancelled() -> String {
    "the order was cancelled".to_owned()
}

/// `delivery.delivered`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Delivered {
    /// The order.
    pub order: Arc<Order>,
    /// The courier who handed over the goods.
    pub courier_id: CourierId,
}

/// `delivery.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliveryFailed {
    /// The order.
    pub order: Arc<Order>,
    /// The courier who could not hand over the goods.
    pub courier_id: CourierId,
    /// Why, in words for the customer.
    pub reason: String,
}
