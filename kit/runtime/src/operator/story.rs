//! One order's history as a tree of causes and effects, in text.
//!
//! ```text
//! http       create order
//! order      └─ order.created
//! payment       └─ payment.charged
//! inventory        └─ inventory.reservation.failed: not enough of `pear`: 9 wanted, 5 available
//! payment             ├─ payment.refunded
//! payment             └─ cancel-order
//! order                  └─ order.cancelled
//! ```
//!
//! The left column names the service; the tree shows what caused what. A reason is shown once, where it first occurs.

use std::fmt::Write as _;

use crate::nats::StoredEvent;
use crate::operator::history::HistoryEntry;
use crate::operator::{Entry, Operator};
use crate::printable::printable;
use quadrille_events::{Ending, Event, EventName, OrderFacts, OrderId};

/// Everything that was said about one order.
#[derive(Clone, Debug)]
pub struct Story {
    order_id: OrderId,
    told: Vec<HistoryEntry>,
}

/// How a story is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// For a terminal: with the delay since its cause before each event.
    Timed,
    /// For a golden transcript: without anything that differs from run to run.
    Timeless,
}

impl Story {
    /// The story that these events tell.
    pub fn new(order_id: OrderId, told: Vec<HistoryEntry>) -> Self {
        Self { order_id, told }
    }

    /// The story of an order so far, from the buckets.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn so_far(operator: &Operator, order_id: &OrderId) -> anyhow::Result<Self> {
        Ok(Self::new(order_id.clone(), operator.history(order_id).await?))
    }

    /// The order that the story is about.
    pub fn order_id(&self) -> &OrderId {
        &self.order_id
    }

    /// The events, in the order in which they were stored.
    pub fn events(&self) -> &[HistoryEntry] {
        &self.told
    }

    /// What was said.
    pub fn facts(&self) -> OrderFacts {
        self.told.iter().filter_map(name_of).collect()
    }

    /// How the order ended; `None` while it has not.
    pub fn ending(&self) -> Option<Ending> {
        self.facts().ending()
    }

    /// Whether the order has ended, everything is undone that was to be undone, and the story tells all of it.
    pub fn is_over(&self) -> bool {
        let facts = self.facts();
        facts.step().is_over() && facts.is_whole()
    }

    /// The time from the first event to the last.
    pub fn took(&self) -> std::time::Duration {
        let times = || self.told.iter().map(|entry| entry.at);
        match (times().min(), times().max()) {
            (Some(first), Some(last)) => last.duration_since(first).unsigned_abs(),
            _ => std::time::Duration::ZERO,
        }
    }

    /// The story as text, one line an event.
    pub fn tell(&self, telling: Telling) -> String {
        let mut text = String::new();
        for (cause, service) in self.roots() {
            // `http/cancel` of payment: somebody asked to cancel the payment.
            match cause.strip_prefix("http/") {
                Some(command) => line(&mut text, telling, None, "http", &format!("{command} {service}")),
                None => line(&mut text, telling, None, "?", cause),
            }
            let mut effects = self.effects(cause);
            effects.retain(|effect| effect.service == service);
            self.tell_effects(&mut text, telling, &effects, None, "");
        }
        match telling {
            Telling::Timed => text,
            Telling::Timeless => text.replace(self.order_id.as_str(), "<order>"),
        }
    }

    fn tell_effects(
        &self,
        text: &mut String,
        telling: Telling,
        effects: &[&HistoryEntry],
        cause: Option<&HistoryEntry>,
        margin: &str,
    ) {
        let mut known = cause.and_then(|entry| entry.reason.as_deref());
        for (index, effect) in effects.iter().enumerate() {
            let last = index + 1 == effects.len();
            let mut what = format!("{margin}{} {}", if last { "└─" } else { "├─" }, effect.event);
            if effect.reason.as_deref() != known
                && let Some(reason) = &effect.reason
            {
                let _ = write!(what, ": {reason}");
                known = Some(reason);
            }
            let delay = cause.map(|cause| effect.at.duration_since(cause.at).as_secs_f64() * 1_000.0);
            line(text, telling, delay, &effect.service, &what);
            let margin = format!("{margin}{}", if last { "   " } else { "│  " });
            self.tell_effects(
                text,
                telling,
                &self.effects(&reference(effect)),
                Some(effect),
                &margin,
            );
        }
    }

    /// The causes that are no event of the story, such as `http/create`, each with the service that answered it, in the
    /// order in which they came.
    fn roots(&self) -> Vec<(&str, &str)> {
        let mut roots = Vec::new();
        for entry in &self.told {
            let root = (entry.cause.as_str(), entry.service.as_str());
            let from_outside = !self.told.iter().any(|other| reference(other) == entry.cause);
            if from_outside && !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }

    /// The events that `cause` led to, sorted by service in the order of the contract, so that the result does not depend
    /// on which of two services was faster.
    fn effects(&self, cause: &str) -> Vec<&HistoryEntry> {
        let mut effects: Vec<_> = self.told.iter().filter(|entry| entry.cause == cause).collect();
        effects.sort_by_key(|entry| {
            Event::SERVICES
                .iter()
                .position(|service| *service == entry.service)
        });
        effects
    }
}

