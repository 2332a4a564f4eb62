//! What every service's HTTP has in common: problem details (RFC 9457), bounded JSON bodies, health, metrics, dead letters.

pub(crate) mod document;
pub(crate) mod door;
pub(crate) mod serve;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quadrille_events::TraceParent;
use serde::de::{DeserializeOwned, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::{Instrument as _, Span};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::engine::dead_letter::DeadLetter;
use crate::http::door::{Door, Outcome};
use crate::telemetry::meters::{Meters, Metrics};
use crate::telemetry::spans;
use quadrille_decision::Service;

/// The largest request body: an order of a hundred lines with the longest ids is a tenth of it.
pub const MAX_BODY: usize = 256 * 1024;

/// How long a handler may take until its client gets 503. Longer than a command waits for its commit.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(20);

/// Problem details (RFC 9457): every error of every endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem; `about:blank` means that `title` says all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request, and what to do.
    pub detail: String,
    /// The field that was wrong: `lines[2].quantity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem with this status and detail.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
        }
    }

    /// 422: `field` is not what it must be.
    pub fn invalid(field: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("{field}: {detail}");
        Self {
            field: Some(field),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// 422: the same idempotency key came with another body.
    pub fn mismatch(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 400: the request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it does not fit what has happened.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 503: not now, or not known.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 500: an operator has to look at it.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON body, in and out; what is wrong with one coming in is a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Json(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                rejection.status(),
                format!("the body is larger than {MAX_BODY} bytes"),
            )),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON, with the header `Content-Type: application/json`",
            )),
            Err(rejection) => {
                // `lines[2].quantity: invalid value: integer `-1`, expected u32 at line 1 column 80`, after a preamble.
                let text = rejection.body_text();
                let said = text
                    .split_once("target type: ")
                    .map_or(text.as_str(), |(_, said)| said);
                let path = said
                    .split_once(": ")
                    .map(|(path, _)| path)
                    .filter(|path| !path.contains(' '));
                Err(Problem {
                    field: path.map(str::to_owned),
                    ..Problem::new(rejection.status(), said)
                })
            }
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads a whole number however JSON writes it: to JSON Schema, and to clients without integers, `3.0` is `3`. For
/// `#[serde(deserialize_with = "whole")]`.
///
/// # Errors
/// It is none, or `T` cannot hold it.
pub fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a whole number, not negative")
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u64, E> {
            // Above 2^53 a float no longer says which number it is.
            if number.fract() == 0.0 && (0.0..=quadrille_events::MAX_MONEY as f64).contains(&number) {
                return Ok(number as u64);
            }
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }
    let number = deserializer.deserialize_u64(Whole)?;
    T::try_from(number).map_err(|_| serde::de::Error::custom(format!("{number} is too large")))
}

/// Reads a field of a request that is one word, such as an id.
///
/// # Errors
/// 422 names the field and says what is wrong with it.
pub fn field<T: FromStr<Err: std::fmt::Display>>(name: impl Into<String>, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::invalid(name, error))
}

/// The longest reason that a command may give, in characters: a sentence or two, repeated in several events.
pub const MAX_REASON: usize = 200;

/// The reason that a command gives, or else `otherwise`.
///
/// # Errors
/// 422 if it is blank or longer than [`MAX_REASON`].
pub fn reason(given: Option<String>, otherwise: &str) -> Result<String, Problem> {
    let reason = given.unwrap_or_else(|| otherwise.to_owned());
    if reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
        let problem = format!("must be 1 to {MAX_REASON} characters, or left out");
        return Err(Problem::invalid("reason", problem));
    }
    Ok(reason)
}

/// The one id in the path.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<Vec<(String, String)>>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Path(segments) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
        let (name, text) = segments.into_iter().next().unwrap_or_default();
        field(name, &text).map(Id)
    }
}

/// Where a request comes from: its place in a trace, if the caller sent one (W3C Trace Context).
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub(crate) trace: Option<TraceParent>,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self {
            trace: trace_of(&parts.headers),
        })
    }
}

fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// `routes` with what every service has besides, the document of all that, and the limits on everything.
pub(crate) fn around<S: Service>(routes: OpenApiRouter, door: Door<S>, metrics: Metrics) -> Router {
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
    routes
        .merge(common)
        .fallback(async |request: Request| {
            Problem::not_found(format!(
                "there is no {} {}",
                request.method(),
                request.uri().path()
            ))
        })
        .method_not_allowed_fallback(async |request: Request| {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} takes no {}", request.uri().path(), request.method()),
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            HANDLER_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::internal("the handler panicked; the log says where").into_response()
        }))
        .layer(middleware::from_fn_with_state(door.store.meters, observe))
}

