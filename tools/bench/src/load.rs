//! The load: orders over HTTP with keep-alive, each followed until it is completed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use quadrille_events::{Body, Completed, EventName, OrderCancelled};
use quadrille_local::client::until;
use quadrille_runtime::operator::Operator;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::progress::{Counter, ProgressLine};

/// What one piece of an item costs, in minor units.
const PRICE: u64 = 250;

/// How many couriers share the work.
pub const COURIERS: usize = 10;

/// How long one order may take before the run counts as failed.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the load goes.
#[derive(Clone)]
pub struct OrderLoad {
    orders: Vec<String>,
    operator: Operator,
    items: usize,
}

/// In which rhythm orders are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A new one as soon as one of `in_flight` is completed.
    Closed {
        /// How many at once.
        in_flight: usize,
        /// How many in all.
        orders: usize,
    },
    /// One every `1/rate` seconds; latency counts from the moment an order was due.
    Fixed {
        /// Orders a second.
        rate: f64,
        /// How many in all.
        orders: usize,
    },
}

/// What a drive measured.
#[derive(Clone, Debug)]
pub struct LoadResult {
    /// Orders completed.
    pub orders: usize,
    /// From the first request to the last completion.
    pub took: Duration,
    /// Create to completed.
    pub latencies: Latencies,
    /// One of the orders.
    pub sample: Option<String>,
}

/// Latencies in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    /// Half of the orders were faster.
    pub p50: f64,
    /// Nine of ten were.
    pub p90: f64,
    /// 99 of 100 were.
    pub p99: f64,
    /// All were.
    pub max: f64,
}

impl Latencies {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: f64| {
            let index = ((all.len() as f64 * share).ceil() as usize).clamp(1, all.len().max(1)) - 1;
            all.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Who waits for which order. An order may be completed before its creation is answered.
#[derive(Default)]
struct Board {
    marks: Mutex<HashMap<String, Mark>>,
    ended: Counter,
}

enum Mark {
    Waiting(oneshot::Sender<Instant>),
    Ended(Instant),
}

impl Board {
    fn ended(&self, order_id: &str) {
        let now = Instant::now();
        self.ended.add();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        match marks.remove(order_id) {
            Some(Mark::Waiting(waiting)) => drop(waiting.send(now)),
            Some(Mark::Ended(_)) | None => drop(marks.insert(order_id.to_owned(), Mark::Ended(now))),
        }
    }

    async fn wait(&self, order_id: &str) -> Result<Instant> {
        let end = {
            let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Mark::Ended(at)) = marks.remove(order_id) {
                return Ok(at);
            }
            let (sender, end) = oneshot::channel();
            marks.insert(order_id.to_owned(), Mark::Waiting(sender));
            end
        };
        tokio::time::timeout(ORDER_TIMEOUT, end)
            .await
            .with_context(|| {
                format!("order {order_id} was accepted and not completed within {ORDER_TIMEOUT:?}")
            })?
            .context("nobody listens any more")
    }
}

impl OrderLoad {
    /// Load for these order services, heard of by `operator`.
    pub fn new(orders: Vec<String>, operator: Operator, items: usize) -> Self {
        Self {
            orders,
            operator,
            items: items.max(1),
        }
    }

    /// The id of an item.
    pub fn item(number: usize) -> String {
        format!("item-{number}")
    }

    /// The id of a courier.
    pub fn courier(number: usize) -> String {
        format!("courier-{number}")
    }

    /// Puts enough stock and couriers in.
    pub async fn stock(&self, inventory: &str, delivery: &str) -> Result<()> {
        let mut to_inventory = HttpConnection::open(inventory).await?;
        for item in 0..self.items {
            let path = format!("/inventory/items/{}", Self::item(item));
            to_inventory
                .send(
                    Method::PUT,
                    &path,
                    json!({
                        "name": "Item", "price": PRICE, "currency": "EUR", "quantity": 1_000_000_000_u64,
                    })
                    .to_string(),
                )
                .await?;
        }
        self.heard_of_prices().await?;
        let mut to_delivery = HttpConnection::open(delivery).await?;
        for courier in 0..COURIERS {
            let path = format!("/couriers/{}", Self::courier(courier));
            to_delivery
                .send(
                    Method::PUT,
                    &path,
                    json!({ "capacity": 1_000_000_000_u64 }).to_string(),
                )
                .await?;
        }
        Ok(())
    }

    /// Waits until the order service has heard of every price.
    async fn heard_of_prices(&self) -> Result<()> {
        let url = self.orders.first().context("there is no order service")?;
        for item in 0..self.items {
            let path = format!("/prices/{}", Self::item(item));
            let known = until(ORDER_TIMEOUT, async || {
                // A connection each: one that was answered 404 is as good as another.
                let mut connection = HttpConnection::open(url).await?;
                let answer = connection.send(Method::GET, &path, String::new()).await;
                anyhow::Ok(answer.is_ok().then_some(()))
            });
            known
                .await?
                .with_context(|| format!("{url}{path} was not there within {ORDER_TIMEOUT:?}"))?;
        }
        Ok(())
    }

