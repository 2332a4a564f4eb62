//! Services die in the middle of things, as in a power cut. Nothing is lost, nothing is done twice.

use futures::future::join;
use quadrille_events::Ending;
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{Options, World};

/// Redelivers soon what a dead service had in hand.
fn impatient() -> Options {
    World::with().env("ACK_WAIT", "2s")
}

/// Orders for every ending that needs nobody: of ten, one is declined, one is out of stock, one finds no courier.
fn mixed(number: usize) -> NewOrder {
    let order = NewOrder::new()
        .line(1 + (number % 3) as u32, "apple", 250)
        .line(1, "pear", 90);
    match number % 10 {
        3 => order.by("test-declined"),
        5 => order.line(1, "unicorn", 1),
        7 => order.to("test-no-courier"),
        _ => order,
    }
}

/// 200 orders, and a service that is killed when some have ended and most have not.
async fn two_hundred_orders_while_dying(service: Service) {
    let world = impatient().start().await.unwrap();
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
async fn orders_outlive_the_order_service() {
    two_hundred_orders_while_dying(Service::Order).await;
}

#[tokio::test]
async fn orders_outlive_the_payment_service() {
    two_hundred_orders_while_dying(Service::Payment).await;
}

#[tokio::test]
async fn orders_outlive_the_inventory_service() {
    two_hundred_orders_while_dying(Service::Inventory).await;
}

#[tokio::test]
async fn orders_outlive_the_delivery_service() {
    two_hundred_orders_while_dying(Service::Delivery).await;
}

#[tokio::test]
async fn while_one_of_two_instances_is_dead_the_other_goes_on() {
    let world = impatient().instances(2).start().await.unwrap();
    let dying = async {
        world.holds("EVENTS", 200).await.unwrap();
        for service in Service::ALL {
            world.kill9(service, 1).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, mixed), dying).await;
    // Nobody starts them again.
    world.all_ended(&ids.unwrap()).await.unwrap();
    assert_eq!(world.audit().await.unwrap().orders, 200);
}

#[tokio::test]
async fn a_frozen_instance_that_wakes_up_does_nothing_twice() {
    let world = impatient().instances(2).start().await.unwrap();
    let freezing = async {
        world.holds("EVENTS", 200).await.unwrap();
        for service in Service::ALL {
            world.freeze(service, 1).await.unwrap();
        }
        // Whatever they had in hand has gone to the others once somebody else has done it.
        world.holds("EVENTS", 700).await.unwrap();
        for service in Service::ALL {
            world.thaw(service, 1).await.unwrap();
        }
    };
    let (ids, ()) = join(world.place_many(200, mixed), freezing).await;
    world.all_ended(&ids.unwrap()).await.unwrap();
    assert_eq!(world.audit().await.unwrap().orders, 200);
}
