//! HTTP endpoints of the delivery service: couriers report their capacity and how a delivery ended, and anybody asks who delivers
//! an order.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use quadrille_events::{CourierId, MAX_MONEY, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, at_most, field, reason, whole};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::DeliveryService;
use crate::decide::{COURIERS, Courier, Input, State, courier_of, key};

/// The largest capacity of a courier: what every JSON reader holds exactly, as with money.
pub const MAX_CAPACITY: u64 = MAX_MONEY;

pub fn routes(door: Door<DeliveryService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list))
        .routes(routes!(report, courier, remove))
        .routes(routes!(confirm))
        .routes(routes!(fail))
        .routes(routes!(show))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: delivery"))]
struct Document;

type DeliveryDoor = Shared<Door<DeliveryService>>;

/// The capacity of a courier.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "capacity": 3 }))]
struct CapacityRequest {
    /// How many orders the courier can take.
    #[serde(deserialize_with = "whole")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    capacity: u64,
}

/// A courier with capacity and load.
#[derive(Serialize, ToSchema)]
struct CourierView {
    courier_id: CourierId,
    /// How many orders the courier can take.
    capacity: u64,
    /// How many orders are assigned to the courier.
    load: u64,
}

impl CourierView {
    fn new(courier_id: CourierId, courier: &Courier) -> Self {
        Self {
            courier_id,
            capacity: courier.capacity,
            load: courier.load,
        }
    }
}

/// A courier and the orders that the courier carries.
#[derive(Serialize, ToSchema)]
struct CarriedView {
    #[serde(flatten)]
    courier: CourierView,
    /// The orders that are assigned to the courier and neither delivered nor failed nor cancelled, oldest first. Of a courier whose
    /// capacity is or was above 32, and of orders that were assigned by release 0.1, some may be missing: `load` counts all.
    orders: Vec<OrderId>,
}

/// The confirmation of a delivery by the courier.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d" }))]
struct ConfirmDelivery {
    #[schema(value_type = OrderId)]
    order_id: String,
}

