//! The events of the inventory service.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Order;

crate::said! {
    /// Everything that the inventory service says about an order.
    InventoryEvent by "inventory" {
        /// Stock is reserved for every line of the order.
        Reserved(Reserved) = "reserved" => "inventory.reserved" undone by "released" final by "shipped",
        /// Nothing is reserved, because not all lines could be reserved.
        ReservationFailed(ReservationFailed) = "reservation-failed" => "inventory.reservation.failed" with reason,
        /// The reserved stock is available again.
        Released(Released) = "released" => "inventory.released" for outside,
        /// The reserved stock has left the shop with the delivery. Final: it never returns.
        Shipped(Shipped) = "shipped" => "inventory.shipped" for outside,
    }
}

/// `inventory.reserved`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reserved {
    /// The order.
    pub order: Arc<Order>,
}

/// `inventory.reservation.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReservationFailed {
    /// The order.
    pub order: Arc<Order>,
    /// Why not all lines could be reserved, in words for the customer.
    pub reason: String,
}

/// `inventory.released`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Released {
    /// The order.
    pub order: Arc<Order>,
}

/// `inventory.shipped`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Shipped {
    /// The order.
    pub order: Arc<Order>,
}
