//! Full lists, configurations changed by hand, and hostile messages: faults that an attack on the system found.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use quadrille_events::{Body, Charged, Created, OrderEvent, PaymentEvent, Said};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_runtime::nats::Broker;
use quadrille_tests::{World, eventually};
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

fn order() -> NewOrder {
    NewOrder::new().line(1, "apple")
}

/// More than one multi-get returns (1,024).
const MANY: usize = 1_030;

#[tokio::test]
async fn more_couriers_than_one_read_returns_are_supported() {
    let world = World::start().await.unwrap();
    let reporting = stream::iter(0..MANY).map(|number| {
        let (world, name) = (&world, format!("x{number}"));
        async move {
            eventually(async || Ok(Some(world.api().put_courier(&name, 10).await?)))
                .await
                .unwrap();
        }
    });
    reporting.buffer_unordered(32).collect::<Vec<()>>().await;
    let listed = world.api().couriers().await.unwrap();
    assert_eq!(listed["couriers"].as_array().unwrap().len(), MANY + 2);
    let id = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    // A restarted service reads all of them too.
    world.kill9(Service::Delivery, 0).await.unwrap();
    world.restart(Service::Delivery, 0).await.unwrap();
    let id = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
}

#[tokio::test]
async fn an_order_with_too_many_entries_delays_no_other() {
    let world = World::start().await.unwrap();
    let id = world.place(order().paid_by_hand()).await.unwrap();
    world.opened(&id).await.unwrap();
    let publishing = stream::iter(0..MANY).map(|number| {
        let subject = format!("$KV.{}.junk-{number}.{id}", PaymentEvent::SERVICE);
        let operator = &world.operator;
        async move { operator.publish(&subject, [], b"{}").await.unwrap() }
    });
    publishing.buffer_unordered(64).collect::<Vec<u64>>().await;
    // Payment hears of the order again, and cannot read its own entries about it.
    world.api().cancel_order(&id).await.unwrap();
    let letters = eventually(async || {
        let letters = world.operator.dead_letters_of(&id).await?;
        Ok((!letters.is_empty()).then_some(letters))
    });
    let reason = letters.await.unwrap().remove(0).reason;
    assert!(reason.contains("more than 1024 entries"), "{reason}");
    let other = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&other).await.unwrap().state, "completed");
}

