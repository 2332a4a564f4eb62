//! The decisions of the order service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{Scenario, every_pair, id, order, order_of};
use quadrille_decision::{Refusal, Service};
use quadrille_events::*;
use quadrille_order::OrderService;
use quadrille_order::decide::Input;
use quadrille_order::price::{ItemPrice, LineRequest, OrderRequest, key};
use quadrille_order::samples::{price, prices, samples};

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
    Input::Create(Arc::new(OrderRequest::from(&**order)))
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

/// Apples cost 250.
fn given(said: impl IntoIterator<Item = OrderEvent>) -> Scenario<OrderService> {
    Scenario::given(said).records(prices(&["apple"]))
}

/// The order of two apples, changed, without prices.
fn asked(change: impl FnOnce(&mut OrderRequest)) -> Input {
    let mut request = OrderRequest {
        lines: vec![LineRequest {
            item_id: id("apple"),
            quantity: 2,
            unit_price: None,
        }],
        total: None,
        ..OrderRequest::from(&order("42"))
    };
    change(&mut request);
    Input::Create(Arc::new(request))
}
fn priced(item: &str, price: ItemPrice) -> Input {
    Input::Priced {
        item_id: id(item),
        price,
    }
}

#[test]
fn a_line_without_a_price_gets_the_present_one() {
    given([]).when([asked(|_| {})]).then([created(&auto())]);
    given([])
        .when([asked(|request| {
            request.lines[0].unit_price = Some(250);
            request.total = Some(500);
        })])
        .then([created(&auto())]);
}

#[test]
fn a_wrong_price_or_total_is_refused_with_the_present_one() {
    given([])
        .when([asked(|request| request.lines[0].unit_price = Some(0))])
        .then([])
        .invalid("lines[0].unit_price", "is 0, but `apple` costs 250 EUR");
    given([])
        .when([asked(|request| request.total = Some(499))])
        .then([])
        .invalid("total", "is 499, but the lines add up to 500");
}

#[test]
fn an_item_that_is_unknown_withdrawn_or_foreign_is_refused() {
    let line = |item: &str| LineRequest {
        item_id: id(item),
        quantity: 1,
        unit_price: None,
    };
    given([])
        .when([asked(|request| request.lines.push(line("unicorn")))])
        .then([])
        .invalid("lines[1].item_id", "no item `unicorn`");
    let withdrawn = ItemPrice {
        withdrawn: true,
        ..price(2)
    };
    given([])
        .when([priced("apple", withdrawn.clone()), asked(|_| {})])
        .then_recording([], [(key(&id("apple")), withdrawn)])
        .invalid("lines[0].item_id", "`apple` is withdrawn");
    given([])
        .when([asked(|request| request.currency = Currency::JPY)])
        .then([])
        .invalid(
            "lines[0].item_id",
            "`apple` costs 250 EUR, and the order is in JPY",
        );
}

#[test]
fn an_order_above_the_largest_amount_is_refused() {
    let dear = ItemPrice {
        price: MAX_MONEY,
        ..price(1)
    };
    Scenario::<OrderService>::given([])
        .records([(key(&id("apple")), dear)])
        .when([asked(|_| {})])
        .then([])
        .invalid("lines[0].quantity", "dearer");
    given([])
        .when([asked(|request| {
            request.lines = vec![
                LineRequest {
                    item_id: id("apple"),
                    quantity: u32::MAX,
                    unit_price: None,
                };
                MAX_LINES
            ];
        })])
        .then([created(&Arc::new(order_of(
            "42",
            &[("apple", u32::MAX); MAX_LINES],
        )))]);
}

#[test]
fn a_repeated_request_gets_its_order_whatever_the_price_is_by_now() {
    let dearer = ItemPrice {
        price: 300,
        ..price(2)
    };
    let at_the_old_price = || {
        asked(|request| {
            request.lines[0].unit_price = Some(250);
            request.total = Some(500);
        })
    };
    for again in [asked(|_| {}), at_the_old_price()] {
        Scenario::<OrderService>::given([created(&auto())])
            .records([(key(&id("apple")), dearer.clone())])
            .when([again])
            .then([])
            .ignored("already created");
    }
    for other in [
        asked(|request| request.lines[0].unit_price = Some(300)),
        asked(|request| request.total = Some(600)),
        asked(|request| request.lines[0].quantity = 3),
        asked(|request| request.address.push('!')),
    ] {
        Scenario::<OrderService>::given([created(&auto())])
            .records([(key(&id("apple")), dearer.clone())])
            .when([other])
            .then([])
            .refused(Refusal::Mismatch, "another order before");
    }
}

#[test]
fn an_older_event_does_not_overwrite_a_newer_price() {
    let at = |version, cents| ItemPrice {
        price: cents,
        ..price(version)
    };
    let newest = (key(&id("apple")), at(3, 270));
    given([])
        .when([
            priced("apple", at(3, 270)),
            priced("apple", at(2, 260)),
            priced("apple", at(1, 250)),
        ])
        .then_recording([], [newest])
        .ignored("a newer price is known");
    given([])
        .when([priced("bread", at(1, 320))])
        .then_recording([], [(key(&id("bread")), at(1, 320))]);
}

