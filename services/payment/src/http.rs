//! Its HTTP: customers confirm, cancel and look at payments.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{get, post};
use jiff::Timestamp;
use quadrille_events::{Currency, Money, Order, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use serde::{Deserialize, Serialize};

use crate::PaymentService;
use crate::decide::{Input, State};

/// The longest reason that a customer may give, in characters: a sentence or two, repeated in several events.
pub const MAX_REASON: usize = 200;

/// The routes of the payment service.
pub fn routes(door: Door<PaymentService>) -> Router {
    Router::new()
        .route("/payments/confirm", post(confirm))
        .route("/payments/cancel", post(cancel))
        .route("/payments/{order_id}", get(show))
        .with_state(door)
}

type PaymentDoor = Shared<Door<PaymentService>>;

/// `POST /payments/confirm`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    order_id: String,
}

/// `POST /payments/cancel`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    order_id: String,
    reason: Option<String>,
}

/// What a command answers.
#[derive(Serialize)]
struct Answer {
    order_id: OrderId,
    state: &'static str,
}

/// `GET /payments/{order_id}`
#[derive(Serialize)]
struct Shown {
    order_id: OrderId,
    state: &'static str,
    amount: Money,
    currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

async fn confirm(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<Confirm>,
) -> Result<Json<Answer>, Problem> {
    let order_id = order_id(&request.order_id)?;
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

async fn cancel(
    Shared(door): PaymentDoor,
    origin: Origin,
    Json(request): Json<Cancel>,
) -> Result<Json<Answer>, Problem> {
    let order_id = order_id(&request.order_id)?;
    let reason = request
        .reason
        .unwrap_or_else(|| "the customer cancelled the payment".to_owned());
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::invalid(
            "reason",
            format!("must be 1 to {MAX_REASON} characters, or left out"),
        ));
    }
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

fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|error| Problem::invalid("order_id", error))
}
