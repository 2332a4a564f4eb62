//! The decisions of the order service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{Scenario, every_pair, id, order};
use quadrille_decision::{Refusal, Service};
use quadrille_events::*;
use quadrille_order::OrderService;
use quadrille_order::decide::Input;
use quadrille_order::samples::samples;

fn auto() -> Arc<Order> {
    Arc::new(order("42"))
}

fn manual() -> Arc<Order> {
    Arc::new(Order {
        approval: Approval::Manual,
        ..order("42")
    })
}

// Events.
fn created(order: &Arc<Order>) -> OrderEvent {
    Created { order: order.clone() }.into()
}
fn awaiting_approval(order: &Arc<Order>) -> OrderEvent {
    AwaitingApproval { order: order.clone() }.into()
}
fn create_delivery(order: &Arc<Order>) -> OrderEvent {
    CreateDelivery { order: order.clone() }.into()
}
fn cancel_payment(order: &Arc<Order>) -> OrderEvent {
    CancelPayment {
        order: order.clone(),
        reason: "changed my mind".to_owned(),
    }
    .into()
}
fn cancel_delivery(order: &Arc<Order>) -> OrderEvent {
    CancelDelivery {
        order: order.clone(),
        reason: "changed my mind".to_owned(),
    }
    .into()
}
fn completed(order: &Arc<Order>) -> OrderEvent {
    Completed {
        order: order.clone(),
        courier_id: id("carla"),
    }
    .into()
}
fn cancelled(order: &Arc<Order>, charged: bool, delivery_requested: bool) -> OrderEvent {
    OrderCancelled {
        order: order.clone(),
        reason: "changed my mind".to_owned(),
        charged,
        delivery_requested,
    }
    .into()
}

// Inputs.
fn create(order: &Arc<Order>) -> Input {
    Input::Create(order.clone())
}
fn ready(order: &Arc<Order>) -> Input {
    Input::Ready(order.clone())
}
fn approve() -> Input {
    Input::Approve { order_id: id("42") }
}
fn cancel() -> Input {
    Input::Cancel {
        order_id: id("42"),
        reason: "changed my mind".to_owned(),
    }
}
fn assigned(order: &Arc<Order>) -> Input {
    Input::Assigned {
        order: order.clone(),
        courier_id: id("carla"),
    }
}
fn delivered(order: &Arc<Order>) -> Input {
    Input::Delivered {
        order: order.clone(),
        courier_id: id("carla"),
    }
}
fn cancel_order(order: &Arc<Order>, charged: bool) -> Input {
    Input::CancelOrder {
        order: order.clone(),
        reason: "changed my mind".to_owned(),
        charged,
    }
}

type OrderScenario = Scenario<OrderService>;

#[test]
fn an_order_that_is_paid_reserved_and_assigned_is_completed() {
    let order = auto();
    OrderScenario::given([])
        .when([create(&order), ready(&order), assigned(&order)])
        .then([created(&order), create_delivery(&order), completed(&order)]);
}

#[test]
fn the_same_order_placed_again_is_created_once() {
    let order = auto();
    OrderScenario::given([created(&order)])
        .when([create(&order)])
        .then([])
        .ignored("already created");
}

#[test]
fn an_order_placed_again_after_its_end_is_not_created_anew() {
    let order = auto();
    OrderScenario::given([
        created(&order),
        cancel_payment(&order),
        cancelled(&order, false, false),
    ])
    .when([create(&order)])
    .then([])
    .ignored("already created");
}

#[test]
fn a_request_that_is_sent_again_later_is_the_same_order() {
    let again = Arc::new(Order {
        placed_at: Some(jiff::Timestamp::UNIX_EPOCH),
        ..order("42")
    });
    OrderScenario::given([created(&auto())])
        .when([create(&again)])
        .then([])
        .ignored("already created");
}

#[test]
fn an_idempotency_key_used_for_another_order_is_refused() {
    let other = Arc::new(Order {
        address: "2 Main St".to_owned(),
        ..order("42")
    });
    OrderScenario::given([created(&auto())])
        .when([create(&other)])
        .then([])
        .refused(Refusal::Mismatch, "a new key");
}

#[test]
fn with_manual_approval_a_paid_and_reserved_order_waits_for_the_shop_owner() {
    let order = manual();
    OrderScenario::given([created(&order)])
        .when([ready(&order)])
        .then([awaiting_approval(&order)]);
}

#[test]
fn approval_confirms_the_order_once() {
    let order = manual();
    OrderScenario::given([created(&order), awaiting_approval(&order)])
        .when([approve(), approve()])
        .then([create_delivery(&order)])
        .ignored("already confirmed");
}

#[test]
fn approval_before_the_order_is_paid_and_reserved_is_refused() {
    OrderScenario::given([created(&manual())])
        .when([approve()])
        .then([])
        .refused(Refusal::Conflict, "not paid and reserved");
}

#[test]
fn approving_an_order_that_needs_no_approval_is_refused() {
    OrderScenario::given([created(&auto())])
        .when([approve()])
        .then([])
        .refused(Refusal::Conflict, "needs no approval");
}

