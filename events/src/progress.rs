//! The history of one order in time: how far the order is, since when, and whether its step takes longer than it should.
//!
//! What follows from the events alone is in [`OrderFacts`]; how long each step should take in [`Step::patience`].

use jiff::Timestamp;

use crate::{Event, OrderFacts, PaymentEvent, Step};

/// What was said about one order, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderProgress {
    facts: OrderFacts,
    first: Timestamp,
    last: Timestamp,
    expires_at: Option<Timestamp>,
}

impl OrderProgress {
    /// The progress of an order about which only this event is known.
    pub fn new(event: &Event, at: Timestamp) -> Self {
        let mut new = Self {
            facts: OrderFacts::default(),
            first: at,
            last: at,
            expires_at: None,
        };
        new.hear(event, at);
        new
    }

    /// Takes in one more event. An event that was heard before changes nothing, nor does one on which the order's way
    /// does not depend.
    pub fn hear(&mut self, event: &Event, at: Timestamp) {
        let is_first = self.facts.events().is_empty();
        if !self.facts.hear(event) {
            return;
        }
        (self.first, self.last) = if is_first {
            (at, at)
        } else {
            (self.first.min(at), self.last.max(at))
        };
        if let Event::Payment(PaymentEvent::Opened(opened)) = event {
            self.expires_at = Some(opened.expires_at);
        }
    }

    /// What was said.
    pub fn facts(&self) -> OrderFacts {
        self.facts
    }

    /// How far the order is.
    pub fn step(&self) -> Step {
        self.facts.step()
    }

    /// When the first event was said.
    pub fn first(&self) -> Timestamp {
        self.first
    }

    /// When the last event was said: since when the order is at its step.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Until when the customer may confirm the payment, if the customer was asked to.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Until when the step should have been taken; `None` at the ends.
    pub fn due(&self) -> Option<Timestamp> {
        let step = self.step();
        let since = match (step, self.expires_at) {
            (Step::Opened, Some(expires_at)) => expires_at,
            (_, Some(_) | None) => self.last,
        };
        let patience = jiff::SignedDuration::try_from(step.patience()?).ok()?;
        since.checked_add(patience).ok()
    }

    /// Whether the step takes longer than it should.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|due| due < now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The example of an event.
    fn event(name: &EventName) -> Event {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
        let golden = std::fs::read(format!("{folder}/{}/{}.json", name.service, name.key())).unwrap();
        Event::decode(name.service, &name.key(), &golden).unwrap()
    }

    /// Folds these, and checks on the way that neither their order nor a repetition matters.
    #[track_caller]
    fn after(names: &[&EventName]) -> OrderProgress {
        let fold = |names: &mut dyn Iterator<Item = (i64, &&EventName)>| {
            let mut folded: Option<OrderProgress> = None;
            for (at, name) in names {
                let (event, at) = (event(name), second(at));
                match &mut folded {
                    None => folded = Some(OrderProgress::new(&event, at)),
                    Some(progress) => progress.hear(&event, at),
                }
            }
            folded.unwrap()
        };
        let numbered = || (0..).zip(names);
        let folded = fold(&mut numbered());
        assert_eq!(
            fold(&mut numbered().collect::<Vec<_>>().into_iter().rev()),
            folded,
            "backwards"
        );
        assert_eq!(fold(&mut numbered().chain(numbered())), folded, "twice");
        folded
    }

    #[track_caller]
    fn is(names: &[&EventName], step: Step, waits_for: &str) {
        let progress = after(names);
        assert_eq!(progress.step(), step);
        assert_eq!(
            progress.facts().waits_for(),
            (!waits_for.is_empty()).then_some(waits_for)
        );
    }

    #[test]
    fn every_step_of_the_good_way_waits_for_somebody() {
        let mut said = vec![Created::NAME];
        is(&said, Step::Created, "payment");
        said.push(Opened::NAME);
        is(&said, Step::Opened, "customer");
        said.push(Charged::NAME);
        is(&said, Step::Charged, "inventory");
        said.push(Reserved::NAME);
        is(&said, Step::Ready, "order");
        said.push(AwaitingApproval::NAME);
        is(&said, Step::AwaitingApproval, "shop owner");
        said.push(CreateDelivery::NAME);
        is(&said, Step::Confirmed, "delivery");
        said.push(Assigned::NAME);
        is(&said, Step::Assigned, "order");
        said.push(Completed::NAME);
        is(&said, Step::Completed, "");
        said.push(Delivered::NAME);
        is(&said, Step::HandedOver, "inventory");
        said.push(Shipped::NAME);
        is(&said, Step::Delivered, "");
    }

