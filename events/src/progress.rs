//! How far an order is, whom it waits for, and how long that should take.
//!
//! Nobody coordinates, so nobody is told how far an order is: whoever wants to know folds what was said about it. The
//! console and `quadrille stuck` do. The fold asks only *what* was said, never in which order it was heard, because the
//! EVENTS log sources many buckets and may show an effect before its cause.
//!
//! The one table of how long each step should take is [`Step::patience`].

use std::time::Duration;

use jiff::Timestamp;

use crate::{DeliveryEvent, Event, InventoryEvent, OrderEvent, PaymentEvent};

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It was placed. Whoever comes first in the flow (payment, or inventory) says what is next.
    Created,
    /// The customer is to confirm the payment, or the deadline passes.
    Opened,
    /// It is paid. Inventory is to reserve.
    Charged,
    /// It is reserved and not paid (`FLOW=reserve-first`). Payment is to charge or open.
    Reserved,
    /// It is paid and reserved. Order is to confirm it or to ask the shop owner.
    Ready,
    /// The shop owner is to approve it.
    AwaitingApproval,
    /// It is confirmed. Delivery is to assign a courier.
    Confirmed,
    /// A courier is assigned. Order is to complete it.
    Assigned,
    /// It will not be. Payment is to give back what it took.
    Cancelling,
    /// The money is settled. Order is to cancel it.
    Settled,
    /// It is cancelled. Those who had done something are to undo it.
    Undoing,
    /// The good end.
    Completed,
    /// The other end.
    Cancelled,
}

/// How long a service should take to answer an event. It takes milliseconds; a few seconds are a restart, a redelivery
/// or a slow provider.
const MACHINE: Duration = Duration::from_secs(5);
/// How long the shop owner should take: a weekend.
const SHOP_OWNER: Duration = Duration::from_secs(3 * 86_400);

