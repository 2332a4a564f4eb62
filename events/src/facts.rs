//! The one fold of an order's history: what was said about the order, and what follows from it.
//!
//! There is no coordinator that knows how far an order is: it follows from the events about the order. The audit, the
//! console, `quadrille stuck` and `trace`, the faults and the model all use [`OrderFacts`]. The fold keeps only *which* events
//! were said, not in which order they were heard, because the EVENTS log sources many buckets and can show an effect before
//! its cause.

use crate::{
    Assigned, AwaitingApproval, Body, CancelDelivery, CancelOrder, CancelPayment, Charged, Completed,
    CreateDelivery, Created, Delivered, DeliveryCancelled, DeliveryFailed, Ending, Event, EventName,
    EventSet, Expired, NoCourier, Opened, OrderCancelled, PaymentCancelled, PaymentFailed, Refunded,
    Released, ReservationFailed, Reserved, Shipped, Step, event_set,
};

/// Which events were said about one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OrderFacts(EventSet);

/// The events on the way to a cancellation, from the first reason to the last thing undone.
pub const SETBACKS: [&EventName; 13] = [
    ReservationFailed::NAME,
    NoCourier::NAME,
    DeliveryFailed::NAME,
    CancelPayment::NAME,
    CancelDelivery::NAME,
    Expired::NAME,
    PaymentFailed::NAME,
    PaymentCancelled::NAME,
    Refunded::NAME,
    CancelOrder::NAME,
    OrderCancelled::NAME,
    Released::NAME,
    DeliveryCancelled::NAME,
];

impl OrderFacts {
    /// Adds an event, and returns whether the step of the order depends on it. An event that is added twice changes nothing.
    pub fn hear(&mut self, event: &Event) -> bool {
        let name = event.name();
        if name.moves_orders {
            self.insert(name);
        }
        name.moves_orders
    }

    /// Adds an event by its name.
    ///
    /// # Panics
    /// If the event is not in the contract.
    pub fn insert(&mut self, name: &EventName) {
        self.0.insert(name);
    }

    /// Adds several events.
    pub fn add(&mut self, events: EventSet) {
        self.0 = self.0.or(events);
    }

    /// The events.
    pub fn events(self) -> EventSet {
        self.0
    }

    /// Whether an event was said: `said::<Charged>()`.
    pub fn said<B: Body>(self) -> bool {
        self.said_any(const { EventSet::of(&[B::NAME]) })
    }

    /// Whether at least one of these was said.
    pub fn said_any(self, events: EventSet) -> bool {
        self.0.has_any(events)
    }

    /// Whether all of these were said.
    pub fn said_all(self, events: EventSet) -> bool {
        self.0.has_all(events)
    }

    /// Whether the order is completed or cancelled, as far as the order service is concerned. For a cancelled order, other
    /// services may still have to undo something; [`Step::is_over`] is true once that is done too. A completed order whose
    /// delivery fails has not ended until it is cancelled.
    pub fn has_ended(self) -> bool {
        self.is_completed() || self.said::<OrderCancelled>()
    }

    /// Whether the order is completed, and its delivery has not failed. If the log has lost the beginning of the order, its
    /// completion may be lost, too: a delivery ends long after it.
    fn is_completed(self) -> bool {
        let is_lost = !self.said::<Created>() && self.said_any(event_set![Delivered, Shipped]);
        (self.said::<Completed>() || is_lost) && !self.said_any(event_set![DeliveryFailed, OrderCancelled])
    }

    /// How the order ended; `None` if it has not ended.
    pub fn ending(self) -> Option<Ending> {
        if self.is_completed() {
            return Some(if self.said_any(event_set![Delivered, Shipped]) {
                Ending::Delivered
            } else {
                Ending::Completed
            });
        }
        if !self.said::<OrderCancelled>() {
            return None;
        }
        // Several can apply; the first of them is the cause of the others.
        Some(if self.said::<PaymentFailed>() {
            Ending::Declined
        } else if self.said_all(event_set![Expired, PaymentCancelled]) {
            Ending::Expired
        } else if self.said::<NoCourier>() {
            Ending::NoCourier
        } else if self.said::<DeliveryFailed>() {
            Ending::DeliveryFailed
        } else if self.said_any(event_set![CancelPayment, CancelDelivery]) {
            Ending::OrderCancelled
        } else if self.said::<ReservationFailed>() {
            Ending::OutOfStock
        } else {
            Ending::PaymentCancelled
        })
    }

    /// How far the order is.
    pub fn step(self) -> Step {
        if self.is_completed() {
            if self.said::<Shipped>() {
                Step::Delivered
            } else if self.said::<Delivered>() {
                Step::HandedOver
            } else {
                Step::Completed
            }
        } else if self.is_called_off() {
            if self.is_undone() {
                Step::Cancelled
            } else {
                Step::Undoing
            }
        } else if self.said::<CancelOrder>() {
            Step::Settled
        } else if self.is_set_back() {
            Step::Cancelling
        } else if self.said_any(event_set![Assigned, Delivered]) {
            Step::Assigned
        } else if self.said::<CreateDelivery>() {
            Step::Confirmed
        } else if self.said::<AwaitingApproval>() {
            Step::AwaitingApproval
        } else if self.said_all(event_set![Charged, Reserved]) {
            Step::Ready
        } else if self.said::<Charged>() {
            Step::Charged
        } else if self.said::<Opened>() {
            Step::Opened
        } else if self.said::<Reserved>() {
            Step::Reserved
        } else {
            Step::Created
        }
    }

