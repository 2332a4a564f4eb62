//! Commands from the page, handed on to the service that decides them. The page speaks to the console only, so no
//! service has to answer to other origins.

use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use quadrille_runtime::http::{MAX_BODY, Problem};
use serde_json::value::RawValue;

/// How long a service may take: longer than it takes to say that it does not know (20 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct Commands {
    order: String,
    payment: String,
    delivery: String,
    http: reqwest::Client,
}

/// The service that decides a command.
#[derive(Clone, Copy, Debug)]
pub enum To {
    Order,
    Payment,
    Delivery,
}

impl Commands {
    pub fn new(order: String, payment: String, delivery: String) -> anyhow::Result<Self> {
        for (name, url) in [
            ("ORDER_URL", &order),
            ("PAYMENT_URL", &payment),
            ("DELIVERY_URL", &delivery),
        ] {
            let parsed = reqwest::Url::parse(url).with_context(|| format!("{name}={url}: must be a URL"))?;
            anyhow::ensure!(parsed.scheme() == "http", "{name}={url}: must begin with http://");
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self {
            order,
            payment,
            delivery,
            http,
        })
    }

    /// Forwards a command as it was sent, digit by digit, and brings back the answer of the service; 502 if it gives none.
    pub async fn send(
        &self,
        to: To,
        path: &str,
        key: Option<&str>,
        body: Box<RawValue>,
    ) -> Result<Response, Problem> {
        let (name, variable, base) = match to {
            To::Order => ("order", "ORDER_URL", &self.order),
            To::Payment => ("payment", "PAYMENT_URL", &self.payment),
            To::Delivery => ("delivery", "DELIVERY_URL", &self.delivery),
        };
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let gone = |error: reqwest::Error| {
            let what = if error.is_timeout() {
                "did not answer in time"
            } else {
                "does not answer"
            };
            let detail = format!("the {name} service {what} at {base} ({variable} says where it is)");
            Problem::new(StatusCode::BAD_GATEWAY, detail)
        };
        let json = (header::CONTENT_TYPE, "application/json");
        let mut request = self.http.post(url).header(json.0, json.1).body(body.to_string());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut answer = request.send().await.map_err(gone)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(gone)? {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(Problem::new(
                    StatusCode::BAD_GATEWAY,
                    format!("the {name} service answers too much"),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = answer.status();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            kind.unwrap_or(HeaderValue::from_static("application/octet-stream")),
        );
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_makes_no_sense_is_named() {
        let other = || "http://127.0.0.1:7002".to_owned();
        let new = |order: &str| Commands::new(order.to_owned(), other(), other());
        assert!(new("http://order:7001/").is_ok());
        assert!(new("order").unwrap_err().to_string().contains("ORDER_URL=order"));
        assert!(
            new("file:///etc/passwd")
                .unwrap_err()
                .to_string()
                .contains("must begin with http://")
        );
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named() {
        let gone = || "http://127.0.0.1:1".to_owned();
        let commands = Commands::new(gone(), gone(), gone()).unwrap();
        let problem = commands
            .send(To::Payment, "/payments/confirm", None, RawValue::NULL.to_owned())
            .await
            .unwrap_err();
        assert_eq!(problem.status, 502);
        assert!(
            problem.detail.contains("payment service") && problem.detail.contains("PAYMENT_URL"),
            "{problem}"
        );
    }
}
