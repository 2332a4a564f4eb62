//! `quadrille demo`: one order through every ending, each with its story from the EVENTS log.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use quadrille_events::{Ending, OrderId};
use quadrille_runtime::operator::HistoryEntry;
use quadrille_runtime::operator::Operator;

use quadrille_local::Service;
use quadrille_local::client::{Api, NewOrder, until};
use quadrille_local::connect;
use quadrille_runtime::operator::story::{self, Story, Telling};

/// How long one step of one order may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The customer whom the simulated provider declines.
const DECLINED_CUSTOMER: &str = "test-declined";
/// Where the simulated courier desk sends nobody.
const NO_COURIER_ADDRESS: &str = "test-no-courier, Far Away";

/// Drive a handful of orders through every ending and print each one's story
#[derive(clap::Args, Debug)]
pub struct DemoArgs {}

/// One order of the demo.
struct Scene {
    title: &'static str,
    order: NewOrder,
    then: Then,
    ending: Ending,
}

/// What the customer, the shop owner or the courier does after the order was placed.
#[derive(Clone, Copy)]
enum Then {
    Waits,
    ConfirmsPayment,
    CancelsPayment,
    CancelsOrder,
    Approves,
    Delivers,
    FailsToDeliver,
}

/// Plays all scenes on the running system.
pub async fn run(_: DemoArgs) -> Result<()> {
    let api = Api::from_env()?;
    for service in Service::ALL {
        let ready = api.ready(service).await;
        ready.with_context(|| {
            format!(
                "the {} service is not ready: is the system running? Start it with `deploy/just run-all`",
                service.name()
            )
        })?;
    }
    let heard = Heard::listen(&connect().await?).await?;
    let mut table = Vec::new();
    let mut surprises = 0_usize;
    for (number, scene) in scenes(&api).await?.into_iter().enumerate() {
        let order_id = play(&api, &scene).await?;
        let story = heard.story(&order_id, scene.ending).await?;
        println!("{}. {} (order {order_id})\n", number + 1, scene.title);
        println!("{}", story.tell(Telling::Timed));
        let ending = story.ending().context("the order has not ended")?;
        let surprise = if ending == scene.ending {
            String::new()
        } else {
            surprises += 1;
            format!("  (and should be {})", scene.ending)
        };
        let (events, took) = (story.events().len(), story.took().as_secs_f64() * 1_000.0);
        table.push(format!(
            "{order_id}  {events:>6}  {took:>8.1}  {ending}{surprise}"
        ));
    }
    println!("{:<36}  {:>6}  {:>8}  ending", "order", "events", "ms");
    println!("{}", table.join("\n"));
    ensure!(
        surprises == 0,
        "{surprises} orders ended otherwise than they should have; `deploy/just audit` tells whether anything is wrong"
    );
    Ok(())
}

async fn scenes(api: &Api) -> Result<Vec<Scene>> {
    let item = api.item("apple").await.context("there are no apples in stock")?;
    let available = item["available"].as_u64().unwrap_or_default();
    let too_many = u32::try_from(available + 1).unwrap_or(u32::MAX);
    let order = || NewOrder::new().line(2, "apple");
    Ok(vec![
        Scene {
            title: "Paid at once",
            order: order(),
            then: Then::Waits,
            ending: Ending::Completed,
        },
        Scene {
            title: "Several lines, all set aside or none",
            order: order().line(1, "bread").line(6, "plum"),
            then: Then::Waits,
            ending: Ending::Completed,
        },
        Scene {
            title: "The customer confirms the payment",
            order: order().paid_by_hand(),
            then: Then::ConfirmsPayment,
            ending: Ending::Completed,
        },
        Scene {
            title: "The shop owner approves",
            order: order().approved_by_hand(),
            then: Then::Approves,
            ending: Ending::Completed,
        },
        Scene {
            title: "The customer cancels the payment",
            order: order().paid_by_hand(),
            then: Then::CancelsPayment,
            ending: Ending::PaymentCancelled,
        },
        Scene {
            title: "The customer cancels the order, which is paid and reserved",
            order: order().approved_by_hand(),
            then: Then::CancelsOrder,
            ending: Ending::OrderCancelled,
        },
        Scene {
            title: "The provider declines",
            order: order().by(DECLINED_CUSTOMER),
            then: Then::Waits,
            ending: Ending::Declined,
        },
        Scene {
            title: "Out of stock",
            order: NewOrder::new().line(1, "pear").line(too_many, "apple"),
            then: Then::Waits,
            ending: Ending::OutOfStock,
        },
        Scene {
            title: "No courier goes there",
            order: order().to(NO_COURIER_ADDRESS),
            then: Then::Waits,
            ending: Ending::NoCourier,
        },
        Scene {
            title: "The courier hands over the goods",
            order: order(),
            then: Then::Delivers,
            ending: Ending::Delivered,
        },
        Scene {
            title: "The courier finds nobody at home",
            order: order(),
            then: Then::FailsToDeliver,
            ending: Ending::DeliveryFailed,
        },
    ])
}

