//! The decisions of the inventory service as given / when / then. Each scenario is also replayed and shuffled: see
//! `quadrille_decision::testing`.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect_file;
use quadrille_decision::testing::{Scenario, TestedService, every_pair, id, order_of};
use quadrille_decision::{Refusal, Service};
use quadrille_events::*;
use quadrille_inventory::decide::{Input, State, Stock, key};
use quadrille_inventory::item::{Expected, ItemChange};
use quadrille_inventory::samples::{item, photo, samples, whole};
use quadrille_inventory::{InventoryService, Simulation};

fn order(order_id: &str, items: &[(&str, u32)]) -> Arc<Order> {
    Arc::new(order_of(order_id, items))
}

fn stock(item: &str, quantity: u64, reserved: u64) -> (String, Stock) {
    let stock = Stock {
        quantity,
        reserved,
        withdrawn: false,
    };
    (key(&id(item)), stock)
}

fn withdrawn_stock(item: &str, quantity: u64) -> (String, Stock) {
    let (key, stock) = stock(item, quantity, 0);
    let withdrawn = true;
    (key, Stock { withdrawn, ..stock })
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
fn listed(item_id: &str, quantity: u64) -> InventoryEvent {
    ItemListed {
        item_id: id(item_id),
        version: 1,
        item: Arc::new(item(quantity)),
    }
    .into()
}
fn updated(item_id: &str, version: u64, item: Item) -> InventoryEvent {
    ItemUpdated {
        item_id: id(item_id),
        version,
        item: Arc::new(item),
    }
    .into()
}
fn withdrawn(item_id: &str, version: u64, item: Item) -> InventoryEvent {
    ItemWithdrawn {
        item_id: id(item_id),
        version,
        item: Arc::new(item),
    }
    .into()
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
    let change = ItemChange {
        quantity: Some(quantity),
        ..ItemChange::default()
    };
    put_whole(item, change, Expected::Nothing)
}
fn put_whole(item: &str, change: ItemChange, expected: Expected) -> Input {
    Input::Put {
        item_id: id(item),
        change,
        expected,
    }
}
fn reprice(item: &str, price: u64, expected: Expected) -> Input {
    Input::Change {
        item_id: id(item),
        change: ItemChange {
            price: Some(price),
            ..ItemChange::default()
        },
        expected,
    }
}
fn set_photo(item: &str, photo: Option<ItemPhoto>, expected: Expected) -> Input {
    Input::SetPhoto {
        item_id: id(item),
        photo,
        expected,
    }
}
fn withdraw(item: &str, expected: Expected) -> Input {
    Input::Withdraw {
        item_id: id(item),
        expected,
    }
}
fn version(version: u64) -> Expected {
    Expected::Versions(vec![version])
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
        assert!(!stock.withdrawn || stock.reserved == 0, "{key}: {stock:?}");
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
        .then([failed(&order, "out of stock: `bread` (5 wanted, 4 available)")]);
}

#[test]
fn lines_of_the_same_item_add_up() {
    let order = order("42", &[("apple", 6), ("bread", 1), ("apple", 5)]);
    let stocked = [stock("apple", 10, 0), stock("bread", 1, 0)];
    given([], stocked.clone())
        .when([reserve(&order)])
        .then([failed(&order, "out of stock: `apple` (11 wanted, 10 available)")]);
    given([listed("apple", 10)], stocked)
        .when([put("apple", 11), reserve(&order)])
        .then_recording(
            [updated("apple", 2, item(11)), reserved(&order)],
            [stock("apple", 11, 11), stock("bread", 1, 1)],
        );
}

#[test]
fn an_item_that_was_never_stocked_is_short() {
    let order = order("42", &[("unicorn", 1)]);
    given([], [])
        .when([reserve(&order)])
        .then([failed(&order, "out of stock: `unicorn` (1 wanted, 0 available)")]);
}

#[test]
fn the_last_items_go_to_one_order_only() {
    let (first, second) = (order("1", &[("apple", 2)]), order("2", &[("apple", 2)]));
    given([], [stock("apple", 3, 0)])
        .when([reserve(&first), reserve(&second)])
        .then_recording(
            [
                reserved(&first),
                failed(&second, "out of stock: `apple` (2 wanted, 1 available)"),
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
fn an_item_is_listed_with_its_stock() {
    let list = put_whole("apple", whole(item(10)), Expected::Absent);
    given([], [])
        .when([list.clone(), list])
        .then_recording([listed("apple", 10)], [stock("apple", 10, 0)])
        .ignored("nothing changes");
}

#[test]
fn stock_from_before_items_were_listed_is_kept() {
    let order = order("42", &[("apple", 2)]);
    let list = |quantity| put_whole("apple", whole(item(quantity)), Expected::Nothing);
    given([reserved(&order)], [stock("apple", 10, 2)])
        .when([list(12)])
        .then_recording([listed("apple", 12)], [stock("apple", 12, 2)]);
    given([reserved(&order)], [stock("apple", 10, 2)])
        .when([list(1)])
        .then([])
        .refused(Refusal::Conflict, "2 of `apple` are reserved");
}

#[test]
fn a_new_item_needs_a_name_and_a_price() {
    given([], [])
        .when([put("apple", 10)])
        .then([])
        .invalid("name", "there is no item `apple`");
    let unpriced = ItemChange {
        price: None,
        ..whole(item(10))
    };
    given([], [])
        .when([put_whole("apple", unpriced, Expected::Nothing)])
        .then([])
        .invalid("price", "there is no item `apple`");
    given([], [])
        .when([put_whole("apple", whole(item(10)), Expected::Any)])
        .then([])
        .refused(Refusal::Outdated, "there is no item");
}

#[test]
fn an_item_is_changed_only_by_whoever_has_seen_it() {
    let dearer = Item {
        price: 270,
        ..item(10)
    };
    let seen = || given([listed("apple", 10)], [stock("apple", 10, 0)]);
    let changed = [updated("apple", 2, dearer.clone())];
    seen()
        .when([reprice("apple", 270, version(1))])
        .then(changed.clone());
    seen()
        .when([
            reprice("apple", 270, version(1)),
            reprice("apple", 280, version(1)),
        ])
        .then(changed.clone())
        .refused(Refusal::Outdated, "at version 2 by now");
    seen()
        .when([reprice("apple", 270, Expected::Nothing)])
        .then([])
        .refused(Refusal::Unconditional, "If-Match");
    seen()
        .when([put_whole("apple", whole(dearer.clone()), Expected::Nothing)])
        .then([])
        .refused(Refusal::Unconditional, "`\"1\"` now");
    seen()
        .when([put_whole("apple", whole(dearer.clone()), Expected::Absent)])
        .then([])
        .refused(Refusal::Outdated, "there is an item `apple` already");
    seen()
        .when([put_whole("apple", whole(dearer), Expected::Any)])
        .then(changed);
    given([], [])
        .when([reprice("apple", 270, Expected::Any)])
        .then([])
        .refused(Refusal::NotFound, "there is no item `apple`");
}

#[test]
fn a_change_that_was_made_already_changes_nothing() {
    let dearer = Item {
        price: 270,
        ..item(10)
    };
    given(
        [listed("apple", 10), updated("apple", 2, dearer)],
        [stock("apple", 10, 0)],
    )
    .when([reprice("apple", 270, version(1))])
    .then([])
    .ignored("nothing changes");
}

#[test]
fn a_replaced_item_keeps_its_photo() {
    let photo = Some(ItemPhoto {
        digest: "ab".repeat(32),
        media_type: "image/png".to_owned(),
        size: 12,
    });
    let with_photo = |price| Item {
        price,
        photo: photo.clone(),
        ..item(10)
    };
    let replacement = Item {
        photo: None,
        ..with_photo(270)
    };
    given(
        [listed("apple", 10), updated("apple", 2, with_photo(250))],
        [stock("apple", 10, 0)],
    )
    .when([put_whole("apple", whole(replacement), version(2))])
    .then([updated("apple", 3, with_photo(270))]);
}

#[test]
fn putting_in_the_same_again_changes_nothing() {
    let order = order("42", &[("apple", 2)]);
    given([listed("apple", 10), reserved(&order)], [stock("apple", 10, 2)])
        .when([put("apple", 10)])
        .then([])
        .ignored("nothing changes");
}

#[test]
fn stock_does_not_fall_below_what_is_reserved() {
    let order = order("42", &[("apple", 2)]);
    let held = || given([listed("apple", 10), reserved(&order)], [stock("apple", 10, 2)]);
    held()
        .when([put("apple", 2)])
        .then_recording([updated("apple", 2, item(2))], [stock("apple", 2, 2)]);
    held()
        .when([put("apple", 1)])
        .then([])
        .refused(Refusal::Conflict, "2 of `apple` are reserved");
}

#[test]
fn a_photo_is_a_change_of_the_item_and_leaves_the_stock_alone() {
    let order = order("42", &[("apple", 2)]);
    let with_photo = Item {
        photo: Some(photo()),
        ..item(10)
    };
    given([listed("apple", 10)], [stock("apple", 10, 0)])
        .when([
            reserve(&order),
            set_photo("apple", Some(photo()), version(1)),
            set_photo("apple", None, Expected::Any),
        ])
        .then_recording(
            [
                reserved(&order),
                updated("apple", 2, with_photo),
                updated("apple", 3, item(10)),
            ],
            [stock("apple", 10, 2)],
        );
}

#[test]
fn a_photo_that_the_item_has_changes_nothing() {
    let with_photo = Item {
        photo: Some(photo()),
        ..item(10)
    };
    given(
        [listed("apple", 10), updated("apple", 2, with_photo)],
        [stock("apple", 10, 0)],
    )
    .when([set_photo("apple", Some(photo()), version(1))])
    .then([]);
}

#[test]
fn an_unseen_item_gets_no_photo() {
    given([listed("apple", 10)], [stock("apple", 10, 0)])
        .when([set_photo("apple", Some(photo()), Expected::Nothing)])
        .then([])
        .refused(
            Refusal::Unconditional,
            "If-Match must name the version of `apple`",
        );
}

#[test]
fn a_withdrawn_item_has_no_photo() {
    let with_photo = Item {
        photo: Some(photo()),
        ..item(10)
    };
    given(
        [listed("apple", 10), updated("apple", 2, with_photo)],
        [stock("apple", 10, 0)],
    )
    .when([
        withdraw("apple", version(2)),
        set_photo("apple", Some(photo()), Expected::Any),
    ])
    .then_recording([withdrawn("apple", 3, item(10))], [withdrawn_stock("apple", 10)])
    .refused(Refusal::Conflict, "`apple` is withdrawn for good");
}

#[test]
fn a_reserved_item_is_not_withdrawn() {
    let order = order("42", &[("apple", 2)]);
    given([listed("apple", 10)], [stock("apple", 10, 0)])
        .when([reserve(&order), withdraw("apple", Expected::Any)])
        .then_recording([reserved(&order)], [stock("apple", 10, 2)])
        .refused(Refusal::Conflict, "2 of `apple` are reserved for orders");
}

#[test]
fn a_withdrawn_item_is_reserved_by_nobody() {
    let order = order("42", &[("apple", 2)]);
    given([listed("apple", 10)], [stock("apple", 10, 0)])
        .when([withdraw("apple", version(1)), reserve(&order)])
        .then_recording(
            [
                withdrawn("apple", 2, item(10)),
                failed(&order, "`apple` is withdrawn"),
            ],
            [withdrawn_stock("apple", 10)],
        );
}

#[test]
fn an_item_is_withdrawn_for_good() {
    let gone = || {
        given(
            [listed("apple", 10), withdrawn("apple", 2, item(10))],
            [withdrawn_stock("apple", 10)],
        )
    };
    gone()
        .when([withdraw("apple", version(1))])
        .then([])
        .ignored("already withdrawn");
    for input in [
        put("apple", 20),
        put_whole("apple", whole(item(20)), Expected::Nothing),
        reprice("apple", 270, version(2)),
    ] {
        gone()
            .when([input])
            .then([])
            .refused(Refusal::Conflict, "withdrawn for good");
    }
    given([], [])
        .when([withdraw("apple", Expected::Any)])
        .then([])
        .refused(Refusal::NotFound, "there is no item `apple`");
    given([listed("apple", 10)], [stock("apple", 10, 0)])
        .when([withdraw("apple", Expected::Nothing)])
        .then([])
        .refused(Refusal::Unconditional, "If-Match");
}

#[test]
fn no_quantity_overflows() {
    let hog = Arc::new(order_of("1", &[("apple", u32::MAX); MAX_LINES]));
    let all = u64::from(u32::MAX) * MAX_LINES as u64;
    given([], [stock("apple", u64::MAX, 0)])
        .when([reserve(&hog)])
        .then_recording([reserved(&hog)], [stock("apple", u64::MAX, all)]);
    let reason = format!("out of stock: `apple` ({all} wanted, 0 available)");
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
