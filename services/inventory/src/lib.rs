//! The inventory service lists the items of the shop, reserves stock for all lines of an order or for none, and releases it.
//!
//! ```text
//! requested ──> reserved | failed
//! reserved ──order.cancelled──> released
//!
//! none ──list──> listed ──change──> listed ──withdraw──> withdrawn        (an item)
//! ```
//!
//! The stock of an item is a record of the ledger, `stock.item.<item_id>`, written in the same commit as the event that
//! reserves or releases it, or that lists, changes or withdraws the item.

pub mod decide;
pub mod http;
pub mod item;
pub mod photos;
pub mod samples;

use std::time::Duration;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

#[derive(Clone, Debug, Default)]
pub struct InventoryService {
    pub flow: Flow,
    /// How old the bytes of a photo are at least that are removed because no item has them.
    pub photo_grace: Duration,
}

impl InventoryService {
    /// Reads `FLOW` and `PHOTO_GRACE`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
            photo_grace: photos::grace(settings)?,
        })
    }
}
