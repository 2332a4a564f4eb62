//! Items: listed, changed and withdrawn by the shop owner while customers order them, and the prices of orders.

use std::collections::BTreeSet;

use expect_test::expect_file;
use futures::future::{join, join_all};
use quadrille_events::{AwaitingApproval, Body, Ending, ItemId, OrderId};
use quadrille_local::Service::{Inventory, Order};
use quadrille_local::client::{Answer, NewOrder};
use quadrille_local::shop::ShopItem;
use quadrille_tests::{World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

async fn ask(
    world: &World,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let service = if path.starts_with("/inventory") {
        Inventory
    } else {
        Order
    };
    let body = body.map(|body| body.to_string());
    world
        .api()
        .send(service, method, path, headers, body)
        .await
        .unwrap()
}

/// An order of these lines as JSON, without prices.
fn unpriced(lines: &[(&str, u32)]) -> Value {
    let line = |(item_id, quantity): &(&str, u32)| json!({"item_id": item_id, "quantity": quantity});
    json!({
        "customer_id": "ada", "lines": lines.iter().map(line).collect::<Vec<_>>(),
        "currency": "EUR", "address": "1 Main St", "payment": "auto",
    })
}

async fn create(world: &World, body: &Value, key: &str) -> Answer {
    let headers = [("Idempotency-Key", key)];
    ask(
        world,
        Method::POST,
        "/orders/create_order",
        &headers,
        Some(body.clone()),
    )
    .await
}

fn order_id(answer: &Answer) -> OrderId {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["order_id"].as_str().unwrap().parse().unwrap()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, field: Option<&str>, words: &str) {
    let problem = answer.json();
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(problem["field"].as_str(), field, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
}

/// What was said about an item, a line each: the event, its version, the price and the quantity.
async fn item_story(world: &World, item_id: &str) -> String {
    world.settle().await.unwrap();
    let item_id: ItemId = item_id.parse().unwrap();
    let log = world.operator.log().await.unwrap();
    let suffix = format!(".{item_id}");
    let said = log
        .iter()
        .filter(|entry| entry.subject.starts_with("item.") && entry.subject.ends_with(&suffix));
    said.map(|entry| {
        let body: Value = serde_json::from_slice(&entry.body).unwrap();
        let (event, _) = entry.subject.rsplit_once('.').unwrap();
        let item = &body["item"];
        format!(
            "{event} {}: {} EUR cents, {} there\n",
            body["version"], item["price"], item["quantity"]
        )
    })
    .collect()
}

/// Compares the story of an order, and of the item in it, with a golden transcript.
async fn golden(world: &World, order_id: &OrderId, item_id: &str, name: &str) {
    let story = format!(
        "{}\n{}",
        world.story(order_id).await.unwrap(),
        item_story(world, item_id).await
    );
    expect_file![format!("golden/{}/{name}.txt", world.flow())].assert_eq(&story);
}

async fn a_reserved_item_cannot_be_withdrawn(world: &World) {
    let path = "/inventory/items/quince";
    let any = [("If-Match", "*")];
    world.api().put_item("quince", 5).await.unwrap();
    let order = NewOrder::new().line(2, "quince").approved_by_hand();
    let id = world.place(order).await.unwrap();
    world.said(AwaitingApproval::NAME, &id).await.unwrap();
    let withdrawal = ask(world, Method::DELETE, path, &any, None).await;
    refused(&withdrawal, 409, None, "2 of `quince` are reserved for orders");
    world.api().cancel_order(&id).await.unwrap();
    world.ended(&id).await.unwrap();
    world.settle().await.unwrap();

    // Once the reservation is released the item can be withdrawn, and nobody orders it any more.
    world.api().withdraw_item("quince").await.unwrap();
    let item = world.api().item("quince").await.unwrap();
    assert_eq!(
        (&item["status"], &item["available"]),
        (&json!("withdrawn"), &json!(0))
    );
    let late = create(world, &unpriced(&[("quince", 1)]), "late").await;
    refused(&late, 422, Some("lines[0].item_id"), "`quince` is withdrawn");
    let again = ask(world, Method::DELETE, path, &any, None).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let restocked = ask(world, Method::PUT, path, &[], Some(json!({"quantity": 9}))).await;
    refused(&restocked, 409, None, "withdrawn for good");
    golden(world, &id, "quince", "withdrawal_refused").await;
}

async fn an_order_keeps_the_price_at_which_it_was_placed(world: &World) {
    world.api().put_item("medlar", 50).await.unwrap();
    let asked = unpriced(&[("medlar", 2)]);
    let id = order_id(&create(world, &asked, "k1").await);
    world
        .api()
        .change_item("medlar", &json!({"price": 150}))
        .await
        .unwrap();

    // The same request again is the same order, whatever the price is by now; at the old price there is no other.
    assert_eq!(order_id(&create(world, &asked, "k1").await), id);
    let mut at_old_price = asked.clone();
    at_old_price["lines"][0]["unit_price"] = json!(100);
    at_old_price["total"] = json!(200);
    assert_eq!(order_id(&create(world, &at_old_price, "k1").await), id);
    let refusal = eventually(async || {
        // Another instance may know the old price for a moment.
        let late = create(world, &at_old_price, &format!("late-{}", unique())).await;
        Ok((late.status != 201).then_some(late))
    });
    let words = "is 100, but `medlar` costs 150 EUR";
    refused(&refusal.await.unwrap(), 422, Some("lines[0].unit_price"), words);
    let mut wrong_total = asked.clone();
    wrong_total["total"] = json!(201);
    let refusal = create(world, &wrong_total, "k2").await;
    refused(
        &refusal,
        422,
        Some("total"),
        "is 201, but the lines add up to 300",
    );

    // Who names the new price gets it from every instance: before a refusal the price is read again.
    let mut at_new_price = asked.clone();
    at_new_price["lines"][0]["unit_price"] = json!(150);
    let new = order_id(&create(world, &at_new_price, "k3").await);
    for (id, total) in [(&id, 200), (&new, 300)] {
        assert_eq!(world.ended(id).await.unwrap().state, "completed");
        assert_eq!(world.api().order(id).await.unwrap().rest["order"]["total"], total);
    }
    golden(world, &id, "medlar", "price_changed").await;
}

/// Numbers that no two requests of this process share.
fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn a_withdrawal_is_refused_while_the_item_is_reserved() {
    let world = World::start().await.unwrap();
    a_reserved_item_cannot_be_withdrawn(&world).await;
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_changed_price_concerns_new_orders_only() {
    let world = World::start().await.unwrap();
    an_order_keeps_the_price_at_which_it_was_placed(&world).await;
    world.audit().await.unwrap();
}

#[tokio::test]
async fn items_fare_the_same_in_the_reserve_first_flow_with_two_instances() {
    let world = World::with().instances(2).reserve_first().start().await.unwrap();
    join(
        a_reserved_item_cannot_be_withdrawn(&world),
        an_order_keeps_the_price_at_which_it_was_placed(&world),
    )
    .await;
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_order_and_a_withdrawal_at_the_same_time_do_not_both_get_the_item() {
    const ROUNDS: usize = 40;
    let world = World::with().instances(2).reserve_first().start().await.unwrap();
    let round = async |n: usize| {
        let item = format!("only-{n}");
        world.api().put_item(&item, 1).await.unwrap();
        let path = format!("/inventory/items/{item}");
        let placing = async { world.place(NewOrder::new().line(1, &item)).await };
        let withdrawing = ask(&world, Method::DELETE, &path, &[("If-Match", "*")], None);
        // In every second round the withdrawal is sent first.
        let (order, withdrawal) = if n.is_multiple_of(2) {
            join(placing, withdrawing).await
        } else {
            let (withdrawal, order) = join(withdrawing, placing).await;
            (order, withdrawal)
        };
        let ended = match order {
            Ok(id) => Some(world.ended(&id).await.unwrap()),
            // The order service has heard of the withdrawal already.
            Err(error) => {
                assert!(error.to_string().contains("is withdrawn"), "{error}");
                None
            }
        };
        let is_completed = ended.as_ref().is_some_and(|order| order.state == "completed");
        match withdrawal.status {
            200 => {
                assert!(!is_completed, "{item} is withdrawn and ordered");
                if let Some(order) = ended {
                    assert_eq!(order.reason, Some(format!("`{item}` is withdrawn")));
                }
            }
            409 => {
                assert!(is_completed, "{item} was reserved by nobody: {ended:?}");
                refused(&withdrawal, 409, None, "1 of `only-");
            }
            other => panic!("{other}: {}", withdrawal.body),
        }
    };
    join_all((0..ROUNDS).map(round)).await;
    world.audit().await.unwrap();
}

#[tokio::test]
async fn of_200_customers_one_gets_the_only_piece() {
    const CUSTOMERS: usize = 200;
    let world = World::with().instances(2).start().await.unwrap();
    world.api().put_item("painting", 1).await.unwrap();
    let placing = (0..CUSTOMERS).map(|n| {
        let order = NewOrder::new().by(&format!("c{n}")).line(1, "painting");
        world.place(order)
    });
    let ids: Result<Vec<_>, _> = join_all(placing).await.into_iter().collect();
    let ended = world.all_ended(&ids.unwrap()).await.unwrap();
    let (completed, cancelled): (Vec<_>, Vec<_>) =
        ended.into_iter().partition(|order| order.state == "completed");
    assert_eq!((completed.len(), cancelled.len()), (1, CUSTOMERS - 1));
    let reasons: BTreeSet<_> = cancelled.into_iter().map(|order| order.reason.unwrap()).collect();
    let reason = "out of stock: `painting` (1 wanted, 0 available)".to_owned();
    assert_eq!(reasons, BTreeSet::from([reason]));
    let item = world.api().item("painting").await.unwrap();
    assert_eq!(
        (&item["status"], &item["reserved"]),
        (&json!("reserved"), &json!(1))
    );
    let report = world.audit().await.unwrap();
    assert_eq!(
        (report.ended(Ending::Completed), report.ended(Ending::OutOfStock)),
        (1, CUSTOMERS - 1)
    );
}

#[tokio::test]
async fn every_instance_knows_a_new_price_soon() {
    let world = World::with().instances(2).start().await.unwrap();
    world.api().put_item("fig", 10_000).await.unwrap();
    // Each instance has the old price in memory.
    for n in 0..4 {
        order_id(&create(&world, &unpriced(&[("fig", 1)]), &format!("before-{n}")).await);
    }
    world
        .api()
        .change_item("fig", &json!({"price": 130}))
        .await
        .unwrap();
    let mut dearer = 0;
    let known = eventually(async || {
        let id = order_id(&create(&world, &unpriced(&[("fig", 1)]), &format!("after-{}", unique())).await);
        let order = world.api().order(&id).await?;
        let price = &order.rest["order"]["lines"][0]["unit_price"];
        // Once all instances know it, none goes back to the old one.
        dearer = if *price == 130 { dearer + 1 } else { 0 };
        Ok((dearer >= 20).then_some(()))
    });
    known.await.unwrap();
    world.settle().await.unwrap();
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_item_is_changed_only_by_whoever_has_seen_its_version() {
    let world = World::start().await.unwrap();
    let path = "/inventory/items/teapot";
    let whole = |price: u64| json!({"name": "Teapot", "price": price, "currency": "EUR", "quantity": 3, "tags": ["china"]});
    let missing = ask(&world, Method::PUT, path, &[], Some(json!({"quantity": 3}))).await;
    refused(&missing, 422, Some("name"), "there is no item `teapot`");
    let unlisted = ask(
        &world,
        Method::PATCH,
        path,
        &[("If-Match", "*")],
        Some(json!({"price": 3})),
    )
    .await;
    refused(&unlisted, 404, None, "there is no item `teapot`");

    let only_new = [("If-None-Match", "*")];
    let listed = ask(&world, Method::PUT, path, &only_new, Some(whole(4_900))).await;
    assert_eq!(
        (listed.status, listed.headers["etag"].to_str().unwrap()),
        (200, "\"1\"")
    );
    let again = ask(&world, Method::PUT, path, &only_new, Some(whole(4_900))).await;
    assert_eq!(
        again.status, 200,
        "the same again is no second item: {}",
        again.body
    );
    let other = ask(&world, Method::PUT, path, &only_new, Some(whole(5_000))).await;
    refused(&other, 412, None, "there is an item `teapot` already");

    let dearer = || Some(json!({"price": 5_200}));
    refused(
        &ask(&world, Method::PATCH, path, &[], dearer()).await,
        428,
        None,
        "If-Match",
    );
    refused(
        &ask(&world, Method::DELETE, path, &[], None).await,
        428,
        None,
        "If-Match",
    );
    refused(
        &ask(&world, Method::PUT, path, &[], Some(whole(5_200))).await,
        428,
        None,
        "If-Match",
    );
    let changed = ask(&world, Method::PATCH, path, &[("If-Match", "\"1\"")], dearer()).await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    assert_eq!(
        (&changed.json()["price"], &changed.json()["name"]),
        (&json!(5_200), &json!("Teapot"))
    );
    let retried = ask(&world, Method::PATCH, path, &[("If-Match", "\"1\"")], dearer()).await;
    assert_eq!(
        (retried.status, retried.headers["etag"].to_str().unwrap()),
        (200, "\"2\"")
    );
    let outdated = ask(
        &world,
        Method::PATCH,
        path,
        &[("If-Match", "\"1\"")],
        Some(json!({"price": 1})),
    )
    .await;
    refused(&outdated, 412, None, "`teapot` is at version 2 by now");

    // A quantity alone needs no version, as before items had prices.
    let stocked = ask(&world, Method::PUT, path, &[], Some(json!({"quantity": 8}))).await;
    assert_eq!((stocked.status, &stocked.json()["version"]), (200, &json!(3)));
    assert_eq!(
        item_story(&world, "teapot").await,
        "\
        item.listed 1: 4900 EUR cents, 3 there\n\
        item.updated 2: 5200 EUR cents, 3 there\n\
        item.updated 3: 5200 EUR cents, 8 there\n"
    );
    world.audit().await.unwrap();
}

#[tokio::test]
async fn items_are_listed_page_by_page() {
    let world = World::with().start_empty().await.unwrap();
    let mut listed = Vec::new();
    for n in 0..25 {
        let mut item = ShopItem::new(&format!("item-{n}"), n % 5);
        item.tags = vec![if n % 2 == 0 { "even" } else { "odd" }.to_owned()];
        world.api().list_item(&item).await.unwrap();
        listed.push(item.item_id);
    }
    world.api().withdraw_item("item-24").await.unwrap();
    // An item that is changed stays where it is.
    world
        .api()
        .change_item("item-0", &json!({"price": 777}))
        .await
        .unwrap();

    let pages = async |query: &str| {
        let (mut ids, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None);
        loop {
            let place = cursor
                .map(|cursor: u64| format!("&cursor={cursor}"))
                .unwrap_or_default();
            let page = ask(
                &world,
                Method::GET,
                &format!("/inventory/items?{query}{place}"),
                &[],
                None,
            )
            .await;
            assert_eq!(page.status, 200, "{}", page.body);
            let items = page.json()["items"].as_array().unwrap().clone();
            sizes.push(items.len());
            ids.extend(
                items
                    .iter()
                    .map(|item| item["item_id"].as_str().unwrap().to_owned()),
            );
            cursor = page.json()["next"].as_u64();
            if cursor.is_none() {
                return (ids, sizes);
            }
        }
    };
    let that = |wanted: fn(usize) -> bool| -> Vec<String> {
        listed
            .iter()
            .enumerate()
            .filter(|(n, _)| wanted(*n))
            .map(|(_, id)| id.clone())
            .collect()
    };
    assert_eq!(pages("limit=10").await, (listed.clone(), vec![10, 10, 5]));
    assert_eq!(pages("limit=25").await, (listed.clone(), vec![25]));
    assert_eq!(
        pages("limit=4&tag=odd").await,
        (that(|n| n % 2 == 1), vec![4, 4, 4, 0])
    );
    assert_eq!(pages("status=withdrawn").await.0, ["item-24"]);
    assert_eq!(pages("status=sold&limit=2").await.0, that(|n| n % 5 == 0));
    assert_eq!(
        pages("status=available&tag=even").await.0,
        that(|n| n % 5 != 0 && n % 2 == 0 && n != 24)
    );
    assert_eq!(pages("tag=none-such").await, (vec![], vec![0]));
    for (query, field) in [
        ("limit=0", Some("limit")),
        ("limit=101", Some("limit")),
        ("tag=a.b", Some("tag")),
    ] {
        let answer = ask(
            &world,
            Method::GET,
            &format!("/inventory/items?{query}"),
            &[],
            None,
        )
        .await;
        refused(&answer, 422, field, "");
    }
    let answer = ask(&world, Method::GET, "/inventory/items?status=lost", &[], None).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_order_is_placed_at_prices_of_the_shop_or_not_at_all() {
    let world = World::start().await.unwrap();
    let dollars = ShopItem {
        currency: "USD",
        ..ShopItem::new("export", 10)
    };
    world.api().list_item(&dollars).await.unwrap();
    let unknown = create(&world, &unpriced(&[("apple", 1), ("griffin", 1)]), "a").await;
    refused(&unknown, 422, Some("lines[1].item_id"), "no item `griffin`");
    let foreign = create(&world, &unpriced(&[("export", 1)]), "b").await;
    refused(
        &foreign,
        422,
        Some("lines[0].item_id"),
        "`export` costs 100 USD, and the order is in EUR",
    );
    let mut free = unpriced(&[("apple", 1)]);
    free["lines"][0]["unit_price"] = json!(0);
    let free = create(&world, &free, "c").await;
    refused(
        &free,
        422,
        Some("lines[0].unit_price"),
        "is 0, but `apple` costs 250 EUR",
    );
    let id = order_id(&create(&world, &unpriced(&[("apple", 2), ("pear", 1)]), "d").await);
    let order = world.ended(&id).await.unwrap();
    assert_eq!(
        (order.state.as_str(), &order.rest["order"]["total"]),
        ("completed", &json!(590))
    );
    assert_eq!(world.api().price("apple").await.unwrap()["price"], 250);
    world.audit().await.unwrap();
}
