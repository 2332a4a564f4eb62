//! The map is fresh, and what it shows is sound.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use quadrille_events::{
    AggregateKind, Assigned, AwaitingApproval, Body, CancelDelivery, CancelPayment, Charged, Completed,
    Created, DeliveryEvent, Event, EventName, Expired, Flow, MAX_DESCRIPTION, MAX_ITEM_NAME, MAX_MONEY,
    MAX_QUANTITY, MAX_TAGS, OrderCancelled, ReservationFailed, Reserved, Said,
};
use quadrille_map::{Exploration, Explorer, MapEdge, both, document, files, previous, yaml};
use serde_json::{Value, json};

#[test]
fn the_committed_files_are_fresh() {
    for (path, fresh) in files(&both()).unwrap() {
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == fresh,
            "{} is stale: `just map` writes it anew",
            path.display()
        );
    }
}

#[test]
fn the_choreography_is_sound_in_both_flows() {
    for (flow, explored) in both() {
        assert_eq!(explored.problems(), Vec::<String>::new(), "{flow}");
    }
}

/// `docs/names.md` translates into names that exist, and leaves out none.
#[test]
fn the_page_of_names_has_every_event_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/names.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let here: BTreeSet<&str> = rows
        .filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .collect();
    let said: BTreeSet<&str> = Event::names().map(|name| name.subject).collect();
    assert_eq!(here, said);
}

/// The example of an event: its golden JSON.
fn golden(name: &EventName) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/golden");
    std::fs::read(format!("{folder}/{}/{}.json", name.service, name.key())).unwrap()
}

#[test]
fn every_input_that_a_service_hears_is_among_its_samples() {
    for flow in [Flow::PayFirst, Flow::ReserveFirst] {
        assert_eq!(Explorer::of(flow).unsampled(golden), Vec::<String>::new());
    }
}

/// What is wrong once `service` does not hear `subject` any more.
#[track_caller]
fn missed(flow: Flow, service: &str, subject: &str) -> String {
    let problems = Explorer::of(flow)
        .without_wire(service, subject)
        .explore()
        .problems();
    assert!(
        !problems.is_empty(),
        "nobody misses that {service} hears {subject}"
    );
    problems.join("\n")
}

#[test]
fn an_event_that_nobody_hears_is_noticed() {
    let problems = missed(Flow::PayFirst, "payment", ReservationFailed::NAME.subject);
    assert!(
        problems.contains("nobody hears `inventory.reservation.failed` of inventory"),
        "{problems}"
    );
}

#[test]
fn a_state_that_waits_for_nobody_is_noticed() {
    let problems = missed(Flow::PayFirst, "payment", Expired::NAME.subject);
    assert!(
        problems.contains("hang for ever: order is `created`, payment is `expired`"),
        "{problems}"
    );
    let problems = missed(Flow::ReserveFirst, "order", Assigned::NAME.subject);
    assert!(
        problems.contains("hang for ever: order is `confirmed`"),
        "{problems}"
    );
}

#[test]
fn a_step_without_compensation_is_noticed() {
    // Delivery still hears of the cancellation, so every event is heard; but the goods stay reserved.
    let problems = missed(Flow::PayFirst, "inventory", OrderCancelled::NAME.subject);
    assert!(
        problems.contains("`inventory.reserved` cannot be undone any more after"),
        "{problems}"
    );
    assert!(
        problems.contains("`inventory.reserved` is left standing"),
        "{problems}"
    );
    let problems = missed(Flow::ReserveFirst, "delivery", CancelDelivery::NAME.subject);
    assert!(
        problems.contains("hang for ever: order is `cancelling`"),
        "{problems}"
    );
    let problems = missed(Flow::PayFirst, "payment", CancelPayment::NAME.subject);
    assert!(
        problems.contains("`payment.charged` cannot be undone any more after"),
        "{problems}"
    );
}

#[test]
fn every_wire_is_missed_when_it_is_cut() {
    for flow in [Flow::PayFirst, Flow::ReserveFirst] {
        for (service, heard) in Explorer::of(flow).explore().hears {
            for name in heard {
                if (service, name) != FOR_ORDERS_OF_RELEASE_0_1 {
                    missed(flow, service, name.subject);
                }
            }
        }
    }
}

/// The wire that no order needs but those of release 0.1.
const FOR_ORDERS_OF_RELEASE_0_1: (&str, &EventName) = (DeliveryEvent::SERVICE, OrderCancelled::NAME);

#[test]
fn orders_of_the_previous_release_end_and_need_their_wire() {
    let (service, name) = FOR_ORDERS_OF_RELEASE_0_1;
    for (flow, explored) in previous() {
        assert_eq!(explored.left_undone(), Vec::<String>::new(), "{flow}");
    }
    for flow in [Flow::PayFirst, Flow::ReserveFirst] {
        let cut = Explorer::of(flow)
            .with_orders_of_release_0_1()
            .without_wire(service, name.subject);
        let problems = cut.explore().left_undone().join("\n");
        assert!(
            problems.contains("`delivery.assigned` is left standing"),
            "{flow:?}: {problems}"
        );
    }
}

