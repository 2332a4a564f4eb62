//! The decisions of the payment service: what it does with each input in each state.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quadrille_decision::{AskError, Context, Deadline, Decision, Reads, Refusal, Service, Wire};
use quadrille_events::{
    AggregateId, Body, CancelOrder, CancelPayment, Charged, Created, Expired, Flow, NoCourier, Opened, Order,
    OrderId, PaymentCancelled, PaymentEvent, PaymentFailed, PaymentMode, Refunded, ReservationFailed,
    Reserved, TypedId,
};

use crate::PaymentService;
use crate::provider::ChargeResult;

/// A confirmation is refused, without a call to the provider, if less than this is left until the deadline: the broker publishes
/// `payment.expired` by its own clock, possibly before the provider has answered. A provider usually answers in a fraction of
/// this.
const LAST_CALL: SignedDuration = SignedDuration::from_millis(100);

#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    None,
    /// Waits for the customer.
    Opened {
        order: Arc<Order>,
        expires_at: Timestamp,
    },
    /// The broker has published `payment.expired`; the cancellation follows.
    Expired { order: Arc<Order> },
    /// The provider took the total.
    Charged {
        order: Arc<Order>,
        /// The provider's reference of the charge.
        reference: String,
    },
    /// The provider declined. Final.
    Failed { order: Arc<Order>, reason: String },
    /// Cancelled before anything was taken. Final.
    Cancelled { order: Arc<Order>, reason: String },
    /// The customer has the total back. Final.
    Refunded { order: Arc<Order>, reason: String },
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The order is to be paid.
    Requested {
        order: Arc<Order>,
        /// How long the customer has to confirm, if the payment is manual.
        pay_within: Duration,
    },
    /// The order will not be delivered: cancel or refund.
    CancelPayment { order: Arc<Order>, reason: String },
    /// There is not enough stock: cancel or refund.
    ReservationFailed { order: Arc<Order>, reason: String },
    /// The broker published `payment.expired`.
    Expired { order: Arc<Order> },
    /// The payment was cancelled: the provider must give back what it may have taken all the same.
    Voiding { order: Arc<Order> },
    /// Command: the customer confirms.
    Confirm { order_id: OrderId },
    /// Command: the customer cancels.
    Cancel { order_id: OrderId, reason: String },
    /// The provider's answer to [`Ask::Charge`].
    Charge { order: Arc<Order>, result: ChargeResult },
    /// The provider has done [`Ask::Refund`].
    Refund { order: Arc<Order>, reason: String },
    /// The provider has done [`Ask::Void`].
    Void { order: Arc<Order> },
}

/// Calls to the provider.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Take the total.
    Charge { order: Arc<Order> },
    /// Give back the total.
    Refund { order: Arc<Order>, reason: String },
    /// Give back what was taken, if anything was, and take nothing from now on.
    Void { order: Arc<Order> },
}

impl Service for PaymentService {
    type Said = PaymentEvent;
    type State = State;
    type Input = Input;
    type Record = ();
    type Ask = Ask;

    fn wires(&self) -> Vec<Wire<Input>> {
        let pay_within = self.pay_within;
        let requested = move |order| Input::Requested { order, pay_within };
        vec![
            match self.flow {
                Flow::PayFirst => Wire::on::<Created>(move |heard| requested(heard.order)),
                Flow::ReserveFirst => Wire::on::<Reserved>(move |heard| requested(heard.order)),
            },
            Wire::on::<ReservationFailed>(|heard| Input::ReservationFailed {
                order: heard.order,
                reason: heard.reason,
            }),
            Wire::on::<CancelPayment>(|heard| Input::CancelPayment {
                order: heard.order,
                reason: heard.reason,
            }),
            Wire::on::<NoCourier>(|heard| Input::CancelPayment {
                order: heard.order,
                reason: heard.reason,
            }),
            // Events of its own: the one that the broker publishes on its behalf, and the one after which the provider must be
            // called.
            Wire::on::<Expired>(|heard| Input::Expired { order: heard.order }),
            Wire::on::<PaymentCancelled>(|heard| Input::Voiding { order: heard.order }),
        ]
    }

    fn about(input: &Input) -> Option<AggregateId> {
        match input {
            Input::Requested { order, .. }
            | Input::CancelPayment { order, .. }
            | Input::ReservationFailed { order, .. }
            | Input::Expired { order }
            | Input::Voiding { order }
            | Input::Charge { order, .. }
            | Input::Refund { order, .. }
            | Input::Void { order } => Some(order.order_id.aggregate()),
            Input::Confirm { order_id } | Input::Cancel { order_id, .. } => Some(order_id.aggregate()),
        }
    }