/// The report of a courier who could not hand over the goods.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "order_id": "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d", "reason": "nobody at home" }))]
struct FailDelivery {
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

/// The answer to a command about a delivery.
#[derive(Serialize, ToSchema)]
struct DeliveryReply {
    order_id: OrderId,
    /// How far the delivery has come.
    #[schema(example = "delivered")]
    state: &'static str,
}

/// All couriers.
#[derive(Serialize, ToSchema)]
struct CourierList {
    couriers: Vec<CourierView>,
}

/// The delivery of an order.
#[derive(Serialize, ToSchema)]
struct DeliveryView {
    order_id: OrderId,
    /// How far the delivery has come.
    #[schema(example = "assigned")]
    state: &'static str,
    /// The courier who delivers, has delivered or failed, or was called back.
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    /// Why no courier was found, or why the delivery was cancelled or has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Sets the capacity of a courier.
#[utoipa::path(put, path = "/couriers/{courier_id}", tag = "deliveries", request_body = CapacityRequest,
    params(("courier_id" = CourierId, Path, description = "The courier.", example = "carla")),
    responses(
        (status = 200, description = "The courier after the change.", body = CourierView),
        (status = 409, description = "More orders than that are assigned to the courier.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn report(
    Shared(door): DeliveryDoor,
    Id(courier_id): Id<CourierId>,
    origin: Origin,
    Json(request): Json<CapacityRequest>,
) -> Result<Json<CourierView>, Problem> {
    let capacity = at_most("capacity", request.capacity, MAX_CAPACITY)?;
    let command = Input::Courier {
        courier_id: courier_id.clone(),
        capacity,
    };
    door.command(command, "courier", origin).await?;
    let courier = door.record(&key(&courier_id)).await?.unwrap_or_default();
    Ok(Json(CourierView::new(courier_id, &courier)))
}

/// Shows a courier, and which orders the courier carries.
#[utoipa::path(get, path = "/couriers/{courier_id}", tag = "deliveries",
    params(("courier_id" = CourierId, Path, description = "The courier.", example = "carla")),
    responses(
        (status = 200, description = "The courier with the orders that are on the way.", body = CarriedView),
        (status = 404, description = "The courier has never reported a capacity.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn courier(
    Shared(door): DeliveryDoor,
    Id(courier_id): Id<CourierId>,
) -> Result<Json<CarriedView>, Problem> {
    match door.record(&key(&courier_id)).await? {
        Some(courier) => Ok(Json(CarriedView {
            courier: CourierView::new(courier_id, &courier),
            orders: courier.orders,
        })),
        None => Err(Problem::not_found(format!(
            "there is no courier `{courier_id}`; PUT /couriers/{courier_id} sets a capacity"
        ))),
    }
}

/// Removes a courier who has no orders. They can be reported again later.
#[utoipa::path(delete, path = "/couriers/{courier_id}", tag = "deliveries",
    params(("courier_id" = CourierId, Path, description = "The courier.", example = "carla")),
    responses(
        (status = 204, description = "The courier is removed."),
        (status = 404, description = "There is no such courier (any more).", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Orders are assigned to the courier.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn remove(
    Shared(door): DeliveryDoor,
    Id(courier_id): Id<CourierId>,
    origin: Origin,
) -> Result<StatusCode, Problem> {
    let command = Input::RemoveCourier { courier_id };
    door.command(command, "remove-courier", origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists all couriers.
#[utoipa::path(get, path = "/couriers", tag = "deliveries", responses(
    (status = 200, description = "The couriers who have reported a capacity.", body = CourierList),
))]
async fn list(Shared(door): DeliveryDoor) -> Result<Json<CourierList>, Problem> {
    let records = door.records(COURIERS).await?.into_iter();
    let couriers = records.filter_map(|(key, courier)| Some(CourierView::new(courier_of(&key)?, &courier)));
    Ok(Json(CourierList {
        couriers: couriers.collect(),
    }))
}

/// Says that the goods are handed over. The courier is free again, and the goods are no longer in the stock. A repeated
/// confirmation has no further effect.
#[utoipa::path(post, path = "/deliveries/confirm", tag = "deliveries", request_body = ConfirmDelivery, responses(
    (status = 200, description = "The order is delivered, now or before.", body = DeliveryReply),
    (status = 404, description = "No delivery was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "No courier was found, or the delivery is cancelled or has failed.", body = Problem, content_type = "application/problem+json"),
))]
async fn confirm(
    Shared(door): DeliveryDoor,
    origin: Origin,
    Json(request): Json<ConfirmDelivery>,
) -> Result<Json<DeliveryReply>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let command = Input::Confirm {
        order_id: order_id.clone(),
    };
    let state = door.command(command, "confirm", origin).await?.state.name();
    Ok(Json(DeliveryReply { order_id, state }))
}

/// Says that the goods could not be handed over. The courier is free again, the customer gets the money back, the goods return to
/// the stock, and the order is cancelled. A repeated report has no further effect.
#[utoipa::path(post, path = "/deliveries/fail", tag = "deliveries", request_body = FailDelivery, responses(
    (status = 200, description = "The delivery has failed, now or before.", body = DeliveryReply),
    (status = 404, description = "No delivery was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The order is delivered, no courier was found, or the delivery is cancelled.", body = Problem, content_type = "application/problem+json"),
))]
async fn fail(
    Shared(door): DeliveryDoor,
    origin: Origin,
    Json(request): Json<FailDelivery>,
) -> Result<Json<DeliveryReply>, Problem> {
    let order_id: OrderId = field("order_id", &request.order_id)?;
    let reason = reason(request.reason, "the courier could not hand over the goods")?;
    let command = Input::Fail {
        order_id: order_id.clone(),
        reason,
    };
    let state = door.command(command, "fail", origin).await?.state.name();
    Ok(Json(DeliveryReply { order_id, state }))
}

/// Shows the delivery of an order.
#[utoipa::path(get, path = "/deliveries/{order_id}", tag = "deliveries",
    params(("order_id" = OrderId, Path, description = "The order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far the delivery has come.", body = DeliveryView),
        (status = 404, description = "No delivery was asked for (yet).", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): DeliveryDoor, Id(order_id): Id<OrderId>) -> Result<Json<DeliveryView>, Problem> {
    let state = door.state(&order_id).await?;
    let name = state.name();
    let (courier_id, reason) = match state {
        State::None => {
            return Err(Problem::not_found(format!(
                "delivery has not been asked about order `{order_id}` (yet: it is once the order is confirmed)"
            )));
        }
        State::Assigned { courier_id, .. } => (Some(courier_id), None),
        State::NoCourier { reason, .. } => (None, Some(reason)),
        State::Cancelled {
            courier_id, reason, ..
        } => (courier_id, Some(reason)),
        State::Delivered { courier_id, .. } => (Some(courier_id), None),
        State::Failed {
            courier_id, reason, ..
        } => (Some(courier_id), Some(reason)),
    };
    Ok(Json(DeliveryView {
        order_id,
        state: name,
        courier_id,
        reason,
    }))
}
