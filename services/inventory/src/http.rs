//! Its HTTP: the shop owner puts goods in, and anybody asks what is there.

use axum::Router;
use axum::extract::State as Shared;
use axum::routing::{post, put};
use quadrille_events::{ItemId, MAX_MONEY};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem};
use serde::{Deserialize, Serialize};

use crate::InventoryService;
use crate::decide::{Input, Stock, key};

/// The most that can be put in of one item: what every JSON reader holds exactly, as with money.
pub const MAX_QUANTITY: u64 = MAX_MONEY;

/// The routes of the inventory service.
pub fn routes(door: Door<InventoryService>) -> Router {
    Router::new()
        .route("/inventory/items/{item_id}", put(stock).get(show))
        .route("/inventory/check", post(check))
        .with_state(door)
}

type InventoryDoor = Shared<Door<InventoryService>>;

/// `PUT /inventory/items/{item_id}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutIn {
    /// How many were put in, all told: those that are reserved or gone count.
    quantity: u64,
}

/// `POST /inventory/check`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    item_id: String,
    quantity: u64,
}

/// What is there of an item.
#[derive(Serialize)]
struct Shown {
    item_id: ItemId,
    quantity: u64,
    reserved: u64,
    available: u64,
}

/// Whether there is enough of an item, at this moment.
#[derive(Serialize)]
struct Checked {
    status: Status,
    item_id: ItemId,
    quantity: u64,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Available,
    OutOfStock,
}

async fn stock(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    Json(request): Json<PutIn>,
) -> Result<Json<Shown>, Problem> {
    let quantity = request.quantity;
    if quantity > MAX_QUANTITY {
        return Err(Problem::invalid(
            "quantity",
            format!("must be at most {MAX_QUANTITY}"),
        ));
    }
    door.command(
        Input::Stock {
            item_id: item_id.clone(),
            quantity,
        },
        "stock",
        origin,
    )
    .await?;
    item(&door, item_id).await
}

async fn show(Shared(door): InventoryDoor, Id(item_id): Id<ItemId>) -> Result<Json<Shown>, Problem> {
    item(&door, item_id).await
}

async fn item(door: &Door<InventoryService>, item_id: ItemId) -> Result<Json<Shown>, Problem> {
    let Some(stock) = door.record(&key(&item_id)).await? else {
        return Err(Problem::not_found(format!(
            "there is no item `{item_id}`; PUT /inventory/items/{item_id} puts some in"
        )));
    };
    let Stock { quantity, reserved } = stock;
    Ok(Json(Shown {
        item_id,
        quantity,
        reserved,
        available: stock.available(),
    }))
}

async fn check(Shared(door): InventoryDoor, Json(request): Json<Check>) -> Result<Json<Checked>, Problem> {
    let quantity = request.quantity;
    let item_id: ItemId = request
        .item_id
        .parse()
        .map_err(|error| Problem::invalid("item_id", error))?;
    if quantity == 0 {
        return Err(Problem::invalid("quantity", "must be at least 1"));
    }
    let available = door.record(&key(&item_id)).await?.unwrap_or_default().available();
    let status = if quantity <= available {
        Status::Available
    } else {
        Status::OutOfStock
    };
    let message = format!("{available} of `{item_id}` are available, {quantity} are wanted");
    Ok(Json(Checked {
        status,
        item_id,
        quantity,
        message,
    }))
}
