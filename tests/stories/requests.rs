//! Answers of the services to invalid requests, requests that come too early, and requests to unknown paths.

use quadrille_events::{
    Assigned, Body, Charged, Completed, CreateDelivery, Created, EventName, Opened, Reserved,
};
use quadrille_local::Service::{self, Delivery, Inventory, Order, Payment};
use quadrille_local::client::{Answer, NewOrder};
use quadrille_local::shop::ShopItem;
use quadrille_tests::{PATIENCE, PAY_FIRST, World};
use reqwest::Method;
use serde_json::{Value, json};

/// Checks that an error is a problem document (RFC 9457) with this status, field and detail.
#[track_caller]
fn assert_problem(asked: &str, answer: &Answer, status: u16, field: Option<&str>, says: &str) {
    let problem = answer.json();
    let shown = format!("{asked}\nwas answered {} {}", answer.status, answer.body);
    assert_eq!(answer.status, status, "{shown}");
    assert_eq!(
        answer.headers["content-type"], "application/problem+json",
        "{shown}"
    );
    assert_eq!(problem["status"], status, "{shown}");
    assert_eq!(problem["type"], "about:blank", "{shown}");
    assert!(problem["title"].is_string(), "{shown}");
    assert_eq!(problem["field"].as_str(), field, "{shown}");
    assert!(
        problem["detail"].as_str().unwrap_or_default().contains(says),
        "should say {says:?}: {shown}"
    );
}

async fn send(world: &World, service: Service, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(Value::to_string);
    world.api().send(service, method, path, &[], body).await.unwrap()
}

/// A valid order with one change.
fn but(change: impl FnOnce(&mut Value)) -> Value {
    let order = NewOrder::new().line(2, "apple").line(1, "pear");
    let mut order = serde_json::to_value(order).unwrap();
    change(&mut order);
    order
}

#[tokio::test]
async fn an_invalid_order_is_refused_and_the_wrong_field_is_named() {
    let world = World::start().await.unwrap();
    let before = world.operator.size("order").await.unwrap().last_sequence;
    let long = |length: usize| json!("x".repeat(length));
    let line = json!({"item_id": "apple", "quantity": 1, "unit_price": 1});
    #[rustfmt::skip]
    let table: Vec<(Value, Option<&str>, &str)> = vec![
        (but(|o| o["customer_id"] = json!("")), Some("customer_id"), "must not be empty"),
        (but(|o| o["customer_id"] = json!("a.b")), Some("customer_id"), "letters, digits"),
        (but(|o| o["customer_id"] = json!("a b")), Some("customer_id"), "letters, digits"),
        (but(|o| o["customer_id"] = json!(">")), Some("customer_id"), "letters, digits"),
        (but(|o| o["customer_id"] = long(65)), Some("customer_id"), "at most 64"),
        (but(|o| o["lines"] = json!([])), Some("lines"), "must not be empty"),
        (but(|o| o["lines"] = json!(vec![line.clone(); 101])), Some("lines"), "at most 100, not 101"),
        (but(|o| o["lines"][1]["item_id"] = json!("*")), Some("lines[1].item_id"), "letters, digits"),
        (but(|o| o["lines"][1]["quantity"] = json!(0)), Some("lines[1].quantity"), "at least 1"),
        (but(|o| o["lines"][0]["unit_price"] = json!(u64::MAX)), Some("lines[0].unit_price"), "at most 9007199254740991"),
        (but(|o| o["lines"][0]["unit_price"] = json!(249)), Some("lines[0].unit_price"), "is 249, but `apple` costs 250 EUR"),
        (but(|o| o["total"] = json!(591)), Some("total"), "is 591, but the lines add up to 590"),
        (but(|o| o["currency"] = json!("EURO")), Some("currency"), "ISO 4217"),
        (but(|o| o["currency"] = json!("eur")), Some("currency"), "ISO 4217"),
        (but(|o| o["address"] = json!(" ")), Some("address"), "must not be empty"),
        (but(|o| o["address"] = long(501)), Some("address"), "at most 500 bytes"),
        (but(|o| o["lines"][0]["quantity"] = json!(-1)), Some("lines[0].quantity"), "lines[0].quantity: invalid"),
        (but(|o| o["lines"][0]["quantity"] = json!(1.5)), Some("lines[0].quantity"), "lines[0].quantity: invalid"),
        (but(|o| o["lines"][0]["quantity"] = json!("2")), Some("lines[0].quantity"), "lines[0].quantity: invalid"),
        (but(|o| o["lines"][0]["discount"] = json!(1)), Some("lines[0].discount"), "unknown field `discount`"),
        (but(|o| o["totl"] = json!(1)), Some("totl"), "unknown field `totl`"),
        (but(|o| o["payment"] = json!("later")), Some("payment"), "unknown variant `later`"),
        (but(|o| o["approval"] = json!("never")), Some("approval"), "unknown variant `never`"),
        (but(|o| drop(o.as_object_mut().unwrap().remove("address"))), None, "missing field `address`"),
    ];
    for (order, field, says) in table {
        let answer = send(&world, Order, Method::POST, "/orders/create_order", Some(&order)).await;
        assert_problem(&order.to_string(), &answer, 422, field, says);
    }
    assert_eq!(
        world.operator.size("order").await.unwrap().last_sequence,
        before,
        "no invalid order is stored"
    );
}

