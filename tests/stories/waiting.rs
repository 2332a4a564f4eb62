//! `Prefer: wait=N` on a new order: the answer at the door.

use std::time::{Duration, Instant};

use futures::future::join_all;
use quadrille_events::OrderId;
use quadrille_local::Service;
use quadrille_local::client::{Answer, NewOrder};
use quadrille_tests::{World, eventually};
use reqwest::Method;

fn order() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

async fn place(world: &World, order: &NewOrder, headers: &[(&str, &str)]) -> Answer {
    let body = Some(serde_json::to_string(order).unwrap());
    let path = "/orders/create_order";
    let sent = world
        .api()
        .send(Service::Order, Method::POST, path, headers, body);
    sent.await.unwrap()
}

fn id(answer: &Answer) -> OrderId {
    let location = answer.headers["location"].to_str().unwrap();
    location.strip_prefix("/orders/").unwrap().parse().unwrap()
}

const WAIT: (&str, &str) = ("Prefer", "wait=8");

#[tokio::test]
async fn the_answer_waits_for_the_end_of_the_order() {
    let world = World::start().await.unwrap();
    let completed = place(&world, &order(), &[WAIT]).await;
    assert_eq!(
        (completed.status, &completed.json()["state"]),
        (201, &"completed".into())
    );
    assert_eq!(completed.headers["preference-applied"], "wait=8");
    assert_eq!(
        world.api().order(&id(&completed)).await.unwrap().state,
        "completed"
    );

    let greedy = NewOrder::new().line(100_000, "apple");
    let refused = place(&world, &greedy, &[WAIT]).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("apple"), "{detail}");
    assert_eq!(world.api().order(&id(&refused)).await.unwrap().state, "cancelled");

    let declined = place(&world, &order().by("test-declined"), &[WAIT]).await;
    assert_eq!(declined.status, 409, "{}", declined.body);
    world.audit().await.unwrap();
}

#[tokio::test]
async fn the_answer_comes_when_a_person_is_next() {
    let world = World::start().await.unwrap();
    let to_pay = place(&world, &order().paid_by_hand(), &[WAIT]).await;
    assert_eq!(
        (to_pay.status, &to_pay.json()["waits_for"]),
        (201, &"customer".into())
    );
    world.api().confirm_payment(&id(&to_pay)).await.unwrap();
    let to_approve = place(&world, &order().approved_by_hand(), &[WAIT]).await;
    let answer = to_approve.json();
    assert_eq!(
        (to_approve.status, &answer["waits_for"]),
        (201, &"shop owner".into())
    );
    assert_eq!(answer["state"], "awaiting-approval");
}

#[tokio::test]
async fn a_repeated_request_waits_for_the_same_order() {
    let world = World::start().await.unwrap();
    let key = ("Idempotency-Key", "once");
    let to_pay = place(&world, &order().paid_by_hand(), &[key]).await;
    assert_eq!(to_pay.json()["state"], "created");
    assert!(!to_pay.headers.contains_key("preference-applied"));
    world.opened(&id(&to_pay)).await.unwrap();
    let again = place(&world, &order().paid_by_hand(), &[key, WAIT]).await;
    assert_eq!(
        (id(&again), &again.json()["waits_for"]),
        (id(&to_pay), &"customer".into())
    );
    world.api().confirm_payment(&id(&to_pay)).await.unwrap();
    world.ended(&id(&to_pay)).await.unwrap();
    let again = place(&world, &order().paid_by_hand(), &[key, WAIT]).await;
    assert_eq!((again.status, &again.json()["state"]), (201, &"completed".into()));
}

#[tokio::test]
async fn the_answer_comes_in_time_though_the_order_hangs() {
    let world = World::start().await.unwrap();
    world.kill9(Service::Delivery, 0).await.unwrap();
    let begun = Instant::now();
    let hangs = place(&world, &order(), &[("Prefer", "respond-async, wait=1")]).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((hangs.status, &hangs.json()["state"]), (201, &"confirmed".into()));
    // An hour is more than anybody may ask for.
    world.restart(Service::Delivery, 0).await.unwrap();
    let most = place(&world, &order(), &[("Prefer", "wait=3600")]).await;
    assert_eq!(most.headers["preference-applied"], "wait=10");
    world.ended(&id(&hangs)).await.unwrap();
}

#[tokio::test]
async fn of_many_orders_for_one_item_one_is_told_that_it_has_it() {
    const CUSTOMERS: usize = 200;
    let world = World::start().await.unwrap();
    eventually(async || Ok(Some(world.api().put_item("vase", 1).await?)))
        .await
        .unwrap();
    let vase = NewOrder::new().line(1, "vase");
    let placing = (0..CUSTOMERS).map(|number| {
        let (world, vase) = (&world, vase.clone().by(&format!("c{number}")));
        async move { place(world, &vase, &[("Prefer", "wait=10")]).await }
    });
    let answers = join_all(placing).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(201), of(409)), (1, CUSTOMERS - 1));
    let lucky = answers.iter().find(|answer| answer.status == 201).unwrap();
    assert_eq!(lucky.json()["state"], "completed");
    world.audit().await.unwrap();
}
