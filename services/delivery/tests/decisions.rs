//! The decisions of the delivery service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{self, Scenario, TestedService, every_pair, id};
use quadrille_decision::{Refusal, Service};
use quadrille_delivery::DeliveryService;
use quadrille_delivery::decide::{Ask, Courier, Input, State, courier_of, key};
use quadrille_delivery::desk::{Desk, DeskResult, SimulatedDesk};
use quadrille_delivery::samples::samples;
use quadrille_events::*;

fn order(order_id: &str) -> Arc<Order> {
    Arc::new(testing::order(order_id))
}

fn courier(name: &str, capacity: u64, load: u64) -> (String, Courier) {
    (key(&id(name)), Courier { capacity, load })
}

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
        asked,
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

/// A courier's load is the orders they are assigned to, and never more than their capacity.
fn load_adds_up(service: &TestedService<DeliveryService>) {
    for (key, courier) in &service.records {
        let name = courier_of(key).unwrap();
        let assigned = service
            .states
            .values()
            .filter(|state| matches!(state, State::Assigned { courier_id, .. } if *courier_id == name));
        assert_eq!(assigned.count() as u64, courier.load, "{key}: {:?}", service.said);
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
    given([], [courier("carla", 3, 0)])
        .when([deliver(&order), deliver(&order)])
        .then_recording([assigned(&order, "carla")], [courier("carla", 3, 1)])
        .ignored("already assigned");
}

#[test]
fn an_order_goes_to_the_courier_with_the_lowest_load_per_capacity() {
    // Loads after each order: bob 1/2; carla 1/4; carla 2/4; then both are half full, and bob is first by name.
    let orders: Vec<_> = ["1", "2", "3", "4"].map(order).into();
    given([], [courier("carla", 4, 0), courier("bob", 2, 0)])
        .when(orders.iter().map(deliver))
        .then_recording(
            [
                assigned(&orders[0], "bob"),
                assigned(&orders[1], "carla"),
                assigned(&orders[2], "carla"),
                assigned(&orders[3], "bob"),
            ],
            [courier("carla", 4, 2), courier("bob", 2, 2)],
        );
}

#[test]
fn when_every_courier_is_busy_the_payment_is_to_be_cancelled() {
    let orders: Vec<_> = ["1", "2"].map(order).into();
    given([], [courier("carla", 1, 0), courier("dora", 0, 0)])
        .when(orders.iter().map(deliver))
        .then_recording(
            [
                assigned(&orders[0], "carla"),
                no_courier(&orders[1], "every courier is busy"),
            ],
            [courier("carla", 1, 1)],
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
    given([], [courier("carla", 3, 0)])
        .asking(refuse)
        .when([deliver(&order), deliver(&order)])
        .then([no_courier(&order, "too far")])
        .ignored("already found no courier");
}

#[test]
fn a_cancelled_order_calls_its_courier_back() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, 1)])
        .when([cancelled(&order, true), cancelled(&order, true)])
        .then_recording([called_back(&order, Some("carla"))], [courier("carla", 3, 0)])
        .ignored("already cancelled");
}

#[test]
fn a_cancellation_that_overtakes_the_request_wins() {
    let order = order("42");
    given([], [courier("carla", 3, 0)])
        .when([cancelled(&order, true), deliver(&order)])
        .then([called_back(&order, None)])
        .ignored("already cancelled");
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
        .then_recording([], [courier("carla", 3, 0)]);
    given([], [courier("carla", 3, 0)])
        .when([report("carla", 3)])
        .then([])
        .ignored("the same already");
}

#[test]
fn a_capacity_does_not_fall_below_the_load() {
    let order = order("42");
    let said = [assigned(&order, "carla")];
    given(said.clone(), [courier("carla", 3, 1)])
        .when([report("carla", 1)])
        .then_recording([], [courier("carla", 1, 1)]);
    given(said, [courier("carla", 3, 1)])
        .when([report("carla", 0)])
        .then([])
        .refused(Refusal::Conflict, "has 1 orders");
}

#[test]
fn a_courier_without_orders_is_removed_and_then_unknown() {
    given([], [courier("bob", 2, 0), courier("carla", 3, 0)])
        .when([remove("carla"), remove("carla")])
        .then_removing([], [key(&id("carla"))])
        .refused(Refusal::NotFound, "no courier `carla`");
}

#[test]
fn a_courier_with_orders_is_not_removed() {
    let order = order("42");
    given([assigned(&order, "carla")], [courier("carla", 3, 1)])
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
    assert_eq!(heard, [CreateDelivery::NAME, OrderCancelled::NAME]);
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
