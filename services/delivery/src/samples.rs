//! Sample states and inputs of the delivery service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{NamedInputs, Samples, id, order};
use quadrille_events::{Assigned, DeliveryCancelled, DeliveryEvent, NoCourier};

use crate::DeliveryService;
use crate::decide::{Ask, Courier, Input, State, key};
use crate::desk::DeskResult;

pub fn samples() -> Samples<DeliveryService> {
    let order = Arc::new(order("42"));
    let assigned = DeliveryEvent::from(Assigned {
        order: order.clone(),
        courier_id: id("carla"),
    });
    let no_courier = DeliveryEvent::from(NoCourier {
        order: order.clone(),
        reason: "too far".to_owned(),
    });
    let called_back = DeliveryEvent::from(DeliveryCancelled {
        order: order.clone(),
        courier_id: None,
    });
    let cancelled = |asked| Input::Cancelled {
        order: order.clone(),
        asked,
    };
    let report = |capacity| Input::Courier {
        courier_id: id("carla"),
        capacity,
    };
    let remove = |name| Input::RemoveCourier { courier_id: id(name) };
    let record = |name, capacity, load| (key(&id(name)), Courier { capacity, load });
    Samples {
        states: vec![
            ("none", vec![]),
            ("assigned", vec![assigned]),
            ("no-courier", vec![no_courier]),
            ("cancelled", vec![called_back]),
        ],
        heard: vec![
            ("create-delivery", Input::Deliver(order.clone())),
            ("order.cancelled", cancelled(true)),
            ("order.cancelled (unasked)", cancelled(false)),
        ],
        commands: vec![
            ("courier", report(5)),
            ("courier (the same)", report(3)),
            ("courier (too small)", report(0)),
            ("remove-courier", remove("dora")),
            ("remove-courier (busy)", remove("carla")),
            ("remove-courier (unknown)", remove("emil")),
        ],
        outcomes,
        records: BTreeMap::from([record("carla", 3, 1), record("dora", 0, 0)]),
        state_name: State::name,
    }
}

/// All outcomes of a call to the desk.
fn outcomes(ask: &Ask) -> NamedInputs<Input> {
    let Ask::Desk { order } = ask.clone();
    let refused = DeskResult::Refused {
        reason: "too far".to_owned(),
    };
    [
        ("desk: accepted", DeskResult::Accepted),
        ("desk: refused", refused),
    ]
    .map(|(name, result)| {
        let order = order.clone();
        (name, Input::Desk { order, result })
    })
    .into()
}
