//! What three nats-servers do differently from one, without any fault: commits are checked by a leader that has not yet
//! applied what it has agreed to.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use quadrille_events::{Body, Charged, Expired, OrderId, PaymentCancelled};
use quadrille_local::Service;
use quadrille_local::client::{ApiError, NewOrder};
use quadrille_runtime::operator::Entry;
use quadrille_tests::{PLENTY, World, eventually};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How many orders there are at once.
const ORDERS: usize = 40;
/// Of each service.
const INSTANCES: usize = 2;
/// How long ago a deadline may have passed behind which a charge is to be stored: the audit allows for 10 s between them.
const JUST: SignedDuration = SignedDuration::from_secs(2);

async fn clustered(deadline: &str) -> World {
    let options = World::with()
        .instances(INSTANCES)
        .cluster()
        .env("PAYMENT_DEADLINE", deadline)
        .env("RUST_LOG", "warn,async_nats=error");
    let world = options.start_empty().await.unwrap();
    world.open(&["apple"], &["grace"], PLENTY).await.unwrap();
    world
}

/// An order whose payment is open, and until when, as it is stored.
async fn opened(world: &World, key: &str) -> (OrderId, Timestamp) {
    let order = NewOrder::new().line(1, "apple").paid_by_hand();
    let id = world.place_surely(&order, key).await.unwrap();
    let expires_at = world.opened(&id).await.unwrap();
    (id, expires_at)
}

/// What payment has stored of an order under this name.
async fn stored_entry<B: Body>(world: &World, id: &OrderId) -> Option<Entry> {
    let subject = B::NAME.stored_as(id);
    let entries = eventually(async || world.operator.entries_of(id, &[]).await.map(Some));
    let mut entries = entries.await.unwrap().into_iter();
    entries.find(|found| found.subject == subject)
}

async fn thaw_payment(world: &World) {
    for instance in 0..INSTANCES {
        world.thaw(Service::Payment, instance).await.unwrap();
    }
}

/// Whether a command had its effect or was refused; nothing if its service does not know, which happens to a cluster.
#[track_caller]
fn settled<T>(answer: Result<T, ApiError>) -> Option<bool> {
    match answer {
        Ok(_) => Some(true),
        Err(error) if error.status() == Some(409) => Some(false),
        Err(error) if error.is_in_doubt() => None,
        Err(error) => panic!("neither done nor refused: {error}"),
    }
}

