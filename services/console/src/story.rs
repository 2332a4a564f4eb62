//! One order in full: what every service has said about it, because of what, how long after, and how it is stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_events::{Event, Order, OrderId, OrderProgress, Step};
use quadrille_runtime::DeadLetter;
use quadrille_runtime::operator::HistoryEntry;
use quadrille_runtime::operator::{Entry, Operator};
use serde::Serialize;
use serde_json::Value;

/// Everything that was said about one order. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct OrderStory {
    /// The id of the order.
    pub order_id: OrderId,
    /// The order as placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<std::sync::Arc<Order>>,
    /// How many digits the order's currency has after the point.
    pub digits: u16,
    /// How far the order is.
    pub step: &'static str,
    /// Who is to speak next.
    pub waits_for: Option<&'static str>,
    /// How long the step should take, in milliseconds.
    pub patience: Option<u64>,
    /// Until when the step should have been taken.
    pub due: Option<f64>,
    /// Whether the order has ended and nothing is left to be undone.
    pub over: bool,
    /// From the first event to the last, in milliseconds.
    pub took: f64,
    /// What a person can do about the order now.
    pub actions: Vec<Action>,
    /// What was said, causes before effects.
    pub events: Vec<StoryEvent>,
    /// Inputs about the order that a service could not handle.
    pub dead_letters: Vec<DeadLetter>,
    #[serde(skip)]
    progress: Option<OrderProgress>,
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
    /// The courier has handed over the goods.
    ConfirmDelivery,
    /// The courier could not hand them over.
    FailDelivery,
}

/// One event of a story.
#[derive(Clone, Debug, Serialize)]
pub struct StoryEvent {
    /// The subject: `payment.charged`.
    pub event: String,
    /// The service that said it.
    pub service: String,
    /// The CloudEvents id: `charged.<order_id>`.
    pub id: String,
    /// When the event was stored.
    pub at: f64,
    /// How long after its cause the event was stored, in milliseconds, if the cause is in this story.
    pub delay: Option<f64>,
    /// The cause: `<service>/<id>` of an event, or `http/<command>`.
    pub cause: String,
    /// The service that said the cause; `None` if the cause is a request.
    pub cause_service: Option<String>,
    /// The reason, if the event gives one and its cause does not give the same.
    pub reason: Option<String>,
    /// The entry as it is stored.
    pub entry: Option<StoryEntry>,
}

/// An entry as it is stored.
#[derive(Clone, Debug, Serialize)]
pub struct StoryEntry {
    /// `$KV.payment.charged.<order_id>`
    pub subject: String,
    /// The sequence in the bucket.
    pub sequence: u64,
    /// The headers, each by its first value.
    pub headers: BTreeMap<String, String>,
    /// The body; as text if it is not JSON.
    pub body: Value,
}

impl OrderStory {
    /// Reads the story of an order from the buckets; `None` if nothing was said about it.
    pub async fn read(operator: &Operator, order_id: &OrderId) -> anyhow::Result<Option<Self>> {
        let (history, entries, letters) = tokio::try_join!(
            operator.history(order_id),
            operator.entries_of(order_id, &[]),
            operator.dead_letters_of(order_id),
        )?;
        Ok((!history.is_empty() || !letters.is_empty())
            .then(|| Self::new(order_id, history, &entries, letters)))
    }

    /// The story that these entries and dead letters tell.
    pub fn new(
        order_id: &OrderId,
        history: Vec<HistoryEntry>,
        entries: &[Entry],
        dead_letters: Vec<DeadLetter>,
    ) -> Self {
        let mut progress: Option<OrderProgress> = None;
        let mut order = None;
        for told in &history {
            let Some(event) = stored_as(entries, told).and_then(event_of) else {
                continue;
            };
            order = event.order().cloned();
            progress
                .get_or_insert_with(|| OrderProgress::new(&event, told.at))
                .hear(&event, told.at);
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
            waits_for: progress.and_then(|progress| progress.facts().waits_for()),
            patience: step
                .patience()
                .map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
            due: progress.and_then(|progress| progress.due()).map(milliseconds),
            over: step.is_over(),
            took,
            actions: actions(step),
            events: history
                .iter()
                .map(|told| StoryEvent::new(told, &history, entries))
                .collect(),
            dead_letters,
            progress,
        }
    }

