//! HTTP endpoints of the payment service: customers confirm, cancel and look at payments.

use axum::extract::State as Shared;
use jiff::Timestamp;
use quadrille_events::{
    Body, Charged, Currency, EventName, Expired, Money, Opened, Order, OrderId, PaymentCancelled,
    PaymentFailed, Refunded,
};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, field, reason};
use quadrille_runtime::operator::HistoryEntry;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::PaymentService;
use crate::decide::{Input, State};

pub fn routes(door: Door<PaymentService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(show))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: payment"))]
struct Document;

type PaymentDoor = Shared<Door<PaymentService>>;

/// The confirmation of a payment by the customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d" }))]
struct ConfirmPayment {
    #[schema(value_type = OrderId)]
    order_id: String,
}

/// The cancellation of a payment by the customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d", "reason": "too expensive" }))]
struct CancelPayment {
    #[schema(value_type = OrderId)]
    order_id: String,
    /// Why, in a sentence or two, without control characters.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    reason: Option<String>,
}

/// The answer to a command about a payment.
#[derive(Serialize, ToSchema)]
struct PaymentReply {
    order_id: OrderId,
    /// How far the payment has come.
    #[schema(example = "charged")]
    state: &'static str,
}

/// The payment of an order.
#[derive(Serialize, ToSchema)]
struct PaymentView {
    /// The name of the payment for people and other programs. An order has one payment, so it is made of the order's id.
    #[schema(example = "pay-0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")]
    payment_id: String,
    order_id: OrderId,
    /// How far the payment has come.
    #[schema(example = "opened")]
    state: &'static str,
    /// The total of the order, in minor units.
    #[schema(value_type = u64)]
    amount: Money,
    /// ISO 4217.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: Currency,
    /// Until when the customer can confirm.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// The provider's own name for the charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Why the payment failed, was cancelled or refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    times: PaymentTimes,
}

/// When a payment came how far, by the server's clock.
#[derive(Default, Serialize, ToSchema)]
struct PaymentTimes {
    /// When the customer was asked to confirm.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<Timestamp>,
    /// When the total was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<Timestamp>,
    /// When the provider declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Timestamp>,
    /// When the deadline passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<Timestamp>,
    /// When the payment was cancelled before anything was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<Timestamp>,
    /// When the total was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded: Option<Timestamp>,
}

impl PaymentTimes {
    fn of(history: &[HistoryEntry]) -> Self {
        let at = |name: &EventName| {
            let entry = history.iter().find(|entry| entry.event == name.subject);
            entry.map(|entry| entry.at)
        };
        Self {
            opened: at(Opened::NAME),
            charged: at(Charged::NAME),
            failed: at(PaymentFailed::NAME),
            expired: at(Expired::NAME),
            cancelled: at(PaymentCancelled::NAME),
            refunded: at(Refunded::NAME),
        }
    }
}

impl PaymentView {
    fn new(state: &'static str, order: &Order) -> Self {
        Self {
            payment_id: format!("pay-{}", order.order_id),
            times: PaymentTimes::default(),
            order_id: order.order_id.clone(),
            state,
            amount: order.total,
            currency: order.currency,
            expires_at: None,
            reference: None,
            reason: None,
        }
    }
}

/// Charges an open payment. A repeated confirmation has no further effect.
#[utoipa::path(post, path = "/payments/confirm", tag = "payments", request_body = ConfirmPayment, responses(
    (status = 200, description = "The payment is charged, now or before.", body = PaymentReply),
    (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The payment was declined, cancelled or refunded, or has expired.", body = Problem, content_type = "application/problem+json"),
))]
async fn confirm(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<ConfirmPayment>,
) -> Result<Json<PaymentReply>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let command = Input::Confirm {
        order_id: order_id.clone(),
    };
    let state = door.command(command, "confirm", origin).await?.state;
    // The command takes effect when the provider is asked. If the provider declines, or the deadline comes first, the
    // customer gets the answer that a second confirmation would get.
    match state {
        State::Charged { .. } => Ok(Json(PaymentReply {
            order_id,
            state: state.name(),
        })),
        State::None
        | State::Opened { .. }
        | State::Expired { .. }
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::Refunded { .. } => Err(Problem::conflict(state.in_words())),
    }
}

/// Cancels an open payment, and the order with it. A repeated cancellation has no further effect.
#[utoipa::path(post, path = "/payments/cancel", tag = "payments", request_body = CancelPayment, responses(
    (status = 200, description = "The payment is cancelled, now or before.", body = PaymentReply),
    (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The payment is charged, declined or refunded.", body = Problem, content_type = "application/problem+json"),
))]
async fn cancel(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<CancelPayment>,
) -> Result<Json<PaymentReply>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let reason = reason(request.reason, "the customer cancelled the payment")?;
    let command = Input::Cancel {
        order_id: order_id.clone(),
        reason,
    };
    let state = door.command(command, "cancel", origin).await?.state.name();
    Ok(Json(PaymentReply { order_id, state }))
}

/// Shows the payment of an order.
#[utoipa::path(get, path = "/payments/{order_id}", tag = "payments",
    params(("order_id" = OrderId, Path, description = "The order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far the payment has come.", body = PaymentView),
        (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): PaymentDoor, Id(order_id): Id<OrderId>) -> Result<Json<PaymentView>, Problem> {
    let state = door.state(&order_id).await?;
    let name = state.name();
    let view = match state {
        State::None => {
            return Err(Problem::not_found(format!(
                "payment has not been asked about order `{order_id}` (yet, if the order was placed just now)"
            )));
        }
        State::Opened { order, expires_at } => PaymentView {
            expires_at: Some(expires_at),
            ..PaymentView::new(name, &order)
        },
        State::Expired { order } => PaymentView::new(name, &order),
        State::Charged { order, reference } => PaymentView {
            reference: Some(reference),
            ..PaymentView::new(name, &order)
        },
        State::Failed { order, reason }
        | State::Cancelled { order, reason }
        | State::Refunded { order, reason } => PaymentView {
            reason: Some(reason),
            ..PaymentView::new(name, &order)
        },
    };
    let times = PaymentTimes::of(&door.own_history(&order_id).await?);
    Ok(Json(PaymentView { times, ..view }))
}
