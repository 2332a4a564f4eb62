//! The decisions of the payment service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use jiff::Timestamp;
use quadrille_decision::testing::{NOW, Scenario, TestedService, every_pair, id, order};
use quadrille_decision::{Deadline, Decision, Refusal, Service};
use quadrille_events::*;
use quadrille_payment::decide::{Ask, Input};
use quadrille_payment::provider::{ChargeResult, SimulatedProvider};
use quadrille_payment::samples::samples;
use quadrille_payment::{PAYMENT_DEADLINE, PaymentService};

fn auto() -> Arc<Order> {
    Arc::new(order("42"))
}

fn manual() -> Arc<Order> {
    Arc::new(Order {
        payment: PaymentMode::Manual,
        ..order("42")
    })
}

fn due() -> Timestamp {
    NOW + PAYMENT_DEADLINE
}

// Events.
fn opened(order: &Arc<Order>) -> PaymentEvent {
    Opened {
        order: order.clone(),
        expires_at: due(),
    }
    .into()
}
fn expired(order: &Arc<Order>) -> PaymentEvent {
    Expired { order: order.clone() }.into()
}
fn charged(order: &Arc<Order>) -> PaymentEvent {
    Charged {
        order: order.clone(),
        reference: "ref-1".to_owned(),
    }
    .into()
}
fn failed(order: &Arc<Order>) -> PaymentEvent {
    PaymentFailed {
        order: order.clone(),
        reason: "no funds".to_owned(),
    }
    .into()
}
fn cancelled(order: &Arc<Order>, reason: &str) -> PaymentEvent {
    PaymentCancelled {
        order: order.clone(),
        reason: reason.to_owned(),
    }
    .into()
}
fn refunded(order: &Arc<Order>, reason: &str) -> PaymentEvent {
    Refunded {
        order: order.clone(),
        reason: reason.to_owned(),
    }
    .into()
}
fn cancel_order(order: &Arc<Order>, reason: &str, charged: bool) -> PaymentEvent {
    CancelOrder {
        order: order.clone(),
        reason: reason.to_owned(),
        charged,
    }
    .into()
}

// Inputs.
fn requested(order: &Arc<Order>) -> Input {
    Input::Requested {
        order: order.clone(),
        pay_within: PAYMENT_DEADLINE,
    }
}
fn cancel_payment(order: &Arc<Order>) -> Input {
    Input::CancelPayment {
        order: order.clone(),
        reason: "changed my mind".to_owned(),
    }
}
fn reservation_failed(order: &Arc<Order>) -> Input {
    Input::ReservationFailed {
        order: order.clone(),
        reason: "sold out".to_owned(),
    }
}
fn deadline(order: &Arc<Order>) -> Input {
    Input::Expired { order: order.clone() }
}
fn voiding(order: &Arc<Order>) -> Input {
    Input::Voiding { order: order.clone() }
}
fn confirm() -> Input {
    Input::Confirm { order_id: id("42") }
}
fn cancel() -> Input {
    Input::Cancel {
        order_id: id("42"),
        reason: "too expensive".to_owned(),
    }
}
fn approved(order: &Arc<Order>) -> Input {
    Input::Charge {
        order: order.clone(),
        result: ChargeResult::Approved {
            reference: "ref-1".to_owned(),
        },
    }
}
fn declined(order: &Arc<Order>) -> Input {
    Input::Charge {
        order: order.clone(),
        result: ChargeResult::Declined {
            reason: "no funds".to_owned(),
        },
    }
}

/// A provider that approves every charge.
fn willing(ask: &Ask) -> Input {
    match ask.clone() {
        Ask::Charge { order } => approved(&order),
        Ask::Refund { order, reason } => Input::Refund { order, reason },
        Ask::Void { order } => Input::Void { order },
    }
}

/// A provider that declines every charge.
fn unwilling(ask: &Ask) -> Input {
    match ask {
        Ask::Charge { order } => declined(order),
        Ask::Refund { .. } | Ask::Void { .. } => willing(ask),
    }
}

/// A payment ends at most once; `cancel-order` is said with every end but `charged`; only a charged payment is refunded.
fn one_end(service: &TestedService<PaymentService>) {
    let said = |wanted: fn(&PaymentEvent) -> bool| service.said.iter().filter(|event| wanted(event)).count();
    let charged = said(|event| matches!(event, PaymentEvent::Charged(_)));
    let failed = said(|event| matches!(event, PaymentEvent::Failed(_)));
    let cancelled = said(|event| matches!(event, PaymentEvent::Cancelled(_)));
    let refunded = said(|event| matches!(event, PaymentEvent::Refunded(_)));
    let cancel_order = said(|event| matches!(event, PaymentEvent::CancelOrder(_)));
    assert!(charged + failed + cancelled <= 1, "{:?}", service.said);
    assert!(refunded <= charged, "{:?}", service.said);
    assert_eq!(cancel_order, failed + cancelled + refunded, "{:?}", service.said);
    let opened = said(|event| matches!(event, PaymentEvent::Opened(_)));
    assert!(
        service.deadlines.is_empty() || opened == 1 && charged + failed + cancelled == 0,
        "a deadline is left"
    );
}