impl Step {
    /// All steps, in the order in which an order meets them.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Opened,
        Self::Charged,
        Self::Reserved,
        Self::Ready,
        Self::AwaitingApproval,
        Self::Confirmed,
        Self::Assigned,
        Self::Cancelling,
        Self::Settled,
        Self::Undoing,
        Self::Completed,
        Self::Cancelled,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Opened => "opened",
            Self::Charged => "charged",
            Self::Reserved => "reserved",
            Self::Ready => "ready",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Confirmed => "confirmed",
            Self::Assigned => "assigned",
            Self::Cancelling => "cancelling",
            Self::Settled => "settled",
            Self::Undoing => "undoing",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// How long it should take; `None` for the ends. A payment that waits for its customer has the deadline that
    /// `payment.opened` names, and this much more for the broker to notice.
    pub fn patience(self) -> Option<Duration> {
        match self {
            Self::Created
            | Self::Opened
            | Self::Charged
            | Self::Reserved
            | Self::Ready
            | Self::Confirmed
            | Self::Assigned
            | Self::Cancelling
            | Self::Settled
            | Self::Undoing => Some(MACHINE),
            Self::AwaitingApproval => Some(SHOP_OWNER),
            Self::Completed | Self::Cancelled => None,
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What was said about one order, folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    said: u32,
    first: Timestamp,
    last: Timestamp,
    expires_at: Option<Timestamp>,
}

const CREATED: u32 = 1 << 0;
const AWAITING_APPROVAL: u32 = 1 << 1;
const CREATE_DELIVERY: u32 = 1 << 2;
const ORDER_CANCEL_PAYMENT: u32 = 1 << 3;
const COMPLETED: u32 = 1 << 4;
const ORDER_CANCELLED: u32 = 1 << 5;
const OPENED: u32 = 1 << 6;
const EXPIRED: u32 = 1 << 7;
const CHARGED: u32 = 1 << 8;
const FAILED: u32 = 1 << 9;
const PAYMENT_CANCELLED: u32 = 1 << 10;
const REFUNDED: u32 = 1 << 11;
const CANCEL_ORDER: u32 = 1 << 12;
const RESERVED: u32 = 1 << 13;
const RESERVATION_FAILED: u32 = 1 << 14;
const RELEASED: u32 = 1 << 15;
const ASSIGNED: u32 = 1 << 16;
const NO_COURIER: u32 = 1 << 17;
const DELIVERY_CANCELLED: u32 = 1 << 18;

/// One for each event that the order's way depends on; 0 for what others say besides, whom the order does not wait for.
fn bit(event: &Event) -> u32 {
    match event {
        Event::Order(OrderEvent::Created(_)) => CREATED,
        Event::Order(OrderEvent::AwaitingApproval(_)) => AWAITING_APPROVAL,
        Event::Order(OrderEvent::CreateDelivery(_)) => CREATE_DELIVERY,
        Event::Order(OrderEvent::CancelPayment(_)) => ORDER_CANCEL_PAYMENT,
        Event::Order(OrderEvent::Completed(_)) => COMPLETED,
        Event::Order(OrderEvent::Cancelled(_)) => ORDER_CANCELLED,
        Event::Payment(PaymentEvent::Opened(_)) => OPENED,
        Event::Payment(PaymentEvent::Expired(_)) => EXPIRED,
        Event::Payment(PaymentEvent::Charged(_)) => CHARGED,
        Event::Payment(PaymentEvent::Failed(_)) => FAILED,
        Event::Payment(PaymentEvent::Cancelled(_)) => PAYMENT_CANCELLED,
        Event::Payment(PaymentEvent::Refunded(_)) => REFUNDED,
        Event::Payment(PaymentEvent::CancelOrder(_)) => CANCEL_ORDER,
        Event::Inventory(InventoryEvent::Reserved(_)) => RESERVED,
        Event::Inventory(InventoryEvent::ReservationFailed(_)) => RESERVATION_FAILED,
        Event::Inventory(InventoryEvent::Released(_)) => RELEASED,
        Event::Delivery(DeliveryEvent::Assigned(_)) => ASSIGNED,
        Event::Delivery(DeliveryEvent::CancelPayment(_)) => NO_COURIER,
        Event::Delivery(DeliveryEvent::Cancelled(_)) => DELIVERY_CANCELLED,
    }
}

const SETBACKS: u32 = ORDER_CANCEL_PAYMENT
    | EXPIRED
    | FAILED
    | PAYMENT_CANCELLED
    | REFUNDED
    | CANCEL_ORDER
    | RESERVATION_FAILED
    | NO_COURIER;
const ENDED_BADLY: u32 = ORDER_CANCELLED | RELEASED | DELIVERY_CANCELLED;

impl Progress {
    /// How far an order is about which this alone is known to have been said.
    pub fn new(event: &Event, at: Timestamp) -> Self {
        let mut new = Self {
            said: 0,
            first: at,
            last: at,
            expires_at: None,
        };
        new.hear(event, at);
        new
    }

    /// Takes in one more event. Hearing one twice changes nothing, nor does one that the order does not depend on.
    pub fn hear(&mut self, event: &Event, at: Timestamp) {
        let bit = bit(event);
        if bit == 0 {
            return;
        }
        (self.first, self.last) = match self.said {
            0 => (at, at),
            _ => (self.first.min(at), self.last.max(at)),
        };
        self.said |= bit;
        if let Event::Payment(PaymentEvent::Opened(opened)) = event {
            self.expires_at = Some(opened.expires_at);
        }
    }

    /// How far it is.
    pub fn step(&self) -> Step {
        if self.any(COMPLETED) {
            Step::Completed
        } else if self.any(ENDED_BADLY) {
            if self.undone() {
                Step::Cancelled
            } else {
                Step::Undoing
            }
        } else if self.any(CANCEL_ORDER) {
            Step::Settled
        } else if self.any(SETBACKS) {
            Step::Cancelling
        } else if self.any(ASSIGNED) {
            Step::Assigned
        } else if self.any(CREATE_DELIVERY) {
            Step::Confirmed
        } else if self.any(AWAITING_APPROVAL) {
            Step::AwaitingApproval
        } else if self.all(CHARGED | RESERVED) {
            Step::Ready
        } else if self.any(CHARGED) {
            Step::Charged
        } else if self.any(OPENED) {
            Step::Opened
        } else if self.any(RESERVED) {
            Step::Reserved
        } else {
            Step::Created
        }
    }

    /// Whether everybody who had done something, or had been asked to, has undone it or said that there is nothing to
    /// undo.
    fn undone(&self) -> bool {
        let stock = !self.any(CHARGED | RESERVED) || self.any(RESERVATION_FAILED | RELEASED);
        let courier = !self.any(CREATE_DELIVERY | ASSIGNED) || self.any(NO_COURIER | DELIVERY_CANCELLED);
        stock && courier
    }

    /// Who is to speak next: a service, `customer` or `shop owner`; nobody at the ends.
    pub fn waits_for(&self) -> Option<&'static str> {
        match self.step() {
            // In the flow reserve-first it is inventory; what was said so far does not tell.
            Step::Created => Some("payment"),
            Step::Opened => Some("customer"),
            Step::Charged => Some("inventory"),
            Step::Reserved | Step::Cancelling => Some("payment"),
            Step::AwaitingApproval => Some("shop owner"),
            Step::Confirmed => Some("delivery"),
            Step::Ready | Step::Assigned | Step::Settled => Some("order"),
            Step::Undoing
                if self.any(CREATE_DELIVERY | ASSIGNED) && !self.any(NO_COURIER | DELIVERY_CANCELLED) =>
            {
                Some("delivery")
            }
            Step::Undoing => Some("inventory"),
            Step::Completed | Step::Cancelled => None,
        }
    }

    /// When the first of it was said.
    pub fn first(&self) -> Timestamp {
        self.first
    }

    /// When the last of it was said: since when it is at this step.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Until when its step should have been taken; `None` once it has ended.
    pub fn due(&self) -> Option<Timestamp> {
        let step = self.step();
        let since = match (step, self.expires_at) {
            (Step::Opened, Some(expires_at)) => expires_at,
            (_, Some(_) | None) => self.last,
        };
        let patience = jiff::SignedDuration::try_from(step.patience()?).ok()?;
        since.checked_add(patience).ok()
    }

    /// Whether its step takes longer than it should.
    pub fn is_stuck(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|due| due < now)
    }