    /// The order's line in a list.
    pub(crate) fn row(&self, now: Timestamp) -> Option<crate::view::Row> {
        let order = self.order.as_ref()?;
        let reason = self.events.iter().find_map(|told| told.reason.as_deref());
        Some(crate::view::row_of(order, self.progress?, reason, now))
    }
}

impl StoryEvent {
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
            entry: stored_as(entries, told).map(|entry| StoryEntry {
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

fn event_of(entry: &Entry) -> Option<Event> {
    let (name, _) = Event::CONTRACT.stored(&entry.subject)?;
    Event::decode(name.service, &name.key(), &entry.body).ok()
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
        Step::Completed => vec![Action::ConfirmDelivery, Action::FailDelivery],
        Step::Cancelling
        | Step::Settled
        | Step::Undoing
        | Step::HandedOver
        | Step::Delivered
        | Step::Cancelled => Vec::new(),
    }
}

fn milliseconds(at: Timestamp) -> f64 {
    at.as_nanosecond() as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use quadrille_events::{
        Body, CancelOrder, Charged, Completed, Created, Delivered, Opened, Refunded, ReservationFailed,
    };
    use serde_json::json;

    use super::*;

    fn told<B: Body>(ms: i64, cause: &str, reason: Option<&str>) -> (HistoryEntry, Entry) {
        let order_id: OrderId = "42".parse().unwrap();
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
            event: B::NAME.subject.to_owned(),
            service: B::NAME.service.to_owned(),
            id: B::NAME.id(&order_id),
            at,
            reason: reason.map(str::to_owned),
            cause: cause.to_owned(),
        };
        let entry = Entry {
            subject: B::NAME.stored_as(&order_id),
            sequence: 7,
            time: at,
            headers: Default::default(),
            body: body.to_string().into(),
        };
        (told, entry)
    }

    fn story(events: Vec<(HistoryEntry, Entry)>) -> OrderStory {
        let (history, entries): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        OrderStory::new(&"42".parse().unwrap(), history, &entries, Vec::new())
    }

    #[test]
    fn each_event_knows_its_cause_its_delay_and_its_entry() {
        let story = story(vec![
            told::<Created>(10, "http/create", None),
            told::<Charged>(13, "order/created.42", None),
            told::<ReservationFailed>(17, "payment/charged.42", Some("short")),
            told::<Refunded>(19, "inventory/reservation-failed.42", Some("short")),
            told::<CancelOrder>(19, "inventory/reservation-failed.42", Some("short")),
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
            told::<Created>(10, "http/create", None),
            told::<Opened>(13, "order/created.42", None),
        ]);
        assert_eq!(
            opened.actions,
            [Action::ConfirmPayment, Action::CancelPayment, Action::CancelOrder]
        );
        assert_eq!(opened.row(Timestamp::UNIX_EPOCH).unwrap().step, "opened");
        let on_its_way = told::<Completed>(13, "delivery/assigned.42", None);
        let completed = story(vec![on_its_way.clone()]);
        assert_eq!(completed.actions, [Action::ConfirmDelivery, Action::FailDelivery]);
        let done = story(vec![on_its_way, told::<Delivered>(14, "http/confirm", None)]);
        assert!(done.actions.is_empty());
    }

    #[test]
    fn a_body_that_is_no_json_is_shown_as_it_is() {
        let (history, mut entry) = told::<Created>(10, "", None);
        entry.body = b"not <json>".as_slice().into();
        let story = OrderStory::new(&"42".parse().unwrap(), vec![history], &[entry], Vec::new());
        assert_eq!(story.events[0].entry.as_ref().unwrap().body, "not <json>");
        assert!(story.order.is_none());
    }
}
