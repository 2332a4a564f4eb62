//! One order's story as text: who said what because of what.
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
//! On the left is who speaks, to the right of it what hangs on what. A reason is told once, where it first comes up.

use std::fmt::Write as _;

use crate::nats::StoredEvent;
use crate::operator::history::HistoryEntry;
use crate::operator::{Entry, Operator};
use crate::printable::printable;
use quadrille_events::{Event, OrderId};

/// What all services have said about one order.
#[derive(Clone, Debug)]
pub struct Story {
    order_id: OrderId,
    told: Vec<HistoryEntry>,
}

/// How a story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// For a terminal: with the delay since its cause before each event.
    Timed,
    /// For a golden transcript: without anything that differs from run to run.
    Timeless,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// Paid, reserved, on its way.
    Completed,
    /// The provider declined the payment.
    Declined,
    /// Nobody confirmed the payment in time.
    Expired,
    /// The customer cancelled the payment.
    PaymentCancelled,
    /// The customer (or the shop owner) cancelled the order.
    OrderCancelled,
    /// Not all lines could be reserved.
    OutOfStock,
    /// Nobody could bring it.
    NoCourier,
}

impl Ending {
    /// How an order ended about which this was said: by service and entry, as in `("payment", "charged")`. `None` if
    /// it has not.
    pub fn of(said: impl Fn(&str, &str) -> bool) -> Option<Self> {
        if said("order", "completed") {
            return Some(Self::Completed);
        }
        if !said("order", "cancelled") {
            return None;
        }
        // Several may have come together; the first of these is what the others hang on.
        Some(if said("payment", "failed") {
            Self::Declined
        } else if said("payment", "expired") && said("payment", "cancelled") {
            Self::Expired
        } else if said("delivery", "cancel-payment") {
            Self::NoCourier
        } else if said("order", "cancel-payment") {
            Self::OrderCancelled
        } else if said("inventory", "reservation-failed") {
            Self::OutOfStock
        } else {
            Self::PaymentCancelled
        })
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::Declined => "cancelled: payment declined",
            Self::Expired => "cancelled: payment not confirmed in time",
            Self::PaymentCancelled => "cancelled: payment cancelled",
            Self::OrderCancelled => "cancelled: order cancelled",
            Self::OutOfStock => "cancelled: out of stock",
            Self::NoCourier => "cancelled: no courier",
        })
    }
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

    /// Which order.
    pub fn order_id(&self) -> &OrderId {
        &self.order_id
    }

    /// Its events.
    pub fn events(&self) -> &[HistoryEntry] {
        &self.told
    }

    /// How it ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        Ending::of(|service, entry| self.said(service, entry))
    }

    /// Whether it has ended and everybody has undone what was to be undone, so that nothing more is to come.
    pub fn is_over(&self) -> bool {
        let asked_and_unanswered = (self.said("payment", "charged") && !self.speaks("inventory"))
            || (self.said("order", "create-delivery") && !self.speaks("delivery"));
        let to_be_undone = self.said("order", "cancelled")
            && ((self.said("inventory", "reserved") && !self.said("inventory", "released"))
                || (self.said("delivery", "assigned") && !self.said("delivery", "cancelled")));
        self.ending().is_some() && !asked_and_unanswered && !to_be_undone
    }

    /// How long it took from its first event to its last.
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

    /// What came from outside and to whom, in the order in which it came.
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

    /// What was said because of `cause`: by the services in the order of the choreography, by each as it said it. So it
    /// does not depend on which of two services was faster.
    fn effects(&self, cause: &str) -> Vec<&HistoryEntry> {
        let mut effects: Vec<_> = self.told.iter().filter(|entry| entry.cause == cause).collect();
        effects.sort_by_key(|entry| {
            Event::SERVICES
                .iter()
                .position(|service| *service == entry.service)
        });
        effects
    }

    fn said(&self, service: &str, entry: &str) -> bool {
        self.told
            .iter()
            .any(|told| told.service == service && entry_of(told) == entry)
    }

    fn speaks(&self, service: &str) -> bool {
        self.told.iter().any(|told| told.service == service)
    }
}

/// An event of the EVENTS log as part of a story, and the order it is about; `None` if it is none.
pub fn heard(entry: &Entry) -> Option<(OrderId, HistoryEntry)> {
    let event = StoredEvent::in_log(Event::CONTRACT, entry).ok()?;
    Some((event.about.order_id()?, HistoryEntry::new(&event, entry.time)))
}

fn reference(entry: &HistoryEntry) -> String {
    format!("{}/{}", entry.service, entry.id)
}

fn entry_of(entry: &HistoryEntry) -> &str {
    entry.id.split('.').next().unwrap_or_default()
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
    use super::*;

    fn entry(
        at: i64,
        service: &str,
        id: &str,
        event: &str,
        cause: &str,
        reason: Option<&str>,
    ) -> HistoryEntry {
        HistoryEntry {
            event: event.to_owned(),
            service: service.to_owned(),
            id: format!("{id}.42"),
            at: jiff::Timestamp::from_millisecond(at).expect("a time"),
            reason: reason.map(str::to_owned),
            cause: cause.to_owned(),
        }
    }

    fn out_of_stock() -> Story {
        let short = Some("not enough of `pear`: 9 wanted, 5 available");
        let failed = "inventory/reservation-failed.42";
        Story::new(
            "42".parse().expect("an id"),
            vec![
                entry(0, "order", "created", "order.created", "http/create", None),
                entry(
                    2,
                    "payment",
                    "charged",
                    "payment.charged",
                    "order/created.42",
                    None,
                ),
                entry(
                    4,
                    "inventory",
                    "reservation-failed",
                    "inventory.reservation.failed",
                    "payment/charged.42",
                    short,
                ),
                entry(7, "payment", "refunded", "payment.refunded", failed, short),
                entry(7, "payment", "cancel-order", "cancel-order", failed, short),
                entry(
                    9,
                    "order",
                    "cancelled",
                    "order.cancelled",
                    "payment/cancel-order.42",
                    short,
                ),
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
        let cancelled = entry(
            0,
            "payment",
            "cancelled",
            "payment.cancelled",
            "http/cancel",
            reason,
        );
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
        story.told.push(entry(
            5,
            "inventory",
            "reserved",
            "inventory.reserved",
            "payment/charged.42",
            None,
        ));
        assert!(!story.is_over(), "what was reserved is not released");
    }
}