#[tokio::test]
async fn the_largest_valid_order_is_accepted() {
    let world = World::start().await.unwrap();
    let mut largest = NewOrder::new().by(&"c".repeat(64)).to(&"ä".repeat(250));
    for number in 0..100 {
        let item = format!("{number:0>64}");
        let (price, dear) = (90_071_992_547_409, ShopItem::new(&item, 1));
        world.api().list_item(&dear.at(price)).await.unwrap();
        largest = largest.line_at(1, &item, price);
    }
    let id = world.place(largest).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
}

/// A request (service, method, path, body), and the expected answer: status, field and a part of the detail.
type Row<'a> = (
    Service,
    Method,
    &'a str,
    Option<&'a Value>,
    u16,
    Option<&'a str>,
    &'a str,
);

#[tokio::test]
async fn an_invalid_request_is_refused_with_a_problem_document() {
    let world = World::start().await.unwrap();
    let unknown = json!({"order_id": "nobody-knows"});
    let dotted = json!({"order_id": "a.b"});
    let empty = json!({});
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        (Order, Method::POST, "/orders/confirm", Some(&unknown), 404, None, "no order `nobody-knows`"),
        (Order, Method::POST, "/orders/cancel", Some(&unknown), 404, None, "no order `nobody-knows`"),
        (Order, Method::POST, "/orders/cancel", Some(&dotted), 422, Some("order_id"), "letters, digits"),
        (Order, Method::POST, "/orders/cancel", Some(&empty), 422, None, "missing field `order_id`"),
        (Order, Method::GET, "/orders/nobody-knows", None, 404, None, "no order `nobody-knows`"),
        (Order, Method::GET, "/orders/nobody-knows/events", None, 404, None, "no order `nobody-knows`"),
        (Order, Method::GET, "/orders/a.b", None, 422, Some("order_id"), "letters, digits"),
        (Order, Method::GET, "/orders/create_order", None, 405, None, "takes no GET"),
        (Order, Method::GET, "/nowhere", None, 404, None, "there is no GET /nowhere"),
        (Payment, Method::POST, "/payments/confirm", Some(&unknown), 404, None, "nobody-knows"),
        (Payment, Method::POST, "/payments/cancel", Some(&unknown), 404, None, "nobody-knows"),
        (Payment, Method::POST, "/payments/confirm", Some(&dotted), 422, Some("order_id"), "letters, digits"),
        (Payment, Method::GET, "/payments/nobody-knows", None, 404, None, "nobody-knows"),
        (Inventory, Method::GET, "/inventory/items/griffin", None, 404, None, "no item `griffin`"),
        (Inventory, Method::PUT, "/inventory/items/a.b", Some(&empty), 422, Some("item_id"), "letters, digits"),
        (Inventory, Method::PUT, "/inventory/items/apple", Some(&empty), 422, None, "missing field `quantity`"),
        (Delivery, Method::PUT, "/couriers/a%20b", Some(&empty), 422, Some("courier_id"), "letters, digits"),
        (Delivery, Method::PUT, "/couriers/ada", Some(&unknown), 422, Some("order_id"), "unknown field `order_id`"),
        (Delivery, Method::GET, "/deliveries/nobody-knows", None, 404, None, "nobody-knows"),
        (Order, Method::GET, "/dead-letters/KV_order.1.x", None, 404, None, "no dead letter"),
        (Order, Method::POST, "/dead-letters/KV_order.*.*/retry", Some(&empty), 404, None, "no dead letter"),
    ];
    for (service, method, path, body, status, field, says) in table {
        let asked = format!("{method} {path} {body:?}");
        let answer = send(&world, service, method, path, body).await;
        assert_problem(&asked, &answer, status, field, says);
    }

    let raw = async |headers: &[(&str, &str)], body: &str| {
        let path = "/orders/create_order";
        world
            .api()
            .send(Order, Method::POST, path, headers, Some(body.to_owned()))
            .await
            .unwrap()
    };
    assert_problem("no JSON", &raw(&[], "{").await, 400, None, "EOF");
    let huge = format!("{{\"address\":\"{}\"}}", "x".repeat(300_000));
    assert_problem(
        "a huge body",
        &raw(&[], &huge).await,
        413,
        None,
        "larger than 262144 bytes",
    );
    let url = format!("{}/orders/create_order", world.api().order);
    let text = reqwest::Client::new()
        .post(url)
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(text.status().as_u16(), 415);

    // Stock and capacity cannot be set below what is in use.
    let id = world.place(NewOrder::new().line(7, "plum")).await.unwrap();
    world.ended(&id).await.unwrap();
    let too_few = world.api().put_item("plum", 6).await.unwrap_err();
    assert_eq!(too_few.status(), Some(409), "{too_few}");
    let courier = world.api().delivery(&id).await.unwrap()["courier_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let too_small = world.api().put_courier(&courier, 0).await.unwrap_err();
    assert_eq!(too_small.status(), Some(409), "{too_small}");
    world.audit().await.unwrap();
}

