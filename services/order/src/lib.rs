//! The order service: it takes orders, and says how each one ends.
//!
//! ```text
//! created ──ready──> [awaiting-approval ──approve──>] confirmed ──assigned──> completed
//!    └───────────────────────┴────────────────────────────┴──cancel──> cancelling
//!    any but completed ──cancel-order──> cancelled
//! ```
//!
//! An order is *ready* once it is both paid and reserved: what says so is the second of the two, so it depends on
//! the flow (see `wires`). An order that cannot be completed is not cancelled here at once: payment is asked to
//! cancel or refund, and answers with `cancel-order`; so whoever cancels, the money is settled first.

#![allow(missing_docs)] // Not published: a comment says why, or is not there.

pub mod decide;
pub mod http;
pub mod request;
pub mod samples;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

#[derive(Clone, Debug, Default)]
pub struct OrderService {
    /// In which order money and stock are asked for.
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
