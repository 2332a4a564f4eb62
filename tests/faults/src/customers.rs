//! The customers and the shop owner: they place orders of every kind, confirm, cancel and approve, and remember every
//! answer. Whoever is left in doubt asks again, or does not: both must be right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use quadrille_events::OrderId;
use quadrille_local::Service;
use quadrille_local::client::{Answer, ApiError, NewOrder};
use quadrille_tests::{SOLD_OUT, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::history::{Asked, History, Outcome, Request};
use crate::plan::nth;

/// How long somebody goes on asking: far longer than anything is down.
const STUBBORN: Duration = Duration::from_secs(120);
/// The pause before somebody asks again.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest.
const LATEST_AGAIN: Duration = Duration::from_millis(500);
/// How many of those who got no answer do not ask again.
const RESIGNED: f64 = 0.2;
/// How many orders come with an idempotency key.
const KEYED: f64 = 0.7;

/// What becomes of an order if nothing interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journey {
    /// Paid at once, approved by nobody, delivered.
    Plain,
    /// The provider declines.
    Declined,
    /// There are no unicorns.
    OutOfStock,
    /// Nobody goes there.
    NoCourier,
    /// The customer confirms the payment.
    PaidByHand,
    /// The customer cancels the payment.
    PaymentCancelled,
    /// The customer confirms and cancels the payment at once: one of them gets through.
    PaidAndCancelled,
    /// The customer never pays: the deadline does it.
    Forgotten,
    /// The customer cancels the order on its way.
    OrderCancelled,
    /// The shop owner approves.
    Approved,
    /// The customer cancels what the shop owner is to approve.
    ApprovedAndCancelled,
    /// The total is wrong: refused.
    Refused,
    /// Another order with a used key: refused.
    KeyReused,
}

impl Journey {
    /// All of them, with how often each is begun.
    const MIX: [(Self, u32); 13] = [
        (Self::Plain, 30),
        (Self::Declined, 6),
        (Self::OutOfStock, 6),
        (Self::NoCourier, 6),
        (Self::PaidByHand, 10),
        (Self::PaymentCancelled, 6),
        (Self::PaidAndCancelled, 5),
        (Self::Forgotten, 3),
        (Self::OrderCancelled, 10),
        (Self::Approved, 8),
        (Self::ApprovedAndCancelled, 5),
        (Self::Refused, 3),
        (Self::KeyReused, 3),
    ];

    fn draw(rng: &mut StdRng) -> Self {
        let all: u32 = Self::MIX.iter().map(|(_, weight)| weight).sum();
        let mut drawn = rng.random_range(0..all);
        for (journey, weight) in Self::MIX {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return journey,
            }
        }
        Self::Plain
    }

    /// The order that begins it. No two have the same address.
    fn order(self, rng: &mut StdRng, mark: &str) -> NewOrder {
        // Those whose names the provider knows fare as these say (see `ProviderServer`).
        let customer = match rng.random_range(0..20) {
            0 => "lossy",
            1 => "busy",
            _ => "ada",
        };
        let order = NewOrder::new()
            .by(customer)
            .line(rng.random_range(1..=3), "apple")
            .to(&format!("{mark} Main St"));
        let order = if rng.random_bool(0.3) {
            order.line(1, "pear")
        } else {
            order
        };
        match self {
            Self::Plain | Self::OrderCancelled | Self::KeyReused => order,
            Self::Declined => order.by("poor"),
            Self::OutOfStock => order.line(1, SOLD_OUT),
            Self::NoCourier => order.to(&format!("test-no-courier, {mark} Main St")),
            Self::PaidByHand | Self::PaymentCancelled | Self::PaidAndCancelled | Self::Forgotten => {
                order.paid_by_hand()
            }
            Self::Approved | Self::ApprovedAndCancelled => order.approved_by_hand(),
            Self::Refused => NewOrder {
                total: order.total + 1,
                ..order
            },
        }
    }
}

/// The crowd. Everybody leaves when the handle goes.
pub struct Customers {
    desk: Arc<Desk>,
    crowd: JoinSet<Result<()>>,
}

/// What they all share.
struct Desk {
    world: Arc<World>,
    history: Arc<History>,
    closed: AtomicBool,
}

