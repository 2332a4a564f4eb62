//! Requests of the page, handed on to the service that owns what they are about. The page speaks to the console only, so no
//! service has to answer to other origins.

use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use quadrille_runtime::Settings;
use quadrille_runtime::http::Problem;
use serde_json::value::RawValue;

/// How long a service may take: longer than it takes to say that it does not know (20 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer: a page of 100 items with the longest texts and a photo of 2 MiB are below it.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The headers of a request that a service gets to see.
const PASSED: [HeaderName; 3] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
];
/// The headers of an answer that the page gets to see, besides its media type.
const BROUGHT_BACK: [HeaderName; 3] = [header::ETAG, header::CACHE_CONTROL, header::RETRY_AFTER];

/// The media types that the page may get from this origin: data, and pictures that run no script.
const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "application/problem+json",
    "image/jpeg",
    "image/png",
    "image/webp",
];

/// The service that a request is handed on to.
#[derive(Clone, Copy, Debug)]
pub enum To {
    Order,
    Payment,
    Inventory,
    Delivery,
}

impl To {
    /// All of them, in the order in which their URLs are kept.
    const ALL: [Self; 4] = [Self::Order, Self::Payment, Self::Inventory, Self::Delivery];

    /// Name, setting and usual URL.
    fn described(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Order => ("order", "ORDER_URL", "http://127.0.0.1:7001"),
            Self::Payment => ("payment", "PAYMENT_URL", "http://127.0.0.1:7002"),
            Self::Inventory => ("inventory", "INVENTORY_URL", "http://127.0.0.1:7003"),
            Self::Delivery => ("delivery", "DELIVERY_URL", "http://127.0.0.1:7004"),
        }
    }
}

/// A request to be handed on.
#[derive(Clone, Debug)]
pub struct Forward {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Forward {
    /// `path` may have a query; ids in it are checked ones, so that it names one resource of the service.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Adds the headers that services know; those about the connection between browser and console stay here.
    #[must_use]
    pub fn with_headers(mut self, sent: &HeaderMap) -> Self {
        for name in PASSED {
            for value in sent.get_all(&name) {
                self.headers.append(name.clone(), value.clone());
            }
        }
        self
    }

    /// Adds a body as it was sent, digit by digit.
    #[must_use]
    pub fn with_json(self, body: &RawValue) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.with_body(json, Bytes::copy_from_slice(body.get().as_bytes()))
    }

    /// Adds a body of any media type.
    #[must_use]
    pub fn with_body(mut self, media_type: HeaderValue, body: Bytes) -> Self {
        self.headers.insert(header::CONTENT_TYPE, media_type);
        self.body = body;
        self
    }
}

/// The four services, as the console reaches them.
#[derive(Clone, Debug)]
pub struct Services {
    urls: [String; To::ALL.len()],
    http: reqwest::Client,
}

impl Services {
    /// Reads `ORDER_URL`, `PAYMENT_URL`, `INVENTORY_URL` and `DELIVERY_URL`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut urls: [String; To::ALL.len()] = Default::default();
        for (place, to) in urls.iter_mut().zip(To::ALL) {
            let (_, name, usual) = to.described();
            let url = settings.or(name, usual.to_owned())?;
            let parsed = reqwest::Url::parse(&url).with_context(|| format!("{name}={url}: must be a URL"))?;
            anyhow::ensure!(parsed.scheme() == "http", "{name}={url}: must begin with http://");
            url.trim_end_matches('/').clone_into(place);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self { urls, http })
    }

    /// Hands a request on, and brings back the answer of the service; 502 if it gives none, or none for a page.
    pub async fn send(&self, to: To, request: Forward) -> Result<Response, Problem> {
        let (name, variable, _) = to.described();
        let [order, payment, inventory, delivery] = &self.urls;
        let base = match to {
            To::Order => order,
            To::Payment => payment,
            To::Inventory => inventory,
            To::Delivery => delivery,
        };
        let bad = |what: String| Problem::new(StatusCode::BAD_GATEWAY, format!("the {name} service {what}"));
        let gone = |error: reqwest::Error| {
            let what = if error.is_timeout() {
                "did not answer in time"
            } else {
                "does not answer"
            };
            bad(format!("{what} at {base} ({variable} says where it is)"))
        };
        let url = format!("{base}{}", request.path);
        let sent = self.http.request(request.method, url).headers(request.headers);
        let mut answer = sent.body(request.body).send().await.map_err(gone)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(gone)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(bad("answers too much".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let media_type = answer.headers().get(header::CONTENT_TYPE);
        if let Some(other) = media_type.filter(|media_type| !is_for_a_page(media_type)) {
            return Err(bad(format!(
                "answers with {other:?}, which is nothing for a page"
            )));
        }
        let mut headers = HeaderMap::new();
        for name in BROUGHT_BACK.into_iter().chain([header::CONTENT_TYPE]) {
            if let Some(value) = answer.headers().get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = answer.status();
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn is_for_a_page(media_type: &HeaderValue) -> bool {
    let text = media_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    MEDIA_TYPES
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pairs: [(&str, &str); 1]) -> anyhow::Result<Services> {
        Services::new(&Settings::of(pairs))
    }

    #[test]
    fn a_url_that_makes_no_sense_is_named() {
        assert!(at([("ORDER_URL", "http://order:7001/")]).is_ok());
        for to in To::ALL {
            let (_, name, _) = to.described();
            let error = at([(name, "order")]).unwrap_err().to_string();
            assert!(error.contains(&format!("{name}=order")), "{error}");
            let error = at([(name, "file:///etc/passwd")]).unwrap_err().to_string();
            assert!(error.contains("must begin with http://"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named() {
        let services = at([("INVENTORY_URL", "http://127.0.0.1:1")]).unwrap();
        let request = Forward::new(Method::GET, "/inventory/items");
        let problem = services.send(To::Inventory, request).await.unwrap_err();
        assert_eq!(problem.status, 502);
        assert!(
            problem.detail.contains("inventory service") && problem.detail.contains("INVENTORY_URL"),
            "{problem}"
        );
    }

    #[test]
    fn only_data_and_pictures_come_from_this_origin() {
        for (media_type, is_taken) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("image/WebP", true),
            ("image/svg+xml", false),
            ("text/html", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(media_type);
            assert_eq!(is_for_a_page(&value), is_taken, "{media_type}");
        }
    }
}