    fn any(&self, bits: u32) -> bool {
        self.said & bits != 0
    }

    fn all(&self, bits: u32) -> bool {
        self.said & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::*;

    fn order() -> Arc<Order> {
        Arc::new(Order {
            order_id: "42".parse().unwrap(),
            customer_id: "ada".parse().unwrap(),
            lines: vec![Line {
                item_id: "apple".parse().unwrap(),
                quantity: 2,
                unit_price: 250,
            }],
            total: 500,
            currency: Currency::EUR,
            address: "1 Main St".to_owned(),
            payment: PaymentMode::Auto,
            approval: Approval::Auto,
        })
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Any event, by service and entry, with whatever its body needs.
    fn event(name: &str) -> Event {
        let (service, entry) = name.split_once('/').unwrap();
        let body = serde_json::json!({
            "order": order(), "reason": "why", "reference": "r", "courier_id": "grace", "charged": true,
            "delivery_requested": false, "expires_at": second(900),
        });
        Event::decode(service, entry, body.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{error}; what {name} needs is missing above, in {}", file!()))
    }

    /// Folds these, and checks on the way that neither their order nor a repetition matters.
    #[track_caller]
    fn after(names: &[&str]) -> Progress {
        let fold = |names: &mut dyn Iterator<Item = (i64, &&str)>| {
            let mut folded: Option<Progress> = None;
            for (at, name) in names {
                let (event, at) = (event(name), second(at));
                match &mut folded {
                    None => folded = Some(Progress::new(&event, at)),
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
    fn is(names: &[&str], step: Step, waits_for: &str) {
        let progress = after(names);
        assert_eq!(progress.step(), step);
        assert_eq!(progress.waits_for(), (!waits_for.is_empty()).then_some(waits_for));
    }

    #[test]
    fn every_step_of_the_good_way_waits_for_somebody() {
        let mut said = vec!["order/created"];
        is(&said, Step::Created, "payment");
        said.push("payment/opened");
        is(&said, Step::Opened, "customer");
        said.push("payment/charged");
        is(&said, Step::Charged, "inventory");
        said.push("inventory/reserved");
        is(&said, Step::Ready, "order");
        said.push("order/awaiting-approval");
        is(&said, Step::AwaitingApproval, "shop owner");
        said.push("order/create-delivery");
        is(&said, Step::Confirmed, "delivery");
        said.push("delivery/assigned");
        is(&said, Step::Assigned, "order");
        said.push("order/completed");
        is(&said, Step::Completed, "");
    }

    #[test]
    fn stock_may_come_before_money() {
        is(
            &["order/created", "inventory/reserved"],
            Step::Reserved,
            "payment",
        );
        is(
            &["order/created", "inventory/reserved", "payment/opened"],
            Step::Opened,
            "customer",
        );
        is(
            &["order/created", "inventory/reserved", "payment/charged"],
            Step::Ready,
            "order",
        );
    }

    #[test]
    fn what_goes_wrong_is_settled_then_cancelled_then_undone() {
        let mut said = vec![
            "order/created",
            "payment/charged",
            "inventory/reserved",
            "order/create-delivery",
        ];
        said.push("delivery/cancel-payment");
        is(&said, Step::Cancelling, "payment");
        said.extend(["payment/refunded", "payment/cancel-order"]);
        is(&said, Step::Settled, "order");
        said.push("order/cancelled");
        is(&said, Step::Undoing, "inventory");
        said.push("inventory/released");
        is(&said, Step::Cancelled, "");

        is(
            &["order/created", "payment/charged", "inventory/reservation-failed"],
            Step::Cancelling,
            "payment",
        );
        is(
            &["order/created", "payment/failed", "payment/cancel-order"],
            Step::Settled,
            "order",
        );
        is(
            &[
                "order/created",
                "payment/failed",
                "payment/cancel-order",
                "order/cancelled",
            ],
            Step::Cancelled,
            "",
        );
        // The log no longer has its beginning.
        is(&["inventory/released"], Step::Cancelled, "");
    }

    #[test]
    fn a_courier_is_called_back() {
        let said = [
            "order/created",
            "payment/charged",
            "inventory/reserved",
            "order/create-delivery",
            "delivery/assigned",
        ];
        let off = [
            "order/cancel-payment",
            "payment/refunded",
            "payment/cancel-order",
            "order/cancelled",
        ];
        is(
            &[&said[..], &off, &["inventory/released"]].concat(),
            Step::Undoing,
            "delivery",
        );
        is(
            &[&said[..], &off, &["inventory/released", "delivery/cancelled"]].concat(),
            Step::Cancelled,
            "",
        );
    }

    #[test]
    fn a_step_that_takes_too_long_is_stuck() {
        let confirmed = after(&[
            "order/created",
            "payment/charged",
            "inventory/reserved",
            "order/create-delivery",
        ]);
        assert_eq!(confirmed.due(), Some(second(3 + 5)));
        assert!(!confirmed.is_stuck(second(8)) && confirmed.is_stuck(second(9)));

        let opened = after(&["order/created", "payment/opened"]);
        assert!(
            !opened.is_stuck(second(905)),
            "the customer has until the deadline, the broker a little longer"
        );
        assert!(opened.is_stuck(second(906)));

        let approval = after(&[
            "order/created",
            "payment/charged",
            "inventory/reserved",
            "order/awaiting-approval",
        ]);
        assert!(!approval.is_stuck(second(86_400)), "people may sleep over it");

        let completed = after(&["order/created", "order/completed"]);
        assert!(!completed.is_stuck(second(i64::from(u32::MAX))) && completed.step().is_over());
    }

    #[test]
    fn each_event_has_a_bit_of_its_own_or_none() {
        let mut seen = 0;
        for name in Event::names() {
            let bit = bit(&event(&format!("{}/{}", name.service, name.entry)));
            assert!(bit.count_ones() <= 1 && seen & bit == 0, "{name}");
            seen |= bit;
        }
        assert_eq!(
            seen.count_ones(),
            19,
            "those of order, payment, inventory and delivery"
        );
    }
}