impl Customers {
    /// Lets in so many, each of whom places order after order with pauses of up to `pause` between.
    pub fn come(
        world: &Arc<World>,
        history: &Arc<History>,
        seed: u64,
        count: usize,
        pause: Duration,
    ) -> Self {
        let desk = Arc::new(Desk {
            world: Arc::clone(world),
            history: Arc::clone(history),
            closed: AtomicBool::new(false),
        });
        let mut crowd = JoinSet::new();
        for number in 0..count {
            let customer = Customer {
                desk: Arc::clone(&desk),
                seed: nth(seed, number as u64),
                rng: StdRng::seed_from_u64(seed),
            };
            crowd.spawn(customer.shop(number, pause));
        }
        Self { desk, crowd }
    }

    /// Nobody begins anything new; waits until everybody has finished, and says what went wrong.
    ///
    /// # Errors
    /// The history cannot be written, or a customer has panicked.
    pub async fn leave(mut self) -> Result<Vec<String>> {
        self.desk.closed.store(true, Ordering::Relaxed);
        let mut unserved = Vec::new();
        while let Some(left) = self.crowd.join_next().await {
            if let Err(problem) = left? {
                unserved.push(format!("{problem:#}"));
            }
        }
        Ok(unserved)
    }

    /// Cancels, for somebody who has given up, an order that waits for approval.
    ///
    /// # Errors
    /// There is no answer in time.
    pub async fn give_up(world: &Arc<World>, history: &Arc<History>, order_id: &OrderId) -> Result<()> {
        let desk = Desk {
            world: Arc::clone(world),
            history: Arc::clone(history),
            closed: AtomicBool::new(true),
        };
        desk.insist(Asked::CancelOrder, order_id).await
    }
}

struct Customer {
    desk: Arc<Desk>,
    seed: u64,
    /// Of the visit.
    rng: StdRng,
}

impl Customer {
    async fn shop(mut self, number: usize, pause: Duration) -> Result<()> {
        for visit in 0.. {
            // What was drawn depends on how the visits before went; what will be must not.
            self.rng = StdRng::seed_from_u64(nth(self.seed, visit));
            tokio::time::sleep(pause.mul_f64(self.rng.random_range(0.0..=1.0))).await;
            if self.desk.closed.load(Ordering::Relaxed) {
                break;
            }
            self.live(&format!("{number}-{visit}")).await?;
        }
        Ok(())
    }

    /// One order from its beginning to where nobody has to do anything.
    async fn live(&mut self, mark: &str) -> Result<()> {
        let journey = Journey::draw(&mut self.rng);
        let order = journey.order(&mut self.rng, mark);
        let is_keyed = journey == Journey::KeyReused || self.rng.random_bool(KEYED);
        let key = is_keyed.then(|| format!("key-{mark}"));
        let Some(order_id) = self.place(&order, key.as_deref()).await? else {
            return Ok(());
        };
        if self.rng.random_bool(0.1) {
            self.desk.show(&order_id).await?;
        }
        match journey {
            Journey::Plain | Journey::Declined | Journey::OutOfStock | Journey::NoCourier => {
                if self.rng.random_bool(0.1) {
                    self.desk.show(&order_id).await?;
                }
                Ok(())
            }
            Journey::Forgotten | Journey::Refused => Ok(()),
            Journey::PaidByHand => self.ask(Asked::ConfirmPayment, &order_id).await,
            Journey::PaymentCancelled => self.ask(Asked::CancelPayment, &order_id).await,
            Journey::PaidAndCancelled => {
                let (confirmed, cancelled) = tokio::join!(
                    self.desk.insist(Asked::ConfirmPayment, &order_id),
                    self.desk.insist(Asked::CancelPayment, &order_id)
                );
                confirmed.and(cancelled)
            }
            Journey::OrderCancelled => {
                // Anywhere between "just placed" and "completed".
                tokio::time::sleep(Duration::from_micros(self.rng.random_range(0..20_000))).await;
                self.ask(Asked::CancelOrder, &order_id).await
            }
            Journey::Approved => self.ask(Asked::Approve, &order_id).await,
            Journey::ApprovedAndCancelled => {
                let (approved, cancelled) = tokio::join!(
                    self.desk.insist(Asked::Approve, &order_id),
                    self.desk.insist(Asked::CancelOrder, &order_id)
                );
                approved.and(cancelled)
            }
            Journey::KeyReused => {
                let other = order.to(&format!("{mark}-other Main St"));
                self.place(&other, key.as_deref()).await.map(drop)
            }
        }
    }

