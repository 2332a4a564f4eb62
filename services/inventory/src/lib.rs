//! The inventory service lists the items of the shop, reserves stock for all lines of an order or for none, and releases it.
//!
//! ```text
//! requested ──> reserved | failed
//! reserved ──order.cancelled──> released
//! reserved ──delivery.delivered──> shipped
//!
//! none ──list──> listed ──change──> listed ──withdraw──> withdrawn        (an item)
//! ```
//!
//! The stock of an item is a record of the ledger, `stock.item.<item_id>`, written in the same commit as the event that
//! reserves, releases or ships it, or that lists, changes or withdraws the item.

pub mod decide;
pub mod http;
pub mod item;
pub mod photos;
pub mod samples;

use std::time::Duration;

use anyhow::ensure;
use quadrille_decision::fate::fate;
use quadrille_events::{Flow, OrderId};
use quadrille_runtime::Settings;

/// How old bytes are at least that the sweep removes: an upload is given up long before.
const USUAL_GRACE: Duration = Duration::from_secs(3_600);

/// The shortest grace: an upload stores its bytes and says so within it, with a reserve of some seconds.
const SHORTEST_GRACE: Duration = Duration::from_secs(30);
#[derive(Clone, Debug, Default)]
pub struct InventoryService {
    pub flow: Flow,
    /// How old the bytes of a photo are at least that are removed because no item has them.
    pub photo_grace: Duration,
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
    /// Reads `FLOW`, `PHOTO_GRACE`, and `INVENTORY_FAILURE_RATE` and `PROVIDER_SEED` for simulated failures.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
            photo_grace: photo_grace(settings)?,
            simulation: Simulation {
                failure_rate: settings.rate("INVENTORY_FAILURE_RATE")?,
                seed: settings.or("PROVIDER_SEED", 0)?,
            },
        })
    }
}

fn photo_grace(settings: &Settings) -> anyhow::Result<Duration> {
    let grace = settings.duration("PHOTO_GRACE", USUAL_GRACE)?;
    ensure!(
        grace >= SHORTEST_GRACE,
        "PHOTO_GRACE: must be at least {SHORTEST_GRACE:?}, so that no upload in progress is removed"
    );
    Ok(grace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_shorter_than_an_upload_is_refused() {
        let of = |text| photo_grace(&Settings::of([("PHOTO_GRACE", text)]));
        assert_eq!(of("30s").unwrap(), SHORTEST_GRACE);
        assert!(of("29s").unwrap_err().to_string().starts_with("PHOTO_GRACE"));
    }
}