    fn opens(input: &Input) -> bool {
        match input {
            Input::Requested { .. } => true,
            // A payment that is charged at once was never opened.
            Input::Charge { order, .. } => order.payment == PaymentMode::Auto,
            Input::CancelPayment { .. }
            | Input::ReservationFailed { .. }
            | Input::Expired { .. }
            | Input::Voiding { .. }
            | Input::Confirm { .. }
            | Input::Cancel { .. }
            | Input::Refund { .. }
            | Input::Void { .. } => false,
        }
    }

    fn reads(_: &Input) -> Reads {
        Reads::Nothing
    }

    fn fold(state: &mut State, said: &PaymentEvent) {
        *state = match said {
            PaymentEvent::Opened(Opened { order, expires_at }) => State::Opened {
                order: order.clone(),
                expires_at: *expires_at,
            },
            PaymentEvent::Expired(Expired { order }) => match state {
                State::None | State::Opened { .. } => State::Expired { order: order.clone() },
                // The broker publishes a scheduled event without looking at the other entries of the order. If that happens
                // right after the commit that purges the schedule, the decision of that commit stands.
                State::Expired { .. }
                | State::Charged { .. }
                | State::Failed { .. }
                | State::Cancelled { .. }
                | State::Refunded { .. } => return,
            },
            PaymentEvent::Charged(Charged { order, reference }) => State::Charged {
                order: order.clone(),
                reference: reference.clone(),
            },
            PaymentEvent::Failed(PaymentFailed { order, reason }) => State::Failed {
                order: order.clone(),
                reason: reason.clone(),
            },
            PaymentEvent::Cancelled(PaymentCancelled { order, reason }) => State::Cancelled {
                order: order.clone(),
                reason: reason.clone(),
            },
            PaymentEvent::Refunded(Refunded { order, reason }) => State::Refunded {
                order: order.clone(),
                reason: reason.clone(),
            },
            // Always said together with `payment.failed`, `payment.cancelled` or `payment.refunded`.
            PaymentEvent::CancelOrder(_) => return,
        };
    }

