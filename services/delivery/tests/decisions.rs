//! The decisions of the delivery service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{self, Scenario, TestedService, every_pair, id};
use quadrille_decision::{Refusal, Service, erased};
use quadrille_delivery::DeliveryService;
use quadrille_delivery::decide::{Ask, Courier, Input, MAX_LISTED, State, courier_of, key};
use quadrille_delivery::desk::{Desk, DeskResult, SimulatedDesk};
use quadrille_delivery::samples::samples;
use quadrille_events::*;

fn order(order_id: &str) -> Arc<Order> {
    Arc::new(testing::order(order_id))
}

/// A courier who carries these orders.
fn courier(name: &str, capacity: u64, orders: &[&str]) -> (String, Courier) {
    let record = Courier {
        capacity,
        load: orders.len() as u64,
        orders: orders.iter().map(|order_id| id(order_id)).collect(),
    };
    (key(&id(name)), record)
}

/// Why orders are cancelled.
const REASON: &str = "changed my mind";

// Events.
fn assigned(order: &Arc<Order>, courier: &str) -> DeliveryEvent {
    Assigned {
        order: order.clone(),
        courier_id: id(courier),
    }
    .into()
}
fn no_courier(order: &Arc<Order>, reason: &str) -> DeliveryEvent {
    NoCourier {
        order: order.clone(),
        reason: reason.to_owned(),
    }
    .into()
}
fn called_back(order: &Arc<Order>, courier: Option<&str>) -> DeliveryEvent {
    DeliveryCancelled {
        order: order.clone(),
        courier_id: courier.map(id),
        reason: REASON.to_owned(),
    }
    .into()
}
fn delivered(order: &Arc<Order>, courier: &str) -> DeliveryEvent {
    Delivered {
        order: order.clone(),
        courier_id: id(courier),
    }
    .into()
}
fn failed(order: &Arc<Order>, courier: &str) -> DeliveryEvent {
    DeliveryFailed {
        order: order.clone(),
        courier_id: id(courier),
        reason: "nobody at home".to_owned(),
    }
    .into()
}

// Inputs.
fn deliver(order: &Arc<Order>) -> Input {
    Input::Deliver(order.clone())
}
fn cancelled(order: &Arc<Order>, asked: bool) -> Input {
    Input::Cancelled {
        order: order.clone(),
        reason: REASON.to_owned(),
        asked,
    }
}
fn cancel_delivery(order: &Arc<Order>) -> Input {
    Input::CancelDelivery {
        order: order.clone(),
        reason: REASON.to_owned(),
    }
}
fn confirm(order_id: &str) -> Input {
    Input::Confirm {
        order_id: id(order_id),
    }
}
fn fail(order_id: &str) -> Input {
    Input::Fail {
        order_id: id(order_id),
        reason: "nobody at home".to_owned(),
    }
}
fn report(name: &str, capacity: u64) -> Input {
    Input::Courier {
        courier_id: id(name),
        capacity,
    }
}
fn remove(name: &str) -> Input {
    Input::RemoveCourier { courier_id: id(name) }
}

fn accept(ask: &Ask) -> Input {
    let Ask::Desk { order } = ask.clone();
    Input::Desk {
        order,
        result: DeskResult::Accepted,
    }
}

fn refuse(ask: &Ask) -> Input {
    let Ask::Desk { order } = ask.clone();
    Input::Desk {
        order,
        result: DeskResult::Refused {
            reason: "too far".to_owned(),
        },
    }
}

/// A courier's load is the orders that are assigned and not ended, which the record lists, and never more than the capacity.
fn load_adds_up(service: &TestedService<DeliveryService>) {
    for (key, courier) in &service.records {
        let name = courier_of(key).unwrap();
        let carries = |state: &State| match state {
            State::Assigned { order, courier_id } if *courier_id == name => Some(order.order_id.clone()),
            State::None
            | State::Assigned { .. }
            | State::NoCourier { .. }
            | State::Cancelled { .. }
            | State::Delivered { .. }
            | State::Failed { .. } => None,
        };
        let assigned: BTreeSet<_> = service.states.values().filter_map(carries).collect();
        assert_eq!(assigned.len() as u64, courier.load, "{key}: {:?}", service.said);
        if courier.capacity <= MAX_LISTED {
            let listed: BTreeSet<_> = courier.orders.iter().cloned().collect();
            assert_eq!(assigned, listed, "{key}: {:?}", service.said);
        }
        assert!(courier.load <= courier.capacity, "{key}: {courier:?}");
    }
}

fn given(
    said: impl IntoIterator<Item = DeliveryEvent>,
    records: impl IntoIterator<Item = (String, Courier)>,
) -> Scenario<DeliveryService> {
    Scenario::given(said)
        .records(records)
        .asking(accept)
        .always(load_adds_up)
}