    #[test]
    fn a_delivery_may_end_when_the_log_has_lost_its_beginning() {
        is(&[Delivered::NAME], Step::HandedOver, "inventory");
        is(&[Delivered::NAME, Shipped::NAME], Step::Delivered, "");
        is(&[DeliveryFailed::NAME], Step::Cancelling, "payment");
    }

    #[test]
    fn a_failed_delivery_is_undone_after_the_completion() {
        let mut said = vec![
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            CreateDelivery::NAME,
            Assigned::NAME,
            Completed::NAME,
            DeliveryFailed::NAME,
        ];
        is(&said, Step::Cancelling, "payment");
        assert!(!after(&said).facts().has_ended());
        said.extend([Refunded::NAME, CancelOrder::NAME]);
        is(&said, Step::Settled, "order");
        said.push(OrderCancelled::NAME);
        is(&said, Step::Undoing, "inventory");
        assert!(after(&said).facts().has_ended());
        said.push(Released::NAME);
        is(&said, Step::Cancelled, "");
        assert_eq!(after(&said).facts().ending(), Some(Ending::DeliveryFailed));
        assert!(after(&said).facts().is_whole());
    }

    #[test]
    fn a_cancellation_that_comes_after_the_delivery_ends_completed() {
        let mut said = vec![
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            CreateDelivery::NAME,
            Assigned::NAME,
            CancelDelivery::NAME,
        ];
        is(&said, Step::Cancelling, "delivery");
        said.push(Delivered::NAME);
        is(&said, Step::Assigned, "order");
        said.push(Completed::NAME);
        is(&said, Step::HandedOver, "inventory");
        said.push(Shipped::NAME);
        is(&said, Step::Delivered, "");
        assert_eq!(after(&said).facts().ending(), Some(Ending::Delivered));
    }

    #[test]
    fn stock_may_come_before_money() {
        is(&[Created::NAME, Reserved::NAME], Step::Reserved, "payment");
        is(
            &[Created::NAME, Reserved::NAME, Opened::NAME],
            Step::Opened,
            "customer",
        );
        is(
            &[Created::NAME, Reserved::NAME, Charged::NAME],
            Step::Ready,
            "order",
        );
    }

    #[test]
    fn what_goes_wrong_is_settled_then_cancelled_then_undone() {
        let mut said = vec![Created::NAME, Charged::NAME, Reserved::NAME, CreateDelivery::NAME];
        said.push(NoCourier::NAME);
        is(&said, Step::Cancelling, "payment");
        said.extend([Refunded::NAME, CancelOrder::NAME]);
        is(&said, Step::Settled, "order");
        said.push(OrderCancelled::NAME);
        is(&said, Step::Undoing, "inventory");
        said.push(Released::NAME);
        is(&said, Step::Cancelled, "");

        is(
            &[Created::NAME, Charged::NAME, ReservationFailed::NAME],
            Step::Cancelling,
            "payment",
        );
        is(
            &[Created::NAME, PaymentFailed::NAME, CancelOrder::NAME],
            Step::Settled,
            "order",
        );
        is(
            &[
                Created::NAME,
                PaymentFailed::NAME,
                CancelOrder::NAME,
                OrderCancelled::NAME,
            ],
            Step::Cancelled,
            "",
        );
        // The log no longer has its beginning.
        is(&[Released::NAME], Step::Cancelled, "");
    }

    #[test]
    fn a_deadline_behind_the_charge_changes_nothing() {
        let mut said = vec![Created::NAME, Opened::NAME, Expired::NAME];
        is(&said, Step::Cancelling, "payment");
        said.push(Charged::NAME);
        is(&said, Step::Charged, "inventory");
        said.extend([Reserved::NAME, AwaitingApproval::NAME]);
        is(&said, Step::AwaitingApproval, "shop owner");
    }

