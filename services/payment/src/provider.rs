//! The payment provider: the program that really moves the money.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use quadrille_decision::fate::fate;
use quadrille_decision::{ASK_TIMEOUT, AskError};
use quadrille_events::Order;
use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Serialize};

pub type ProviderReply<'a, T> = Pin<Box<dyn Future<Output = Result<T, AskError>> + Send + 'a>>;

/// A payment provider. The service repeats a call whose outcome is unknown, from any instance, with the same idempotency key;
/// the provider must give it the same outcome.
pub trait Provider: Send + Sync {
    /// Whether a call has effects outside this process: see `Service::asks_outside`.
    fn is_outside(&self) -> bool {
        true
    }

    /// Takes the order's total. A decline by the customer's bank is no error.
    fn charge<'a>(&'a self, order: &'a Order, idempotency_key: &'a str) -> ProviderReply<'a, ChargeResult>;

    /// Gives back the order's total, which was taken.
    fn refund<'a>(&'a self, order: &'a Order, idempotency_key: &'a str) -> ProviderReply<'a, ()>;

    /// Gives back what was taken for this order, if anything was, and declines any later charge, also one that is still in
    /// flight.
    fn void<'a>(&'a self, order: &'a Order, idempotency_key: &'a str) -> ProviderReply<'a, ()>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeResult {
    Approved {
        /// The provider's reference of the charge.
        reference: String,
    },
    Declined {
        /// In words for the customer.
        reason: String,
    },
}

/// The customer who is always declined by the simulator, as providers have test card numbers.
pub const DECLINED_CUSTOMER: &str = "test-declined";

/// The built-in provider. It declines at a rate, by order id, so that a repeated call has the same outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedProvider {
    /// The share of charges that are declined, from 0 to 1.
    pub decline_rate: f64,
    /// The answers are a function of the seed and the order id.
    pub seed: u64,
    pub latency: Duration,
}

impl SimulatedProvider {
    fn after_a_while<T: Send + 'static>(&self, answer: T) -> ProviderReply<'static, T> {
        let latency = self.latency;
        Box::pin(async move {
            // A timer yields even when it is due at once; without latency the answer is there on the first poll.
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            Ok(answer)
        })
    }
}

impl Provider for SimulatedProvider {
    fn is_outside(&self) -> bool {
        false
    }

    fn charge<'a>(&'a self, order: &'a Order, _: &'a str) -> ProviderReply<'a, ChargeResult> {
        let order_id = order.order_id.as_str();
        let declined = |reason: &str| ChargeResult::Declined {
            reason: reason.to_owned(),
        };
        self.after_a_while(if order.customer_id.as_str() == DECLINED_CUSTOMER {
            declined("this test customer is always declined")
        } else if fate(self.seed, "charge", order_id) < self.decline_rate {
            declined("insufficient funds (simulated)")
        } else {
            ChargeResult::Approved {
                reference: format!("sim-{order_id}"),
            }
        })
    }

    fn refund<'a>(&'a self, _: &'a Order, _: &'a str) -> ProviderReply<'a, ()> {
        self.after_a_while(())
    }

    fn void<'a>(&'a self, _: &'a Order, _: &'a str) -> ProviderReply<'a, ()> {
        self.after_a_while(())
    }
}

/// How long one call may take: less than the runtime allows, so that the error says which call timed out.
pub const CALL_TIMEOUT: Duration = ASK_TIMEOUT.saturating_sub(Duration::from_secs(2));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest answer that is read: it holds a status and a reference or a reason.
const MAX_ANSWER: usize = 16 * 1024;

/// The longest reference or reason that is taken over into an event.
const MAX_TEXT: usize = 200;

/// A provider behind HTTP: `POST <url>/charges`, `/refunds` and `/voids` with a [`ProviderCall`] as JSON and the header
/// `Idempotency-Key`.
///
/// | answer | means |
/// |---|---|
/// | 2xx (to a charge with an [`ChargeAnswer`] as JSON) | done, or declined if it says so |
/// | 402 to a charge; 422 to a charge, with a [`DeclineReason`] as JSON | declined |
/// | 408, 409, 425, 429, 5xx, no answer in time, no connection | unknown: the call is repeated |
/// | anything else | a permanent error: the input becomes a dead letter |
///
/// 409 is no decline: it says that a call with this key is in progress (IETF draft-ietf-httpapi-idempotency-key-header, 2.6),
/// for example after a time-out of the first attempt. If it were taken for a decline, the customer could be charged for a
/// payment that failed.
pub struct HttpProvider {
    client: Client,
    charges: Endpoint,
    refunds: Endpoint,
    voids: Endpoint,
}

/// The URL of a call. Displayed without user and password, because errors are logged and kept in dead letters.
struct Endpoint(Url);

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.0.clone();
        // Fails only for a URL that cannot have them.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.fmt(f)
    }
}

/// The JSON body of every call.
#[derive(Debug, Serialize)]
pub struct ProviderCall<'a> {
    pub order_id: &'a str,
    /// In minor units.
    pub amount: u64,
    /// ISO 4217.
    pub currency: &'static str,
    pub customer_id: &'a str,
    /// With `order_id` it names the order: an id may come again when the first order is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Timestamp>,
}

