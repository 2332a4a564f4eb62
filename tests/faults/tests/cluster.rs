//! What three nats-servers do differently from one, without any fault: commits are checked by a leader that has not yet
//! applied what it has agreed to.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::future::{join, join_all};
use jiff::Timestamp;
use quadrille_deploy::client::NewOrder;
use quadrille_deploy::local::Cluster;
use quadrille_events::OrderId;
use quadrille_tests::World;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ORDERS: usize = 100;

async fn clustered(rng: &mut StdRng, deadline: &str) -> World {
    let (_, servers) = Cluster::start().await.unwrap();
    let options = World::with()
        .instances(2)
        .env("REPLICAS", "3")
        .env("PAYMENT_DEADLINE", deadline)
        .env("RUST_LOG", "warn,async_nats=error");
    let world = options.start_on(servers).await.unwrap();
    world.api().put_item("apple", 10_000).await.unwrap();
    world.api().put_courier("grace", 10_000).await.unwrap();
    world
}

/// An order whose payment is open, and until when.
async fn opened(world: &World) -> (OrderId, Timestamp) {
    let order = NewOrder::new().line(1, "apple", 250).paid_by_hand();
    let id = world.place(order).await.unwrap();
    world.said("payment.opened", &id).await.unwrap();
    let payment = world.api().payment(&id).await.unwrap();
    (id, payment["expires_at"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_confirmation_and_a_cancellation_one_gets_through() {
    let mut rng = StdRng::seed_from_u64(1);
    let world = clustered(&mut rng, "60s").await;
    let world = &world;
    let rivals = (0..ORDERS).map(async |_| {
        let (id, _) = opened(world).await;
        let (customer, again) = (world.api(), world.api());
        let (confirmed, cancelled) = join(customer.confirm_payment(&id), again.cancel_payment(&id)).await;
        assert!(
            confirmed.is_ok() != cancelled.is_ok(),
            "{confirmed:?} {cancelled:?}"
        );
        let expected = if confirmed.is_ok() {
            "completed"
        } else {
            "cancelled"
        };
        assert_eq!(world.ended(&id).await.unwrap().state, expected);
    });
    join_all(rivals).await;
    world.audit().await.unwrap();
}

/// The check of the charge does not see the entry that the timer has just proposed. Both are stored, and the charge
/// stands. (Of 400 such orders, 50 had the entry before the charge; with one replica none had.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_charged_in_the_moment_of_its_deadline_is_charged() {
    let mut rng = StdRng::seed_from_u64(2);
    let world = clustered(&mut rng, "1s").await;
    let world = &world;
    let latecomers = (0..ORDERS).map(|_| {
        let late = rng.random_range(-30..30);
        async move {
            let (id, deadline) = opened(world).await;
            // The moment is the point here: shortly before the deadline, or after it.
            let left = deadline.duration_since(Timestamp::now()).as_millis() + late;
            tokio::time::sleep(Duration::from_millis(left.try_into().unwrap_or_default())).await;
            let confirmed = world.api().confirm_payment(&id).await.is_ok();
            let expected = if confirmed { "completed" } else { "cancelled" };
            assert_eq!(world.ended(&id).await.unwrap().state, expected);
        }
    });
    join_all(latecomers).await;
    world.audit().await.unwrap();
}
