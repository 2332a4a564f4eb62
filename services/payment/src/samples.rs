//! Sample states and inputs of the payment service: for its table of decisions (`tests/pairs.txt`), the map and the cost tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use quadrille_decision::testing::{NOW, NamedInputs, Samples, id, order};
use quadrille_events::{
    CancelOrder, Charged, Expired, Opened, Order, PaymentCancelled, PaymentEvent, PaymentFailed, PaymentMode,
    Refunded,
};

use crate::decide::{Ask, Input, State};
use crate::provider::ChargeResult;
use crate::{PAYMENT_DEADLINE, PaymentService};

// Longer than a screen: a table.
pub fn samples() -> Samples<PaymentService> {
    let auto = Arc::new(order("42"));
    let manual = Arc::new(Order {
        payment: PaymentMode::Manual,
        ..order("42")
    });
    let order = auto.clone();
    let reason = "a reason".to_owned();

    let opened = PaymentEvent::from(Opened {
        order: manual.clone(),
        expires_at: NOW + PAYMENT_DEADLINE,
    });
    let expired = PaymentEvent::from(Expired {
        order: manual.clone(),
    });
    let charged = PaymentEvent::from(Charged {
        order: order.clone(),
        reference: "ref-1".to_owned(),
    });
    let failed = PaymentEvent::from(PaymentFailed {
        order: order.clone(),
        reason: "no funds".to_owned(),
    });
    let cancelled = PaymentEvent::from(PaymentCancelled {
        order: order.clone(),
        reason: reason.clone(),
    });
    let refunded = PaymentEvent::from(Refunded {
        order: order.clone(),
        reason: reason.clone(),
    });
    let cancel_order = |charged| {
        PaymentEvent::from(CancelOrder {
            order: order.clone(),
            reason: reason.clone(),
            charged,
        })
    };
    let requested = |order: Arc<Order>| Input::Requested {
        order,
        pay_within: PAYMENT_DEADLINE,
    };
    Samples {
        states: vec![
            ("none", vec![]),
            ("opened", vec![opened.clone()]),
            ("expired", vec![opened, expired]),
            ("charged", vec![charged.clone()]),
            ("failed", vec![failed, cancel_order(false)]),
            ("cancelled", vec![cancelled, cancel_order(false)]),
            ("refunded", vec![charged, refunded, cancel_order(true)]),
        ],
        heard: vec![
            ("requested (auto)", requested(auto)),
            ("requested (manual)", requested(manual)),
            (
                "cancel-payment",
                Input::CancelPayment {
                    order: order.clone(),
                    reason: reason.clone(),
                },
            ),
            (
                "reservation.failed",
                Input::ReservationFailed {
                    order: order.clone(),
                    reason: reason.clone(),
                },
            ),
            ("payment.expired", Input::Expired { order: order.clone() }),
            ("payment.cancelled", Input::Voiding { order: order.clone() }),
        ],
        commands: vec![
            ("confirm", Input::Confirm { order_id: id("42") }),
            (
                "cancel",
                Input::Cancel {
                    order_id: id("42"),
                    reason: "too expensive".to_owned(),
                },
            ),
        ],
        outcomes,
        records: BTreeMap::new(),
        state_name: State::name,
    }
}

/// All outcomes of a call to the provider.
fn outcomes(ask: &Ask) -> NamedInputs<Input> {
    match ask.clone() {
        Ask::Charge { order } => {
            let approved = ChargeResult::Approved {
                reference: "ref-1".to_owned(),
            };
            let declined = ChargeResult::Declined {
                reason: "no funds".to_owned(),
            };
            [("provider: approved", approved), ("provider: declined", declined)]
                .map(|(name, result)| {
                    let order = order.clone();
                    (name, Input::Charge { order, result })
                })
                .into()
        }
        Ask::Refund { order, reason } => vec![("provider: refunded", Input::Refund { order, reason })],
        Ask::Void { order } => vec![("provider: voided", Input::Void { order })],
    }
}
