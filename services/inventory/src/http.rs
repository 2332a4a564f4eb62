//! HTTP endpoints of the inventory service: the shop owner lists, changes and withdraws items, and anybody asks what there is.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quadrille_events::{
    Currency, Item, ItemId, ItemListed, ItemPhoto, MAX_DESCRIPTION, MAX_ITEM_NAME, MAX_MONEY, MAX_QUANTITY,
    MAX_TAGS, Money, Tag,
};
use quadrille_runtime::Door;
use quadrille_runtime::http::{
    Id, Json, Origin, Precondition, Problem, Query, Upload, at_most, field, plain_text, precondition, whole,
    whole_or_null,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::InventoryService;
use crate::decide::{Input, State, Stock, key};
use crate::item::{Expected, ItemChange};
use crate::photos::{self, MAX_PHOTO};

/// How many items a page has unless the client asks for another number.
const DEFAULT_PAGE: usize = 50;

/// The most items of one page: their entries and records fit into one answer of the broker.
pub const MAX_PAGE: usize = 100;

/// The most items that one request looks at to find those with a tag or status. Beyond that the page is short, and the client
/// goes on behind it.
const MAX_SEARCHED: usize = 1_000;

pub fn routes(door: Door<InventoryService>) -> OpenApiRouter {
    photos::keep_swept(&door);
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list))
        .routes(routes!(put, show, change, withdraw))
        .routes(routes!(check))
        .routes(routes!(put_photo, show_photo, remove_photo))
        .with_state(door.clone())
        .merge(photos::routes(door))
}

#[derive(OpenApi)]
#[openapi(info(title = "Quadrille: inventory"))]
struct Document;

type InventoryDoor = Shared<Door<InventoryService>>;

/// Fields of an item. To list an item, its name, price, currency and quantity are needed; to replace one, too. A quantity alone
/// changes only the quantity of a listed item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Apple", "description": "A red apple from the valley", "price": 250, "currency": "EUR",
    "quantity": 100, "tags": ["fruit"],
}))]
pub struct PutItem {
    /// How many there are, all told: those that are reserved or shipped count.
    #[serde(deserialize_with = "whole")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    quantity: u64,
    /// On one line: at most 200 bytes, without control characters.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// At most 4000 bytes, without control characters.
    #[schema(max_length = 4_000, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    description: Option<String>,
    /// The price of one, in minor units.
    #[serde(default, deserialize_with = "whole_or_null")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    price: Option<Money>,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// At most 16, each of letters, digits, `-` and `_`.
    #[schema(value_type = Option<Vec<Tag>>, max_items = 16)]
    tags: Option<Vec<String>>,
}

/// The fields of an item that change; those that are left out stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "price": 270 }))]
pub struct ChangeItem {
    /// On one line: at most 200 bytes, without control characters.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// At most 4000 bytes, without control characters.
    #[schema(max_length = 4_000, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    description: Option<String>,
    /// The price of one, in minor units.
    #[serde(default, deserialize_with = "whole_or_null")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    price: Option<Money>,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// How many there are, all told: those that are reserved or shipped count.
    #[serde(default, deserialize_with = "whole_or_null")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    quantity: Option<u64>,
    /// At most 16, each of letters, digits, `-` and `_`.
    #[schema(value_type = Option<Vec<Tag>>, max_items = 16)]
    tags: Option<Vec<String>>,
}

impl PutItem {
    pub fn check(self) -> Result<ItemChange, Problem> {
        let change = ChangeItem {
            name: self.name,
            description: self.description,
            price: self.price,
            currency: self.currency,
            quantity: Some(self.quantity),
            tags: self.tags,
        };
        change.check()
    }
}

impl ChangeItem {
    /// The change, or a problem with the first field that is wrong.
    pub fn check(self) -> Result<ItemChange, Problem> {
        if let Some(name) = &self.name {
            at_most_bytes("name", name, MAX_ITEM_NAME)?;
            plain_text("name", name)?;
        }
        if let Some(description) = &self.description {
            at_most_bytes("description", description, MAX_DESCRIPTION)?;
            if !description.is_empty() {
                plain_text("description", description)?;
            }
        }
        if let Some(price) = self.price {
            at_most("price", price, MAX_MONEY)?;
            if price == 0 {
                return Err(Problem::invalid("price", "must be at least 1"));
            }
        }
        let currency = self.currency.map(|code| {
            Currency::from_code(&code)
                .ok_or_else(|| Problem::invalid("currency", "must be a code of ISO 4217 such as `EUR`"))
        });
        if let Some(quantity) = self.quantity {
            at_most("quantity", quantity, MAX_QUANTITY)?;
        }
        Ok(ItemChange {
            name: self.name,
            description: self.description,
            price: self.price,
            currency: currency.transpose()?,
            quantity: self.quantity,
            tags: self.tags.map(check_tags).transpose()?,
        })
    }
}