#[tokio::test]
async fn every_service_reports_health_readiness_and_metrics() {
    let world = World::start().await.unwrap();
    let id = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    world.ended(&id).await.unwrap();
    for service in Service::ALL {
        let health = send(&world, service, Method::GET, "/", None).await.json();
        assert_eq!(
            (&health["service"], &health["status"]),
            (&json!(service.name()), &json!("ok"))
        );
        assert_eq!(
            send(&world, service, Method::GET, "/healthz", None).await.status,
            200
        );
        assert_eq!(
            send(&world, service, Method::GET, "/readyz", None).await.status,
            200
        );
        let metrics = send(&world, service, Method::GET, "/metrics", None).await;
        assert!(metrics.body.contains("quadrille_"), "{}", metrics.body);
    }
    let check = |quantity: u64| json!({"item_id": "apple", "quantity": quantity});
    let answer = send(
        &world,
        Inventory,
        Method::POST,
        "/inventory/check",
        Some(&check(1)),
    )
    .await
    .json();
    assert_eq!(
        (&answer["status"], &answer["item_id"]),
        (&json!("available"), &json!("apple"))
    );
    let answer = send(
        &world,
        Inventory,
        Method::POST,
        "/inventory/check",
        Some(&check(10_000)),
    )
    .await
    .json();
    assert_eq!(answer["status"], "out_of_stock");
}

#[tokio::test]
async fn an_order_can_be_followed_live() {
    let world = World::start().await.unwrap();
    let id = world
        .place(NewOrder::new().line(1, "apple").paid_by_hand())
        .await
        .unwrap();
    world.said(Opened::NAME, &id).await.unwrap();
    let url = format!("{}/orders/{id}/events", world.api().order);
    let request = reqwest::Client::new()
        .get(url)
        .header("accept", "text/event-stream");
    let mut live = request.send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");

    let mut text = String::new();
    let mut hear = async |how_many: usize| {
        loop {
            let heard: Vec<String> = text
                .lines()
                .filter_map(|line| Some(line.strip_prefix("event: ")?.to_owned()))
                .collect();
            if heard.len() >= how_many {
                return heard;
            }
            let next = tokio::time::timeout(PATIENCE, live.chunk()).await;
            let chunk = next.unwrap_or_else(|_| panic!("no more than {heard:?}")).unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk.expect("the stream is open")));
        }
    };
    let subjects = |names: &[&EventName]| -> Vec<_> { names.iter().map(|name| name.subject).collect() };
    let before: &[&EventName] = match world.flow() {
        PAY_FIRST => &[Created::NAME, Opened::NAME],
        _ => &[Created::NAME, Reserved::NAME, Opened::NAME],
    };
    assert_eq!(
        hear(before.len()).await,
        subjects(before),
        "the events so far, each cause before its effect"
    );
    world.api().confirm_payment(&id).await.unwrap();
    // Live events come from four buckets, so their order can differ.
    let mut all = hear(7).await;
    all.sort();
    let expected = [
        CreateDelivery::NAME,
        Assigned::NAME,
        Reserved::NAME,
        Completed::NAME,
        Created::NAME,
        Charged::NAME,
        Opened::NAME,
    ];
    assert_eq!(all, subjects(&expected), "each event once");
    world.audit().await.unwrap();
}
