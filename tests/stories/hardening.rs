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
    assert_eq!(couriers(&world).await.len(), MANY + 2);
    let id = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    // One record has headers that the client library cannot read. A restarted service reads all of them too.
    let odd = "$KV.delivery.courier.load.odd";
    world
        .publish_bytes(
            odd,
            b"NATS/1.0\r\nno colon\r\n\r\n",
            br#"{"capacity":0,"load":0}"#,
        )
        .await
        .unwrap();
    let all = eventually(async || {
        let listed = world.api().couriers().await?;
        Ok(listed["couriers"].as_array().map(Vec::len))
    });
    assert_eq!(all.await.unwrap(), MANY + 3);
    world.kill9(Service::Delivery, 0).await.unwrap();
    world.restart(Service::Delivery, 0).await.unwrap();
    let id = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_courier_is_removed_only_without_orders_and_can_come_back() {
    let world = World::with().start_empty().await.unwrap();
    let api = world.api();
    world.open(&["apple"], &["ada"], 10).await.unwrap();
    let id = world.place(order()).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
    let refused = api.delete_courier("ada").await.unwrap_err();
    assert_eq!(refused.status(), Some(409), "{refused}");
    assert!(refused.to_string().contains("has 1 orders"), "{refused}");

    for _ in 0..2 {
        assert_eq!(api.delete_courier("bea").await.unwrap_err().status(), Some(404));
        assert_eq!(api.put_courier("bea", 7).await.unwrap()["load"], 0);
        assert_eq!(couriers(&world).await, [("ada".into(), 1), ("bea".into(), 0)]);
        api.delete_courier("bea").await.unwrap();
        assert_eq!(couriers(&world).await, [("ada".into(), 1)]);
    }
    world.kill9(Service::Delivery, 0).await.unwrap();
    world.restart(Service::Delivery, 0).await.unwrap();
    assert_eq!(couriers(&world).await, [("ada".into(), 1)]);
    // A marker is no courier: nobody but the busy ada is left.
    api.put_courier("ada", 1).await.unwrap();
    let id = world.place(order()).await.unwrap();
    let ended = world.ended(&id).await.unwrap();
    assert_eq!(ended.reason.as_deref(), Some("every courier is busy"));
    world.audit().await.unwrap();
}

#[tokio::test]
async fn a_courier_who_is_removed_while_orders_come_has_none_of_them() {
    let world = World::with().instances(2).start_empty().await.unwrap();
    world.open(&["apple"], &[], 1_000).await.unwrap();
    for round in 0..24 {
        let name = format!("courier-{round}");
        world.api().put_courier(&name, 1_000).await.unwrap();
        let placing = futures::future::join_all((0..3).map(|_| world.place(order())));
        let removing = async {
            // From before the first order arrives at delivery to after the last one.
            tokio::time::sleep(Duration::from_millis(2 * round)).await;
            world.api().delete_courier(&name).await
        };
        let (placed, removed) = tokio::join!(placing, removing);
        let mut completed = 0;
        for id in placed {
            let ended = world.ended(&id.unwrap()).await.unwrap();
            completed += u64::from(ended.state == "completed");
        }
        let left = couriers(&world).await;
        let load = left.iter().find(|(left, _)| *left == name).map(|(_, load)| *load);
        match removed {
            Ok(()) => assert_eq!((load, completed), (None, 0), "round {round}"),
            Err(refused) => {
                assert_eq!(refused.status(), Some(409), "{refused}");
                assert_eq!(load, Some(completed), "round {round}");
                // The next rounds are not for this courier.
                world.api().put_courier(&name, completed).await.unwrap();
            }
        }
    }
    world.audit().await.unwrap();
}

/// All couriers and how many orders they have.
async fn couriers(world: &World) -> Vec<(String, u64)> {
    let listed = world.api().couriers().await.unwrap();
    let couriers = listed["couriers"].as_array().unwrap().iter();
    couriers
        .map(|courier| {
            let name = courier["courier_id"].as_str().unwrap().to_owned();
            (name, courier["load"].as_u64().unwrap())
        })
        .collect()
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
