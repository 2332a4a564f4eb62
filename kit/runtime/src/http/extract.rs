//! What handlers take from a request: a JSON body, path parameters, a query. Every rejection is a [`Problem`].

use std::pin::pin;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::fields::field;
use crate::http::problem::Problem;

/// The largest request body in bytes: an order of a hundred lines with the longest ids is a tenth of it.
pub const MAX_BODY: usize = 256 * 1024;

/// How long a client may take for a body: 25 kB/s are enough for the largest one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for an [`Upload`]: 35 kB/s are enough for 2 MiB.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How many uploads a process holds at once. Each is in memory as a whole.
const MAX_UPLOADS: usize = 32;

/// How much of a body that is too large is read and thrown away: many clients look at the answer only when they have sent everything.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

static UPLOADS: Semaphore = Semaphore::const_new(MAX_UPLOADS);

/// A body of any media type, at most `MAX` bytes.
#[derive(Debug)]
pub struct Upload<const MAX: usize> {
    /// The bytes, all of them.
    pub bytes: Bytes,
    _place: SemaphorePermit<'static>,
}

impl<const MAX: usize, S: Send + Sync> FromRequest<S> for Upload<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let place = UPLOADS
            .try_acquire()
            .map_err(|_| Problem::unavailable(format!("{MAX_UPLOADS} uploads are in progress; try again")))?;
        let too_large = || {
            let detail = format!("the body is larger than {MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let is_too_large = content_length(request.headers()).is_some_and(|length| length > MAX as u64);
        // Such a client sends the body only when it is asked to, and reading asks.
        if is_too_large && request.headers().contains_key(header::EXPECT) {
            return Err(too_large());
        }
        let reading = read_at_most(MAX, request.into_body().into_data_stream());
        match tokio::time::timeout(UPLOAD_TIMEOUT, reading).await {
            Ok(Ok(Some(bytes))) => Ok(Self { bytes, _place: place }),
            Ok(Ok(None)) => Err(too_large()),
            Ok(Err(error)) => Err(Problem::bad_request(format!("the body cannot be read: {error}"))),
            Err(_) => {
                let detail = format!("the body did not arrive within {UPLOAD_TIMEOUT:?}");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
            }
        }
    }
}

/// The whole body; `None` if it is larger than `max` bytes.
async fn read_at_most(max: usize, mut body: BodyDataStream) -> Result<Option<Bytes>, axum::Error> {
    let (mut bytes, mut size) = (BytesMut::new(), 0_usize);
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        size = size.saturating_add(chunk.len());
        if size <= max {
            bytes.extend_from_slice(&chunk);
        } else if size > max.saturating_add(MAX_DISCARDED) {
            break;
        }
    }
    Ok((size <= max).then(|| bytes.freeze()))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How much longer than usual a request may take because its body may be an [`Upload`].
pub(crate) fn upload_time(headers: &HeaderMap) -> Duration {
    let is_large = match content_length(headers) {
        Some(length) => length > MAX_BODY as u64,
        None => headers.contains_key(header::TRANSFER_ENCODING),
    };
    if is_large { UPLOAD_TIMEOUT } else { Duration::ZERO }
}

/// A JSON body, in and out.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let mut body = pin!(axum::Json::<T>::from_request(request, state));
        // Most bodies arrive with the head, and then no timer is needed.
        let read = match futures::poll!(body.as_mut()) {
            Poll::Ready(read) => read,
            Poll::Pending => tokio::time::timeout(BODY_TIMEOUT, body).await.map_err(|_| {
                let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
                Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            })?,
        };
        let axum::Json(body) = read.map_err(|rejection| body_problem(&rejection))?;
        Ok(Json(body))
    }
}

fn body_problem(rejection: &JsonRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {MAX_BODY} bytes");
        return Problem::new(rejection.status(), detail);
    }
    if matches!(rejection, JsonRejection::MissingJsonContentType(_)) {
        return Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON, with the header `Content-Type: application/json`",
        );
    }
    // `lines[2].quantity: invalid value: integer `-1`, expected u32 at line 1 column 80`, after a preamble.
    let text = rejection.body_text();
    let detail = text
        .split_once("target type: ")
        .map_or(text.as_str(), |(_, detail)| detail);
    let path = detail
        .split_once(": ")
        .map(|(path, _)| path)
        .filter(|path| !path.contains(' '));
    Problem {
        field: path.map(str::to_owned),
        ..Problem::new(rejection.status(), detail)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The parameters in the path, by name, in the order of the route.
#[derive(Clone, Debug)]
pub struct Params(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(params) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(params))
    }
}

/// The first parameter in the path, an id of type `T`; 422 names the parameter that is no such id.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Params(params) = Params::from_request_parts(parts, state).await?;
        let (name, text) = params.into_iter().next().unwrap_or_default();
        field(name, &text).map(Id)
    }
}

/// The query of the URL.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let axum::extract::Query(query) =
            query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(query))
    }
}
