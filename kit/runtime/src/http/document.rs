//! The OpenAPI document of a service, for tools at `/openapi.json` and for people at `/docs`.
//!
//! What a handler takes and answers is documented beside the handler. What the layers around all handlers answer is added
//! here: problems with the request before a handler gets it, and those of the service itself.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, License, Object, OpenApi, Ref, RefOr, Response as Documented,
    ResponseBuilder, Type,
};

use crate::http::extract::MAX_BODY;
use crate::http::page::page_headers;
use crate::http::problem::Problem;

/// Lets the page load nothing from other hosts, and no other site frame it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
    (page_headers(POLICY), Html(include_str!("docs.html"))).into_response()
}

/// Adds the answers of the layers around the handlers.
fn complete(api: &mut OpenApi) {
    api.info.license = Some(License::new("Apache-2.0"));
    let components = api.components.get_or_insert_with(Components::new);
    for (status, name, description) in common_problems() {
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
        for (reads, operation) in operations(item) {
            for name in problems_of(path, reads, operation) {
                let problem = common_problems().into_iter().find(|(_, known, _)| *known == name);
                let Some((status, ..)) = problem else { continue };
                let response = RefOr::Ref(Ref::from_response_name(name));
                let documented = &mut operation.responses.responses;
                documented.entry(status.as_str().to_owned()).or_insert(response);
            }
        }
    }
}

/// Status, name and description of each problem that a layer answers.
fn common_problems() -> [(StatusCode, &'static str, String); 9] {
    let text = str::to_owned;
    [
        (
            StatusCode::BAD_REQUEST,
            "Malformed",
            text("The request is malformed."),
        ),
        (
            StatusCode::FORBIDDEN,
            "CrossSite",
            text("A browser sent the command for a page of another site."),
        ),
        (
            StatusCode::REQUEST_TIMEOUT,
            "TooSlow",
            text("The body did not arrive in time."),
        ),
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "TooLarge",
            format!("The body is larger than {MAX_BODY} bytes."),
        ),
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "NoJson",
            text("The body is not declared as JSON."),
        ),
        (
            StatusCode::MISDIRECTED_REQUEST,
            "ForeignHost",
            text("The request names a host to which the service does not answer (`ALLOWED_HOSTS`)."),
        ),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            text("A field is not what it must be; the problem names it."),
        ),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal",
            text("An operator has to look at the cause."),
        ),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "Unavailable",
            text(
                "Not now; or it is not known whether the request took effect: the same request again finds out.",
            ),
        ),
    ]
}

/// The names of the problems that the layers may answer to an operation.
fn problems_of(path: &str, reads: bool, operation: &Operation) -> Vec<&'static str> {
    let mut names = vec!["ForeignHost", "Internal", "Unavailable"];
    if !reads {
        names.push("CrossSite");
    }
    if path.contains('{') {
        names.push("Malformed");
    }
    // The ids of dead letters are any text; all others are checked.
    if path.contains('{') && !path.starts_with("/dead-letters/") {
        names.push("Invalid");
    }
    if operation.request_body.is_some() {
        names.extend(["Malformed", "TooSlow", "TooLarge", "NoJson", "Invalid"]);
    }
    names
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

/// The operations of a path, and whether each only reads.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
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
    let reading = [get, head, options].into_iter().flatten();
    let writing = [put, post, delete, patch, trace].into_iter().flatten();
    reading
        .map(|operation| (true, operation))
        .chain(writing.map(|operation| (false, operation)))
}
