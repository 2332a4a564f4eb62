//! The endpoints that every service has beside its own: health, metrics, dead letters, the OpenAPI document.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quadrille_decision::Service;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, Span};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::engine::dead_letter::{DeadLetter, MAX_LISTED};
use crate::http::document;
use crate::http::door::{Door, Outcome};
use crate::http::edge::Edge;
use crate::http::extract::{Id, Json, Query};
use crate::http::origin::trace_of;
use crate::http::problem::Problem;
use crate::telemetry::meters::{Meters, Metrics};
use crate::telemetry::spans;

/// `routes` with the endpoints that every service has, the OpenAPI document of both, and the guards around them.
pub(crate) fn service_routes<S: Service>(
    routes: OpenApiRouter,
    door: Door<S>,
    metrics: Metrics,
    edge: &Edge,
) -> Router {
    let (routes, mut api) = routes.split_for_parts();
    api.merge(Common::openapi());
    let common = Router::new()
        .route("/", get(health::<S>))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz::<S>))
        .route("/dead-letters", get(dead_letters::<S>))
        .route("/dead-letters/{id}", get(dead_letter::<S>))
        .route("/dead-letters/{id}/retry", post(retry::<S>))
        .with_state(door.clone())
        .route("/metrics", get(render::<S>).with_state((metrics, door.clone())))
        .merge(document::routes(api));
    edge.around(routes.merge(common))
        .layer(middleware::from_fn_with_state(door.store.meters, observe))
}

/// Probes and scrapes have no spans: those would bury the spans of orders.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Counts a request and traces it.
async fn observe(State(meters): State<Arc<Meters>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = if route.is_some_and(|route| UNTRACED.contains(&route)) {
        Span::none()
    } else {
        spans::request(
            method,
            route,
            request.uri().path(),
            trace_of(request.headers()).as_ref(),
        )
    };
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    spans::answered(&span, status);
    meters.request(method, route.unwrap_or("none"), status, began.elapsed());
    response
}

/// The method as a label. A client can invent methods without end; they share one label.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// The OpenAPI document of these endpoints. The handlers are generic, so `service_routes` lists them once more.
#[derive(OpenApi)]
#[openapi(
    paths(
        health,
        healthz,
        readyz,
        render,
        dead_letters,
        dead_letter,
        retry,
        document::document,
        document::page
    ),
    components(schemas(Problem))
)]
struct Common;

/// Shows the metrics of this process, for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations", responses(
    (status = 200, description = "In Prometheus's text format.", body = String, content_type = "text/plain"),
))]
async fn render<S: Service>(State((metrics, door)): State<(Metrics, Door<S>)>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let text = metrics.render(door.store.service, door.is_listening().is_ok());
    (kind, text).into_response()
}

/// The health of the service.
#[derive(Serialize, ToSchema)]
struct HealthView {
    /// The name of the service.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// `ok`, or `degraded` while it cannot do its work.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Answers while the process lives; depends on nothing else.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses(
    (status = 200, description = "The process lives.", body = String, content_type = "text/plain", example = "ok\n"),
))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Shows the health of the service.
#[utoipa::path(get, path = "/", tag = "operations", responses(
    (status = 200, description = "The status says whether the service can do its work.", body = HealthView),
))]
async fn health<S: Service>(State(door): State<Door<S>>) -> Json<HealthView> {
    let problem = door.readiness().await.err();
    Json(HealthView {
        service: door.store.service,
        version: env!("CARGO_PKG_VERSION"),
        status: if problem.is_none() { "ok" } else { "degraded" },
        problem,
    })
}

/// Says whether the service is connected to the broker, listens to all services that it needs, and its bucket takes messages.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Ready.", body = String, content_type = "text/plain", example = "ready\n"),
))]
async fn readyz<S: Service>(State(door): State<Door<S>>) -> Result<&'static str, Problem> {
    match door.readiness().await {
        Ok(()) => Ok("ready\n"),
        Err(problem) => Err(Problem::unavailable(problem)),
    }
}

/// Inputs that this service could not handle: one page of them.
#[derive(Serialize, ToSchema)]
struct DeadLetterList {
    dead_letters: Vec<DeadLetter>,
    /// The value of `after` for the next page, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Which page of the dead letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeadLetterPage {
    /// `next` of the page before.
    #[serde(default)]
    after: u64,
    /// The most dead letters of the page.
    #[serde(default = "page_size")]
    #[param(minimum = 1, maximum = 1_000)]
    limit: u32,
}

fn page_size() -> u32 {
    100
}

/// Lists the inputs that this service could not handle, oldest first, page by page.
#[utoipa::path(get, path = "/dead-letters", tag = "operations", params(DeadLetterPage), responses(
    (status = 200, description = "A page of the dead letters of this service.", body = DeadLetterList),
))]
async fn dead_letters<S: Service>(
    State(door): State<Door<S>>,
    Query(page): Query<DeadLetterPage>,
) -> Result<Json<DeadLetterList>, Problem> {
    if !(1..=MAX_LISTED).contains(&(page.limit as usize)) {
        return Err(Problem::invalid(
            "limit",
            format!("must be from 1 to {MAX_LISTED}"),
        ));
    }
    let (dead_letters, next) = door.dead_letters(page.after, page.limit as usize).await?;
    Ok(Json(DeadLetterList { dead_letters, next }))
}

/// A dead letter with its body.
#[derive(Serialize, ToSchema)]
struct DeadLetterView {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The original body, as text.
    body: String,
}

/// Shows one input that this service could not handle, with its body.
#[utoipa::path(get, path = "/dead-letters/{id}", tag = "operations",
    params(("id" = String, Path, description = "The id of the dead letter.", example = "KV_order.17.42")),
    responses(
        (status = 200, description = "The dead letter.", body = DeadLetterView),
        (status = 404, description = "There is no such dead letter.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn dead_letter<S: Service>(
    State(door): State<Door<S>>,
    Id(id): Id<String>,
) -> Result<Json<DeadLetterView>, Problem> {
    let parked = door.dead_letter(&id).await?;
    let body = String::from_utf8_lossy(&parked.body).into_owned();
    Ok(Json(DeadLetterView {
        letter: parked.letter,
        body,
    }))
}

/// The outcome of a retry.
#[derive(Serialize, ToSchema)]
struct RetryReply {
    /// The id of the letter, which is no longer parked.
    id: String,
    /// `acted`, or `ignored` because nothing is to be done about it any more.
    #[schema(pattern = "^(acted|ignored)$")]
    outcome: &'static str,
    /// Why nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Hands a dead letter to its service again.
#[utoipa::path(post, path = "/dead-letters/{id}/retry", tag = "operations",
    params(("id" = String, Path, description = "The id of the dead letter.", example = "KV_order.17.42")),
    responses(
        (status = 200, description = "The letter is settled and no longer parked.", body = RetryReply),
        (status = 404, description = "There is no such dead letter.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The input still cannot be handled; the letter stays parked.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn retry<S: Service>(
    State(door): State<Door<S>>,
    Id(id): Id<String>,
) -> Result<Json<RetryReply>, Problem> {
    let (outcome, reason) = match door.retry(&id).await? {
        Outcome::Done => ("acted", None),
        Outcome::Ignored(reason) => ("ignored", Some(reason)),
    };
    Ok(Json(RetryReply { id, outcome, reason }))
}
