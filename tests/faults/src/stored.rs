//! What is stored about the orders, as far as a client can be told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use quadrille_events::{
    Approval, Body, Completed, Created, Event, EventName, Order, OrderCancelled, OrderFacts, OrderId,
    PaymentMode,
};
use quadrille_runtime::nats::StoredEvent;
use quadrille_runtime::operator::{Entry, Operator};

/// The orders in the four buckets.
#[derive(Clone, Debug, Default)]
pub struct StoredOrders {
    /// The orders of which something was said.
    pub orders: BTreeMap<OrderId, OrderRecord>,
}

/// What is stored about one order.
#[derive(Clone, Debug)]
pub struct OrderRecord {
    /// The order as the first event that was read carries it.
    pub order: Arc<Order>,
    /// The events, folded.
    pub facts: OrderFacts,
    /// The events, one by one.
    pub events: BTreeMap<&'static EventName, EventRecord>,
}

/// What is stored of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The cause: `http/confirm`, or another event.
    pub cause: String,
    /// When the event was stored, by the broker's clock.
    pub at: Timestamp,
}

impl StoredOrders {
    /// Reads the four buckets. What cannot be read is left to the audit.
    pub async fn read(operator: &Operator) -> Result<Self> {
        let mut stored = Self::default();
        for service in Event::SERVICES {
            operator
                .read_bucket(service, |entry| {
                    if let Some((event, cause)) = understood(&entry) {
                        let at = entry.time;
                        stored.put(&event, EventRecord { cause, at });
                    }
                })
                .await?;
        }
        Ok(stored)
    }

    /// Files an event.
    pub fn put(&mut self, event: &Event, stored: EventRecord) {
        let Some(order) = event.order() else {
            return;
        };
        let record = self.orders.entry(order.order_id.clone());
        let record = record.or_insert_with(|| OrderRecord {
            order: Arc::clone(order),
            facts: OrderFacts::default(),
            events: BTreeMap::new(),
        });
        record.facts.hear(event);
        record.events.insert(event.name(), stored);
    }
}

/// The event that a message of a bucket is, and its cause; `None` if a listener would park it.
fn understood(message: &Entry) -> Option<(Event, String)> {
    let stored = StoredEvent::in_bucket(Event::CONTRACT, message).ok()?;
    Some((stored.event().ok()?, stored.envelope.causation_id.clone()))
}

impl OrderRecord {
    /// The state in which the order service shows the order, if it has ended.
    pub fn ended_as(&self) -> Option<&'static str> {
        let ending = self.last_word()?;
        Some(ending.entry)
    }

    /// When the order ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ending = self.last_word()?;
        Some(self.events.get(ending)?.at)
    }

    /// When the order was placed.
    pub fn placed_at(&self) -> Option<Timestamp> {
        Some(self.events.get(Created::NAME)?.at)
    }

    /// Whether the order ends without anybody doing anything.
    pub fn needs_nobody(&self) -> bool {
        self.order.payment == PaymentMode::Auto && self.order.approval == Approval::Auto
    }

    /// The event with which the order service ended the order.
    fn last_word(&self) -> Option<&'static EventName> {
        [Completed::NAME, OrderCancelled::NAME]
            .into_iter()
            .find(|name| self.events.contains_key(name))
    }
}
