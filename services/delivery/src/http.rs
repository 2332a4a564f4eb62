//! HTTP endpoints of the delivery service: couriers report their capacity, and anybody asks who delivers an order.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use quadrille_events::{CourierId, MAX_MONEY, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, at_most, whole};
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
        .routes(routes!(report, remove))
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
    fn new(courier_id: CourierId, Courier { capacity, load }: Courier) -> Self {
        Self {
            courier_id,
            capacity,
            load,
        }
    }
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
    /// The courier who delivers, or was called back.
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    /// Why no courier was found.
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
    Ok(Json(CourierView::new(courier_id, courier)))
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
    let couriers = records.filter_map(|(key, courier)| Some(CourierView::new(courier_of(&key)?, courier)));
    Ok(Json(CourierList {
        couriers: couriers.collect(),
    }))
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
        State::Cancelled { courier_id, .. } => (courier_id, None),
    };
    Ok(Json(DeliveryView {
        order_id,
        state: name,
        courier_id,
        reason,
    }))
}
