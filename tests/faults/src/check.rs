//! Whether what is stored in the end agrees with what the clients were answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quadrille_audit::Violation;
use quadrille_events::{
    Body, CancelPayment, Charged, CreateDelivery, Created, EventName, OrderCancelled, OrderId,
    PaymentCancelled,
};

use crate::history::{Asked, Outcome, Request};
use crate::stored::{OrderRecord, StoredOrders};

/// A history and what is stored after it.
struct Evidence<'a> {
    requests: &'a [Request],
    stored: &'a StoredOrders,
}

/// What is wrong, each a sentence.
type Found = Vec<String>;

/// A claim, and what finds out whether it holds.
type Claim = (&'static str, fn(&Evidence<'_>) -> Found);

/// What must hold.
const CLAIMS: [Claim; 7] = [
    (
        "history: an accepted order exists, as it was placed",
        accepted_orders_exist,
    ),
    (
        "history: an order exists once, and only if somebody placed it",
        orders_were_placed_once,
    ),
    (
        "history: a command that was answered 200 had its effect",
        commands_had_their_effect,
    ),
    (
        "history: nothing happened that nobody asked for",
        effects_were_asked_for,
    ),
    (
        "history: what was accepted is shown ever after",
        accepted_orders_are_shown,
    ),
    ("history: the end of an order is final", endings_are_final),
    (
        "history: a service that does not know says 503",
        not_knowing_is_said,
    ),
];

/// The commands that have an event as their effect: the event, and its cause if the command is the cause.
const EFFECTS: [(Asked, &EventName, &str); 4] = [
    (Asked::ConfirmPayment, Charged::NAME, "http/confirm"),
    (Asked::CancelPayment, PaymentCancelled::NAME, "http/cancel"),
    (Asked::Approve, CreateDelivery::NAME, "http/confirm"),
    (Asked::CancelOrder, CancelPayment::NAME, "http/cancel"),
];

/// Checks all claims.
pub fn check(requests: &[Request], stored: &StoredOrders) -> Vec<Violation> {
    let evidence = Evidence { requests, stored };
    let mut violations = Vec::new();
    for (invariant, claim) in CLAIMS {
        let found = claim(&evidence).into_iter();
        violations.extend(found.map(|sentence| Violation { invariant, sentence }));
    }
    violations
}

impl<'a> Evidence<'a> {
    /// The requests of one kind that came to this.
    fn of(&self, asked: Asked, outcome: Outcome) -> impl Iterator<Item = &'a Request> {
        let of_it = move |request: &&Request| request.asked == asked && request.outcome == outcome;
        self.requests.iter().filter(of_it)
    }

    /// The requests of one kind that succeeded, with what is stored of their orders.
    fn succeeded(&self, asked: Asked) -> impl Iterator<Item = (&'a OrderId, Option<&'a OrderRecord>)> {
        let with_order = |request: &'a Request| {
            let order_id = request.order_id.as_ref()?;
            Some((order_id, self.stored.orders.get(order_id)))
        };
        self.of(asked, Outcome::Ok).filter_map(with_order)
    }
}

fn accepted_orders_exist(evidence: &Evidence<'_>) -> Found {
    let mut found = Found::new();
    for request in evidence.of(Asked::Create, Outcome::Ok) {
        let (Some(order_id), Some(asked)) = (&request.order_id, &request.order) else {
            found.push("a request was answered 201 without the id of its order".to_owned());
            continue;
        };
        let record = evidence.stored.orders.get(order_id);
        let Some(record) = record.filter(|record| record.facts.said::<Created>()) else {
            found.push(format!("order {order_id} was answered 201 and does not exist"));
            continue;
        };
        let as_placed = record.order.customer_id.as_str() == asked.customer_id
            && record.order.lines == asked.lines
            && record.order.total == asked.total
            && record.order.address == asked.address
            && record.order.payment == asked.payment
            && record.order.approval == asked.approval;
        if !as_placed {
            found.push(format!("order {order_id} is another one than was answered 201"));
        }
    }
    found
}

fn orders_were_placed_once(evidence: &Evidence<'_>) -> Found {
    // What was placed, by its address: how many orders there may be of it.
    let mut may_be: HashMap<&str, BTreeSet<Option<u64>>> = HashMap::new();
    for outcome in [Outcome::Ok, Outcome::Unknown] {
        for request in evidence.of(Asked::Create, outcome) {
            if let Some(order) = &request.order {
                // With a key however many requests are one order; without one each is an order of its own.
                let each = request.key.is_none().then_some(request.sent);
                may_be.entry(&order.address).or_default().insert(each);
            }
        }
    }
    let mut are: BTreeMap<&str, usize> = BTreeMap::new();
    for record in evidence.stored.orders.values() {
        *are.entry(&record.order.address).or_default() += 1;
    }
    let mut found = Found::new();
    for (address, are) in are {
        let may_be = may_be.get(address).map_or(0, BTreeSet::len);
        if are > may_be {
            found.push(format!(
                "`{address}` is {are} orders, and only {may_be} can have been accepted"
            ));
        }
    }
    found
}

