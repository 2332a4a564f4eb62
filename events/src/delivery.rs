//! What the delivery service says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CourierId, Order};

crate::said! {
    /// What the delivery service says about an order's delivery.
    DeliveryEvent by "delivery" {
        /// A courier is on the way.
        Assigned(Assigned) = "assigned" => "delivery.assigned" undone by "cancelled",
        /// Nobody can bring it: payment is asked to refund.
        CancelPayment(NoCourier) = "cancel-payment" => "cancel-payment" with reason,
        /// The courier was called back, or will never be sent.
        Cancelled(DeliveryCancelled) = "cancelled" => "delivery.cancelled" for outside,
    }
}

/// `delivery.assigned`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Assigned {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Who brings it.
    pub courier_id: CourierId,
}

/// `cancel-payment`, said by delivery
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NoCourier {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Why nobody can bring it, in words for the customer.
    pub reason: String,
}

/// `delivery.cancelled`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliveryCancelled {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Who was called back; nobody if the cancellation came before a courier was assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier_id: Option<CourierId>,
}
