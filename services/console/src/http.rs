//! What the console serves: the page, the live stream behind it, and the commands that it hands on.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use quadrille_events::{OrderId, Step};
use quadrille_runtime::http::{Id, Json, MAX_BODY, Problem, field};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::follow::Shared;
use crate::live::{self, Looking};
use crate::proxy::{Commands, To};
use crate::story::OrderStory;
use crate::view::{MAX_FOUND, Row};

/// How long a handler may take. Longer than a command waits for its service.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest text that is searched for: an id.
const MAX_SEARCH: usize = quadrille_events::MAX_ID;

#[derive(Clone)]
struct App {
    shared: Shared,
    commands: Commands,
}

/// All that the console serves.
pub(crate) fn routes(shared: Shared, commands: Commands) -> Router {
    let page = |kind: &'static str, text: &'static str| {
        get(move || async move {
            (
                [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")],
                text,
            )
        })
    };
    Router::new()
        .route(
            "/",
            page("text/html; charset=utf-8", include_str!("../assets/index.html")),
        )
        .route(
            "/console.css",
            page("text/css; charset=utf-8", include_str!("../assets/console.css")),
        )
        .route(
            "/console.js",
            page(
                "text/javascript; charset=utf-8",
                include_str!("../assets/console.js"),
            ),
        )
        .route(
            "/map.js",
            page("text/javascript; charset=utf-8", include_str!("../assets/map.js")),
        )
        .route(
            "/story.js",
            page(
                "text/javascript; charset=utf-8",
                include_str!("../assets/story.js"),
            ),
        )
        .route(
            "/page.js",
            page(
                "text/javascript; charset=utf-8",
                include_str!("../assets/page.js"),
            ),
        )
        .route(
            "/icon.svg",
            page("image/svg+xml", include_str!("../assets/icon.svg")),
        )
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/live", get(look))
        .route("/api/orders", get(search).post(create))
        .route("/api/orders/{order_id}", get(story))
        .route("/api/orders/{order_id}/{command}", post(command))
        .with_state(App { shared, commands })
        .fallback(async |request: Request| {
            Problem::not_found(format!(
                "there is no {} {}",
                request.method(),
                request.uri().path()
            ))
        })
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            HANDLER_TIMEOUT,
        ))
        .layer(middleware::from_fn(guard))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::internal("the handler panicked; the log says where").into_response()
        }))
}

/// Lets no other site's page send commands, and tells the browser to load nothing from elsewhere.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::POST && is_foreign(request.headers()) {
        Problem::new(
            StatusCode::FORBIDDEN,
            "commands are taken from the console's own page only",
        )
        .into_response()
    } else {
        next.run(request).await
    };
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a browser sends this for the page of another site. What is no browser sends neither header.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), host) => origin.split_once("://").map(|(_, origin)| origin) != host,
        (None, _) => false,
    }
}

async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    match app.shared.trouble() {
        None => Ok("ready\n"),
        Some(trouble) => Err(Problem::unavailable(trouble)),
    }
}

/// What only somebody who hears all services can count, for Prometheus.
async fn metrics(State(app): State<App>) -> Response {
    use std::fmt::Write as _;
    let seen = app.shared.view().overview(Timestamp::now(), None);
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, of: &dyn Fn(&crate::view::AtStep) -> u64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for at in &seen.steps {
            let _ = writeln!(text, "{name}{{step=\"{}\"}} {}", at.step, of(at));
        }
    };
    gauge(
        "quadrille_orders_in_flight",
        "Orders that have not ended, by step.",
        &|at| at.orders,
    );
    gauge(
        "quadrille_orders_stuck",
        "Orders whose step takes longer than it should.",
        &|at| at.stuck,
    );
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text).into_response()
}

#[derive(Deserialize)]
struct Look {
    order: Option<String>,
    step: Option<String>,
}

async fn look(State(app): State<App>, Query(look): Query<Look>) -> Result<Response, Problem> {
    let order = look.order.map(|order| order.parse::<OrderId>()).transpose();
    let order = order.map_err(|error| Problem::invalid("order", error))?;
    let step = match look.step {
        None => None,
        Some(name) => {
            let step = Step::ALL
                .into_iter()
                .find(|step| step.name() == name && !step.is_over());
            Some(step.ok_or_else(|| Problem::invalid("step", "is no step of an order in flight"))?)
        }
    };
    live::stream(app.shared, Looking { order, step })
}