/// Waits for the end of an order, which has to be the one that a payment with this answer leads to.
async fn ends(world: &World, id: &OrderId, charged: Option<bool>) {
    let state = world.ended(id).await.unwrap().state;
    match charged {
        Some(true) => assert_eq!(state, "completed", "{id}"),
        Some(false) => assert_eq!(state, "cancelled", "{id}"),
        None => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_confirmation_and_a_cancellation_one_gets_through() {
    let world = clustered("60s").await;
    let world = &world;
    let rivals = (0..ORDERS).map(async |number| {
        let (id, _) = opened(world, &number.to_string()).await;
        let (customer, again) = (world.api(), world.api());
        let (confirmed, cancelled) = join(customer.confirm_payment(&id), again.cancel_payment(&id)).await;
        let (confirmed, cancelled) = (settled(confirmed), settled(cancelled));
        assert!(
            confirmed.is_none() || cancelled.is_none() || confirmed != cancelled,
            "{id}: {confirmed:?} {cancelled:?}"
        );
        ends(world, &id, confirmed.or(cancelled.map(|cancelled| !cancelled))).await;
        confirmed.is_some() && cancelled.is_some()
    });
    let known = join_all(rivals).await;
    assert!(known.contains(&true), "nobody was ever told how it went");
    world.audit().await.unwrap();
}

/// Whatever the customer is answered is what happens, also in the moment in which the broker's timer fires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_confirmed_in_the_moment_of_its_deadline_is_charged_or_too_late() {
    const ROUNDS: usize = 3;
    let mut rng = StdRng::seed_from_u64(2);
    let world = clustered("3s").await;
    let world = &world;
    for round in 0..ROUNDS {
        let latecomers = (0..ORDERS).map(|number| {
            let late = rng.random_range(-30..30);
            async move {
                let (id, deadline) = opened(world, &format!("{round}-{number}")).await;
                // The moment is the point here: shortly before the deadline, or after it.
                let left = deadline.duration_since(Timestamp::now()).as_millis() + late;
                tokio::time::sleep(Duration::from_millis(left.try_into().unwrap_or_default())).await;
                let confirmed = settled(world.api().confirm_payment(&id).await);
                ends(world, &id, confirmed).await;
            }
        });
        join_all(latecomers).await;
    }
    world.audit().await.unwrap();
}

/// What that moment can leave behind: the check of the charge does not see the entry that the timer has just proposed, so
/// both are stored, and the charge stands. nats-server 2.15.1 did that to 50 of 400 such orders (to none with one replica),
/// in other runs to none of 680; here the charge is stored by hand, without a check, so that it is always there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_charged_behind_the_entry_of_its_deadline_is_charged() {
    let world = clustered("5s").await;
    let charged = charged(&world).await;
    let charge = stored_entry::<Charged>(&world, &charged).await.unwrap();

    let id = expired_and_frozen(&world).await;
    let of_this_order = |text: &str| text.replace(charged.as_str(), id.as_str());
    let headers = charge.headers.iter().filter_map(|(name, values)| {
        let value = match name.to_string().as_str() {
            name if name.starts_with("Nats-") => return None,
            // Between the entry and the charge lie moments.
            "ce-time" => Timestamp::now().to_string(),
            _ => of_this_order(values.first()?.as_str()),
        };
        Some((name.to_string(), value))
    });
    let body = of_this_order(std::str::from_utf8(&charge.body).unwrap());
    let entry = of_this_order(&charge.subject);
    let mut headers: Vec<_> = headers.collect();
    // However often it is sent, it is stored once.
    headers.push(("Nats-Msg-Id".to_owned(), entry.clone()));
    let stored = eventually(async || {
        let sent = world.operator.publish(&entry, headers.clone(), body.as_bytes());
        sent.await.map(Some)
    });
    stored.await.unwrap();
    thaw_payment(&world).await;
    ends(&world, &id, Some(true)).await;
    let expired = stored_entry::<Expired>(&world, &id).await.unwrap();
    let charge = stored_entry::<Charged>(&world, &id).await.unwrap();
    assert!(expired.sequence < charge.sequence);
    let report = world.audit().await.unwrap();
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.starts_with("1 payments expired")),
        "{:?}",
        report.notes
    );
}

/// An order whose payment the customer has confirmed before its deadline.
async fn charged(world: &World) -> OrderId {
    for number in 0.. {
        let (id, _) = opened(world, &format!("charged-{number}")).await;
        let confirmed = settled(world.api().confirm_payment(&id).await);
        ends(world, &id, confirmed).await;
        if confirmed == Some(true) {
            return id;
        }
    }
    unreachable!("one order after the other is tried")
}

/// An order whose deadline has just passed while payment was frozen, so that nobody has heard of it.
async fn expired_and_frozen(world: &World) -> OrderId {
    for number in 0.. {
        let (id, _) = opened(world, &format!("late-{number}")).await;
        for instance in 0..INSTANCES {
            world.freeze(Service::Payment, instance).await.unwrap();
        }
        world.said(Expired::NAME, &id).await.unwrap();
        let expired = stored_entry::<Expired>(world, &id).await.unwrap();
        let ago = Timestamp::now().duration_since(expired.time);
        if ago < JUST && stored_entry::<PaymentCancelled>(world, &id).await.is_none() {
            return id;
        }
        // The freeze came too late, or we did.
        thaw_payment(world).await;
    }
    unreachable!("one order after the other is tried")
}
