//! The decisions of the payment service: one total match on state and input.

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

/// A confirmation that comes later than so long before the deadline is refused, and the provider is not called: the broker's timer, by
/// its own clock, may go off before the provider has answered. A provider usually takes a fraction of it.
const LAST_CALL: SignedDuration = SignedDuration::from_millis(100);

/// How far a payment has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    /// No payment was asked for.
    #[default]
    None,
    /// The payment waits for the customer.
    Opened {
        order: Arc<Order>,
        /// Until when the customer can confirm.
        expires_at: Timestamp,
    },
    /// The deadline passed; the cancellation is next.
    Expired { order: Arc<Order> },
    /// The provider charged the total.
    Charged {
        order: Arc<Order>,
        /// The provider's own name for the charge.
        reference: String,
    },
    /// The provider declined. Final.
    Failed {
        order: Arc<Order>,
        /// The provider's reason.
        reason: String,
    },
    /// Cancelled before anything was charged. Final.
    Cancelled { order: Arc<Order>, reason: String },
    /// The charge was given back. Final.
    Refunded { order: Arc<Order>, reason: String },
}

/// The inputs that the payment service decides.
#[derive(Clone, Debug)]
pub enum Input {
    /// The order is to be paid.
    Requested {
        order: Arc<Order>,
        /// How long the customer has to confirm a manual payment.
        pay_within: Duration,
    },
    /// The order will not be delivered: cancel, or refund.
    CancelPayment { order: Arc<Order>, reason: String },
    /// There is not enough stock: cancel, or refund.
    ReservationFailed { order: Arc<Order>, reason: String },
    /// The scheduled deadline passed.
    Expired { order: Arc<Order> },
    /// The payment was cancelled: the provider gives back whatever it may hold all the same.
    Voiding { order: Arc<Order> },
    /// Command: the customer confirms.
    Confirm { order_id: OrderId },
    /// Command: the customer cancels.
    Cancel { order_id: OrderId, reason: String },
    /// The provider answered to [`Ask::Charge`].
    Charge { order: Arc<Order>, result: ChargeResult },
    /// The provider has done [`Ask::Refund`].
    Refund {
        order: Arc<Order>,
        /// Why the refund was asked for.
        reason: String,
    },
    /// The provider has done [`Ask::Void`].
    Void { order: Arc<Order> },
}

/// The requests to the provider.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Charge the total.
    Charge { order: Arc<Order> },
    /// Give the total back.
    Refund { order: Arc<Order>, reason: String },
    /// Hold nothing: give back what was taken, if anything was, and take nothing from now on.
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
            // It hears itself: what the broker says on its behalf, and what it still has to tell the provider.
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
            // What is charged at once was never opened.
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
            PaymentEvent::Opened(Opened {
                order, expires_at, ..
            }) => State::Opened {
                order: order.clone(),
                expires_at: *expires_at,
            },
            PaymentEvent::Expired(Expired { order }) => match state {
                State::None | State::Opened { .. } => State::Expired { order: order.clone() },
                // The broker fires the schedule without looking at what else is said of the order. Should that ever
                // slip in behind the commit that purges it, then what was decided stands.
                State::Expired { .. }
                | State::Charged { .. }
                | State::Failed { .. }
                | State::Cancelled { .. }
                | State::Refunded { .. } => return,
            },
            PaymentEvent::Charged(Charged { order, reference, .. }) => State::Charged {
                order: order.clone(),
                reference: reference.clone(),
            },
            PaymentEvent::Failed(PaymentFailed { order, reason, .. }) => State::Failed {
                order: order.clone(),
                reason: reason.clone(),
            },
            PaymentEvent::Cancelled(PaymentCancelled { order, reason, .. }) => State::Cancelled {
                order: order.clone(),
                reason: reason.clone(),
            },
            PaymentEvent::Refunded(Refunded { order, reason, .. }) => State::Refunded {
                order: order.clone(),
                reason: reason.clone(),
            },
            // Said together with one of the three before.
            PaymentEvent::CancelOrder(_) => return,
        };
    }

    fn decide(state: &State, input: &Input, context: &Context<'_, ()>) -> Decision<Self> {
        match (state, input) {
            // It is to be paid.
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

            // There will be no delivery, or no goods. If nobody has asked for the payment yet, then this overtook the
            // request, which will find the payment cancelled.
            (
                State::None | State::Opened { .. } | State::Expired { .. },
                Input::CancelPayment { order, reason } | Input::ReservationFailed { order, reason },
            ) => cancel(state, order, reason),
            (
                State::Charged { .. },
                Input::CancelPayment { order, reason } | Input::ReservationFailed { order, reason },
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

            // The deadline passed. The broker's entry is stored before anybody hears it, so the state is `Expired`
            // unless it is older than that; then the broker refuses the commit, and it is decided again.
            (State::None, Input::Expired { .. }) => Decision::Ignore("unknown payment: its entries are gone"),
            (State::Opened { .. } | State::Expired { .. }, Input::Expired { order }) => {
                cancel(state, order, "the payment was not confirmed in time")
            }
            (State::Charged { .. }, Input::Expired { .. }) => Decision::Ignore("charged before the deadline"),
            (State::Failed { .. }, Input::Expired { .. }) => Decision::Ignore("declined before the deadline"),
            (State::Cancelled { .. }, Input::Expired { .. }) => Decision::Ignore("already cancelled"),
            (State::Refunded { .. }, Input::Expired { .. }) => Decision::Ignore("already refunded"),

            // It was cancelled, and nothing is recorded as taken. But a call to the provider may have succeeded whose
            // outcome was never stored: the process died, or the cancellation was faster. So the provider is told in
            // any case (with `None`: the entries have aged away, but somebody did say that it was cancelled).
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

            // The provider answered: the total is taken, or it is not.
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

            // The total is back.
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

            // The provider holds nothing.
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
    /// The name of the state in HTTP answers.
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
            State::None => "nobody has asked for the payment yet".to_owned(),
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

/// The idempotency key of the call that leads to the event `B`: the event's own id. However often any instance repeats
/// the call, it is one call to the provider.
fn key<B: Body>(order: &Order) -> String {
    format!("{}/{}", B::NAME.service, B::NAME.id(&order.order_id))
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
    decision.with_deadline(off(state))
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
    .with_deadline(off(state))
}

/// The commit that ends an open payment removes its deadline; no other payment has one.
fn off(state: &State) -> Deadline<PaymentEvent> {
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
