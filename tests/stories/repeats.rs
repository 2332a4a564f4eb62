//! A request that a client repeats takes effect once, and gets the same answer.

use quadrille_events::{AwaitingApproval, Body, Opened};
use std::collections::BTreeSet;

use futures::future::join_all;
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::World;
use reqwest::Method;

fn order() -> NewOrder {
    NewOrder::new().line(2, "apple")
}

#[tokio::test]
async fn a_hundred_requests_with_one_key_are_one_order() {
    let world = World::with().instances(2).start().await.unwrap();
    let body = serde_json::to_string(&order()).unwrap();
    let ask = async || {
        let headers = [("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
        let path = "/orders/create_order";
        let answer = world
            .api()
            .send(Service::Order, Method::POST, path, &headers, Some(body.clone()))
            .await
            .unwrap();
        (answer.status, answer.body)
    };
    let answers: BTreeSet<_> = join_all((0..100).map(|_| ask())).await.into_iter().collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (status, answer) = answers.into_iter().next().unwrap();
    assert_eq!(status, 201, "{answer}");

    // After the order has completed the answer is still the same.
    let id = serde_json::from_str::<serde_json::Value>(&answer).unwrap()["order_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    assert_eq!(ask().await, (201, answer));

    assert_eq!(world.audit().await.unwrap().orders, 1);
}

#[tokio::test]
async fn an_idempotency_key_identifies_one_order_of_one_customer() {
    let world = World::start().await.unwrap();
    let first = world
        .api()
        .create_order_once(&order(), "k1")
        .await
        .unwrap()
        .order_id;
    let other = world
        .api()
        .create_order_once(&order().line(1, "pear"), "k1")
        .await
        .unwrap_err();
    assert_eq!(other.status(), Some(422), "{other}");
    assert!(
        other.to_string().contains("a new order needs a new key"),
        "{other}"
    );

    let bobs = world
        .api()
        .create_order_once(&order().by("bob"), "k1")
        .await
        .unwrap()
        .order_id;
    let second = world
        .api()
        .create_order_once(&order(), "k2")
        .await
        .unwrap()
        .order_id;
    let without = [
        world.place(order()).await.unwrap(),
        world.place(order()).await.unwrap(),
    ];
    let ids: BTreeSet<_> = [first, bobs, second].into_iter().chain(without).collect();
    assert_eq!(ids.len(), 5, "five orders");

    for key in ["", " ", "with space", "ümlaut", &"x".repeat(256)] {
        let refused = world.api().create_order_once(&order(), key).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{key:?}: {refused}");
        assert!(refused.to_string().contains("Idempotency-Key"), "{refused}");
    }
    world
        .all_ended(&ids.into_iter().collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(world.audit().await.unwrap().orders, 5);
}

#[tokio::test]
async fn a_repeated_command_is_answered_like_the_first() {
    let world = World::with().instances(2).start().await.unwrap();

    // Ten requests at once, and another one later.
    let confirmed = world
        .place(order().paid_by_hand().approved_by_hand())
        .await
        .unwrap();
    world.said(Opened::NAME, &confirmed).await.unwrap();
    for answer in join_all((0..10).map(|_| world.api().confirm_payment(&confirmed))).await {
        assert_eq!(answer.unwrap()["state"], "charged");
    }
    world.said(AwaitingApproval::NAME, &confirmed).await.unwrap();
    for answer in join_all((0..10).map(|_| world.api().approve_order(&confirmed))).await {
        let state = answer.unwrap()["state"].as_str().unwrap().to_owned();
        assert!(state == "confirmed" || state == "completed", "{state}");
    }
    assert_eq!(world.ended(&confirmed).await.unwrap().state, "completed");
    assert_eq!(
        world.api().confirm_payment(&confirmed).await.unwrap()["state"],
        "charged"
    );
    assert_eq!(
        world.api().approve_order(&confirmed).await.unwrap()["state"],
        "completed"
    );
    let late = world.api().cancel_payment(&confirmed).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");

    let cancelled = world.place(order().paid_by_hand()).await.unwrap();
    world.said(Opened::NAME, &cancelled).await.unwrap();
    for answer in join_all((0..10).map(|_| world.api().cancel_payment(&cancelled))).await {
        assert_eq!(answer.unwrap()["state"], "cancelled");
    }
    assert_eq!(world.ended(&cancelled).await.unwrap().state, "cancelled");
    assert_eq!(
        world.api().cancel_payment(&cancelled).await.unwrap()["state"],
        "cancelled"
    );
    assert_eq!(
        world.api().cancel_order(&cancelled).await.unwrap()["state"],
        "cancelled"
    );
    let late = world.api().confirm_payment(&cancelled).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");
    assert!(
        late.to_string().contains("the customer cancelled the payment"),
        "the reason is given: {late}"
    );
    let late = world.api().approve_order(&cancelled).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");

    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_approval_before_the_order_is_ready_is_refused() {
    let world = World::start().await.unwrap();
    let id = world
        .place(order().paid_by_hand().approved_by_hand())
        .await
        .unwrap();
    world.said(Opened::NAME, &id).await.unwrap();
    let early = world.api().approve_order(&id).await.unwrap_err();
    assert_eq!(early.status(), Some(409), "{early}");
    assert!(early.to_string().contains("not paid and reserved yet"), "{early}");
    world.api().cancel_order(&id).await.unwrap();
    world.ended(&id).await.unwrap();
    world.audit().await.unwrap();
}
