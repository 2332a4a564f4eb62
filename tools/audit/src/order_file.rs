//! Everything that is stored about one order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quadrille_events::{
    Assigned, Body, CancelDelivery, CancelPayment, Charged, CourierId, DeliveryEvent, Event, EventName,
    Expired, Order, OrderEvent, OrderFacts, PaymentCancelled, PaymentEvent, PaymentFailed, event_set,
};

/// How long after its deadline a payment may still be open: the time that the broker's timer takes, and a service that is
/// being restarted.
const EXPIRY_GRACE: Duration = Duration::from_secs(10);
/// How long after its own timer has proposed an entry a cluster may accept commits as if that entry were not there: until a
/// replica has applied it, an election included.
const UNAPPLIED: Duration = Duration::from_secs(10);

/// Everything that is stored about one order.
pub(crate) struct OrderFile {
    pub order: Arc<Order>,
    pub facts: OrderFacts,
    pub events: BTreeMap<&'static EventName, FiledEvent>,
    /// Until when the customer may confirm the payment, as `payment.opened` says.
    pub expires_at: Option<Timestamp>,
    /// The ids of the dead letters about the order.
    pub parked: Vec<String>,
    /// Whether the buckets have several replicas.
    pub is_replicated: bool,
}

/// One event in a bucket.
pub(crate) struct FiledEvent {
    pub name: &'static EventName,
    pub at: Timestamp,
    pub sequence: u64,
    pub cause: String,
    /// The digest of the body, to compare with the log's.
    pub digest: u64,
    /// Whether the event carries the order as it was placed.
    pub carries_the_order: bool,
    pub courier: Option<CourierId>,
    /// Where the log has the event: once, if all is well.
    pub logged: Vec<LoggedEvent>,
}

/// One event in the log.
pub(crate) struct LoggedEvent {
    pub at: Timestamp,
    pub digest: u64,
}

impl OrderFile {
    pub fn new(order: Arc<Order>, is_replicated: bool) -> Self {
        Self {
            order,
            facts: OrderFacts::default(),
            events: BTreeMap::new(),
            expires_at: None,
            parked: Vec::new(),
            is_replicated,
        }
    }

    pub fn get(&self, name: &EventName) -> Option<&FiledEvent> {
        self.events.get(name)
    }

    /// The courier who carries the order.
    pub fn courier(&self) -> Option<&CourierId> {
        let assigned = self.get(Assigned::NAME)?;
        assigned.courier.as_ref().filter(|_| self.facts.has_courier())
    }

    /// Whether the broker's timer fired although the payment was decided already: the schedule was being published while
    /// it was purged. The decision stands.
    ///
    /// With several replicas nats-server 2.15.1 does not check a commit against what its own timer has proposed and no
    /// replica has applied yet; so the entry may then stand directly before a charge or a refusal as well, of the same
    /// moment.
    pub fn expired_in_vain(&self) -> bool {
        let decided = [Charged::NAME, PaymentFailed::NAME, PaymentCancelled::NAME]
            .into_iter()
            .filter_map(|name| self.get(name))
            .min_by_key(|event| event.sequence);
        let (Some(decided), Some(expired)) = (decided, self.get(Expired::NAME)) else {
            return false;
        };
        if decided.sequence < expired.sequence {
            return true;
        }
        let between = expired.sequence + 1..decided.sequence;
        let is_next = !self
            .events
            .values()
            .any(|event| event.name.service == Expired::NAME.service && between.contains(&event.sequence));
        let is_of_the_moment = decided.at <= expired.at.checked_add(UNAPPLIED).unwrap_or(Timestamp::MAX);
        let is_settled = decided.name != PaymentCancelled::NAME;
        self.is_replicated && is_settled && is_next && is_of_the_moment
    }

    /// What a person has to do before the order goes on.
    pub fn waits_for(&self, now: Timestamp) -> Option<String> {
        if self.facts.has_ended() || self.facts.said_any(event_set![CancelPayment, CancelDelivery]) {
            return None;
        }
        if self.facts.awaits_approval() {
            return Some("the shop owner to approve it".to_owned());
        }
        let until = self.expires_at.filter(|_| self.facts.awaits_payment())?;
        let is_overdue = now > until.checked_add(EXPIRY_GRACE).unwrap_or(Timestamp::MAX);
        (!is_overdue).then(|| format!("the customer to pay, until {until}"))
    }

    /// `order.created, payment.charged`, in the order in which they were stored.
    pub fn so_far(&self) -> String {
        let mut events: Vec<_> = self.events.values().collect();
        events.sort_by_key(|event| (event.at, event.name.service, event.sequence));
        events
            .iter()
            .map(|event| event.name.subject)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The courier whom an event names.
pub(crate) fn courier_of(event: &Event) -> Option<CourierId> {
    if let Event::Delivery(DeliveryEvent::Assigned(assigned)) = event {
        Some(assigned.courier_id.clone())
    } else if let Event::Delivery(DeliveryEvent::Cancelled(cancelled)) = event {
        cancelled.courier_id.clone()
    } else if let Event::Delivery(DeliveryEvent::Delivered(delivered)) = event {
        Some(delivered.courier_id.clone())
    } else if let Event::Delivery(DeliveryEvent::Failed(failed)) = event {
        Some(failed.courier_id.clone())
    } else if let Event::Order(OrderEvent::Completed(completed)) = event {
        Some(completed.courier_id.clone())
    } else {
        None
    }
}

/// The deadline that an event sets.
pub(crate) fn expires_at(event: &Event) -> Option<Timestamp> {
    let Event::Payment(PaymentEvent::Opened(opened)) = event else {
        return None;
    };
    Some(opened.expires_at)
}
