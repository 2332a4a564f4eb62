//! A check that finds nothing must have looked: each lie that a history could tell is forged, and found.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use jiff::Timestamp;
use quadrille_events::{
    CancelPayment, Charged, Created, Event, Opened, Order, OrderCancelled, OrderEvent, OrderId,
    PaymentCancelled, PaymentEvent,
};
use quadrille_faults::{Asked, EventRecord, Request, StoredOrders, check};
use quadrille_local::client::NewOrder;

const EXISTS: &str = "history: an accepted order exists, as it was placed";
const ONCE: &str = "history: an order exists once, and only if somebody placed it";
const EFFECT: &str = "history: a command that was answered 200 had its effect";
const UNASKED: &str = "history: nothing happened that nobody asked for";
const SHOWN: &str = "history: what was accepted is shown ever after";
const FINAL: &str = "history: the end of an order is final";
const HONEST: &str = "history: a service that does not know says 503";

/// What happened: requests one after the other, and what is stored.
#[derive(Default)]
struct Forgery {
    requests: Vec<Request>,
    stored: StoredOrders,
}

fn id(name: &str) -> OrderId {
    name.parse().unwrap()
}

/// The order of this name, by hand or at once; its address is its name.
fn wanted(name: &str) -> NewOrder {
    NewOrder::new().line(2, "apple").to(name).paid_by_hand()
}

fn stored_as(order_id: &str, wanted: &NewOrder) -> Arc<Order> {
    Arc::new(Order {
        order_id: id(order_id),
        customer_id: wanted.customer_id.parse().unwrap(),
        lines: wanted.lines.clone(),
        total: wanted.total,
        currency: wanted.currency.parse().unwrap(),
        address: wanted.address.clone(),
        payment: wanted.payment,
        approval: wanted.approval,
        placed_at: None,
    })
}

impl Forgery {
    fn asked(mut self, asked: Asked, name: &str, status: Option<u16>, answer: &str) -> Self {
        let sent = 10 * self.requests.len() as u64;
        let is_create = asked == Asked::Create;
        let knows_id = !is_create || status == Some(201);
        self.requests.push(Request {
            sent,
            ended: sent + 5,
            asked,
            order: is_create.then(|| wanted(name)),
            key: None,
            order_id: knows_id.then(|| id(name)),
            outcome: quadrille_faults::Answered::of(status),
            status,
            answer: answer.to_owned(),
        });
        self
    }

    fn keyed(mut self, key: &str) -> Self {
        self.requests.last_mut().unwrap().key = Some(key.to_owned());
        self
    }

