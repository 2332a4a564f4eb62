//! HTTP endpoints of the order service: customers place, follow and cancel orders; the shop owner confirms them.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use quadrille_events::{CourierId, Currency, ItemId, Money, Order, OrderId};
use quadrille_runtime::http::{Id, Json, Origin, Problem, SseClient, idempotency_key};
use quadrille_runtime::operator::HistoryEntry;
use quadrille_runtime::{Door, Outcome};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::OrderService;
use crate::decide::{Input, State};
use crate::price::{self, ItemPrice};
use crate::request::{CancelOrder, ConfirmOrder, NewOrder};
use crate::wait::Wait;

pub fn routes(door: Door<OrderService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(create))
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(show))
        .routes(routes!(events))
        .routes(routes!(show_price))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: order"))]
struct Document;

type OrderDoor = Shared<Door<OrderService>>;

/// The answer to a command about an order.
#[derive(Serialize, ToSchema)]
struct OrderReply {
    order_id: OrderId,
    /// How far the order has come.
    #[schema(example = "created")]
    state: &'static str,
    /// Whose turn it is, if the request waited (`Prefer: wait`) and it is a person's: `customer` (to pay) or `shop owner` (to approve).
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'static str>,
}

/// An order, as the order service knows it.
#[derive(Serialize, ToSchema)]
struct OrderView {
    order_id: OrderId,
    /// How far the order has come.
    #[schema(example = "completed")]
    state: &'static str,
    /// Why the order is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The courier who delivers the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    /// The order as placed.
    order: Arc<Order>,
    /// Inputs about the order that some service could not handle: it may hang until an operator has looked at them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    dead_letters: Vec<ParkedInput>,
}

/// An input that a service could not handle.
#[derive(Serialize, ToSchema)]
struct ParkedInput {
    /// The id under which that service shows and retries the input.
    id: String,
    /// The service that parked the input.
    service: String,
    /// Why it could not be handled.
    reason: String,
}

/// The price of an item, as the order service knows it.
#[derive(Serialize, ToSchema)]
struct PriceView {
    item_id: ItemId,
    /// The price of one, in minor units.
    price: Money,
    /// ISO 4217.
    #[schema(value_type = String)]
    currency: Currency,
    /// Whether the item is not offered any more.
    withdrawn: bool,
    /// The version of the item that has this price.
    version: u64,
}

/// Places an order.
///
/// With an `Idempotency-Key`, the same request again gets the same answer, and there is one order however often it is
/// sent, also if a price has changed since; the same key of the same customer with another order is refused.
///
/// A line without `unit_price` gets the price that the order service knows. A price or total that is given must be that price.
///
/// With `Prefer: wait=N` the answer waits until the order is completed (201) or cancelled (409 with the reason), or a person is
/// next (`waits_for`), at most N seconds.
#[utoipa::path(post, path = "/orders/create_order", tag = "orders", request_body = NewOrder,
    params(
        (
            "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$",
            description = "1 to 255 visible ASCII characters, such as a UUID.", example = "0c8f9f4e-6f0e-4a5b-9c1d-2f7a0e3b5d61",
        ),
        (
            "Prefer" = Option<String>, Header, description = "`wait=N` waits up to N seconds (RFC 7240), 10 at most.", example = "wait=5",
        ),
    ),
    responses(
        (status = 201, description = "The order is placed, now or before.", body = OrderReply,
            headers(("Location" = String, description = "Where the order is shown."))),
        (status = 409, description = "The request waited, and the order is cancelled; the problem says why.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(
    Shared(door): OrderDoor,
    origin: Origin,
    headers: HeaderMap,
    Json(request): Json<NewOrder>,
) -> Result<Response, Problem> {
    let request = Arc::new(request.check(idempotency_key(&headers)?)?);
    let order_id = request.order_id.clone();
    door.admits_new()?;
    let wait = Wait::begin(&door, &headers, &order_id).await?;
    let placed = door.command(Input::Create(request), "create", origin).await?;
    let location = [(header::LOCATION, format!("/orders/{order_id}"))];
    let Some(wait) = wait else {
        // However far the order has come since, the same request is answered as it was the first time.
        let state = "created";
        let reply = Json(OrderReply {
            order_id,
            state,
            waits_for: None,
        });
        return Ok((StatusCode::CREATED, location, reply).into_response());
    };
    let applied = [("preference-applied", wait.applied())];
    let waits_for = wait
        .end(&door, &order_id, placed.outcome == Outcome::Done)
        .await?;
    let state = door.state(&order_id).await?;
    let answer = if let State::Cancelled { reason, .. } = state {
        Problem::conflict(reason).into_response()
    } else {
        let reply = Json(OrderReply {
            order_id,
            state: state.name(),
            waits_for,
        });
        (StatusCode::CREATED, reply).into_response()
    };
    Ok((location, applied, answer).into_response())
}

/// Approves an order that waits for the shop owner. A repeated approval has no further effect.
#[utoipa::path(post, path = "/orders/confirm", tag = "orders", request_body = ConfirmOrder, responses(
    (status = 200, description = "The order is confirmed, now or before.", body = OrderReply),
    (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The order is not awaiting approval; the problem says why.", body = Problem, content_type = "application/problem+json"),
))]
async fn confirm(
    Shared(door): OrderDoor,
    origin: Origin,
    Json(request): Json<ConfirmOrder>,
) -> Result<Json<OrderReply>, Problem> {
    let order_id = request.check()?;
    let command = Input::Approve {
        order_id: order_id.clone(),
    };
    let state = door.command(command, "confirm", origin).await?.state.name();
    Ok(Json(OrderReply {
        order_id,
        state,
        waits_for: None,
    }))
}