#[derive(Deserialize)]
struct Search {
    q: String,
}

#[derive(Serialize)]
struct Found {
    orders: Vec<Row>,
    /// Whether there may be more than are shown.
    more: bool,
}

/// Those in the view whose id or customer begins so; and, wherever it is, the one whose id it is.
async fn search(State(app): State<App>, Query(search): Query<Search>) -> Result<Json<Found>, Problem> {
    let text = search.q.trim();
    if text.is_empty() || text.len() > MAX_SEARCH {
        return Err(Problem::invalid(
            "q",
            format!("must be 1 to {MAX_SEARCH} bytes long"),
        ));
    }
    let now = Timestamp::now();
    let mut orders = app.shared.view().find(text, now);
    if orders.is_empty()
        && let Ok(order_id) = text.parse()
        && let Some(story) = read(&app, &order_id).await?
    {
        orders.extend(story.row(now));
    }
    Ok(Json(Found {
        more: orders.len() >= MAX_FOUND,
        orders,
    }))
}

async fn story(State(app): State<App>, Id(order_id): Id<OrderId>) -> Result<Json<OrderStory>, Problem> {
    let story = read(&app, &order_id).await?;
    story
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("nobody has said anything about an order `{order_id}`")))
}

async fn read(app: &App, order_id: &OrderId) -> Result<Option<OrderStory>, Problem> {
    let story = OrderStory::read(app.shared.operator()?, order_id).await;
    story.map_err(|error| Problem::unavailable(format!("{error:#}")))
}

async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    Json(order): Json<Value>,
) -> Result<Response, Problem> {
    app.commands
        .send(
            To::Order,
            "/orders/create_order",
            headers.get("idempotency-key"),
            &order,
        )
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    reason: Option<String>,
}

async fn command(
    State(app): State<App>,
    Path((order_id, command)): Path<(String, String)>,
    Json(Command { reason }): Json<Command>,
) -> Result<Response, Problem> {
    let order_id: OrderId = field("order_id", &order_id)?;
    let (to, path, takes_reason) = match command.as_str() {
        "confirm-payment" => (To::Payment, "/payments/confirm", false),
        "cancel-payment" => (To::Payment, "/payments/cancel", true),
        "approve-order" => (To::Order, "/orders/confirm", false),
        "cancel-order" => (To::Order, "/orders/cancel", true),
        other => return Err(Problem::not_found(format!("there is no command `{other}`"))),
    };
    let mut body = json!({ "order_id": order_id });
    if let (true, Some(reason)) = (takes_reason, reason) {
        body["reason"] = reason.into();
    }
    app.commands.send(to, path, None, &body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn another_sites_page_sends_no_commands() {
        let host = ("host", "127.0.0.1:7000");
        assert!(is_foreign(&headers(&[host, ("sec-fetch-site", "cross-site")])));
        assert!(is_foreign(&headers(&[host, ("sec-fetch-site", "same-site")])));
        assert!(is_foreign(&headers(&[host, ("origin", "http://elsewhere")])));
        assert!(is_foreign(&headers(&[host, ("origin", "null")])));
        assert!(!is_foreign(&headers(&[host, ("sec-fetch-site", "same-origin")])));
        assert!(!is_foreign(&headers(&[
            host,
            ("origin", "http://127.0.0.1:7000")
        ])));
        assert!(!is_foreign(&headers(&[host])), "curl");
    }

    /// The page must work under its own policy: nothing inline, nothing from elsewhere.
    #[test]
    fn the_page_holds_nothing_that_its_policy_forbids() {
        let page = include_str!("../assets/index.html");
        for forbidden in [
            "<style",
            " style=",
            "onclick",
            "onload",
            "<script>",
            "https://",
            "javascript:",
        ] {
            assert!(!page.contains(forbidden), "the page holds `{forbidden}`");
        }
        let scripts = [
            include_str!("../assets/console.js"),
            include_str!("../assets/map.js"),
            include_str!("../assets/story.js"),
            include_str!("../assets/page.js"),
        ];
        for script in scripts {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                "https://",
            ] {
                assert!(!script.contains(forbidden), "a script holds `{forbidden}`");
            }
        }
    }
}
