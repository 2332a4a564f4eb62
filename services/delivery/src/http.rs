//! Its HTTP: couriers report for work, and anybody asks who is on the way.

use axum::extract::State as Shared;
use quadrille_events::{CourierId, MAX_MONEY, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, whole};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::DeliveryService;
use crate::decide::{COURIERS, Courier, Input, State, courier_of, key};

/// The most orders that one courier can take: what every JSON reader holds exactly, as with money.
pub const MAX_CAPACITY: u64 = MAX_MONEY;

/// The routes of the delivery service.
pub fn routes(door: Door<DeliveryService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list))
        .routes(routes!(report))
        .routes(routes!(show))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: delivery"))]
struct Document;

type DeliveryDoor = Shared<Door<DeliveryService>>;

/// A courier reports for work.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "capacity": 3 }))]
struct Report {
    /// How many orders they can take.
    #[serde(deserialize_with = "whole")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    capacity: u64,
}

/// A courier and their load.
#[derive(Serialize, ToSchema)]
struct ShownCourier {
    courier_id: CourierId,
    /// How many orders they can take.
    capacity: u64,
    /// How many they have.
    load: u64,
}

/// All couriers.
#[derive(Serialize, ToSchema)]
struct Couriers {
    couriers: Vec<ShownCourier>,
}

/// The delivery of an order.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownDelivery)]
struct Shown {
    order_id: OrderId,
    /// How far it has come.
    #[schema(example = "assigned")]
    state: &'static str,
    /// Who brings it, or was called back.
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    /// Why nobody can bring it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A courier can take so many orders.
#[utoipa::path(put, path = "/couriers/{courier_id}", tag = "deliveries", request_body = Report,
    params(("courier_id" = CourierId, Path, description = "Who.", example = "carla")),
    responses(
        (status = 200, description = "So it is now.", body = ShownCourier),
        (status = 409, description = "They have more orders than that.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn report(
    Shared(door): DeliveryDoor,
    Id(courier_id): Id<CourierId>,
    origin: Origin,
    Json(request): Json<Report>,
) -> Result<Json<ShownCourier>, Problem> {
    let capacity = request.capacity;
    if capacity > MAX_CAPACITY {
        return Err(Problem::invalid(
            "capacity",
            format!("must be at most {MAX_CAPACITY}"),
        ));
    }
    door.command(
        Input::Courier {
            courier_id: courier_id.clone(),
            capacity,
        },
        "courier",
        origin,
    )
    .await?;
    let Courier { capacity, load } = door.record(&key(&courier_id)).await?.unwrap_or_default();
    Ok(Json(ShownCourier {
        courier_id,
        capacity,
        load,
    }))
}

/// Lists all couriers.
#[utoipa::path(get, path = "/couriers", tag = "deliveries", responses(
    (status = 200, description = "Those who have reported for work.", body = Couriers),
))]
async fn list(Shared(door): DeliveryDoor) -> Result<Json<Couriers>, Problem> {
    let records = door.records(COURIERS).await?;
    let couriers = records
        .into_iter()
        .filter_map(|(key, Courier { capacity, load })| {
            Some(ShownCourier {
                courier_id: courier_of(&key)?,
                capacity,
                load,
            })
        });
    Ok(Json(Couriers {
        couriers: couriers.collect(),
    }))
}

/// Shows the delivery of an order.
#[utoipa::path(get, path = "/deliveries/{order_id}", tag = "deliveries",
    params(("order_id" = OrderId, Path, description = "Of which order.", example = "0190b5d4-7c1e-7a3f-8d2b-5e6f7a8b9c0d")),
    responses(
        (status = 200, description = "How far it has come.", body = Shown),
        (status = 404, description = "Nobody has asked for it (yet).", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): DeliveryDoor, Id(order_id): Id<OrderId>) -> Result<Json<Shown>, Problem> {
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
    Ok(Json(Shown {
        order_id,
        state: name,
        courier_id,
        reason,
    }))
}
