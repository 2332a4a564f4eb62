//! What every service's HTTP has in common: problem details (RFC 9457), bounded JSON bodies, health, metrics, dead letters.

use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quadrille_events::TraceParent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::decision::Service;
use crate::door::{Door, Outcome};

/// The largest request body: an order of a hundred lines with the longest ids is a tenth of it.
pub const MAX_BODY: usize = 256 * 1024;

/// How long a handler may take until its client gets 503. Longer than a command waits for its commit.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(20);

/// Problem details (RFC 9457): every error of every endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
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
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
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
            Err(rejection) => Err(Problem::new(
                rejection.status(),
                match &rejection {
                    JsonRejection::MissingJsonContentType(_) => {
                        "the body must be JSON, with the header `Content-Type: application/json`".to_owned()
                    }
                    JsonRejection::BytesRejection(_)
                        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
                    {
                        format!("the body is larger than {MAX_BODY} bytes")
                    }
                    // Says what and where: `unknown field `quantty`, expected one of ... at line 1 column 80`.
                    _ => rejection.body_text(),
                },
            )),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The one id in the path.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<Vec<(String, String)>>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(segments) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
        let (name, text) = segments.into_iter().next().unwrap_or_default();
        text.parse().map(Id).map_err(|error| Problem::invalid(name, error))
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
        Ok(Self { trace: trace_of(&parts.headers) })
    }
}

fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// `routes` with what every service has besides, and the limits on everything.
pub(crate) fn around<S: Service>(routes: Router, door: Door<S>, metrics: Metrics) -> Router {
    let common = Router::new()
        .route("/", get(health::<S>))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<S>))
        .route("/dead-letters", get(dead_letters::<S>))
        .route("/dead-letters/{id}", get(dead_letter::<S>))
        .route("/dead-letters/{id}/retry", post(retry::<S>))
        .with_state(door)
        .route("/metrics", get(async move || metrics.render()));
    routes
        .merge(common)
        .fallback(async |request: Request| {
            Problem::not_found(format!("there is no {} {}", request.method(), request.uri().path()))
        })
        .method_not_allowed_fallback(async |request: Request| {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} takes no {}", request.uri().path(), request.method()),
            )
        })
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, HANDLER_TIMEOUT))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::internal("the handler panicked; the log says where").into_response()
        }))
}

/// Renders the metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics(pub metrics_exporter_prometheus::PrometheusHandle);

impl Metrics {
    fn render(&self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
        (kind, self.0.render()).into_response()
    }
}

#[derive(Serialize)]
struct Health {
    service: &'static str,
    version: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

async fn health<S: Service>(State(door): State<Door<S>>) -> Json<Health> {
    let problem = door.readiness().err();
    Json(Health {
        service: door.store.service,
        version: env!("CARGO_PKG_VERSION"),
        status: if problem.is_none() { "ok" } else { "degraded" },
        problem,
    })
}

async fn ready<S: Service>(State(door): State<Door<S>>) -> Result<&'static str, Problem> {
    door.readiness().map(|()| "ready\n").map_err(Problem::unavailable)
}

async fn dead_letters<S: Service>(State(door): State<Door<S>>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Listed {
        dead_letters: Vec<crate::dead_letter::DeadLetter>,
    }
    Ok(Json(Listed { dead_letters: door.dead_letters().await? }).into_response())
}

async fn dead_letter<S: Service>(
    State(door): State<Door<S>>,
    Id(id): Id<String>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        letter: crate::dead_letter::DeadLetter,
        body: String,
    }
    let parked = door.dead_letter(&id).await?;
    let body = String::from_utf8_lossy(&parked.body).into_owned();
    Ok(Json(Shown { letter: parked.letter, body }).into_response())
}

async fn retry<S: Service>(State(door): State<Door<S>>, Id(id): Id<String>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Retried {
        id: String,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    }
    let (outcome, reason) = match door.retry(&id).await? {
        Outcome::Done => ("acted", None),
        Outcome::Ignored(reason) => ("ignored", Some(reason)),
    };
    Ok(Json(Retried { id, outcome, reason }).into_response())
}