#[test]
fn a_redelivered_request_sends_one_courier() {
    let order = order("42");
    given([], [courier("carla", 3, &[])])
        .when([deliver(&order), deliver(&order)])
        .then_recording([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .ignored("already assigned");
}

#[test]
fn an_order_goes_to_the_courier_with_the_lowest_load_per_capacity() {
    // Loads after each order: bob 1/2; carla 1/4; carla 2/4; then both are half full, and bob is first by name.
    let orders: Vec<_> = ["1", "2", "3", "4"].map(order).into();
    given([], [courier("carla", 4, &[]), courier("bob", 2, &[])])
        .when(orders.iter().map(deliver))
        .then_recording(
            [
                assigned(&orders[0], "bob"),
                assigned(&orders[1], "carla"),
                assigned(&orders[2], "carla"),
                assigned(&orders[3], "bob"),
            ],
            [courier("carla", 4, &["2", "3"]), courier("bob", 2, &["1", "4"])],
        );
}

#[test]
fn when_every_courier_is_busy_the_payment_is_to_be_cancelled() {
    let orders: Vec<_> = ["1", "2"].map(order).into();
    given([], [courier("carla", 1, &[]), courier("dora", 0, &[])])
        .when(orders.iter().map(deliver))
        .then_recording(
            [
                assigned(&orders[0], "carla"),
                no_courier(&orders[1], "every courier is busy"),
            ],
            [courier("carla", 1, &["1"])],
        );
}

#[test]
fn without_couriers_the_payment_is_to_be_cancelled() {
    let order = order("42");
    given([], [])
        .when([deliver(&order)])
        .then([no_courier(&order, "there are no couriers")]);
}

#[test]
fn an_order_that_the_desk_refuses_gets_no_courier() {
    let order = order("42");
    given([], [courier("carla", 3, &[])])
        .asking(refuse)
        .when([deliver(&order), deliver(&order)])
        .then([no_courier(&order, "too far")])
        .ignored("already found no courier");
}

#[test]
fn a_cancelled_order_calls_its_courier_back() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .when([cancelled(&order, true), cancelled(&order, true)])
        .then_recording([called_back(&order, Some("carla"))], [courier("carla", 3, &[])])
        .ignored("already cancelled");
}

#[test]
fn a_cancellation_calls_the_courier_back_once() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .when([
            cancel_delivery(&order),
            cancel_delivery(&order),
            cancelled(&order, true),
        ])
        .then_recording([called_back(&order, Some("carla"))], [courier("carla", 3, &[])])
        .ignored("already cancelled");
}

#[test]
fn a_cancellation_that_overtakes_the_request_wins() {
    let order = order("42");
    for cancellation in [cancel_delivery(&order), cancelled(&order, true)] {
        given([], [courier("carla", 3, &[])])
            .when([cancellation, deliver(&order)])
            .then([called_back(&order, None)])
            .ignored("already cancelled");
    }
}

#[test]
fn a_confirmed_delivery_frees_its_courier_once() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .when([confirm("42"), confirm("42")])
        .then_recording([delivered(&order, "carla")], [courier("carla", 3, &[])])
        .ignored("already delivered");
}

#[test]
fn a_failed_delivery_frees_its_courier_once() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .when([fail("42"), fail("42")])
        .then_recording([failed(&order, "carla")], [courier("carla", 3, &[])])
        .ignored("already failed");
}

#[test]
fn a_courier_who_has_delivered_takes_the_next_order() {
    let orders: Vec<_> = ["1", "2", "3"].map(order).into();
    given([], [courier("carla", 2, &[])])
        .when([
            deliver(&orders[0]),
            deliver(&orders[1]),
            confirm("1"),
            deliver(&orders[2]),
        ])
        .then_recording(
            [
                assigned(&orders[0], "carla"),
                assigned(&orders[1], "carla"),
                delivered(&orders[0], "carla"),
                assigned(&orders[2], "carla"),
            ],
            [courier("carla", 2, &["2", "3"])],
        );
}

#[test]
fn what_is_delivered_is_not_called_back() {
    let order = order("42");
    for cancellation in [cancel_delivery(&order), cancelled(&order, true)] {
        given(
            [assigned(&order, "carla"), delivered(&order, "carla")],
            [courier("carla", 3, &[])],
        )
        .when([cancellation])
        .then([])
        .ignored("already delivered");
    }
}

#[test]
fn what_is_called_back_is_not_delivered() {
    let order = order("42");
    for late in [confirm("42"), fail("42")] {
        given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
            .when([cancel_delivery(&order), late])
            .then_recording([called_back(&order, Some("carla"))], [courier("carla", 3, &[])])
            .refused(Refusal::Conflict, "the delivery is cancelled: changed my mind");
    }
}

#[test]
fn a_delivery_ends_one_way() {
    let order = order("42");
    let said = [assigned(&order, "carla")];
    let carla = [courier("carla", 3, &["42"])];
    given(said.clone(), carla.clone())
        .when([confirm("42"), fail("42")])
        .then_recording([delivered(&order, "carla")], [courier("carla", 3, &[])])
        .refused(Refusal::Conflict, "courier `carla` has delivered the order");
    given(said, carla)
        .when([fail("42"), confirm("42")])
        .then_recording([failed(&order, "carla")], [courier("carla", 3, &[])])
        .refused(Refusal::Conflict, "the delivery has failed: nobody at home");
}

