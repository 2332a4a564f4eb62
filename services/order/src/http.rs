//! Its HTTP: customers place, watch and cancel orders; the shop owner confirms them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use quadrille_events::{CourierId, Order, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use serde::Serialize;

use crate::OrderService;
use crate::decide::{Input, State};
use crate::request::{CancelOrder, ConfirmOrder, NewOrder, idempotency_key};

/// How long one client may follow an order live; browsers connect again by themselves.
const LIVE_FOR: Duration = Duration::from_secs(3_600);

/// The routes of the order service.
pub fn routes(door: Door<OrderService>) -> Router {
    Router::new()
        .route("/orders/create_order", post(create))
        .route("/orders/confirm", post(confirm))
        .route("/orders/cancel", post(cancel))
        .route("/orders/{order_id}", get(show))
        .route("/orders/{order_id}/events", get(events))
        .with_state(door)
}

type OrderDoor = Shared<Door<OrderService>>;

/// What a command answers.
#[derive(Serialize)]
struct Answer {
    order_id: OrderId,
    state: &'static str,
}

/// `GET /orders/{order_id}`
#[derive(Serialize)]
struct Shown {
    order_id: OrderId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    order: Arc<Order>,
    /// Inputs about it that some service could not handle: it may hang until an operator has looked at them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dead_letters: Vec<Parked>,
}

#[derive(Serialize)]
struct Parked {
    id: String,
    service: String,
    reason: String,
}

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

/// What all services have said about an order so far, as a JSON array; or, to a client that accepts
/// `text/event-stream`, that and what they go on to say, as server-sent events.
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
        .history_live(order_id)
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
