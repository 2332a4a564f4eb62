//! The four services' HTTP, typed: what `demo`, `dead-letters`, `retry` and the stories speak through.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::bail;
use quadrille_events::{Approval, Line, Money, OrderId, PaymentMode};
use quadrille_runtime::DeadLetter;
use quadrille_runtime::http::Problem;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Service;
use crate::shop::{self, ShopItem};

/// How long one request may take: longer than a service takes to say that it does not know (20 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a connection may take. Everything is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the order service may take to hear of a price.
const PRICE_PATIENCE: Duration = Duration::from_secs(20);
/// The shortest pause between two looks at something that is awaited.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The longest.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Where the four services are.
#[derive(Clone, Debug)]
pub struct Api {
    /// Base URL of the order service.
    pub order: String,
    /// Base URL of the payment service.
    pub payment: String,
    /// Base URL of the inventory service.
    pub inventory: String,
    /// Base URL of the delivery service.
    pub delivery: String,
    http: reqwest::Client,
}

/// Why a request brought no result.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The service refuses it, and says why.
    #[error("{request} was answered {problem}")]
    Refused {
        /// What was asked: `POST http://.../orders/cancel`.
        request: String,
        /// The answer.
        problem: Box<Problem>,
    },
    /// Nobody answers.
    #[error("no answer to {request}: {why}")]
    Unreachable {
        /// What was asked.
        request: String,
        /// What went wrong.
        why: String,
    },
    /// Somebody answers, and it is not what a service says.
    #[error("{request} was answered {status}, which makes no sense here: {body}")]
    Nonsense {
        /// What was asked.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The body, or its beginning.
        body: String,
    },
}

impl ApiError {
    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem, .. } => Some(problem.status),
            Self::Nonsense { status, .. } => Some(*status),
            Self::Unreachable { .. } => None,
        }
    }

    /// What the service has to say, if it refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::Nonsense { .. } | Self::Unreachable { .. } => None,
        }
    }

    /// Whether the same request may succeed later, and has to be sent again to find out what became of it.
    pub fn is_in_doubt(&self) -> bool {
        self.status().is_none_or(|status| status == 503)
    }
}

/// What a request brought.
pub type Result<T> = std::result::Result<T, ApiError>;

/// An answer as it came, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// An order to be placed. The total is kept as the sum of the lines.
#[derive(Clone, Debug, Serialize)]
pub struct NewOrder {
    /// Who pays.
    pub customer_id: String,
    /// What is bought.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Money,
    /// ISO 4217.
    pub currency: String,
    /// Where it goes.
    pub address: String,
    /// When to charge.
    pub payment: PaymentMode,
    /// Who confirms.
    pub approval: Approval,
}

impl NewOrder {
    /// Ada's order of nothing yet, charged at once and approved by nobody.
    pub fn new() -> Self {
        Self {
            customer_id: "ada".to_owned(),
            lines: Vec::new(),
            total: 0,
            currency: "EUR".to_owned(),
            address: "1 Main St".to_owned(),
            payment: PaymentMode::Auto,
            approval: Approval::Auto,
        }
    }

    /// Adds a line at the item's usual price.
    #[must_use]
    pub fn line(self, quantity: u32, item_id: &str) -> Self {
        self.line_at(quantity, item_id, shop::price(item_id))
    }

    /// Adds a line at another price.
    #[must_use]
    pub fn line_at(mut self, quantity: u32, item_id: &str, unit_price: Money) -> Self {
        let item_id = match item_id.parse() {
            Ok(item_id) => item_id,
            Err(problem) => panic!("the item id {item_id} {problem}"),
        };
        self.total += u64::from(quantity) * unit_price;
        self.lines.push(Line {
            item_id,
            quantity,
            unit_price,
        });
        self
    }

    /// For another customer.
    #[must_use]
    pub fn by(mut self, customer_id: &str) -> Self {
        self.customer_id = customer_id.to_owned();
        self
    }

    /// To another address.
    #[must_use]
    pub fn to(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    /// The customer confirms the payment.
    #[must_use]
    pub fn paid_by_hand(mut self) -> Self {
        self.payment = PaymentMode::Manual;
        self
    }

    /// The shop owner approves.
    #[must_use]
    pub fn approved_by_hand(mut self) -> Self {
        self.approval = Approval::Manual;
        self
    }
}

impl Default for NewOrder {
    fn default() -> Self {
        Self::new()
    }
}

/// An order as the order service shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderView {
    /// Which.
    pub order_id: OrderId,
    /// How far it is.
    pub state: String,
    /// Why, if it is cancelled.
    #[serde(default)]
    pub reason: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

impl OrderView {
    /// Whether it is completed or cancelled.
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "cancelled")
    }
}