fn at_most_bytes(name: &str, text: &str, most: usize) -> Result<(), Problem> {
    if text.len() > most {
        return Err(Problem::invalid(
            name,
            format!("must be at most {most} bytes long"),
        ));
    }
    Ok(())
}

fn check_tags(tags: Vec<String>) -> Result<Vec<Tag>, Problem> {
    if tags.len() > MAX_TAGS {
        return Err(Problem::invalid(
            "tags",
            format!("must be at most {MAX_TAGS}, not {}", tags.len()),
        ));
    }
    let tags = tags.iter().enumerate();
    tags.map(|(n, tag)| field(format!("tags[{n}]"), tag)).collect()
}

/// The version that a request expects. An `ETag` of this service is the version of the item.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    Ok(match precondition(headers)? {
        Precondition::None => Expected::Nothing,
        Precondition::Absent => Expected::Absent,
        Precondition::Any => Expected::Any,
        // A tag that is no number is none of this service's, and matches nothing.
        Precondition::Tags(tags) => {
            Expected::Versions(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
        }
    })
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

/// An item and its stock.
#[derive(Serialize, ToSchema)]
struct ItemView {
    item_id: ItemId,
    name: String,
    description: String,
    /// The price of one, in minor units.
    price: Money,
    /// ISO 4217.
    #[schema(value_type = String)]
    currency: Currency,
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<ItemPhoto>,
    status: ItemStatus,
    /// One more with each change of the item; also the `ETag`, in quotes. What orders do to the stock is no change of the item.
    version: u64,
    /// How many there are, all told.
    quantity: u64,
    /// How many are reserved for orders, or were shipped with one.
    reserved: u64,
    /// How many can be reserved.
    available: u64,
}

/// Whether an item can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ItemStatus {
    /// Some can be reserved.
    Available,
    /// All that are left are reserved.
    Reserved,
    /// None are left.
    Sold,
    /// The shop does not offer it any more.
    Withdrawn,
}

/// A page of a list of items.
#[derive(Serialize, ToSchema)]
struct ItemList {
    /// The items, those that were listed first in front.
    items: Vec<ItemView>,
    /// The `cursor` of the next page, if there are more. A page with a filter may be short, or empty, and not be the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Which items to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ItemFilter {
    /// Only items with this tag.
    #[param(value_type = Option<Tag>)]
    tag: Option<String>,
    /// Only items with this status.
    #[param(inline)]
    status: Option<ItemStatus>,
    /// The `next` of the page before.
    cursor: Option<u64>,
    /// The most items of the page; 50 unless given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

impl ItemView {
    fn new(item_id: ItemId, state: &State, stock: Stock) -> Option<Self> {
        let (version, item) = state.item()?;
        let available = stock.available();
        let status = if matches!(state, State::Withdrawn { .. }) {
            ItemStatus::Withdrawn
        } else if available > 0 {
            ItemStatus::Available
        } else if stock.reserved > 0 {
            ItemStatus::Reserved
        } else {
            ItemStatus::Sold
        };
        let Item {
            name,
            description,
            price,
            currency,
            quantity: _,
            tags,
            photo,
        } = (**item).clone();
        Some(Self {
            item_id,
            name,
            description,
            price,
            currency,
            tags,
            photo,
            status,
            version,
            quantity: stock.quantity,
            reserved: stock.reserved,
            available,
        })
    }

