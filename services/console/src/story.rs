//! One order in full: what every service has said about it, because of what, how long after, and how it is stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_events::{Event, Order, OrderId, Progress, Step};
use quadrille_runtime::DeadLetter;
use quadrille_runtime::operator::HistoryEntry;
use quadrille_runtime::operator::{Entry, Operator};
use serde::Serialize;
use serde_json::Value;

/// The story of an order so far. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// Which order.
    pub order_id: OrderId,
    /// The order as placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<std::sync::Arc<Order>>,
    /// How many digits its currency has after the point.
    pub digits: u16,
    /// How far it is.
    pub step: &'static str,
    /// Who is to speak next.
    pub waits_for: Option<&'static str>,
    /// How long its step should take, in milliseconds.
    pub patience: Option<u64>,
    /// Until when its step should have been taken.
    pub due: Option<f64>,
    /// Whether it has ended.
    pub over: bool,
    /// How long it took, or takes so far, from the first event to the last, in milliseconds.
    pub took: f64,
    /// What can be done about it now.
    pub actions: Vec<Action>,
    /// What was said, causes before effects.
    pub events: Vec<Told>,
    /// Inputs about it that a service could not handle.
    pub dead_letters: Vec<DeadLetter>,
}

/// What a person can do about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The customer confirms the payment.
    ConfirmPayment,
    /// The customer cancels the payment.
    CancelPayment,
    /// The shop owner approves the order.
    ApproveOrder,
    /// The customer cancels the order.
    CancelOrder,
}

/// One event of a story.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// What: `payment.charged`.
    pub event: String,
    /// Who said it.
    pub service: String,
    /// Its CloudEvents id: `charged.<order_id>`.
    pub id: String,
    /// When it was stored.
    pub at: f64,
    /// How long after its cause, in milliseconds, if its cause is in this story.
    pub delay: Option<f64>,
    /// What it answers: `<service>/<id>` of an event, or `http/<command>`.
    pub cause: String,
    /// Whose event that was; nobody's if it came over HTTP.
    pub cause_service: Option<String>,
    /// Why, if it says so and its cause did not say the same.
    pub reason: Option<String>,
    /// How it is stored.
    pub entry: Option<Stored>,
}

/// An entry as it is stored.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// Under which subject: `$KV.payment.charged.<order_id>`.
    pub subject: String,
    /// At which place of its bucket.
    pub sequence: u64,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

impl Story {
    /// Reads the story of an order from the buckets; `None` if nobody has said anything about it.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn read(operator: &Operator, order_id: &OrderId) -> anyhow::Result<Option<Self>> {
        let (history, entries, letters) = tokio::try_join!(
            operator.history(order_id),
            operator.entries_of(order_id, &[]),
            operator.dead_letters_of(order_id),
        )?;
        Ok((!history.is_empty() || !letters.is_empty())
            .then(|| Self::new(order_id, history, &entries, letters)))
    }

    /// The story that these tell.
    pub fn new(
        order_id: &OrderId,
        history: Vec<HistoryEntry>,
        entries: &[Entry],
        dead_letters: Vec<DeadLetter>,
    ) -> Self {
        let mut progress: Option<Progress> = None;
        let mut order = None;
        for told in &history {
            let token = told.id.split('.').next().unwrap_or_default();
            let stored = stored_as(entries, told);
            let Some(event) = stored.and_then(|e| Event::decode(&told.service, token, &e.body).ok()) else {
                continue;
            };
            order = event.order().cloned();
            match &mut progress {
                None => progress = Some(Progress::new(&event, told.at)),
                Some(progress) => progress.hear(&event, told.at),
            }
        }
        let step = progress.map_or(Step::Created, |progress| progress.step());
        let took = progress.map_or(0.0, |progress| {
            milliseconds(progress.last()) - milliseconds(progress.first())
        });
        Self {
            order_id: order_id.clone(),
            digits: order
                .as_ref()
                .and_then(|order| order.currency.exponent())
                .unwrap_or(0),
            order,
            step: step.name(),
            waits_for: progress.and_then(|progress| progress.waits_for()),
            patience: step
                .patience()
                .map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
            due: progress.and_then(|progress| progress.due()).map(milliseconds),
            over: step.is_over(),
            took,
            actions: actions(step),
            events: history
                .iter()
                .map(|told| Told::new(told, &history, entries))
                .collect(),
            dead_letters,
        }
    }

    /// What is known of the order, for a list.
    pub(crate) fn row(&self, now: Timestamp) -> Option<crate::view::Row> {
        let order = self.order.as_ref()?;
        let mut progress: Option<Progress> = None;
        for told in &self.events {
            let token = told.id.split('.').next().unwrap_or_default();
            let body = told.entry.as_ref()?.body.to_string();
            let Ok(event) = Event::decode(&told.service, token, body.as_bytes()) else {
                continue;
            };
            let at = Timestamp::from_millisecond(told.at as i64).ok()?;
            progress
                .get_or_insert_with(|| Progress::new(&event, at))
                .hear(&event, at);
        }
        let reason = self.events.iter().find_map(|told| told.reason.as_deref());
        Some(crate::view::row_of(order, progress?, reason, now))
    }
}

impl Told {
    fn new(told: &HistoryEntry, history: &[HistoryEntry], entries: &[Entry]) -> Self {
        let cause = history
            .iter()
            .find(|other| format!("{}/{}", other.service, other.id) == told.cause);
        Self {
            event: told.event.clone(),
            service: told.service.clone(),
            id: told.id.clone(),
            at: milliseconds(told.at),
            // Clocks of two leaders may disagree by a little; an effect never comes before its cause.
            delay: cause.map(|cause| (milliseconds(told.at) - milliseconds(cause.at)).max(0.0)),
            cause: told.cause.clone(),
            cause_service: cause.map(|cause| cause.service.clone()),
            reason: told
                .reason
                .clone()
                .filter(|reason| cause.and_then(|cause| cause.reason.as_ref()) != Some(reason)),
            entry: stored_as(entries, told).map(|entry| Stored {
                subject: entry.subject.clone(),
                sequence: entry.sequence,
                headers: entry
                    .headers
                    .iter()
                    .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
                    .collect(),
                body: serde_json::from_slice(&entry.body)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&entry.body).into_owned())),
            }),
        }
    }
}

