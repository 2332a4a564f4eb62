//! Where a request comes from: its place in a trace.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use quadrille_events::TraceParent;

/// The place of a request in its caller's trace, if the caller sent one (W3C Trace Context).
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

/// The `traceparent` header, if it is there and well-formed.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get("traceparent")?.to_str().ok()?)
}