#[test]
fn an_order_that_is_paid_reserved_and_assigned_is_completed() {
    let order = auto();
    given([])
        .when([create(&order), ready(&order), assigned(&order)])
        .then([created(&order), create_delivery(&order), completed(&order)]);
}

#[test]
fn the_same_order_placed_again_is_created_once() {
    let order = auto();
    given([created(&order)])
        .when([create(&order)])
        .then([])
        .ignored("already created");
}

#[test]
fn an_order_placed_again_after_its_end_is_not_created_anew() {
    let order = auto();
    given([
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
    given([created(&auto())])
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
    given([created(&auto())])
        .when([create(&other)])
        .then([])
        .refused(Refusal::Mismatch, "a new key");
}

#[test]
fn with_manual_approval_a_paid_and_reserved_order_waits_for_the_shop_owner() {
    let order = manual();
    given([created(&order)])
        .when([ready(&order)])
        .then([awaiting_approval(&order)]);
}

#[test]
fn approval_confirms_the_order_once() {
    let order = manual();
    given([created(&order), awaiting_approval(&order)])
        .when([approve(), approve()])
        .then([create_delivery(&order)])
        .ignored("already confirmed");
}

#[test]
fn approval_before_the_order_is_paid_and_reserved_is_refused() {
    given([created(&manual())])
        .when([approve()])
        .then([])
        .refused(Refusal::Conflict, "not paid and reserved");
}

#[test]
fn approving_an_order_that_needs_no_approval_is_refused() {
    given([created(&auto())])
        .when([approve()])
        .then([])
        .refused(Refusal::Conflict, "needs no approval");
}

#[test]
fn approving_or_cancelling_an_unknown_order_is_refused() {
    given([])
        .when([approve()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
    given([])
        .when([cancel()])
        .then([])
        .refused(Refusal::NotFound, "`42`");
}

#[test]
fn a_new_order_is_cancelled_once_payment_has_cancelled() {
    let order = auto();
    given([])
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
    given([created(&order), awaiting_approval(&order)])
        .when([cancel(), cancel_order(&order, true), approve()])
        .then([cancel_payment(&order), cancelled(&order, true, false)])
        .refused(Refusal::Conflict, "cancelled: changed my mind");
}

#[test]
fn cancelling_a_confirmed_order_records_that_delivery_was_requested() {
    let order = auto();
    given([created(&order), create_delivery(&order)])
        .when([cancel(), cancel_order(&order, true)])
        .then([cancel_delivery(&order), cancelled(&order, true, true)]);
}

#[test]
fn a_courier_assigned_while_the_order_is_being_cancelled_does_not_complete_it() {
    let order = auto();
    for cancelling in [cancel_delivery(&order), cancel_payment(&order)] {
        given([created(&order), create_delivery(&order), cancelling])
            .when([assigned(&order)])
            .then([])
            .ignored("being cancelled");
    }
}

#[test]
fn a_cancellation_that_comes_after_the_delivery_completes_the_order() {
    let order = auto();
    given([created(&order), create_delivery(&order)])
        .when([cancel(), assigned(&order), delivered(&order), cancel()])
        .then([cancel_delivery(&order), completed(&order)])
        .refused(Refusal::Conflict, "`carla` is on the way");
}

#[test]
fn a_delivery_that_is_heard_of_before_its_courier_completes_the_order() {
    let order = auto();
    given([created(&order), create_delivery(&order)])
        .when([delivered(&order), assigned(&order), cancel()])
        .then([completed(&order)])
        .refused(Refusal::Conflict, "`carla` is on the way");
}

#[test]
fn a_completed_order_is_cancelled_once_its_failed_delivery_is_refunded() {
    let order = auto();
    given([created(&order), create_delivery(&order)])
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
    let cancelling = || [created(&order), create_delivery(&order), cancel_payment(&order)];
    given(cancelling())
        .when([delivered(&order)])
        .then([])
        .ignored("being cancelled: the previous release asked payment before the courier arrived");
    given(cancelling())
        .when([delivered(&order), cancel_order(&order, true)])
        .then([cancelled(&order, true, true)]);
}

#[test]
fn an_order_made_ready_while_it_is_being_cancelled_is_not_delivered() {
    let order = auto();
    given([created(&order), cancel_payment(&order)])
        .when([ready(&order)])
        .then([])
        .ignored("being cancelled");
}

#[test]
fn cancelling_twice_asks_payment_once() {
    let order = auto();
    given([created(&order)])
        .when([cancel(), cancel()])
        .then([cancel_payment(&order)])
        .ignored("already being cancelled");
}

#[test]
fn a_completed_order_cannot_be_cancelled() {
    let order = auto();
    given([created(&order), create_delivery(&order), completed(&order)])
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
        given(said)
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
    let in_both = [
        Assigned::NAME,
        Delivered::NAME,
        CancelOrder::NAME,
        ItemListed::NAME,
        ItemUpdated::NAME,
        ItemWithdrawn::NAME,
    ];
    assert_eq!(heard(Flow::PayFirst), [&[Reserved::NAME], &in_both[..]].concat());
    assert_eq!(
        heard(Flow::ReserveFirst),
        [&[Charged::NAME], &in_both[..]].concat()
    );
}

#[test]
fn the_decision_on_every_pair_of_state_and_input_is_the_golden_one() {
    expect_file!["pairs.txt"].assert_eq(&every_pair(&samples()));
}
