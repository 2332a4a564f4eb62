//! Its HTTP: couriers report for work, and anybody asks who is on the way.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{get, put};
use quadrille_events::{CourierId, MAX_MONEY, OrderId};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use serde::{Deserialize, Serialize};

use crate::DeliveryService;
use crate::decide::{COURIERS, Courier, Input, State, courier_of, key};

/// The most orders that one courier can take: what every JSON reader holds exactly, as with money.
pub const MAX_CAPACITY: u64 = MAX_MONEY;

/// The routes of the delivery service.
pub fn routes(door: Door<DeliveryService>) -> Router {
    Router::new()
        .route("/couriers", get(list))
        .route("/couriers/{courier_id}", put(report))
        .route("/deliveries/{order_id}", get(show))
        .with_state(door)
}

type DeliveryDoor = Shared<Door<DeliveryService>>;

/// `PUT /couriers/{courier_id}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    capacity: u64,
}

/// A courier and their load.
#[derive(Serialize)]
struct ShownCourier {
    courier_id: CourierId,
    capacity: u64,
    load: u64,
}

/// `GET /couriers`
#[derive(Serialize)]
struct Couriers {
    couriers: Vec<ShownCourier>,
}

/// `GET /deliveries/{order_id}`
#[derive(Serialize)]
struct Shown {
    order_id: OrderId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    courier_id: Option<CourierId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

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
