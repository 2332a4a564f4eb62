//! Sample states and inputs of the inventory service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{Samples, id, order, order_of};
use quadrille_events::{InventoryEvent, Order, Released, ReservationFailed, Reserved, Shipped};

use crate::InventoryService;
use crate::decide::{Input, State, Stock, key};

pub fn samples() -> Samples<InventoryService> {
    let (order, greedy) = (Arc::new(order("42")), Arc::new(order_of("42", &[("apple", 200)])));
    let reserved = InventoryEvent::from(Reserved { order: order.clone() });
    let failed = InventoryEvent::from(ReservationFailed {
        order: order.clone(),
        reason: "sold out".to_owned(),
    });
    let released = InventoryEvent::from(Released { order: order.clone() });
    let shipped = InventoryEvent::from(Shipped { order: order.clone() });
    let reserve = |order: &Arc<Order>, fails| Input::Reserve {
        order: order.clone(),
        fails,
    };
    let cancelled = |asked| Input::Cancelled {
        order: order.clone(),
        asked,
    };
    let put = |quantity| Input::Stock {
        item_id: id("apple"),
        quantity,
    };
    Samples {
        states: vec![
            ("none", vec![]),
            ("reserved", vec![reserved.clone()]),
            ("failed", vec![failed]),
            ("released", vec![reserved.clone(), released]),
            ("shipped", vec![reserved, shipped]),
        ],
        heard: vec![
            ("reserve", reserve(&order, false)),
            ("reserve (too many)", reserve(&greedy, false)),
            ("reserve (simulated failure)", reserve(&order, true)),
            ("delivery.delivered", Input::Delivered(order.clone())),
            ("order.cancelled", cancelled(true)),
            ("order.cancelled (unasked)", cancelled(false)),
        ],
        commands: vec![
            ("stock", put(20)),
            ("stock (the same)", put(10)),
            ("stock (too few)", put(1)),
        ],
        outcomes: |ask| match *ask {},
        records: BTreeMap::from([(
            key(&id("apple")),
            Stock {
                quantity: 10,
                reserved: 2,
            },
        )]),
        state_name: State::name,
    }
}
