//! The shop behind the page: items and their photos, prices and couriers. Each request goes to the service that owns them.

use std::str::FromStr;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::{get, put};
use quadrille_events::{CourierId, Currency, ItemId};
use quadrille_runtime::http::{Id, Json, Problem, Upload};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::App;
use crate::proxy::{Forward, To};

/// The largest photo that is handed on: more than inventory takes, so that the page is told by inventory what is too large.
const MAX_UPLOAD: usize = 4 * 1024 * 1024;

pub fn routes() -> Router<App> {
    let item = get(item).put(change).patch(change).delete(item);
    Router::new()
        .route("/api/items", get(items))
        .route("/api/items/{item_id}", item)
        .route("/api/items/{item_id}/photo", put(put_photo).delete(remove_photo))
        .route("/api/photos/{digest}", get(photo))
        .route("/api/prices/{item_id}", get(price))
        .route("/api/currencies", get(async || Json(&*CURRENCIES)))
        .route("/api/couriers", get(couriers))
        .route(
            "/api/couriers/{courier_id}",
            get(courier).merge(put(set_capacity)),
        )
}

/// A currency in which an item can be priced.
#[derive(Debug, Serialize)]
struct CurrencyView {
    code: &'static str,
    /// How many digits an amount has after the point.
    digits: u16,
}

/// All currencies of ISO 4217, by code: the contract knows a currency by its code and does not list them.
static CURRENCIES: LazyLock<Vec<CurrencyView>> = LazyLock::new(|| {
    let letters = || 'A'..='Z';
    let codes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    let known = codes.filter_map(|code| Currency::from_code(&String::from_iter(code)));
    let views = known.map(|currency| CurrencyView {
        code: currency.code(),
        digits: currency.exponent().unwrap_or(0),
    });
    views.collect()
});

/// The SHA-256 digest of a photo, under which inventory serves it.
struct PhotoDigest(String);

impl FromStr for PhotoDigest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err("must be a SHA-256 digest: 64 hexadecimal digits, in lower case")
    }
}

async fn items(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let request = Forward::new(Method::GET, format!("/inventory/items{query}"));
    app.services.send(To::Inventory, request).await
}

/// Shows or withdraws an item.
async fn item(
    State(app): State<App>,
    Id(item_id): Id<ItemId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = Forward::new(method, format!("/inventory/items/{item_id}")).with_headers(&headers);
    app.services.send(To::Inventory, request).await
}

/// Lists or changes an item.
async fn change(
    State(app): State<App>,
    Id(item_id): Id<ItemId>,
    method: Method,
    headers: HeaderMap,
    Json(body): Json<Box<RawValue>>,
) -> Result<Response, Problem> {
    let request = Forward::new(method, format!("/inventory/items/{item_id}"));
    let request = request.with_headers(&headers).with_json(&body);
    app.services.send(To::Inventory, request).await
}

async fn put_photo(
    State(app): State<App>,
    Id(item_id): Id<ItemId>,
    headers: HeaderMap,
    upload: Upload<MAX_UPLOAD>,
) -> Result<Response, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).cloned();
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let request = Forward::new(Method::PUT, format!("/inventory/items/{item_id}/photo"));
    let request = request
        .with_headers(&headers)
        .with_body(media_type, upload.bytes.clone());
    app.services.send(To::Inventory, request).await
}

async fn remove_photo(
    State(app): State<App>,
    Id(item_id): Id<ItemId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = Forward::new(Method::DELETE, format!("/inventory/items/{item_id}/photo"));
    app.services
        .send(To::Inventory, request.with_headers(&headers))
        .await
}

async fn photo(
    State(app): State<App>,
    Id(PhotoDigest(digest)): Id<PhotoDigest>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = Forward::new(Method::GET, format!("/inventory/photos/{digest}")).with_headers(&headers);
    app.services.send(To::Inventory, request).await
}

async fn price(State(app): State<App>, Id(item_id): Id<ItemId>) -> Result<Response, Problem> {
    let request = Forward::new(Method::GET, format!("/prices/{item_id}"));
    app.services.send(To::Order, request).await
}

async fn couriers(State(app): State<App>) -> Result<Response, Problem> {
    let request = Forward::new(Method::GET, "/couriers");
    app.services.send(To::Delivery, request).await
}

async fn courier(State(app): State<App>, Id(courier_id): Id<CourierId>) -> Result<Response, Problem> {
    let request = Forward::new(Method::GET, format!("/couriers/{courier_id}"));
    app.services.send(To::Delivery, request).await
}

async fn set_capacity(
    State(app): State<App>,
    Id(courier_id): Id<CourierId>,
    Json(body): Json<Box<RawValue>>,
) -> Result<Response, Problem> {
    let request = Forward::new(Method::PUT, format!("/couriers/{courier_id}")).with_json(&body);
    app.services.send(To::Delivery, request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_is_there_with_its_digits() {
        let digits = |code: &str| {
            let known = CURRENCIES.iter().find(|currency| currency.code == code);
            known.map(|currency| currency.digits)
        };
        assert_eq!(
            ["EUR", "JPY", "KWD", "EUX"].map(digits),
            [Some(2), Some(0), Some(3), None]
        );
    }
}