    // Longer than a screen: one total match, every pair of state and input named.
    fn decide(state: &State, input: &Input, context: &Context<'_, ()>) -> Decision<Self> {
        match (state, input) {
            // The order is to be paid.
            (State::None, Input::Requested { order, pay_within }) => {
                let order = order.clone();
                match order.payment {
                    PaymentMode::Auto => Decision::Ask(Ask::Charge { order }),
                    PaymentMode::Manual => {
                        let at = context.now.checked_add(*pay_within).unwrap_or(Timestamp::MAX);
                        let says = Expired { order: order.clone() }.into();
                        Decision::say([Opened {
                            order,
                            expires_at: at,
                        }
                        .into()])
                        .with_deadline(Deadline::Set { at, says })
                    }
                }
            }
            (State::Opened { .. }, Input::Requested { .. }) => Decision::Ignore("already opened"),
            (State::Expired { .. }, Input::Requested { .. }) => Decision::Ignore("already expired"),
            (State::Charged { .. }, Input::Requested { .. }) => Decision::Ignore("already charged"),
            (State::Failed { .. }, Input::Requested { .. }) => Decision::Ignore("already declined"),
            // Most likely the cancellation overtook the request.
            (State::Cancelled { .. }, Input::Requested { .. }) => Decision::Ignore("already cancelled"),
            (State::Refunded { .. }, Input::Requested { .. }) => Decision::Ignore("already refunded"),

            // There will be no delivery, or there is not enough stock. In the state `None` this input overtook the request,
            // which will find the payment cancelled.
            (
                State::None | State::Opened { .. } | State::Expired { .. },
                Input::CancelPayment { order, reason } | Input::ReservationFailed { order, reason },
            ) => cancel(state, order, reason),
            // The charged order, not the heard one: its `placed_at` is part of the call's key, and two inputs may differ there if one
            // of them was said by an older program.
            (
                State::Charged { order, .. },
                Input::CancelPayment { reason, .. } | Input::ReservationFailed { reason, .. },
            ) => Decision::Ask(Ask::Refund {
                order: order.clone(),
                reason: reason.clone(),
            }),
            (State::Failed { .. }, Input::CancelPayment { .. } | Input::ReservationFailed { .. }) => {
                Decision::Ignore("already declined: nothing was taken")
            }
            (State::Cancelled { .. }, Input::CancelPayment { .. } | Input::ReservationFailed { .. }) => {
                Decision::Ignore("already cancelled")
            }
            (State::Refunded { .. }, Input::CancelPayment { .. } | Input::ReservationFailed { .. }) => {
                Decision::Ignore("already refunded")
            }

            // The deadline passed. The entry `expired` is stored before the service hears it, so the state is `Expired`, unless
            // it was read before that; then the broker refuses the commit, and the input is decided again.
            (State::None, Input::Expired { .. }) => Decision::Ignore("unknown payment: its entries are gone"),
            (State::Opened { .. } | State::Expired { .. }, Input::Expired { order }) => {
                cancel(state, order, "the payment was not confirmed in time")
            }
            (State::Charged { .. }, Input::Expired { .. }) => Decision::Ignore("charged before the deadline"),
            (State::Failed { .. }, Input::Expired { .. }) => Decision::Ignore("declined before the deadline"),
            (State::Cancelled { .. }, Input::Expired { .. }) => Decision::Ignore("already cancelled"),
            (State::Refunded { .. }, Input::Expired { .. }) => Decision::Ignore("already refunded"),

            // The payment was cancelled, and no charge is recorded. But a charge whose outcome was never stored may have
            // succeeded: the process died, or the cancellation was faster. So the provider is called in any case. (In the state
            // `None` the entries have aged away; `payment.cancelled` was said all the same.)
            (State::None | State::Cancelled { .. }, Input::Voiding { order }) => {
                Decision::Ask(Ask::Void { order: order.clone() })
            }
            (
                State::Opened { .. }
                | State::Expired { .. }
                | State::Charged { .. }
                | State::Failed { .. }
                | State::Refunded { .. },
                Input::Voiding { .. },
            ) => Decision::Ignore("cannot be: the cancellation of a payment is final"),

            // The customer confirms.
            (State::None, Input::Confirm { order_id }) => not_found(order_id),
            (State::Opened { order, expires_at }, Input::Confirm { .. }) => {
                if expires_at.duration_since(context.now) < LAST_CALL {
                    Decision::Refuse(Refusal::Conflict(format!(
                        "the payment had to be confirmed before {expires_at}"
                    )))
                } else {
                    Decision::Ask(Ask::Charge { order: order.clone() })
                }
            }
            (State::Charged { .. }, Input::Confirm { .. }) => Decision::Ignore("already charged"),
            (
                State::Expired { .. }
                | State::Failed { .. }
                | State::Cancelled { .. }
                | State::Refunded { .. },
                Input::Confirm { .. },
            ) => Decision::Refuse(Refusal::Conflict(state.in_words())),

            // The customer cancels.
            (State::None, Input::Cancel { order_id, .. }) => not_found(order_id),
            (State::Opened { order, .. } | State::Expired { order }, Input::Cancel { reason, .. }) => {
                cancel(state, order, reason)
            }
            (State::Cancelled { .. }, Input::Cancel { .. }) => Decision::Ignore("already cancelled"),
            (State::Charged { .. } | State::Failed { .. } | State::Refunded { .. }, Input::Cancel { .. }) => {
                Decision::Refuse(Refusal::Conflict(state.in_words()))
            }

            // The provider answered to a charge.
            (State::None | State::Opened { .. }, Input::Charge { order, result }) => {
                charged(state, order, result)
            }
            (State::Expired { .. }, Input::Charge { .. }) => {
                Decision::Ignore("expired meanwhile: the cancellation that follows gives back what was taken")
            }
            (State::Charged { .. }, Input::Charge { .. }) => Decision::Ignore("already charged"),
            (State::Failed { .. }, Input::Charge { .. }) => {
                Decision::Ignore("already declined: one idempotency key, one answer of the provider")
            }
            (State::Cancelled { .. }, Input::Charge { .. }) => {
                Decision::Ignore("cancelled meanwhile: the cancellation gives back what was taken")
            }
            (State::Refunded { .. }, Input::Charge { .. }) => Decision::Ignore("already refunded"),

            // The provider has given back the total.
            (State::Charged { .. }, Input::Refund { order, reason }) => Decision::say([
                Refunded {
                    order: order.clone(),
                    reason: reason.clone(),
                }
                .into(),
                CancelOrder {
                    order: order.clone(),
                    reason: reason.clone(),
                    charged: true,
                }
                .into(),
            ]),
            (State::Refunded { .. }, Input::Refund { .. }) => Decision::Ignore("already refunded"),
            (State::None, Input::Refund { .. }) => Decision::Ignore("unknown payment: its entries are gone"),
            (
                State::Opened { .. } | State::Expired { .. } | State::Failed { .. } | State::Cancelled { .. },
                Input::Refund { .. },
            ) => Decision::Ignore("cannot be: only what was charged is refunded"),

            // The provider has voided the payment.
            (
                State::None
                | State::Opened { .. }
                | State::Expired { .. }
                | State::Charged { .. }
                | State::Failed { .. }
                | State::Cancelled { .. }
                | State::Refunded { .. },
                Input::Void { .. },
            ) => Decision::Ignore("nothing is held at the provider"),
        }
    }