    /// The answer with its `ETag`.
    fn answer(self) -> Response {
        let tag = format!("\"{}\"", self.version);
        ([(header::ETAG, tag)], Json(self)).into_response()
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

/// Lists an item, or replaces a listed one.
///
/// An item that is there already is replaced only with `If-Match`: its `ETag`, or `*`. With `If-None-Match: *` it is only listed if
/// there is none. A body with a quantity alone changes only the quantity of a listed item, and needs no `If-Match`.
#[utoipa::path(put, path = "/inventory/items/{item_id}", tag = "inventory", request_body = PutItem,
    params(
        ("item_id" = ItemId, Path, description = "The item.", example = "apple"),
        ("If-Match" = Option<String>, Header, description = "The version to replace, in quotes as in its `ETag`, or `*`.", example = "*"),
        ("If-None-Match" = Option<String>, Header, pattern = "^\\*$", description = "`*`: only if there is no such item."),
    ),
    responses(
        (status = 200, description = "The item, listed or replaced, now or before.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 409, description = "More are reserved, or the item is withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The item has another version.", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is needed to replace an item.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    headers: HeaderMap,
    Json(request): Json<PutItem>,
) -> Result<Response, Problem> {
    let command = Input::Put {
        item_id: item_id.clone(),
        change: request.check()?,
        expected: expected(&headers)?,
    };
    changed(&door, item_id, command, "put-item", origin).await
}

/// Changes some fields of an item.
#[utoipa::path(patch, path = "/inventory/items/{item_id}", tag = "inventory", request_body = ChangeItem,
    params(
        ("item_id" = ItemId, Path, description = "The item.", example = "apple"),
        ("If-Match" = Option<String>, Header, description = "The version to change, in quotes as in its `ETag`, or `*`. Needed.", example = "*"),
    ),
    responses(
        (status = 200, description = "The item after the change.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 404, description = "There is no such item.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "More are reserved, or the item is withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The item has another version.", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn change(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    headers: HeaderMap,
    Json(request): Json<ChangeItem>,
) -> Result<Response, Problem> {
    let command = Input::Change {
        item_id: item_id.clone(),
        change: request.check()?,
        expected: expected(&headers)?,
    };
    changed(&door, item_id, command, "change-item", origin).await
}

/// Withdraws an item for good: nobody can order it any more. An item that is reserved cannot be withdrawn.
#[utoipa::path(delete, path = "/inventory/items/{item_id}", tag = "inventory",
    params(
        ("item_id" = ItemId, Path, description = "The item.", example = "apple"),
        ("If-Match" = Option<String>, Header, description = "The version to withdraw, in quotes as in its `ETag`, or `*`. Needed.", example = "*"),
    ),
    responses(
        (status = 200, description = "The item, withdrawn now or before.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 404, description = "There is no such item.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Some are reserved; the problem says how many.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The item has another version.", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn withdraw(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let command = Input::Withdraw {
        item_id: item_id.clone(),
        expected: expected(&headers)?,
    };
    changed(&door, item_id, command, "withdraw-item", origin).await
}

/// Gives an item a photo, in place of the one that it has.
///
/// The body is a JPEG, PNG or WebP of at most 2 MiB, with at most 8192 pixels a side. It is recognized by its content, whatever the
/// `Content-Type` says.
#[utoipa::path(put, path = "/inventory/items/{item_id}/photo", tag = "inventory",
    request_body(description = "The bytes of the photo.",
        content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"))),
    params(
        ("item_id" = ItemId, Path, description = "The item.", example = "apple"),
        ("If-Match" = Option<String>, Header, description = "The version to change, in quotes as in its `ETag`, or `*`. Needed.", example = "*"),
    ),
    responses(
        (status = 200, description = "The item with the photo.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 404, description = "There is no such item.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The item is withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The item has another version.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The photo is larger than 2 MiB.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JPEG, PNG or WebP.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The photo is damaged, or a side has too many pixels.", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put_photo(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    headers: HeaderMap,
    upload: Upload<MAX_PHOTO>,
) -> Result<Response, Problem> {
    let photo = photos::described(&upload.bytes)?;
    let command = Input::SetPhoto {
        item_id: item_id.clone(),
        photo: Some(photo.clone()),
        expected: expected(&headers)?,
    };
    // What would be refused is not stored.
    door.check(&command).await?;
    photos::bucket(&door)
        .put(&photo.media_type, &upload.bytes)
        .await?;
    changed(&door, item_id, command, "put-photo", origin).await
}

/// Takes the photo from an item.
#[utoipa::path(delete, path = "/inventory/items/{item_id}/photo", tag = "inventory",
    params(
        ("item_id" = ItemId, Path, description = "The item.", example = "apple"),
        ("If-Match" = Option<String>, Header, description = "The version to change, in quotes as in its `ETag`, or `*`. Needed.", example = "*"),
    ),
    responses(
        (status = 200, description = "The item without a photo.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 404, description = "There is no such item.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The item is withdrawn.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The item has another version.", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "`If-Match` is missing.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn remove_photo(
    Shared(door): InventoryDoor,
    Id(item_id): Id<ItemId>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let command = Input::SetPhoto {
        item_id: item_id.clone(),
        photo: None,
        expected: expected(&headers)?,
    };
    changed(&door, item_id, command, "remove-photo", origin).await
}

/// Redirects to the photo that the item has now.
#[utoipa::path(get, path = "/inventory/items/{item_id}/photo", tag = "inventory",
    params(("item_id" = ItemId, Path, description = "The item.", example = "apple")),
    responses(
        (status = 302, description = "The photo is at `Location`.", headers(
            ("Location" = String, description = "The path of the photo's bytes."),
            ("Cache-Control" = String, description = "`no-cache`: the next photo is elsewhere."),
        )),
        (status = 404, description = "There is no such item, or it has no photo.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show_photo(Shared(door): InventoryDoor, Id(item_id): Id<ItemId>) -> Result<Response, Problem> {
    let state = door.state(&item_id).await?;
    let photo = match state.item() {
        None => return Err(Problem::not_found(format!("there is no item `{item_id}`"))),
        Some((_, item)) => item.photo.as_ref(),
    };
    let photo = photo.ok_or_else(|| Problem::not_found(format!("`{item_id}` has no photo")))?;
    let headers = [
        (header::LOCATION, photos::path(photo)),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    Ok((StatusCode::FOUND, headers).into_response())
}

async fn changed(
    door: &Door<InventoryService>,
    item_id: ItemId,
    command: Input,
    what: &'static str,
    origin: Origin,
) -> Result<Response, Problem> {
    let state = door.command(command, what, origin).await?.state;
    view(door, item_id, &state).await
}

/// Shows an item.
#[utoipa::path(get, path = "/inventory/items/{item_id}", tag = "inventory",
    params(("item_id" = ItemId, Path, description = "The item.", example = "apple")),
    responses(
        (status = 200, description = "The item.", body = ItemView, headers(("ETag" = String, description = "The version."))),
        (status = 404, description = "The item was never listed.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn show(Shared(door): InventoryDoor, Id(item_id): Id<ItemId>) -> Result<Response, Problem> {
    let state = door.state(&item_id).await?;
    view(&door, item_id, &state).await
}

async fn view(door: &Door<InventoryService>, item_id: ItemId, state: &State) -> Result<Response, Problem> {
    let stock = door.record(&key(&item_id)).await?.unwrap_or_default();
    match ItemView::new(item_id.clone(), state, stock) {
        Some(view) => Ok(view.answer()),
        None => Err(Problem::not_found(format!(
            "there is no item `{item_id}`; PUT /inventory/items/{item_id} lists it"
        ))),
    }
}

/// Lists items, page by page, those that were listed first in front.
#[utoipa::path(get, path = "/inventory/items", tag = "inventory", params(ItemFilter), responses(
    (status = 200, description = "A page of items.", body = ItemList),
))]
async fn list(
    Shared(door): InventoryDoor,
    Query(filter): Query<ItemFilter>,
) -> Result<Json<ItemList>, Problem> {
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::invalid("limit", format!("must be 1 to {MAX_PAGE}")));
    }
    let tag: Option<Tag> = filter.tag.map(|tag| field("tag", &tag)).transpose()?;
    let is_wanted = |view: &ItemView| {
        tag.as_ref().is_none_or(|tag| view.tags.contains(tag))
            && filter.status.is_none_or(|status| status == view.status)
    };
    let (mut items, mut next, mut searched) = (Vec::new(), Some(filter.cursor.unwrap_or(0)), 0);
    while let Some(after) = next
        && items.len() < limit
        && searched < MAX_SEARCHED
    {
        // Without a filter no more than are wanted; with one as many as one answer of the broker holds.
        let is_filtered = tag.is_some() || filter.status.is_some();
        let size = if is_filtered {
            MAX_PAGE
        } else {
            limit - items.len()
        };
        let page = door.page::<ItemListed>(after, size).await?;
        searched += size;
        next = page.next;
        let last = page.ids.last().map(|(_, place)| *place);
        for (view, place) in views(&door, page.ids).await? {
            if is_wanted(&view) {
                items.push(view);
            }
            if items.len() == limit {
                next = next.or(last.filter(|last| *last > place)).map(|_| place);
                break;
            }
        }
    }
    Ok(Json(ItemList { items, next }))
}

/// The items with these ids, each with its place.
async fn views(
    door: &Door<InventoryService>,
    ids: Vec<(ItemId, u64)>,
) -> Result<Vec<(ItemView, u64)>, Problem> {
    let (ids, places): (Vec<ItemId>, Vec<u64>) = ids.into_iter().unzip();
    let states = door.states(&ids).await?;
    let mut stock = door.records_at(ids.iter().map(key).collect()).await?;
    let items = ids.into_iter().zip(states).zip(places);
    let views = items.filter_map(|((item_id, state), place)| {
        let stock = stock.remove(&key(&item_id)).unwrap_or_default();
        Some((ItemView::new(item_id, &state, stock)?, place))
    });
    Ok(views.collect())
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