/// What a retried dead letter led to.
#[derive(Clone, Debug, Deserialize)]
pub struct Retried {
    /// Which.
    pub id: String,
    /// `acted` or `ignored`.
    pub outcome: String,
    /// Why it was ignored.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The header of a change to whichever version there is.
const ANY_VERSION: [(&str, &str); 1] = [("If-Match", "*")];

impl Api {
    /// The services at these base URLs, in the order of [`Service::ALL`].
    pub fn at([order, payment, inventory, delivery]: [String; 4]) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self {
            order,
            payment,
            inventory,
            delivery,
            http,
        })
    }

    /// The services on this machine: on ports 7001 to 7004, or where `ORDER_PORT` and its like say; on `BIND`.
    pub fn from_env() -> anyhow::Result<Self> {
        let host = crate::env("BIND").filter(|bind| bind != "0.0.0.0");
        let host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
        let [a, b, c, d] = Service::ALL;
        let url = |service: Service| anyhow::Ok(format!("http://{host}:{}", service.port()?));
        Self::at([url(a)?, url(b)?, url(c)?, url(d)?])
    }

    /// The base URL of a service.
    pub fn url(&self, service: Service) -> &str {
        match service {
            Service::Order => &self.order,
            Service::Payment => &self.payment,
            Service::Inventory => &self.inventory,
            Service::Delivery => &self.delivery,
        }
    }

    /// Whether a service is there and ready.
    pub async fn ready(&self, service: Service) -> Result<()> {
        let answer = self.send(service, Method::GET, "/readyz", &[], None).await?;
        self.refusal(service, &Method::GET, "/readyz", answer).map(drop)
    }

    /// `POST /orders/create_order`
    pub async fn create_order(&self, order: &NewOrder) -> Result<OrderView> {
        self.post(Service::Order, "/orders/create_order", order).await
    }

    /// `POST /orders/create_order` with an `Idempotency-Key`.
    pub async fn create_order_once(&self, order: &NewOrder, key: &str) -> Result<OrderView> {
        let path = "/orders/create_order";
        let answer = self
            .post_raw(Service::Order, path, &[("Idempotency-Key", key)], order)
            .await?;
        self.read(Service::Order, &Method::POST, path, answer)
    }

    /// `POST /orders/confirm`: the shop owner approves.
    pub async fn approve_order(&self, order_id: &OrderId) -> Result<Value> {
        self.post(Service::Order, "/orders/confirm", &json!({"order_id": order_id}))
            .await
    }

    /// `POST /orders/cancel`
    pub async fn cancel_order(&self, order_id: &OrderId) -> Result<Value> {
        self.post(Service::Order, "/orders/cancel", &json!({"order_id": order_id}))
            .await
    }

    /// `POST /payments/confirm`
    pub async fn confirm_payment(&self, order_id: &OrderId) -> Result<Value> {
        self.post(
            Service::Payment,
            "/payments/confirm",
            &json!({"order_id": order_id}),
        )
        .await
    }

    /// `POST /payments/cancel`
    pub async fn cancel_payment(&self, order_id: &OrderId) -> Result<Value> {
        self.post(
            Service::Payment,
            "/payments/cancel",
            &json!({"order_id": order_id}),
        )
        .await
    }

    /// `GET /orders/{order_id}`
    pub async fn order(&self, order_id: &OrderId) -> Result<OrderView> {
        self.get(Service::Order, &format!("/orders/{order_id}")).await
    }

    /// `GET /orders/{order_id}/events`, as it comes.
    pub async fn events(&self, order_id: &OrderId) -> Result<Value> {
        self.get(Service::Order, &format!("/orders/{order_id}/events"))
            .await
    }

    /// `GET /payments/{order_id}`
    pub async fn payment(&self, order_id: &OrderId) -> Result<Value> {
        self.get(Service::Payment, &format!("/payments/{order_id}")).await
    }

    /// `GET /deliveries/{order_id}`
    pub async fn delivery(&self, order_id: &OrderId) -> Result<Value> {
        self.get(Service::Delivery, &format!("/deliveries/{order_id}"))
            .await
    }

    /// Sets the quantity of an item; lists the item at its usual price first, if there is none.
    pub async fn put_item(&self, item_id: &str, quantity: u64) -> Result<Value> {
        let path = format!("/inventory/items/{item_id}");
        let body = json!({"quantity": quantity});
        match self.put(Service::Inventory, &path, &body).await {
            Err(error)
                if error
                    .problem()
                    .is_some_and(|problem| problem.field.as_deref() == Some("name")) =>
            {
                self.list_item(&ShopItem::new(item_id, quantity)).await
            }
            other => other,
        }
    }

    /// `PUT /inventory/items/{item_id}`; returns once the order service knows the price.
    pub async fn list_item(&self, item: &ShopItem) -> Result<Value> {
        let listed: Value = self
            .put(
                Service::Inventory,
                &format!("/inventory/items/{}", item.item_id),
                item,
            )
            .await?;
        self.priced(&listed).await?;
        Ok(listed)
    }

    /// `PATCH /inventory/items/{item_id}`, whatever its version; returns once the order service knows the price.
    pub async fn change_item(&self, item_id: &str, change: &Value) -> Result<Value> {
        let path = format!("/inventory/items/{item_id}");
        let body = Some(encode(change));
        let answer = self.send(Service::Inventory, Method::PATCH, &path, &ANY_VERSION, body);
        let changed: Value = self.read(Service::Inventory, &Method::PATCH, &path, answer.await?)?;
        self.priced(&changed).await?;
        Ok(changed)
    }

    /// `PUT /inventory/items/{item_id}/photo`, whatever the version of the item.
    pub async fn put_photo(&self, item_id: &str, photo: Vec<u8>) -> Result<Value> {
        let path = format!("/inventory/items/{item_id}/photo");
        let (name, any) = ANY_VERSION[0];
        let url = format!("{}{path}", self.inventory);
        let sending = self.http.put(&url).header(name, any).body(photo);
        let answer = exchange(format!("PUT {url}"), sending).await?;
        self.read(Service::Inventory, &Method::PUT, &path, answer)
    }

    /// `DELETE /inventory/items/{item_id}`, whatever its version; returns once the order service knows.
    pub async fn withdraw_item(&self, item_id: &str) -> Result<Value> {
        let path = format!("/inventory/items/{item_id}");
        let answer = self.send(Service::Inventory, Method::DELETE, &path, &ANY_VERSION, None);
        let withdrawn: Value = self.read(Service::Inventory, &Method::DELETE, &path, answer.await?)?;
        self.priced(&withdrawn).await?;
        Ok(withdrawn)
    }

    /// `GET /prices/{item_id}`
    pub async fn price(&self, item_id: &str) -> Result<Value> {
        self.get(Service::Order, &format!("/prices/{item_id}")).await
    }

    /// Waits until the order service has heard of this version of an item.
    async fn priced(&self, item: &Value) -> Result<()> {
        let item_id = item["item_id"].as_str().unwrap_or_default();
        let version = item["version"].as_u64();
        let heard = until(PRICE_PATIENCE, async || match self.price(item_id).await {
            Ok(price) => Ok((price["version"].as_u64() >= version).then_some(())),
            Err(error) if error.is_in_doubt() || error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        });
        heard.await?.ok_or_else(|| ApiError::Unreachable {
            request: format!("GET {}/prices/{item_id}", self.order),
            why: format!("the order service has not heard of version {version:?} within {PRICE_PATIENCE:?}"),
        })
    }

    /// `GET /inventory/items/{item_id}`
    pub async fn item(&self, item_id: &str) -> Result<Value> {
        self.get(Service::Inventory, &format!("/inventory/items/{item_id}"))
            .await
    }

    /// `PUT /couriers/{courier_id}`
    pub async fn put_courier(&self, courier_id: &str, capacity: u64) -> Result<Value> {
        self.put(
            Service::Delivery,
            &format!("/couriers/{courier_id}"),
            &json!({"capacity": capacity}),
        )
        .await
    }

    /// `DELETE /couriers/{courier_id}`
    pub async fn delete_courier(&self, courier_id: &str) -> Result<()> {
        let path = format!("/couriers/{courier_id}");
        let answer = self
            .send(Service::Delivery, Method::DELETE, &path, &[], None)
            .await?;
        self.refusal(Service::Delivery, &Method::DELETE, &path, answer)
            .map(drop)
    }

    /// `GET /couriers`
    pub async fn couriers(&self) -> Result<Value> {
        self.get(Service::Delivery, "/couriers").await
    }

    /// `GET /dead-letters` of a service.
    pub async fn dead_letters(&self, service: Service) -> Result<Vec<DeadLetter>> {
        #[derive(Deserialize)]
        struct Listed {
            dead_letters: Vec<DeadLetter>,
            next: Option<u64>,
        }
        let (mut letters, mut after) = (Vec::new(), Some(0));
        while let Some(place) = after {
            let path = format!("/dead-letters?after={place}&limit=1000");
            let listed: Listed = self.get(service, &path).await?;
            letters.extend(listed.dead_letters);
            after = listed.next;
        }
        Ok(letters)
    }

    /// `GET /dead-letters/{id}` of a service: the letter and its body.
    pub async fn dead_letter(&self, service: Service, id: &str) -> Result<(DeadLetter, String)> {
        #[derive(Deserialize)]
        struct Shown {
            #[serde(flatten)]
            letter: DeadLetter,
            body: String,
        }
        let shown: Shown = self.get(service, &format!("/dead-letters/{id}")).await?;
        Ok((shown.letter, shown.body))
    }

    /// `POST /dead-letters/{id}/retry` of a service.
    pub async fn retry(&self, service: Service, id: &str) -> Result<Retried> {
        self.post(service, &format!("/dead-letters/{id}/retry"), &json!({}))
            .await
    }

    /// Waits until an order is completed or cancelled. Services that are down for a moment are waited for too.
    pub async fn wait_until_ended(
        &self,
        order_id: &OrderId,
        patience: Duration,
    ) -> anyhow::Result<OrderView> {
        let mut last = String::from("never asked");
        let ended = until(patience, async || match self.order(order_id).await {
            Ok(order) if order.has_ended() => Ok(Some(order)),
            Ok(order) => {
                last = format!("it is {}", order.state);
                Ok(None)
            }
            Err(error) if error.is_in_doubt() => {
                last = error.to_string();
                Ok(None)
            }
            Err(error) => Err(error),
        });
        if let Some(order) = ended.await? {
            return Ok(order);
        }
        let story = match self.events(order_id).await {
            Ok(events) => told(&events),
            Err(error) => format!("\n    (it cannot be told: {error})"),
        };
        bail!("order {order_id} has not ended within {patience:?}: {last}; its story so far:{story}")
    }

    /// Sends any request and brings back whatever is answered.
    pub async fn send(
        &self,
        service: Service,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.url(service));
        let request = format!("{method} {url}");
        let mut builder = self.http.request(method, &url);
        if let Some(body) = body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        exchange(request, builder).await
    }

    async fn get<T: DeserializeOwned>(&self, service: Service, path: &str) -> Result<T> {
        let answer = self.send(service, Method::GET, path, &[], None).await?;
        self.read(service, &Method::GET, path, answer)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let answer = self.post_raw(service, path, &[], body).await?;
        self.read(service, &Method::POST, path, answer)
    }

    async fn post_raw(
        &self,
        service: Service,
        path: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<Answer> {
        self.send(service, Method::POST, path, headers, Some(encode(body)))
            .await
    }

    async fn put<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let answer = self
            .send(service, Method::PUT, path, &[], Some(encode(body)))
            .await?;
        self.read(service, &Method::PUT, path, answer)
    }

    fn read<T: DeserializeOwned>(
        &self,
        service: Service,
        method: &Method,
        path: &str,
        answer: Answer,
    ) -> Result<T> {
        let answer = self.refusal(service, method, path, answer)?;
        serde_json::from_str(&answer.body).map_err(|_| self.nonsense(service, method, path, &answer))
    }

    /// The answer, unless it is none of success.
    fn refusal(&self, service: Service, method: &Method, path: &str, answer: Answer) -> Result<Answer> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(match serde_json::from_str(&answer.body) {
            Ok(problem) => ApiError::Refused {
                request: format!("{method} {}{path}", self.url(service)),
                problem,
            },
            Err(_) => self.nonsense(service, method, path, &answer),
        })
    }

    fn nonsense(&self, service: Service, method: &Method, path: &str, answer: &Answer) -> ApiError {
        ApiError::Nonsense {
            request: format!("{method} {}{path}", self.url(service)),
            status: answer.status,
            body: answer.body.chars().take(500).collect(),
        }
    }
}

/// Looks again and again, with growing pauses, until there is something or `patience` is over.
pub async fn until<T, E>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> std::result::Result<Option<T>, E>,
) -> std::result::Result<Option<T>, E> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if Instant::now() + pause > deadline {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_PAUSE);
    }
}

/// Sends a request, which errors call `request`, and brings back whatever is answered.
async fn exchange(request: String, builder: RequestBuilder) -> Result<Answer> {
    let unreachable = |error: reqwest::Error| ApiError::Unreachable {
        request: request.clone(),
        why: innermost(&error.without_url()),
    };
    let answer = builder.send().await.map_err(unreachable)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.map_err(unreachable)?;
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// The events of a history, one a line.
fn told(events: &Value) -> String {
    let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let events = events.as_array().into_iter().flatten();
    events
        .map(|event| {
            format!(
                "\n    {} because of {}",
                text(event, "event"),
                text(event, "cause")
            )
        })
        .collect()
}

fn encode(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| unreachable!("plain data is always JSON: {error}"))
}

/// The error that lies deepest: reqwest shows only "error sending request".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    let shown: &dyn Display = error;
    shown.to_string()
}
