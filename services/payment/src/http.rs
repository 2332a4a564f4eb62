//! Its HTTP: customers confirm, cancel and look at payments.

use axum::extract::State as Shared;
use jiff::Timestamp;
use quadrille_events::{Currency, Money, Order, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, field, reason};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::PaymentService;
use crate::decide::{Input, State};

/// The routes of the payment service.
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

/// A confirmation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmPayment, example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d" }))]
struct Confirm {
    /// Of which order.
    #[schema(value_type = OrderId)]
    order_id: String,
}

/// A cancellation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    as = CancelPayment,
    example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d", "reason": "too expensive" })
)]
struct Cancel {
    /// Of which order.
    #[schema(value_type = OrderId)]
    order_id: String,
    /// Why, in a sentence or two.
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    reason: Option<String>,
}

/// What a command answers.
#[derive(Serialize, ToSchema)]
struct Answer {
    order_id: OrderId,
    /// How far the payment has come.
    #[schema(example = "charged")]
    state: &'static str,
}

/// The payment of an order.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownPayment)]
struct Shown {
    order_id: OrderId,
    /// How far it has come.
    #[schema(example = "opened")]
    state: &'static str,
    /// The order's total, in minor units.
    #[schema(value_type = u64)]
    amount: Money,
    /// ISO 4217.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$")]
    currency: Currency,
    /// Until when it waits for its customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// The provider's own name for the charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Why it failed, was cancelled or refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Charges an open payment. Again is the same as once.
#[utoipa::path(post, path = "/payments/confirm", tag = "payments", request_body = Confirm, responses(
    (status = 200, description = "It is charged, now or before.", body = Answer),
    (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It was declined, cancelled or refunded, or has expired.", body = Problem, content_type = "application/problem+json"),
))]
async fn confirm(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<Confirm>,
) -> Result<Json<Answer>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let reply = door
        .command(
            Input::Confirm {
                order_id: order_id.clone(),
            },
            "confirm",
            origin,
        )
        .await?;
    // The command takes effect in asking the provider. Should the provider decline, or the deadline be faster than the
    // provider, then the customer is told as they would be on trying again.
    match reply.state {
        State::Charged { .. } => Ok(Json(Answer {
            order_id,
            state: reply.state.name(),
        })),
        State::None
        | State::Opened { .. }
        | State::Expired { .. }
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::Refunded { .. } => Err(Problem::conflict(reply.state.in_words())),
    }
}

/// Cancels an open payment, and the order with it. Again is the same as once.
#[utoipa::path(post, path = "/payments/cancel", tag = "payments", request_body = Cancel, responses(
    (status = 200, description = "It is cancelled, now or before.", body = Answer),
    (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is charged, declined or refunded.", body = Problem, content_type = "application/problem+json"),
))]
async fn cancel(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<Cancel>,
) -> Result<Json<Answer>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let reason = reason(request.reason, "the customer cancelled the payment")?;
    let reply = door
        .command(
            Input::Cancel {
                order_id: order_id.clone(),
                reason,
            },
            "cancel",
            origin,
        )
        .await?;
    Ok(Json(Answer {
        order_id,
        state: reply.state.name(),
    }))
}

/// Shows the payment of an order.
#[utoipa::path(get, path = "/payments/{order_id}", tag = "payments",
    params(("order_id" = OrderId, Path, description = "Of which order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far it has come.", body = Shown),
        (status = 404, description = "No payment was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): PaymentDoor, Id(order_id): Id<OrderId>) -> Result<Json<Shown>, Problem> {
    let state = door.state(&order_id).await?;
    let name = state.name();
    let shown = |order: &Order| Shown {
        order_id: order.order_id.clone(),
        state: name,
        amount: order.total,
        currency: order.currency,
        expires_at: None,
        reference: None,
        reason: None,
    };
    Ok(Json(match state {
        State::None => {
            return Err(Problem::not_found(format!(
                "payment has not been asked about order `{order_id}` (yet, if the order was placed just now)"
            )));
        }
        State::Opened { order, expires_at } => Shown {
            expires_at: Some(expires_at),
            ..shown(&order)
        },
        State::Expired { order } => shown(&order),
        State::Charged { order, reference } => Shown {
            reference: Some(reference),
            ..shown(&order)
        },
        State::Failed { order, reason }
        | State::Cancelled { order, reason }
        | State::Refunded { order, reason } => Shown {
            reason: Some(reason),
            ..shown(&order)
        },
    }))
}
