//! The delivery service assigns couriers to orders, calls them back, and hears from them how a delivery ended.
//!
//! ```text
//! requested ──> assigned | no courier
//! assigned ──cancel-delivery──> cancelled
//! assigned ──confirm──> delivered
//! assigned ──fail──> failed
//! ```
//!
//! What is delivered must not be refunded, so once a courier is asked for, this service is the arbiter: a cancellation and a
//! confirmation that arrive together are two commits about the same delivery, and one of them finds the other.
//!
//! How many orders a courier has is a record of the ledger, `courier.load.<courier_id>`, changed in the same commit as
//! the event that changes it.

pub mod decide;
pub mod desk;
pub mod http;
pub mod samples;

use quadrille_runtime::Settings;

use crate::desk::{Desk, SimulatedDesk};

pub struct DeliveryService {
    pub desk: Box<dyn Desk>,
}

impl DeliveryService {
    /// Reads `DELIVERY_FAILURE_RATE` and `PROVIDER_SEED` for a simulated desk.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let failure_rate = settings.rate("DELIVERY_FAILURE_RATE")?;
        let seed = settings.or("PROVIDER_SEED", 0)?;
        Ok(Self {
            desk: Box::new(SimulatedDesk { failure_rate, seed }),
        })
    }
}
