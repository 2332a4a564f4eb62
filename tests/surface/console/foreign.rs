//! Pages of other sites, in a real browser: what they can do to the services and the console, which is nothing.
//!
//! `evil.example` is a name of 127.0.0.1 here, as after DNS rebinding: a page under `http://evil.example:<port>` is of one origin
//! with the program that listens on this port, so neither the same-origin policy nor `Sec-Fetch-Site` keeps it away. Only the
//! program does, by the name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use quadrille_local::Service;
use quadrille_local::client::NewOrder;
use quadrille_tests::{World, eventually};
use serde_json::{Value, json};

use super::browser::{self, Browser, DESK};

const EVIL: &str = "evil.example";

/// Sends a request from the page that is open; returns the status of the answer.
async fn fetched(browser: &Browser, method: &str, path: &str, body: &Value) -> u64 {
    let options = json!({
        "method": method, "headers": { "content-type": "application/json" }, "body": body.to_string(),
    });
    let script = format!(
        "return fetch({}, {options}).then((answer) => answer.status)",
        json!(path)
    );
    let status = browser.script(&script).await.unwrap();
    status
        .as_u64()
        .unwrap_or_else(|| panic!("{method} {path}: {status}"))
}

/// The address of a program under the foreign name.
fn rebound(url: &str) -> String {
    url.replace("127.0.0.1", EVIL)
}

#[tokio::test]
async fn a_page_whose_name_was_rebound_places_no_order_and_sets_no_stock() {
    if !browser::is_there() {
        return;
    }
    let world = World::start().await.unwrap();
    let console = world.console().await.unwrap();
    let order = serde_json::to_value(NewOrder::new().line(1, "apple")).unwrap();
    let stock = world.api().item("apple").await.unwrap();
    let stocking = json!({ "quantity": 77 });
    let (orders, items) = ("/api/orders", "/inventory/items/apple");
    let inventory = world.api().url(Service::Inventory);

    // From their own pages, the same requests work: the browser and the requests are as they should be.
    let browser = Browser::resolving(DESK, EVIL).await.unwrap();
    browser.open(console.url()).await.unwrap();
    assert_eq!(fetched(&browser, "POST", orders, &order).await, 201);
    browser.open(&format!("{inventory}/docs")).await.unwrap();
    let same = json!({ "quantity": stock["quantity"] });
    assert_eq!(fetched(&browser, "PUT", items, &same).await, 200);
    let placed = world.operator.size("order").await.unwrap().messages;

    for (url, method, path, body) in [
        (console.url(), "POST", orders, &order),
        (inventory, "PUT", items, &stocking),
        (
            world.api().url(Service::Order),
            "POST",
            "/orders/create_order",
            &order,
        ),
    ] {
        browser.open(&rebound(url)).await.unwrap();
        let origin = browser.script("return location.origin").await.unwrap();
        assert_eq!(
            origin,
            rebound(url).trim_end_matches('/'),
            "the page is of one origin with {url}"
        );
        assert_eq!(
            fetched(&browser, method, path, body).await,
            421,
            "{method} {url}{path}"
        );
    }
    let created = world.operator.bucket("order").await.unwrap();
    let created = created
        .iter()
        .filter(|entry| entry.subject.starts_with("$KV.order.created."));
    assert_eq!(created.count(), 1, "{placed} messages");
    let left = world.api().item("apple").await.unwrap();
    assert_eq!(left["quantity"], stock["quantity"]);
    browser.quit().await.unwrap();
}

/// A payment provider that understands nothing until it is told to.
async fn provider(understands: Arc<AtomicBool>) -> Result<String> {
    async fn charge(State(understands): State<Arc<AtomicBool>>) -> (StatusCode, Json<Value>) {
        if understands.load(Ordering::Relaxed) {
            (
                StatusCode::OK,
                Json(json!({ "status": "approved", "reference": "r" })),
            )
        } else {
            (StatusCode::BAD_REQUEST, Json(json!({ "reason": "what?" })))
        }
    }
    serve(
        Router::new()
            .route("/charges", post(charge))
            .with_state(understands),
    )
    .await
}

/// Serves these routes on a free port; returns their URL.
async fn serve(routes: Router) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, routes).into_future());
    Ok(url)
}

#[tokio::test]
async fn a_form_of_a_foreign_page_retries_no_dead_letter() {
    if !browser::is_there() {
        return;
    }
    let understands = Arc::new(AtomicBool::new(false));
    let provider = provider(understands.clone()).await.unwrap();
    let world = World::with()
        .env("PAYMENT_PROVIDER_URL", &provider)
        .start()
        .await
        .unwrap();
    let id = world.place(NewOrder::new().line(1, "apple")).await.unwrap();
    let letter = eventually(async || Ok(world.api().dead_letters(Service::Payment).await?.pop())).await;
    let letter = letter.context("no dead letter").unwrap().id;
    understands.store(true, Ordering::Relaxed);

    let action = format!(
        "{}/dead-letters/{letter}/retry",
        world.api().url(Service::Payment)
    );
    let page = format!("<form method='post' action='{action}'><button>You have won</button></form>");
    let foreign = serve(Router::new().route("/", get(async move || Html(page))))
        .await
        .unwrap();
    let browser = Browser::resolving(DESK, EVIL).await.unwrap();
    browser.open(&rebound(&foreign)).await.unwrap();
    browser.click("//button").await.unwrap();
    browser.shows("//body", "a page of another site").await.unwrap();
    let letters = world.api().dead_letters(Service::Payment).await.unwrap();
    assert_eq!(letters.len(), 1, "it is still parked");
    browser.quit().await.unwrap();
    // The retry itself would have had an effect.
    world.api().retry(Service::Payment, &letter).await.unwrap();
    assert_eq!(world.ended(&id).await.unwrap().state, "completed");
}
