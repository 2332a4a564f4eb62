//! The payment service charges orders and refunds them.
//!
//! ```text
//! requested ──auto────────────────────────> charged | failed
//! requested ──manual──> opened ──confirm──> charged | failed
//!                         ├──cancel, cancel-payment──> cancelled
//!                         └──deadline──> expired ──────> cancelled
//! charged ──cancel-payment, reservation.failed, delivery.cancelled, delivery.failed──> refunded
//! ```
//!
//! `failed`, `cancelled` and `refunded` are always said together with `cancel-order`. If a cancellation overtakes the request,
//! the payment is cancelled before it is opened, and the request is ignored. A cancelled payment is voided at the provider, in
//! case a charge succeeded whose outcome was never stored.

pub mod decide;
pub mod http;
pub mod provider;
pub mod samples;

use std::time::Duration;

use quadrille_events::Flow;
use quadrille_runtime::Settings;

use crate::provider::{CALL_TIMEOUT, HttpProvider, Provider, SimulatedProvider};

/// How long a customer has to confirm a manual payment, unless `PAYMENT_DEADLINE` is set: long enough to fetch a card, short
/// enough that stock is not reserved for long (`reserve-first`).
pub const PAYMENT_DEADLINE: Duration = Duration::from_secs(15 * 60);

pub struct PaymentService {
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
            None => Box::new(SimulatedProvider {
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
