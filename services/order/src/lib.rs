//! The order service accepts orders and says how each one ends.
//!
//! ```text
//! created ──ready──> [awaiting-approval ──approve──>] confirmed ──assigned──> completed
//!    └───────────────────────┴────────────────────────────┴──cancel──> cancelling
//!    any but completed ──cancel-order──> cancelled
//! ```
//!
//! The service hears of items as well, and keeps a price list of its own (`price.rs`): an order is placed at the prices in it.
//!
//! An order is *ready* once it is both paid and reserved. Which event makes it ready is the second of the two, so it depends on
//! the flow (see `wires`). An order that cannot be completed is not cancelled at once: payment is asked to cancel or refund,
//! and answers with `cancel-order`. So the payment is always settled before the order is cancelled.

pub mod decide;
pub mod http;
pub mod price;
pub mod request;
pub mod samples;
mod wait;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

#[derive(Clone, Debug, Default)]
pub struct OrderService {
    pub flow: Flow,
}

impl OrderService {
    /// Reads `FLOW`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
        })
    }
}