fn stored_as<'a>(entries: &'a [Entry], told: &HistoryEntry) -> Option<&'a Entry> {
    let subject = format!("$KV.{}.{}", told.service, told.id);
    entries.iter().find(|entry| entry.subject == subject)
}

fn actions(step: Step) -> Vec<Action> {
    match step {
        Step::Opened => vec![Action::ConfirmPayment, Action::CancelPayment, Action::CancelOrder],
        Step::AwaitingApproval => vec![Action::ApproveOrder, Action::CancelOrder],
        Step::Created | Step::Charged | Step::Reserved | Step::Ready | Step::Confirmed | Step::Assigned => {
            vec![Action::CancelOrder]
        }
        Step::Cancelling | Step::Settled | Step::Undoing | Step::Completed | Step::Cancelled => Vec::new(),
    }
}

fn milliseconds(at: Timestamp) -> f64 {
    at.as_nanosecond() as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(
        ms: i64,
        service: &str,
        id: &str,
        event: &str,
        cause: &str,
        reason: Option<&str>,
    ) -> (HistoryEntry, Entry) {
        let at = Timestamp::from_millisecond(ms).unwrap();
        let order = json!({
            "order_id": "42", "customer_id": "ada", "total": 500, "currency": "EUR", "address": "1 Main St",
            "lines": [{"item_id": "apple", "quantity": 2, "unit_price": 250}],
        });
        let body = json!({
            "order": order, "reason": reason, "reference": "r", "charged": true, "delivery_requested": false,
            "courier_id": "grace", "expires_at": "2030-01-01T00:00:00Z",
        });
        let told = HistoryEntry {
            event: event.to_owned(),
            service: service.to_owned(),
            id: format!("{id}.42"),
            at,
            reason: reason.map(str::to_owned),
            cause: cause.to_owned(),
        };
        let entry = Entry {
            subject: format!("$KV.{service}.{id}.42"),
            sequence: 7,
            time: at,
            headers: Default::default(),
            body: body.to_string().into(),
        };
        (told, entry)
    }

    fn story(events: Vec<(HistoryEntry, Entry)>) -> Story {
        let (history, entries): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        Story::new(&"42".parse().unwrap(), history, &entries, Vec::new())
    }

    #[test]
    fn each_event_knows_its_cause_its_delay_and_its_entry() {
        let story = story(vec![
            told(10, "order", "created", "order.created", "http/create", None),
            told(
                13,
                "payment",
                "charged",
                "payment.charged",
                "order/created.42",
                None,
            ),
            told(
                17,
                "inventory",
                "reservation-failed",
                "inventory.reservation.failed",
                "payment/charged.42",
                Some("short"),
            ),
            told(
                19,
                "payment",
                "refunded",
                "payment.refunded",
                "inventory/reservation-failed.42",
                Some("short"),
            ),
            told(
                19,
                "payment",
                "cancel-order",
                "cancel-order",
                "inventory/reservation-failed.42",
                Some("short"),
            ),
        ]);
        assert_eq!(
            (story.step, story.waits_for, story.over),
            ("settled", Some("order"), false)
        );
        assert!((story.took - 9.0).abs() < 1e-6);
        let delays: Vec<_> = story.events.iter().map(|told| told.delay).collect();
        assert_eq!(delays, [None, Some(3.0), Some(4.0), Some(2.0), Some(2.0)]);
        assert_eq!(story.events[0].cause_service, None);
        assert_eq!(story.events[2].cause_service.as_deref(), Some("payment"));
        let reasons: Vec<_> = story
            .events
            .iter()
            .filter_map(|told| told.reason.as_deref())
            .collect();
        assert_eq!(reasons, ["short"], "each reason is told once");
        assert_eq!(
            story.events[1].entry.as_ref().unwrap().subject,
            "$KV.payment.charged.42"
        );
        assert_eq!(
            story.events[1].entry.as_ref().unwrap().body["order"]["customer_id"],
            "ada"
        );
        assert!(story.actions.is_empty(), "it is being cancelled already");
    }

    #[test]
    fn what_can_be_done_depends_on_the_step() {
        let opened = story(vec![
            told(10, "order", "created", "order.created", "http/create", None),
            told(
                13,
                "payment",
                "opened",
                "payment.opened",
                "order/created.42",
                None,
            ),
        ]);
        assert_eq!(
            opened.actions,
            [Action::ConfirmPayment, Action::CancelPayment, Action::CancelOrder]
        );
        assert_eq!(opened.row(Timestamp::UNIX_EPOCH).unwrap().step, "opened");
        let done = story(vec![told(
            13,
            "order",
            "completed",
            "order.completed",
            "delivery/assigned.42",
            None,
        )]);
        assert!(done.actions.is_empty());
    }

    #[test]
    fn a_body_that_is_no_json_is_shown_as_it_is() {
        let (history, mut entry) = told(10, "order", "created", "order.created", "", None);
        entry.body = b"not <json>".as_slice().into();
        let story = Story::new(&"42".parse().unwrap(), vec![history], &[entry], Vec::new());
        assert_eq!(story.events[0].entry.as_ref().unwrap().body, "not <json>");
        assert!(story.order.is_none());
    }
}
