//! Damage in one replica: the scrub finds it and names it, and the recipe of docs/operations.md heals it.

#![allow(clippy::unwrap_used)]

use quadrille_events::PaymentEvent;
use quadrille_events::Said as _;
use quadrille_faults::flip_bytes;
use quadrille_local::NatsServer;
use quadrille_local::client::NewOrder;
use quadrille_runtime::nats::Broker;
use quadrille_runtime::nats::streams::bucket_stream;
use quadrille_runtime::operator::{Pace, ScrubReport};
use quadrille_tests::{PLENTY, World, eventually};
use serde_json::{Value, json};

/// How many orders there are.
const ORDERS: usize = 60;

async fn scrub(world: &World) -> ScrubReport {
    eventually(async || world.operator.scrub(Pace::Full).await.map(Some))
        .await
        .unwrap()
}

/// Asks the JetStream API, as the `nats` CLI does.
async fn ask(broker: &Broker, what: &str, request: Value) -> Value {
    eventually(async || Ok(Some(broker.ask(what, &request).await?)))
        .await
        .unwrap()
}

async fn place_some(world: &World, keys: &str) {
    for number in 0..ORDERS {
        let order = NewOrder::new().line(1, "apple");
        let id = world
            .place_surely(&order, &format!("{keys}-{number}"))
            .await
            .unwrap();
        if number % 10 == 0 {
            assert_eq!(world.ended(&id).await.unwrap().state, "completed");
        }
    }
    world.settle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_replica_is_named_and_healed() {
    let options = World::with().cluster().env("RUST_LOG", "warn,async_nats=error");
    let world = options.start_empty().await.unwrap();
    world.open(&["apple"], &["grace"], PLENTY).await.unwrap();
    place_some(&world, "before").await;
    let report = scrub(&world).await;
    assert!(report.is_clean(), "{report}");

    // Somebody who follows: who leads would serve the damage at once.
    let stream = bucket_stream(PaymentEvent::SERVICE);
    let cluster = world.cluster().unwrap();
    let leader = cluster.leader(Some(&stream)).await.unwrap();
    let victim = (leader + 1) % 3;
    let damage = async |server: &mut NatsServer| {
        server.terminate().await?;
        flip_bytes(server.folder(), &stream)?;
        server.restart().await
    };
    world.with_nats(victim, damage).await.unwrap();
    cluster.until_whole().await.unwrap();
    let report = scrub(&world).await;
    let name = format!("n{victim}");
    assert_eq!(report.damaged(), [(stream.as_str(), name.as_str())], "{report}");
    assert!(!report.is_clean());

    // The recipe: a healthy leader, its copy alone, copies of it on the others, and everything heard again.
    let broker = Broker::connect(&world.nats_url, "recipe").await.unwrap();
    // The server refuses to step down in favour of who leads already.
    if cluster.leader(Some(&stream)).await != Some(leader) {
        let healthy = json!({ "placement": { "preferred": format!("n{leader}") } });
        ask(&broker, &format!("STREAM.LEADER.STEPDOWN.{stream}"), healthy).await;
    }
    let led = async || Ok((cluster.leader(Some(&stream)).await == Some(leader)).then_some(()));
    eventually(led).await.unwrap();
    for replicas in [1, 3] {
        let info = ask(&broker, &format!("STREAM.INFO.{stream}"), json!({})).await;
        let mut config = info["config"].clone();
        config["num_replicas"] = json!(replicas);
        ask(&broker, &format!("STREAM.UPDATE.{stream}"), config).await;
        let resized = eventually(async || {
            let info: Value = broker.ask(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
            let others = info["cluster"]["replicas"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let are_current = others.iter().all(|other| other["current"] == true);
            Ok((others.len() + 1 == replicas && are_current).then_some(()))
        });
        resized.await.unwrap();
    }
    for listener in world.operator.lags().await.unwrap() {
        if listener.speaker == PaymentEvent::SERVICE {
            let consumer = format!("CONSUMER.DELETE.{stream}.{}", listener.listener);
            ask(&broker, &consumer, json!({})).await;
        }
    }
    place_some(&world, "after").await;
    let report = scrub(&world).await;
    assert!(report.is_clean(), "{report}");
    world.audit().await.unwrap();
}

/// A lone server has nothing to compare its copy with, but its index lists what it cannot read any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_a_lone_server_is_found() {
    let world = World::with().start().await.unwrap();
    place_some(&world, "alone").await;
    let report = scrub(&world).await;
    assert!(report.is_clean(), "{report}");
    let stream = bucket_stream(PaymentEvent::SERVICE);
    let damage = async |server: &mut NatsServer| {
        server.terminate().await?;
        flip_bytes(server.folder(), &stream)?;
        server.restart().await
    };
    world.with_nats(0, damage).await.unwrap();
    let report = scrub(&world).await;
    let damaged: Vec<&str> = report.damaged().into_iter().map(|(stream, _)| stream).collect();
    assert_eq!(damaged, [stream.as_str()], "{report}");
    assert!(report.logs["EVENTS"].count > 0, "{report}");
}