    /// Places an order. Without a key nobody can ask again: it would be another order.
    async fn place(&mut self, order: &NewOrder, key: Option<&str>) -> Result<Option<OrderId>> {
        let deadline = Instant::now() + STUBBORN;
        let mut pause = AGAIN;
        loop {
            let request = self.desk.create(order, key).await?;
            if request.outcome != Outcome::Unknown {
                return Ok(request.order_id);
            }
            if key.is_none() || self.rng.random_bool(RESIGNED) {
                return Ok(None);
            }
            if Instant::now() > deadline {
                bail!(
                    "an order could not be placed within {STUBBORN:?}: {}",
                    request.answer
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATEST_AGAIN);
        }
    }

    /// Sends a command, once or until it is known what became of it.
    async fn ask(&mut self, asked: Asked, order_id: &OrderId) -> Result<()> {
        if self.rng.random_bool(RESIGNED) {
            return self.desk.command(asked, order_id).await.map(drop);
        }
        self.desk.insist(asked, order_id).await
    }
}

impl Desk {
    /// Sends a command until it had its effect or never will.
    async fn insist(&self, asked: Asked, order_id: &OrderId) -> Result<()> {
        let deadline = Instant::now() + STUBBORN;
        let mut pause = AGAIN;
        loop {
            let request = self.command(asked, order_id).await?;
            match request.outcome {
                Outcome::Ok => return Ok(()),
                // Not yet, or not any more: the order knows.
                Outcome::Failed => {
                    let shown = self.show(order_id).await?;
                    let is_over = matches!(shown.answer.as_str(), "completed" | "cancelled" | "cancelling");
                    let is_paid = asked == Asked::CancelPayment && request.answer.contains("charged already");
                    if shown.outcome == Outcome::Failed
                        || is_paid
                        || (shown.outcome == Outcome::Ok && is_over)
                    {
                        return Ok(());
                    }
                }
                Outcome::Unknown => {}
            }
            if Instant::now() > deadline {
                bail!(
                    "{asked:?} of order {order_id} was not settled within {STUBBORN:?}: {}",
                    request.answer
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATEST_AGAIN);
        }
    }

    async fn create(&self, order: &NewOrder, key: Option<&str>) -> Result<Request> {
        let headers: Vec<(&str, &str)> = key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        let body = serde_json::to_string(order)?;
        let sent = self.history.now();
        let api = self.world.api();
        let path = "/orders/create_order";
        let answer = api
            .send(Service::Order, Method::POST, path, &headers, Some(body))
            .await;
        let mut request = self.request(Asked::Create, sent, answer);
        request.order = Some(order.clone());
        request.key = key.map(str::to_owned);
        self.history.asked(request.clone())?;
        Ok(request)
    }

    async fn command(&self, asked: Asked, order_id: &OrderId) -> Result<Request> {
        let (service, path) = match asked {
            Asked::ConfirmPayment => (Service::Payment, "/payments/confirm"),
            Asked::CancelPayment => (Service::Payment, "/payments/cancel"),
            Asked::Approve => (Service::Order, "/orders/confirm"),
            Asked::CancelOrder => (Service::Order, "/orders/cancel"),
            Asked::Create | Asked::Show => bail!("{asked:?} is no command about an order"),
        };
        let body = json!({ "order_id": order_id }).to_string();
        let sent = self.history.now();
        let answer = self
            .world
            .api()
            .send(service, Method::POST, path, &[], Some(body))
            .await;
        self.remember(asked, order_id, sent, answer)
    }

    async fn show(&self, order_id: &OrderId) -> Result<Request> {
        let sent = self.history.now();
        let path = format!("/orders/{order_id}");
        let answer = self
            .world
            .api()
            .send(Service::Order, Method::GET, &path, &[], None)
            .await;
        self.remember(Asked::Show, order_id, sent, answer)
    }

    fn remember(
        &self,
        asked: Asked,
        order_id: &OrderId,
        sent: u64,
        answer: std::result::Result<Answer, ApiError>,
    ) -> Result<Request> {
        let mut request = self.request(asked, sent, answer);
        request.order_id = Some(order_id.clone());
        self.history.asked(request.clone())?;
        Ok(request)
    }

    fn request(&self, asked: Asked, sent: u64, answer: std::result::Result<Answer, ApiError>) -> Request {
        let (status, order_id, answer) = match answer {
            Ok(answer) => {
                let body = answer.json();
                let text = |name: &str| body[name].as_str().map(str::to_owned);
                let order_id = text("order_id").and_then(|id| id.parse().ok());
                let says = text("state").or_else(|| text("detail")).unwrap_or(answer.body);
                (Some(answer.status), order_id, says)
            }
            Err(error) => (None, None, error.to_string()),
        };
        Request {
            sent,
            ended: self.history.now(),
            asked,
            order: None,
            key: None,
            order_id,
            outcome: Outcome::of(status),
            status,
            answer,
        }
    }
}
