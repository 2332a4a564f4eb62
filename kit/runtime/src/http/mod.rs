//! HTTP of all programs: problem details (RFC 9457), bounded requests, guards against foreign sites, and the endpoints that
//! every service has.
//!
//! From the bottom up: `problem`, `origin` and `page` are plain values; `fields` and `extract` read requests; `sse` and
//! `guard` bound who may connect; `door` leads into the engine; `server` accepts connections; `edge` is what surrounds all
//! handlers; `document` is OpenAPI; `routes` joins them for one service.

mod document;
pub(crate) mod door;
mod edge;
mod extract;
mod fields;
mod guard;
mod origin;
mod page;
mod problem;
pub(crate) mod routes;
pub(crate) mod server;
mod sse;
mod write_timeout;

pub use edge::Edge;
pub use extract::{Id, Json, MAX_BODY, Params, Query, Upload};
pub use fields::{
    MAX_KEY, MAX_REASON, Precondition, at_most, field, idempotency_key, is_known, plain_text, precondition,
    reason, whole, whole_or_null,
};
pub use origin::Origin;
pub use page::page_headers;
pub use problem::Problem;
pub use sse::{SseClient, SsePlace};
