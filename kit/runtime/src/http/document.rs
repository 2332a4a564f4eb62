//! The OpenAPI document of a service, for tools at `/openapi.json` and for people at `/docs`.
//!
//! What a handler takes and answers stands beside the handler. What the layers around all handlers answer is added here:
//! problems with the request before it gets to one, and those of the service itself.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, License, Object, OpenApi, Ref, RefOr, Response as Documented,
    ResponseBuilder, Type,
};

use crate::http::{MAX_BODY, Problem};

/// What keeps the page from asking anybody but its own service for anything.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'";

/// `/openapi.json` and `/docs`.
pub(crate) fn routes(mut api: OpenApi) -> Router {
    complete(&mut api);
    let problem = |error| Problem::internal(format!("the document cannot be written as JSON: {error}"));
    // In the registry of formats (spec.openapis.org/registry/format) `u-int32` of utoipa 6.0 is `uint32`.
    let text = serde_json::to_string(&api).map(|text| text.replace(r#""u-int"#, r#""uint"#));
    let text = text.map(Bytes::from).map_err(problem);
    Router::new()
        .route("/openapi.json", get(document).with_state(text))
        .route("/docs", get(page))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", operation_id = "openapi", responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object),
))]
pub(crate) async fn document(State(text): State<Result<Bytes, Problem>>) -> Result<Response, Problem> {
    Ok(([(header::CONTENT_TYPE, "application/json")], text?).into_response())
}

/// This document, as a page to read and to try things.
#[utoipa::path(get, path = "/docs", tag = "operations", operation_id = "docs", responses(
    (status = 200, description = "A page that needs nothing from other hosts.", body = String, content_type = "text/html"),
))]
pub(crate) async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))];
    (policy, Html(include_str!("docs.html"))).into_response()
}

/// Adds the answers of the layers around the handlers.
fn complete(api: &mut OpenApi) {
    api.info.license = Some(License::new("Apache-2.0"));
    let components = api.components.get_or_insert_with(Components::new);
    for (status, name, description) in [
        (
            StatusCode::BAD_REQUEST,
            "Malformed",
            "The request makes no sense.".to_owned(),
        ),
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "TooLarge",
            format!("The body is larger than {MAX_BODY} bytes."),
        ),
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "NoJson",
            "The body is not declared as JSON.".to_owned(),
        ),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            "A field is not what it must be; the problem names it.".to_owned(),
        ),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal",
            "An operator has to look at it.".to_owned(),
        ),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "Unavailable",
            "Not now; or it is not known whether the request took effect: the same request again finds out."
                .to_owned(),
        ),
    ] {
        let mut response = problem(&description);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderBuilder::new().schema(Some(Object::with_type(Type::Integer)));
            let seconds = seconds
                .description(Some("After how many seconds to try again."))
                .build();
            response.headers.insert("Retry-After".to_owned(), seconds.into());
        }
        components.responses.insert(name.to_owned(), response.into());
    }
    for (path, item) in &mut api.paths.paths {
        for operation in operations(item) {
            let mut names = vec![("500", "Internal"), ("503", "Unavailable")];
            if path.contains('{') {
                names.push(("400", "Malformed"));
            }
            // The ids of dead letters are any text; all others are checked.
            if path.contains('{') && !path.starts_with("/dead-letters/") {
                names.push(("422", "Invalid"));
            }
            if operation.request_body.is_some() {
                names.extend([
                    ("400", "Malformed"),
                    ("413", "TooLarge"),
                    ("415", "NoJson"),
                    ("422", "Invalid"),
                ]);
            }
            for (status, name) in names {
                let response = RefOr::Ref(Ref::from_response_name(name));
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert(response);
            }
        }
    }
}

fn problem(description: &str) -> Documented {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        ..
    } = item;
    [get, put, post, delete, options, head, patch, trace]
        .into_iter()
        .flatten()
}
