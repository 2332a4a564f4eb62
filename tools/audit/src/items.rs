//! The invariants of items: what is withdrawn is reserved by nobody, photos are stored, and orders are placed at prices that the shop
//! has asked.

use quadrille_events::{AggregateId, Body, Created, EventName, ItemId, ItemWithdrawn, TypedId};

use crate::report::Found;
use crate::snapshot::Snapshot;

/// The record of an item says that it is withdrawn exactly if inventory has said so, and then nothing of it is reserved.
pub(crate) fn withdrawn_items_are_free(snapshot: &Snapshot) -> Found {
    let mut found = Found::new();
    let is_said = |item_id: &ItemId| {
        let event: (&'static EventName, AggregateId) = (ItemWithdrawn::NAME, item_id.aggregate());
        snapshot.others.contains_key(&event)
    };
    for (item_id, record) in &snapshot.stock {
        if record.closed != is_said(item_id) {
            let (record, said) = if record.closed {
                ("is", "has not")
            } else {
                ("is not", "has")
            };
            found.push(format!(
                "item {item_id} {record} withdrawn in its record, and inventory {said} said so"
            ));
        }
        if record.closed && record.used > 0 {
            found.push(format!(
                "item {item_id} is withdrawn, and {} are reserved",
                record.used
            ));
        }
    }
    found
}

/// The bytes of every photo that an item has are stored, whole, under their digest.
pub(crate) fn photos_are_stored(snapshot: &Snapshot) -> Found {
    snapshot.wrong_photos.clone()
}

/// The price of each line is one that the shop has asked, as far as all prices of the item are known. Orders from before the item
/// was listed had prices of their own.
pub(crate) fn prices_were_asked(snapshot: &Snapshot) -> Found {
    let mut found = Found::new();
    for file in snapshot.checked() {
        let placed = file.get(Created::NAME).map(|created| created.at);
        for line in &file.order.lines {
            let Some(history) = snapshot.prices.get(&line.item_id) else {
                continue;
            };
            let is_later = placed.is_some_and(|placed| placed >= history.since);
            if is_later && history.is_whole() && !history.has(line.unit_price, file.order.currency) {
                found.push(format!(
                    "order {} has {} at {} {}, which the shop has never asked",
                    file.order.order_id,
                    line.item_id,
                    line.unit_price,
                    file.order.currency.code()
                ));
            }
        }
    }
    found
}
