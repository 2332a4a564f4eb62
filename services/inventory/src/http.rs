//! Its HTTP: the shop owner puts goods in, and anybody asks what is there.

use axum::extract::State as Shared;
use quadrille_events::{ItemId, MAX_MONEY};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, field, whole};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::InventoryService;
use crate::decide::{Input, Stock, key};

/// The most that can be put in of one item: what every JSON reader holds exactly, as with money.
pub const MAX_QUANTITY: u64 = MAX_MONEY;

/// The routes of the inventory service.
pub fn routes(door: Door<InventoryService>) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(stock, show))
        .routes(routes!(check))
        .with_state(door)
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: inventory"))]
struct Document;

type InventoryDoor = Shared<Door<InventoryService>>;

/// How much of an item there is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantity": 100 }))]
struct PutIn {
    /// How many were put in, all told: those that are reserved or gone count.
    #[serde(deserialize_with = "whole")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    quantity: u64,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "item_id": "apple", "quantity": 2 }))]
struct Check {
    /// Of what.
    #[schema(value_type = ItemId)]
    item_id: String,
    /// How many are wanted.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    quantity: u64,
}

/// What is there of an item.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownItem)]
struct Shown {
    item_id: ItemId,
    /// How many were put in, all told.
    quantity: u64,
    /// How many of them are set aside for orders, or have gone out with one.
    reserved: u64,
    /// How many can be set aside.
    available: u64,
}

/// Whether there is enough of an item, at this moment.
#[derive(Serialize, ToSchema)]
struct Checked {
    status: Status,
    item_id: ItemId,
    /// How many were wanted.
    quantity: u64,
    /// The same in words.
    message: String,
}

/// Whether there is enough.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Available,
    OutOfStock,
}

/// Says how much of an item was put in, all told.
#[utoipa::path(put, path = "/inventory/items/{item_id}", tag = "inventory", request_body = PutIn,
    params(("item_id" = ItemId, Path, description = "Which item.", example = "apple")),
    responses(
        (status = 200, description = "So it is now.", body = Shown),
        (status = 409, description = "More are reserved.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn stock(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    Json(request): Json<PutIn>,
) -> Result<Json<Shown>, Problem> {
    let quantity = bounded(request.quantity)?;
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

/// Shows what is there of an item.
#[utoipa::path(get, path = "/inventory/items/{item_id}", tag = "inventory",
    params(("item_id" = ItemId, Path, description = "Which item.", example = "apple")),
    responses(
        (status = 200, description = "What is there.", body = Shown),
        (status = 404, description = "It was never put in.", body = Problem, content_type = "application/problem+json"),
    )
)]
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

/// Answers whether there is enough of an item, at this moment. Nothing is set aside.
#[utoipa::path(post, path = "/inventory/check", tag = "inventory", request_body = Check, responses(
    (status = 200, description = "There is, or not.", body = Checked),
))]
async fn check(Shared(door): InventoryDoor, Json(request): Json<Check>) -> Result<Json<Checked>, Problem> {
    let quantity = request.quantity;
    let item_id: ItemId = field("item_id", &request.item_id)?;
    if bounded(quantity)? == 0 {
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

fn bounded(quantity: u64) -> Result<u64, Problem> {
    if quantity > MAX_QUANTITY {
        return Err(Problem::invalid(
            "quantity",
            format!("must be at most {MAX_QUANTITY}"),
        ));
    }
    Ok(quantity)
}
