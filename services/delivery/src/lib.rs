//! The delivery service: it finds a courier, and calls one back.
//!
//! ```text
//! requested ──> assigned | no courier
//! assigned ──order.cancelled──> cancelled
//! ```
//!
//! How many orders a courier has is a record of the ledger, `courier.load.<courier_id>`, changed in the same commit as
//! the event that changes it.

#![allow(missing_docs)] // Not published: a comment says why, or is not there.

pub mod decide;
pub mod desk;
pub mod http;
pub mod samples;

use quadrille_runtime::Settings;

use crate::desk::{Desk, Simulator};

pub struct DeliveryService {
    pub desk: Box<dyn Desk>,
}

impl DeliveryService {
    /// Makes a simulated desk that reads `DELIVERY_FAILURE_RATE` and `PROVIDER_SEED`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let failure_rate = settings.rate("DELIVERY_FAILURE_RATE")?;
        let seed = settings.or("PROVIDER_SEED", 0)?;
        Ok(Self {
            desk: Box::new(Simulator { failure_rate, seed }),
        })
    }
}