fn commands_had_their_effect(evidence: &Evidence<'_>) -> Found {
    let mut found = Found::new();
    for (asked, effect, _) in EFFECTS {
        for (order_id, record) in evidence.succeeded(asked) {
            let had = record.is_some_and(|record| match asked {
                // A cancellation is answered 200, too, if payment or inventory has cancelled the order already.
                Asked::CancelOrder => record.ended_as() == Some(OrderCancelled::NAME.entry),
                Asked::ConfirmPayment | Asked::CancelPayment | Asked::Approve => {
                    record.events.contains_key(effect)
                }
                Asked::Create | Asked::Show => true,
            });
            if !had {
                found.push(format!(
                    "{asked:?} of order {order_id} was answered 200 and had no effect"
                ));
            }
        }
    }
    found
}

fn effects_were_asked_for(evidence: &Evidence<'_>) -> Found {
    let mut asked_for: BTreeSet<(Asked, &OrderId)> = BTreeSet::new();
    for request in evidence.requests {
        if let (Outcome::Ok | Outcome::Unknown, Some(order_id)) = (request.outcome, &request.order_id) {
            asked_for.insert((request.asked, order_id));
        }
    }
    let mut found = Found::new();
    for (order_id, record) in &evidence.stored.orders {
        for (asked, effect, cause) in EFFECTS {
            let happened = record
                .events
                .get(effect)
                .is_some_and(|stored| stored.cause == cause);
            if happened && !asked_for.contains(&(asked, order_id)) {
                let EventName { service, entry, .. } = effect;
                found.push(format!(
                    "order {order_id} has {service}/{entry} because of {asked:?}, which was refused or never sent"
                ));
            }
        }
    }
    found
}

fn accepted_orders_are_shown(evidence: &Evidence<'_>) -> Found {
    let mut accepted: HashMap<&OrderId, u64> = HashMap::new();
    for request in evidence.of(Asked::Create, Outcome::Ok) {
        if let Some(order_id) = &request.order_id {
            let since = accepted.entry(order_id).or_insert(request.ended);
            *since = request.ended.min(*since);
        }
    }
    let not_shown = |request: &&Request| {
        let order_id = request.order_id.as_ref();
        let since = order_id.and_then(|order_id| accepted.get(order_id));
        request.status == Some(404) && since.is_some_and(|since| request.sent > *since)
    };
    evidence
        .of(Asked::Show, Outcome::Failed)
        .filter(not_shown)
        .filter_map(|request| request.order_id.as_ref())
        .map(|order_id| format!("order {order_id} was answered 201 and later 404"))
        .collect()
}

fn endings_are_final(evidence: &Evidence<'_>) -> Found {
    let mut ended: HashMap<&OrderId, (u64, &str)> = HashMap::new();
    let shown = |request: &&Request| matches!(request.answer.as_str(), "completed" | "cancelled");
    for request in evidence.of(Asked::Show, Outcome::Ok).filter(shown) {
        if let Some(order_id) = &request.order_id {
            let first = ended.entry(order_id).or_insert((request.ended, &request.answer));
            if request.ended < first.0 {
                *first = (request.ended, &request.answer);
            }
        }
    }
    let mut found = Found::new();
    for request in evidence.of(Asked::Show, Outcome::Ok) {
        let Some((order_id, (since, ending))) = request
            .order_id
            .as_ref()
            .and_then(|id| Some((id, ended.get(id)?)))
        else {
            continue;
        };
        if request.sent > *since && request.answer != *ending {
            found.push(format!(
                "order {order_id} was {ending} and later {}",
                request.answer
            ));
        }
    }
    for (order_id, (_, ending)) in ended {
        let stored = evidence
            .stored
            .orders
            .get(order_id)
            .and_then(OrderRecord::ended_as);
        if stored != Some(ending) {
            let stored = stored.unwrap_or("not ended");
            found.push(format!("order {order_id} was {ending} and is {stored}"));
        }
    }
    found
}

fn not_knowing_is_said(evidence: &Evidence<'_>) -> Found {
    let odd = |request: &&Request| {
        request
            .status
            .is_some_and(|status| !matches!(status, 200..=299 | 400..=499 | 503))
    };
    let sentence = |request: &Request| {
        let status = request.status.unwrap_or_default();
        format!("{:?} was answered {status}: {}", request.asked, request.answer)
    };
    evidence.requests.iter().filter(odd).map(sentence).collect()
}
