//! Sample states and inputs of the order service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{Samples, id, order};
use quadrille_events::{
    Approval, AwaitingApproval, CancelPayment, Completed, CreateDelivery, Created, Currency, Order,
    OrderCancelled, OrderEvent, PaymentMode,
};

use crate::OrderService;
use crate::decide::{Input, State};
use crate::price::{ItemPrice, LineRequest, OrderRequest, key};

/// The price of a sample item: 250 a piece, as in [`order`].
pub fn price(version: u64) -> ItemPrice {
    ItemPrice {
        version,
        price: 250,
        currency: Currency::EUR,
        withdrawn: false,
    }
}

/// A price list of these items.
pub fn prices(items: &[&str]) -> BTreeMap<String, ItemPrice> {
    items.iter().map(|item| (key(&id(item)), price(1))).collect()
}

// Longer than a screen: a table.
pub fn samples() -> Samples<OrderService> {
    let placed = |payment, approval| {
        Arc::new(Order {
            payment,
            approval,
            ..order("42")
        })
    };
    let auto = placed(PaymentMode::Auto, Approval::Auto);
    let manual = placed(PaymentMode::Auto, Approval::Manual);
    let reason = "changed my mind".to_owned();
    let courier_id = id("carla");

    let created = |order: &Arc<Order>| OrderEvent::from(Created { order: order.clone() });
    let awaiting_approval = OrderEvent::from(AwaitingApproval {
        order: manual.clone(),
    });
    let create_delivery = OrderEvent::from(CreateDelivery { order: auto.clone() });
    let cancel_payment = OrderEvent::from(CancelPayment {
        order: auto.clone(),
        reason: reason.clone(),
    });
    let completed = OrderEvent::from(Completed {
        order: auto.clone(),
        courier_id: id("carla"),
    });
    let cancelled = OrderEvent::from(OrderCancelled {
        order: auto.clone(),
        reason: reason.clone(),
        charged: false,
        delivery_requested: false,
    });
    let create = |order: &Arc<Order>| Input::Create(Arc::new(OrderRequest::from(&**order)));
    let line = LineRequest {
        item_id: id("apple"),
        quantity: 2,
        unit_price: None,
    };
    let asked = |line| {
        let request = OrderRequest::from(&*auto);
        Input::Create(Arc::new(OrderRequest {
            lines: vec![line],
            total: None,
            ..request
        }))
    };
    let priced = |version| Input::Priced {
        item_id: id("apple"),
        price: price(version),
    };
    Samples {
        states: vec![
            ("none", vec![]),
            ("created (approval auto)", vec![created(&auto)]),
            ("created (approval manual)", vec![created(&manual)]),
            ("awaiting-approval", vec![created(&manual), awaiting_approval]),
            ("confirmed", vec![created(&auto), create_delivery.clone()]),
            (
                "cancelling",
                vec![created(&auto), create_delivery.clone(), cancel_payment.clone()],
            ),
            ("completed", vec![created(&auto), create_delivery, completed]),
            ("cancelled", vec![created(&auto), cancel_payment, cancelled]),
        ],
        heard: vec![
            ("item.updated", priced(2)),
            ("item.updated (again)", priced(1)),
            ("ready", Input::Ready(auto.clone())),
            ("ready (approval manual)", Input::Ready(manual.clone())),
            (
                "delivery.assigned",
                Input::Assigned {
                    order: auto.clone(),
                    courier_id,
                },
            ),
            (
                "cancel-order",
                Input::CancelOrder {
                    order: auto.clone(),
                    reason: reason.clone(),
                    charged: true,
                },
            ),
        ],
        commands: vec![
            ("create", create(&auto)),
            ("create (approval manual)", create(&manual)),
            (
                "create (payment manual)",
                create(&placed(PaymentMode::Manual, Approval::Auto)),
            ),
            (
                "create (both manual)",
                create(&placed(PaymentMode::Manual, Approval::Manual)),
            ),
            (
                "create (wrong price)",
                asked(LineRequest {
                    unit_price: Some(1),
                    ..line.clone()
                }),
            ),
            (
                "create (no such item)",
                asked(LineRequest {
                    item_id: id("griffin"),
                    ..line
                }),
            ),
            ("confirm", Input::Approve { order_id: id("42") }),
            (
                "cancel",
                Input::Cancel {
                    order_id: id("42"),
                    reason,
                },
            ),
        ],
        outcomes: |ask| match *ask {},
        records: prices(&["apple"]),
        state_name: State::name,
    }
}
