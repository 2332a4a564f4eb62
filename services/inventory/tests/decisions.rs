//! The decisions of the inventory service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{Scenario, TestedService, every_pair, id, order_of};
use quadrille_decision::{Refusal, Service};
use quadrille_events::*;
use quadrille_inventory::decide::{Input, State, Stock, key};
use quadrille_inventory::samples::samples;
use quadrille_inventory::{InventoryService, Simulation};

fn order(order_id: &str, items: &[(&str, u32)]) -> Arc<Order> {
    Arc::new(order_of(order_id, items))
}

fn stock(item: &str, quantity: u64, reserved: u64) -> (String, Stock) {
    (key(&id(item)), Stock { quantity, reserved })
}

// Events.
fn reserved(order: &Arc<Order>) -> InventoryEvent {
    Reserved { order: order.clone() }.into()
}
fn failed(order: &Arc<Order>, reason: &str) -> InventoryEvent {
    ReservationFailed {
        order: order.clone(),
        reason: reason.to_owned(),
    }
    .into()
}
fn released(order: &Arc<Order>) -> InventoryEvent {
    Released { order: order.clone() }.into()
}

fn shipped(order: &Arc<Order>) -> InventoryEvent {
    Shipped { order: order.clone() }.into()
}

// Inputs.
fn reserve(order: &Arc<Order>) -> Input {
    Input::Reserve {
        order: order.clone(),
        fails: false,
    }
}
fn delivered(order: &Arc<Order>) -> Input {
    Input::Delivered(order.clone())
}
fn cancelled(order: &Arc<Order>, asked: bool) -> Input {
    Input::Cancelled {
        order: order.clone(),
        asked,
    }
}
fn put(item: &str, quantity: u64) -> Input {
    Input::Stock {
        item_id: id(item),
        quantity,
    }
}

/// The reserved quantity of each item is the sum over the orders that are reserved, and at most the quantity in stock.
fn stock_adds_up(service: &TestedService<InventoryService>) {
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    for state in service.states.values() {
        if let State::Reserved { order } = state {
            for line in &order.lines {
                *held.entry(key(&line.item_id)).or_default() += u64::from(line.quantity);
            }
        }
    }
    for (key, stock) in &service.records {
        assert!(stock.reserved <= stock.quantity, "{key}: {stock:?}");
        assert_eq!(
            held.remove(key).unwrap_or_default(),
            stock.reserved,
            "{key}: {:?}",
            service.said
        );
    }
    assert_eq!(held, BTreeMap::new(), "reserved items without a record");
}

fn given(
    said: impl IntoIterator<Item = InventoryEvent>,
    records: impl IntoIterator<Item = (String, Stock)>,
) -> Scenario<InventoryService> {
    Scenario::given(said).records(records).always(stock_adds_up)
}

#[test]
fn a_redelivered_request_reserves_once() {
    let order = order("42", &[("apple", 2)]);
    given([], [stock("apple", 10, 0)])
        .when([reserve(&order), reserve(&order)])
        .then_recording([reserved(&order)], [stock("apple", 10, 2)])
        .ignored("already reserved");
}

#[test]
fn what_is_delivered_is_neither_reserved_nor_there_any_more() {
    let order = order("42", &[("apple", 2), ("bread", 1), ("apple", 3)]);
    given([reserved(&order)], [stock("apple", 10, 5), stock("bread", 1, 1)])
        .when([delivered(&order), delivered(&order)])
        .then_recording([shipped(&order)], [stock("apple", 5, 0), stock("bread", 0, 0)])
        .ignored("already shipped");
}

#[test]
fn what_is_shipped_never_returns() {
    let order = order("42", &[("apple", 2)]);
    given([reserved(&order), shipped(&order)], [stock("apple", 8, 0)])
        .when([cancelled(&order, true)])
        .then([])
        .ignored("already shipped");
}

#[test]
fn a_simulated_failure_reserves_nothing() {
    let order = order("42", &[("apple", 2)]);
    let unlucky = Input::Reserve {
        order: order.clone(),
        fails: true,
    };
    given([], [stock("apple", 10, 0)])
        .when([unlucky])
        .then([failed(&order, "the goods are damaged (simulated)")]);
}

#[test]
fn the_simulation_lets_reservations_fail_at_its_rate_and_always_the_same_orders() {
    let simulation = |failure_rate| Simulation {
        failure_rate,
        seed: 7,
    };
    let order_id = |number: u32| id::<OrderId>(&number.to_string());
    let failing = (0..1000).filter(|number| simulation(0.5).fails(&order_id(*number)));
    assert!((400..600).contains(&failing.count()));
    assert!((0..1000).all(|number| simulation(1.0).fails(&order_id(number))));
    assert!((0..1000).all(|number| !Simulation::default().fails(&order_id(number))));

    // The wire asks it.
    let unlucky = InventoryService {
        simulation: simulation(1.0),
        ..InventoryService::default()
    };
    let order = order("42", &[("apple", 2)]);
    let charged = Charged {
        order,
        reference: "sim".to_owned(),
    };
    let mut wires = unlucky.wires().into_iter();
    let wire = wires.find(|wire| wire.name == Charged::NAME).unwrap();
    let (_, input) = wire.decode(&charged.encode()).unwrap();
    assert!(matches!(input, Input::Reserve { fails: true, .. }), "{input:?}");
}

#[test]
fn all_lines_are_reserved_or_none() {
    let order = order("42", &[("apple", 2), ("bread", 5)]);
    given([], [stock("apple", 10, 0), stock("bread", 4, 0)])
        .when([reserve(&order)])
        .then([failed(&order, "not enough of `bread`: 5 wanted, 4 available")]);
}

