//! The inventory service: it sets goods aside, all lines of an order or none, and puts them back.
//!
//! ```text
//! requested ──> reserved | failed
//! reserved ──order.cancelled──> released
//! ```
//!
//! What is there of an item is a record of the ledger, `stock.item.<item_id>`, changed in the same commit as the event
//! that changes it.

#![allow(missing_docs)] // Not published: a comment says why, or is not there.

pub mod decide;
pub mod http;
pub mod samples;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

#[derive(Clone, Debug, Default)]
pub struct InventoryService {
    /// In which order money and stock are asked for.
    pub flow: Flow,
}

impl InventoryService {
    /// Reads `FLOW`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
        })
    }
}