    /// Sends orders and waits until every one is completed; stops sending after `seconds`.
    pub async fn drive(&self, pace: Pace, seconds: u64, progress: &ProgressLine) -> Result<LoadResult> {
        let board = Arc::new(Board {
            ended: progress.counter(),
            ..Board::default()
        });
        let of_all_orders = |name: &EventName| format!("{}.*", name.subject);
        let completed = self.operator.subjects(&of_all_orders(Completed::NAME)).await?;
        let cancelled = self
            .operator
            .subjects(&of_all_orders(OrderCancelled::NAME))
            .await?;
        let (mut completed, mut cancelled) = (Box::pin(completed), Box::pin(cancelled));
        let listening = {
            let board = board.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        Some(subject) = completed.next() => {
                            if let Some(id) = subject.rsplit('.').next() {
                                board.ended(id);
                            }
                        }
                        Some(subject) = cancelled.next() => bail!("{subject}: the load holds nothing to cancel"),
                        else => return Ok(()),
                    }
                }
            })
        };
        let stop_sending = Instant::now() + Duration::from_secs(seconds);
        let began = Instant::now();
        let outcome = match pace {
            Pace::Closed { in_flight, orders } => self.closed(&board, in_flight, orders, stop_sending).await,
            Pace::Fixed { rate, orders } => self.fixed(&board, rate, orders).await,
        };
        if listening.is_finished() {
            listening.await??;
        } else {
            listening.abort();
        }
        let ends = outcome?;
        let took = ends
            .iter()
            .map(|end| end.at)
            .max()
            .unwrap_or(began)
            .duration_since(began);
        Ok(LoadResult {
            orders: ends.len(),
            took,
            sample: ends.first().map(|end| end.order_id.clone()),
            latencies: Latencies::of(ends.iter().map(|end| end.latency).collect()),
        })
    }

    async fn closed(
        &self,
        board: &Arc<Board>,
        in_flight: usize,
        orders: usize,
        stop: Instant,
    ) -> Result<Vec<OrderEnd>> {
        let left = Arc::new(Semaphore::new(orders));
        let mut workers = JoinSet::new();
        for worker in 0..in_flight {
            let (load, board, left) = (self.clone(), board.clone(), left.clone());
            workers.spawn(async move {
                let mut connection = HttpConnection::open(&load.orders[worker % load.orders.len()]).await?;
                let mut ends = Vec::new();
                let mut number = worker;
                while Instant::now() < stop
                    && let Ok(ticket) = left.try_acquire()
                {
                    ticket.forget();
                    ends.push(load.one(&mut connection, &board, number, Instant::now()).await?);
                    number += in_flight;
                }
                anyhow::Ok(ends)
            });
        }
        let mut ends = Vec::with_capacity(orders);
        while let Some(worker) = workers.join_next().await {
            ends.extend(worker??);
        }
        Ok(ends)
    }

    async fn fixed(&self, board: &Arc<Board>, rate: f64, orders: usize) -> Result<Vec<OrderEnd>> {
        ensure!(rate > 0.0, "--rate must be above 0");
        let began = Instant::now();
        let pool = Arc::new(tokio::sync::Mutex::new(Vec::<HttpConnection>::new()));
        let mut sent = JoinSet::new();
        for number in 0..orders {
            let due = began + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let (load, board, pool) = (self.clone(), board.clone(), pool.clone());
            sent.spawn(async move {
                let pooled = pool.lock().await.pop();
                let mut connection = match pooled {
                    Some(connection) => connection,
                    None => HttpConnection::open(&load.orders[number % load.orders.len()]).await?,
                };
                let end = load.one(&mut connection, &board, number, due).await;
                pool.lock().await.push(connection);
                end
            });
        }
        let mut ends = Vec::with_capacity(orders);
        while let Some(end) = sent.join_next().await {
            ends.push(end??);
        }
        Ok(ends)
    }

    async fn one(
        &self,
        connection: &mut HttpConnection,
        board: &Board,
        number: usize,
        due: Instant,
    ) -> Result<OrderEnd> {
        #[derive(Deserialize)]
        struct Created {
            order_id: String,
        }
        let body = json!({
            "customer_id": "ada",
            "lines": [{ "item_id": Self::item(number % self.items), "quantity": 2, "unit_price": PRICE }],
            "total": 2 * PRICE, "currency": "EUR", "address": "1 Main St", "payment": "auto",
        });
        let answer = connection
            .send(Method::POST, "/orders/create_order", body.to_string())
            .await?;
        let Created { order_id } = serde_json::from_slice(&answer)?;
        let at = board.wait(&order_id).await?;
        Ok(OrderEnd {
            latency: at.saturating_duration_since(due),
            at,
            order_id,
        })
    }

    /// The mean number of inputs in a group, from the service's metrics.
    pub async fn mean_group(&self, url: &str) -> Result<f64> {
        let text = HttpConnection::open(url)
            .await?
            .send(Method::GET, "/metrics", String::new())
            .await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .with_context(|| format!("{url}/metrics has no {name}"))
        };
        Ok(value("quadrille_group_inputs_sum")? / value("quadrille_group_inputs_count")?.max(1.0))
    }
}

struct OrderEnd {
    order_id: String,
    at: Instant,
    latency: Duration,
}

/// One keep-alive connection.
struct HttpConnection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl HttpConnection {
    async fn open(url: &str) -> Result<Self> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host)
            .await
            .with_context(|| format!("cannot reach {url}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { host, sender })
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}