/// Places the order and does what is to be done about it.
async fn play(api: &Api, scene: &Scene) -> Result<OrderId> {
    let order_id = api.create_order(&scene.order).await?.order_id;
    match scene.then {
        Then::Waits => {}
        Then::ConfirmsPayment => {
            payment_asked(api, &order_id).await?;
            api.confirm_payment(&order_id).await?;
        }
        Then::CancelsPayment => {
            payment_asked(api, &order_id).await?;
            api.cancel_payment(&order_id).await?;
        }
        Then::Approves => {
            awaiting_approval(api, &order_id).await?;
            api.approve_order(&order_id).await?;
        }
        Then::Delivers => {
            completed(api, &order_id).await?;
            api.confirm_delivery(&order_id).await?;
        }
        Then::FailsToDeliver => {
            completed(api, &order_id).await?;
            api.fail_delivery(&order_id, "nobody at home").await?;
        }
        Then::CancelsOrder => {
            awaiting_approval(api, &order_id).await?;
            api.cancel_order(&order_id).await?;
        }
    }
    Ok(order_id)
}

/// Waits until the payment is open.
async fn payment_asked(api: &Api, order_id: &OrderId) -> Result<()> {
    let asked = until(PATIENCE, async || match api.payment(order_id).await {
        Ok(_) => Ok(Some(())),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    });
    asked
        .await?
        .with_context(|| format!("payment was not asked about order {order_id} within {PATIENCE:?}"))
}

async fn completed(api: &Api, order_id: &OrderId) -> Result<()> {
    let order = api.wait_until_ended(order_id, PATIENCE).await?;
    ensure!(order.state == "completed", "order {order_id} is {}", order.state);
    Ok(())
}

async fn awaiting_approval(api: &Api, order_id: &OrderId) -> Result<()> {
    let mut state = String::new();
    let awaiting = until(PATIENCE, async || {
        state = api.order(order_id).await?.state;
        anyhow::Ok((state == "awaiting-approval" || state == "cancelled").then_some(()))
    });
    awaiting.await?;
    ensure!(
        state == "awaiting-approval",
        "order {order_id} awaits no approval; it is {state}"
    );
    Ok(())
}

/// What the EVENTS log says from now on.
struct Heard {
    told: Arc<Mutex<HashMap<OrderId, Vec<HistoryEntry>>>>,
    listening: tokio::task::JoinHandle<Result<()>>,
}

impl Heard {
    async fn listen(operator: &Operator) -> Result<Self> {
        let told = Arc::new(Mutex::new(HashMap::<_, Vec<_>>::new()));
        let events = operator.follow(">").await?;
        let listening = tokio::spawn({
            let told = Arc::clone(&told);
            async move {
                let mut events = pin!(events);
                while let Some(entry) = events.next().await {
                    if let Some((order_id, event)) = story::heard(&entry?) {
                        told.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .entry(order_id)
                            .or_default()
                            .push(event);
                    }
                }
                Ok(())
            }
        });
        Ok(Self { told, listening })
    }

    /// The story of an order, once it is over. A completed order goes on if its courier says how the delivery ended, so it is over
    /// when it has the ending that is expected, or has had its time.
    async fn story(&self, order_id: &OrderId, ending: Ending) -> Result<Story> {
        let so_far = || {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            Story::new(order_id.clone(), told.get(order_id).cloned().unwrap_or_default())
        };
        let over = until(PATIENCE, async || {
            let story = so_far();
            let is_expected = story.ending() == Some(ending);
            anyhow::Ok((story.is_over() && is_expected).then_some(story))
        });
        match over.await? {
            Some(story) => Ok(story),
            None if so_far().is_over() => Ok(so_far()),
            None if self.listening.is_finished() => bail!("the EVENTS log cannot be followed any more"),
            None => bail!(
                "the story of order {order_id} was not over within {PATIENCE:?}; so far:\n\n{}",
                so_far().tell(Telling::Timed)
            ),
        }
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