#[test]
fn lines_of_the_same_item_add_up() {
    let order = order("42", &[("apple", 6), ("bread", 1), ("apple", 5)]);
    let stocked = [stock("apple", 10, 0), stock("bread", 1, 0)];
    given([], stocked.clone())
        .when([reserve(&order)])
        .then([failed(&order, "not enough of `apple`: 11 wanted, 10 available")]);
    given([], stocked)
        .when([put("apple", 11), reserve(&order)])
        .then_recording([reserved(&order)], [stock("apple", 11, 11), stock("bread", 1, 1)]);
}

#[test]
fn an_item_that_was_never_stocked_is_short() {
    let order = order("42", &[("unicorn", 1)]);
    given([], [])
        .when([reserve(&order)])
        .then([failed(&order, "not enough of `unicorn`: 1 wanted, 0 available")]);
}

#[test]
fn the_last_items_go_to_one_order_only() {
    let (first, second) = (order("1", &[("apple", 2)]), order("2", &[("apple", 2)]));
    given([], [stock("apple", 3, 0)])
        .when([reserve(&first), reserve(&second)])
        .then_recording(
            [
                reserved(&first),
                failed(&second, "not enough of `apple`: 2 wanted, 1 available"),
            ],
            [stock("apple", 3, 2)],
        );
}

#[test]
fn a_cancelled_order_puts_its_goods_back() {
    let order = order("42", &[("apple", 2), ("bread", 1), ("apple", 1)]);
    given([reserved(&order)], [stock("apple", 10, 3), stock("bread", 1, 1)])
        .when([cancelled(&order, true), cancelled(&order, true)])
        .then_recording([released(&order)], [stock("apple", 10, 0), stock("bread", 1, 0)])
        .ignored("already released");
}

#[test]
fn goods_put_back_can_be_reserved_again() {
    let (first, second) = (order("1", &[("apple", 2)]), order("2", &[("apple", 2)]));
    given([], [stock("apple", 2, 0)])
        .when([reserve(&first), cancelled(&first, true), reserve(&second)])
        .then_recording(
            [reserved(&first), released(&first), reserved(&second)],
            [stock("apple", 2, 2)],
        );
}

#[test]
fn a_cancellation_that_overtakes_the_request_wins() {
    let order = order("42", &[("apple", 2)]);
    given([], [stock("apple", 10, 0)])
        .when([cancelled(&order, true), reserve(&order)])
        .then([failed(
            &order,
            "the order was cancelled before its stock was reserved",
        )])
        .ignored("already failed");
}

#[test]
fn a_cancelled_order_that_never_requested_stock_is_ignored() {
    let order = order("42", &[("apple", 2)]);
    given([], [])
        .when([cancelled(&order, false)])
        .then([])
        .ignored("nothing was asked for");
}

#[test]
fn a_failed_reservation_has_nothing_to_put_back() {
    let order = order("42", &[("apple", 2)]);
    given([failed(&order, "sold out")], [stock("apple", 1, 0)])
        .when([cancelled(&order, true)])
        .then([])
        .ignored("nothing is reserved");
}

#[test]
fn stock_is_put_in() {
    given([], [])
        .when([put("apple", 10)])
        .then_recording([], [stock("apple", 10, 0)]);
}

#[test]
fn putting_in_the_same_again_changes_nothing() {
    let order = order("42", &[("apple", 2)]);
    given([reserved(&order)], [stock("apple", 10, 2)])
        .when([put("apple", 10)])
        .then([])
        .ignored("the same already");
}

#[test]
fn stock_does_not_fall_below_what_is_reserved() {
    let order = order("42", &[("apple", 2)]);
    given([reserved(&order)], [stock("apple", 10, 2)])
        .when([put("apple", 2)])
        .then_recording([], [stock("apple", 2, 2)]);
    given([reserved(&order)], [stock("apple", 10, 2)])
        .when([put("apple", 1)])
        .then([])
        .refused(Refusal::Conflict, "2 of `apple` are reserved");
}

#[test]
fn no_quantity_overflows() {
    let hog = Arc::new(order_of("1", &[("apple", u32::MAX); MAX_LINES]));
    let all = u64::from(u32::MAX) * MAX_LINES as u64;
    given([], [stock("apple", u64::MAX, 0)])
        .when([reserve(&hog)])
        .then_recording([reserved(&hog)], [stock("apple", u64::MAX, all)]);
    let reason = format!("not enough of `apple`: {all} wanted, 0 available");
    Scenario::<InventoryService>::given([])
        .records([stock("apple", u64::MAX, u64::MAX)])
        .when([reserve(&hog)])
        .then([failed(&hog, &reason)]);
}

#[test]
fn the_flow_sets_which_event_requests_the_reservation() {
    let order = order("42", &[("apple", 2)]);
    let cancelled = OrderEvent::from(OrderCancelled {
        order,
        reason: "a reason".to_owned(),
        charged: false,
        delivery_requested: false,
    });
    for (flow, asked_by, asked_for) in [
        (Flow::PayFirst, Charged::NAME, false),
        (Flow::ReserveFirst, Created::NAME, true),
    ] {
        let service = InventoryService {
            flow,
            ..InventoryService::default()
        };
        let wires = service.wires();
        let heard: Vec<_> = wires.iter().map(|wire| wire.name).collect();
        assert_eq!(heard, [asked_by, OrderCancelled::NAME, Delivered::NAME]);
        let (_, input) = wires[1].decode(&cancelled.encode()).unwrap();
        assert!(
            matches!(input, Input::Cancelled { asked, .. } if asked == asked_for),
            "{flow:?}: {input:?}"
        );
    }
}

#[test]
fn the_decision_on_every_pair_of_state_and_input_is_the_golden_one() {
    expect_file!["pairs.txt"].assert_eq(&every_pair(&samples()));
}