#[test]
fn a_delivery_that_nobody_makes_can_neither_be_confirmed_nor_fail() {
    let order = order("42");
    for command in [confirm("42"), fail("42")] {
        given([], [])
            .when([command.clone()])
            .then([])
            .refused(Refusal::NotFound, "no delivery of order `42`");
        given([no_courier(&order, "too far")], [])
            .when([command])
            .then([])
            .refused(Refusal::Conflict, "no courier delivers the order: too far");
    }
}

#[test]
fn the_orders_of_a_courier_without_a_usual_capacity_are_counted_and_not_listed() {
    let (first, second) = (order("1"), order("2"));
    let fleet = |load| {
        let courier = Courier {
            capacity: MAX_LISTED + 1,
            load,
            orders: Vec::new(),
        };
        (key(&id("carla")), courier)
    };
    given([assigned(&first, "carla")], [fleet(1)])
        .when([deliver(&second)])
        .then_recording([assigned(&second, "carla")], [fleet(2)]);
}

#[test]
fn a_record_of_release_0_1_has_no_list() {
    let old: Courier = erased::decode(br#"{"capacity":3,"load":1}"#);
    assert_eq!((old.capacity, old.load, old.orders.len()), (3, 1, 0));
    let order = order("42");
    Scenario::<DeliveryService>::given([assigned(&order, "carla")])
        .records([(key(&id("carla")), old)])
        .when([confirm("42")])
        .then_recording([delivered(&order, "carla")], [courier("carla", 3, &[])]);
}

#[test]
fn a_cancelled_order_that_never_requested_delivery_is_ignored() {
    let order = order("42");
    given([], [])
        .when([cancelled(&order, false)])
        .then([])
        .ignored("nothing was asked for");
}

#[test]
fn an_order_without_a_courier_has_none_to_call_back() {
    let order = order("42");
    given([no_courier(&order, "too far")], [])
        .when([cancelled(&order, true)])
        .then([])
        .ignored("no courier is on the way");
}

#[test]
fn a_courier_is_recorded_once() {
    given([], [])
        .when([report("carla", 3)])
        .then_recording([], [courier("carla", 3, &[])]);
    given([], [courier("carla", 3, &[])])
        .when([report("carla", 3)])
        .then([])
        .ignored("the same already");
}

#[test]
fn a_capacity_does_not_fall_below_the_load() {
    let order = order("42");
    let said = [assigned(&order, "carla")];
    given(said.clone(), [courier("carla", 3, &["42"])])
        .when([report("carla", 1)])
        .then_recording([], [courier("carla", 1, &["42"])]);
    given(said, [courier("carla", 3, &["42"])])
        .when([report("carla", 0)])
        .then([])
        .refused(Refusal::Conflict, "has 1 orders");
}

#[test]
fn a_courier_without_orders_is_removed_and_then_unknown() {
    given([], [courier("bob", 2, &[]), courier("carla", 3, &[])])
        .when([remove("carla"), remove("carla")])
        .then_removing([], [key(&id("carla"))])
        .refused(Refusal::NotFound, "no courier `carla`");
}

#[test]
fn a_courier_with_orders_is_not_removed() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, &["42"])])
        .when([remove("carla")])
        .then([])
        .refused(Refusal::Conflict, "has 1 orders");
}

#[test]
fn delivery_hears_the_order_service_only() {
    let service = DeliveryService {
        desk: Box::new(SimulatedDesk::default()),
    };
    let heard: Vec<_> = service.wires().iter().map(|wire| wire.name).collect();
    assert_eq!(
        heard,
        [CreateDelivery::NAME, CancelDelivery::NAME, OrderCancelled::NAME]
    );
}

#[tokio::test]
async fn the_simulated_desk_refuses_at_its_rate_and_always_the_same_orders() {
    let refused =
        async |desk: SimulatedDesk, order: &Order| desk.request(order).await != Ok(DeskResult::Accepted);
    let (always, never) = (
        SimulatedDesk {
            failure_rate: 1.0,
            seed: 0,
        },
        SimulatedDesk::default(),
    );
    let unlucky = Order {
        address: "test-no-courier, 1 Main St".to_owned(),
        ..testing::order("42")
    };
    assert!(refused(always, &testing::order("42")).await);
    assert!(!refused(never, &testing::order("42")).await);
    assert!(refused(never, &unlucky).await);
    let sometimes = SimulatedDesk {
        failure_rate: 0.5,
        seed: 7,
    };
    let mut count = 0;
    for n in 0..1000 {
        let order = testing::order(&n.to_string());
        let first = refused(sometimes, &order).await;
        assert_eq!(first, refused(sometimes, &order).await);
        count += u32::from(first);
    }
    assert!((400..600).contains(&count), "{count} of 1000");
}

#[test]
fn the_decision_on_every_pair_of_state_and_input_is_the_golden_one() {
    expect_file!["pairs.txt"].assert_eq(&every_pair(&samples()));
}