#[tokio::test]
async fn a_message_at_which_the_client_library_panics_ends_the_streams_of_its_followers_and_no_service() {
    let world = World::start().await.unwrap();
    let id = world.place(order().paid_by_hand()).await.unwrap();
    world.opened(&id).await.unwrap();
    let url = format!("{}/orders/{id}/events", world.api().url(Service::Order));
    let follow = async || {
        let request = reqwest::Client::new()
            .get(&url)
            .header(ACCEPT, "text/event-stream");
        request.send().await.unwrap()
    };
    let mut following = follow().await;
    following.chunk().await.unwrap().unwrap();
    // async-nats 0.51 panics at a lone carriage return in a header.
    let subject = Created::NAME.heard_as(&id);
    world
        .publish_bytes(&subject, b"NATS/1.0\r\na: b\rc\r\n\r\n", b"{}")
        .await
        .unwrap();
    while let Ok(Some(_)) = following.chunk().await {}
    // The service runs on, and a client can follow the order again.
    let mut again = follow().await;
    let first = again.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains(Created::NAME.subject));
    world.api().confirm_payment(&id).await.unwrap();
    let mut text = String::new();
    while !text.contains(Charged::NAME.subject) {
        text += &String::from_utf8_lossy(&again.chunk().await.unwrap().unwrap());
    }
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    assert!(world.deaths().await.unwrap().is_empty());
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_consumer_whose_filters_were_changed_is_created_again_and_hears_what_it_skipped() {
    let world = World::with().env("ACK_WAIT", "1s").start().await.unwrap();
    let broker = Broker::connect(&world.nats_url, "meddler").await.unwrap();
    let (stream, listener) = (format!("KV_{}", OrderEvent::SERVICE), world.hears_orders().name());
    let info: Value = broker
        .ask(&format!("CONSUMER.INFO.{stream}.{listener}"), &json!({}))
        .await
        .unwrap();
    let mut config = info["config"].clone();
    config["filter_subjects"] = json!(["$KV.order.nothing.*"]);
    let change = json!({ "stream_name": stream, "config": config, "action": "update" });
    let _: Value = broker
        .ask(&format!("CONSUMER.CREATE.{stream}.{listener}"), &change)
        .await
        .unwrap();
    let ids = world.place_many(10, |_| order()).await.unwrap();
    for view in world.all_ended(&ids).await.unwrap() {
        assert_eq!(view.state, "completed");
    }
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_answering_is_noticed_within_15_seconds() {
    let world = World::start().await.unwrap();
    world.with_nats(0, async |server| server.stop()).await.unwrap();
    let frozen = Instant::now();
    eventually(async || Ok(world.api().ready(Service::Order).await.is_err().then_some(())))
        .await
        .unwrap();
    assert!(
        frozen.elapsed() < Duration::from_secs(15),
        "{:?}",
        frozen.elapsed()
    );
    world.with_nats(0, async |server| server.cont()).await.unwrap();
    let id = eventually(async || Ok(world.api().create_order(&order()).await.ok())).await;
    let id = id.unwrap().order_id;
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
}

#[tokio::test]
async fn dead_letters_may_be_more_than_one_read_brings() {
    let world = World::start().await.unwrap();
    let listener = world.hears_orders();
    let publishing = stream::iter(0..MANY).map(|number| {
        let subject = Created::NAME.stored_as(&format!("poison-{number}"));
        let operator = &world.operator;
        async move { operator.publish(&subject, [], b"not json").await.unwrap() }
    });
    publishing.buffer_unordered(64).collect::<Vec<u64>>().await;
    let letters = eventually(async || {
        let letters = world.operator.dead_letters().await?;
        Ok((letters.len() == MANY).then_some(letters))
    });
    let letters = letters.await.unwrap();
    let listed = world.api().dead_letters(listener).await.unwrap();
    assert_eq!(listed.len(), MANY, "over HTTP, page by page");
    let one = &letters[MANY / 2].id;
    assert_eq!(world.operator.dead_letter(one).await.unwrap().len(), 1);
    let (shown, body) = world.api().dead_letter(listener, one).await.unwrap();
    assert_eq!((shown.id.as_str(), body.as_str()), (one.as_str(), "not json"));
    let retried = world.api().retry(listener, one).await.unwrap_err();
    assert_eq!(retried.status(), Some(409), "it still cannot be read: {retried}");
}

#[tokio::test]
async fn a_service_whose_bucket_takes_nothing_is_not_ready() {
    let world = World::start().await.unwrap();
    let broker = Broker::connect(&world.nats_url, "meddler").await.unwrap();
    let bucket = format!("KV_{}", OrderEvent::SERVICE);
    let why = async || {
        let problem = world.api().ready(Service::Order).await.unwrap_err();
        assert_eq!(problem.status(), Some(503), "{problem}");
        problem.to_string()
    };
    let info: Value = broker
        .ask(&format!("STREAM.INFO.{bucket}"), &json!({}))
        .await
        .unwrap();
    let mut config = info["config"].clone();
    config["sealed"] = json!(true);
    let _: Value = broker
        .ask(&format!("STREAM.UPDATE.{bucket}"), &config)
        .await
        .unwrap();
    let sealed = why().await;
    assert!(sealed.contains("KV_order is sealed"), "{sealed}");
    let _: Value = broker
        .ask(&format!("STREAM.DELETE.{bucket}"), &json!({}))
        .await
        .unwrap();
    let gone = why().await;
    assert!(gone.contains("KV_order is gone"), "{gone}");
}
