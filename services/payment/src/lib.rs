//! The payment service: it takes the money, and gives it back.
//!
//! ```text
//! requested ──auto────────────────────────> charged | failed
//! requested ──manual──> opened ──confirm──> charged | failed
//!                         ├──cancel, cancel-payment──> cancelled
//!                         └──deadline──> expired ──────> cancelled
//! charged ──cancel-payment, reservation.failed──> refunded
//! ```
//!
//! Each of the three bad ends is said together with `cancel-order`. A cancellation may overtake the request; it then
//! cancels what was never opened, and the request finds it so. A cancelled payment is voided at the provider, in case
//! a charge succeeded whose outcome was never stored.

#![allow(missing_docs)] // Not published: a comment says why, or is not there.

pub mod decide;
pub mod http;
pub mod provider;
pub mod samples;

use std::time::Duration;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

use crate::provider::{CALL_TIMEOUT, HttpProvider, Provider, Simulator};

/// How long a customer has to confirm a manual payment, unless `PAYMENT_DEADLINE` says otherwise: long enough to fetch
/// a card, short enough that nobody's stock is held over lunch.
pub const PAYMENT_DEADLINE: Duration = Duration::from_secs(15 * 60);

pub struct PaymentService {
    /// In which order money and stock are asked for.
    pub flow: Flow,
    pub pay_within: Duration,
    pub provider: Box<dyn Provider>,
}

impl PaymentService {
    /// Reads `FLOW`, `PAYMENT_DEADLINE`, and the provider: `PAYMENT_PROVIDER_URL`, or else the simulator
    /// with `PAYMENT_DECLINE_RATE`, `PROVIDER_SEED` and `PROVIDER_LATENCY`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let provider: Box<dyn Provider> = match settings.get("PAYMENT_PROVIDER_URL")? {
            Some(url) => Box::new(HttpProvider::new(url, CALL_TIMEOUT)?),
            None => Box::new(Simulator {
                decline_rate: settings.rate("PAYMENT_DECLINE_RATE")?,
                seed: settings.or("PROVIDER_SEED", 0)?,
                latency: settings.duration("PROVIDER_LATENCY", Duration::ZERO)?,
            }),
        };
        let pay_within = settings.duration("PAYMENT_DEADLINE", PAYMENT_DEADLINE)?;
        if let Some(retention) = settings.retention()?
            && pay_within >= retention
        {
            anyhow::bail!(
                "PAYMENT_DEADLINE ({pay_within:?}) must be shorter than RETENTION ({retention:?}): an open payment would be \
                 forgotten before it expires"
            );
        }
        Ok(Self {
            flow: settings.or("FLOW", Flow::default())?,
            pay_within,
            provider,
        })
    }
}