#[test]
fn approving_or_cancelling_an_unknown_order_is_refused() {
    OrderScenario::given([])
        .when([approve()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
    OrderScenario::given([])
        .when([cancel()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
}

#[test]
fn a_new_order_is_cancelled_once_payment_has_cancelled() {
    let order = auto();
    OrderScenario::given([])
        .when([create(&order), cancel(), cancel_order(&order, false)])
        .then([
            created(&order),
            cancel_payment(&order),
            cancelled(&order, false, false),
        ]);
}

#[test]
fn an_order_awaiting_approval_can_be_cancelled() {
    let order = manual();
    OrderScenario::given([created(&order), awaiting_approval(&order)])
        .when([cancel(), cancel_order(&order, true), approve()])
        .then([cancel_payment(&order), cancelled(&order, true, false)])
        .refused(Refusal::Conflict, "cancelled: changed my mind");
}

#[test]
fn cancelling_a_confirmed_order_records_that_delivery_was_requested() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order)])
        .when([cancel(), cancel_order(&order, true)])
        .then([cancel_delivery(&order), cancelled(&order, true, true)]);
}

#[test]
fn a_courier_assigned_while_the_order_is_being_cancelled_does_not_complete_it() {
    let order = auto();
    for cancelling in [cancel_delivery(&order), cancel_payment(&order)] {
        OrderScenario::given([created(&order), create_delivery(&order), cancelling])
            .when([assigned(&order)])
            .then([])
            .ignored("being cancelled");
    }
}

#[test]
fn a_cancellation_that_comes_after_the_delivery_completes_the_order() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order)])
        .when([cancel(), assigned(&order), delivered(&order), cancel()])
        .then([cancel_delivery(&order), completed(&order)])
        .refused(Refusal::Conflict, "`carla` is on the way");
}

#[test]
fn a_delivery_that_is_heard_of_before_its_courier_completes_the_order() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order)])
        .when([delivered(&order), assigned(&order), cancel()])
        .then([completed(&order)])
        .refused(Refusal::Conflict, "`carla` is on the way");
}

#[test]
fn a_completed_order_is_cancelled_once_its_failed_delivery_is_refunded() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order)])
        .when([
            assigned(&order),
            cancel_order(&order, true),
            cancel_order(&order, true),
        ])
        .then([completed(&order), cancelled(&order, true, true)])
        .ignored("already cancelled");
}

#[test]
fn an_order_that_the_previous_release_was_cancelling_ends_as_payment_decided() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order), cancel_payment(&order)])
        .when([delivered(&order), cancel_order(&order, true)])
        .then([cancelled(&order, true, true)])
        .ignored("being cancelled");
}

#[test]
fn an_order_made_ready_while_it_is_being_cancelled_is_not_delivered() {
    let order = auto();
    OrderScenario::given([created(&order), cancel_payment(&order)])
        .when([ready(&order)])
        .then([])
        .ignored("being cancelled");
}

#[test]
fn cancelling_twice_asks_payment_once() {
    let order = auto();
    OrderScenario::given([created(&order)])
        .when([cancel(), cancel()])
        .then([cancel_payment(&order)])
        .ignored("already being cancelled");
}

#[test]
fn a_completed_order_cannot_be_cancelled() {
    let order = auto();
    OrderScenario::given([created(&order), create_delivery(&order), completed(&order)])
        .when([cancel()])
        .then([])
        .refused(Refusal::Conflict, "`carla` is on the way");
}

#[test]
fn an_unpaid_order_is_cancelled_in_every_state_before_completion() {
    let (auto, manual) = (auto(), manual());
    for (said, delivery_requested) in [
        (vec![created(&auto)], false),
        (vec![created(&manual), awaiting_approval(&manual)], false),
        (vec![created(&auto), create_delivery(&auto)], true),
        (vec![created(&auto), cancel_payment(&auto)], false),
        (
            vec![created(&auto), create_delivery(&auto), cancel_delivery(&auto)],
            true,
        ),
        (
            vec![created(&auto), create_delivery(&auto), cancel_payment(&auto)],
            true,
        ),
    ] {
        let order = said[0].order().expect("an event about an order").clone();
        OrderScenario::given(said)
            .when([cancel_order(&order, true)])
            .then([cancelled(&order, true, delivery_requested)]);
    }
}

#[test]
fn the_flow_sets_which_event_makes_an_order_ready() {
    let heard = |flow| -> Vec<_> {
        OrderService { flow }
            .wires()
            .iter()
            .map(|wire| wire.name)
            .collect()
    };
    assert_eq!(
        heard(Flow::PayFirst),
        [Reserved::NAME, Assigned::NAME, Delivered::NAME, CancelOrder::NAME]
    );
    assert_eq!(
        heard(Flow::ReserveFirst),
        [Charged::NAME, Assigned::NAME, Delivered::NAME, CancelOrder::NAME]
    );
}

#[test]
fn the_decision_on_every_pair_of_state_and_input_is_the_golden_one() {
    expect_file!["pairs.txt"].assert_eq(&every_pair(&samples()));
}