#[test]
fn the_flows_differ_in_three_wires() {
    let [(_, pay_first), (_, reserve_first)] = both();
    let wires = |explored: &Exploration| -> Vec<_> {
        let hears = explored.hears.iter();
        hears
            .flat_map(|(service, names)| names.iter().map(move |name| (*service, name.subject)))
            .collect()
    };
    let (pay, reserve) = (wires(&pay_first), wires(&reserve_first));
    let only_in = |a: &[(&'static str, &'static str)], b: &[(&'static str, &'static str)]| -> Vec<_> {
        a.iter().filter(|wire| !b.contains(wire)).copied().collect()
    };
    assert_eq!(
        only_in(&pay, &reserve),
        [
            ("inventory", Charged::NAME.subject),
            ("order", Reserved::NAME.subject),
            ("payment", Created::NAME.subject)
        ]
    );
    assert_eq!(
        only_in(&reserve, &pay),
        [
            ("inventory", Created::NAME.subject),
            ("order", Charged::NAME.subject),
            ("payment", Reserved::NAME.subject)
        ]
    );
}

#[test]
fn people_and_the_broker_are_on_the_map() {
    let [(_, explored), _] = both();
    let edges = explored.edges();
    let find = |from, to| {
        edges
            .iter()
            .find(|edge| edge.from == from && edge.to == to)
            .map(|edge: &MapEdge| edge.says.clone())
    };
    assert_eq!(find("people", "order"), Some(vec!["cancel", "confirm", "create"]));
    assert_eq!(find("broker", "payment"), Some(vec![Expired::NAME.subject]));
    assert_eq!(
        find("order", "outside"),
        Some(vec![AwaitingApproval::NAME.subject, Completed::NAME.subject])
    );
}

fn asyncapi() -> Value {
    document(&both()).unwrap()
}

/// A validator of one schema of the document.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let root = json!({ "components": document["components"], "allOf": [schema] });
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .should_validate_formats(true)
        .build(&root)
        .unwrap()
}

#[test]
fn every_event_has_a_message_whose_schemas_its_examples_fit() {
    let document = asyncapi();
    for name in Event::names() {
        let message = &document["components"]["messages"][format!("{}.{}", name.service, name.key())];
        let example = &message["examples"][0];
        for part in ["payload", "headers"] {
            let validator = validator(&document, &message[part]);
            assert!(example[part].is_object(), "{name} has no example of its {part}");
            assert!(
                validator.is_valid(&example[part]),
                "{name}: {:?}",
                validator.validate(&example[part])
            );
            assert!(!validator.is_valid(&json!({})), "{name}: anything goes as {part}");
        }
    }
}

#[test]
fn the_golden_events_fit_their_schemas_and_spoilt_ones_do_not() {
    let document = asyncapi();
    let of_orders = [
        ("/order/order_id", json!("a.b")),
        ("/order/order_id", json!("")),
        ("/order/currency", json!("euro")),
        ("/order/total", json!(-1)),
        ("/order/total", json!(MAX_MONEY + 1)),
        ("/order/lines", json!([])),
        ("/order/lines/0/quantity", json!(0)),
        ("/order/payment", json!("later")),
    ];
    let of_items = [
        ("/item_id", json!("a.b")),
        ("/version", json!(-1)),
        ("/item/name", json!("")),
        ("/item/name", json!("x".repeat(MAX_ITEM_NAME + 1))),
        ("/item/description", json!("x".repeat(MAX_DESCRIPTION + 1))),
        ("/item/currency", json!("euro")),
        ("/item/price", json!(0)),
        ("/item/price", json!(MAX_MONEY + 1)),
        ("/item/quantity", json!(MAX_QUANTITY + 1)),
        ("/item/tags", json!(vec!["x"; MAX_TAGS + 1])),
        ("/item/tags/0", json!("a b")),
    ];
    for name in Event::names() {
        let golden: Value = serde_json::from_slice(&golden(name)).unwrap();
        let message = &document["components"]["messages"][format!("{}.{}", name.service, name.key())];
        let validator = validator(&document, &message["payload"]);
        assert!(
            validator.is_valid(&golden),
            "{name}: {:?}",
            validator.validate(&golden)
        );
        let spoilt: &[(&str, Value)] = if name.about == AggregateKind::ORDER {
            &of_orders
        } else {
            &of_items
        };
        for (pointer, spoilt) in spoilt {
            let mut event = golden.clone();
            *event.pointer_mut(pointer).unwrap() = spoilt.clone();
            assert!(!validator.is_valid(&event), "{name}: {pointer} may be {spoilt}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = asyncapi();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference} leads nowhere"
        );
    }
}

#[test]
fn the_yaml_is_the_document() {
    let document = asyncapi();
    let read: Value = serde_norway::from_str(&yaml(&document).unwrap()).unwrap();
    assert_eq!(read, document);
}