    fn said(mut self, event: impl Into<Event>, cause: &str) -> Self {
        let stored = EventRecord {
            cause: cause.to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        self.stored.put(&event.into(), stored);
        self
    }

    fn order(self, name: &str) -> Self {
        let order = stored_as(name, &wanted(name));
        self.said(Event::Order(Created { order }.into()), "http/create")
    }

    fn charged(self, name: &str, cause: &str) -> Self {
        let order = stored_as(name, &wanted(name));
        let reference = "ch".to_owned();
        self.said(Event::Payment(Charged { order, reference }.into()), cause)
    }

    fn cancelled_payment(self, name: &str, cause: &str) -> Self {
        let order = stored_as(name, &wanted(name));
        let reason = "no".to_owned();
        self.said(Event::Payment(PaymentCancelled { order, reason }.into()), cause)
    }

    fn cancelling(self, name: &str) -> Self {
        let order = stored_as(name, &wanted(name));
        let reason = "no".to_owned();
        self.said(
            Event::Order(CancelPayment { order, reason }.into()),
            "http/cancel",
        )
    }

    fn cancelled(self, name: &str) -> Self {
        let order = stored_as(name, &wanted(name));
        let cancelled = OrderCancelled {
            order,
            reason: "no".to_owned(),
            charged: false,
            delivery_requested: false,
        };
        self.said(Event::Order(cancelled.into()), "payment/cancel-order.x")
    }

    #[track_caller]
    fn passes(self) {
        let found = check(&self.requests, &self.stored);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[track_caller]
    fn fails(self, claim: &str) {
        let found = check(&self.requests, &self.stored);
        let claims: Vec<_> = found.iter().map(|violation| violation.invariant).collect();
        assert!(claims.contains(&claim), "not found: {claim}; found: {found:#?}");
    }
}

fn accepted(name: &str) -> Forgery {
    Forgery::default().asked(Asked::Create, name, Some(201), "created")
}

#[test]
fn the_truth_passes() {
    accepted("a")
        .asked(Asked::Create, "refused", Some(422), "total")
        .asked(Asked::Create, "unknown-and-stored", Some(503), "send it again")
        .asked(Asked::Create, "unknown-and-not", None, "connection reset")
        .asked(Asked::ConfirmPayment, "a", None, "timed out")
        .asked(Asked::ConfirmPayment, "a", Some(200), "charged")
        .asked(Asked::CancelPayment, "a", Some(409), "charged already")
        .asked(Asked::CancelOrder, "a", Some(200), "cancelling")
        .asked(Asked::Show, "a", Some(200), "cancelling")
        .asked(Asked::Show, "a", Some(200), "cancelled")
        .asked(Asked::Show, "a", Some(503), "no answer")
        .order("a")
        .order("unknown-and-stored")
        .charged("a", "http/confirm")
        .cancelling("a")
        .cancelled("a")
        .passes();
}

#[test]
fn a_lost_order_is_found() {
    accepted("a").fails(EXISTS);
    // Somebody speaks of it, but it was never created.
    accepted("a").charged("a", "order/created.a").fails(EXISTS);
}

#[test]
fn another_order_than_was_accepted_is_found() {
    let mut other = wanted("a");
    other.total += 1;
    let created = Created {
        order: stored_as("a", &other),
    };
    accepted("a")
        .said(Event::Order(OrderEvent::from(created)), "http/create")
        .fails(EXISTS);
}

#[test]
fn an_order_that_was_refused_and_exists_is_found() {
    Forgery::default()
        .asked(Asked::Create, "a", Some(422), "total")
        .order("a")
        .fails(ONCE);
    Forgery::default().order("a").fails(ONCE);
}

#[test]
fn a_request_that_became_two_orders_is_found() {
    let twin = Created {
        order: stored_as("a2", &wanted("a")),
    };
    let twin = || Event::Order(OrderEvent::from(twin.clone()));
    accepted("a").order("a").said(twin(), "http/create").fails(ONCE);
    // One key is one order, however often it is sent.
    accepted("a")
        .keyed("k")
        .asked(Asked::Create, "a", None, "cut")
        .keyed("k")
        .order("a")
        .said(twin(), "http/create")
        .fails(ONCE);
    // Without a key the second request is a second order.
    accepted("a")
        .asked(Asked::Create, "a", None, "cut")
        .order("a")
        .said(twin(), "http/create")
        .passes();
}

#[test]
fn a_command_without_effect_is_found() {
    for asked in [
        Asked::ConfirmPayment,
        Asked::CancelPayment,
        Asked::Approve,
        Asked::CancelOrder,
    ] {
        accepted("a")
            .asked(asked, "a", Some(200), "done")
            .order("a")
            .fails(EFFECT);
        // In doubt it may have had none.
        accepted("a").asked(asked, "a", Some(503), "").order("a").passes();
    }
    // A cancelled order that is not cancelled in the end.
    accepted("a")
        .asked(Asked::CancelOrder, "a", Some(200), "cancelling")
        .order("a")
        .cancelling("a")
        .fails(EFFECT);
}

#[test]
fn an_effect_of_a_refused_command_is_found() {
    let refused = |asked| accepted("a").asked(asked, "a", Some(409), "too late").order("a");
    refused(Asked::ConfirmPayment)
        .charged("a", "http/confirm")
        .fails(UNASKED);
    refused(Asked::CancelPayment)
        .cancelled_payment("a", "http/cancel")
        .fails(UNASKED);
    refused(Asked::CancelOrder).cancelling("a").fails(UNASKED);
    // The same effect, by somebody else's doing.
    refused(Asked::CancelPayment)
        .cancelled_payment("a", "payment/expired.a")
        .passes();
    // One of two may have had it.
    refused(Asked::ConfirmPayment)
        .asked(Asked::ConfirmPayment, "a", None, "cut")
        .charged("a", "http/confirm")
        .passes();
}

#[test]
fn an_accepted_order_that_is_not_shown_is_found() {
    accepted("a")
        .asked(Asked::Show, "a", Some(404), "no such order")
        .order("a")
        .fails(SHOWN);
}

#[test]
fn an_end_that_is_not_final_is_found() {
    accepted("a")
        .asked(Asked::Show, "a", Some(200), "cancelled")
        .asked(Asked::Show, "a", Some(200), "created")
        .order("a")
        .cancelled("a")
        .fails(FINAL);
    accepted("a")
        .asked(Asked::Show, "a", Some(200), "completed")
        .order("a")
        .cancelled("a")
        .fails(FINAL);
}

#[test]
fn a_service_that_breaks_is_found() {
    accepted("a")
        .order("a")
        .asked(Asked::Show, "a", Some(500), "oops")
        .fails(HONEST);
}

#[test]
fn an_open_payment_is_no_effect() {
    let opened = Opened {
        order: stored_as("a", &wanted("a")),
        expires_at: Timestamp::UNIX_EPOCH,
    };
    accepted("a")
        .asked(Asked::ConfirmPayment, "a", Some(200), "charged")
        .order("a")
        .said(Event::Payment(PaymentEvent::from(opened)), "order/created.a")
        .fails(EFFECT);
}
