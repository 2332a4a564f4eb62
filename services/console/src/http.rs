//! HTTP endpoints of the console: the page, the live stream behind it, and the commands about orders that it forwards. Those about
//! items and couriers are in `shop`.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use jiff::Timestamp;
use quadrille_events::{OrderId, Step};
use quadrille_runtime::http::{Edge, Id, Json, Params, Problem, Query, SseClient, field, page_headers};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::app::App;
use crate::follow::Shared;
use crate::live::{self, Looking};
use crate::proxy::{Forward, Services, To};
use crate::shop;
use crate::story::OrderStory;
use crate::view::{MAX_FOUND, Row};

/// How long a handler may take. Longer than a command waits for its service.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest text that is searched for: an id.
const MAX_SEARCH: usize = quadrille_events::MAX_ID;

/// Lets the page load nothing from other hosts, and no other site frame it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Path, content type and text of everything that the browser loads.
const ASSETS: [(&str, &str, &str); 10] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("../assets/index.html"),
    ),
    (
        "/console.css",
        "text/css; charset=utf-8",
        include_str!("../assets/console.css"),
    ),
    ("/console.js", JAVASCRIPT, include_str!("../assets/console.js")),
    ("/cart.js", JAVASCRIPT, include_str!("../assets/cart.js")),
    ("/couriers.js", JAVASCRIPT, include_str!("../assets/couriers.js")),
    ("/items.js", JAVASCRIPT, include_str!("../assets/items.js")),
    ("/map.js", JAVASCRIPT, include_str!("../assets/map.js")),
    ("/story.js", JAVASCRIPT, include_str!("../assets/story.js")),
    ("/page.js", JAVASCRIPT, include_str!("../assets/page.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// All routes of the console, within the guards that every program has.
pub(crate) fn routes(shared: Shared, services: Services, edge: &Edge) -> Router {
    let mut routes = Router::new();
    for (path, kind, text) in ASSETS {
        routes = routes.route(path, asset(kind, text));
    }
    let routes = routes
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/live", get(look))
        .route("/api/orders", get(search).post(create))
        .route("/api/orders/{order_id}", get(story))
        .route("/api/orders/{order_id}/{command}", post(command))
        .merge(shop::routes())
        .with_state(App { shared, services });
    edge.within(HANDLER_TIMEOUT, routes)
        .layer(middleware::from_fn(secure_page))
}

fn asset(kind: &'static str, text: &'static str) -> MethodRouter<App> {
    get(move || async move {
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        (headers, text)
    })
}

async fn secure_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(page_headers(POLICY));
    response
}

async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    match app.shared.trouble() {
        None => Ok("ready\n"),
        Some(trouble) => Err(Problem::unavailable(trouble)),
    }
}

/// Metrics over all services, for Prometheus.
async fn metrics(State(app): State<App>) -> Response {
    use std::fmt::Write as _;
    const UNCOUNTED: &str = "quadrille_orders_uncounted";
    const READY: &str = "quadrille_ready";
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
    let _ = writeln!(
        text,
        "# HELP {UNCOUNTED} Events about orders in flight for which the console has no room, so that they are not counted.\n\
         # TYPE {UNCOUNTED} gauge\n{UNCOUNTED} {}",
        seen.uncounted
    );
    // Without it, nobody would see that the numbers above are old.
    let ready = u8::from(app.shared.trouble().is_none());
    let _ = writeln!(
        text,
        "# HELP {READY} Whether the program can do its work.\n# TYPE {READY} gauge\n{READY}{{service=\"console\"}} {ready}"
    );
    text.push_str(&app.shared.scrubs().metrics());
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text).into_response()
}

#[derive(Deserialize)]
struct Look {
    order: Option<String>,
    step: Option<String>,
}

async fn look(
    State(app): State<App>,
    client: SseClient,
    Query(look): Query<Look>,
) -> Result<Response, Problem> {
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
    live::stream(app.shared, Looking { order, step }, client.place()?)
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

#[derive(Serialize)]
struct Found {
    orders: Vec<Row>,
    /// Whether there may be more than are shown.
    more: bool,
}

/// Finds orders in the view by the beginning of their id or customer, and any stored order by its whole id.
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
    Json(order): Json<Box<RawValue>>,
) -> Result<Response, Problem> {
    let request = Forward::new(Method::POST, "/orders/create_order");
    let request = request.with_headers(&headers).with_json(&order);
    app.services.send(To::Order, request).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    reason: Option<String>,
}

async fn command(
    State(app): State<App>,
    Params(params): Params,
    Json(Command { reason }): Json<Command>,
) -> Result<Response, Problem> {
    let param = |name: &str| {
        let found = params.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, text)| text.as_str())
    };
    let order_id: OrderId = field("order_id", param("order_id"))?;
    let (to, path, takes_reason) = match param("command") {
        "confirm-payment" => (To::Payment, "/payments/confirm", false),
        "cancel-payment" => (To::Payment, "/payments/cancel", true),
        "approve-order" => (To::Order, "/orders/confirm", false),
        "cancel-order" => (To::Order, "/orders/cancel", true),
        "confirm-delivery" => (To::Delivery, "/deliveries/confirm", false),
        "fail-delivery" => (To::Delivery, "/deliveries/fail", true),
        other => return Err(Problem::not_found(format!("there is no command `{other}`"))),
    };
    let mut body = json!({ "order_id": order_id });
    if let (true, Some(reason)) = (takes_reason, reason) {
        body["reason"] = reason.into();
    }
    let body = to_raw_value(&body).map_err(|error| Problem::internal(error.to_string()))?;
    let request = Forward::new(Method::POST, path).with_json(&body);
    app.services.send(to, request).await
}

#[cfg(test)]
mod tests {

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
        let scripts = super::ASSETS
            .into_iter()
            .filter(|(_, kind, _)| *kind == super::JAVASCRIPT);
        for (path, _, script) in scripts {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                "https://",
            ] {
                assert!(!script.contains(forbidden), "{path} holds `{forbidden}`");
            }
        }
    }
}
