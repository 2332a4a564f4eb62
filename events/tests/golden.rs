//! The contract held still: each event's JSON lies in `events/golden/`, and a change of it must be meant.
//! `UPDATE_EXPECT=1 cargo test -p quadrille-events --test golden` writes them anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect_file;
use quadrille_events::*;

fn order() -> Arc<Order> {
    Arc::new(Order {
        order_id: OrderId::new("42").unwrap(),
        customer_id: CustomerId::new("ada").unwrap(),
        lines: vec![
            Line {
                item_id: ItemId::new("apple").unwrap(),
                quantity: 2,
                unit_price: 250,
            },
            Line {
                item_id: ItemId::new("bread").unwrap(),
                quantity: 1,
                unit_price: 300,
            },
        ],
        total: 800,
        currency: Currency::EUR,
        address: "1 Main St".to_owned(),
        payment: PaymentMode::Auto,
        approval: Approval::Manual,
    })
}

fn samples() -> Vec<Event> {
    let order = order();
    let courier_id = CourierId::new("carla").unwrap();
    let reason = "a reason".to_owned();
    let o = || order.clone();
    vec![
        Event::Order(OrderEvent::Created(Created { order: o() })),
        Event::Order(OrderEvent::AwaitingApproval(AwaitingApproval { order: o() })),
        Event::Order(OrderEvent::CreateDelivery(CreateDelivery { order: o() })),
        Event::Order(OrderEvent::CancelPayment(CancelPayment {
            order: o(),
            reason: reason.clone(),
        })),
        Event::Order(OrderEvent::Completed(Completed {
            order: o(),
            courier_id: courier_id.clone(),
        })),
        Event::Order(OrderEvent::Cancelled(OrderCancelled {
            order: o(),
            reason: reason.clone(),
            charged: true,
            delivery_requested: true,
        })),
        Event::Payment(PaymentEvent::Opened(Opened {
            order: o(),
            expires_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        })),
        Event::Payment(PaymentEvent::Expired(Expired { order: o() })),
        Event::Payment(PaymentEvent::Charged(Charged {
            order: o(),
            reference: "sim-42".to_owned(),
        })),
        Event::Payment(PaymentEvent::Failed(PaymentFailed {
            order: o(),
            reason: reason.clone(),
        })),
        Event::Payment(PaymentEvent::Cancelled(PaymentCancelled {
            order: o(),
            reason: reason.clone(),
        })),
        Event::Payment(PaymentEvent::Refunded(Refunded {
            order: o(),
            reason: reason.clone(),
        })),
        Event::Payment(PaymentEvent::CancelOrder(CancelOrder {
            order: o(),
            reason: reason.clone(),
            charged: true,
        })),
        Event::Inventory(InventoryEvent::Reserved(Reserved { order: o() })),
        Event::Inventory(InventoryEvent::ReservationFailed(ReservationFailed {
            order: o(),
            reason: reason.clone(),
        })),
        Event::Inventory(InventoryEvent::Released(Released { order: o() })),
        Event::Delivery(DeliveryEvent::Assigned(Assigned {
            order: o(),
            courier_id: courier_id.clone(),
        })),
        Event::Delivery(DeliveryEvent::CancelPayment(NoCourier { order: o(), reason })),
        Event::Delivery(DeliveryEvent::Cancelled(DeliveryCancelled {
            order: o(),
            courier_id: Some(courier_id),
        })),
    ]
}

fn golden(service: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(service)
}

#[test]
fn every_event_has_a_golden_json_and_reads_it_back() {
    let samples = samples();
    let shown: Vec<_> = samples.iter().map(Event::name).collect();
    for name in Event::names() {
        assert!(
            shown.contains(&name),
            "no sample of {}/{}: add one to `samples` in {}",
            name.service,
            name.entry,
            file!()
        );
    }
    for event in samples {
        let name = event.name();
        let body = event.encode();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let pretty = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        let folder = golden(name.service);
        let path = folder.join(format!("{}.json", name.entry));
        let is_written = std::env::var_os("UPDATE_EXPECT").is_some();
        if is_written {
            std::fs::create_dir_all(&folder).unwrap();
        }
        assert!(
            is_written || path.exists(),
            "{} is not there yet: `UPDATE_EXPECT=1 cargo test -p quadrille-events --test golden` writes it",
            path.display()
        );
        expect_file![&path].assert_eq(&pretty);
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(Event::decode(name.service, name.entry, &golden).unwrap(), event);
    }
}

#[test]
fn no_golden_file_is_left_of_an_event_that_is_gone() {
    for service in Event::SERVICES {
        for file in std::fs::read_dir(golden(service)).into_iter().flatten() {
            let file = file.unwrap().file_name().into_string().unwrap();
            assert!(
                Event::names().any(|name| name.service == service && format!("{}.json", name.entry) == file),
                "golden/{service}/{file} belongs to no event",
            );
        }
    }
}

#[test]
fn entries_are_one_token_and_unique_in_their_bucket() {
    let mut seen = BTreeMap::new();
    for name in Event::names() {
        assert!(!name.entry.contains(['.', '*', '>', ' ']), "{}", name.entry);
        assert!(
            seen.insert((name.service, name.entry), name).is_none(),
            "{} twice",
            name.entry
        );
    }
}

#[test]
fn an_envelope_survives_its_headers() {
    let about = OrderId::new("42").unwrap().aggregate();
    let name = Created::NAME;
    let trace = TraceParent::of(&about);
    let envelope = Envelope::new(
        name,
        &about,
        0,
        "2026-01-02T03:04:05.678Z".parse().unwrap(),
        "http/create",
        &trace,
    );
    let headers: BTreeMap<_, _> = envelope.clone().headers().into_iter().collect();
    let read = |without: &'static str| {
        Envelope::read(name, &about, |key| {
            headers.get(key).filter(|_| key != without).map(String::as_str)
        })
    };
    assert_eq!(read(""), Ok(envelope));
    assert_eq!(read("ce-type"), Err(EnvelopeError::Missing("ce-type")));
    assert_eq!(read("traceparent"), Err(EnvelopeError::Missing("traceparent")));
}

#[test]
fn an_unknown_version_is_named() {
    let about = OrderId::new("42").unwrap().aggregate();
    let name = Created::NAME;
    let envelope = Envelope::new(
        name,
        &about,
        0,
        jiff::Timestamp::UNIX_EPOCH,
        "x",
        &TraceParent::of(&about),
    );
    let headers: BTreeMap<_, _> = envelope.headers().into_iter().collect();
    let error = Envelope::read(name, &about, |key| {
        if key == "ce-eventversion" {
            Some("2")
        } else {
            headers.get(key).map(String::as_str)
        }
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the header `ce-eventversion` is `2`: this version of the event is not known here"
    );
}