fn given(said: impl IntoIterator<Item = PaymentEvent>) -> Scenario<PaymentService> {
    Scenario::given(said).asking(willing).always(one_end)
}

#[test]
fn a_redelivered_charge_request_charges_once() {
    let order = auto();
    given([])
        .when([requested(&order), requested(&order)])
        .then([charged(&order)])
        .ignored("already charged");
}

#[test]
fn a_manual_payment_waits_for_its_customer_until_the_deadline() {
    let order = manual();
    given([])
        .when([requested(&order)])
        .then([opened(&order)])
        .deadlines([(due(), expired(&order))]);
}

#[test]
fn a_deadline_too_late_for_a_timestamp_is_the_last_timestamp() {
    let order = manual();
    let opened = Opened {
        order: order.clone(),
        expires_at: Timestamp::MAX,
    }
    .into();
    given([])
        .when([Input::Requested {
            order,
            pay_within: Duration::MAX,
        }])
        .then([opened]);
}

#[test]
fn confirming_charges_and_removes_the_deadline() {
    let order = manual();
    given([])
        .when([requested(&order), confirm()])
        .then([opened(&order), charged(&order)])
        .deadlines([]);
}

#[test]
fn confirming_twice_charges_once() {
    let order = manual();
    given([opened(&order)])
        .when([confirm(), confirm()])
        .then([charged(&order)])
        .ignored("already charged");
}

#[test]
fn a_declined_payment_asks_to_cancel_the_order() {
    let order = auto();
    given([]).asking(unwilling).when([requested(&order)]).then([
        failed(&order),
        cancel_order(&order, "the payment was declined: no funds", false),
    ]);
}

#[test]
fn confirming_a_declined_payment_again_gives_the_reason_again() {
    let order = manual();
    given([opened(&order)])
        .asking(unwilling)
        .when([confirm(), confirm()])
        .then([
            failed(&order),
            cancel_order(&order, "the payment was declined: no funds", false),
        ])
        .refused(Refusal::Conflict, "the payment was declined: no funds")
        .deadlines([]);
}

#[test]
fn a_customer_cancels_an_open_payment() {
    let order = manual();
    given([])
        .when([requested(&order), cancel(), voiding(&order)])
        .then([
            opened(&order),
            cancelled(&order, "too expensive"),
            cancel_order(&order, "too expensive", false),
        ])
        .ignored("nothing is held")
        .deadlines([]);
}

#[test]
fn confirming_a_cancelled_payment_is_too_late() {
    let order = manual();
    given([opened(&order)])
        .when([cancel(), cancel_payment(&order), confirm()])
        .then([
            cancelled(&order, "too expensive"),
            cancel_order(&order, "too expensive", false),
        ])
        .refused(Refusal::Conflict, "the payment is cancelled: too expensive");
}

#[test]
fn a_charged_payment_is_not_cancelled_but_the_order_can_be() {
    let order = auto();
    given([charged(&order)])
        .when([cancel()])
        .then([])
        .refused(Refusal::Conflict, "POST /orders/cancel");
}