    /// Who must act next: a service, `customer` or `shop owner`; `None` at the ends.
    pub fn waits_for(self) -> Option<&'static str> {
        match self.step() {
            // In the flow reserve-first it is inventory, but the events so far do not show the flow.
            Step::Created => Some("payment"),
            Step::Opened => Some("customer"),
            Step::Charged => Some("inventory"),
            Step::Cancelling if self.awaits_call_back() => Some("delivery"),
            Step::Reserved | Step::Cancelling => Some("payment"),
            Step::AwaitingApproval => Some("shop owner"),
            Step::Confirmed => Some("delivery"),
            Step::Ready | Step::Assigned | Step::Settled => Some("order"),
            Step::Undoing if !self.delivery_is_undone() => Some("delivery"),
            Step::Undoing | Step::HandedOver => Some("inventory"),
            Step::Completed | Step::Delivered | Step::Cancelled => None,
        }
    }

    /// Whether the shop owner is to approve the order, or somebody to cancel it.
    pub fn awaits_approval(self) -> bool {
        self.said::<AwaitingApproval>()
            && !self.said_any(event_set![CreateDelivery, CancelPayment])
            && !self.has_ended()
    }

    /// Whether the customer is to confirm or cancel the payment.
    pub fn awaits_payment(self) -> bool {
        self.said::<Opened>() && !self.said_any(event_set![Charged, PaymentFailed, PaymentCancelled, Expired])
    }

    /// Whether the order's lines are reserved.
    pub fn holds_stock(self) -> bool {
        self.said::<Reserved>() && !self.said_any(event_set![Released, Shipped])
    }

    /// Whether a courier carries the order: a courier is assigned, and the delivery has not ended.
    pub fn has_courier(self) -> bool {
        self.said::<Assigned>() && !self.said_any(event_set![DeliveryCancelled, Delivered, DeliveryFailed])
    }

    /// Whether the causes of these events were heard too. `false` if the EVENTS log shows an effect before its cause: then more
    /// events follow, even about an order that is over.
    pub fn is_whole(self) -> bool {
        let results = |effect: EventSet, causes: EventSet| !self.said_any(effect) || self.said_all(causes);
        let settled = event_set![PaymentFailed, PaymentCancelled, Refunded];
        results(
            event_set![Completed],
            event_set![Created, Charged, Reserved, CreateDelivery, Assigned],
        ) && results(event_set![OrderCancelled], event_set![Created, CancelOrder])
            && (!self.said::<CancelOrder>() || self.said_any(settled))
            && results(event_set![Refunded], event_set![Charged])
            && results(event_set![Released], event_set![Reserved])
            && results(event_set![Delivered], event_set![Assigned])
            && results(event_set![Shipped], event_set![Reserved, Delivered])
            && results(event_set![DeliveryFailed], event_set![Assigned])
    }

    /// Whether the order is cancelled, or something was undone that only a cancelled order has undone. Release 0.1 called a
    /// courier back after `order.cancelled`; now the money is settled after `delivery.cancelled`, which `cancel-delivery` asked for.
    fn is_called_off(self) -> bool {
        self.said_any(event_set![OrderCancelled, Released])
            || (self.said::<DeliveryCancelled>() && !self.said::<CancelDelivery>())
    }

    /// Whether delivery was asked to call the courier back and has not answered. That it had found no courier, or that the
    /// delivery had failed, is an answer as well.
    fn awaits_call_back(self) -> bool {
        self.said::<CancelDelivery>()
            && !self.said_any(event_set![DeliveryCancelled, NoCourier, DeliveryFailed])
    }

    /// Whether something makes it impossible to complete the order.
    fn is_set_back(self) -> bool {
        const REASONS: EventSet = event_set![
            ReservationFailed,
            NoCourier,
            DeliveryFailed,
            CancelPayment,
            PaymentFailed,
            PaymentCancelled,
            Refunded,
        ];
        // The broker's timer can fire right after the payment was charged; then the charge stands.
        let is_too_late = self.said::<Expired>() && !self.said::<Charged>();
        // Goods that are delivered cannot be called back: the order is completed.
        let is_called_back = self.said::<CancelDelivery>() && !self.said::<Delivered>();
        self.said_any(REASONS) || is_too_late || is_called_back
    }

    /// Whether every service that has done something, or was asked to, has undone it or said that there is nothing to undo.
    fn is_undone(self) -> bool {
        let asked_for_stock = self.said_any(event_set![Charged, Reserved]);
        let stock = !asked_for_stock || self.said_any(event_set![ReservationFailed, Released]);
        stock && self.delivery_is_undone()
    }

    fn delivery_is_undone(self) -> bool {
        !self.said_any(event_set![CreateDelivery, Assigned])
            || self.said_any(event_set![NoCourier, DeliveryCancelled, DeliveryFailed])
    }
}

impl<'a> FromIterator<&'a EventName> for OrderFacts {
    fn from_iter<I: IntoIterator<Item = &'a EventName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows from a set of facts.
    fn consequences(facts: OrderFacts) -> (Step, Option<&'static str>, Option<Ending>, bool) {
        (facts.step(), facts.waits_for(), facts.ending(), facts.is_whole())
    }

    #[test]
    fn every_event_that_moves_orders_makes_a_difference() {
        const SETS: u64 = 20_000;
        for name in Event::names().filter(|name| name.moves_orders) {
            let without = (0..SETS).map(|number| {
                // SplitMix64, for sets that look random and are the same in every run.
                let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let others = Event::names().enumerate();
                let others = others.filter(|(place, other)| *other != name && bits >> (place + 20) & 1 == 1);
                others.map(|(_, other)| other).collect::<OrderFacts>()
            });
            let differs = |without: OrderFacts| {
                let mut with = without;
                with.insert(name);
                consequences(with) != consequences(without)
            };
            assert!(
                without.into_iter().any(differs),
                "nothing depends on {name}: use it in `OrderFacts`, or say `beside orders` where it is defined"
            );
        }
    }
}