/// What only asks how the process is: a span of each would bury those of the orders.
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

/// One of the methods that there are; a client can make up others without end.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// What every service answers besides. The handlers are generic, so the router is told of them once more, above.
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

/// The metrics of this process, for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations", responses(
    (status = 200, description = "In Prometheus's text format.", body = String, content_type = "text/plain"),
))]
async fn render<S: Service>(State((metrics, door)): State<(Metrics, Door<S>)>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let text = metrics.render(door.store.service, door.readiness().is_ok());
    (kind, text).into_response()
}

/// How the service is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Which service.
    service: &'static str,
    /// Of which version.
    version: &'static str,
    /// `ok`, or `degraded` while it cannot do its work.
    #[schema(pattern = "^(ok|degraded)$")]
    status: &'static str,
    /// What keeps it from its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Whether the process lives. Nothing is asked of anybody.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses(
    (status = 200, description = "It does.", body = String, content_type = "text/plain", example = "ok\n"),
))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// How the service is.
#[utoipa::path(get, path = "/", tag = "operations", responses(
    (status = 200, description = "It answers; the status says whether it can do its work.", body = Health),
))]
async fn health<S: Service>(State(door): State<Door<S>>) -> Json<Health> {
    let problem = door.readiness().err();
    Json(Health {
        service: door.store.service,
        version: env!("CARGO_PKG_VERSION"),
        status: if problem.is_none() { "ok" } else { "degraded" },
        problem,
    })
}

/// Whether it is connected to the broker and hears everybody.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "It is.", body = String, content_type = "text/plain", example = "ready\n"),
))]
async fn readyz<S: Service>(State(door): State<Door<S>>) -> Result<&'static str, Problem> {
    door.readiness().map(|()| "ready\n").map_err(Problem::unavailable)
}

/// Inputs that this service could not handle.
#[derive(Serialize, ToSchema)]
struct DeadLetters {
    /// At most [`crate::MAX_LISTED`] of them.
    dead_letters: Vec<DeadLetter>,
}

/// The inputs that this service could not handle.
#[utoipa::path(get, path = "/dead-letters", tag = "operations", responses(
    (status = 200, description = "All that are parked here.", body = DeadLetters),
))]
async fn dead_letters<S: Service>(State(door): State<Door<S>>) -> Result<Json<DeadLetters>, Problem> {
    Ok(Json(DeadLetters {
        dead_letters: door.dead_letters().await?,
    }))
}

/// A dead letter with its body.
#[derive(Serialize, ToSchema)]
struct DeadLetterShown {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The original body, as text.
    body: String,
}

/// One input that this service could not handle, with its body.
#[utoipa::path(get, path = "/dead-letters/{id}", tag = "operations",
    params(("id" = String, Path, description = "Its id.", example = "KV_order.17.42")),
    responses(
        (status = 200, description = "It is parked here.", body = DeadLetterShown),
        (status = 404, description = "It is not.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn dead_letter<S: Service>(
    State(door): State<Door<S>>,
    Id(id): Id<String>,
) -> Result<Json<DeadLetterShown>, Problem> {
    let parked = door.dead_letter(&id).await?;
    let body = String::from_utf8_lossy(&parked.body).into_owned();
    Ok(Json(DeadLetterShown {
        letter: parked.letter,
        body,
    }))
}

/// What came of handing a dead letter to its service again.
#[derive(Serialize, ToSchema)]
struct Retried {
    /// Its id; it is no longer parked.
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
    params(("id" = String, Path, description = "Its id.", example = "KV_order.17.42")),
    responses(
        (status = 200, description = "It is settled, and no longer parked.", body = Retried),
        (status = 404, description = "It is not parked here.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It still cannot be handled, and stays parked.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn retry<S: Service>(
    State(door): State<Door<S>>,
    Id(id): Id<String>,
) -> Result<Json<Retried>, Problem> {
    let (outcome, reason) = match door.retry(&id).await? {
        Outcome::Done => ("acted", None),
        Outcome::Ignored(reason) => ("ignored", Some(reason)),
    };
    Ok(Json(Retried { id, outcome, reason }))
}
