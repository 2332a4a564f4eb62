//! `quadrille stuck`: the orders that are older than their step should take.
//!
//! Read from the buckets, because EVENTS forgets sooner than an order may hang. The same fold and the same table as the
//! console's: [`OrderProgress`] and [`Step::patience`].

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use quadrille_events::{OrderId, OrderProgress, Step};
use quadrille_runtime::operator::Operator;

use quadrille_local::connect;

/// List the orders that wait longer than their step should take, longest overdue first
#[derive(clap::Args, Debug)]
pub struct StuckArgs {
    /// Also those that wait no longer than they should
    #[arg(long)]
    all: bool,
}

/// An order that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub order_id: OrderId,
    pub progress: OrderProgress,
}

impl Waiting {
    /// The order's line in the list.
    fn line(&self, now: Timestamp) -> String {
        let step = self.progress.step();
        let waited = now.duration_since(self.progress.last()).unsigned_abs();
        let most = if step == Step::Opened {
            "its deadline".to_owned()
        } else {
            step.patience().map(span).unwrap_or_default()
        };
        let who = self.progress.facts().waits_for().unwrap_or_default();
        format!(
            "{:<36}  {step:<17}  {who:<10}  {:>7}  {most}",
            self.order_id,
            span(waited)
        )
    }
}

/// Prints the list, and how many orders are in flight and stuck.
pub async fn run(args: StuckArgs) -> Result<()> {
    let operator = connect().await?;
    let (waiting, now) = (waiting(&operator).await?, Timestamp::now());
    let stuck = waiting
        .iter()
        .filter(|order| order.progress.is_stuck(now))
        .count();
    let listed = if args.all { waiting.len() } else { stuck };
    if listed > 0 {
        println!(
            "{:<36}  {:<17}  {:<10}  {:>7}  at most",
            "order", "step", "waits for", "for"
        );
        for order in &waiting[..listed] {
            println!("{}", order.line(now));
        }
        println!();
    }
    println!(
        "{} in flight, {}",
        count(waiting.len()),
        if stuck == 0 {
            "none stuck".to_owned()
        } else {
            format!("{stuck} stuck")
        }
    );
    Ok(())
}

/// The orders that have not ended, by when their step is due: those that are stuck come first.
pub async fn waiting(operator: &Operator) -> Result<Vec<Waiting>> {
    let mut waiting = Vec::new();
    operator
        .open_orders(|order| {
            waiting.push(Waiting {
                order_id: order.order_id,
                progress: order.progress,
            });
        })
        .await?;
    waiting.sort_by_key(|order| (order.progress.due(), order.order_id.clone()));
    Ok(waiting)
}

fn count(orders: usize) -> String {
    if orders == 1 {
        "1 order".to_owned()
    } else {
        format!("{orders} orders")
    }
}

/// A span of time as an operator reads it: `12 s`, `3 min`, `2 h`, `4 d`.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds @ 172_800.. => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_sensible_unit() {
        let told = [5, 119, 120, 7_199, 7_200, 200_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(told, ["5 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