#[test]
fn confirming_or_cancelling_an_unknown_payment_is_refused() {
    given([])
        .when([confirm()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
    given([])
        .when([cancel()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
}

#[test]
fn a_payment_that_is_not_confirmed_in_time_is_cancelled() {
    let order = manual();
    let reason = "the payment was not confirmed in time";
    given([opened(&order), expired(&order)])
        .when([deadline(&order), confirm()])
        .then([cancelled(&order, reason), cancel_order(&order, reason, false)])
        .refused(Refusal::Conflict, reason);
}

#[test]
fn confirming_between_the_deadline_and_the_cancellation_is_too_late() {
    let order = manual();
    given([opened(&order), expired(&order)])
        .when([confirm()])
        .then([])
        .refused(Refusal::Conflict, "in time");
}

#[test]
fn a_charge_overtaken_by_the_deadline_is_not_recorded_but_voided() {
    let order = manual();
    let reason = "the payment was not confirmed in time";
    given([opened(&order), expired(&order)])
        .when([approved(&order), deadline(&order), voiding(&order)])
        .then([cancelled(&order, reason), cancel_order(&order, reason, false)]);
    asks_to_void(&[opened(&order), expired(&order), cancelled(&order, reason)]);
}

#[test]
fn a_charge_overtaken_by_a_cancellation_is_not_recorded_but_voided() {
    let order = auto();
    given([])
        .when([cancel_payment(&order), approved(&order)])
        .then([
            cancelled(&order, "changed my mind"),
            cancel_order(&order, "changed my mind", false),
        ])
        .ignored("gives back");
    asks_to_void(&[cancelled(&order, "changed my mind")]);
}

#[test]
fn a_confirmation_at_the_deadline_is_refused_before_the_provider_is_called() {
    let order = manual();
    let opened = Opened {
        order: order.clone(),
        expires_at: NOW + Duration::from_millis(50),
    };
    Scenario::<PaymentService>::given([opened.into()])
        .when([Input::Confirm {
            order_id: order.order_id.clone(),
        }])
        .then([])
        .refused(Refusal::Conflict, "had to be confirmed before");
}

#[track_caller]
fn asks_to_void(said: &[PaymentEvent]) {
    let service = TestedService::<PaymentService>::new(said, &BTreeMap::new());
    let order = said[0].order().expect("an event about an order");
    assert!(matches!(
        service.decide(&voiding(order)),
        Decision::Ask(Ask::Void { .. })
    ));
}

#[test]
fn a_deadline_that_fires_after_the_charge_changes_nothing() {
    let order = manual();
    given([opened(&order), charged(&order), expired(&order)])
        .when([deadline(&order), confirm()])
        .then([])
        .ignored("already charged");
}

#[test]
fn a_cancellation_that_overtakes_the_request_wins() {
    for order in [auto(), manual()] {
        given([])
            .when([cancel_payment(&order), requested(&order)])
            .then([
                cancelled(&order, "changed my mind"),
                cancel_order(&order, "changed my mind", false),
            ])
            .ignored("already cancelled");
    }
}

#[test]
fn a_cancelled_order_is_refunded_once() {
    let order = auto();
    given([])
        .when([requested(&order), cancel_payment(&order), cancel_payment(&order)])
        .then([
            charged(&order),
            refunded(&order, "changed my mind"),
            cancel_order(&order, "changed my mind", true),
        ])
        .ignored("already refunded");
}

#[test]
fn two_reasons_to_refund_refund_once() {
    let order = auto();
    given([charged(&order)])
        .when([reservation_failed(&order), cancel_payment(&order)])
        .then([
            refunded(&order, "sold out"),
            cancel_order(&order, "sold out", true),
        ]);
}

#[test]
fn a_failed_reservation_before_the_payment_cancels_it() {
    let order = manual();
    given([]).when([reservation_failed(&order)]).then([
        cancelled(&order, "sold out"),
        cancel_order(&order, "sold out", false),
    ]);
}

#[test]
fn cancelling_an_order_cancels_its_open_payment_and_removes_the_deadline() {
    let order = manual();
    given([])
        .when([requested(&order), cancel_payment(&order)])
        .then([
            opened(&order),
            cancelled(&order, "changed my mind"),
            cancel_order(&order, "changed my mind", false),
        ])
        .deadlines([]);
}

#[test]
fn only_the_end_of_an_open_payment_removes_the_deadline() {
    let order = manual();
    for (said, expected) in [
        (vec![], Deadline::Keep),
        (vec![opened(&order)], Deadline::Clear),
        (vec![opened(&order), expired(&order)], Deadline::Keep),
    ] {
        match TestedService::<PaymentService>::new(&said, &BTreeMap::new()).decide(&cancel_payment(&order)) {
            Decision::Say(say) => assert_eq!(say.deadline, expected),
            Decision::Ask(_) | Decision::Ignore(_) | Decision::Refuse(_) => panic!("nothing is said"),
        }
    }
}

#[test]
fn the_flow_sets_which_event_requests_the_payment() {
    let heard = |flow| -> Vec<_> {
        let provider = Box::new(SimulatedProvider::default());
        let service = PaymentService {
            flow,
            pay_within: PAYMENT_DEADLINE,
            provider,
        };
        service.wires().iter().map(|wire| wire.name).collect()
    };
    let always = [
        ReservationFailed::NAME,
        CancelPayment::NAME,
        NoCourier::NAME,
        DeliveryCancelled::NAME,
        DeliveryFailed::NAME,
        Expired::NAME,
        PaymentCancelled::NAME,
    ];
    assert_eq!(heard(Flow::PayFirst)[0], Created::NAME);
    assert_eq!(heard(Flow::PayFirst)[1..], always);
    assert_eq!(heard(Flow::ReserveFirst)[0], Reserved::NAME);
    assert_eq!(heard(Flow::ReserveFirst)[1..], always);
}

#[test]
fn the_decision_on_every_pair_of_state_and_input_is_the_golden_one() {
    expect_file!["pairs.txt"].assert_eq(&every_pair(&samples()));
}

#[test]
fn what_delivery_calls_off_is_refunded() {
    let service = PaymentService {
        flow: Flow::PayFirst,
        pay_within: PAYMENT_DEADLINE,
        provider: Box::new(SimulatedProvider::default()),
    };
    let order = auto();
    let called_off = [
        DeliveryEvent::from(DeliveryCancelled {
            order: order.clone(),
            courier_id: None,
            reason: "late".to_owned(),
        }),
        DeliveryEvent::from(DeliveryFailed {
            order: order.clone(),
            courier_id: id("carla"),
            reason: "late".to_owned(),
        }),
    ];
    for event in called_off {
        let mut wires = service.wires().into_iter();
        let wire = wires.find(|wire| wire.name == event.name()).unwrap();
        let (_, input) = wire.decode(&event.encode()).unwrap();
        given([charged(&order)])
            .when([input])
            .then([refunded(&order, "late"), cancel_order(&order, "late", true)]);
    }
}
