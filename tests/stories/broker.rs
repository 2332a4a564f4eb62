//! The nats-server is killed while orders are in flight, and restarted on the same port and data.

use std::collections::BTreeSet;

use futures::future::join;
use quadrille_events::Ending;
use quadrille_local::client::NewOrder;
use quadrille_tests::{Options, World, eventually};

fn order(number: usize) -> NewOrder {
    let order = NewOrder::new().line(1, "apple").line(2, "plum");
    if number % 8 == 5 {
        order.to("test-no-courier")
    } else {
        order
    }
}

async fn orders_survive_server_crashes(options: Options) {
    let world = options.env("ACK_WAIT", "2s").start().await.unwrap();
    let dying = async {
        for messages in [150, 600] {
            world.holds("EVENTS", messages).await.unwrap();
            world.restart_nats().await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, order), dying).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    let report = world.audit().await.unwrap();
    assert_eq!(
        (report.ended(Ending::Completed), report.ended(Ending::NoCourier)),
        (175, 25),
        "{report}"
    );
}

#[tokio::test]
async fn orders_survive_two_server_crashes() {
    orders_survive_server_crashes(World::with()).await;
}

#[tokio::test]
async fn orders_survive_two_server_crashes_with_two_instances() {
    orders_survive_server_crashes(World::with().instances(2)).await;
}

/// No service decides on the log, so it can be deleted: the services create it again, from the buckets.
#[tokio::test]
async fn a_deleted_log_is_created_again_from_the_buckets() {
    let world = World::start().await.unwrap();
    let ids = world.place_many(40, order).await.unwrap();
    world.all_ended(&ids).await.unwrap();
    world.audit().await.unwrap();
    let before = log(&world).await;
    assert!(before.len() > 200, "{} events", before.len());

    world.operator.delete_log().await.unwrap();
    let meanwhile = world.place(order(0)).await.unwrap();
    world.ended(&meanwhile).await.unwrap();
    eventually(async || Ok(world.operator.log().await.is_ok().then_some(())))
        .await
        .unwrap();
    // The audit waits until the log is complete again.
    world.audit().await.unwrap();
    let after = log(&world).await;
    assert!(
        before.is_subset(&after),
        "every event from before the deletion is in the log again"
    );
    assert!(after.len() > before.len(), "and so are the events said meanwhile");

    let next = world.place(order(0)).await.unwrap();
    world.ended(&next).await.unwrap();
    world.audit().await.unwrap();
}

/// Subjects and bodies of all events in the log.
async fn log(world: &World) -> BTreeSet<(String, Vec<u8>)> {
    let entries = world.operator.log().await.unwrap().into_iter();
    entries
        .map(|entry| (entry.subject, entry.body.to_vec()))
        .collect()
}
