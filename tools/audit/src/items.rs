//! The invariants of items: what is withdrawn is reserved by nobody, and orders are placed at prices that the shop has asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use quadrille_events::{
    AggregateId, Body, Created, Currency, Event, EventName, InventoryEvent, Item, ItemId, ItemListed,
    ItemUpdated, ItemWithdrawn, Money, TypedId,
};
use quadrille_runtime::operator::Entry;

use crate::report::Found;
use crate::snapshot::Snapshot;

/// The prices that the shop has asked for one item.
pub(crate) struct PriceHistory {
    /// When the first of them was stored.
    since: Timestamp,
    /// The price of each version of the item.
    prices: BTreeMap<u64, (Money, Currency)>,
}

impl PriceHistory {
    /// Whether all versions are known. The bucket has the newest only; a log that was rebuilt from the buckets has no more.
    fn is_whole(&self) -> bool {
        let newest = self.prices.last_key_value().map_or(0, |(version, _)| *version);
        usize::try_from(newest).is_ok_and(|versions| versions == self.prices.len())
    }

    fn has(&self, price: Money, currency: Currency) -> bool {
        self.prices.values().any(|known| *known == (price, currency))
    }
}

/// The price histories of all items.
pub(crate) type PriceHistories = BTreeMap<ItemId, PriceHistory>;

/// Adds what an event about an item says of its price. `event` was stored as `entry`.
pub(crate) fn file_price(entry: &Entry, event: &Event, histories: &mut PriceHistories) {
    let Some((item_id, version, item)) = item_of(event) else {
        return;
    };
    let history = histories.entry(item_id.clone()).or_insert_with(|| PriceHistory {
        since: entry.time,
        prices: BTreeMap::new(),
    });
    history.since = history.since.min(entry.time);
    history.prices.insert(version, (item.price, item.currency));
}

/// The item that an event is about, and its version.
pub(crate) fn item_of(event: &Event) -> Option<(&ItemId, u64, &Item)> {
    let Event::Inventory(event) = event else {
        return None;
    };
    match event {
        InventoryEvent::ItemListed(ItemListed {
            item_id,
            version,
            item,
        })
        | InventoryEvent::ItemUpdated(ItemUpdated {
            item_id,
            version,
            item,
        })
        | InventoryEvent::ItemWithdrawn(ItemWithdrawn {
            item_id,
            version,
            item,
        }) => Some((item_id, *version, item)),
        InventoryEvent::Reserved(_) | InventoryEvent::ReservationFailed(_) | InventoryEvent::Released(_) => {
            None
        }
    }
}

/// Whether it is the name of an event about items.
pub(crate) fn is_about_items(name: &EventName) -> bool {
    name.service == ItemListed::NAME.service && name.about == ItemId::KIND
}

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
