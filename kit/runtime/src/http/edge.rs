//! What surrounds the handlers of every program here: limits, guards, and problem documents for what no handler answers.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::extract::{MAX_BODY, upload_time};
use crate::http::guard::AllowedHosts;
use crate::http::problem::Problem;
use crate::http::server::{SSE_ROOM, serve};
use crate::http::sse::SseLimits;
use crate::settings::Settings;

/// How long a handler may take. Longer than a command waits for its commit.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(20);

/// The settings of HTTP that all programs share.
#[derive(Clone, Debug)]
pub struct Edge {
    hosts: AllowedHosts,
    sse: SseLimits,
}

impl Edge {
    /// Reads `ALLOWED_HOSTS`, `MAX_SSE` and `MAX_SSE_PER_ADDRESS`.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            hosts: AllowedHosts::new(settings)?,
            sse: SseLimits::new(settings, SSE_ROOM)?,
        })
    }

    /// Serves `app` on `listener` until `stop` turns true; ends when the requests in progress are answered.
    pub async fn serve(&self, listener: TcpListener, app: Router, stop: watch::Receiver<bool>) {
        serve(listener, app, self.sse.clone(), stop).await;
    }

    /// Puts the guards and limits around `routes`.
    pub fn around(&self, routes: Router) -> Router {
        self.within(HANDLER_TIMEOUT, routes)
    }

    /// As [`Edge::around`], for handlers that may take this long.
    pub fn within(&self, timeout: Duration, routes: Router) -> Router {
        routes
            .fallback(async |request: Request| {
                let (method, path) = (request.method(), request.uri().path());
                Problem::not_found(format!("there is no {method} {path}"))
            })
            .method_not_allowed_fallback(async |request: Request| {
                let (method, path) = (request.method(), request.uri().path());
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("{path} takes no {method}"),
                )
            })
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(CatchPanicLayer::custom(|_| {
                Problem::internal("the handler panicked; the log says where").into_response()
            }))
            .layer(middleware::from_fn_with_state(
                (self.hosts.clone(), timeout),
                guarded,
            ))
    }
}

async fn guarded(
    State((hosts, timeout)): State<(AllowedHosts, Duration)>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = hosts.check(&request) {
        return problem.into_response();
    }
    let timeout = timeout + upload_time(request.headers());
    let answered = tokio::time::timeout(timeout, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        Problem::unavailable(format!(
            "no answer within {timeout:?}: it is not known whether the request took effect; send the same request again to \
             find out"
        ))
        .into_response()
    })
}
