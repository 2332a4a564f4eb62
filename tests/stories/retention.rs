//! Retention: what is still needed does not expire, what is not does, and an order whose entries are not all there is not a new one.

use std::time::{Duration, Instant};

use quadrille_events::OrderId;
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_runtime::nats::Broker;
use quadrille_tests::{World, eventually};
use serde_json::{Value, json};

fn order() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

const RETENTION: Duration = Duration::from_secs(4);

/// A world in which entries expire after [`RETENTION`].
async fn short_lived() -> World {
    World::with()
        .env("RETENTION", "4s")
        .env("EVENTS_MAX_AGE", "4s")
        .env("PAYMENT_DEADLINE", "3s")
        .start()
        .await
        .unwrap()
}

/// Waits until the broker has had the time to forget what is there now.
async fn retention_passes() {
    let begun = Instant::now();
    let passed = eventually(async || Ok((begun.elapsed() > RETENTION * 3 / 2).then_some(())));
    passed.await.unwrap();
}

async fn metric(world: &World, service: Service, line: &str) -> f64 {
    let url = format!("{}/metrics", world.api().url(service));
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let found = text.lines().find_map(|said| said.strip_prefix(line));
    found.unwrap_or("0").trim().parse().unwrap()
}

#[tokio::test]
async fn an_order_whose_listener_is_away_longer_than_the_retention_is_not_forgotten() {
    let world = short_lived().await;
    let ended = world.place(order()).await.unwrap();
    world.ended(&ended).await.unwrap();
    world.kill9(Service::Delivery, 0).await.unwrap();
    let id = world.place(order()).await.unwrap();

    // New orders are refused before the broker would forget, and the reason names who is away.
    let refusal = eventually(async || Ok(world.api().create_order(&order()).await.err()))
        .await
        .unwrap();
    assert_eq!(refusal.status(), Some(503), "{refusal}");
    let reason = refusal.to_string();
    assert!(
        reason.contains("delivery has not handled an event of order"),
        "{reason}"
    );
    let held = metric(
        &world,
        Service::Order,
        "quadrille_retention_held{service=\"order\"}",
    )
    .await;
    assert_eq!(held, 1.0);
    let waits = metric(
        &world,
        Service::Order,
        "quadrille_unhandled_input_age_seconds{stream=\"KV_order\",consumer=\"delivery\"}",
    );
    assert!(waits.await >= RETENTION.as_secs_f64() / 2.0);

    retention_passes().await;
    assert_eq!(world.api().order(&id).await.unwrap().state, "confirmed");
    world.restart(Service::Delivery, 0).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
    // New orders are taken again, and what has ended expires.
    eventually(async || Ok(world.api().create_order(&order()).await.ok()))
        .await
        .unwrap();
    let gone = eventually(async || {
        let shown = world.api().order(&id).await;
        Ok(shown
            .is_err_and(|error| error.status() == Some(404))
            .then_some(()))
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn an_order_that_waits_for_people_longer_than_the_retention_is_not_forgotten() {
    let world = short_lived().await;
    let id = world.place(order().approved_by_hand()).await.unwrap();
    let waits = eventually(async || {
        let order = world.api().order(&id).await?;
        Ok((order.state == "awaiting-approval").then_some(()))
    });
    waits.await.unwrap();
    retention_passes().await;
    // Nobody is away, so other orders go on.
    let other = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&other).await.unwrap().state, "completed");
    world.api().approve_order(&id).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
}

/// Removes an entry without a trace, as damage on disk does.
async fn lose(world: &World, entry: &str, id: &OrderId) {
    let broker = Broker::connect(&world.nats_url, "damage").await.unwrap();
    let what = json!({ "filter": format!("$KV.payment.{entry}.{id}") });
    let purged: Value = broker.ask("STREAM.PURGE.KV_payment", &what).await.unwrap();
    assert_eq!(purged["purged"], 1);
}

#[tokio::test]
async fn an_order_with_a_lost_entry_waits_and_delays_no_other() {
    let world = World::start().await.unwrap();
    let id = world
        .place(order().paid_by_hand().approved_by_hand())
        .await
        .unwrap();
    world.opened(&id).await.unwrap();
    world.api().confirm_payment(&id).await.unwrap();
    let waits = eventually(async || {
        let order = world.api().order(&id).await?;
        Ok((order.state == "awaiting-approval").then_some(()))
    });
    waits.await.unwrap();
    // Restarted, payment remembers nothing.
    world.kill9(Service::Payment, 0).await.unwrap();
    world.restart(Service::Payment, 0).await.unwrap();
    lose(&world, "opened", &id).await;

    let shown = world.api().payment(&id).await.unwrap_err();
    assert_eq!(shown.status(), Some(503), "{shown}");
    assert!(shown.to_string().contains("cannot be read"), "{shown}");
    let refused = world.api().cancel_payment(&id).await.unwrap_err();
    assert_eq!(refused.status(), Some(503), "{refused}");
    // An event about it is neither decided nor parked.
    world.api().cancel_order(&id).await.unwrap();
    let postponed = eventually(async || {
        let line = "quadrille_inputs_total{service=\"payment\",subject=\"cancel-payment\",outcome=\"postponed\",reason=\"\"}";
        Ok((metric(&world, Service::Payment, line).await >= 1.0).then_some(()))
    });
    postponed.await.unwrap();
    assert_eq!(world.api().order(&id).await.unwrap().state, "cancelling");
    assert!(world.operator.dead_letters().await.unwrap().is_empty());
    let other = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&other).await.unwrap().state, "completed");
}

#[tokio::test]
async fn an_event_that_never_leaves_its_bucket_leaves_the_log() {
    let world = short_lived().await;
    let subject = "$KV.order.created.ghost";
    let never = [("Nats-TTL".to_owned(), "never".to_owned())];
    world.operator.publish(subject, never, b"{}").await.unwrap();
    let logged = async |wanted: bool| {
        let found = eventually(async || {
            let log = world.operator.log().await?;
            let there = log.iter().any(|entry| entry.subject == "order.created.ghost");
            Ok((there == wanted).then_some(()))
        });
        found.await.unwrap();
    };
    logged(true).await;
    retention_passes().await;
    // The log is trimmed up to the first event that is young enough.
    let id = world.place(order()).await.unwrap();
    world.ended(&id).await.unwrap();
    logged(false).await;
    let kept = world.operator.bucket("order").await.unwrap();
    assert!(kept.iter().any(|entry| entry.subject == subject));
}
