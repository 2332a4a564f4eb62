//! What the inventory service says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Order;

crate::said! {
    /// What the inventory service says about an order's lines.
    InventoryEvent by "inventory" {
        /// All lines are set aside.
        Reserved(Reserved) = "reserved" => "inventory.reserved" undone by "released",
        /// Not one line is set aside, because not all could be.
        ReservationFailed(ReservationFailed) = "reservation-failed" => "inventory.reservation.failed" with reason,
        /// What was set aside is on the shelf again.
        Released(Released) = "released" => "inventory.released" for outside,
    }
}

/// `inventory.reserved`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reserved {
    /// The order it is about.
    pub order: Arc<Order>,
}

/// `inventory.reservation.failed`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReservationFailed {
    /// The order it is about.
    pub order: Arc<Order>,
    /// Which item is short, in words for the customer.
    pub reason: String,
}

/// `inventory.released`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Released {
    /// The order it is about.
    pub order: Arc<Order>,
}
