//! The invariants, and the report on which of them hold.

use crate::books::{BOOKS, Books, the_books_agree};
use crate::items::{photos_are_stored, prices_were_asked, withdrawn_items_are_free};
use crate::ledgers::{loads_add_up, stock_adds_up};
use crate::log::the_log_agrees;
use crate::order_file::OrderFile;
use crate::orders::{
    cancelled_orders_are_undone, completed_orders_are_whole, events_carry_the_order, events_have_their_cause,
    every_order_ends, orders_were_placed, the_unreadable_is_parked,
};
use crate::reachable::services_say_what_they_can;
use crate::report::{Found, Report, Violation};
use crate::snapshot::Snapshot;

/// An invariant, and the function that finds where it does not hold.
type Check<T> = (&'static str, fn(&T) -> Found);

/// What must hold of each order.
const OF_EACH_ORDER: [Check<OrderFile>; 5] = [
    (
        "2: a completed order is charged, reserved and on its way, once",
        completed_orders_are_whole,
    ),
    (
        "3: a cancelled order has everything undone",
        cancelled_orders_are_undone,
    ),
    (
        "a service says only what it can decide",
        services_say_what_they_can,
    ),
    ("every event carries the order as placed", events_carry_the_order),
    ("every event has its cause", events_have_their_cause),
];

/// What must hold of everything together.
const OF_ALL: [Check<Snapshot>; 9] = [
    ("1: every order ends completed or cancelled", every_order_ends),
    ("4: stock adds up", stock_adds_up),
    ("4: couriers' load adds up", loads_add_up),
    (
        "what is withdrawn is reserved by nobody",
        withdrawn_items_are_free,
    ),
    ("orders are placed at prices of the shop", prices_were_asked),
    ("the photos of items are stored", photos_are_stored),
    (
        "5, 6: no event twice, and the log is what the buckets say",
        the_log_agrees,
    ),
    (
        "every event is about an order that was placed",
        orders_were_placed,
    ),
    ("what cannot be read is parked", the_unreadable_is_parked),
];

/// Checks everything.
pub(crate) fn judge(snapshot: &Snapshot, books: Option<&Books>, notes: Vec<String>) -> Report {
    let mut report = Report::default();
    for file in snapshot.checked() {
        report.orders += 1;
        report.events += file.events.len();
        if let Some(ending) = file.facts.ending() {
            *report.endings.entry(ending).or_default() += 1;
        } else if let Some(what) = file.waits_for(snapshot.taken_at) {
            report.waiting.insert(file.order.order_id.clone(), what);
        }
        for (invariant, check) in OF_EACH_ORDER {
            let order_id = &file.order.order_id;
            let found = check(file)
                .into_iter()
                .map(|what| format!("order {order_id} {what}"));
            report.violated(invariant, found);
        }
    }
    for (invariant, check) in OF_ALL {
        report.violated(invariant, check(snapshot));
    }
    if let Some(books) = books {
        report.violated(BOOKS, the_books_agree(snapshot, books));
    }
    report.notes = notes;
    report.notes.extend(limits_of(snapshot));
    report
}

/// What the checks excused or could not look at.
fn limits_of(snapshot: &Snapshot) -> Vec<String> {
    let mut notes = Vec::new();
    let in_vain = snapshot.checked().filter(|file| file.expired_in_vain()).count();
    if in_vain > 0 {
        notes.push(format!(
            "{in_vain} payments expired when they were decided already, or at that moment; the decisions stand"
        ));
    }
    for (kind, records) in &snapshot.unknown {
        notes.push(format!(
            "{records} records {kind} are not checked: what they add up to, tools/audit does not know"
        ));
    }
    if let Some(since) = snapshot.orders_since {
        notes.push(format!(
            "the first entries of the order bucket have gone: only orders from {since} on are checked"
        ));
    }
    if let Some(since) = snapshot.log_since {
        notes.push(format!(
            "the log has lost its start: only orders from {since} on are compared with it"
        ));
    }
    if !snapshot.parked.is_empty() {
        notes.push(format!(
            "{} inputs are parked as dead letters (just dead-letters)",
            snapshot.parked.len()
        ));
    }
    notes
}

impl Report {
    fn violated(&mut self, invariant: &'static str, found: impl IntoIterator<Item = String>) {
        let violations = found
            .into_iter()
            .map(|sentence| Violation { invariant, sentence });
        self.violations.extend(violations);
    }
}
