//! Sample states and inputs of the delivery service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{NamedInputs, Samples, id, order};
use quadrille_events::{Assigned, Delivered, DeliveryCancelled, DeliveryEvent, DeliveryFailed, NoCourier};

use crate::DeliveryService;
use crate::decide::{Ask, Courier, Input, State, key};
use crate::desk::DeskResult;

pub fn samples() -> Samples<DeliveryService> {
    let order = Arc::new(order("42"));
    let reason = "changed my mind".to_owned();
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
        reason: reason.clone(),
    });
    let delivered = DeliveryEvent::from(Delivered {
        order: order.clone(),
        courier_id: id("carla"),
    });
    let failed = DeliveryEvent::from(DeliveryFailed {
        order: order.clone(),
        courier_id: id("carla"),
        reason: "nobody at home".to_owned(),
    });
    let cancelled = |asked| Input::Cancelled {
        order: order.clone(),
        reason: reason.clone(),
        asked,
    };
    let report = |capacity| Input::Courier {
        courier_id: id("carla"),
        capacity,
    };
    let remove = |name| Input::RemoveCourier { courier_id: id(name) };
    let record = |name, capacity, orders: &[&str]| {
        let courier = Courier {
            capacity,
            load: orders.len() as u64,
            orders: orders.iter().map(|order_id| id(order_id)).collect(),
        };
        (key(&id(name)), courier)
    };
    Samples {
        states: vec![
            ("none", vec![]),
            ("assigned", vec![assigned.clone()]),
            ("no-courier", vec![no_courier]),
            ("cancelled", vec![called_back]),
            ("delivered", vec![assigned.clone(), delivered]),
            ("failed", vec![assigned, failed]),
        ],
        heard: vec![
            ("create-delivery", Input::Deliver(order.clone())),
            (
                "cancel-delivery",
                Input::CancelDelivery {
                    order: order.clone(),
                    reason: reason.clone(),
                },
            ),
            ("order.cancelled", cancelled(true)),
            ("order.cancelled (unasked)", cancelled(false)),
        ],
        commands: vec![
            ("confirm", Input::Confirm { order_id: id("42") }),
            (
                "fail",
                Input::Fail {
                    order_id: id("42"),
                    reason: "nobody at home".to_owned(),
                },
            ),
            ("courier", report(5)),
            ("courier (the same)", report(3)),
            ("courier (too small)", report(0)),
            ("remove-courier", remove("dora")),
            ("remove-courier (busy)", remove("carla")),
            ("remove-courier (unknown)", remove("emil")),
        ],
        outcomes,
        records: BTreeMap::from([record("carla", 3, &["42"]), record("dora", 0, &[])]),
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
