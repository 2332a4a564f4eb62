//! The inventory service reserves stock for all lines of an order or for none, and releases it.
//!
//! ```text
//! requested ──> reserved | failed
//! reserved ──order.cancelled──> released
//! reserved ──delivery.delivered──> shipped
//! ```
//!
//! The stock of an item is a record of the ledger, `stock.item.<item_id>`, written in the same commit as the event that
//! reserves, releases or ships it.

pub mod decide;
pub mod http;
pub mod samples;

use quadrille_decision::fate::fate;
use quadrille_events::{Flow, OrderId};
use quadrille_runtime::Settings;

#[derive(Clone, Debug, Default)]
pub struct InventoryService {
    pub flow: Flow,
    pub simulation: Simulation,
}

/// Lets reservations fail at a rate, by order id, so that a repeated request has the same answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulation {
    /// The share of orders that are not reserved although there is enough, from 0 to 1.
    pub failure_rate: f64,
    /// The failures are a function of the seed and the order id.
    pub seed: u64,
}

impl Simulation {
    pub fn fails(&self, order_id: &OrderId) -> bool {
        fate(self.seed, "stock", order_id.as_str()) < self.failure_rate
    }
}

impl InventoryService {
    /// Reads `FLOW`, and `INVENTORY_FAILURE_RATE` and `PROVIDER_SEED` for simulated failures.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
            simulation: Simulation {
                failure_rate: settings.rate("INVENTORY_FAILURE_RATE")?,
                seed: settings.or("PROVIDER_SEED", 0)?,
            },
        })
    }
}
