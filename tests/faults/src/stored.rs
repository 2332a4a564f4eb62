//! What is stored about the orders, as far as a client can be told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use quadrille_events::{Approval, Event, Order, OrderId, PaymentMode};
use quadrille_runtime::nats::StoredEvent;
use quadrille_runtime::operator::{Entry, Operator};

/// The orders in the four buckets.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// By id: those of which something was said.
    pub orders: BTreeMap<OrderId, Told>,
}

/// What was said about one order.
#[derive(Clone, Debug)]
pub struct Told {
    /// The order as the first of these carries it.
    pub order: Arc<Order>,
    /// By service and entry, as in `("payment", "charged")`.
    pub said: BTreeMap<(&'static str, &'static str), Said>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it answers: `http/confirm`, or another event.
    pub cause: String,
    /// When it was stored, by the broker's clock.
    pub at: Timestamp,
}

impl Stored {
    /// Reads the four buckets. What cannot be read is left to the audit.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn read(operator: &Operator) -> Result<Self> {
        let mut stored = Self::default();
        for service in Event::SERVICES {
            operator
                .read_bucket(service, |entry| {
                    if let Some((event, cause)) = understood(&entry) {
                        stored.put(
                            &event,
                            Said {
                                cause,
                                at: entry.time,
                            },
                        );
                    }
                })
                .await?;
        }
        Ok(stored)
    }

    /// Files an event.
    pub fn put(&mut self, event: &Event, said: Said) {
        let (name, Some(order)) = (event.name(), event.order()) else {
            return;
        };
        let told = self.orders.entry(order.order_id.clone()).or_insert_with(|| Told {
            order: Arc::clone(order),
            said: BTreeMap::new(),
        });
        told.said.insert((name.service, name.entry), said);
    }
}

/// The event that a message of a bucket is, and its cause; nothing if a listener would park it.
fn understood(message: &Entry) -> Option<(Event, String)> {
    let stored = StoredEvent::in_bucket(Event::CONTRACT, message).ok()?;
    Some((stored.event().ok()?, stored.envelope.causation_id.clone()))
}

impl Told {
    /// Whether a service has said this.
    pub fn has(&self, service: &'static str, entry: &'static str) -> bool {
        self.said.contains_key(&(service, entry))
    }

    /// How it ended, as the order service shows it.
    pub fn ending(&self) -> Option<&'static str> {
        ["completed", "cancelled"]
            .into_iter()
            .find(|entry| self.has("order", entry))
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ending = self.ending()?;
        Some(self.said.get(&("order", ending))?.at)
    }

    /// When it was placed.
    pub fn placed_at(&self) -> Option<Timestamp> {
        Some(self.said.get(&("order", "created"))?.at)
    }

    /// Whether it ends without anybody doing anything.
    pub fn needs_nobody(&self) -> bool {
        self.order.payment == PaymentMode::Auto && self.order.approval == Approval::Auto
    }

    /// Whether it waits for the shop owner, who may have given up.
    pub fn awaits_approval(&self) -> bool {
        self.has("order", "awaiting-approval")
            && !self.has("order", "create-delivery")
            && !self.has("order", "cancel-payment")
            && self.ending().is_none()
    }
}
