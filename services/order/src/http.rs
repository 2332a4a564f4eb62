//! Its HTTP: customers place, watch and cancel orders; the shop owner confirms them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use quadrille_events::{CourierId, Order, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use quadrille_runtime::operator::HistoryEntry;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::OrderService;
use crate::decide::{Input, State};
use crate::request::{CancelOrder, ConfirmOrder, NewOrder, idempotency_key};

/// How long one client may follow an order live; browsers connect again by themselves.
const LIVE_FOR: Duration = Duration::from_secs(3_600);

/// The routes of the order service.
pub fn routes(door: Door<OrderService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(create))
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(show))
        .routes(routes!(events))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: order"))]
struct Document;

type OrderDoor = Shared<Door<OrderService>>;

/// What a command answers.
#[derive(Serialize, ToSchema)]
struct Answer {
    order_id: OrderId,
    /// How far the order has come.
    #[schema(example = "created")]
    state: &'static str,
}

/// An order, as the order service knows it.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownOrder)]
struct Shown {
    order_id: OrderId,
    /// How far it has come.
    #[schema(example = "completed")]
    state: &'static str,
    /// Why it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Who brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    /// The order as placed.
    order: Arc<Order>,
    /// Inputs about it that some service could not handle: it may hang until an operator has looked at them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    dead_letters: Vec<Parked>,
}

/// An input that a service could not handle.
#[derive(Serialize, ToSchema)]
struct Parked {
    /// By which it is shown and retried there.
    id: String,
    /// Which service.
    service: String,
    /// Why.
    reason: String,
}

/// Places an order.
///
/// With an `Idempotency-Key`, the same request again gets the same answer, and there is one order however often it is
/// sent; the same key of the same customer with another order is refused.
#[utoipa::path(post, path = "/orders/create_order", tag = "orders", request_body = NewOrder,
    params((
        "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
        description = "1 to 255 visible ASCII characters, such as a UUID.", example = "0c8f9f4e-6f0e-4a5b-9c1d-2f7a0e3b5d61",
    )),
    responses(
        (status = 201, description = "It is placed, now or before.", body = Answer,
            headers(("Location" = String, description = "Where the order is shown."))),
    )
)]
async fn create(
    Shared(door): OrderDoor,
    origin: Origin,
    headers: HeaderMap,
    Json(request): Json<NewOrder>,
) -> Result<Response, Problem> {
    let order = Arc::new(request.check(idempotency_key(&headers)?)?);
    let order_id = order.order_id.clone();
    door.command(Input::Create(order), "create", origin).await?;
    let location = [(header::LOCATION, format!("/orders/{order_id}"))];
    // However far it has come since, the same request is answered as it was the first time.
    Ok((
        StatusCode::CREATED,
        location,
        Json(Answer {
            order_id,
            state: "created",
        }),
    )
        .into_response())
}

/// Approves an order that waits for the shop owner. Again is the same as once.
#[utoipa::path(post, path = "/orders/confirm", tag = "orders", request_body = ConfirmOrder, responses(
    (status = 200, description = "It is confirmed, now or before.", body = Answer),
    (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is not awaiting approval; the problem says why.", body = Problem, content_type = "application/problem+json"),
))]
async fn confirm(
    Shared(door): OrderDoor,
    origin: Origin,
    Json(request): Json<ConfirmOrder>,
) -> Result<Json<Answer>, Problem> {
    let order_id = request.check()?;
    let reply = door
        .command(
            Input::Approve {
                order_id: order_id.clone(),
            },
            "confirm",
            origin,
        )
        .await?;
    Ok(Json(Answer {
        order_id,
        state: reply.state.name(),
    }))
}

/// Cancels an order that is not completed. Payment settles the money first. Again is the same as once.
#[utoipa::path(post, path = "/orders/cancel", tag = "orders", request_body = CancelOrder, responses(
    (status = 200, description = "It is being cancelled, or has been.", body = Answer),
    (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is completed.", body = Problem, content_type = "application/problem+json"),
))]
async fn cancel(
    Shared(door): OrderDoor,
    origin: Origin,
    Json(request): Json<CancelOrder>,
) -> Result<Json<Answer>, Problem> {
    let (order_id, reason) = request.check()?;
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

/// Shows an order.
#[utoipa::path(get, path = "/orders/{order_id}", tag = "orders",
    params(("order_id" = OrderId, Path, description = "Which order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far it has come.", body = Shown),
        (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): OrderDoor, Id(order_id): Id<OrderId>) -> Result<Json<Shown>, Problem> {
    let state = door.state(&order_id).await?;
    let Some(order) = state.order().cloned() else {
        return Err(unknown(&order_id));
    };
    let letters = door.dead_letters_of(&order_id).await?.into_iter();
    let dead_letters = letters
        .map(|letter| Parked {
            id: letter.id,
            service: letter.service,
            reason: letter.reason,
        })
        .collect();
    let name = state.name();
    let (reason, courier_id) = match state {
        State::Cancelling { reason, .. } | State::Cancelled { reason, .. } => (Some(reason), None),
        State::Completed { courier_id, .. } => (None, Some(courier_id)),
        State::None | State::Created(_) | State::AwaitingApproval(_) | State::Confirmed(_) => (None, None),
    };
    Ok(Json(Shown {
        order_id,
        state: name,
        reason,
        courier_id,
        order,
        dead_letters,
    }))
}

/// Tells what all services have said about an order.
///
/// As a JSON array; or, to a client that accepts `text/event-stream`, that and what they go on to say, as server-sent
/// events.
#[utoipa::path(get, path = "/orders/{order_id}/events", tag = "orders",
    params(("order_id" = OrderId, Path, description = "Which order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "Its story, oldest first.", content(
            (Vec<HistoryEntry> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn events(
    Shared(door): OrderDoor,
    Id(order_id): Id<OrderId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if door.state(&order_id).await? == State::None {
        return Err(unknown(&order_id));
    }
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !accept.contains("text/event-stream") {
        return Ok(Json(door.history(&order_id).await?).into_response());
    }
    let live = door
        .history_live(&order_id)
        .await?
        .take_until(tokio::time::sleep(LIVE_FOR))
        .map(|entry| {
            let id = format!("{}/{}", entry.service, entry.id);
            let event = Event::default().id(id).event(entry.event.clone());
            let event = event
                .json_data(&entry)
                .unwrap_or_else(|error| Event::default().comment(error.to_string()));
            Ok::<_, Infallible>(event)
        });
    Ok(Sse::new(live).keep_alive(KeepAlive::default()).into_response())
}

fn unknown(order_id: &OrderId) -> Problem {
    Problem::not_found(format!("there is no order `{order_id}`"))
}