/// Reads a message of the EVENTS log as an event of a story, with the id of its order; `None` if it is no event.
pub fn heard(entry: &Entry) -> Option<(OrderId, HistoryEntry)> {
    let event = StoredEvent::in_log(Event::CONTRACT, entry).ok()?;
    Some((event.about.order_id()?, HistoryEntry::new(&event, entry.time)))
}

fn reference(entry: &HistoryEntry) -> String {
    format!("{}/{}", entry.service, entry.id)
}

/// The event that an entry is; `None` if it is not in the contract.
fn name_of(told: &HistoryEntry) -> Option<&'static EventName> {
    let subject = format!("$KV.{}.{}", told.service, told.id);
    Event::CONTRACT.stored(&subject).map(|(name, _)| name)
}

fn line(text: &mut String, telling: Telling, delay: Option<f64>, who: &str, what: &str) {
    if telling == Telling::Timed {
        let delay = delay
            .map(|ms| format!("+{:.1} ms", ms.max(0.0)))
            .unwrap_or_default();
        let _ = write!(text, "{delay:>12}  ");
    }
    let _ = writeln!(text, "{:<9}  {}", printable(who), printable(what));
}

#[cfg(test)]
mod tests {
    use quadrille_events::{
        Body, CancelOrder, Charged, Created, OrderCancelled, PaymentCancelled, Refunded, ReservationFailed,
        Reserved,
    };

    use super::*;

    fn order_id() -> OrderId {
        "42".parse().expect("an id")
    }

    fn entry<B: Body>(at: i64, cause: &str, reason: Option<&str>) -> HistoryEntry {
        HistoryEntry {
            event: B::NAME.subject.to_owned(),
            service: B::NAME.service.to_owned(),
            id: B::NAME.id(&order_id()),
            at: jiff::Timestamp::from_millisecond(at).expect("a time"),
            reason: reason.map(str::to_owned),
            cause: cause.to_owned(),
        }
    }

    fn out_of_stock() -> Story {
        let short = Some("not enough of `pear`: 9 wanted, 5 available");
        let failed = "inventory/reservation-failed.42";
        Story::new(
            order_id(),
            vec![
                entry::<Created>(0, "http/create", None),
                entry::<Charged>(2, "order/created.42", None),
                entry::<ReservationFailed>(4, "payment/charged.42", short),
                entry::<Refunded>(7, failed, short),
                entry::<CancelOrder>(7, failed, short),
                entry::<OrderCancelled>(9, "payment/cancel-order.42", short),
            ],
        )
    }

    #[test]
    fn a_story_is_told_as_a_tree_with_each_reason_once() {
        let expected = "\
http       create order
order      └─ order.created
payment       └─ payment.charged
inventory        └─ inventory.reservation.failed: not enough of `pear`: 9 wanted, 5 available
payment             ├─ payment.refunded
payment             └─ cancel-order
order                  └─ order.cancelled
";
        assert_eq!(out_of_stock().tell(Telling::Timeless), expected);
        assert!(
            out_of_stock()
                .tell(Telling::Timed)
                .contains("     +3.0 ms  payment")
        );
        assert_eq!(out_of_stock().ending(), Some(Ending::OutOfStock));
        assert!(out_of_stock().is_over());
    }

    #[test]
    fn a_reason_does_not_command_the_terminal() {
        let reason = Some("too \u{1b}[31mexpensive\n\u{9b}2J");
        let cancelled = entry::<PaymentCancelled>(0, "http/cancel", reason);
        let story = Story::new("42".parse().expect("an id"), vec![cancelled]);
        let told = r"└─ payment.cancelled: too \u{1b}[31mexpensive\n\u{9b}2J";
        assert!(
            story.tell(Telling::Timed).contains(told),
            "{}",
            story.tell(Telling::Timed)
        );
    }

    #[test]
    fn a_story_is_not_over_while_something_is_to_be_undone() {
        let mut story = out_of_stock();
        story.told.retain(|entry| entry.service != "inventory");
        assert!(!story.is_over(), "inventory has not answered");
        story.told.push(entry::<Reserved>(5, "payment/charged.42", None));
        assert!(!story.is_over(), "what was reserved is not released");
    }
}
