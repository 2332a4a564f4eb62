//! Headers of everything that a browser shows as a page.

use axum::http::{HeaderName, HeaderValue, header};

/// The headers that keep a page from being framed by other sites (`policy` must say `frame-ancestors 'none'` too), from
/// being read as another content type, and from telling other sites its address.
pub fn page_headers(policy: &'static str) -> [(HeaderName, HeaderValue); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}