/// Cancels an order that is not completed. Payment settles the money first. A repeated cancellation has no further effect.
#[utoipa::path(post, path = "/orders/cancel", tag = "orders", request_body = CancelOrder, responses(
    (status = 200, description = "The order is being cancelled, or is cancelled.", body = OrderReply),
    (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The order is completed.", body = Problem, content_type = "application/problem+json"),
))]
async fn cancel(
    Shared(door): OrderDoor,
    origin: Origin,
    Json(request): Json<CancelOrder>,
) -> Result<Json<OrderReply>, Problem> {
    let (order_id, reason) = request.check()?;
    let command = Input::Cancel {
        order_id: order_id.clone(),
        reason,
    };
    let state = door.command(command, "cancel", origin).await?.state.name();
    Ok(Json(OrderReply {
        order_id,
        state,
        waits_for: None,
    }))
}

/// Shows an order.
#[utoipa::path(get, path = "/orders/{order_id}", tag = "orders",
    params(("order_id" = OrderId, Path, description = "The order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far the order has come.", body = OrderView),
        (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): OrderDoor, Id(order_id): Id<OrderId>) -> Result<Json<OrderView>, Problem> {
    let state = door.state(&order_id).await?;
    let Some(order) = state.order().cloned() else {
        return Err(unknown(&order_id));
    };
    let letters = door.dead_letters_of(&order_id).await?.into_iter();
    let dead_letters = letters
        .map(|letter| ParkedInput {
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
    Ok(Json(OrderView {
        order_id,
        state: name,
        reason,
        courier_id,
        order,
        dead_letters,
    }))
}

/// Lists the events of all services about an order.
///
/// As a JSON array; or, for a client that accepts `text/event-stream`, as server-sent events that go on with each new
/// event. How many streams may be open is limited (`MAX_SSE`, `MAX_SSE_PER_ADDRESS`); beyond that the answer is 503.
#[utoipa::path(get, path = "/orders/{order_id}/events", tag = "orders",
    params(("order_id" = OrderId, Path, description = "The order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "The events, oldest first.", content(
            (Vec<HistoryEntry> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 404, description = "There is no such order.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn events(
    Shared(door): OrderDoor,
    Id(order_id): Id<OrderId>,
    client: SseClient,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    // Before anything is asked of the broker, so that too many streams cost nothing.
    let place = accept
        .contains("text/event-stream")
        .then(|| client.place())
        .transpose()?;
    if door.state(&order_id).await? == State::None {
        return Err(unknown(&order_id));
    }
    let Some(place) = place else {
        return Ok(Json(door.history(&order_id).await?).into_response());
    };
    let live = door.history_live(&order_id).await?.map(|entry| {
        let id = format!("{}/{}", entry.service, entry.id);
        let event = Event::default().id(id).event(entry.event.clone());
        event
            .json_data(&entry)
            .unwrap_or_else(|error| Event::default().comment(error.to_string()))
    });
    Ok(place.answer(live))
}

/// Shows the price at which an item can be ordered.
///
/// This is what the order service has heard of the item; inventory may have changed the price a moment ago.
#[utoipa::path(get, path = "/prices/{item_id}", tag = "orders",
    params(("item_id" = ItemId, Path, description = "The item.", example = "apple")),
    responses(
        (status = 200, description = "The price.", body = PriceView),
        (status = 404, description = "The order service has heard of no such item.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show_price(Shared(door): OrderDoor, Id(item_id): Id<ItemId>) -> Result<Json<PriceView>, Problem> {
    let known = door.record(&price::key(&item_id)).await?;
    let ItemPrice {
        version,
        price,
        currency,
        withdrawn,
    } = known.ok_or_else(|| Problem::not_found(format!("there is no item `{item_id}`")))?;
    Ok(Json(PriceView {
        item_id,
        price,
        currency,
        withdrawn,
        version,
    }))
}

fn unknown(order_id: &OrderId) -> Problem {
    Problem::not_found(format!("there is no order `{order_id}`"))
}