    #[test]
    fn a_courier_is_called_back_before_the_money_is_settled() {
        let mut said = vec![
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            CreateDelivery::NAME,
            Assigned::NAME,
            CancelDelivery::NAME,
            DeliveryCancelled::NAME,
        ];
        is(&said, Step::Cancelling, "payment");
        said.extend([Refunded::NAME, CancelOrder::NAME, OrderCancelled::NAME]);
        is(&said, Step::Undoing, "inventory");
        said.push(Released::NAME);
        is(&said, Step::Cancelled, "");
        assert_eq!(after(&said).facts().ending(), Some(Ending::OrderCancelled));
    }

    /// As release 0.1 did it.
    #[test]
    fn a_courier_is_called_back_after_the_cancellation() {
        let said = [
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            CreateDelivery::NAME,
            Assigned::NAME,
        ];
        let off = [
            CancelPayment::NAME,
            Refunded::NAME,
            CancelOrder::NAME,
            OrderCancelled::NAME,
        ];
        is(
            &[&said[..], &off, &[Released::NAME]].concat(),
            Step::Undoing,
            "delivery",
        );
        is(
            &[&said[..], &off, &[Released::NAME, DeliveryCancelled::NAME]].concat(),
            Step::Cancelled,
            "",
        );
    }

    #[test]
    fn a_step_that_takes_too_long_is_stuck() {
        let confirmed = after(&[Created::NAME, Charged::NAME, Reserved::NAME, CreateDelivery::NAME]);
        assert_eq!(confirmed.due(), Some(second(3 + 5)));
        assert!(!confirmed.is_stuck(second(8)) && confirmed.is_stuck(second(9)));

        let opened = after(&[Created::NAME, Opened::NAME]);

        let expires_at = opened.expires_at().unwrap();
        assert!(
            !opened.is_stuck(expires_at + Duration::from_secs(5)),
            "the customer has until the deadline, the broker a little longer"
        );
        assert!(opened.is_stuck(expires_at + Duration::from_secs(6)));

        let approval = after(&[
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            AwaitingApproval::NAME,
        ]);
        assert!(!approval.is_stuck(second(86_400)), "people may sleep over it");

        let completed = after(&[Created::NAME, Completed::NAME]);
        assert!(!completed.is_stuck(second(i64::from(u32::MAX))) && completed.step().is_over());
    }

    #[test]
    fn an_order_is_whole_once_the_causes_were_heard_too() {
        let all = [
            Created::NAME,
            Charged::NAME,
            Reserved::NAME,
            CreateDelivery::NAME,
            Assigned::NAME,
            Completed::NAME,
        ];
        assert!(after(&all).facts().is_whole());
        for missing in 0..all.len() - 1 {
            let heard = all.iter().enumerate().filter(|(at, _)| *at != missing);
            let heard: Vec<_> = heard.map(|(_, name)| *name).collect();
            assert!(!after(&heard).facts().is_whole(), "{}", all[missing]);
        }
        let refunded = [
            Created::NAME,
            Charged::NAME,
            ReservationFailed::NAME,
            Refunded::NAME,
            CancelOrder::NAME,
            OrderCancelled::NAME,
        ];
        assert!(after(&refunded).facts().is_whole());
        for missing in [0, 1, 3, 4] {
            let mut heard = refunded.to_vec();
            heard.remove(missing);
            assert!(!after(&heard).facts().is_whole(), "{}", refunded[missing]);
        }
    }

    #[test]
    fn what_ends_an_order_is_either_the_good_way_or_a_setback() {
        let good = event_set![
            Created,
            Opened,
            Charged,
            Reserved,
            AwaitingApproval,
            CreateDelivery,
            Assigned,
            Completed,
            Delivered,
            Shipped
        ];
        let setbacks = EventSet::of(&SETBACKS);
        assert_eq!(setbacks.and(good), EventSet::default());
        for name in Event::names() {
            let mut facts = OrderFacts::default();
            let counts = facts.hear(&event(name));
            assert_eq!(counts, good.has(name) || setbacks.has(name), "{name}");
        }
    }
}
