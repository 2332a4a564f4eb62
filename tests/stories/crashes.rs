//! Services are killed while orders are in flight, as by a power cut. Nothing is lost, nothing is done twice.

use std::time::{Duration, Instant};

use futures::future::join;
use quadrille_events::Ending;
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{Options, SOLD_OUT, World};

/// A short `ACK_WAIT`, so that the inputs in flight of a dead service are redelivered soon.
fn short_ack_wait() -> Options {
    World::with().env("ACK_WAIT", "2s")
}

/// Orders that end without a person: of ten, one is declined, one is out of stock, one finds no courier.
fn mixed(number: usize) -> NewOrder {
    let order = NewOrder::new()
        .line(1 + (number % 3) as u32, "apple")
        .line(1, "pear");
    match number % 10 {
        3 => order.by("test-declined"),
        5 => order.line(1, SOLD_OUT),
        7 => order.to("test-no-courier"),
        _ => order,
    }
}

/// Places 200 orders, and kills a service when some have ended and most have not.
async fn two_hundred_orders_while_killed(service: Service) {
    let world = short_ack_wait().start().await.unwrap();
    let dying = async {
        world.holds("EVENTS", 250).await.unwrap();
        world.kill9(service, 0).await.unwrap();
        world.restart(service, 0).await.unwrap();
    };
    let (ids, ()) = join(world.place_many(200, mixed), dying).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    let report = world.audit().await.unwrap();
    let expected = [
        (Ending::Completed, 140),
        (Ending::Declined, 20),
        (Ending::OutOfStock, 20),
        (Ending::NoCourier, 20),
    ];
    assert_eq!(report.endings, expected.into(), "{report}");
}

#[tokio::test]
async fn orders_survive_a_crash_of_the_order_service() {
    two_hundred_orders_while_killed(Service::Order).await;
}

#[tokio::test]
async fn orders_survive_a_crash_of_the_payment_service() {
    two_hundred_orders_while_killed(Service::Payment).await;
}

#[tokio::test]
async fn orders_survive_a_crash_of_the_inventory_service() {
    two_hundred_orders_while_killed(Service::Inventory).await;
}

#[tokio::test]
async fn orders_survive_a_crash_of_the_delivery_service() {
    two_hundred_orders_while_killed(Service::Delivery).await;
}

#[tokio::test]
async fn if_one_of_two_instances_is_killed_the_other_handles_all_orders() {
    let world = short_ack_wait().instances(2).start().await.unwrap();
    let dying = async {
        world.holds("EVENTS", 200).await.unwrap();
        for service in Service::ALL {
            world.kill9(service, 1).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, mixed), dying).await;
    // They are not started again.
    world.all_ended(&ids.unwrap()).await.unwrap();
    assert_eq!(world.audit().await.unwrap().orders, 200);
}

#[tokio::test]
async fn an_instance_that_was_frozen_and_goes_on_does_nothing_twice() {
    let world = short_ack_wait().instances(2).start().await.unwrap();
    let freezing = async {
        world.holds("EVENTS", 200).await.unwrap();
        for service in Service::ALL {
            world.freeze(service, 1).await.unwrap();
        }
        // By then the other instances have handled the inputs that were in flight at the frozen ones.
        world.holds("EVENTS", 700).await.unwrap();
        for service in Service::ALL {
            world.thaw(service, 1).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, mixed), freezing).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    assert_eq!(world.audit().await.unwrap().orders, 200);
}

/// An instance of every service is struck among 200 orders; returns how long after that the last order ended.
async fn ended_after(world: &World, strike: impl AsyncFn(Service)) -> Duration {
    let striking = async {
        world.holds("EVENTS", 300).await.unwrap();
        for service in Service::ALL {
            strike(service).await;
        }
        Instant::now()
    };
    let (ids, struck) = join(world.place_many(200, mixed), striking).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    struck.elapsed()
}

#[tokio::test]
async fn what_a_killed_instance_had_in_hand_is_taken_over_within_three_seconds() {
    let world = World::with().instances(2).start().await.unwrap();
    let kill = async |service| world.kill9(service, 1).await.unwrap();
    let after = ended_after(&world, kill).await;
    assert!(
        after < Duration::from_secs(3),
        "the last order ended after {after:?}"
    );
    assert_eq!(world.audit().await.unwrap().orders, 200);
}

#[tokio::test]
async fn what_a_frozen_instance_has_in_hand_is_taken_over() {
    let world = World::with().instances(2).start().await.unwrap();
    // A frozen instance keeps its connections, so whoever is sent there waits for it: the orders are placed with the other ones.
    let freeze = async |service| {
        if service != Service::Order {
            world.freeze(service, 1).await.unwrap();
        }
    };
    let after = ended_after(&world, freeze).await;
    // Pulls that were open go on for a second: what they bring is taken over after that.
    assert!(
        after < Duration::from_secs(5),
        "the last order ended after {after:?}"
    );
    for service in Service::ALL {
        world.thaw(service, 1).await.unwrap();
    }
    assert_eq!(world.audit().await.unwrap().orders, 200);
}