    fn asks_outside(&self) -> bool {
        self.provider.is_outside()
    }

    async fn ask(&self, ask: Ask) -> Result<Input, AskError> {
        match ask {
            Ask::Charge { order } => {
                let result = self.provider.charge(&order, &key::<Charged>(&order)).await?;
                Ok(Input::Charge { order, result })
            }
            Ask::Refund { order, reason } => {
                self.provider.refund(&order, &key::<Refunded>(&order)).await?;
                Ok(Input::Refund { order, reason })
            }
            Ask::Void { order } => {
                self.provider
                    .void(&order, &key::<PaymentCancelled>(&order))
                    .await?;
                Ok(Input::Void { order })
            }
        }
    }
}

impl State {
    /// The state's name in HTTP answers.
    pub fn name(&self) -> &'static str {
        match self {
            State::None => "none",
            State::Opened { .. } => "opened",
            State::Expired { .. } => "expired",
            State::Charged { .. } => "charged",
            State::Failed { .. } => "failed",
            State::Cancelled { .. } => "cancelled",
            State::Refunded { .. } => "refunded",
        }
    }

    /// The state in words, for a customer whose command comes too late.
    pub fn in_words(&self) -> String {
        match self {
            State::None => "the payment was not requested yet".to_owned(),
            State::Opened { expires_at, .. } => {
                format!("the payment waits for confirmation until {expires_at}")
            }
            State::Expired { .. } => "the payment was not confirmed in time".to_owned(),
            State::Charged { .. } => {
                "the payment is charged already; cancel the order instead (POST /orders/cancel)".to_owned()
            }
            State::Failed { reason, .. } => format!("the payment was declined: {reason}"),
            State::Cancelled { reason, .. } => format!("the payment is cancelled: {reason}"),
            State::Refunded { reason, .. } => format!("the payment is refunded: {reason}"),
        }
    }
}

/// The idempotency key of the call whose outcome is the event `B`: the name of that event's entry, so that a call that is
/// repeated, by any instance, is the same call to the provider; and when the order was placed, because a provider may remember
/// a key for longer than this system remembers the order, whose id may then come again. An order without that time keeps the key
/// that it had.
pub fn key<B: Body>(order: &Order) -> String {
    let entry = format!("{}/{}", B::NAME.service, B::NAME.id(&order.order_id));
    match order.placed_at {
        Some(placed_at) => format!("{entry}@{}", placed_at.as_millisecond()),
        None => entry,
    }
}

fn charged(state: &State, order: &Arc<Order>, result: &ChargeResult) -> Decision<PaymentService> {
    let order = order.clone();
    let decision = match result {
        ChargeResult::Approved { reference } => Decision::say([Charged {
            order,
            reference: reference.clone(),
        }
        .into()]),
        ChargeResult::Declined { reason } => Decision::say([
            PaymentFailed {
                order: order.clone(),
                reason: reason.clone(),
            }
            .into(),
            CancelOrder {
                order,
                reason: format!("the payment was declined: {reason}"),
                charged: false,
            }
            .into(),
        ]),
    };
    decision.with_deadline(deadline_after(state))
}

fn cancel(state: &State, order: &Arc<Order>, reason: &str) -> Decision<PaymentService> {
    Decision::say([
        PaymentCancelled {
            order: order.clone(),
            reason: reason.to_owned(),
        }
        .into(),
        CancelOrder {
            order: order.clone(),
            reason: reason.to_owned(),
            charged: false,
        }
        .into(),
    ])
    .with_deadline(deadline_after(state))
}

/// The end of an open payment removes its deadline in the same commit; no other payment has a deadline.
fn deadline_after(state: &State) -> Deadline<PaymentEvent> {
    match state {
        State::Opened { .. } => Deadline::Clear,
        State::None
        | State::Expired { .. }
        | State::Charged { .. }
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::Refunded { .. } => Deadline::Keep,
    }
}

fn not_found(order_id: &OrderId) -> Decision<PaymentService> {
    Decision::Refuse(Refusal::NotFound(format!(
        "there is no payment to confirm or cancel for order `{order_id}` (yet, if the order was placed just now)"
    )))
}
