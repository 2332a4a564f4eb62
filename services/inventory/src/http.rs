//! HTTP endpoints of the inventory service: the shop owner sets quantities, and anybody asks what is available.

use axum::extract::State as Shared;
use quadrille_events::{ItemId, MAX_MONEY};
use quadrille_runtime::Door;
use quadrille_runtime::http::{Id, Json, Origin, Problem, at_most, field, whole};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::InventoryService;
use crate::decide::{Input, Stock, key};

/// The largest quantity of one item: what every JSON reader holds exactly, as with money.
pub const MAX_QUANTITY: u64 = MAX_MONEY;

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

/// The quantity of an item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantity": 100 }))]
struct StockRequest {
    /// How many are there, including those that are reserved.
    #[serde(deserialize_with = "whole")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    quantity: u64,
}

/// A question about an item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "item_id": "apple", "quantity": 2 }))]
struct AvailabilityRequest {
    #[schema(value_type = ItemId)]
    item_id: String,
    /// How many are wanted.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    quantity: u64,
}

/// The stock of an item.
#[derive(Serialize, ToSchema)]
struct ItemView {
    item_id: ItemId,
    /// How many are there, including those that are reserved. A delivery takes them off.
    quantity: u64,
    /// How many are reserved for orders that are not delivered yet.
    reserved: u64,
    /// How many can be reserved.
    available: u64,
}

impl ItemView {
    fn new(item_id: ItemId, stock: Stock) -> Self {
        Self {
            item_id,
            quantity: stock.quantity,
            reserved: stock.reserved,
            available: stock.available(),
        }
    }
}

/// Whether enough of an item is available at this moment.
#[derive(Serialize, ToSchema)]
struct AvailabilityReply {
    status: Availability,
    item_id: ItemId,
    /// How many were wanted.
    quantity: u64,
    /// The same in words.
    message: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Availability {
    Available,
    OutOfStock,
}

/// Sets how many of an item are there, including those that are reserved.
#[utoipa::path(put, path = "/inventory/items/{item_id}", tag = "inventory", request_body = StockRequest,
    params(("item_id" = ItemId, Path, description = "The item.", example = "apple")),
    responses(
        (status = 200, description = "The stock after the change.", body = ItemView),
        (status = 409, description = "More are reserved.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn stock(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    Json(request): Json<StockRequest>,
) -> Result<Json<ItemView>, Problem> {
    let quantity = at_most("quantity", request.quantity, MAX_QUANTITY)?;
    let command = Input::Stock {
        item_id: item_id.clone(),
        quantity,
    };
    door.command(command, "stock", origin).await?;
    item(&door, item_id).await
}

/// Shows the stock of an item.
#[utoipa::path(get, path = "/inventory/items/{item_id}", tag = "inventory",
    params(("item_id" = ItemId, Path, description = "The item.", example = "apple")),
    responses(
        (status = 200, description = "The stock.", body = ItemView),
        (status = 404, description = "The item was never put in.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): InventoryDoor, Id(item_id): Id<ItemId>) -> Result<Json<ItemView>, Problem> {
    item(&door, item_id).await
}

async fn item(door: &Door<InventoryService>, item_id: ItemId) -> Result<Json<ItemView>, Problem> {
    match door.record(&key(&item_id)).await? {
        Some(stock) => Ok(Json(ItemView::new(item_id, stock))),
        None => Err(Problem::not_found(format!(
            "there is no item `{item_id}`; PUT /inventory/items/{item_id} puts some in"
        ))),
    }
}

/// Answers whether enough of an item is available at this moment. Nothing is reserved.
#[utoipa::path(post, path = "/inventory/check", tag = "inventory", request_body = AvailabilityRequest, responses(
    (status = 200, description = "Available, or out of stock.", body = AvailabilityReply),
))]
async fn check(
    Shared(door): InventoryDoor,
    Json(request): Json<AvailabilityRequest>,
) -> Result<Json<AvailabilityReply>, Problem> {
    let item_id: ItemId = field("item_id", &request.item_id)?;
    let quantity = at_most("quantity", request.quantity, MAX_QUANTITY)?;
    if quantity == 0 {
        return Err(Problem::invalid("quantity", "must be at least 1"));
    }
    let available = door.record(&key(&item_id)).await?.unwrap_or_default().available();
    let status = if quantity <= available {
        Availability::Available
    } else {
        Availability::OutOfStock
    };
    let message = format!("{available} of `{item_id}` are available, {quantity} are wanted");
    Ok(Json(AvailabilityReply {
        status,
        item_id,
        quantity,
        message,
    }))
}
