//! Orders and their ends: placing, waiting, telling, auditing.

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use quadrille_audit::{Books, Report, audit};
use quadrille_events::{Body, EventName, Opened, OrderId};
use quadrille_local::client::{NewOrder, OrderView, until};
use quadrille_runtime::operator::story::{Story, Telling};
use std::time::Duration;

use crate::{PATIENCE, World, eventually};

/// How many requests a crowd sends at once.
const CROWD: usize = 32;

impl World {
    /// Waits until so many messages are in the bucket of a service, or in `EVENTS`: the middle of something.
    pub async fn holds(&self, service_or_events: &str, messages: u64) -> Result<()> {
        let holds = eventually(async || {
            let size = self.operator.size(service_or_events).await?;
            Ok((size.messages >= messages).then_some(()))
        });
        holds
            .await
            .with_context(|| format!("{service_or_events} has not held {messages} messages"))
    }

    /// Waits until so many messages were ever stored there, some of which may have been replaced or gone since.
    pub async fn holds_ever(&self, service_or_events: &str, messages: u64) -> Result<()> {
        let holds = eventually(async || {
            let size = self.operator.size(service_or_events).await?;
            Ok((size.last_sequence >= messages).then_some(()))
        });
        holds
            .await
            .with_context(|| format!("{service_or_events} has not been given {messages} messages"))
    }

    /// Places an order, which must be accepted.
    pub async fn place(&self, order: NewOrder) -> Result<OrderId> {
        Ok(self.api().create_order(&order).await?.order_id)
    }

    /// Places many orders at once. Whoever gets no answer asks again, with the same idempotency key; so this works while
    /// services are being killed.
    pub async fn place_many(&self, count: usize, order: impl Fn(usize) -> NewOrder) -> Result<Vec<OrderId>> {
        let placed = stream::iter(0..count).map(|number| {
            let order = order(number);
            async move { self.place_surely(&order, &format!("order-{number}")).await }
        });
        placed
            .buffer_unordered(CROWD)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    /// Places an order, asking again while the answer is in doubt.
    pub async fn place_surely(&self, order: &NewOrder, key: &str) -> Result<OrderId> {
        let mut doubt = None;
        let placed = until(PATIENCE, async || {
            match self.api().create_order_once(order, key).await {
                Ok(placed) => Ok(Some(placed.order_id)),
                Err(error) if error.is_in_doubt() => {
                    doubt = Some(error);
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        match placed.await? {
            Some(order_id) => Ok(order_id),
            None => bail!("an order could not be placed within {PATIENCE:?}: {doubt:?}"),
        }
    }

    /// Waits until an order is completed or cancelled, by the word of any instance: some may be dead.
    pub async fn ended(&self, order_id: &OrderId) -> Result<OrderView> {
        if let [only] = self.apis() {
            return only.wait_until_ended(order_id, PATIENCE).await;
        }
        let ended = until(PATIENCE, async || match self.api().order(order_id).await {
            Ok(order) => Ok(order.has_ended().then_some(order)),
            Err(error) if error.is_in_doubt() => Ok(None),
            Err(error) => Err(error),
        });
        match ended.await? {
            Some(order) => Ok(order),
            None => bail!(
                "order {order_id} has not ended within {PATIENCE:?}; so far:\n{}",
                Story::so_far(&self.operator, order_id)
                    .await?
                    .tell(Telling::Timed)
            ),
        }
    }

    /// Waits until all of these are completed or cancelled.
    pub async fn all_ended(&self, order_ids: &[OrderId]) -> Result<Vec<OrderView>> {
        let ended = stream::iter(order_ids).map(|order_id| self.ended(order_id));
        ended
            .buffered(CROWD)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    /// Waits until an event was said of an order.
    pub async fn said(&self, event: &EventName, order_id: &OrderId) -> Result<()> {
        let said = eventually(async || {
            let story = Story::so_far(&self.operator, order_id).await?;
            Ok(story.facts().events().has(event).then_some(()))
        });
        match said.await {
            Ok(()) => Ok(()),
            Err(why) => bail!(
                "nobody has said {event} of order {order_id}: {why:#}; so far:\n{}",
                Story::so_far(&self.operator, order_id)
                    .await?
                    .tell(Telling::Timed)
            ),
        }
    }

    /// Waits until the payment of an order is opened, and returns until when, as it is stored: payment itself says so only
    /// while it is open.
    pub async fn opened(&self, order_id: &OrderId) -> Result<Timestamp> {
        let subject = Opened::NAME.stored_as(order_id);
        let opened = eventually(async || {
            let entries = self.operator.entries_of(order_id, &[]).await?;
            let opened = entries.iter().find(|entry| entry.subject == subject);
            let opened = opened.map(|entry| Opened::decode(&entry.body)).transpose()?;
            Ok(opened.map(|opened| opened.expires_at))
        });
        opened
            .await
            .with_context(|| format!("the payment of order {order_id} was not opened"))
    }

    /// Waits until everybody has handled everything.
    pub async fn settle(&self) -> Result<()> {
        let mut lags = Vec::new();
        let settled = eventually(async || {
            lags = self.operator.lags().await?;
            let quiet = lags.iter().all(|lag| lag.pending == 0 && lag.unacknowledged == 0);
            Ok(quiet.then_some(()))
        });
        settled
            .await
            .with_context(|| format!("not all was handled: {lags:#?}"))
    }

    /// An order's whole story, told without what differs from run to run.
    pub async fn story(&self, order_id: &OrderId) -> Result<String> {
        self.ended(order_id).await?;
        self.settle().await?;
        Ok(Story::so_far(&self.operator, order_id)
            .await?
            .tell(Telling::Timeless))
    }

    /// Audits everything: all invariants must hold, and no order may still wait for somebody.
    pub async fn audit(&self) -> Result<Report> {
        self.judge(self.report(None, PATIENCE).await?)
    }

    /// Audits everything, and the payment provider's books, which are looked at once nothing is on its way any more.
    pub async fn audit_with(&self, books: impl FnOnce() -> Books) -> Result<Report> {
        self.settle().await?;
        self.judge(self.report(Some(&books()), PATIENCE).await?)
    }

    /// What an audit says that waits so long for everybody to come to rest.
    pub async fn report(&self, books: Option<&Books>, patience: Duration) -> Result<Report> {
        eventually(async || audit(&self.operator, books, patience).await.map(Some)).await
    }

    fn judge(&self, report: Report) -> Result<Report> {
        ensure!(report.is_clean(), "the audit found\n{report}");
        ensure!(
            report.waiting.is_empty(),
            "these orders still wait: {:#?}",
            report.waiting
        );
        Ok(report)
    }
}
