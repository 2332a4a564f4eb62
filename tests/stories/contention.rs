//! Many orders for few items and couriers: stock and capacity are used up exactly, and never exceeded.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join;
use futures::{StreamExt, stream};
use quadrille_events::Ending;
use quadrille_local::client::{NewOrder, OrderView, until};
use quadrille_tests::{PATIENCE, World};
use serde_json::json;

fn count(ended: &[OrderView], state: &str) -> usize {
    ended.iter().filter(|order| order.state == state).count()
}

/// 130 orders of one piece each; 100 pieces are in stock.
async fn a_hot_item_is_sold_out_exactly(world: &World) {
    world.api().put_item("truffle", 100).await.unwrap();
    let done = AtomicBool::new(false);
    let orders = async {
        let ids = world
            .place_many(130, |n| NewOrder::new().by(&format!("c{n}")).line(1, "truffle"))
            .await;
        let ended = world.all_ended(&ids.unwrap()).await.unwrap();
        done.store(true, Ordering::Relaxed);
        ended
    };
    let watching = async {
        until(PATIENCE, async || {
            let item = world.api().item("truffle").await.unwrap();
            let (quantity, reserved) = (
                item["quantity"].as_u64().unwrap(),
                item["reserved"].as_u64().unwrap(),
            );
            assert!(reserved <= quantity, "{item}");
            anyhow::Ok(done.load(Ordering::Relaxed).then_some(()))
        })
        .await
        .unwrap()
    };
    let (ended, _) = join(orders, watching).await;
    assert_eq!(
        (count(&ended, "completed"), count(&ended, "cancelled")),
        (100, 30)
    );
    assert_eq!(world.api().item("truffle").await.unwrap()["available"], 0);

    // One more piece is put in, and the next order gets it.
    world.api().put_item("truffle", 101).await.unwrap();
    let id = world.place(NewOrder::new().line(1, "truffle")).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");

    let report = world.audit().await.unwrap();
    assert_eq!(
        (report.ended(Ending::Completed), report.ended(Ending::OutOfStock)),
        (101, 30)
    );
}

#[tokio::test]
async fn a_hot_item_is_sold_out_exactly_by_one_instance() {
    a_hot_item_is_sold_out_exactly(&World::start().await.unwrap()).await;
}

#[tokio::test]
async fn a_hot_item_is_sold_out_exactly_by_two_instances() {
    a_hot_item_is_sold_out_exactly(&World::with().instances(2).start().await.unwrap()).await;
}

#[tokio::test]
async fn a_hot_item_is_sold_out_exactly_in_the_reserve_first_flow() {
    a_hot_item_is_sold_out_exactly(&World::with().instances(2).reserve_first().start().await.unwrap()).await;
}

#[tokio::test]
async fn orders_of_many_lines_are_reserved_completely_or_not_at_all() {
    let world = World::with().instances(2).start().await.unwrap();
    for (item, quantity) in [("rose", 60), ("tulip", 50), ("lily", 40)] {
        world.api().put_item(item, quantity).await.unwrap();
    }
    // The lines of the orders overlap in every way, in different orders.
    let sets = [
        ["rose", "tulip"],
        ["tulip", "lily"],
        ["lily", "rose"],
        ["tulip", "rose"],
    ];
    let order = |n: usize| {
        let [first, second] = sets[n % sets.len()];
        NewOrder::new()
            .by(&format!("c{n}"))
            .line(1 + (n % 3) as u32, first)
            .line(1, second)
    };
    let ids = world.place_many(90, order).await.unwrap();
    let ended = world.all_ended(&ids).await.unwrap();
    assert!(count(&ended, "completed") > 0 && count(&ended, "cancelled") > 0);
    // The audit checks that the ledger and the orders add up.
    world.audit().await.unwrap();
}

/// As many orders as a shop has in a week, carried by ten people: each is placed when another is delivered.
#[tokio::test]
async fn ten_couriers_carry_a_thousand_orders_one_after_the_other() {
    const ORDERS: usize = 1_000;
    let world = World::with().instances(2).start_empty().await.unwrap();
    world.api().put_item("apple", ORDERS as u64).await.unwrap();
    let couriers: Vec<_> = (0..10).map(|n| format!("courier-{n}")).collect();
    for courier in &couriers {
        world.api().put_courier(courier, 3).await.unwrap();
    }
    // Thirty at a time: as many as there are hands, so that nobody is refused.
    let journeys = stream::iter(0..ORDERS).map(|n| {
        let world = &world;
        async move {
            let id = world
                .place(NewOrder::new().by(&format!("c{n}")).line(1, "apple"))
                .await
                .unwrap();
            let ended = world.ended(&id).await.unwrap();
            assert_eq!(ended.state, "completed", "{:?}", ended.reason);
            let courier = ended.rest["courier_id"].as_str().unwrap();
            let carried = world.api().courier(courier).await.unwrap();
            let orders = carried["orders"].as_array().unwrap();
            assert!(orders.contains(&json!(id)), "{carried}");
            assert!(orders.len() <= 3 && carried["load"] == orders.len(), "{carried}");
            world.api().confirm_delivery(&id).await.unwrap();
        }
    });
    journeys.buffer_unordered(30).collect::<Vec<_>>().await;
    world.settle().await.unwrap();
    for courier in &couriers {
        let carried = world.api().courier(courier).await.unwrap();
        assert_eq!((&carried["load"], &carried["orders"]), (&json!(0), &json!([])));
    }
    let report = world.audit().await.unwrap();
    assert_eq!(report.ended(Ending::Delivered), ORDERS, "{report}");
    let apples = world.api().item("apple").await.unwrap();
    assert_eq!((&apples["quantity"], &apples["reserved"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn every_courier_is_loaded_to_their_capacity() {
    let world = World::with().instances(2).start_empty().await.unwrap();
    world.api().put_item("apple", 100).await.unwrap();
    let order = |n: usize| NewOrder::new().by(&format!("c{n}")).line(1, "apple");

    let ids = world.place_many(3, order).await.unwrap();
    for ended in world.all_ended(&ids).await.unwrap() {
        assert_eq!(
            (ended.state.as_str(), ended.reason.as_deref()),
            ("cancelled", Some("there are no couriers"))
        );
    }

    world.api().put_courier("ada", 20).await.unwrap();
    world.api().put_courier("grace", 10).await.unwrap();
    let ids = world.place_many(40, |n| order(n + 3)).await.unwrap();
    // The first three repeat the idempotency keys used before, so these are the same three orders and 37 new ones.
    let ended = world.all_ended(&ids).await.unwrap();
    assert_eq!(count(&ended, "completed"), 30);
    let couriers = world.api().couriers().await.unwrap();
    for courier in couriers["couriers"].as_array().unwrap() {
        assert_eq!(courier["load"], courier["capacity"]);
    }

    let report = world.audit().await.unwrap();
    assert_eq!(
        (report.ended(Ending::Completed), report.ended(Ending::NoCourier)),
        (30, 13)
    );
}
