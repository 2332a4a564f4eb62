//! The invariants of each order by itself, and that every order ends.

use std::collections::HashSet;

use quadrille_events::{
    Assigned, Body, Charged, Completed, Created, Delivered, DeliveryCancelled, DeliveryFailed, EventName,
    EventSet, NoCourier, OrderCancelled, PaymentCancelled, PaymentFailed, Refunded, Released,
    ReservationFailed, Reserved, Shipped, event_set,
};

use crate::order_file::OrderFile;
use crate::report::Found;
use crate::snapshot::{Snapshot, UnreadableEntry};

/// What must have been said of a completed order, and the finding if it was not.
const COMPLETED_MUST: [(&EventName, &str); 3] = [
    (Charged::NAME, "was not charged"),
    (Reserved::NAME, "was not reserved"),
    (Assigned::NAME, "has no courier"),
];

/// What must not have been said of a completed order whose delivery has not failed, and the finding if it was.
const COMPLETED_MUST_NOT: [(&EventName, &str); 8] = [
    (OrderCancelled::NAME, "is cancelled too"),
    (PaymentFailed::NAME, "was declined"),
    (PaymentCancelled::NAME, "has a cancelled payment"),
    (Refunded::NAME, "was refunded"),
    (Released::NAME, "has had its lines released"),
    (ReservationFailed::NAME, "could not be reserved"),
    (DeliveryCancelled::NAME, "has had its courier called back"),
    (NoCourier::NAME, "found no courier"),
];

/// What must not have been said of a delivered order, and the finding if it was.
const DELIVERED_MUST_NOT: [(&EventName, &str); 4] = [
    (Refunded::NAME, "was refunded"),
    (OrderCancelled::NAME, "is cancelled"),
    (DeliveryCancelled::NAME, "has had its courier called back"),
    (DeliveryFailed::NAME, "has a failed delivery"),
];

/// What was done for a cancelled order, by which events it can be undone, and the finding if it is not.
const CANCELLED_UNDOES: [(&EventName, EventSet, &str); 3] = [
    (
        Charged::NAME,
        event_set![Refunded],
        "was charged and not refunded",
    ),
    (
        Reserved::NAME,
        event_set![Released],
        "was reserved and not released",
    ),
    (
        Assigned::NAME,
        event_set![DeliveryCancelled, DeliveryFailed],
        "still has a courier on the way",
    ),
];

pub(crate) fn every_order_ends(snapshot: &Snapshot) -> Found {
    let hangs = |file: &&OrderFile| !file.facts.has_ended() && file.waits_for(snapshot.taken_at).is_none();
    let sentence = |file: &OrderFile| {
        let parked = match file.parked.as_slice() {
            [] => String::new(),
            letters => format!(" (parked: {})", letters.join(", ")),
        };
        format!(
            "order {} has not ended; said so far: {}{parked}",
            file.order.order_id,
            file.so_far()
        )
    };
    snapshot.checked().filter(hangs).map(sentence).collect()
}

pub(crate) fn completed_orders_are_whole(file: &OrderFile) -> Found {
    // A completed order whose delivery has failed must be cancelled, which other checks look at.
    if file.get(Completed::NAME).is_none() || file.get(DeliveryFailed::NAME).is_some() {
        return Found::new();
    }
    let missing = COMPLETED_MUST.iter().filter(|(name, _)| file.get(name).is_none());
    let excess = COMPLETED_MUST_NOT
        .iter()
        .filter(|(name, _)| file.get(name).is_some());
    let mut found: Found = missing
        .chain(excess)
        .map(|(_, what)| format!("is completed and {what}"))
        .collect();
    let (told, sent) = (file.get(Completed::NAME), file.get(Assigned::NAME));
    if let (Some(told), Some(sent)) = (told, sent)
        && told.courier != sent.courier
    {
        found.push("is completed with another courier than was assigned".to_owned());
    }
    found
}

pub(crate) fn cancelled_orders_are_undone(file: &OrderFile) -> Found {
    if file.get(OrderCancelled::NAME).is_none() {
        return Found::new();
    }
    CANCELLED_UNDOES
        .iter()
        .filter(|(deed, undoing, _)| file.get(deed).is_some() && !file.facts.said_any(*undoing))
        .map(|(_, _, what)| format!("is cancelled and {what}"))
        .collect()
}

pub(crate) fn delivered_goods_are_never_refunded(file: &OrderFile) -> Found {
    let Some(delivered) = file.get(Delivered::NAME) else {
        return Found::new();
    };
    let wrong = DELIVERED_MUST_NOT
        .iter()
        .filter(|(name, _)| file.get(name).is_some());
    let mut found: Found = wrong
        .map(|(_, what)| format!("is delivered and {what}"))
        .collect();
    if file
        .get(Assigned::NAME)
        .is_none_or(|sent| sent.courier != delivered.courier)
    {
        found.push("is delivered by another courier than was assigned".to_owned());
    }
    found
}

pub(crate) fn shipped_stock_never_returns(file: &OrderFile) -> Found {
    let said = |name| file.get(name).is_some();
    let mut found = Found::new();
    if said(Shipped::NAME) && said(Released::NAME) {
        found.push("has had its lines shipped and released".to_owned());
    }
    if said(Shipped::NAME) && !said(Delivered::NAME) {
        found.push("has had its lines shipped and is not delivered".to_owned());
    }
    if said(Delivered::NAME) && !said(Shipped::NAME) {
        found.push("is delivered and its lines were not shipped".to_owned());
    }
    found
}

pub(crate) fn events_carry_the_order(file: &OrderFile) -> Found {
    let others = file.events.values().filter(|event| !event.carries_the_order);
    others
        .map(|event| format!("is another one in {} than when it was placed", event.name))
        .collect()
}

pub(crate) fn events_have_their_cause(file: &OrderFile) -> Found {
    let causes: HashSet<String> = file
        .events
        .values()
        .map(|event| format!("{}/{}", event.name.service, event.name.id(&file.order.order_id)))
        .collect();
    let orphans = file
        .events
        .values()
        .filter(|event| !event.cause.starts_with("http/") && !causes.contains(&event.cause));
    orphans
        .map(|event| format!("has {} because of {}, which nobody said", event.name, event.cause))
        .collect()
}

pub(crate) fn orders_were_placed(snapshot: &Snapshot) -> Found {
    if snapshot.orders_since.is_some() {
        return Found::new();
    }
    let unplaced = snapshot
        .orders
        .iter()
        .filter(|(_, file)| file.get(Created::NAME).is_none());
    unplaced
        .map(|(order_id, file)| format!("order {order_id} was never placed; said of it: {}", file.so_far()))
        .collect()
}

pub(crate) fn the_unreadable_is_parked(snapshot: &Snapshot) -> Found {
    let loose = snapshot
        .unreadable
        .iter()
        .filter(|entry| !snapshot.parked.contains(&(entry.stream.clone(), entry.sequence)));
    loose
        .map(|entry| {
            let UnreadableEntry {
                subject,
                stream,
                sequence,
                problem,
                ..
            } = entry;
            format!(
                "{subject} ({stream}, sequence {sequence}) cannot be read, and is parked nowhere: {problem}"
            )
        })
        .collect()
}
