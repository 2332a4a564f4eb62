//! The delivery service: it finds a courier, and calls one back.
//!
//! ```text
//! requested ──> assigned | no courier
//! assigned ──order.cancelled──> cancelled
//! ```
//!
//! How many orders a courier has is a record of the ledger, `courier.load.<courier_id>`, changed in the same commit as
//! the event that changes it.

pub mod decide;
pub mod desk;
pub mod http;
pub mod samples;

use quadrille_runtime::Settings;

use crate::desk::{Desk, Simulator};

/// The delivery service.
pub struct DeliveryService {
    /// Who takes requests on.
    pub desk: Box<dyn Desk>,
}

impl DeliveryService {
    /// As the settings say: a simulated desk with `DELIVERY_FAILURE_RATE` and `PROVIDER_SEED`.
    ///
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let failure_rate = settings.rate("DELIVERY_FAILURE_RATE")?;
        let seed = settings.or("PROVIDER_SEED", 0)?;
        Ok(Self {
            desk: Box::new(Simulator { failure_rate, seed }),
        })
    }
}