/// The answer to a charge.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum ChargeAnswer {
    Approved {
        /// The provider's reference of the charge.
        reference: String,
    },
    Declined {
        reason: String,
    },
}

/// The answer to a charge that is declined by its status.
#[derive(Debug, Deserialize)]
pub struct DeclineReason {
    pub reason: String,
}

impl HttpProvider {
    /// The provider at `url`, such as `https://payments.example/v1`. A call may take as long as `timeout`.
    pub fn new(url: Url, timeout: Duration) -> anyhow::Result<Self> {
        let shown = Endpoint(url.clone());
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            bail!("PAYMENT_PROVIDER_URL={shown}: must be an http or https URL");
        }
        if url.scheme() == "https" && !cfg!(feature = "tls") {
            bail!(
                "PAYMENT_PROVIDER_URL={shown}: this binary was built without TLS; build it with `--features tls`"
            );
        }
        let endpoint = |name: &str| {
            let base = url.as_str().trim_end_matches('/');
            Url::parse(&format!("{base}/{name}"))
                .map(Endpoint)
                .with_context(|| format!("PAYMENT_PROVIDER_URL={shown}"))
        };
        // Fails only if another one is installed already, which serves as well.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            // A redirected POST would arrive as a GET.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("quadrille-payment/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot set up the HTTP client for PAYMENT_PROVIDER_URL")?;
        Ok(Self {
            client,
            charges: endpoint("charges")?,
            refunds: endpoint("refunds")?,
            voids: endpoint("voids")?,
        })
    }

    /// Sends one call. An unknown outcome is [`AskError::Transient`].
    async fn call(
        &self,
        url: &Endpoint,
        order: &Order,
        key: &str,
    ) -> Result<(StatusCode, Vec<u8>), AskError> {
        let call = ProviderCall {
            order_id: order.order_id.as_str(),
            amount: order.total,
            currency: order.currency.code(),
            customer_id: order.customer_id.as_str(),
            placed_at: order.placed_at,
        };
        let doubtful = |error: reqwest::Error| AskError::Transient(format!("{url}: {}", chain(&error)));
        let request = self
            .client
            .post(url.0.clone())
            .header("Idempotency-Key", key)
            .json(&call);
        let mut response = request.send().await.map_err(doubtful)?;
        let status = response.status();
        match status {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => {
                return Err(AskError::Transient(format!("{url} answered {status}")));
            }
            status if status.is_server_error() => {
                return Err(AskError::Transient(format!("{url} answered {status}")));
            }
            _ => {}
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(doubtful)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(AskError::Permanent(format!(
                    "{url} answered more than {MAX_ANSWER} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    /// Sends a call that cannot be declined.
    async fn settle(&self, url: &Endpoint, order: &Order, key: &str) -> Result<(), AskError> {
        let (status, body) = self.call(url, order, key).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(misunderstanding(url, status, &body))
        }
    }
}

impl Provider for HttpProvider {
    fn charge<'a>(&'a self, order: &'a Order, key: &'a str) -> ProviderReply<'a, ChargeResult> {
        Box::pin(async move {
            let (status, body) = self.call(&self.charges, order, key).await?;
            match status {
                status if status.is_success() => match serde_json::from_slice(&body) {
                    Ok(ChargeAnswer::Approved { reference }) => Ok(ChargeResult::Approved {
                        reference: shortened(&reference),
                    }),
                    Ok(ChargeAnswer::Declined { reason }) => Ok(ChargeResult::Declined {
                        reason: shortened(&reason),
                    }),
                    Err(_) => Err(misunderstanding(&self.charges, status, &body)),
                },
                StatusCode::PAYMENT_REQUIRED | StatusCode::UNPROCESSABLE_ENTITY => {
                    match serde_json::from_slice::<DeclineReason>(&body) {
                        Ok(DeclineReason { reason }) => Ok(ChargeResult::Declined {
                            reason: shortened(&reason),
                        }),
                        Err(_) if status == StatusCode::PAYMENT_REQUIRED => Ok(ChargeResult::Declined {
                            reason: "the payment provider gives no reason".to_owned(),
                        }),
                        Err(_) => Err(misunderstanding(&self.charges, status, &body)),
                    }
                }
                status => Err(misunderstanding(&self.charges, status, &body)),
            }
        })
    }

    fn refund<'a>(&'a self, order: &'a Order, key: &'a str) -> ProviderReply<'a, ()> {
        Box::pin(self.settle(&self.refunds, order, key))
    }

    fn void<'a>(&'a self, order: &'a Order, key: &'a str) -> ProviderReply<'a, ()> {
        Box::pin(self.settle(&self.voids, order, key))
    }
}

fn misunderstanding(url: &Endpoint, status: StatusCode, body: &[u8]) -> AskError {
    AskError::Permanent(format!(
        "{url} answered {status}: {}",
        shortened(&String::from_utf8_lossy(body))
    ))
}

/// A text of the provider, cut to the length that an event may carry.
fn shortened(text: &str) -> String {
    text.trim().chars().take(MAX_TEXT).collect()
}

/// An error with its causes; reqwest shows only the outermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
