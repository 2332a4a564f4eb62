//! Data stored by release 0.1.0 is continued: its buckets, its consumers, its deadlines.
//!
//! `stored/release-0.1.0.tar.gz` is the data folder of a nats-server on which the programs of that release ran (commit
//! 6d65d6a, `RETENTION=0s EVENTS_MAX_AGE=0s PAYMENT_DEADLINE=3600d just run-all`), stopped while delivery was dead and one order
//! waited for its courier.

use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use quadrille_events::{
    Assigned, Body, CancelPayment, Charged, CreateDelivery, Created, DeliveryCancelled, Ending, Envelope,
    OrderEvent, OrderId, Released, Said, TraceParent, TypedId,
};
use quadrille_local::client::NewOrder;
use quadrille_local::{NatsServer, Service};
use quadrille_tests::{PLENTY, World, eventually};
use tempfile::TempDir;

const COMPLETED: &str = "01a1ff73-a529-751e-b3a5-384301f99697";
const PAYMENT_OPEN: &str = "01a1ff73-a5e5-7751-aaf3-047497797dad";
const AWAITING_APPROVAL: &str = "01a1ff73-a5fd-702c-ae26-04eabe670ebe";
const DECLINED: &str = "01a1ff73-a624-71c7-a55f-8988c458b52f";
const CANCELLED: &str = "01a1ff73-a650-77e4-bd7e-fd9d75b8794a";
const AWAITING_COURIER: &str = "01a1ff73-a727-7461-a305-27a7f61daedf";

/// Cancels an order as the order service of release 0.1 did it after a courier was asked for: payment is asked, and not delivery.
async fn cancel_as_release_0_1(world: &World, id: &OrderId) {
    let created = Created::NAME.stored_as(id);
    let entries = world.operator.entries_of(id, &[]).await.unwrap();
    let created = entries.iter().find(|entry| entry.subject == created).unwrap();
    let Created { order } = Created::decode(&created.body).unwrap();
    let said = OrderEvent::from(CancelPayment {
        order,
        reason: "the customer cancelled the order".to_owned(),
    });
    let trace = TraceParent::of(&id.aggregate());
    let envelope = Envelope::new(
        said.name(),
        &id.aggregate(),
        0,
        Timestamp::now(),
        "http/cancel",
        &trace,
    );
    let headers = envelope.headers().map(|(name, value)| (name.to_owned(), value));
    let subject = said.name().stored_as(id);
    world
        .operator
        .publish(&subject, headers, &said.encode())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_order_that_the_previous_release_was_cancelling_has_its_courier_called_back() {
    let world = World::start().await.unwrap();
    let order = || NewOrder::new().line(2, "apple");

    // The courier is on the way.
    world.plug_ears(Service::Order, Service::Delivery).await.unwrap();
    let sent = world.place(order()).await.unwrap();
    world.said(Assigned::NAME, &sent).await.unwrap();
    cancel_as_release_0_1(&world, &sent).await;
    assert_eq!(world.ended(&sent).await.unwrap().state, "cancelled");
    world
        .unplug_ears(Service::Order, Service::Delivery)
        .await
        .unwrap();

    // The request for a courier waits.
    world.freeze(Service::Delivery, 0).await.unwrap();
    let asked = world.place(order()).await.unwrap();
    world.said(CreateDelivery::NAME, &asked).await.unwrap();
    cancel_as_release_0_1(&world, &asked).await;
    assert_eq!(world.ended(&asked).await.unwrap().state, "cancelled");
    world.thaw(Service::Delivery, 0).await.unwrap();

    for id in [&sent, &asked] {
        world.said(DeliveryCancelled::NAME, id).await.unwrap();
        world.said(Released::NAME, id).await.unwrap();
    }
    let report = world.audit().await.unwrap();
    assert_eq!(report.ended(Ending::OrderCancelled), 2, "{report}");
}

fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

/// A world on the data of the previous release.
async fn continued(retention: &str, payment_deadline: &str) -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories/stored/release-0.1.0.tar.gz");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let world = World::with()
        .env("FLOW", "pay-first")
        .env("RETENTION", retention)
        .env("EVENTS_MAX_AGE", retention)
        .env("PAYMENT_DEADLINE", payment_deadline)
        .server(NatsServer::builder().folder(folder.path()))
        .start_empty()
        .await
        .unwrap();
    (world, folder)
}

#[tokio::test]
async fn orders_of_the_previous_release_are_continued() {
    let (world, _folder) = continued("0s", "3600d").await;

    // The input that waited in the bucket is handled.
    world.ended(&id(AWAITING_COURIER)).await.unwrap();
    world.said(Assigned::NAME, &id(AWAITING_COURIER)).await.unwrap();
    // The customer confirms, and the shop owner approves.
    world.api().confirm_payment(&id(PAYMENT_OPEN)).await.unwrap();
    world.said(Charged::NAME, &id(PAYMENT_OPEN)).await.unwrap();
    world.api().approve_order(&id(AWAITING_APPROVAL)).await.unwrap();
    for order in [PAYMENT_OPEN, AWAITING_APPROVAL] {
        assert_eq!(world.ended(&id(order)).await.unwrap().state, "completed");
    }
    // Orders that had ended are unchanged.
    for (order, state) in [
        (COMPLETED, "completed"),
        (DECLINED, "cancelled"),
        (CANCELLED, "cancelled"),
    ] {
        assert_eq!(world.api().order(&id(order)).await.unwrap().state, state);
    }
    let late = world.api().cancel_order(&id(COMPLETED)).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");

    let report = world.audit().await.unwrap();
    assert_eq!(report.orders, 6, "{report}");
    assert_eq!(report.ended(Ending::Completed), 4, "{report}");
}

/// The previous release gave each entry a TTL of its own, and its records none. Now a bucket expires by age.
#[tokio::test]
async fn entries_of_the_previous_release_expire_when_their_orders_have_ended_and_its_records_never() {
    let (world, _folder) = continued("4s", "3s").await;
    // Its stock has no name and no price yet; what is reserved stays reserved.
    let stock = world.api().put_item("apple", PLENTY).await.unwrap();
    assert!(stock["reserved"].as_u64() > Some(0), "{stock}");
    // They are older than RETENTION, and wait for people.
    world.api().confirm_payment(&id(PAYMENT_OPEN)).await.unwrap();
    world.api().approve_order(&id(AWAITING_APPROVAL)).await.unwrap();
    for order in [PAYMENT_OPEN, AWAITING_APPROVAL, AWAITING_COURIER] {
        assert_eq!(world.ended(&id(order)).await.unwrap().state, "completed");
    }
    for order in [COMPLETED, PAYMENT_OPEN, AWAITING_APPROVAL, AWAITING_COURIER] {
        world.api().confirm_delivery(&id(order)).await.unwrap();
    }
    // The price stays.
    let gone = eventually(async || Ok((world.operator.size("order").await?.messages == 1).then_some(())));
    gone.await.unwrap();
    let left = world.api().item("apple").await.unwrap();
    let shipped = stock["quantity"].as_u64().unwrap() - left["quantity"].as_u64().unwrap();
    assert!(shipped > 0, "{left}");
    assert!(
        !world.api().couriers().await.unwrap()["couriers"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
