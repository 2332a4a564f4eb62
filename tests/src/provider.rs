//! A payment provider behind HTTP that keeps books for the audit.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use quadrille_audit::{Account, Books};
use quadrille_events::{Money, OrderId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A payment provider whose behaviour depends on the name of the customer.
///
/// | customer | what happens |
/// |---|---|
/// | `poor` | the charge is declined |
/// | `flaky` | the first two calls fail without effect |
/// | `busy` | the first call is answered 409: a call with this key is in progress |
/// | `lossy` | the first call takes effect, and its answer is lost (502) |
/// | `kept-waiting` | the call takes effect, and is answered after [`ProviderServer::release`] |
/// | any other | the charge is approved |
#[derive(Clone)]
pub struct ProviderServer {
    ledger: Arc<Mutex<ProviderLedger>>,
    /// Whether calls of `kept-waiting` are answered.
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct ProviderLedger {
    books: Books,
    /// Orders, by their id and when they were placed.
    voided: HashSet<(OrderId, Option<Timestamp>)>,
    answers: HashMap<String, (StatusCode, Value)>,
    calls: HashMap<String, usize>,
}

/// The fields of a call that are used.
#[derive(Deserialize)]
struct ProviderCall {
    order_id: OrderId,
    customer_id: String,
    amount: Money,
    placed_at: Option<Timestamp>,
}

impl ProviderServer {
    /// Starts a provider on a free port; returns its URL too.
    pub async fn start() -> Result<(Self, String)> {
        let provider = Self {
            ledger: Arc::default(),
            released: watch::Sender::new(false),
        };
        let routes = Router::new()
            .route("/v1/charges", post(charge))
            .route("/v1/refunds", post(refund))
            .route("/v1/voids", post(void))
            .with_state(provider.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        tokio::spawn(axum::serve(listener, routes).into_future());
        Ok((provider, url))
    }

    /// All charges and refunds.
    pub fn books(&self) -> Books {
        self.ledger().books.clone()
    }

    /// The number of charges.
    pub fn charges(&self) -> usize {
        self.ledger()
            .books
            .values()
            .map(|account| account.charges.len())
            .sum()
    }

    /// Answers all calls of `kept-waiting`, from now on at once.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    fn ledger(&self) -> MutexGuard<'_, ProviderLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type CallReply = (StatusCode, Json<Value>);

/// The idempotency key of a call, or the answer to a call without one.
fn key(headers: &HeaderMap) -> Result<String, CallReply> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    key.map(str::to_owned).ok_or_else(|| {
        (
            StatusCode::BAD_REQUEST,
            Json(json!({"error": "no Idempotency-Key"})),
        )
    })
}

async fn charge(
    State(provider): State<ProviderServer>,
    headers: HeaderMap,
    Json(call): Json<ProviderCall>,
) -> Result<CallReply, CallReply> {
    let key = key(&headers)?;
    let (number, (status, answer)) = {
        let mut ledger = provider.ledger();
        let calls = ledger.calls.entry(key.clone()).or_default();
        *calls += 1;
        let number = *calls;
        match call.customer_id.as_str() {
            "flaky" if number <= 2 => return Err((StatusCode::INTERNAL_SERVER_ERROR, Json(json!({})))),
            "busy" if number == 1 => return Err((StatusCode::CONFLICT, Json(json!({})))),
            _ => {}
        }
        (number, ledger.charge(&key, &call))
    };
    match call.customer_id.as_str() {
        "lossy" if number == 1 => return Err((StatusCode::BAD_GATEWAY, Json(json!({})))),
        "kept-waiting" => {
            let mut released = provider.released.subscribe();
            // An error means that the provider is gone, so no release can come.
            drop(released.wait_for(|released| *released).await);
        }
        _ => {}
    }
    Ok((status, Json(answer)))
}

async fn refund(
    State(provider): State<ProviderServer>,
    headers: HeaderMap,
    Json(call): Json<ProviderCall>,
) -> Result<CallReply, CallReply> {
    let key = key(&headers)?;
    let mut ledger = provider.ledger();
    if ledger.answers.insert(key, (StatusCode::OK, json!({}))).is_none() {
        ledger.account(&call).refunds.push(call.amount);
    }
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn void(State(provider): State<ProviderServer>, Json(call): Json<ProviderCall>) -> CallReply {
    let mut ledger = provider.ledger();
    ledger.voided.insert((call.order_id.clone(), call.placed_at));
    let account = ledger.account(&call);
    if account.charges.len() > account.refunds.len() {
        account.refunds.push(call.amount);
    }
    (StatusCode::OK, Json(json!({})))
}

impl ProviderLedger {
    /// Charges once per key; a repeated key gets the same answer.
    fn charge(&mut self, key: &str, call: &ProviderCall) -> (StatusCode, Value) {
        if let Some(answer) = self.answers.get(key) {
            return answer.clone();
        }
        let answer = if self.voided.contains(&(call.order_id.clone(), call.placed_at)) {
            (StatusCode::OK, json!({"status": "declined", "reason": "voided"}))
        } else if call.customer_id == "poor" {
            (
                StatusCode::PAYMENT_REQUIRED,
                json!({"reason": "insufficient funds"}),
            )
        } else {
            self.account(call).charges.push(call.amount);
            (
                StatusCode::OK,
                json!({"status": "approved", "reference": format!("ch_{}", call.order_id)}),
            )
        };
        self.answers.insert(key.to_owned(), answer.clone());
        answer
    }

    fn account(&mut self, call: &ProviderCall) -> &mut Account {
        self.books.entry(call.order_id.clone()).or_default()
    }
}
